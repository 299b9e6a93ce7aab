/* Positions in files: what is read, and what is refused with its line. */
#include "tests/support/unit.h"

#include <stdlib.h>
#include <string.h>

#include "coordinator/cli/position_file.h"

static void numbers_apart_by_blanks_lines_or_commas_are_read(void **state)
{
    (void)state;
    static const int64_t expected[] = {0, 7, 12, 1099511627775};
    int64_t *positions = NULL;
    size_t count = 0;
    assert_int_equal(
        position_file_read_text(&positions, &count, "p", " 0, 7\n12\t,,\r\n1099511627775\n"),
        STATUS_OK);
    assert_int_equal(count, 4);
    assert_memory_equal(positions, expected, sizeof expected);
    free(positions);
}

static void refused(const char *text, const char *sentence)
{
    int64_t *positions = NULL;
    size_t count = 77;
    assert_int_equal(position_file_read_text(&positions, &count, "p", text),
                     STATUS_INVALID_ARGUMENT);
    if (!strstr(status_message(), sentence))
        fail_msg("\"%s\": \"%s\" does not say \"%s\"", text, status_message(), sentence);
    assert_true(positions == NULL && count == 77);
}

static void what_is_no_position_is_refused_with_its_line(void **state)
{
    (void)state;
    refused("", "p: there are no positions in it");
    refused(" ,\n", "p: there are no positions in it");
    refused("1\n2\nx3\n", "p:3: \"x3\" is no position of 0 to 1099511627775");
    refused("1\n-2\n", "p:2: \"-2\" is no position");
    refused("1 2.5", "p:1: \"2.5\" is no position");
    refused("1099511627776", "p:1: \"1099511627776\" is no position");
    refused("99999999999999999999999", "p:1: \"99999999999999999999999\" is no position");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_apart_by_blanks_lines_or_commas_are_read),
        cmocka_unit_test(what_is_no_position_is_refused_with_its_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
