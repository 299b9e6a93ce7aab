/* Owns nothing. Promises the same batches as gRPC's: what is made here is seen there. */
#include "coordinator/http/http_batches.h"

#include <stdlib.h>
#include <string.h>

#include "coordinator/batch/batch_dispatch.h"
#include "coordinator/batch/batch_fields.h"
#include "coordinator/batch/batch_message.h"
#include "coordinator/batch/batch_validate.h"
#include "coordinator/batch/store_document.h"
#include "coordinator/http/http_batch_view.h"
#include "coordinator/http/http_store.h"
#include "coordinator/openai/openai_files.h"
#include "proto/json_writer.h"

enum { COPY_BYTES = 1 << 20, HOUR_SECONDS = 3600 };

static enum status reply(struct http_exchange *exchange, struct store_batch *batch)
{
    struct http_text text;
    enum status status = http_text_open(&text);
    if (status == STATUS_OK) {
        struct json_writer writer = {.file = text.file};
        status = http_batch_view_write(&writer, batch);
        if (status != STATUS_OK)
            http_text_drop(&text);
    }
    store_batch_clear(batch);
    TRY(status);
    return http_reply_json(exchange, &text);
}

/* ---- create ---- */

/* What a client asks for as gRPC's message, with a label that keeps its file's id. */
struct wanted {
    Longhaul__V1__Batch batch;
    Longhaul__V1__Label labels[OPENAI_LABELS_MAX + 1];
    Longhaul__V1__Label *pointers[OPENAI_LABELS_MAX + 1];
};

static void add_label(struct wanted *wanted, const char *key, const char *value)
{
    const size_t at = wanted->batch.n_metadata++;
    longhaul__v1__label__init(&wanted->labels[at]);
    wanted->labels[at].key = (char *)key;
    wanted->labels[at].value = (char *)value;
    wanted->pointers[at] = &wanted->labels[at];
}

/* The batch without lines. `*made` is to be cleared. */
static enum status make(struct http_exchange *exchange, const struct batch_tools *tools,
                        struct store_batch_answer *made, const struct openai_batch_request *request)
{
    const struct store_limits limits = batch_tools_limits(&exchange->caller.tenant);
    struct wanted wanted;
    uint8_t *labels = NULL;
    longhaul__v1__batch__init(&wanted.batch);
    wanted.batch.endpoint = (char *)request->endpoint;
    wanted.batch.expires_after_seconds = request->window_hours * HOUR_SECONDS;
    wanted.batch.metadata = wanted.pointers;
    for (size_t i = 0; i < request->label_count; i++)
        add_label(&wanted, request->labels[i].key, request->labels[i].value);
    struct store_batch_args args = {
        .tenant = exchange->caller.tenant.name, .limits = &limits, .id = ""};
    TRY(batch_fields_read(&args, &exchange->details, tools, &wanted.batch));
    add_label(&wanted, HTTP_BATCH_VIEW_INPUT, request->input_file_id);
    TRY(batch_message_pack_labels(&labels, &args.metadata_bytes, &wanted.batch));
    args.metadata = labels;
    const enum status status = store_batch_create(tools->store, made, &args);
    free(labels);
    return status;
}

/* Its lines are the document's text. */
static enum status copy_lines(struct http_exchange *exchange, const struct batch_tools *tools,
                              const char *batch, const char *document)
{
    const struct store_limits limits = batch_tools_limits(&exchange->caller.tenant);
    const char *tenant = exchange->caller.tenant.name;
    int64_t offset = 0;
    size_t bytes = 0;
    char *piece = malloc(COPY_BYTES);
    if (!piece)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a batch's lines");
    enum status status = STATUS_OK;
    do {
        TRY_ELSE(store_document_read_part(tools->store, tenant, document, offset, piece, COPY_BYTES,
                                          &bytes),
                 free_piece);
        if (bytes > 0)
            TRY_ELSE(store_batch_append(tools->store, &offset, tenant, batch, offset, piece, bytes,
                                        &limits),
                     free_piece);
    } while (bytes == COPY_BYTES);
    status = store_batch_seal(tools->store, tenant, batch);
free_piece:
    free(piece);
    return status;
}

