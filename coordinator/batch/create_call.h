/* longhaul.v1.Batches/CreateBatch: a batch_handler. It waits for no disk: the call ends when the
 * store has the batch on it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator/batch/batch_tools.h"
#include "proto/status.h"

/* Whether the lines of a packed CreateBatchRequest name no document, which may be long to read:
 * those that might do, too. */
bool create_call_is_brief(const uint8_t *bytes, size_t size);

MUST_CHECK enum status create_call_handle(const struct batch_context *context,
                                          const ProtobufCMessage *request);
