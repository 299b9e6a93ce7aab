/* Metrics: what is counted is what is written, in both formats, by the formats' own rules. */
#include "tests/support/unit.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/metrics.h"
#include "tests/support/metrics_lint.h"

enum { THREADS = 4, EACH = 2000 };

static const char *const outcomes[] = {"length", "stop", NULL};
static const double bounds[] = {0.25, 1, 10, 0};

static struct metrics_family counter = {.name = "longhaul_things",
                                        .help = "Things, by outcome.",
                                        .type = METRICS_COUNTER,
                                        .labels = {"outcome"},
                                        .words = outcomes};
static struct metrics_family gauge = {
    .name = "longhaul_level_bytes", .help = "A level.", .type = METRICS_GAUGE};
static struct metrics_family histogram = {
    .name = "longhaul_wait_seconds", .help = "Waits.", .type = METRICS_HISTOGRAM, .bounds = bounds};
static struct metrics_family pairs = {.name = "longhaul_pairs",
                                      .help = "A \\ and a\nnewline.",
                                      .type = METRICS_COUNTER,
                                      .labels = {"method", "code"}};
static const struct metrics_family told = {
    .name = "longhaul_asked", .help = "Asked for.", .type = METRICS_GAUGE, .labels = {"rank"}};

static void collect(struct metrics_writer *writer, void *context)
{
    metrics_tell(writer, &told);
    metrics_sample(writer, *(double *)context, "0");
    metrics_sample(writer, INFINITY, "1");
}

static void write_all(char **text, enum metrics_format format)
{
    size_t bytes;
    char sentence[METRICS_LINT_BYTES];
    FILE *out = open_memstream(text, &bytes);
    assert_non_null(out);
    assert_int_equal(metrics_write(out, format), STATUS_OK);
    fclose(out);
    if (!metrics_lint(sentence, *text, format == METRICS_OPENMETRICS))
        fail_msg("%s\n%s", sentence, *text);
}

static void zeros_are_told_before_anything_is_counted(void **state)
{
    (void)state;
    char *text;
    metrics_offer(&counter);
    metrics_offer(&gauge);
    metrics_offer(&histogram);
    metrics_offer(&pairs);
    metrics_offer(&counter);
    write_all(&text, METRICS_TEXT);
    assert_string_equal(text, "# HELP longhaul_level_bytes A level.\n"
                              "# TYPE longhaul_level_bytes gauge\n"
                              "longhaul_level_bytes 0\n"
                              "# HELP longhaul_pairs_total A \\\\ and a\\nnewline.\n"
                              "# TYPE longhaul_pairs_total counter\n"
                              "# HELP longhaul_things_total Things, by outcome.\n"
                              "# TYPE longhaul_things_total counter\n"
                              "longhaul_things_total{outcome=\"length\"} 0\n"
                              "longhaul_things_total{outcome=\"stop\"} 0\n"
                              "# HELP longhaul_wait_seconds Waits.\n"
                              "# TYPE longhaul_wait_seconds histogram\n"
                              "longhaul_wait_seconds_bucket{le=\"0.25\"} 0\n"
                              "longhaul_wait_seconds_bucket{le=\"1\"} 0\n"
                              "longhaul_wait_seconds_bucket{le=\"10\"} 0\n"
                              "longhaul_wait_seconds_bucket{le=\"+Inf\"} 0\n"
                              "longhaul_wait_seconds_sum 0\n"
                              "longhaul_wait_seconds_count 0\n");
    free(text);
}

static void what_is_counted_is_told_in_both_formats(void **state)
{
    (void)state;
    char *text;
    double level = 2.5;
    struct metrics_collector collector = {.collect = collect, .context = &level};
    metrics_add(&counter, 3, "stop");
    metrics_add(&gauge, 1e9);
    metrics_add(&gauge, -1);
    metrics_observe(&histogram, 0.25);
    metrics_observe(&histogram, 0.26);
    metrics_observe(&histogram, 11.5);
    metrics_add(&pairs, 1, "Generate", "OK");
    metrics_add(&pairs, 2, "a \"b\" \\ \n", "OK");
    metrics_collector_add(&collector);
    write_all(&text, METRICS_OPENMETRICS);
    assert_string_equal(text,
                        "# HELP longhaul_level_bytes A level.\n"
                        "# TYPE longhaul_level_bytes gauge\n"
                        "# UNIT longhaul_level_bytes bytes\n"
                        "longhaul_level_bytes 999999999\n"
                        "# HELP longhaul_pairs A \\\\ and a\\nnewline.\n"
                        "# TYPE longhaul_pairs counter\n"
                        "longhaul_pairs_total{method=\"Generate\",code=\"OK\"} 1\n"
                        "longhaul_pairs_total{method=\"a \\\"b\\\" \\\\ \\n\",code=\"OK\"} 2\n"
                        "# HELP longhaul_things Things, by outcome.\n"
                        "# TYPE longhaul_things counter\n"
                        "longhaul_things_total{outcome=\"length\"} 0\n"
                        "longhaul_things_total{outcome=\"stop\"} 3\n"
                        "# HELP longhaul_wait_seconds Waits.\n"
                        "# TYPE longhaul_wait_seconds histogram\n"
                        "# UNIT longhaul_wait_seconds seconds\n"
                        "longhaul_wait_seconds_bucket{le=\"0.25\"} 1\n"
                        "longhaul_wait_seconds_bucket{le=\"1.0\"} 2\n"
                        "longhaul_wait_seconds_bucket{le=\"10.0\"} 2\n"
                        "longhaul_wait_seconds_bucket{le=\"+Inf\"} 3\n"
                        "longhaul_wait_seconds_sum 12.01\n"
                        "longhaul_wait_seconds_count 3\n"
                        "# HELP longhaul_asked Asked for.\n"
                        "# TYPE longhaul_asked gauge\n"
                        "longhaul_asked{rank=\"0\"} 2.5\n"
                        "longhaul_asked{rank=\"1\"} +Inf\n"
                        "# EOF\n");
    free(text);
    metrics_collector_remove(&collector);
    write_all(&text, METRICS_TEXT);
    assert_true(isnan(metrics_lint_value(text, "longhaul_asked{rank=\"0\"}")));
    assert_true(metrics_lint_value(text, "longhaul_things_total{outcome=\"stop\"}") == 3);
    free(text);
}

