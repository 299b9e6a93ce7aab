/* Files and batches in OpenAI's JSON: what creates a batch, and both as clients see them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/json_writer.h"
#include "proto/rpc/status_details.h"
#include "proto/status.h"

enum { OPENAI_LABELS_MAX = 16, OPENAI_WINDOW_HOURS_MAX = 720 };

struct openai_label {
    const char *key, *value;
};

/* A request for a batch: {"input_file_id", "endpoint", "completion_window", "metadata"}. */
struct openai_batch_request {
    const char *input_file_id, *endpoint;
    int64_t window_hours;                          /* [1, OPENAI_WINDOW_HOURS_MAX] */
    struct openai_label labels[OPENAI_LABELS_MAX]; /* [label_count] */
    size_t label_count;
    void *tree; /* what the texts point into */
};

/* INVALID_ARGUMENT, with the field. Freed by openai_batch_request_free, which takes what failed,
 * too. */
MUST_CHECK enum status openai_batch_request_parse(struct openai_batch_request *request,
                                                  struct status_details *details, const char *body,
                                                  size_t bytes);
void openai_batch_request_free(struct openai_batch_request *request);

struct openai_file {
    const char *id, *filename, *purpose;
    int64_t bytes;
    int64_t created_s, expires_s; /* since 1970; 0: it does not expire */
};

/* In an array with `key` NULL. */
void openai_file_write(struct json_writer *writer, const struct openai_file *file);

/* Seconds since 1970; 0 becomes null. */
struct openai_batch {
    const char *id, *endpoint, *input_file_id, *status;
    const char *output_file_id, *error_file_id; /* NULL: null */
    const char *error;                          /* why it failed; NULL: it has not */
    int64_t window_hours;
    int64_t created_s, in_progress_s, expires_s, completed_s, failed_s, expired_s, cancelled_s;
    int64_t total, completed, failed; /* lines */
    int64_t prompt_tokens, cached_tokens, completion_tokens;
    const struct openai_label *labels; /* [label_count] */
    size_t label_count;
};

void openai_batch_write(struct json_writer *writer, const struct openai_batch *batch);
