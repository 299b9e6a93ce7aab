/* Owns nothing. */
#include "coordinator/http/http_files.h"

#include <stdlib.h>
#include <string.h>

#include "coordinator/batch/store_document.h"
#include "coordinator/http/http_file_view.h"
#include "coordinator/http/http_results.h"
#include "coordinator/http/http_store.h"
#include "proto/clock.h"
#include "proto/json_writer.h"

/* ---- lists ---- */

struct page {
    struct json_writer writer;
    const char *purpose; /* NULL: any */
    struct http_list list;
};

static enum status add_to_page(void *context, const struct store_document *document)
{
    struct page *page = context;
    if (page->purpose && strcmp(page->purpose, http_file_view_purpose(document->title)) != 0)
        return STATUS_OK;
    if (!http_store_list_takes(&page->list, HTTP_FILE_PREFIX, document->id))
        return STATUS_CANCELLED; /* ends the walk */
    http_file_view_write(&page->writer, document);
    return STATUS_OK;
}

/* Where a list goes on: behind the file `after`. */
static enum status find_place(struct http_exchange *exchange, struct store *store, int64_t *before)
{
    const char *after = http_parameter(exchange, "after"), *id = NULL;
    struct store_document document;
    *before = 0;
    if (!after)
        return STATUS_OK;
    TRY(http_store_id(&id, after, HTTP_FILE_PREFIX));
    TRY(store_document_get(store, &document, exchange->caller.tenant.name, id));
    *before = document.number;
    return STATUS_OK;
}

static enum status list(struct http_exchange *exchange, struct store *store, struct page *page)
{
    int64_t before = 0;
    TRY(find_place(exchange, store, &before));
    http_store_begin_list(&page->writer);
    const enum status status = store_document_list(store, exchange->caller.tenant.name, before,
                                                   INT64_MAX, add_to_page, page);
    if (!page->list.more)
        TRY(status);
    http_store_end_list(&page->writer, &page->list);
    return STATUS_OK;
}

enum status http_files_list(struct http_exchange *exchange)
{
    const struct batch_tools *tools = NULL;
    const char *order = http_parameter(exchange, "order");
    struct http_text text;
    struct page page = {.purpose = http_parameter(exchange, "purpose")};
    TRY(http_store_tools(exchange, &tools));
    TRY(http_store_limit(exchange, &page.list.room));
    if (order && strcmp(order, "desc") != 0) {
        exchange->details.field = "order";
        return fail(STATUS_INVALID_ARGUMENT, "order is %s; files are listed desc, the newest first",
                    order);
    }
    TRY(http_text_open(&text));
    page.writer.file = text.file;
    const enum status status = list(exchange, tools->store, &page);
    if (status != STATUS_OK) {
        http_text_drop(&text);
        return http_store_end(exchange, status);
    }
    return http_reply_json(exchange, &text);
}

/* ---- one file ---- */

static enum status find_document(struct http_exchange *exchange, const struct batch_tools **tools,
                                 struct store_document *document)
{
    const char *id = NULL;
    TRY(http_store_tools(exchange, tools));
    TRY(http_store_id(&id, exchange->name, HTTP_FILE_PREFIX));
    return http_store_end(
        exchange, store_document_get((*tools)->store, document, exchange->caller.tenant.name, id));
}

enum status http_files_get(struct http_exchange *exchange)
{
    const struct batch_tools *tools = NULL;
    struct store_document document;
    struct http_text text;
    if (http_results_is(exchange->name))
        return http_results_file(exchange);
    TRY(find_document(exchange, &tools, &document));
    TRY(http_text_open(&text));
    struct json_writer writer = {.file = text.file};
    http_file_view_write(&writer, &document);
    return http_reply_json(exchange, &text);
}

enum status http_files_delete(struct http_exchange *exchange)
{
    const struct batch_tools *tools = NULL;
    const struct store_request once = {.id = NULL};
    struct store_document document;
    struct http_text text;
    if (http_results_is(exchange->name))
        return fail(STATUS_FAILED_PRECONDITION, "a batch's results go with the batch");
    TRY(find_document(exchange, &tools, &document));
    TRY(http_store_end(exchange, store_document_delete(tools->store, exchange->caller.tenant.name,
                                                       document.id, &once)));
    TRY(http_text_open(&text));
    struct json_writer writer = {.file = text.file};
    json_writer_begin_object(&writer, NULL);
    json_writer_text(&writer, "id", exchange->name);
    json_writer_text(&writer, "object", "file");
    json_writer_boolean(&writer, "deleted", true);
    json_writer_end_object(&writer);
    return http_reply_json(exchange, &text);
}

/* ---- content ---- */

/* An upload on its way out, a part at a time. */
struct download {
    struct http_exchange *exchange;
    struct store *store;
    char id[STORE_ID_BYTES];
    int64_t begun_ns;
};

static ssize_t give(void *context, uint64_t position, char *buffer, size_t most)
{
    struct download *download = context;
    size_t given = 0;
    http_connection_pace(download->exchange->peer, download->begun_ns, position);
    if (store_document_read_part(download->store, download->exchange->caller.tenant.name,
                                 download->id, (int64_t)position, buffer, most,
                                 &given) != STATUS_OK)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    return given > 0 ? (ssize_t)given : MHD_CONTENT_READER_END_OF_STREAM;
}

enum status http_files_content(struct http_exchange *exchange)
{
    const struct batch_tools *tools = NULL;
    struct store_document document;
    if (http_results_is(exchange->name))
        return http_results_content(exchange);
    TRY(find_document(exchange, &tools, &document));
    struct download *download = calloc(1, sizeof *download);
    if (!download)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a download");
    download->exchange = exchange;
    download->store = tools->store;
    download->begun_ns = clock_now_ns();
    memcpy(download->id, document.id, sizeof download->id);
    exchange->work = download;
    exchange->end_work = free;
    return http_reply_stream(exchange, "application/octet-stream", give, download);
}
