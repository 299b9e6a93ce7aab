/* The register of held cores: who holds what, and that nothing outlives a process or waits long. */
#include "tests/support/unit.h"

#include "proto/clock.h"
#include "worker/engine/device/core_register.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

static char place[] = "/tmp/longhaul-core-register-XXXXXX";

static cpu_set_t set_of(unsigned bits)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    for (int core = 0; core < 8; core++)
        if (bits >> core & 1)
            CPU_SET(core, &set);
    return set;
}

/* Opens the register, tells what others hold of cores 0 to 7, and holds `wanted`. */
static struct core_register *hold(const char *path, unsigned wanted, unsigned *foreign)
{
    struct core_register *held;
    const cpu_set_t all = set_of(255), cores = set_of(wanted);
    cpu_set_t seen;
    assert_int_equal(core_register_open(&held, path), STATUS_OK);
    core_register_read(held, &seen, &all);
    *foreign = 0;
    for (int core = 0; core < 8; core++)
        *foreign |= (unsigned)CPU_ISSET(core, &seen) << core;
    assert_int_equal(core_register_settle(held, &cores), STATUS_OK);
    return held;
}

static void groups_of_one_process_see_what_the_others_hold(void **state)
{
    (void)state;
    unsigned foreign;
    struct core_register *first = hold(place, 0x05, &foreign);
    assert_int_equal(foreign, 0);
    struct core_register *second = hold(place, 0x0a, &foreign);
    assert_int_equal(foreign, 0x05);
    core_register_close(first);
    struct core_register *third = hold(place, 0, &foreign);
    assert_int_equal(foreign, 0x0a);
    core_register_close(second);
    core_register_close(third);
    core_register_close(NULL);
}

/* A child that holds cores until it is killed. */
static pid_t start_holder(unsigned wanted)
{
    int ready[2];
    char byte = 0;
    assert_int_equal(pipe(ready), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct core_register *held;
        const cpu_set_t cores = set_of(wanted);
        if (core_register_open(&held, place) == STATUS_OK &&
            core_register_settle(held, &cores) == STATUS_OK && write(ready[1], "r", 1) == 1)
            for (;;)
                pause();
        _exit(1);
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return child;
}

static void a_killed_process_holds_nothing(void **state)
{
    (void)state;
    unsigned foreign;
    const pid_t child = start_holder(0x30);
    struct core_register *held = hold(place, 0, &foreign);
    core_register_close(held);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(foreign, 0x30);
    held = hold(place, 0, &foreign);
    core_register_close(held);
    assert_int_equal(foreign, 0);
}

static void a_register_that_another_keeps_is_done_without(void **state)
{
    (void)state;
    struct core_register *held;
    const int other = open(place, O_RDONLY | O_CLOEXEC);
    assert_int_equal(flock(other, LOCK_EX), 0);
    const double begun = clock_now_seconds();
    assert_int_equal(core_register_open(&held, place), STATUS_UNAVAILABLE);
    assert_true(clock_now_seconds() - begun < 5);
    close(other);
    assert_int_equal(core_register_open(&held, "/nowhere/at/all"), STATUS_UNAVAILABLE);
    assert_non_null(strstr(status_message(), "No such file"));
}

/* What is held of the machine's own differs from minute to minute: only that it works is sure. */
static void the_machine_has_a_register(void **state)
{
    (void)state;
    unsigned before, after;
    struct core_register *held = hold(NULL, 0x80, &before);
    struct core_register *other = hold(NULL, 0, &after);
    core_register_close(other);
    core_register_close(held);
    assert_true(after & 0x80);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_of_one_process_see_what_the_others_hold),
        cmocka_unit_test(a_killed_process_holds_nothing),
        cmocka_unit_test(a_register_that_another_keeps_is_done_without),
        cmocka_unit_test(the_machine_has_a_register),
    };
    const int file = mkstemp(place);
    if (file < 0)
        return 1;
    close(file);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(place);
    return failed;
}
