/* Tables in files: what spelling they give, and what is refused with its line and column. */
#include "tests/support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/config.h"
#include "proto/own_table_file.h"

static const char example[] = "# far keys moved back, sinks at a ceiling\n"
                              "keys:\n"
                              "  - {rule: plain, below: 4096}\n"
                              "  - {rule: shift, by: -2048, below: 8192}\n"
                              "  - {rule: hidden}\n"
                              "sinks: 4\n"
                              "sink_keys:\n"
                              "  - {rule: plain, below: 4096}\n"
                              "  - rule: fixed\n"
                              "    at: 4096\n";

static const char example_spelling[] =
    "table:sinks=4,keys=plain..4096/shift:-2048..8192/hidden,sink_keys=plain..4096/fixed:4096";

static void reads_as(const char *text, const char *expected)
{
    char spelling[METHOD_TEXT_BYTES], printed[METHOD_TEXT_BYTES];
    struct method method;
    if (own_table_file_read_bytes(spelling, "t", text, strlen(text)) != STATUS_OK)
        fail_msg("%s: %s", text, status_message());
    assert_string_equal(spelling, expected);
    assert_int_equal(method_parse(&method, spelling, 0), STATUS_OK);
    method_print(&method, printed);
    assert_string_equal(printed, expected);
}

static void a_table_becomes_its_spelling(void **state)
{
    (void)state;
    reads_as(example, example_spelling);
    reads_as("keys: [{rule: plain}]", "table:keys=plain");
    reads_as("{\"keys\": [{\"below\": 8, \"rule\": \"plain\"},\n"
             "{\"rule\": \"scale\", \"factor\": 2.5, \"from\": 8}]}",
             "table:keys=plain..8/scale:8:2.5");
    reads_as("keys:\n- {rule: plain, below: 64}\n- {rule: group, of: 8, by: 56}\n",
             "table:keys=plain..64/group:8:56");
}

static void refused(const char *text, const char *sentence)
{
    char spelling[METHOD_TEXT_BYTES] = "as it was";
    assert_int_equal(own_table_file_read_bytes(spelling, "t", text, strlen(text)),
                     STATUS_INVALID_ARGUMENT);
    if (!strstr(status_message(), sentence))
        fail_msg("%s: \"%s\" does not say \"%s\"", text, status_message(), sentence);
    assert_string_equal(spelling, "as it was");
}

static void what_is_wrong_is_said_with_its_line_and_column(void **state)
{
    (void)state;
    refused("", "t: a table begins with \"keys:\"");
    refused("plain", "t: a table begins with \"keys:\"");
    refused("keys: [{rule: plain}]\n---\nkeys: [{rule: plain}]\n",
            "t:2:1: a second document begins; a table is one");
    refused("keys: &a [{rule: plain}]\n", "t:1:7: anchors, aliases and tags are not supported");
    refused("keys: [{rule: !!str plain}]\n", "t:1:15: anchors, aliases and tags are not");
    refused("keys: [{rule: plain}]\nsinks: *a\n", "t:2:8: anchors, aliases and tags are not");
    refused("keys: [", "t:2:1: not YAML: did not find expected node content");
    refused("keys: [{rule: plain}]\nsinsk: 4\n",
            "t:2:1: nothing is called \"sinsk\" here: did you mean \"sinks\"");
    refused("keys: [{rule: plain}]\nkeys: [{rule: plain}]\n", "t:2:1: keys is there twice");
    refused("[1]: 2\n", "t:1:1: nothing is called \"\" here: there are keys, sinks and sink_keys");
    refused("keys: 4\n", "t:1:7: keys takes a list of bands");
    refused("keys:\n  - plain\n", "t:2:5: a band is written {rule: RULE");
    refused("keys:\n  - {below: 4}\n", "t:2:5: the band has no rule");
    refused("keys:\n  - {rule: plan}\n", "t:2:12: unknown rule \"plan\": did you mean \"plain\"");
    refused("keys:\n  - {rule: [plain]}\n", "t:2:12: unknown rule \"\"");
    refused("keys:\n  - {rule: plain, belwo: 4}\n", "t:2:19: nothing is called \"belwo\" here");
    refused("keys:\n  - {rule: plain, by: 4}\n",
            "t:2:19: nothing is called \"by\" here: there are rule and below");
    refused("keys:\n  - {rule: plain, below: 4k}\n", "t:2:26: below is not a number");
    refused("keys:\n  - {rule: plain, below: 0.5}\n", "t:2:26: below must be a whole number");
    refused("keys:\n  - {rule: plain, below: 4}\n  - {rule: shift}\n",
            "t:3:5: the rule shift needs by");
    refused("keys:\n  - {rule: plain, below: 4}\n  - {rule: shift, by: {a: b}}\n",
            "t:3:23: by is not a number");
    refused("keys:\n  - {rule: plain, below: 4}\n  - {rule: shift, by: -5}\n",
            "t:3:5: its smallest effective distance is -1");
    refused("keys:\n  - {rule: plain, below: 4}\n", "t:2:5: the last band must have no end");
    refused("keys: [{rule: plain}]\nsinks: -1\n", "t:2:8: sinks must be a whole number of tokens");
    refused("keys: [{rule: plain}]\nsinks: 2\n", "t:1:1: give sinks=N and sink_keys=...");
    refused("sinks: 2\n", "t:1:1: give keys=");
    refused("keys: [{rule: plain}]\nsink_keys: [{rule: plain}]\n", "t:1:1: give sinks=N");
}

