/* Lines of Batch files: what is read of one, and results as OpenAI writes them. */
#include "tests/support/unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "coordinator/openai/batch_line.h"
#include "coordinator/openai/openai_request.h"

static struct batch_line line;
static struct status_details details;

static enum status parse(const char *text)
{
    details = (struct status_details){0};
    return batch_line_parse(&line, &details, text, strlen(text));
}

static void a_line_gives_its_parts(void **state)
{
    (void)state;
    assert_int_equal(parse(" {\"body\": {\"prompt\": \"}\\\"{\", \"stop\": [\"]\"]}, "
                           "\"custom_id\": \"a\\u00e9\\\"\", \"method\": \"POST\", \"url\": "
                           "\"/v1/completions\" } \r"),
                     STATUS_OK);
    assert_string_equal(line.custom_id, "a\xc3\xa9\"");
    assert_string_equal(line.url, "/v1/completions");
    static const char body[] = "{\"prompt\": \"}\\\"{\", \"stop\": [\"]\"]}";
    assert_int_equal(line.body_bytes, sizeof body - 1);
    assert_memory_equal(line.body, body, sizeof body - 1);
}

static void what_is_wrong_is_named(void **state)
{
    (void)state;
#define GOOD "\"custom_id\": \"a\", \"method\": \"POST\", \"url\": \"/v1/completions\""
    static const struct {
        const char *text, *field, *sentence, *custom_id;
    } rows[] = {
        {"", "", "one JSON object", ""},
        {"[]", "", "one JSON object", ""},
        {"{\"custom_id\": \"a\"", "", "is missing at", ""},
        {"{}", "custom_id", "custom_id is missing", ""},
        {"{" GOOD "}", "body", "body is missing", "a"},
        {"{" GOOD ", \"body\": []}", "body", "no object", "a"},
        {"{" GOOD ", \"body\": {}, \"extra\": 1}", "extra", "no \"extra\"", "a"},
        {"{" GOOD ", \"body\": {}, \"url\": 1}", "url", "comes twice", ""},
        {"{" GOOD ", \"body\": {]}}", "", "closes another bracket", ""},
        {"{" GOOD ", \"body\": {\"a}", "", "does not end", ""},
        {"{" GOOD ", \"body\": }", "", "no JSON value begins at byte", ""},
        {"{" GOOD ", \"body\": {}} {}", "", "more behind", ""},
        {"{" GOOD " \"body\": {}}", "", "a comma", ""},
        {"{\"custom_id\" \"a\"}", "", "a colon", ""},
        {"{custom_id: \"a\"}", "", "a key is missing", ""},
        {"{\"custom_id\": 7, \"method\": \"POST\"}", "custom_id", "no string", ""},
        {"{\"custom_id\": \"\"}", "custom_id", "must be 1 to 512", ""},
        {"{\"custom_id\": \"\\ud800\"}", "custom_id", "custom_id: ", ""},
        {"{\"custom_id\": \"a\", \"method\": \"GET\"}", "method", "must be POST", "a"},
        {"{\"custom_id\": \"a\", \"method\": \"POST\", \"url\": \"/v1/embeddings\"}", "url",
         "url is /v1/embeddings", "a"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(parse(rows[i].text), STATUS_INVALID_ARGUMENT);
        if (!strstr(status_message(), rows[i].sentence))
            fail_msg("%s: \"%s\" is not in \"%s\"", rows[i].text, rows[i].sentence,
                     status_message());
        const char *field = details.fact_count ? details.facts[0].value
                            : details.field    ? details.field
                                               : "";
        assert_string_equal(field, rows[i].field);
        assert_string_equal(line.custom_id, rows[i].custom_id);
        assert_null(line.body);
    }
}

static void a_custom_id_has_at_most_512_bytes(void **state)
{
    (void)state;
    char text[1024], id[BATCH_LINE_ID_BYTES + 1];
    memset(id, 'x', sizeof id);
    for (int bytes = BATCH_LINE_ID_BYTES - 1; bytes <= BATCH_LINE_ID_BYTES; bytes++) {
        snprintf(text, sizeof text,
                 "{\"custom_id\": \"%.*s\", \"method\": \"POST\", \"url\": \"/v1/completions\", "
                 "\"body\": {}}",
                 bytes, id);
        assert_int_equal(parse(text),
                         bytes < BATCH_LINE_ID_BYTES ? STATUS_OK : STATUS_INVALID_ARGUMENT);
    }
}

static void expect_written(const struct batch_line_result *result, const char *expected)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *file = open_memstream(&text, &bytes);
    assert_non_null(file);
    batch_line_write(file, result);
    fclose(file);
    assert_string_equal(text, expected);
    free(text);
}

static void results_have_openais_shape(void **state)
{
    (void)state;
    expect_written(&(struct batch_line_result){.id = "batch_req_1",
                                               .custom_id = "a\"",
                                               .status_code = 200,
                                               .request_id = "r1",
                                               .body = "{\"x\": 1} ",
                                               .body_bytes = 8},
                   "{\"id\": \"batch_req_1\", \"custom_id\": \"a\\\"\", \"response\": "
                   "{\"status_code\": 200, \"request_id\": \"r1\", \"body\": {\"x\": 1}}, "
                   "\"error\": null}");
    expect_written(&(struct batch_line_result){.id = "batch_req_2",
                                               .error_code = "batch_expired",
                                               .error_message = "too late"},
                   "{\"id\": \"batch_req_2\", \"custom_id\": null, \"response\": null, \"error\": "
                   "{\"code\": \"batch_expired\", \"message\": \"too late\"}}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_gives_its_parts),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(a_custom_id_has_at_most_512_bytes),
        cmocka_unit_test(results_have_openais_shape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
