/* The calls of longhaul.v1.Batches that tell results and progress. Each is a batch_handler. */
#pragma once

#include "coordinator/batch/batch_tools.h"
#include "proto/status.h"

MUST_CHECK enum status result_calls_list(const struct batch_context *context,
                                         const ProtobufCMessage *request);
MUST_CHECK enum status result_calls_stream(const struct batch_context *context,
                                           const ProtobufCMessage *request);
MUST_CHECK enum status result_calls_watch(const struct batch_context *context,
                                          const ProtobufCMessage *request);
