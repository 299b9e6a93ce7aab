/* Heat maps: a cell for each value in either form, colours that stay in order, texts escaped. */
#include "tests/support/unit.h"

#include <math.h>
#include <stdlib.h>

#include "coordinator/bench/heat_map.h"

static const char *const rows[] = {"0 %", "50 %", "100 %"};
static const char *const columns[] = {"4k", "16k"};
static const double some[] = {0, 0.25, 0.5, 1, NAN, 0.75};
static const struct heat_map_panel panels[] = {{"rope & <co>", some}, {"string", some}};

static struct heat_map map_of(size_t panel_count)
{
    return (struct heat_map){.title = "Needles",
                             .subtitle = "found",
                             .row_title = "depth",
                             .column_title = "length",
                             .row_labels = rows,
                             .column_labels = columns,
                             .rows = 3,
                             .columns = 2,
                             .panels = panels,
                             .panel_count = panel_count};
}

static size_t times(const char *text, const char *word)
{
    size_t count = 0;
    for (const char *at = text; (at = strstr(at, word)); at++)
        count++;
    return count;
}

static char *text_of(const struct heat_map *map, bool svg)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *file = open_memstream(&text, &bytes);
    assert_non_null(file);
    assert_int_equal(svg ? heat_map_svg_write(file, map)
                         : heat_map_terminal_write(file, map, true, true),
                     STATUS_OK);
    fclose(file);
    return text;
}

static void an_svg_has_a_cell_for_each_value(void **state)
{
    const struct heat_map map = map_of(2);
    char *text = text_of(&map, true);
    (void)state;
    assert_int_equal(times(text, "width=\"45\" height=\"25\""), 12);
    assert_int_equal(times(text, "fill=\"#eee\""), 2);
    assert_int_equal(times(text, "rope &amp; &lt;co&gt;"), 1);
    assert_int_equal(times(text, ">75<"), 2);
    assert_int_equal(times(text, "<svg"), times(text, "</svg>"));
    free(text);
}

static void plain_characters_are_these(void **state)
{
    const struct heat_map map = map_of(1);
    char *text = text_of(&map, false);
    (void)state;
    assert_string_equal(text, "Needles\n"
                              "found\n"
                              "  rope & <co>\n"
                              "             4k    16k \n"
                              "     0 %      0     25 \n"
                              "    50 %     50    100 \n"
                              "   100 %      -     75 \n");
    free(text);
}

/* As luminance has it (ITU-R BT.709), so that grey paper shows the order too. */
static void more_is_lighter(void **state)
{
    double last = -1;
    (void)state;
    for (int i = 0; i <= 100; i++) {
        int rgb[3];
        heat_map_colour(i / 100.0, rgb);
        const double light = 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2];
        assert_true(light > last);
        last = light;
    }
}

static void what_cannot_be_drawn_is_refused(void **state)
{
    const struct heat_map none = map_of(0), many = map_of(HEAT_MAP_PANELS_MAX + 1);
    struct heat_map empty = map_of(1);
    (void)state;
    empty.columns = 0;
    assert_int_equal(heat_map_check(&none), STATUS_INVALID_ARGUMENT);
    assert_int_equal(heat_map_check(&many), STATUS_INVALID_ARGUMENT);
    assert_int_equal(heat_map_check(&empty), STATUS_INVALID_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_svg_has_a_cell_for_each_value),
        cmocka_unit_test(plain_characters_are_these),
        cmocka_unit_test(more_is_lighter),
        cmocka_unit_test(what_cannot_be_drawn_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
