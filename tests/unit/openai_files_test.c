/* Files and batches in OpenAI's JSON. */
#include "tests/support/unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "coordinator/openai/openai_files.h"
#include "coordinator/openai/openai_request.h"

static struct openai_batch_request request;
static struct status_details details;

static enum status parse(const char *body)
{
    details = (struct status_details){0};
    return openai_batch_request_parse(&request, &details, body, strlen(body));
}

static void a_batch_is_asked_for(void **state)
{
    (void)state;
    assert_int_equal(parse("{\"input_file_id\": \"file-a\", \"endpoint\": \"/v1/completions\", "
                           "\"completion_window\": \"24h\", \"metadata\": {\"a\": \"b\"}}"),
                     STATUS_OK);
    assert_string_equal(request.input_file_id, "file-a");
    assert_string_equal(request.endpoint, "/v1/completions");
    assert_int_equal(request.window_hours, 24);
    assert_int_equal(request.label_count, 1);
    assert_string_equal(request.labels[0].value, "b");
    openai_batch_request_free(&request);
}

static void what_is_wrong_is_named(void **state)
{
    (void)state;
#define REST "\"endpoint\": \"/v1/completions\", \"completion_window\": \"24h\""
    static const struct {
        const char *body, *field;
    } rows[] = {
        {"", ""},
        {"[]", ""},
        {"{", ""},
        {"{" REST "}", "input_file_id"},
        {"{\"input_file_id\": 1, " REST "}", "input_file_id"},
        {"{\"input_file_id\": \"f\", \"endpoint\": \"/v1/embeddings\"}", "endpoint"},
        {"{\"input_file_id\": \"f\", \"endpoint\": \"/v1/completions\"}", "completion_window"},
        {"{\"completion_window\": \"0h\"}", "completion_window"},
        {"{\"completion_window\": \"721h\"}", "completion_window"},
        {"{\"completion_window\": \"99999999999999999999h\"}", "completion_window"},
        {"{\"completion_window\": \"24\"}", "completion_window"},
        {"{\"metadata\": {\"a\": 1}}", "metadata"},
        {"{\"metadata\": []}", "metadata"},
        {"{\"metadata\": {\"1\":\"\",\"2\":\"\",\"3\":\"\",\"4\":\"\",\"5\":\"\",\"6\":\"\",\"7\":"
         "\"\",\"8\":\"\",\"9\":\"\",\"10\":\"\",\"11\":\"\",\"12\":\"\",\"13\":\"\",\"14\":\"\","
         "\"15\":\"\",\"16\":\"\",\"17\":\"\"}}",
         "metadata"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(parse(rows[i].body), STATUS_INVALID_ARGUMENT);
        assert_string_equal(details.field ? details.field : "", rows[i].field);
        openai_batch_request_free(&request);
    }
    assert_int_equal(parse("{\"input\": \"f\"}"), STATUS_INVALID_ARGUMENT);
    assert_string_equal(details.facts[0].value, "input");
    openai_batch_request_free(&request);
}

static void expect_written(void (*write)(struct json_writer *writer), const char *expected)
{
    char *text = NULL;
    size_t bytes = 0;
    struct json_writer writer = {.file = open_memstream(&text, &bytes)};
    write(&writer);
    fclose(writer.file);
    assert_string_equal(text, expected);
    free(text);
}

static void write_file(struct json_writer *writer)
{
    openai_file_write(
        writer,
        &(const struct openai_file){
            .id = "file-a", .filename = "a.jsonl", .purpose = "batch", .bytes = 7, .created_s = 9});
}

static void write_failed(struct json_writer *writer)
{
    static const struct openai_label label = {"a", "b"};
    openai_batch_write(writer, &(const struct openai_batch){.id = "batch_a",
                                                            .endpoint = "/v1/completions",
                                                            .input_file_id = "file-a",
                                                            .status = "failed",
                                                            .error = "line 1",
                                                            .window_hours = 24,
                                                            .created_s = 9,
                                                            .failed_s = 10,
                                                            .prompt_tokens = 3,
                                                            .cached_tokens = 2,
                                                            .completion_tokens = 1,
                                                            .labels = &label,
                                                            .label_count = 1});
}

static void both_have_openais_shape(void **state)
{
    (void)state;
    expect_written(write_file,
                   "{\"id\": \"file-a\", \"object\": \"file\", \"bytes\": 7, \"created_at\": 9, "
                   "\"expires_at\": null, \"filename\": \"a.jsonl\", \"purpose\": \"batch\", "
                   "\"status\": \"processed\"}");
    expect_written(
        write_failed,
        "{\"id\": \"batch_a\", \"object\": \"batch\", \"endpoint\": \"/v1/completions\", "
        "\"status\": \"failed\", \"errors\": {\"object\": \"list\", \"data\": [{\"code\": "
        "\"invalid_input\", \"message\": \"line 1\", \"param\": null, \"line\": null}]}, "
        "\"input_file_id\": \"file-a\", \"output_file_id\": null, \"error_file_id\": null, "
        "\"completion_window\": \"24h\", \"created_at\": 9, \"in_progress_at\": null, "
        "\"expires_at\": null, \"completed_at\": null, \"failed_at\": 10, \"expired_at\": null, "
        "\"cancelled_at\": null, \"request_counts\": {\"total\": 0, \"completed\": 0, \"failed\": "
        "0}, \"usage\": {\"input_tokens\": 3, \"input_tokens_details\": {\"cached_tokens\": 2}, "
        "\"output_tokens\": 1, \"total_tokens\": 4}, \"metadata\": {\"a\": \"b\"}}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_is_asked_for),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(both_have_openais_shape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
