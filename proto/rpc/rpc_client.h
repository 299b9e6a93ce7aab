/* A gRPC client: blocking calls over one channel. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "proto/rpc/rpc_tls.h"
#include "proto/rpc/status_details.h"
#include "proto/status.h"

struct rpc_client;
struct rpc_stream;

/* "HOST:PORT". Connects when the first call starts. */
MUST_CHECK enum status rpc_client_create(struct rpc_client **client, const char *target);

struct rpc_client_args {
    const char *target;
    const struct rpc_tls *tls; /* NULL: none. Read during the call */
    /* What every call sends as the metadata of this name that has none of its own; NULL: nothing.
     * Copied. */
    const char *authorization;
};

/* The same under TLS, or as somebody who shows who it is. */
MUST_CHECK enum status rpc_client_create_as(struct rpc_client **client,
                                            const struct rpc_client_args *args);

/* Every stream must have been closed. NULL is accepted. */
void rpc_client_destroy(struct rpc_client *client);

struct rpc_stream_args {
    const char *path; /* "/longhaul.v1.Inference/Generate" */
    const ProtobufCMessageDescriptor *response;
    int64_t timeout_ms;        /* of the whole call; 0: none */
    bool wait_for_ready;       /* keep trying to connect until the timeout */
    const char *authorization; /* sent as the metadata of this name; NULL: none */
};

MUST_CHECK enum status rpc_stream_open(struct rpc_stream **stream, struct rpc_client *client,
                                       const struct rpc_stream_args *args);

/* From any thread. Where the call is over already, the call's status. */
MUST_CHECK enum status rpc_stream_write(struct rpc_stream *stream, const ProtobufCMessage *message);

/* The same without waiting for the server to take it: the bytes are kept until then. For what is
 * small, and told again or answered. */
MUST_CHECK enum status rpc_stream_post(struct rpc_stream *stream, const ProtobufCMessage *message);

/* No more writes. */
void rpc_stream_half_close(struct rpc_stream *stream);

/* `*message` is NULL when the server's stream is over: rpc_stream_finish tells how. It lives until
 * the next read. DEADLINE_EXCEEDED: nothing within `timeout_ms` (0: as long as the call lasts);
 * reading again goes on waiting. */
MUST_CHECK enum status rpc_stream_read(struct rpc_stream *stream, const ProtobufCMessage **message,
                                       int64_t timeout_ms);

/* From any thread: the call ends CANCELLED. */
void rpc_stream_cancel(struct rpc_stream *stream);

/* The call's status, with the server's sentence. Waits for it. */
MUST_CHECK enum status rpc_stream_finish(struct rpc_stream *stream);

/* What the server told of a failure beside its code and sentence; nothing before the call's end. */
void rpc_stream_advice(struct rpc_stream *stream, struct status_advice *advice);

/* Cancels a call that has not ended. NULL is accepted. */
void rpc_stream_close(struct rpc_stream *stream);

/* For tests: one request, then a stream of replies: open, write, half close. */
MUST_CHECK enum status rpc_stream_ask(struct rpc_stream **stream, struct rpc_client *client,
                                      const struct rpc_stream_args *args,
                                      const ProtobufCMessage *request);

/* One request, one reply. The reply lives as long as the stream, which the caller closes; on
 * failure there is no stream. */
MUST_CHECK enum status rpc_client_call(struct rpc_client *client, struct rpc_stream **stream,
                                       const ProtobufCMessage **reply,
                                       const struct rpc_stream_args *args,
                                       const ProtobufCMessage *request);
