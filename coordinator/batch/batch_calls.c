/* Owns nothing. Promises that what is answered OK is in the store. */
#include "coordinator/batch/batch_calls.h"

#include <stdio.h>
#include <stdlib.h>

#include "coordinator/batch/batch_dispatch.h"
#include "coordinator/batch/batch_message.h"
#include "coordinator/batch/batch_tools.h"
#include "coordinator/batch/resource_name.h"
#include "coordinator/batch/store_batch.h"
#include "longhaul/v1/batches.pb-c.h"

static const char collection[] = "batches";

/* ---- get and list ---- */

enum status batch_calls_get(const struct batch_context *context, const ProtobufCMessage *message)
{
    const Longhaul__V1__GetBatchRequest *request = (const void *)message;
    struct store_batch batch;
    const char *id = NULL;
    TRY(batch_tools_name(context, &id, request->name, collection));
    TRY(store_batch_get(context->tools->store, &batch, context->tenant, id));
    return batch_message_answer(context->call, &batch);
}

/* A page of batches, copied: the store's live during the walk alone. */
struct page {
    Longhaul__V1__Batch **batches; /* [room] */
    size_t count, room;
    int64_t last; /* the number of the last one */
};

static enum status add_to_page(void *context, const struct store_batch *batch)
{
    struct page *page = context;
    struct batch_message message;
    TRY(batch_message_init(&message, batch));
    const size_t bytes = longhaul__v1__batch__get_packed_size(&message.message);
    uint8_t *packed = malloc(bytes + 1);
    if (packed) {
        longhaul__v1__batch__pack(&message.message, packed);
        page->batches[page->count] = longhaul__v1__batch__unpack(NULL, bytes, packed);
    }
    free(packed);
    batch_message_deinit(&message);
    if (!page->batches[page->count])
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a page of batches");
    page->count++;
    page->last = batch->number;
    return STATUS_OK;
}

static enum status tell_page(const struct batch_context *context, const struct page *page,
                             const char *what)
{
    Longhaul__V1__ListBatchesResponse response = LONGHAUL__V1__LIST_BATCHES_RESPONSE__INIT;
    char token[BATCH_TOOLS_TOKEN_BYTES];
    response.n_batches = page->count;
    response.batches = page->batches;
    if (page->count == page->room) {
        batch_tools_token(token, what, page->last);
        response.next_page_token = token;
    }
    return rpc_call_answer(context->call, &response.base);
}

enum status batch_calls_list(const struct batch_context *context, const ProtobufCMessage *message)
{
    const Longhaul__V1__ListBatchesRequest *request = (const void *)message;
    struct page page = {.count = 0};
    int64_t before = 0, count = 0;
    char what[64];
    snprintf(what, sizeof what, "batches.%d", (int)request->state);
    TRY(batch_tools_page_size(context->details, &count, request->page_size));
    TRY(batch_tools_place(context->details, &before, what, request->page_token));
    page.room = (size_t)count;
    page.batches = calloc(page.room, sizeof *page.batches);
    if (!page.batches)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a page of batches");
    enum status status = store_batch_list(context->tools->store, context->tenant,
                                          (int)request->state, before, count, add_to_page, &page);
    if (status == STATUS_OK)
        status = tell_page(context, &page, what);
    for (size_t i = 0; i < page.count; i++)
        longhaul__v1__batch__free_unpacked(page.batches[i], NULL);
    free(page.batches);
    return status;
}

/* ---- cancel and delete ---- */

enum status batch_calls_cancel(const struct batch_context *context, const ProtobufCMessage *message)
{
    const Longhaul__V1__CancelBatchRequest *request = (const void *)message;
    const struct batch_tools *tools = context->tools;
    struct store_batch_answer cancelled;
    struct store_request repeatable;
    const char *id = NULL;
    TRY(batch_tools_name(context, &id, request->name, collection));
    TRY(batch_tools_request(&repeatable, context, "CancelBatch", request->request_id, message));
    enum status status =
        store_batch_cancel(tools->store, &cancelled, context->tenant, id, &repeatable);
    batch_tools_forget(&repeatable);
    TRY(status);
    batch_dispatch_stop_batch(tools->dispatch, cancelled.batch.number, STORE_LINE_CANCELLED);
    return batch_message_answer(context->call, &cancelled.batch);
}

enum status batch_calls_delete(const struct batch_context *context, const ProtobufCMessage *message)
{
    const Longhaul__V1__DeleteBatchRequest *request = (const void *)message;
    struct store_request repeatable;
    const char *id = NULL;
    TRY(batch_tools_name(context, &id, request->name, collection));
    TRY(batch_tools_request(&repeatable, context, "DeleteBatch", request->request_id, message));
    enum status status =
        store_batch_delete(context->tools->store, context->tenant, id, &repeatable);
    batch_tools_forget(&repeatable);
    TRY(status);
    const Longhaul__V1__DeleteBatchResponse response = LONGHAUL__V1__DELETE_BATCH_RESPONSE__INIT;
    return rpc_call_answer(context->call, &response.base);
}
