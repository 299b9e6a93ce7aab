/* What is told of samples follows from them. */
#include "tests/support/unit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

#include "coordinator/bench/samples.h"
#include "proto/json_writer.h"

static void add_all(struct samples *samples, const double *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_int_equal(samples_add(samples, values[i]), STATUS_OK);
}

/* Values that numpy gave: mean, std(ddof=1), median, percentile. */
static void a_summary_is_what_numpy_says_of_the_same_values(void **state)
{
    (void)state;
    static const double values[] = {3, 1, 4, 1, 5, 9, 2, 6};
    struct samples samples = {0};
    add_all(&samples, values, 8);
    const struct samples_summary summary = samples_summarise(&samples);
    assert_int_equal(summary.count, 8);
    assert_float_equal(summary.mean, 3.875, 1e-12);
    assert_float_equal(summary.deviation, 2.7483761439387144, 1e-12);
    assert_float_equal(summary.median, 3.5, 1e-12);
    assert_float_equal(summary.least, 1, 0);
    assert_float_equal(summary.most, 9, 0);
    assert_float_equal(samples_percentile(&samples, 0), 1, 0);
    assert_float_equal(samples_percentile(&samples, 25), 1.75, 1e-12);
    assert_float_equal(samples_percentile(&samples, 90), 6.9, 1e-12);
    assert_float_equal(samples_percentile(&samples, 99), 8.79, 1e-12);
    assert_float_equal(samples_percentile(&samples, 100), 9, 0);
    samples_deinit(&samples);
}

static void samples_stay_as_they_came_and_later_ones_count(void **state)
{
    (void)state;
    struct samples samples = {0};
    for (int i = 100; i > 0; i--) {
        assert_int_equal(samples_add(&samples, i), STATUS_OK);
        assert_float_equal(samples_percentile(&samples, 0), i, 0);
        assert_float_equal(samples_percentile(&samples, 100), 100, 0);
    }
    assert_float_equal(samples.values[0], 100, 0);
    assert_float_equal(samples.values[99], 1, 0);
    samples_deinit(&samples);
}

static void none_and_one_have_no_deviation(void **state)
{
    (void)state;
    struct samples samples = {0};
    struct samples_summary summary = samples_summarise(&samples);
    assert_int_equal(summary.count, 0);
    assert_float_equal(summary.mean, 0, 0);
    assert_float_equal(samples_percentile(&samples, 50), 0, 0);
    assert_int_equal(samples_add(&samples, 7), STATUS_OK);
    summary = samples_summarise(&samples);
    assert_float_equal(summary.mean, 7, 0);
    assert_float_equal(summary.median, 7, 0);
    assert_float_equal(summary.deviation, 0, 0);
    samples_deinit(&samples);
}

static void what_is_no_number_is_no_sample(void **state)
{
    (void)state;
    struct samples samples = {0};
    assert_int_equal(samples_add(&samples, NAN), STATUS_INTERNAL);
    assert_int_equal(samples_add(&samples, INFINITY), STATUS_INTERNAL);
    assert_int_equal(samples.count, 0);
    samples_deinit(&samples);
}

static void json_tells_the_raw_values_and_their_mean(void **state)
{
    (void)state;
    static const double values[] = {0.1, 0.2, 0.4};
    struct samples samples = {0};
    char *text = NULL;
    size_t bytes = 0;
    add_all(&samples, values, 3);
    struct json_writer writer = {.file = open_memstream(&text, &bytes)};
    json_writer_begin_object(&writer, NULL);
    samples_write(&writer, "seconds", &samples);
    json_writer_end_object(&writer);
    fclose(writer.file);
    json_t *read = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, NULL);
    json_t *seconds = json_object_get(read, "seconds");
    json_t *raw = json_object_get(seconds, "samples");
    assert_int_equal(json_array_size(raw), 3);
    assert_int_equal(json_integer_value(json_object_get(seconds, "count")), 3);
    double sum = 0;
    for (size_t i = 0; i < 3; i++) {
        assert_float_equal(json_real_value(json_array_get(raw, i)), values[i], 0);
        sum += json_real_value(json_array_get(raw, i));
    }
    assert_float_equal(json_real_value(json_object_get(seconds, "mean")), sum / 3, 0);
    assert_float_equal(json_real_value(json_object_get(seconds, "most")), 0.4, 0);
    json_decref(read);
    free(text);
    samples_deinit(&samples);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_summary_is_what_numpy_says_of_the_same_values),
        cmocka_unit_test(samples_stay_as_they_came_and_later_ones_count),
        cmocka_unit_test(none_and_one_have_no_deviation),
        cmocka_unit_test(what_is_no_number_is_no_sample),
        cmocka_unit_test(json_tells_the_raw_values_and_their_mean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
