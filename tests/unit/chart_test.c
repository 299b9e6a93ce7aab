/* Charts: round ticks, every value within its axis, well-formed SVG and bounded lines whatever the
 * texts hold. */
#include "tests/support/unit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/bench/chart_axis.h"
#include "coordinator/bench/chart_svg.h"
#include "coordinator/bench/chart_terminal.h"
#include "proto/utf8_check.h"

/* ---- axes ---- */

static void expect_ticks(enum chart_scale scale, bool free, double least, double most,
                         const char *expected)
{
    const struct chart_axis axis = {.title = "t", .scale = scale, .free = free};
    struct chart_span span;
    chart_axis_span(&span, &axis, least, most, 6);
    char said[512] = "";
    for (size_t i = 0; i < span.tick_count; i++)
        snprintf(said + strlen(said), sizeof said - strlen(said), "%s%s", i ? " " : "",
                 span.ticks[i].label);
    assert_string_equal(said, expected);
}

static void ticks_are_round_and_labelled_for_people(void **state)
{
    (void)state;
    expect_ticks(CHART_LINEAR, false, 312, 1170, "0 200 400 600 800 1,000 1,200");
    expect_ticks(CHART_LINEAR, false, 2000, 6100, "0 2,000 4,000 6,000 8,000");
    expect_ticks(CHART_LINEAR, false, 0, 54321, "0 10k 20k 30k 40k 50k 60k");
    expect_ticks(CHART_LINEAR, false, 0.1, 0.93, "0 0.2 0.4 0.6 0.8 1.0");
    expect_ticks(CHART_LINEAR, true, 0.93, 0.99, "0.93 0.94 0.95 0.96 0.97 0.98 0.99");
    expect_ticks(CHART_LINEAR, false, -3, 2, "-3 -2 -1 0 1 2");
    expect_ticks(CHART_LINEAR, false, 0, 2.5e7, "0 5M 10M 15M 20M 25M");
    expect_ticks(CHART_LINEAR, false, 0, 0, "0 0.2 0.4 0.6 0.8 1.0");
    expect_ticks(CHART_LINEAR, true, 5, 5, "5.0 5.1 5.2 5.3 5.4 5.5");
    expect_ticks(CHART_LOG2, false, 1, 16, "1 2 4 8 16");
    expect_ticks(CHART_LOG2, false, 1024, 131072, "1k 4k 16k 64k");
    expect_ticks(CHART_LOG2, false, 3, 3, "2 4");
    expect_ticks(CHART_LOG10, false, 3, 170, "2 5 10 20 50 100 200");
    expect_ticks(CHART_LOG10, false, 0.004, 3e6, "0.001 0.1 10 1000 100k 10M");
    expect_ticks(CHART_LOG10, false, 10, 10, "10 20");
}

/* Over twelve orders of magnitude on every scale: few ticks, ascending, within the span, and the
 * values too. */
static void every_value_lies_within_its_axis(void **state)
{
    (void)state;
    for (int scale = CHART_LINEAR; scale <= CHART_LOG10; scale++)
        for (double least = 1e-6; least < 1e6; least *= 3.7)
            for (double ratio = 1; ratio < 1e9; ratio *= 2.3) {
                const double most = least * ratio;
                const struct chart_axis axis = {.title = "t", .scale = (enum chart_scale)scale};
                struct chart_span span;
                chart_axis_span(&span, &axis, least, most, 6);
                assert_true(span.tick_count >= 2 && span.tick_count <= 9);
                assert_true(chart_axis_place(&span, least) >= -1e-9);
                assert_true(chart_axis_place(&span, most) <= 1 + 1e-9);
                for (size_t i = 0; i < span.tick_count; i++) {
                    const double place = chart_axis_place(&span, span.ticks[i].value);
                    assert_true(place >= -1e-9 && place <= 1 + 1e-9);
                    assert_true(i == 0 || span.ticks[i].value > span.ticks[i - 1].value);
                    assert_true(i == 0 ||
                                strcmp(span.ticks[i].label, span.ticks[i - 1].label) != 0);
                }
            }
}

/* ---- what is drawn ---- */

static const struct chart_point rising[] = {{1, 100, 5}, {2, 190, 12}, {4, 350, 0}, {8, 600, 30}};
static const struct chart_point broken[] = {{1, 80, 0}, {2, NAN, 0}, {4, 300, 0}, {0, 5, 0}};
static const struct chart_point ideal[] = {{1, 100, 0}, {8, 800, 0}};

static const char *const labels[] = {"one & a half", "2", "4", "eight workers with a long name"};

static const struct chart_series series[] = {
    {"rope <one> & \"two\"", rising, 4, CHART_SOLID, labels, NULL},
    {"rope, predicted", broken, 4, CHART_PREDICTION, NULL, NULL},
    {"string \xff\x1b[31m\xef\xbf\xbf", broken, 4, CHART_SOLID, NULL, NULL},
    {"ideal", ideal, 2, CHART_REFERENCE, NULL, NULL},
};

