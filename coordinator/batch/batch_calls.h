/* The calls of longhaul.v1.Batches that take one request and give one answer. Each is a
 * batch_handler. */
#pragma once

#include "coordinator/batch/batch_tools.h"
#include "proto/status.h"

MUST_CHECK enum status batch_calls_get(const struct batch_context *context,
                                       const ProtobufCMessage *request);
MUST_CHECK enum status batch_calls_list(const struct batch_context *context,
                                        const ProtobufCMessage *request);
MUST_CHECK enum status batch_calls_cancel(const struct batch_context *context,
                                          const ProtobufCMessage *request);
MUST_CHECK enum status batch_calls_delete(const struct batch_context *context,
                                          const ProtobufCMessage *request);
