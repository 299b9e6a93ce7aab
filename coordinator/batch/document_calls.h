/* The calls of longhaul.v1.Documents. Each is a batch_handler. */
#pragma once

#include "coordinator/batch/batch_tools.h"
#include "proto/status.h"

MUST_CHECK enum status document_calls_upload(const struct batch_context *context,
                                             const ProtobufCMessage *none);
MUST_CHECK enum status document_calls_get(const struct batch_context *context,
                                          const ProtobufCMessage *request);
MUST_CHECK enum status document_calls_list(const struct batch_context *context,
                                           const ProtobufCMessage *request);
MUST_CHECK enum status document_calls_delete(const struct batch_context *context,
                                             const ProtobufCMessage *request);