static enum status create(struct http_exchange *exchange, const struct batch_tools *tools,
                          struct store_batch *batch, const struct openai_batch_request *request)
{
    const char *tenant = exchange->caller.tenant.name, *id = NULL;
    struct store_document document;
    struct store_batch_answer made = {.repeated = false};
    exchange->details.field = "input_file_id";
    TRY(http_store_id(&id, request->input_file_id, HTTP_FILE_PREFIX));
    TRY(store_document_get(tools->store, &document, tenant, id));
    exchange->details.field = NULL;
    TRY(make(exchange, tools, &made, request));
    enum status status = copy_lines(exchange, tools, made.batch.id, document.id);
    if (status == STATUS_OK) {
        batch_validate_wake(tools->validate);
        status = store_batch_get(tools->store, batch, tenant, made.batch.id);
    }
    store_batch_clear(&made.batch);
    return status;
}

enum status http_batches_create(struct http_exchange *exchange)
{
    const struct batch_tools *tools = NULL;
    const struct http_body *body = &exchange->body;
    struct openai_batch_request request;
    struct store_batch batch;
    TRY(http_store_tools(exchange, &tools));
    enum status status = openai_batch_request_parse(&request, &exchange->details,
                                                    body->text ? body->text : "", body->bytes);
    if (status == STATUS_OK)
        status = http_store_end(exchange, create(exchange, tools, &batch, &request));
    openai_batch_request_free(&request);
    TRY(status);
    return reply(exchange, &batch);
}

/* ---- one batch ---- */

static enum status find_id(struct http_exchange *exchange, const struct batch_tools **tools,
                           const char **id)
{
    TRY(http_store_tools(exchange, tools));
    return http_store_id(id, exchange->name, HTTP_BATCH_PREFIX);
}

enum status http_batches_get(struct http_exchange *exchange)
{
    const struct batch_tools *tools = NULL;
    struct store_batch batch;
    const char *id = NULL;
    TRY(find_id(exchange, &tools, &id));
    TRY(http_store_end(exchange,
                       store_batch_get(tools->store, &batch, exchange->caller.tenant.name, id)));
    return reply(exchange, &batch);
}

enum status http_batches_cancel(struct http_exchange *exchange)
{
    const struct batch_tools *tools = NULL;
    const struct store_request once = {.id = NULL};
    struct store_batch_answer cancelled;
    const char *id = NULL;
    TRY(find_id(exchange, &tools, &id));
    TRY(http_store_end(exchange, store_batch_cancel(tools->store, &cancelled,
                                                    exchange->caller.tenant.name, id, &once)));
    batch_dispatch_stop_batch(tools->dispatch, cancelled.batch.number, STORE_LINE_CANCELLED);
    return reply(exchange, &cancelled.batch);
}

/* ---- lists ---- */

struct page {
    struct json_writer writer;
    struct http_list list;
};

static enum status add_to_page(void *context, const struct store_batch *batch)
{
    struct page *page = context;
    if (!http_store_list_takes(&page->list, HTTP_BATCH_PREFIX, batch->id))
        return STATUS_OK;
    return http_batch_view_write(&page->writer, batch);
}

static enum status list(struct http_exchange *exchange, struct store *store, struct page *page)
{
    const char *after = http_parameter(exchange, "after"), *id = NULL;
    const char *tenant = exchange->caller.tenant.name;
    int64_t before = 0;
    if (after) {
        struct store_batch batch;
        TRY(http_store_id(&id, after, HTTP_BATCH_PREFIX));
        TRY(store_batch_get(store, &batch, tenant, id));
        before = batch.number;
        store_batch_clear(&batch);
    }
    http_store_begin_list(&page->writer);
    TRY(store_batch_list(store, tenant, 0, before, page->list.room + 1, add_to_page, page));
    http_store_end_list(&page->writer, &page->list);
    return STATUS_OK;
}

enum status http_batches_list(struct http_exchange *exchange)
{
    const struct batch_tools *tools = NULL;
    struct http_text text;
    struct page page = {.list = {0}};
    TRY(http_store_tools(exchange, &tools));
    TRY(http_store_limit(exchange, &page.list.room));
    TRY(http_text_open(&text));
    page.writer.file = text.file;
    const enum status status = list(exchange, tools->store, &page);
    if (status != STATUS_OK) {
        http_text_drop(&text);
        return http_store_end(exchange, status);
    }
    return http_reply_json(exchange, &text);
}