static struct chart chart_of(const struct chart_series *of, size_t count)
{
    return (struct chart){
        .title = "Prefill by workers </svg>",
        .subtitle = "two cores, 8k tokens",
        .x = {.title = "workers", .scale = CHART_LOG2},
        .y = {.title = "rate", .unit = "tokens/s", .scale = CHART_LINEAR},
        .series = of,
        .series_count = count,
    };
}

static char *svg_of(const struct chart *chart)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *file = open_memstream(&text, &bytes);
    assert_int_equal(chart_svg_write(file, chart), STATUS_OK);
    fclose(file);
    assert_int_equal(utf8_check(text, bytes, "svg"), STATUS_OK);
    return text;
}

static size_t count_of(const char *text, const char *word)
{
    size_t count = 0;
    for (const char *at = strstr(text, word); at; at = strstr(at + 1, word))
        count++;
    return count;
}

/* Every element that opens is closed, in the right place. */
static void expect_well_formed(const char *text)
{
    char open[16][16];
    int depth = 0;
    for (const char *at = strchr(text, '<'); at; at = strchr(at + 1, '<')) {
        const char *end = strchr(at, '>');
        assert_non_null(end);
        char name[16] = "";
        sscanf(at[1] == '/' ? at + 2 : at + 1, "%15[a-z]", name);
        if (at[1] == '/') {
            assert_true(depth > 0);
            assert_string_equal(name, open[--depth]);
        } else if (end[-1] != '/') {
            assert_true(depth < 16);
            memcpy(open[depth++], name, sizeof name);
        }
    }
    assert_int_equal(depth, 0);
}

static void an_svg_is_well_formed_and_its_texts_are_escaped(void **state)
{
    (void)state;
    const struct chart chart = chart_of(series, 4);
    char *text = svg_of(&chart);
    expect_well_formed(text);
    assert_non_null(strstr(text, "Prefill by workers &lt;/svg&gt;"));
    assert_non_null(strstr(text, "rope &lt;one&gt; &amp; &quot;two&quot;"));
    assert_non_null(strstr(text, "string \ufffd\ufffd[31m\ufffd"));
    assert_null(strchr(text, '\x1b'));
    assert_non_null(strstr(text, ">one &amp; a half</text>"));
    assert_int_equal(count_of(text, "text-anchor=\"end\">eight workers"), 1);
    free(text);
}

static void
an_svg_has_a_mark_for_each_point_that_can_be_shown_and_a_bar_for_each_error(void **state)
{
    (void)state;
    const struct chart chart = chart_of(series, 4);
    char *text = svg_of(&chart);
    assert_int_equal(count_of(text, "<circle"), 4 + 1); /* and the legend's */
    assert_int_equal(count_of(text, "height=\"7\""), 2 + 1);
    assert_int_equal(count_of(text, "stroke-width=\"1\""), 3);
    /* Dashed: two lines, and their places in the legend. */
    assert_int_equal(count_of(text, "stroke-dasharray"), 4);
    assert_null(strstr(text, "nan"));
    free(text);
}

static char *characters_of(const struct chart *chart, const struct chart_terminal *terminal)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *file = open_memstream(&text, &bytes);
    assert_int_equal(chart_terminal_write(file, chart, terminal), STATUS_OK);
    fclose(file);
    return text;
}

/* In characters, escape sequences not counted. */
static int longest_line(const char *text)
{
    int longest = 0, now = 0;
    for (; *text; text++) {
        if (*text == '\x1b')
            text = strchr(text, 'm');
        else if (*text == '\n')
            now = 0;
        else
            now += ((unsigned char)*text & 0xc0) != 0x80;
        if (now > longest)
            longest = now;
    }
    return longest;
}

static void lines_keep_to_the_width_and_plain_ones_to_ascii(void **state)
{
    (void)state;
    const struct chart chart = chart_of(series, 4);
    for (int columns = 0; columns <= 250; columns += 10)
        for (int form = 0; form < 3; form++) {
            const struct chart_terminal terminal = {
                .columns = columns, .rows = 12, .plain = form == 0, .colour = form == 2};
            char *text = characters_of(&chart, &terminal);
            assert_true(longest_line(text) <= (columns > 40 ? columns : 40));
            assert_int_equal(utf8_check(text, strlen(text), "chart"), STATUS_OK);
            for (const char *c = text; form == 0 && *c; c++)
                assert_true(*c == '\n' || (*c >= ' ' && *c < 0x7f));
            assert_int_equal(strchr(text, '\x1b') != NULL, form == 2);
            free(text);
        }
}

