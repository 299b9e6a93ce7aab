/* The words by which workers are started: on this host, over several by mpirun and by srun. */
#include "tests/support/unit.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "coordinator/launch_command.h"

enum { LINE_BYTES = 8192 };

static char folder[] = "/tmp/launch-command-XXXXXX";
static char worker[PATH_MAX];
static char *environment[] = {(char *)"HOME=/shared", NULL};
static const char *const arguments[] = {"--model=m.gguf", "--transport=auto", "--threads=7"};

static void make_program(const char *name)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
    assert_int_equal(chmod(path, 0700), 0);
}

static void remove_program(const char *name)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(unlink(path), 0);
}

static int make_folder(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(folder));
    make_program("longhaul-worker");
    snprintf(worker, sizeof worker, "%s/longhaul-worker", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    remove_program("longhaul-worker");
    return rmdir(folder);
}

static struct launch_settings settings_for(const struct allocation *allocation)
{
    return (struct launch_settings){
        .worker = worker,
        .coordinator = "10.0.0.1:7712",
        .join_secret = "/shared/secret",
        .arguments = arguments,
        .argument_count = sizeof arguments / sizeof arguments[0],
        .allocation = allocation,
        .mpi = true,
        .transport = "auto",
        .launcher = "auto",
        .pin = "10.0.0.0/24",
        .path = folder,
        .environment = environment,
    };
}

/* Hosts "lh1:1,lh2:2" with as many workers; "" is this host alone, with two. */
static struct allocation allocate(const char *hosts, const char *own)
{
    const struct allocation_environment here = {.host = own};
    const struct allocation_asked asked = {
        .hosts = hosts, .hostfile = "", .hostfile_text = "", .workers = hosts[0] ? 0 : 2};
    struct allocation allocation;
    assert_int_equal(allocation_find(&allocation, &asked, &here), STATUS_OK);
    return allocation;
}

/* The words, each with a space behind it, and "NAME=VALUE" for each that was added to the
 * environment. */
static void make(char line[LINE_BYTES], enum launch_kind wanted,
                 const struct launch_settings *settings)
{
    struct launch_command command;
    enum launch_kind kind;
    char program[PATH_MAX];
    size_t used = 0;
    assert_int_equal(launch_command_choose(&kind, program, settings), STATUS_OK);
    assert_int_equal(kind, wanted);
    assert_int_equal(launch_command_make(&command, kind, program, settings, "/dev/shm/ours"),
                     STATUS_OK);
    for (size_t i = 0; command.arguments[i]; i++)
        used += (size_t)snprintf(line + used, LINE_BYTES - used, "%s ", command.arguments[i]);
    assert_string_equal(command.environment[0], environment[0]);
    for (size_t i = 1; command.environment[i]; i++)
        used += (size_t)snprintf(line + used, LINE_BYTES - used, "%s ", command.environment[i]);
    assert_true(used < LINE_BYTES);
    launch_command_free(&command);
}

static void expect_in(const char *line, const char *words)
{
    if (!strstr(line, words))
        fail_msg("\"%s\" is not in: %s", words, line);
}

static void mpirun_over_hosts_notices_what_is_lost_and_keeps_to_its_network(void **state)
{
    (void)state;
    char line[LINE_BYTES];
    struct allocation allocation = allocate("lh2:2,lh1:1,lh3:1", "lh1");
    const struct launch_settings settings = settings_for(&allocation);
    make_program("mpirun");
    make(line, LAUNCH_MPIRUN, &settings);
    expect_in(line, "--bind-to none --oversubscribe --mca odls_base_sigkill_timeout 1 ");
    expect_in(line, "--mca oob_tcp_keepalive_time 1 --mca oob_tcp_keepalive_intvl 1 --mca "
                    "oob_tcp_keepalive_probes 3 ");
    expect_in(line, "--mca oob_tcp_if_include 10.0.0.0/24 --mca btl_tcp_if_include 10.0.0.0/24 ");
    /* This host's ranks come first, with their memory in our folder; others' hosts lack it. */
    expect_in(line, "--host lh1:1 -np 1 env -u OMPI_MCA_orte_local_tmpdir_base "
                    "OMPI_MCA_btl_vader_backing_directory=/dev/shm/ours /tmp/launch-command-");
    expect_in(line, ": --host lh2:2,lh3:1 -np 3 env -u OMPI_MCA_orte_local_tmpdir_base /tmp/");
    expect_in(line, "--coordinator=10.0.0.1:7712 --transport=auto --model=m.gguf --threads=0 "
                    "--join-secret=/shared/secret ");
    assert_null(strstr(line, "--threads=7"));
    allocation_free(&allocation);
    remove_program("mpirun");
}

