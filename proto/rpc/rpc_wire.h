/* One call's operations, the same on both ends: start them, wait for them with a deadline. Only
 * rpc_server.c and rpc_client.c include this. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "proto/rpc/rpc_message.h"
#include "proto/rpc/rpc_queue.h"
#include "proto/status.h"

/* The metadata by which a caller shows who it is. */
#define RPC_AUTHORIZATION "authorization"

enum rpc_wire_kind {
    RPC_WIRE_START, /* client: metadata both ways */
    RPC_WIRE_READ,
    RPC_WIRE_WRITE,
    RPC_WIRE_HALF_CLOSE, /* client: no more writes */
    RPC_WIRE_END,    /* client: the status arrives; server: the call is over, cancelled or not */
    RPC_WIRE_FINISH, /* server: sends the status */
    RPC_WIRE_KINDS
};

struct rpc_wire;

struct rpc_wire_op {
    struct rpc_tag tag;
    struct rpc_wire *wire;
    bool pending;
    bool ok; /* of the last one that ended */
};

/* A message on its way to the peer; the first one is with gRPC. */
struct rpc_wire_unsent {
    struct rpc_wire_unsent *next;
    grpc_byte_buffer *buffer;
    size_t bytes;
};

struct rpc_wire {
    grpc_call *call;
    bool greets;          /* server: initial metadata goes before the first message */
    pthread_mutex_t lock; /* of ops and unsent; never held across a wait for the peer */
    pthread_cond_t changed;
    struct rpc_wire_op ops[RPC_WIRE_KINDS];
    struct rpc_wire_unsent *unsent, **unsent_last;
    size_t unsent_bytes;
    int64_t posted, taken; /* messages so far */
    int64_t taken_ns;      /* when the peer last took one, or the first one began to wait */
    bool write_failed;     /* the call is over: nothing is sent any more */
    grpc_byte_buffer *incoming;
    bool read_begun;                     /* a READ was begun whose message nobody has taken */
    bool greeted;                        /* initial metadata was sent */
    void (*over)(struct rpc_wire *wire); /* NULL until rpc_wire_end */
};

/* Takes `call`. */
void rpc_wire_init(struct rpc_wire *wire, grpc_call *call, bool greets);

/* Cancels what has not ended, waits for every operation, frees the call. On the queue's thread
 * every operation must have ended. */
void rpc_wire_deinit(struct rpc_wire *wire);

void rpc_wire_begin(struct rpc_wire *wire, enum rpc_wire_kind kind, const grpc_op *ops,
                    size_t count);

/* Begins the server's last operation, FINISH. When every operation has ended `over` is called, on
 * the queue's thread: whoever calls this has no further word in the call. */
void rpc_wire_end(struct rpc_wire *wire, const grpc_op *ops, size_t count,
                  void (*over)(struct rpc_wire *wire));

/* Begins to read a message, which rpc_wire_read takes. */
void rpc_wire_begin_read(struct rpc_wire *wire);

/* What an operation's tag does when it has ended. */
void rpc_wire_op_done(struct rpc_tag *tag, bool ok);

/* True when no operation of this kind is under way any more. */
bool rpc_wire_wait(struct rpc_wire *wire, enum rpc_wire_kind kind, int64_t deadline_ns);

bool rpc_wire_ended(struct rpc_wire *wire);

/* `*message` becomes NULL at the end of the peer's stream. DEADLINE_EXCEEDED leaves the read under
 * way: the next call goes on waiting for it. */
MUST_CHECK enum status rpc_wire_read(struct rpc_wire *wire, struct rpc_arena *arena,
                                     const ProtobufCMessage **message,
                                     const ProtobufCMessageDescriptor *descriptor, size_t bytes_max,
                                     int64_t deadline_ns);

/* From any thread. Packs the message and returns at once; messages go out in order as the peer
 * takes them. CANCELLED when the call is over. */
MUST_CHECK enum status rpc_wire_post(struct rpc_wire *wire, const ProtobufCMessage *message);

/* The same, and waits until the peer has taken the message. A peer that has not by the deadline
 * loses the call: UNAVAILABLE. */
MUST_CHECK enum status rpc_wire_write(struct rpc_wire *wire, const ProtobufCMessage *message,
                                      int64_t deadline_ns);

/* True when at most `bytes` are on their way, or the call is over. */
bool rpc_wire_wait_unsent(struct rpc_wire *wire, size_t bytes, int64_t deadline_ns);

/* How long the peer has taken nothing although there is something for it; 0 when there is not. */
int64_t rpc_wire_stalled_ms(struct rpc_wire *wire);
