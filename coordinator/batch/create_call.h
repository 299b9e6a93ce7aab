/* longhaul.v1.Batches/CreateBatch: a batch_handler. It waits for no disk: the call ends when the
 * store has the batch on it. */
#pragma once

#include "coordinator/batch/batch_tools.h"
#include "proto/status.h"

MUST_CHECK enum status create_call_handle(const struct batch_context *context,
                                          const ProtobufCMessage *request);
