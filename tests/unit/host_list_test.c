/* Lists of hosts as Slurm, mpirun's users and --hosts write them, and how workers are dealt out. */
#include "tests/support/unit.h"

#include <stdio.h>
#include <string.h>

#include "coordinator/host_list.h"

/* "a:2:8 b": name, slots and cores, the last two where they are not 0. */
static void expect(struct host_list *list, const char *wanted)
{
    char text[1024] = "";
    for (int i = 0; i < list->count; i++) {
        const struct host *host = &list->hosts[i];
        const size_t used = strlen(text);
        int more = snprintf(text + used, sizeof text - used, "%s%s", i ? " " : "", host->name);
        if (host->slots || host->cores)
            snprintf(text + used + more, sizeof text - used - (size_t)more, ":%d:%d", host->slots,
                     host->cores);
    }
    assert_string_equal(text, wanted);
    host_list_free(list);
    assert_int_equal(list->count, 0);
}

static void a_jobs_nodes_are_read_as_slurm_writes_them(void **state)
{
    (void)state;
    static const struct {
        const char *nodes, *tasks, *cores, *wanted;
    } cases[] = {
        {"lh1", NULL, NULL, "lh1"},
        {"lh[1-2]", "1(x2)", "2(x2)", "lh1:1:2 lh2:1:2"},
        {"gpu[08-11,3],login", "4(x3),2,1", "64(x5),8",
         "gpu08:4:64 gpu09:4:64 gpu10:4:64 gpu11:2:64 gpu3:1:64 login:0:8"},
        {"rack[0-1]n[1-2]", NULL, "4(x4)", "rack0n1:0:4 rack0n2:0:4 rack1n1:0:4 rack1n2:0:4"},
        {"a-1,b[2].cluster.example", "1,1", NULL, "a-1:1:0 b2.cluster.example:1:0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct host_list list = {.count = 0};
        assert_int_equal(
            host_list_read_slurm(&list, cases[i].nodes, cases[i].tasks, cases[i].cores), STATUS_OK);
        expect(&list, cases[i].wanted);
    }
}

enum { SINGLE_NODES = 600 };

/* Every other number of as many, as a fragmented job has them: "PREFIX0001,0003,...]". */
static void write_singles(char text[8 * SINGLE_NODES], const char *prefix)
{
    size_t used = (size_t)snprintf(text, 8 * SINGLE_NODES, "%s", prefix);
    for (int n = 0; n < SINGLE_NODES; n++)
        used += (size_t)snprintf(text + used, 8 * SINGLE_NODES - used, "%04d%c", 2 * n + 1,
                                 n < SINGLE_NODES - 1 ? ',' : ']');
}

static void a_list_of_any_length_is_read(void **state)
{
    (void)state;
    char text[8 * SINGLE_NODES];
    struct host_list list = {.count = 0};
    write_singles(text, "nid[");
    assert_int_equal(host_list_read_slurm(&list, text, "1(x600)", NULL), STATUS_OK);
    assert_int_equal(list.count, SINGLE_NODES);
    assert_string_equal(list.hosts[SINGLE_NODES - 1].name, "nid1199");
    host_list_free(&list);
    write_singles(text, "r[0-1]n[");
    assert_int_equal(host_list_read_slurm(&list, text, NULL, "8(x1200)"), STATUS_OK);
    assert_int_equal(list.count, 2 * SINGLE_NODES);
    assert_string_equal(list.hosts[2 * SINGLE_NODES - 1].name, "r1n1199");
    host_list_free(&list);
}

/* Also where brackets multiply: each of these names few hosts, again and again. */
static void what_a_list_may_name_has_an_end(void **state)
{
    (void)state;
    char name[300] = "";
    struct host_list list = {.count = 0};
    const char *const lists[] = {"a[1-4097]", "a[1-70][1-70]", "a[1][1][1][1][1][1][1][1][1]",
                                 "a[1,1,1,1][1,1,1,1][1,1,1,1][1,1,1,1][1,1,1,1][1,1,1,1]"
                                 "[1,1,1,1][1,1,1,1,1]"};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        if (host_list_read_slurm(&list, lists[i], NULL, NULL) != STATUS_INVALID_ARGUMENT)
            fail_msg("%s was taken", lists[i]);
    memset(name, 'n', sizeof name - 1);
    assert_int_equal(host_list_read_slurm(&list, name, NULL, NULL), STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(status_message(), "a host's name has 1 to 255 bytes, not 299"));
    assert_int_equal(host_list_read_hostfile(&list, "a slots=65535\na slots=1\n", "hosts"),
                     STATUS_OK);
    host_list_free(&list);
    assert_int_equal(host_list_read_hostfile(&list, "a slots=65536\na slots=1\n", "hosts"),
                     STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(status_message(), "host a has more than 65536 slots"));
    assert_int_equal(list.count, 0);
}

static void what_is_no_list_of_nodes_is_refused(void **state)
{
    (void)state;
    const char *const nodes[] = {"",     ",",      "a[", "a[]b]",   "a[1",       "a[1-]",
                                 "a[x]", "a[2-1]", "a]", "a[1,,2]", "a[1-9999]", "a[1234567890]",
                                 "a,,b", "a[1;2]"};
    const char *const counts[] = {"x", "1(x3)", "1,1,1", "1(x2", "1(2)", "-1", "1;2", "1(x)"};
    struct host_list list = {.count = 0};
    for (size_t i = 0; i < sizeof nodes / sizeof nodes[0]; i++) {
        if (host_list_read_slurm(&list, nodes[i], NULL, NULL) != STATUS_INVALID_ARGUMENT)
            fail_msg("%s was taken", nodes[i]);
        assert_non_null(strstr(status_message(), "SLURM_JOB_NODELIST"));
    }
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        if (host_list_read_slurm(&list, "a[1-2]", counts[i], NULL) != STATUS_INVALID_ARGUMENT)
            fail_msg("%s was taken", counts[i]);
        assert_non_null(strstr(status_message(), "SLURM_TASKS_PER_NODE"));
    }
    assert_int_equal(list.count, 0);
}

