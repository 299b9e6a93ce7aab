/* Owns nothing. Promises that a line's body is handed on as it stands, not copied, not parsed. */
#include "coordinator/openai/batch_line.h"

#include <string.h>

#include <jansson.h>

#include "coordinator/openai/json_span.h"
#include "coordinator/openai/openai_request.h"
#include "proto/json_writer.h"

enum key { KEY_CUSTOM_ID, KEY_METHOD, KEY_URL, KEY_BODY, KEYS };
static const char *const keys[KEYS] = {"custom_id", "method", "url", "body"};

struct slice {
    const char *text; /* NULL: the key is not there */
    size_t bytes;
};

/* A string value, decoded, to `text` [room]. */
static enum status read_string(char *text, size_t room, const struct slice *slice, const char *what)
{
    json_error_t error;
    json_t *value = json_loadb(slice->text, slice->bytes, JSON_DECODE_ANY, &error);
    if (!value)
        return fail(STATUS_INVALID_ARGUMENT, "%s: %s", what, error.text);
    enum status status = STATUS_OK;
    const size_t bytes = json_string_length(value);
    if (!json_is_string(value))
        TRY_ELSE(fail(STATUS_INVALID_ARGUMENT, "%s is no string", what), done);
    if (bytes == 0 || bytes >= room)
        TRY_ELSE(fail(STATUS_INVALID_ARGUMENT, "%s has %zu bytes; must be 1 to %zu", what, bytes,
                      room - 1),
                 done);
    memcpy(text, json_string_value(value), bytes + 1);
done:
    json_decref(value);
    return status;
}

/* Which key this is; KEYS where it is none of ours. Keys are compared as they are written: none of
 * them needs an escape. */
static enum key key_of(const char *text, size_t bytes)
{
    int key = 0;
    while (key < KEYS &&
           (strlen(keys[key]) + 2 != bytes || memcmp(text + 1, keys[key], bytes - 2) != 0))
        key++;
    return (enum key)key;
}

/* The last slice is the name of a key that is none of ours. */
static enum status read_member(struct json_span *span, struct slice slices[KEYS + 1],
                               struct status_details *details)
{
    size_t first = 0, end = 0;
    if (!json_span_more(span) || span->text[span->at] != '"')
        return fail(STATUS_INVALID_ARGUMENT, "a key is missing at byte %zu", span->at + 1);
    TRY(json_span_value(span, &first, &end));
    const char *name = span->text + first;
    const size_t name_bytes = end - first;
    if (!json_span_take(span, ':'))
        return fail(STATUS_INVALID_ARGUMENT, "a colon is missing at byte %zu", span->at + 1);
    TRY(json_span_value(span, &first, &end));
    const enum key key = key_of(name, name_bytes);
    if (key < KEYS && slices[key].text) {
        details->field = keys[key];
        return fail(STATUS_INVALID_ARGUMENT, "%s comes twice", keys[key]);
    }
    slices[key] = key < KEYS ? (struct slice){span->text + first, end - first}
                             : (struct slice){name, name_bytes};
    return STATUS_OK;
}

static enum status find_members(struct slice slices[KEYS + 1], struct status_details *details,
                                const char *text, size_t bytes)
{
    struct json_span span = {.text = text, .bytes = bytes, .values_max = OPENAI_VALUES_MAX};
    if (!json_span_take(&span, '{'))
        return fail(STATUS_INVALID_ARGUMENT, "a line is one JSON object");
    if (!json_span_take(&span, '}')) {
        do
            TRY(read_member(&span, slices, details));
        while (json_span_take(&span, ','));
        if (!json_span_take(&span, '}'))
            return fail(STATUS_INVALID_ARGUMENT,
                        "a comma or the end of the object is missing at "
                        "byte %zu",
                        span.at + 1);
    }
    if (json_span_more(&span))
        return fail(STATUS_INVALID_ARGUMENT, "there is more behind the object, at byte %zu",
                    span.at + 1);
    return STATUS_OK;
}

static enum status check_method(const struct slice *slice)
{
    char method[8];
    TRY(read_string(method, sizeof method, slice, keys[KEY_METHOD]));
    return strcmp(method, "POST") == 0
               ? STATUS_OK
               : fail(STATUS_INVALID_ARGUMENT, "method is %s; must be POST", method);
}

static enum status check_url(struct batch_line *line, const struct slice *slice)
{
    enum openai_form form;
    TRY(read_string(line->url, sizeof line->url, slice, keys[KEY_URL]));
    return openai_request_form(&form, line->url)
               ? STATUS_OK
               : fail(STATUS_INVALID_ARGUMENT,
                      "url is %s; must be /v1/completions, /v1/chat/completions or "
                      "/longhaul/v1/generate",
                      line->url);
}

static enum status check_unknown(const struct slice *name, struct status_details *details)
{
    if (!name->text)
        return STATUS_OK;
    status_details_fact(details, OPENAI_PARAMETER, "%.*s", (int)name->bytes - 2, name->text + 1);
    return fail(STATUS_INVALID_ARGUMENT, "a line has custom_id, method, url and body, and no %.*s",
                (int)name->bytes, name->text);
}

/* The custom_id first, so that a refusal can be told under it. */
static enum status read_slices(struct batch_line *line, struct status_details *details,
                               const struct slice slices[KEYS + 1])
{
    for (int key = 0; key < KEYS; key++) {
        details->field = keys[key];
        if (!slices[key].text)
            return fail(STATUS_INVALID_ARGUMENT, "%s is missing", keys[key]);
        if (key == KEY_CUSTOM_ID) {
            TRY(read_string(line->custom_id, sizeof line->custom_id, &slices[key], keys[key]));
            details->field = NULL;
            TRY(check_unknown(&slices[KEYS], details));
        } else if (key == KEY_METHOD)
            TRY(check_method(&slices[key]));
        else if (key == KEY_URL)
            TRY(check_url(line, &slices[key]));
        else if (slices[key].text[0] != '{')
            return fail(STATUS_INVALID_ARGUMENT, "body is no object");
    }
    line->body = slices[KEY_BODY].text;
    line->body_bytes = slices[KEY_BODY].bytes;
    details->field = NULL;
    return STATUS_OK;
}

enum status batch_line_parse(struct batch_line *line, struct status_details *details,
                             const char *text, size_t bytes)
{
    struct slice slices[KEYS + 1] = {{0}};
    *line = (struct batch_line){.body = NULL};
    TRY(find_members(slices, details, text, bytes));
    return read_slices(line, details, slices);
}

void batch_line_write(FILE *file, const struct batch_line_result *result)
{
    struct json_writer writer = {.file = file};
    json_writer_begin_object(&writer, NULL);
    json_writer_text(&writer, "id", result->id);
    if (result->custom_id)
        json_writer_text(&writer, "custom_id", result->custom_id);
    else
        json_writer_null(&writer, "custom_id");
    if (result->status_code) {
        json_writer_begin_object(&writer, "response");
        json_writer_integer(&writer, "status_code", result->status_code);
        json_writer_text(&writer, "request_id", result->request_id);
        json_writer_raw(&writer, "body", result->body, result->body_bytes);
        json_writer_end_object(&writer);
    } else {
        json_writer_null(&writer, "response");
    }
    if (result->error_code) {
        json_writer_begin_object(&writer, "error");
        json_writer_text(&writer, "code", result->error_code);
        json_writer_text(&writer, "message", result->error_message);
        json_writer_end_object(&writer);
    } else {
        json_writer_null(&writer, "error");
    }
    json_writer_end_object(&writer);
}
