/* Figures of a load from the times of its requests, held against what numpy makes of the same. */
#include "tests/support/unit.h"

#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

#include "coordinator/bench/serving_metrics.h"
#include "proto/json_writer.h"

enum { MS = 1000000 };

/* Three completed requests and one that was refused, in milliseconds. The second was to be sent at
 * 100 and was at 150: it counts from 100. */
static int64_t first[] = {250 * MS, 300 * MS, 340 * MS};
static int64_t second[] = {400 * MS, 500 * MS};
static int64_t third[] = {900 * MS};
static const struct serving_record records[] = {
    {50 * MS, 50 * MS, 350 * MS, first, 3, 100, 5, 64, true, ""},
    {100 * MS, 150 * MS, 500 * MS, second, 2, 200, 3, 0, true, ""},
    {300 * MS, 300 * MS, 310 * MS, NULL, 0, 100, 0, 0, false, "the queue is full"},
    {800 * MS, 800 * MS, 1050 * MS, third, 1, 300, 1, 0, true, ""},
};
enum { COUNT = sizeof records / sizeof records[0] };

static void times_count_from_when_a_request_was_to_be_sent(void **state)
{
    (void)state;
    struct serving_metrics metrics;
    assert_int_equal(serving_metrics_make(&metrics, records, COUNT, &(struct serving_goals){0}),
                     STATUS_OK);
    assert_int_equal(metrics.completed, 3);
    assert_int_equal(metrics.failed, 1);
    assert_false(metrics.has_goals);
    assert_float_equal(metrics.duration, 1.0, 1e-12); /* 50 to 1,050 */
    const double ttft[] = {0.2, 0.3, 0.1}, e2el[] = {0.3, 0.4, 0.25};
    for (int i = 0; i < 3; i++) {
        assert_float_equal(metrics.ttft.values[i], ttft[i], 1e-12);
        assert_float_equal(metrics.e2el.values[i], e2el[i], 1e-12);
    }
    assert_float_equal(metrics.queued.values[1], 0.05, 1e-12);
    /* Of the third there is no second token. */
    assert_int_equal(metrics.tpot.count, 2);
    assert_float_equal(metrics.tpot.values[0], 0.1 / 4, 1e-12);
    assert_float_equal(metrics.tpot.values[1], 0.1 / 2, 1e-12);
    assert_float_equal(metrics.per_user.values[1], 20, 1e-9);
    assert_int_equal(metrics.itl.count, 3);
    assert_float_equal(metrics.itl.values[1], 0.04, 1e-12);
    assert_int_equal(metrics.max_concurrent_requests, 2);
    serving_metrics_deinit(&metrics);
}