static void a_plain_chart_is_this_one(void **state)
{
    (void)state;
    static const struct chart_point points[] = {{0, 0, 0}, {10, 100, 0}};
    static const struct chart_series line = {"line", points, 2, CHART_SOLID, NULL, NULL};
    struct chart chart = chart_of(&line, 1);
    chart.title = "A line";
    chart.subtitle = NULL;
    chart.x = (struct chart_axis){.title = "x", .unit = "s"};
    const struct chart_terminal terminal = {.columns = 40, .rows = 5, .plain = true};
    char *text = characters_of(&chart, &terminal);
    assert_string_equal(text, "A line\n"
                              "rate, tokens/s\n"
                              "100 +                            ......o\n"
                              "    |                     ........\n"
                              " 50 +              .......\n"
                              "    |      ........\n"
                              "  0 +o......\n"
                              "    ++----------------+----------------+\n"
                              "     0                5               10\n"
                              "     x, s\n"
                              "     o line\n");
    free(text);
}

/* A score of 1 is sure upwards and not downwards: the bar says so, and the axis ends at 1. */
static void a_bar_may_reach_down_another_way_than_up(void **state)
{
    (void)state;
    static const struct chart_point points[] = {{0, 1, 0}, {10, 0.5, 0.25}};
    static const double below[] = {0.5, 0.125};
    static const struct chart_series line = {"line", points, 2, CHART_SOLID, NULL, below};
    struct chart chart = chart_of(&line, 1);
    chart.x = (struct chart_axis){.title = "x"};
    chart.y = (struct chart_axis){.title = "score", .reach = 1};
    struct chart_span x, y;
    chart_axis_spans(&x, &y, &chart, 6, 6);
    assert_true(y.first == 0 && y.last == 1);
    const struct chart_terminal terminal = {.columns = 40, .rows = 9, .plain = true};
    char *text = characters_of(&chart, &terminal);
    int bars = 0;
    for (const char *at = text; (at = strchr(at, '\n'));)
        bars += (++at)[0] && at[5] == '|';
    assert_int_equal(bars, 4); /* from 0.5 to just below 1 */
    free(text);
}

/* Two lines of 64 points on each other: eight marks each, at other points. */
static void many_points_have_few_marks(void **state)
{
    static struct chart_point points[64];
    (void)state;
    for (int i = 0; i < 64; i++)
        points[i] = (struct chart_point){i, 1, 0};
    const struct chart_series lines[] = {{"one", points, 64, CHART_SOLID, NULL, NULL},
                                         {"other", points, 64, CHART_SOLID, NULL, NULL}};
    struct chart chart = chart_of(lines, 2);
    chart.x = chart.y = (struct chart_axis){.title = "x"};
    chart.sparse = true;
    int marks = 0;
    for (size_t i = 0; i < 64; i++) {
        marks += chart_marks(&chart, 0, i);
        assert_false(chart_marks(&chart, 0, i) && chart_marks(&chart, 1, i));
    }
    assert_int_equal(marks, 8);
    char *text = svg_of(&chart);
    int circles = 0;
    for (const char *at = text; (at = strstr(at, "<circle")); at++)
        circles++;
    assert_int_equal(circles, 8 + 1); /* and the legend's */
    free(text);
}

static void what_cannot_be_drawn_is_refused(void **state)
{
    (void)state;
    static const struct chart_point none[] = {{NAN, 1, 0}, {0, 1, 0}, {-1, 1, 0}};
    static const struct chart_series empty[] = {{"empty", none, 3, CHART_SOLID, NULL, NULL}};
    static struct chart_series many[CHART_SERIES_MAX + 1];
    for (int i = 0; i <= CHART_SERIES_MAX; i++)
        many[i] = series[0];
    const struct chart charts[] = {chart_of(empty, 1), chart_of(series, 0),
                                   chart_of(many, CHART_SERIES_MAX + 1)};
    const struct chart_terminal terminal = {.columns = 80, .rows = 10};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(chart_svg_write(stdout, &charts[i]), STATUS_INVALID_ARGUMENT);
        assert_int_equal(chart_terminal_write(stdout, &charts[i], &terminal),
                         STATUS_INVALID_ARGUMENT);
    }
    const struct chart most = chart_of(many, CHART_SERIES_MAX);
    free(svg_of(&most));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ticks_are_round_and_labelled_for_people),
        cmocka_unit_test(every_value_lies_within_its_axis),
        cmocka_unit_test(an_svg_is_well_formed_and_its_texts_are_escaped),
        cmocka_unit_test(
            an_svg_has_a_mark_for_each_point_that_can_be_shown_and_a_bar_for_each_error),
        cmocka_unit_test(lines_keep_to_the_width_and_plain_ones_to_ascii),
        cmocka_unit_test(a_plain_chart_is_this_one),
        cmocka_unit_test(a_bar_may_reach_down_another_way_than_up),
        cmocka_unit_test(many_points_have_few_marks),
        cmocka_unit_test(what_cannot_be_drawn_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
