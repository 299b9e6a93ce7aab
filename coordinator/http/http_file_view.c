/* Owns nothing. */
#include "coordinator/http/http_file_view.h"

#include <stdio.h>
#include <string.h>

#include "coordinator/http/http_store.h"
#include "coordinator/openai/openai_files.h"

static const char suffix[] = ".jsonl";

const char *http_file_view_purpose(const char *title)
{
    const size_t bytes = strlen(title), suffix_bytes = sizeof suffix - 1;
    return bytes >= suffix_bytes && strcmp(title + bytes - suffix_bytes, suffix) == 0 ? "batch"
                                                                                      : "user_data";
}

enum status http_file_view_title(char title[STORE_TITLE_BYTES], const char *purpose)
{
    const size_t bytes = strlen(title);
    if (strcmp(purpose, "batch") != 0 || strcmp(http_file_view_purpose(title), purpose) == 0)
        return STATUS_OK;
    if (bytes + sizeof suffix > STORE_TITLE_BYTES)
        return fail(STATUS_INVALID_ARGUMENT, "the file's name is too long");
    memcpy(title + bytes, suffix, sizeof suffix);
    return STATUS_OK;
}

void http_file_view_write(struct json_writer *writer, const struct store_document *document)
{
    char id[HTTP_ID_BYTES];
    snprintf(id, sizeof id, HTTP_FILE_PREFIX "%s", document->id);
    const struct openai_file file = {
        .id = id,
        .filename = document->title,
        .purpose = http_file_view_purpose(document->title),
        .bytes = document->bytes,
        .created_s = document->created_us / 1000000,
        .expires_s = document->expires_us / 1000000,
    };
    openai_file_write(writer, &file);
}
