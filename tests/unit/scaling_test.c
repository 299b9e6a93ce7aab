/* What runs over different numbers of workers say: cores, efficiency, bytes, and when a figure is
 * not to be trusted. */
#include "tests/support/unit.h"

#include <stdio.h>

#include "coordinator/bench/scaling.h"

enum { RANKS_MOST = 4 };

static struct scaling_row row_of(const char *method, int workers, int64_t tokens)
{
    return (struct scaling_row){.method = method, .workers = workers, .prompt_tokens = tokens};
}

/* A run of ranks that are alike, on so many hosts in turn. */
static void add(struct scaling_row *row, double seconds, double flops, int threads, int hosts,
                int host_cores)
{
    struct scaling_rank ranks[RANKS_MOST] = {0};
    for (int rank = 0; rank < row->workers; rank++) {
        snprintf(ranks[rank].host, sizeof ranks[rank].host, "host%d", rank % hosts);
        ranks[rank].threads = threads;
        ranks[rank].host_cores = host_cores;
        ranks[rank].sent_bytes = 100 * (rank + 1);
        ranks[rank].predicted_sent_bytes = 100 * (rank + 1);
        ranks[rank].cpu_seconds = seconds * threads;
        ranks[rank].wait_seconds = seconds / 4;
        ranks[rank].voluntary_switches = 3;
        ranks[rank].involuntary_switches = 2;
    }
    const struct scaling_run run = {seconds, 2 * seconds, flops, ranks};
    assert_int_equal(scaling_row_add(row, &run), STATUS_OK);
}

static void deinit(struct scaling_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        scaling_row_deinit(&rows[i]);
}

static void the_same_cores_and_the_same_time_are_an_efficiency_of_one(void **state)
{
    (void)state;
    struct scaling_row rows[] = {row_of("rope", 1, 1000), row_of("rope", 2, 1000)};
    add(&rows[0], 10, 1e12, 2, 1, 2);
    add(&rows[1], 10, 1e12, 1, 1, 2);
    assert_int_equal(scaling_compare(rows, 2), STATUS_OK);
    assert_int_equal(rows[0].cores, 2);
    assert_int_equal(rows[1].cores, 2);
    assert_false(rows[1].shared);
    assert_true(rows[0].efficiency == 1);
    assert_true(rows[1].efficiency == 1);
    assert_true(scaling_tokens_per_second(&rows[1]) == 100);
    deinit(rows, 2);
}

static void operations_and_cores_count_and_each_method_has_its_own_first_row(void **state)
{
    (void)state;
    struct scaling_row rows[] = {
        row_of("rope", 1, 1000),
        row_of("string", 1, 1000),
        row_of("rope", 2, 2000),
        row_of("string", 4, 1000),
    };
    add(&rows[0], 10, 1e12, 1, 1, 8);
    add(&rows[1], 40, 1e12, 1, 1, 8);
    add(&rows[2], 20, 4e12, 1, 2, 8); /* twice the cores, four times the work, twice the time */
    add(&rows[3], 20, 1e12, 1, 2, 8); /* four times the cores, half the time */
    assert_int_equal(scaling_compare(rows, 4), STATUS_OK);
    assert_int_equal(rows[2].cores, 2);
    assert_int_equal(rows[3].cores, 4);
    assert_true(rows[1].efficiency == 1);
    assert_true(rows[2].efficiency == 1);
    assert_true(rows[3].efficiency == 0.5);
    assert_true(scaling_ideal_seconds(&rows[3], &rows[1]) == 10);
    deinit(rows, 4);
}

static void medians_are_compared_and_repetitions_pairwise(void **state)
{
    (void)state;
    struct scaling_row rows[] = {row_of("rope", 1, 1000), row_of("rope", 2, 1000)};
    static const double one[] = {10, 30, 12}, two[] = {20, 30, 24};
    for (int i = 0; i < 3; i++) {
        add(&rows[0], one[i], 1e12, 2, 1, 2);
        add(&rows[1], two[i], 1e12, 1, 1, 2);
    }
    assert_int_equal(scaling_compare(rows, 2), STATUS_OK);
    assert_true(rows[1].efficiency == 12.0 / 24);
    assert_int_equal(rows[1].efficiencies.count, 3);
    assert_true(rows[1].efficiencies.values[0] == 0.5);
    assert_true(rows[1].efficiencies.values[1] == 1);
    assert_true(rows[1].efficiencies.values[2] == 0.5);
    assert_true(rows[0].efficiencies.values[1] == 1);
    deinit(rows, 2);
}