static void good_requests_keep_to_every_goal(void **state)
{
    (void)state;
    static const struct {
        struct serving_goals goals;
        size_t good;
    } cases[] = {
        {{.ttft_ms = 200}, 2},
        {{.ttft_ms = 199}, 1},
        {{.tpot_ms = 30}, 2}, /* the third has none, which is 0 */
        {{.ttft_ms = 250, .tpot_ms = 20}, 1},
        {{.e2el_ms = 1000}, 3},
        {{.e2el_ms = 1}, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct serving_metrics metrics;
        assert_int_equal(serving_metrics_make(&metrics, records, COUNT, &cases[i].goals),
                         STATUS_OK);
        assert_true(metrics.has_goals);
        assert_int_equal(metrics.good, cases[i].good);
        serving_metrics_deinit(&metrics);
    }
}

static double number(json_t *object, const char *section, const char *key)
{
    json_t *value = json_object_get(section ? json_object_get(object, section) : object, key);
    if (!value)
        fail_msg("no member %s", key);
    return json_number_value(value);
}

static json_t *written(const struct serving_goals *goals)
{
    struct serving_metrics metrics;
    char *text = NULL;
    size_t bytes = 0;
    assert_int_equal(serving_metrics_make(&metrics, records, COUNT, goals), STATUS_OK);
    struct json_writer writer = {.file = open_memstream(&text, &bytes)};
    json_writer_begin_object(&writer, NULL);
    serving_metrics_write(&writer, &metrics);
    serving_metrics_write_records(&writer, records, COUNT);
    json_writer_end_object(&writer);
    fclose(writer.file);
    json_t *read = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(read);
    free(text);
    serving_metrics_deinit(&metrics);
    return read;
}

/* numpy.mean, std, median and percentile of [200, 300, 100] ms and so on. */
static void members_have_the_names_and_values_of_other_benches(void **state)
{
    (void)state;
    json_t *read = written(&(struct serving_goals){.ttft_ms = 200});
    assert_float_equal(number(read, NULL, "request_throughput"), 3, 1e-9);
    assert_float_equal(number(read, NULL, "request_goodput"), 2, 1e-9);
    assert_float_equal(number(read, NULL, "output_throughput"), 9, 1e-9);
    assert_float_equal(number(read, NULL, "total_token_throughput"), 609, 1e-9);
    assert_float_equal(number(read, NULL, "total_cached_tokens"), 64, 0);
    assert_float_equal(number(read, NULL, "mean_ttft_ms"), 200, 1e-9);
    assert_float_equal(number(read, NULL, "median_ttft_ms"), 200, 1e-9);
    assert_float_equal(number(read, NULL, "std_ttft_ms"), 81.64965809277261, 1e-9);
    assert_float_equal(number(read, NULL, "p99_ttft_ms"), 298, 1e-9);
    assert_float_equal(number(read, NULL, "mean_tpot_ms"), 37.5, 1e-9);
    assert_float_equal(number(read, NULL, "p99_tpot_ms"), 49.75, 1e-9);
    assert_float_equal(number(read, NULL, "mean_itl_ms"), 190.0 / 3, 1e-9);
    assert_float_equal(number(read, NULL, "p90_e2el_ms"), 380, 1e-9);
    assert_float_equal(number(read, NULL, "mean_client_queue_time_ms"), 50.0 / 3, 1e-9);
    assert_float_equal(number(read, NULL, "median_intvty"), 1000 / 37.5, 1e-9);
    assert_float_equal(number(read, NULL, "p99_intvty"), 1000 / 49.75, 1e-9);
    json_t *aiperf = json_object_get(read, "aiperf");
    assert_float_equal(number(aiperf, "time_to_first_token", "avg"), 200, 1e-9);
    assert_float_equal(number(aiperf, "time_to_first_token", "p25"), 150, 1e-9);
    assert_float_equal(number(aiperf, "inter_token_latency", "max"), 50, 1e-9);
    assert_float_equal(number(aiperf, "output_token_throughput_per_user", "avg"), 30, 1e-9);
    assert_float_equal(number(aiperf, "goodput", "avg"), 2, 1e-9);
    json_decref(read);
}

static void each_request_is_told_and_its_samples_make_the_means(void **state)
{
    (void)state;
    json_t *read = written(&(struct serving_goals){0});
    assert_true(json_is_null(json_object_get(read, "request_goodput")));
    assert_null(json_object_get(json_object_get(read, "aiperf"), "goodput"));
    static const char *const lists[] = {"input_lens",  "output_lens", "ttfts", "latencies",
                                        "start_times", "queue_times", "itls",  "errors"};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        assert_int_equal(json_array_size(json_object_get(read, lists[i])), COUNT);
    json_t *ttfts = json_object_get(read, "ttfts");
    const double sum = json_real_value(json_array_get(ttfts, 0)) +
                       json_real_value(json_array_get(ttfts, 1)) +
                       json_real_value(json_array_get(ttfts, 3));
    assert_float_equal(number(read, NULL, "mean_ttft_ms"), 1000 * sum / 3, 1e-9);
    assert_float_equal(json_number_value(json_array_get(json_object_get(read, "start_times"), 1)),
                       0.05, 1e-12);
    assert_int_equal(json_array_size(json_array_get(json_object_get(read, "itls"), 0)), 2);
    assert_string_equal(json_string_value(json_array_get(json_object_get(read, "errors"), 2)),
                        "the queue is full");
    json_decref(read);
}

static void a_load_of_which_nothing_was_answered_has_rates_of_nothing(void **state)
{
    (void)state;
    struct serving_metrics metrics;
    assert_int_equal(serving_metrics_make(&metrics, records + 2, 1, &(struct serving_goals){0}),
                     STATUS_OK);
    assert_int_equal(metrics.completed, 0);
    assert_int_equal(metrics.failed, 1);
    assert_int_equal(metrics.max_concurrent_requests, 0);
    assert_float_equal(metrics.duration, 0.01, 1e-12);
    serving_metrics_deinit(&metrics);
    assert_int_equal(serving_metrics_make(&metrics, records, 0, &(struct serving_goals){0}),
                     STATUS_OK);
    assert_float_equal(metrics.duration, 0, 0);
    serving_metrics_deinit(&metrics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_count_from_when_a_request_was_to_be_sent),
        cmocka_unit_test(good_requests_keep_to_every_goal),
        cmocka_unit_test(members_have_the_names_and_values_of_other_benches),
        cmocka_unit_test(each_request_is_told_and_its_samples_make_the_means),
        cmocka_unit_test(a_load_of_which_nothing_was_answered_has_rates_of_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
