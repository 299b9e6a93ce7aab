/* A batch of the store as OpenAI's clients see it. */
#pragma once

#include "coordinator/batch/store_batch.h"
#include "proto/json_writer.h"
#include "proto/status.h"

/* The label under which a batch keeps the id of its file; not told as metadata. */
#define HTTP_BATCH_VIEW_INPUT "input_file_id"

/* OpenAI's word for its state. */
const char *http_batch_view_status(const struct store_batch *batch);

/* DATA_LOSS where its labels do not read any more. */
MUST_CHECK enum status http_batch_view_write(struct json_writer *writer,
                                             const struct store_batch *batch);