static void threads_beyond_the_cores_are_no_cores_and_are_told(void **state)
{
    (void)state;
    struct scaling_row rows[] = {row_of("rope", 4, 1000), row_of("rope", 4, 1000)};
    add(&rows[0], 10, 1e12, 1, 1, 2);
    add(&rows[1], 10, 1e12, 1, 2, 2);
    assert_int_equal(rows[0].cores, 2);
    assert_int_equal(rows[0].threads, 4);
    assert_true(rows[0].shared);
    assert_int_equal(rows[1].cores, 4);
    assert_false(rows[1].shared);
    deinit(rows, 2);
}

static void bytes_waits_and_switches_are_summed(void **state)
{
    (void)state;
    struct scaling_row row = row_of("rope", 4, 1000);
    add(&row, 10, 1e12, 1, 1, 4);
    add(&row, 20, 1e12, 1, 1, 4);
    assert_int_equal(row.sent_bytes, 1000);
    assert_int_equal(row.predicted_sent_bytes, 1000);
    assert_int_equal(row.most_sent_bytes, 400);
    assert_true(scaling_bus_rate(&row) == 400.0 / 15);
    assert_true(samples_summarise(&row.waits).median == 0.25);
    assert_true(row.ranks[3].cpu_seconds == 30);
    assert_int_equal(row.ranks[3].voluntary_switches, 6);
    assert_int_equal(row.ranks[3].involuntary_switches, 4);
    assert_true(row.predicted_seconds == 40);
    assert_false(row.differs);
    add(&row, 20, 2e12, 1, 1, 4);
    assert_true(row.differs);
    deinit(&row, 1);
    row = row_of("rope", 4, 1000);
    add(&row, 10, 1e12, 1, 1, 4);
    add(&row, 10, 1e12, 2, 1, 4); /* found other cores */
    assert_true(row.differs);
    assert_true(row.shared);
    deinit(&row, 1);
}

/* A run of two ranks on one host of four cores, with others on so many of them. */
static void add_beside_others(struct scaling_row *row, double seconds, double other_cores)
{
    struct scaling_rank ranks[2] = {{.host = "a", .threads = 2, .host_cores = 4},
                                    {.host = "a", .threads = 2, .host_cores = 4}};
    for (int rank = 0; rank < 2; rank++) {
        ranks[rank].cpu_seconds = 2 * seconds;
        ranks[rank].host_cpu_seconds = other_cores < 0 ? 0 : (4 + other_cores) * seconds;
    }
    const struct scaling_run run = {seconds, seconds, 1e12, ranks};
    assert_int_equal(scaling_row_add(row, &run), STATUS_OK);
}

static void others_on_the_cores_are_told_where_it_is_known(void **state)
{
    (void)state;
    bool known;
    struct scaling_row row = row_of("rope", 2, 1000);
    add_beside_others(&row, 10, 0.1);
    assert_false(scaling_busy(&row, &known));
    assert_true(known);
    add_beside_others(&row, 10, 0.5);
    assert_true(scaling_busy(&row, &known)); /* a median of 0.3 of 4 */
    deinit(&row, 1);
    row = row_of("rope", 2, 1000);
    add_beside_others(&row, 0.1, 3); /* too short to tell */
    assert_false(scaling_busy(&row, &known));
    assert_false(known);
    add_beside_others(&row, 10, -1); /* the host does not tell */
    assert_false(scaling_busy(&row, &known));
    assert_false(known);
    deinit(&row, 1);
}

static void a_run_without_time_is_refused(void **state)
{
    (void)state;
    struct scaling_row row = row_of("rope", 1, 1000);
    const struct scaling_rank rank = {.host = "a", .threads = 1, .host_cores = 1};
    const struct scaling_run run = {0, 1, 1e12, &rank};
    assert_int_equal(scaling_row_add(&row, &run), STATUS_INTERNAL);
    assert_int_equal(row.seconds.count, 0);
    deinit(&row, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_cores_and_the_same_time_are_an_efficiency_of_one),
        cmocka_unit_test(operations_and_cores_count_and_each_method_has_its_own_first_row),
        cmocka_unit_test(medians_are_compared_and_repetitions_pairwise),
        cmocka_unit_test(threads_beyond_the_cores_are_no_cores_and_are_told),
        cmocka_unit_test(bytes_waits_and_switches_are_summed),
        cmocka_unit_test(others_on_the_cores_are_told_where_it_is_known),
        cmocka_unit_test(a_run_without_time_is_refused),
    };
    return cmocka_run_group_tests_name("scaling", tests, NULL, NULL);
}