static void a_hostfile_is_read_as_mpirun_reads_it(void **state)
{
    (void)state;
    struct host_list list = {.count = 0};
    assert_int_equal(host_list_read_hostfile(&list,
                                             "# ours\n\nlh1 slots=2 max_slots=4 # the first\r\n"
                                             "\tlh2\nlh1\n10.0.0.7 slots=3",
                                             "hosts"),
                     STATUS_OK);
    expect(&list, "lh1:3:0 lh2 10.0.0.7:3:0");
    const char *const wrong[] = {"", "# none\n", "a slots=x", "a slots=0", "a slots=2x"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(host_list_read_hostfile(&list, wrong[i], "/f/hosts"),
                         STATUS_INVALID_ARGUMENT);
        assert_non_null(strstr(status_message(), "/f/hosts"));
    }
    assert_int_equal(list.count, 0);
}

static void words_name_hosts_and_their_workers(void **state)
{
    (void)state;
    struct host_list list = {.count = 0};
    assert_int_equal(host_list_read_words(&list, "lh1:2,lh2,lh3:1"), STATUS_OK);
    expect(&list, "lh1:2:0 lh2 lh3:1:0");
    const char *const wrong[] = {"", "a,", ",a", "a:", "a:0", "a:x", "a:1:2", "a,,b"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        if (host_list_read_words(&list, wrong[i]) != STATUS_INVALID_ARGUMENT)
            fail_msg("%s was taken", wrong[i]);
}

static void a_host_is_found_with_and_without_its_domain(void **state)
{
    (void)state;
    struct host_list list = {.count = 0};
    assert_int_equal(host_list_read_words(&list, "node3.a.example,node4,10.0.0.7"), STATUS_OK);
    assert_int_equal(host_list_find(&list, "node3"), 0);
    assert_int_equal(host_list_find(&list, "NODE3.a.example"), 0);
    assert_int_equal(host_list_find(&list, "node3.b.example"), -1);
    assert_int_equal(host_list_find(&list, "node4.a.example"), 1);
    assert_int_equal(host_list_find(&list, "node"), -1);
    assert_int_equal(host_list_find(&list, "10.0.0.8"), -1);
    host_list_free(&list);
}

static void workers_are_dealt_out_evenly_within_slots(void **state)
{
    (void)state;
    static const struct {
        const char *hosts;
        int workers, dealt[3];
    } cases[] = {
        {"a,b,c", 2, {1, 1, 0}},       {"a,b,c", 3, {1, 1, 1}},       {"a,b,c", 7, {3, 2, 2}},
        {"a:4,b:1,c:2", 4, {2, 1, 1}}, {"a:4,b:1,c:2", 7, {4, 1, 2}}, {"a:4,b:1,c:2", 2, {1, 1, 0}},
        {"a:2,b:2,c:2", 8, {3, 3, 2}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct host_list list = {.count = 0};
        int dealt[3];
        assert_int_equal(host_list_read_words(&list, cases[i].hosts), STATUS_OK);
        host_list_deal(&list, dealt, cases[i].workers);
        assert_memory_equal(dealt, cases[i].dealt, sizeof dealt);
        host_list_free(&list);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_jobs_nodes_are_read_as_slurm_writes_them),
        cmocka_unit_test(a_list_of_any_length_is_read),
        cmocka_unit_test(what_a_list_may_name_has_an_end),
        cmocka_unit_test(what_is_no_list_of_nodes_is_refused),
        cmocka_unit_test(a_hostfile_is_read_as_mpirun_reads_it),
        cmocka_unit_test(words_name_hosts_and_their_workers),
        cmocka_unit_test(a_host_is_found_with_and_without_its_domain),
        cmocka_unit_test(workers_are_dealt_out_evenly_within_slots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
