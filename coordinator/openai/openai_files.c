/* Owns nothing but a body's tree. */
#include "coordinator/openai/openai_files.h"

#include <string.h>

#include <jansson.h>

#include "coordinator/openai/json_span.h"
#include "coordinator/openai/openai_request.h"

enum { BODY_BYTES_MAX = 64 << 10, VALUES_MAX = 256 };

static enum status read_text(const char **text, const json_t *value, const char *key)
{
    if (!json_is_string(value))
        return fail(STATUS_INVALID_ARGUMENT, "%s is no string", key);
    *text = json_string_value(value);
    return STATUS_OK;
}

/* "24h", and any other number of hours. */
static enum status read_window(struct openai_batch_request *request, const json_t *value)
{
    const char *text = json_is_string(value) ? json_string_value(value) : "";
    int64_t hours = 0;
    while (*text >= '0' && *text <= '9' && hours <= OPENAI_WINDOW_HOURS_MAX)
        hours = 10 * hours + (*text++ - '0');
    if (strcmp(text, "h") != 0 || hours < 1 || hours > OPENAI_WINDOW_HOURS_MAX)
        return fail(STATUS_INVALID_ARGUMENT,
                    "completion_window must be \"24h\", or another 1h to "
                    "%dh",
                    OPENAI_WINDOW_HOURS_MAX);
    request->window_hours = hours;
    return STATUS_OK;
}

static enum status read_labels(struct openai_batch_request *request, const json_t *value)
{
    const char *key;
    json_t *label;
    if (!json_is_object(value) || json_object_size(value) > OPENAI_LABELS_MAX)
        return fail(STATUS_INVALID_ARGUMENT, "metadata is no object of at most %d texts",
                    OPENAI_LABELS_MAX);
    json_object_foreach((json_t *)value, key, label)
    {
        struct openai_label *to = &request->labels[request->label_count++];
        to->key = key;
        TRY(read_text(&to->value, label, "a value of metadata"));
    }
    return STATUS_OK;
}

static enum status read_member(struct openai_batch_request *request, struct status_details *details,
                               const char *key, const json_t *value)
{
    static const char *const fields[] = {"input_file_id", "endpoint", "completion_window",
                                         "metadata"};
    size_t field = 0;
    while (field < sizeof fields / sizeof fields[0] && strcmp(key, fields[field]) != 0)
        field++;
    if (field == sizeof fields / sizeof fields[0]) {
        status_details_fact(details, OPENAI_PARAMETER, "%s", key);
        return fail(STATUS_INVALID_ARGUMENT, "a batch has no field %s", key);
    }
    details->field = fields[field];
    if (json_is_null(value))
        return STATUS_OK;
    switch (field) {
    case 0:
        return read_text(&request->input_file_id, value, key);
    case 1:
        return read_text(&request->endpoint, value, key);
    case 2:
        return read_window(request, value);
    default:
        return read_labels(request, value);
    }
}

static enum status check_needed(const struct openai_batch_request *request,
                                struct status_details *details)
{
    enum openai_form form;
    details->field = "input_file_id";
    if (!request->input_file_id[0])
        return fail(STATUS_INVALID_ARGUMENT, "input_file_id is missing");
    details->field = "endpoint";
    if (!openai_request_form(&form, request->endpoint))
        return fail(STATUS_INVALID_ARGUMENT,
                    "endpoint is \"%s\"; must be /v1/completions, /v1/chat/completions or "
                    "/longhaul/v1/generate",
                    request->endpoint);
    details->field = "completion_window";
    if (!request->window_hours)
        return fail(STATUS_INVALID_ARGUMENT, "completion_window is missing");
    details->field = NULL;
    return STATUS_OK;
}

enum status openai_batch_request_parse(struct openai_batch_request *request,
                                       struct status_details *details, const char *body,
                                       size_t bytes)
{
    struct json_span span = {.text = body, .bytes = bytes, .values_max = VALUES_MAX};
    size_t first = 0, end = 0;
    json_error_t error;
    const char *key;
    json_t *value;
    *request = (struct openai_batch_request){.input_file_id = "", .endpoint = ""};
    if (bytes > BODY_BYTES_MAX)
        return fail(STATUS_OUT_OF_RANGE, "a body of %zu bytes; must be at most %d", bytes,
                    BODY_BYTES_MAX);
    TRY(json_span_value(&span, &first, &end));
    json_t *tree = json_loadb(body, bytes, JSON_REJECT_DUPLICATES, &error);
    request->tree = tree;
    if (!json_is_object(tree))
        return fail(STATUS_INVALID_ARGUMENT, "the body is no JSON object: %s",
                    tree ? "another value" : error.text);
    json_object_foreach(tree, key, value) TRY(read_member(request, details, key, value));
    return check_needed(request, details);
}

