/* longhaul.v1.Batches/UploadLines: a batch_handler. */
#pragma once

#include "coordinator/batch/batch_tools.h"
#include "proto/status.h"

MUST_CHECK enum status upload_call_handle(const struct batch_context *context,
                                          const ProtobufCMessage *none);
