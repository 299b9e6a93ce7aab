/* The events of one call, read so that Ctrl-C ends the call. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "proto/status.h"

struct rpc_client;

/* Called for each event; a failure cancels the call and is what event_stream_run returns. */
typedef enum status event_stream_take(void *context, const ProtobufCMessage *event);

/* Called while nothing comes, several times a second. `trouble`: the reason for which the server
 * refuses the request until later, "NO_WORKERS" or "QUEUE_FULL"; NULL while the call is open. */
typedef void event_stream_wait(void *context, const char *trouble);

struct event_stream_args {
    const char *path;
    const ProtobufCMessageDescriptor *response;
    const ProtobufCMessage *request;
    int64_t timeout_ms; /* of the whole; 0: none */
    event_stream_take *take;
    event_stream_wait *wait;
    const bool *begun; /* set by `take` once the request runs: it is not asked again then */
    void *context;
};

/* The call's status; CANCELLED after an interrupt, OUT_OF_RANGE for a request that is larger than a
 * coordinator takes. With a timeout, a request that is refused until later, because there are no
 * workers or the queue is full, is asked again until it has passed. */
MUST_CHECK enum status event_stream_run(struct rpc_client *client,
                                        const struct event_stream_args *args);

/* OUT_OF_RANGE for a request that is larger than a coordinator takes. */
MUST_CHECK enum status event_stream_check_size(const ProtobufCMessage *request);

/* A message of the stream's arena copied so that it outlives the stream; freed with
 * protobuf_c_message_free_unpacked. */
MUST_CHECK enum status event_stream_keep(ProtobufCMessage **copy, const ProtobufCMessage *message);
