/* A call inside the server. Only rpc_server.c and rpc_call.c include this. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <grpc/grpc.h>

#include "proto/rpc/rpc_acceptor.h"
#include "proto/rpc/rpc_end_line.h"
#include "proto/rpc/rpc_server.h"
#include "proto/rpc/rpc_threads.h"
#include "proto/rpc/rpc_wire.h"

struct rpc_listener;

/* First an arrival that waits for its call, then the call. */
struct rpc_call {
    struct rpc_tag arrival;
    struct rpc_job job;
    struct rpc_server *server;
    struct rpc_listener *listener;
    struct rpc_call *next, **link; /* in server->running */
    grpc_call *raw;
    grpc_call_details about;
    grpc_metadata_array metadata;
    struct rpc_wire wire;
    struct rpc_arena *arena;
    const struct rpc_method *method;
    struct rpc_share *share; /* NULL for a call that is refused */
    struct status_details details;
    int64_t begun_ns, deadline_ns;
    /* Until when it may go without a thread, CLOCK_NEVER_NS while it has one; under server->lock,
     * as the next. */
    int64_t quiet_ns;
    bool reading;             /* its request is on its way */
    grpc_byte_buffer *answer; /* NULL: none, or it went out before */
    struct log_field notes[RPC_END_LINE_NOTES_MAX];
    size_t note_count;
    int cancelled; /* set by gRPC when RPC_WIRE_END is over */
    struct rpc_acceptor_call connection;
    struct rpc_caller caller;
    struct rpc_tag refusal;
    /* Of a call that its handler leaves to somebody else: who has not had the last word yet. */
    bool deferred;
    atomic_int words;
    enum status end_status;
    char *end_sentence;
    void (*leave)(struct rpc_call *call, enum status status);
    grpc_slice sentence; /* of its status, with the trailer while the status is sent */
    grpc_metadata trailer;
    bool has_trailer;
};

/* Of a deferred call: one of the two that had a word in it has none any more. */
void rpc_call_release(struct rpc_call *call);
