/* A document of the store as a file of OpenAI's clients. Its purpose is told by its name: *.jsonl
 * is for batches, all else is user_data. */
#pragma once

#include "coordinator/batch/store_document.h"
#include "proto/json_writer.h"
#include "proto/status.h"

void http_file_view_write(struct json_writer *writer, const struct store_document *document);

/* "batch" or "user_data". */
const char *http_file_view_purpose(const char *title);

/* Makes a name that tells its purpose. INVALID_ARGUMENT where it has no room for that. */
MUST_CHECK enum status http_file_view_title(char title[STORE_TITLE_BYTES], const char *purpose);
