/* longhaul.v1.Batches/RetryBatch: a batch_handler. */
#pragma once

#include "coordinator/batch/batch_tools.h"
#include "proto/status.h"

MUST_CHECK enum status retry_call_handle(const struct batch_context *context,
                                         const ProtobufCMessage *request);
