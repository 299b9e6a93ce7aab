/* longhaul.v1.Batches/EstimateBatch: a batch_handler. */
#pragma once

#include "coordinator/batch/batch_tools.h"
#include "proto/status.h"

MUST_CHECK enum status estimate_call_handle(const struct batch_context *context,
                                            const ProtobufCMessage *none);
