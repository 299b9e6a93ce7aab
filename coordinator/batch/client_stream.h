/* A client's stream of messages, read by a handler that looks now and then whether anybody is still
 * there. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "coordinator/batch/batch_tools.h"
#include "proto/status.h"

/* The next message, NULL at the stream's end. CANCELLED when the client is gone, DEADLINE_EXCEEDED
 * when it sends nothing for a minute, UNAVAILABLE when the coordinator drains. */
MUST_CHECK enum status client_stream_next(const struct batch_context *context,
                                          const ProtobufCMessage **message);