static void mpirun_on_one_host_keeps_all_its_files_in_our_folder(void **state)
{
    (void)state;
    char line[LINE_BYTES];
    struct allocation allocation = allocate("", "lh1");
    const struct launch_settings settings = settings_for(&allocation);
    make_program("mpirun");
    make(line, LAUNCH_MPIRUN, &settings);
    expect_in(line, "--mca orte_tmpdir_base /dev/shm/ours --mca btl_vader_backing_directory "
                    "/dev/shm/ours -np 2 /tmp/");
    assert_null(strstr(line, "if_include"));
    assert_null(strstr(line, "--host"));
    allocation_free(&allocation);
    allocation = allocate("lh1:3", "lh1"); /* in a job, mpirun knows others too */
    make(line, LAUNCH_MPIRUN, &settings);
    expect_in(line, "--host lh1:3 -np 3 /tmp/");
    allocation_free(&allocation);
    remove_program("mpirun");
}

static void srun_places_each_task_and_ends_all_with_one(void **state)
{
    (void)state;
    char line[LINE_BYTES];
    struct allocation allocation = allocate("lh2:2,lh1:1", "lh1");
    struct launch_settings settings = settings_for(&allocation);
    make_program("srun");
    settings.in_job = true; /* and no mpirun on PATH */
    make(line, LAUNCH_SRUN, &settings);
    expect_in(line, "/srun --mpi=pmix --kill-on-bad-exit=1 ");
    expect_in(line, "--distribution=arbitrary --ntasks=3 --nodes=2 --nodelist=lh1,lh2,lh2 /tmp/");
    expect_in(line, "OMPI_MCA_btl_tcp_if_include=10.0.0.0/24 ");
    make_program("mpirun");
    make(line, LAUNCH_MPIRUN, &settings);
    settings.launcher = "srun";
    make(line, LAUNCH_SRUN, &settings);
    allocation_free(&allocation);
    remove_program("mpirun");
    remove_program("srun");
}

static void a_launcher_that_is_not_there_is_named(void **state)
{
    (void)state;
    char program[PATH_MAX];
    enum launch_kind kind;
    struct allocation allocation = allocate("lh2:2", "lh1");
    struct launch_settings settings = settings_for(&allocation);
    assert_int_equal(launch_command_choose(&kind, program, &settings), STATUS_NOT_FOUND);
    expect_in(status_message(), "no mpirun on PATH");
    make_program("srun"); /* outside a job it starts nothing */
    assert_int_equal(launch_command_choose(&kind, program, &settings), STATUS_NOT_FOUND);
    settings.launcher = "srun";
    assert_int_equal(launch_command_choose(&kind, program, &settings), STATUS_FAILED_PRECONDITION);
    remove_program("srun");
    settings.in_job = true;
    assert_int_equal(launch_command_choose(&kind, program, &settings), STATUS_NOT_FOUND);
    expect_in(status_message(), "no srun on PATH");
    allocation_free(&allocation);
}

static void one_process_needs_no_launcher(void **state)
{
    (void)state;
    char line[LINE_BYTES];
    struct allocation allocation = allocate("", "lh1");
    struct launch_settings settings = settings_for(&allocation);
    settings.mpi = false;
    make(line, LAUNCH_THREADS, &settings);
    expect_in(line, "--transport=loopback ");
    expect_in(line, "--ranks=2 ");
    settings.worker = "/nowhere/longhaul-worker";
    struct launch_command command;
    assert_int_equal(launch_command_make(&command, LAUNCH_THREADS, "", &settings, NULL),
                     STATUS_NOT_FOUND);
    allocation_free(&allocation);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mpirun_over_hosts_notices_what_is_lost_and_keeps_to_its_network),
        cmocka_unit_test(mpirun_on_one_host_keeps_all_its_files_in_our_folder),
        cmocka_unit_test(srun_places_each_task_and_ends_all_with_one),
        cmocka_unit_test(a_launcher_that_is_not_there_is_named),
        cmocka_unit_test(one_process_needs_no_launcher),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
