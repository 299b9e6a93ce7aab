/* Owns an upload while it comes. Promises that its bytes go to the store as they come, and that a
 * file which is answered is on disk. */
#include <stdlib.h>
#include <string.h>

#include "coordinator/batch/document_text.h"
#include "coordinator/batch/store_document.h"
#include "coordinator/http/http_file_view.h"
#include "coordinator/http/http_files.h"
#include "coordinator/http/http_multipart.h"
#include "coordinator/http/http_store.h"
#include "coordinator/openai/openai_request.h"
#include "proto/utf8_check.h"

enum { VALUE_BYTES = 64, EXPIRES_LEAST = 3600, EXPIRES_MOST = 2592000 };

/* Which part of the form is being read. */
enum part { PART_OTHER, PART_FILE, PART_PURPOSE, PART_ANCHOR, PART_SECONDS, PARTS };
static const char *const part_names[PARTS] = {"", "file", "purpose", "expires_after[anchor]",
                                              "expires_after[seconds]"};

struct upload {
    struct http_exchange *exchange;
    const struct batch_tools *tools;
    struct http_multipart multipart;
    struct store_document_upload *document; /* NULL until the file comes */
    struct document_text text;
    enum part part;
    char values[PARTS][VALUE_BYTES]; /* of the plain fields */
    char title[STORE_TITLE_BYTES];
};

static void stop(void *context)
{
    struct upload *upload = context;
    store_document_abandon(upload->document);
    free(upload);
}

/* ---- parts ---- */

static enum status begin_part(void *context, const char *name, const char *filename)
{
    struct upload *upload = context;
    int part = PART_OTHER + 1;
    while (part < PARTS && strcmp(name, part_names[part]) != 0)
        part++;
    if (part == PARTS) {
        status_details_fact(&upload->exchange->details, OPENAI_PARAMETER, "%s", name);
        return fail(STATUS_INVALID_ARGUMENT, "an upload has no field %s", name);
    }
    upload->part = (enum part)part;
    if (part != PART_FILE)
        return STATUS_OK;
    upload->exchange->details.field = "file";
    if (upload->document)
        return fail(STATUS_INVALID_ARGUMENT, "an upload has one file");
    TRY(utf8_check(filename, strlen(filename), "the file's name"));
    snprintf(upload->title, sizeof upload->title, "%s", filename[0] ? filename : "upload");
    upload->exchange->details.field = NULL;
    const struct access_tenant *tenant = &upload->exchange->caller.tenant;
    const struct store_limits limits = batch_tools_limits(tenant);
    return store_document_begin(&upload->document, upload->tools->store, tenant->name, &limits);
}

static enum status take_data(void *context, const char *bytes, size_t count)
{
    struct upload *upload = context;
    if (upload->part == PART_FILE) {
        TRY(document_text_take(&upload->text, bytes, count));
        return store_document_write(upload->document, bytes, count);
    }
    char *value = upload->values[upload->part];
    const size_t used = strlen(value);
    if (used + count >= VALUE_BYTES)
        return fail(STATUS_INVALID_ARGUMENT, "%s is longer than %d bytes", part_names[upload->part],
                    VALUE_BYTES - 1);
    memcpy(value + used, bytes, count);
    value[used + count] = 0;
    return STATUS_OK;
}

static enum status end_part(void *context)
{
    struct upload *upload = context;
    return upload->part == PART_FILE ? document_text_end(&upload->text) : STATUS_OK;
}

/* ---- the whole ---- */

enum status http_files_begin(struct http_exchange *exchange)
{
    static const struct http_multipart_row row = {begin_part, take_data, end_part};
    const struct batch_tools *tools = NULL;
    TRY(http_store_tools(exchange, &tools));
    struct upload *upload = calloc(1, sizeof *upload);
    if (!upload)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for an upload");
    upload->exchange = exchange;
    upload->tools = tools;
    exchange->work = upload;
    exchange->end_work = stop;
    return http_multipart_init(&upload->multipart, &row, upload,
                               http_header(exchange, MHD_HTTP_HEADER_CONTENT_TYPE));
}

enum status http_files_take(struct http_exchange *exchange, const char *bytes, size_t count)
{
    struct upload *upload = exchange->work;
    return http_store_end(exchange, http_multipart_take(&upload->multipart, bytes, count));
}

static enum status read_expiry(struct upload *upload, int64_t *seconds)
{
    const char *anchor = upload->values[PART_ANCHOR], *asked = upload->values[PART_SECONDS];
    *seconds = upload->tools->document_retention_seconds;
    if (!anchor[0] && !asked[0])
        return STATUS_OK;
    *seconds = strtol(asked, NULL, 10);
    upload->exchange->details.field = "expires_after";
    if (strcmp(anchor, "created_at") != 0 || *seconds < EXPIRES_LEAST || *seconds > EXPIRES_MOST)
        return fail(STATUS_INVALID_ARGUMENT,
                    "expires_after has the anchor created_at and %d to %d seconds", EXPIRES_LEAST,
                    EXPIRES_MOST);
    upload->exchange->details.field = NULL;
    return STATUS_OK;
}

static enum status check_fields(struct upload *upload)
{
    upload->exchange->details.field = "file";
    if (!upload->document)
        return fail(STATUS_INVALID_ARGUMENT, "the form has no file");
    upload->exchange->details.field = "purpose";
    if (strcmp(upload->values[PART_PURPOSE], "batch") != 0 &&
        strcmp(upload->values[PART_PURPOSE], "user_data") != 0)
        return fail(STATUS_INVALID_ARGUMENT, "purpose is \"%s\"; must be batch or user_data",
                    upload->values[PART_PURPOSE]);
    upload->exchange->details.field = NULL;
    return STATUS_OK;
}

static enum status keep(struct upload *upload, struct store_document_answer *answer)
{
    const struct store_limits limits = batch_tools_limits(&upload->exchange->caller.tenant);
    struct store_document_args args = {.limits = &limits, .title = upload->title};
    TRY(http_multipart_finish(&upload->multipart));
    TRY(check_fields(upload));
    TRY(read_expiry(upload, &args.expires_after_seconds));
    TRY(http_file_view_title(upload->title, upload->values[PART_PURPOSE]));
    return store_document_finish(upload->document, answer, &args);
}

enum status http_files_create(struct http_exchange *exchange)
{
    struct store_document_answer answer;
    struct http_text text;
    TRY(http_store_end(exchange, keep(exchange->work, &answer)));
    TRY(http_text_open(&text));
    struct json_writer writer = {.file = text.file};
    http_file_view_write(&writer, &answer.document);
    return http_reply_json(exchange, &text);
}
