/* Owns one estimate while its lines come. */
#include "coordinator/batch/estimate_call.h"

#include <stdlib.h>

#include "coordinator/batch/batch_estimate.h"
#include "coordinator/batch/batch_message.h"
#include "coordinator/batch/client_stream.h"
#include "coordinator/batch/store_batch.h"

enum { PIECE_BYTES = 1 << 20 };

/* An estimate, and what a batch that is there has taken. */
struct estimating {
    const struct batch_context *context;
    struct batch_estimate *estimate;
    Longhaul__V1__BatchUsage used;
    double used_seconds;
    bool named;
};

static enum status feed_input(struct estimating *estimating, int64_t number)
{
    const struct batch_context *context = estimating->context;
    char *piece = malloc(PIECE_BYTES);
    if (!piece)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a piece of a batch's input");
    enum status status = STATUS_OK;
    size_t got = PIECE_BYTES;
    for (int64_t offset = 0; status == STATUS_OK && got == PIECE_BYTES; offset += (int64_t)got) {
        if (rpc_call_cancelled(context->call))
            status = fail(STATUS_CANCELLED, "the client left");
        if (status == STATUS_OK)
            status = store_batch_read_input(context->tools->store, context->tenant, number, offset,
                                            piece, PIECE_BYTES, &got);
        if (status == STATUS_OK)
            status = batch_estimate_feed(estimating->estimate, piece, got);
    }
    free(piece);
    return status;
}

static enum status take_named(struct estimating *estimating, const char *name)
{
    const struct batch_context *context = estimating->context;
    struct store_batch batch;
    const char *id = NULL;
    TRY(batch_tools_name(context, &id, name, "batches"));
    TRY(store_batch_get(context->tools->store, &batch, context->tenant, id));
    estimating->named = true;
    batch_message_usage(&estimating->used, &batch.usage);
    if (batch.started_us > 0 && batch.ended_us > 0)
        estimating->used_seconds = (double)(batch.ended_us - batch.started_us) / 1e6;
    const int64_t number = batch.number;
    store_batch_clear(&batch);
    return feed_input(estimating, number);
}

static enum status take_all(struct estimating *estimating)
{
    const ProtobufCMessage *message = NULL;
    bool first = true;
    for (;;) {
        TRY(client_stream_next(estimating->context, &message));
        if (!message)
            return STATUS_OK;
        const Longhaul__V1__EstimateBatchRequest *request = (const void *)message;
        if (first && request->name[0])
            TRY(take_named(estimating, request->name));
        first = false;
        if (request->lines.len == 0)
            continue;
        if (estimating->named)
            return fail(STATUS_INVALID_ARGUMENT, "give the name of a batch or lines, not both");
        TRY(batch_estimate_feed(estimating->estimate, request->lines.data, request->lines.len));
    }
}

static enum status answer(struct estimating *estimating)
{
    Longhaul__V1__BatchEstimate message;
    TRY(take_all(estimating));
    TRY(batch_estimate_end(estimating->estimate, &message));
    if (estimating->named)
        message.used = &estimating->used;
    message.used_seconds = estimating->used_seconds;
    return rpc_call_write(estimating->context->call, &message.base);
}

enum status estimate_call_handle(const struct batch_context *context, const ProtobufCMessage *none)
{
    (void)none;
    struct estimating estimating = {.context = context};
    enum status status = batch_estimate_create(&estimating.estimate, context->tools->store,
                                               context->tools->errand, context->tenant);
    if (status == STATUS_OK)
        status = answer(&estimating);
    batch_estimate_destroy(estimating.estimate);
    return status;
}
