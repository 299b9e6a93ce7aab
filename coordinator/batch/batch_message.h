/* A batch of the store as its message. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator/batch/resource_name.h"
#include "coordinator/batch/store_batch.h"
#include "longhaul/v1/batches.pb-c.h"
#include "proto/rpc/rpc_server.h"
#include "proto/status.h"

/* A message with its storage; points into the batch, too. */
struct batch_message {
    Longhaul__V1__Batch message;
    Longhaul__V1__LineCounts counts;
    Longhaul__V1__BatchUsage usage;
    char name[RESOURCE_NAME_BYTES], retry_of[RESOURCE_NAME_BYTES];
    Longhaul__V1__Batch *labels; /* owned: what the client wrote of it */
};

/* Where a batch's labels do not read any more: DATA_LOSS. */
MUST_CHECK enum status batch_message_init(struct batch_message *message,
                                          const struct store_batch *batch);
void batch_message_deinit(struct batch_message *message);

/* Answers the call with the batch, and lets go of it. */
MUST_CHECK enum status batch_message_answer(struct rpc_call *call, struct store_batch *batch);

void batch_message_usage(Longhaul__V1__BatchUsage *message, const struct store_usage *usage);

/* The labels as the store keeps them; freed by the caller. */
MUST_CHECK enum status batch_message_pack_labels(uint8_t **bytes, size_t *size,
                                                 const Longhaul__V1__Batch *batch);

/* Whether it has ended: nothing of it changes any more. */
bool batch_message_has_ended(const struct store_batch *batch);