static void *count(void *none)
{
    (void)none;
    for (int i = 0; i < EACH; i++) {
        metrics_add(&counter, 1, "length");
        metrics_observe(&histogram, 100);
    }
    return NULL;
}

static void threads_lose_no_count_and_a_histogram_is_whole(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    char *text;
    const double before = metrics_value(&histogram, METRICS_VALUES(NULL));
    for (int t = 0; t < THREADS; t++)
        assert_int_equal(pthread_create(&threads[t], NULL, count, NULL), 0);
    for (int i = 0; i < 20; i++) {
        write_all(&text, METRICS_TEXT);
        free(text);
    }
    for (int t = 0; t < THREADS; t++)
        pthread_join(threads[t], NULL);
    assert_true(metrics_value(&counter, METRICS_VALUES("length")) == THREADS * EACH);
    assert_true(metrics_value(&histogram, METRICS_VALUES(NULL)) - before == THREADS * EACH);
}

static void too_many_series_are_counted_together(void **state)
{
    (void)state;
    char word[16];
    for (int i = 0; i < 2 * METRICS_SERIES_MAX; i++) {
        snprintf(word, sizeof word, "%d", i);
        metrics_add(&pairs, 1, "Many", word);
    }
    assert_true(metrics_value(&pairs, METRICS_VALUES("other", "other")) >= METRICS_SERIES_MAX);
    assert_true(metrics_value(&pairs, METRICS_VALUES("Many", "0")) == 1);
}

static void the_format_is_what_the_client_accepts(void **state)
{
    (void)state;
    assert_int_equal(metrics_format_of(NULL), METRICS_TEXT);
    assert_int_equal(metrics_format_of("text/html"), METRICS_TEXT);
    assert_int_equal(
        metrics_format_of("application/openmetrics-text;version=1.0.0;q=0.75,text/plain;q=0.5"),
        METRICS_OPENMETRICS);
    assert_non_null(strstr(metrics_media_type(METRICS_TEXT), "version=0.0.4"));
    assert_non_null(strstr(metrics_media_type(METRICS_OPENMETRICS), "application/openmetrics"));
}

/* What the reader itself refuses: so that what it takes says something. */
static void the_lint_bites(void **state)
{
    (void)state;
    static const char head[] = "# HELP a_total A.\n# TYPE a_total counter\n";
    static const char *const bad[] = {
        "a_total 1",                            /* no newline */
        "a_total 1\n",                          /* no head */
        "# HELP a A.\n# TYPE a counter\na 1\n", /* a counter without _total */
        "# HELP a A.\n# TYPE a gauge\na 1\na 1\n",
        "# HELP a A.\n# TYPE a gauge\na{b=\"1\",b=\"2\"} 1\n",
        "# HELP a A.\n# TYPE a gauge\na{b=\"\\x\"} 1\n",
        "# HELP a A.\n# TYPE a gauge\na 1 \n",
        "# HELP a A.\n# TYPE a gauge\na one\n",
        "# HELP a A.\n# TYPE a gauge\na 1\n# HELP b B.\n# TYPE b gauge\n# TYPE a gauge\n",
        "# HELP a_ms A.\n# TYPE a_ms gauge\n",
        "# HELP a A.\n# TYPE a histogram\na_bucket{le=\"1\"} 1\na_sum 1\na_count 1\n",
        "# HELP a A.\n# TYPE a histogram\na_bucket{le=\"2\"} 2\na_bucket{le=\"+Inf\"} 1\na_sum 1\n"
        "a_count 1\n",
        "# HELP a A.\n# TYPE a histogram\na_bucket{le=\"+Inf\"} 2\na_sum 1\na_count 1\n",
        "# HELP a A.\n# TYPE a histogram\na_bucket{le=\"+Inf\"} 2\na_sum 1\n",
        "# EOF\n",
    };
    char sentence[METRICS_LINT_BYTES], text[256];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (metrics_lint(sentence, bad[i], false))
            fail_msg("taken: %s", bad[i]);
    snprintf(text, sizeof text, "%sa_total 1\n", head);
    assert_true(metrics_lint(sentence, text, false));
    snprintf(text, sizeof text, "%sa_total -1\n", head);
    assert_false(metrics_lint(sentence, text, false));
    assert_false(metrics_lint(sentence, "# HELP a A.\n# TYPE a gauge\na 1\n", true));
    assert_true(metrics_lint(sentence, "# HELP a A.\n# TYPE a gauge\na 1\n# EOF\n", true));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_lint_bites),
        cmocka_unit_test(zeros_are_told_before_anything_is_counted),
        cmocka_unit_test(what_is_counted_is_told_in_both_formats),
        cmocka_unit_test(threads_lose_no_count_and_a_histogram_is_whole),
        cmocka_unit_test(too_many_series_are_counted_together),
        cmocka_unit_test(the_format_is_what_the_client_accepts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
