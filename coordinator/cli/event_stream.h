/* The events of one call, read so that Ctrl-C ends the call. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "proto/status.h"

struct rpc_client;

/* Called for each event; a failure cancels the call and is what event_stream_run returns. */
typedef enum status event_stream_take(void *context, const ProtobufCMessage *event);

struct event_stream_args {
    const char *path;
    const ProtobufCMessageDescriptor *response;
    const ProtobufCMessage *request;
    event_stream_take *take;
    void *context;
};

/* The call's status; CANCELLED after an interrupt. */
MUST_CHECK enum status event_stream_run(struct rpc_client *client,
                                        const struct event_stream_args *args);

/* A message of the stream's arena copied so that it outlives the stream; freed with
 * protobuf_c_message_free_unpacked. */
MUST_CHECK enum status event_stream_keep(ProtobufCMessage **copy, const ProtobufCMessage *message);