static void a_list_or_file_that_is_too_long_is_refused(void **state)
{
    (void)state;
    char text[1024] = "keys:\n";
    for (int b = 0; b < OWN_TABLE_BANDS_MAX + 1; b++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "- {rule: plain, below: %d}\n",
                 b + 1);
    refused(text, "t:9:3: keys has more than 7 bands");
    char *large = malloc(65537 + 1);
    assert_non_null(large);
    memset(large, ' ', 65537);
    large[65537] = '\0';
    refused(large, "t: larger than 64 KiB");
    free(large);
}

static void expands(const char *method, const char *expected)
{
    char *spelling = NULL;
    assert_int_equal(own_table_file_expand(&spelling, method), STATUS_OK);
    assert_string_equal(spelling, expected);
    free(spelling);
}

static void a_file_that_a_method_names_gives_way_to_its_table(void **state)
{
    (void)state;
    char path[] = "/tmp/longhaul-table-XXXXXX";
    char method[128], expected[METHOD_TEXT_BYTES];
    char *spelling = NULL;
    struct config *config = NULL;
    const int file = mkstemp(path);
    assert_true(file >= 0);
    assert_int_equal(write(file, example, strlen(example)), (ssize_t)strlen(example));
    close(file);
    expands("rope", "rope");
    expands("table:keys=plain", "table:keys=plain");
    snprintf(method, sizeof method, "table:file=%s", path);
    expands(method, example_spelling);
    assert_int_equal(config_create(&config), STATUS_OK);
    for (size_t row = 0; row < config_rows_count(); row++)
        if (strcmp(config_row_at(row)->key, "engine.method") == 0)
            assert_int_equal(config_set_flag(config, row, method), STATUS_OK);
    assert_int_equal(config_expand(config, CONFIG_RUN), STATUS_OK);
    assert_string_equal(config_text(config, "engine.method"), example_spelling);
    config_destroy(config);
    snprintf(method, sizeof method, "table:file=%s,logn=9+linear:factor=2", path);
    snprintf(expected, sizeof expected, "%s,logn=9+linear:factor=2", example_spelling);
    expands(method, expected);
    unlink(path);
    assert_int_equal(own_table_file_expand(&spelling, method), STATUS_NOT_FOUND);
    assert_non_null(strstr(status_message(), path));
    assert_null(spelling);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_table_becomes_its_spelling),
        cmocka_unit_test(what_is_wrong_is_said_with_its_line_and_column),
        cmocka_unit_test(a_list_or_file_that_is_too_long_is_refused),
        cmocka_unit_test(a_file_that_a_method_names_gives_way_to_its_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
