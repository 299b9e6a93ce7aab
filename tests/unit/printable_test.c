/* What of a foreign text a terminal may be shown. */
#include "tests/support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/printable.h"
#include "proto/status.h"
#include "proto/utf8_check.h"

/* `lines` and `text`: what the two ways of masking leave of `given`; NULL: all of it. */
static const struct {
    const char *given;
    const char *line;
    const char *text;
} cases[] = {
    {"", NULL, NULL},
    {"plain ~ text", NULL, NULL},
    {"\x1b[31mred\x1b[0m", ".[31mred.[0m", ".[31mred.[0m"},
    {"\x1b]0;title\x07", ".]0;title.", ".]0;title."},
    {"one\ntwo\tthree", "one.two.three", NULL},
    {"over\rwritten\b\x7f", "over.written..", "over.written.."},
    {"\xC2\x9B"
     "31m",
     "..31m", "..31m"}, /* U+009B, CSI in one character */
    {"\xC2\x9F\xC2\xA0\xC2\xA1", "..\xC2\xA0\xC2\xA1", "..\xC2\xA0\xC2\xA1"},
    {"\xC4\xA0t\xE2\x82\xAC\xF0\x9F\x98\x80", NULL, NULL},
    {"a\xE2\x80\xAE"
     "b\xE2\x81\xA6\xE2\x81\xA9\xE2\x80\xA8",
     "a...b.........", NULL},
    {"\xE2\x80\x8D\xE2\x80\xA7\xE2\x80\xAF", NULL, NULL}, /* beside those: a joiner, two others */
    {"\x9b\xff\xC3", "...", "..."},                       /* bytes that are no UTF-8 */
    {"cut \xE2\x82", "cut ..", "cut .."},
    {"\xE2\x82\x1b[m", "...[m", "...[m"},
};

static void what_steers_a_terminal_is_masked_and_nothing_else(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char line[64];
        char text[64];
        size_t bytes = strlen(cases[i].given);
        memcpy(line, cases[i].given, bytes + 1);
        memcpy(text, cases[i].given, bytes + 1);
        printable_mask_line(line, bytes);
        printable_mask_text(text, bytes);
        assert_string_equal(line, cases[i].line ? cases[i].line : cases[i].given);
        assert_string_equal(text, cases[i].text ? cases[i].text : cases[i].given);
    }
}

static void a_nul_inside_a_text_is_masked(void **state)
{
    (void)state;
    char text[] = {'a', 0, 'b', 0};
    printable_mask_line(text, 3);
    assert_string_equal(text, "a.b");
}

/* At every place of a long text, a character comes out as it does in a short one. */
static void a_text_is_written_masked_wherever_its_characters_fall(void **state)
{
    (void)state;
    static const char tail[] = "\xF0\x9F\x98\x80\xC2\x9B\n\xE2\x80\xAE!";
    for (size_t before = 0; before < 600; before++) {
        for (int many_lines = 0; many_lines < 2; many_lines++) {
            char given[700];
            memset(given, 'x', before);
            memcpy(given + before, tail, sizeof tail);
            char *written = NULL;
            size_t bytes;
            FILE *out = open_memstream(&written, &bytes);
            assert_non_null(out);
            (many_lines ? printable_write_text : printable_write_line)(out, given, strlen(given));
            fclose(out);
            (many_lines ? printable_mask_text : printable_mask_line)(given, strlen(given));
            assert_string_equal(written, given);
            assert_string_equal(written + before, many_lines ? "\xF0\x9F\x98\x80..\n\xE2\x80\xAE!"
                                                             : "\xF0\x9F\x98\x80......!");
            free(written);
        }
    }
}

static void a_failure_is_one_line_that_steers_nothing(void **state)
{
    (void)state;
    assert_int_equal(fail(STATUS_DATA_LOSS, "key %s", "a\x1b[2J\nlonghaul: all is well"),
                     STATUS_DATA_LOSS);
    assert_string_equal(status_message(), "key a.[2J.longhaul: all is well");
}

/* A sentence that is longer than its room is cut where a character may be. */
static void a_failure_that_is_cut_is_still_utf8(void **state)
{
    (void)state;
    for (size_t before = 0; before < 4; before++) {
        char long_text[1200];
        memset(long_text, 'x', before);
        for (size_t i = before; i + 3 < sizeof long_text; i += 3)
            memcpy(long_text + i, "\xE2\x82\xAC", 3);
        long_text[before + (sizeof long_text - 4 - before) / 3 * 3] = 0;
        assert_int_equal(fail(STATUS_IO, "%s", long_text), STATUS_IO);
        assert_int_equal(utf8_check(status_message(), strlen(status_message()), "it"), STATUS_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_steers_a_terminal_is_masked_and_nothing_else),
        cmocka_unit_test(a_nul_inside_a_text_is_masked),
        cmocka_unit_test(a_text_is_written_masked_wherever_its_characters_fall),
        cmocka_unit_test(a_failure_is_one_line_that_steers_nothing),
        cmocka_unit_test(a_failure_that_is_cut_is_still_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