void openai_batch_request_free(struct openai_batch_request *request)
{
    json_decref(request->tree);
}

/* ---- writing ---- */

static void write_time(struct json_writer *writer, const char *key, int64_t seconds)
{
    if (seconds)
        json_writer_integer(writer, key, seconds);
    else
        json_writer_null(writer, key);
}

static void write_text(struct json_writer *writer, const char *key, const char *text)
{
    if (text)
        json_writer_text(writer, key, text);
    else
        json_writer_null(writer, key);
}

void openai_file_write(struct json_writer *writer, const struct openai_file *file)
{
    json_writer_begin_object(writer, NULL);
    json_writer_text(writer, "id", file->id);
    json_writer_text(writer, "object", "file");
    json_writer_integer(writer, "bytes", file->bytes);
    json_writer_integer(writer, "created_at", file->created_s);
    write_time(writer, "expires_at", file->expires_s);
    json_writer_text(writer, "filename", file->filename);
    json_writer_text(writer, "purpose", file->purpose);
    json_writer_text(writer, "status", "processed");
    json_writer_end_object(writer);
}

static void write_errors(struct json_writer *writer, const char *error)
{
    if (!error) {
        json_writer_null(writer, "errors");
        return;
    }
    json_writer_begin_object(writer, "errors");
    json_writer_text(writer, "object", "list");
    json_writer_begin_array(writer, "data");
    json_writer_begin_object(writer, NULL);
    json_writer_text(writer, "code", "invalid_input");
    json_writer_text(writer, "message", error);
    json_writer_null(writer, "param");
    json_writer_null(writer, "line");
    json_writer_end_object(writer);
    json_writer_end_array(writer);
    json_writer_end_object(writer);
}

static void write_times(struct json_writer *writer, const struct openai_batch *batch)
{
    json_writer_integer(writer, "created_at", batch->created_s);
    write_time(writer, "in_progress_at", batch->in_progress_s);
    write_time(writer, "expires_at", batch->expires_s);
    write_time(writer, "completed_at", batch->completed_s);
    write_time(writer, "failed_at", batch->failed_s);
    write_time(writer, "expired_at", batch->expired_s);
    write_time(writer, "cancelled_at", batch->cancelled_s);
}

static void write_counts(struct json_writer *writer, const struct openai_batch *batch)
{
    json_writer_begin_object(writer, "request_counts");
    json_writer_integer(writer, "total", batch->total);
    json_writer_integer(writer, "completed", batch->completed);
    json_writer_integer(writer, "failed", batch->failed);
    json_writer_end_object(writer);
    json_writer_begin_object(writer, "usage");
    json_writer_integer(writer, "input_tokens", batch->prompt_tokens);
    json_writer_begin_object(writer, "input_tokens_details");
    json_writer_integer(writer, "cached_tokens", batch->cached_tokens);
    json_writer_end_object(writer);
    json_writer_integer(writer, "output_tokens", batch->completion_tokens);
    json_writer_integer(writer, "total_tokens", batch->prompt_tokens + batch->completion_tokens);
    json_writer_end_object(writer);
}

void openai_batch_write(struct json_writer *writer, const struct openai_batch *batch)
{
    char window[16];
    snprintf(window, sizeof window, "%lldh", (long long)batch->window_hours);
    json_writer_begin_object(writer, NULL);
    json_writer_text(writer, "id", batch->id);
    json_writer_text(writer, "object", "batch");
    json_writer_text(writer, "endpoint", batch->endpoint);
    json_writer_text(writer, "status", batch->status);
    write_errors(writer, batch->error);
    json_writer_text(writer, "input_file_id", batch->input_file_id);
    write_text(writer, "output_file_id", batch->output_file_id);
    write_text(writer, "error_file_id", batch->error_file_id);
    json_writer_text(writer, "completion_window", window);
    write_times(writer, batch);
    write_counts(writer, batch);
    json_writer_begin_object(writer, "metadata");
    for (size_t i = 0; i < batch->label_count; i++)
        json_writer_text(writer, batch->labels[i].key, batch->labels[i].value);
    json_writer_end_object(writer);
    json_writer_end_object(writer);
}
