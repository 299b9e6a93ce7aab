/* Owns a batch's labels while a message tells them. */
#include "coordinator/batch/batch_message.h"

#include <stdbool.h>
#include <stdlib.h>

enum { US_A_SECOND = 1000000 };

void batch_message_usage(Longhaul__V1__BatchUsage *message, const struct store_usage *usage)
{
    longhaul__v1__batch_usage__init(message);
    message->prompt_tokens = usage->prompt_tokens;
    message->cached_tokens = usage->cached_tokens;
    message->prefilled_tokens = usage->prefilled_tokens;
    message->completion_tokens = usage->completion_tokens;
}

static void set_counts(Longhaul__V1__LineCounts *message, const struct store_counts *counts)
{
    longhaul__v1__line_counts__init(message);
    message->total = counts->total;
    message->completed = counts->completed;
    message->failed = counts->failed;
    message->cancelled = counts->cancelled;
    message->expired = counts->expired;
    message->running = counts->running;
}

enum status batch_message_init(struct batch_message *message, const struct store_batch *batch)
{
    Longhaul__V1__Batch *to = &message->message;
    longhaul__v1__batch__init(to);
    message->labels = NULL;
    if (batch->metadata_bytes > 0) {
        message->labels = longhaul__v1__batch__unpack(NULL, batch->metadata_bytes, batch->metadata);
        if (!message->labels)
            return fail(STATUS_DATA_LOSS, "batches/%s: its metadata is damaged", batch->id);
        to->n_metadata = message->labels->n_metadata;
        to->metadata = message->labels->metadata;
    }
    set_counts(&message->counts, &batch->counts);
    batch_message_usage(&message->usage, &batch->usage);
    resource_name_write(message->name, "batches", batch->id);
    if (batch->retry_of[0]) {
        resource_name_write(message->retry_of, "batches", batch->retry_of);
        to->retry_of = message->retry_of;
    }
    to->name = message->name;
    to->endpoint = (char *)batch->endpoint;
    to->order = (Longhaul__V1__ResultOrder)batch->order;
    to->priority = batch->priority;
    to->expires_after_seconds = (batch->expires_us - batch->created_us) / US_A_SECOND;
    to->retention_seconds = batch->retention_seconds;
    to->state = (Longhaul__V1__BatchState)batch->state;
    to->counts = &message->counts;
    to->usage = &message->usage;
    to->committed_bytes = batch->committed_bytes;
    if (batch->error)
        to->error = batch->error;
    to->created_us = batch->created_us;
    to->started_us = batch->started_us;
    to->ended_us = batch->ended_us;
    to->expires_us = batch->expires_us;
    return STATUS_OK;
}

void batch_message_deinit(struct batch_message *message)
{
    if (message->labels)
        longhaul__v1__batch__free_unpacked(message->labels, NULL);
    message->labels = NULL;
}

enum status batch_message_pack_labels(uint8_t **bytes, size_t *size,
                                      const Longhaul__V1__Batch *batch)
{
    Longhaul__V1__Batch labels = LONGHAUL__V1__BATCH__INIT;
    labels.n_metadata = batch->n_metadata;
    labels.metadata = batch->metadata;
    const size_t needed = longhaul__v1__batch__get_packed_size(&labels);
    uint8_t *packed = malloc(needed + 1);
    if (!packed)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a batch's metadata");
    longhaul__v1__batch__pack(&labels, packed);
    *bytes = packed;
    *size = needed;
    return STATUS_OK;
}

bool batch_message_has_ended(const struct store_batch *batch)
{
    return batch->state == STORE_BATCH_SUCCEEDED || batch->state == STORE_BATCH_FAILED ||
           batch->state == STORE_BATCH_EXPIRED || batch->state == STORE_BATCH_CANCELLED;
}

enum status batch_message_answer(struct rpc_call *call, struct store_batch *batch)
{
    struct batch_message message;
    enum status status = batch_message_init(&message, batch);
    if (status == STATUS_OK)
        status = rpc_call_answer(call, &message.message.base);
    batch_message_deinit(&message);
    store_batch_clear(batch);
    return status;
}
