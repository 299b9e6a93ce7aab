/* Owns nothing. Promises that what is answered OK is in the store. */
#include "coordinator/batch/batch_calls.h"

#include <stdio.h>
#include <stdlib.h>

#include "coordinator/batch/batch_dispatch.h"
#include "coordinator/batch/batch_fields.h"
#include "coordinator/batch/batch_message.h"
#include "coordinator/batch/batch_tools.h"
#include "coordinator/batch/resource_name.h"
#include "coordinator/batch/store_batch.h"
#include "coordinator/batch/whole_input.h"
#include "longhaul/v1/batches.pb-c.h"

static const char collection[] = "batches";

enum { SHORT_INPUT_BYTES = 64 << 10 };

/* Writes a batch as the call's answer, and lets go of it. */
static enum status answer(const struct batch_context *context, struct store_batch *batch)
{
    struct batch_message message;
    enum status status = batch_message_init(&message, batch);
    if (status == STATUS_OK)
        status = rpc_call_answer(context->call, &message.message.base);
    batch_message_deinit(&message);
    store_batch_clear(batch);
    return status;
}

/* ---- create ---- */

static enum status create_whole(const struct batch_context *context,
                                struct store_batch_answer *made, struct store_batch_args *args)
{
    struct whole_input input;
    char id[STORE_ID_BYTES];
    store_make_id(context->tools->store, id);
    if (!args->id[0])
        args->id = id;
    context->details->field = "lines";
    enum status status = whole_input_init(&input, context->tools, args->tenant, args->id,
                                          args->endpoint, args->input, args->input_bytes);
    if (status == STATUS_OK) {
        args->endpoint = input.endpoint;
        args->lines = input.lines;
        args->lines_count = input.count;
        status = store_batch_create(context->tools->store, made, args);
    }
    whole_input_deinit(&input);
    if (status == STATUS_OK)
        batch_dispatch_wake(context->tools->dispatch);
    if (status != STATUS_INVALID_ARGUMENT)
        context->details->field = NULL;
    return status;
}

static enum status create_with(const struct batch_context *context,
                               const Longhaul__V1__CreateBatchRequest *request,
                               const struct store_request *repeatable)
{
    static const Longhaul__V1__Batch nothing = LONGHAUL__V1__BATCH__INIT;
    const struct batch_tools *tools = context->tools;
    const Longhaul__V1__Batch *batch = request->batch ? request->batch : &nothing;
    struct store_batch_answer made = {.repeated = false};
    uint8_t *labels = NULL;
    struct store_batch_args args = {
        .tenant = context->tenant,
        .request = repeatable,
        .limits = &context->limits,
        .id = request->batch_id,
        .input = request->lines.len ? request->lines.data : NULL,
        .input_bytes = request->lines.len,
    };
    TRY(batch_fields_read(&args, context->details, tools, batch));
    context->details->field = "batch_id";
    TRY(resource_name_check_chosen(request->batch_id));
    context->details->field = NULL;
    TRY(batch_message_pack_labels(&labels, &args.metadata_bytes, batch));
    args.metadata = labels;
    enum status status = args.input ? create_whole(context, &made, &args)
                                    : store_batch_create(tools->store, &made, &args);
    free(labels);
    TRY(status);
    rpc_call_note(context->call, log_integer("lines", made.batch.counts.total));
    return answer(context, &made.batch);
}

/* The answer that was given under the request's id. NOT_FOUND: none was. */
static enum status answer_again(const struct batch_context *context,
                                const struct store_request *repeatable)
{
    struct store_batch_answer earlier;
    if (!repeatable->content)
        return STATUS_NOT_FOUND;
    TRY(store_batch_repeated(context->tools->store, &earlier, context->tenant, repeatable));
    return answer(context, &earlier.batch);
}

/* A repeated request is answered as before, even if it could not be carried out any more. Who
 * changes the store looks for the id in any case; a look of its own costs more than a short input,
 * so it is the last thing there, and the first where much would be checked in vain. */
static enum status create_or_repeat(const struct batch_context *context,
                                    const Longhaul__V1__CreateBatchRequest *request,
                                    const struct store_request *repeatable)
{
    char reason[1024];
    const bool is_long = request->lines.len > SHORT_INPUT_BYTES;
    enum status again = is_long ? answer_again(context, repeatable) : STATUS_NOT_FOUND;
    if (again != STATUS_NOT_FOUND)
        return again;
    const enum status status = create_with(context, request, repeatable);
    if (status == STATUS_OK || is_long)
        return status;
    const struct status_details details = *context->details;
    snprintf(reason, sizeof reason, "%s", status_message());
    *context->details = (struct status_details){0};
    again = answer_again(context, repeatable);
    if (again != STATUS_NOT_FOUND)
        return again;
    *context->details = details;
    return fail(status, "%s", reason);
}

enum status batch_calls_create(const struct batch_context *context, const ProtobufCMessage *message)
{
    const Longhaul__V1__CreateBatchRequest *request = (const void *)message;
    struct store_request repeatable;
    TRY(batch_tools_request(&repeatable, context, "CreateBatch", request->request_id, message));
    const enum status status = create_or_repeat(context, request, &repeatable);
    batch_tools_forget(&repeatable);
    return status;
}

/* ---- get and list ---- */

enum status batch_calls_get(const struct batch_context *context, const ProtobufCMessage *message)
{
    const Longhaul__V1__GetBatchRequest *request = (const void *)message;
    struct store_batch batch;
    const char *id = NULL;
    TRY(batch_tools_name(context, &id, request->name, collection));
    TRY(store_batch_get(context->tools->store, &batch, context->tenant, id));
    return answer(context, &batch);
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
    return answer(context, &cancelled.batch);
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
