/* Owns a gRPC call and the operations under way on it. Promises that none outlives
 * rpc_wire_deinit. */
#include "proto/rpc/rpc_wire.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "proto/clock.h"
#include "proto/rpc/handover.h"

enum { FRAME_BYTES = 5 }; /* before each message on the wire: an empty one counts too */

static struct rpc_wire_op *op_of(struct rpc_tag *tag)
{
    return (struct rpc_wire_op *)((char *)tag - offsetof(struct rpc_wire_op, tag));
}

/* Under the lock. */
static bool any_pending(const struct rpc_wire *wire)
{
    for (int i = 0; i < RPC_WIRE_KINDS; i++)
        if (wire->ops[i].pending)
            return true;
    return false;
}

/* Takes the lock away after an operation has ended, and calls `over` after the last one. */
static void unlock_after(struct rpc_wire *wire)
{
    const bool ends = wire->over != NULL;
    const bool over = ends && !any_pending(wire);
    /* A client that streams may still be read from when it has its status. */
    const bool stuck =
        ends && !over && !wire->ops[RPC_WIRE_FINISH].pending && !wire->ops[RPC_WIRE_END].pending;
    pthread_mutex_unlock(&wire->lock);
    if (over)
        wire->over(wire);
    else if (stuck)
        grpc_call_cancel(wire->call, NULL);
}

void rpc_wire_op_done(struct rpc_tag *tag, bool ok)
{
    struct rpc_wire_op *op = op_of(tag);
    struct rpc_wire *wire = op->wire;
    pthread_mutex_lock(&wire->lock);
    op->pending = false;
    op->ok = ok;
    pthread_cond_broadcast(&wire->changed);
    unlock_after(wire);
}

/* Takes the first message off the list. Under the lock. */
static struct rpc_wire_unsent *pop(struct rpc_wire *wire)
{
    struct rpc_wire_unsent *first = wire->unsent;
    wire->unsent = first->next;
    if (!wire->unsent)
        wire->unsent_last = &wire->unsent;
    wire->unsent_bytes -= first->bytes;
    return first;
}

static void unsent_free(struct rpc_wire_unsent *unsent)
{
    grpc_byte_buffer_destroy(unsent->buffer);
    free(unsent);
}

/* Hands the first message to gRPC. Not under the lock; the WRITE is marked pending already. */
static void send_first(struct rpc_wire *wire, grpc_byte_buffer *buffer, bool greet)
{
    grpc_op ops[2];
    memset(ops, 0, sizeof ops);
    size_t count = 0;
    if (greet)
        ops[count++].op = GRPC_OP_SEND_INITIAL_METADATA;
    ops[count].op = GRPC_OP_SEND_MESSAGE;
    ops[count++].data.send_message.send_message = buffer;
    struct rpc_tag *tag = &wire->ops[RPC_WIRE_WRITE].tag;
    handover_give(tag);
    grpc_call_error error = grpc_call_start_batch(wire->call, ops, count, tag, NULL);
    assert(error == GRPC_CALL_OK);
}

/* A message was taken, or the call is over: the next one, if any. */
static void write_done(struct rpc_tag *tag, bool ok)
{
    struct rpc_wire_op *op = op_of(tag);
    struct rpc_wire *wire = op->wire;
    pthread_mutex_lock(&wire->lock);
    struct rpc_wire_unsent *done = pop(wire);
    op->ok = ok;
    wire->taken += ok;
    wire->taken_ns = clock_now_ns();
    wire->write_failed = wire->write_failed || !ok;
    while (wire->write_failed && wire->unsent)
        unsent_free(pop(wire));
    op->pending = wire->unsent != NULL;
    grpc_byte_buffer *next = op->pending ? wire->unsent->buffer : NULL;
    pthread_cond_broadcast(&wire->changed);
    unlock_after(wire);
    unsent_free(done);
    if (next)
        send_first(wire, next, false);
}

void rpc_wire_init(struct rpc_wire *wire, grpc_call *call, bool greets)
{
    memset(wire, 0, sizeof *wire);
    wire->call = call;
    wire->greets = greets;
    wire->unsent_last = &wire->unsent;
    pthread_mutex_init(&wire->lock, NULL);
    pthread_cond_init(&wire->changed, NULL);
    for (int i = 0; i < RPC_WIRE_KINDS; i++)
        wire->ops[i] = (struct rpc_wire_op){.tag = {rpc_wire_op_done}, .wire = wire};
    wire->ops[RPC_WIRE_WRITE].tag.done = write_done;
}

void rpc_wire_deinit(struct rpc_wire *wire)
{
    pthread_mutex_lock(&wire->lock);
    const bool pending = any_pending(wire);
    pthread_mutex_unlock(&wire->lock);
    if (pending)
        grpc_call_cancel(wire->call, NULL);
    /* gRPC ends every operation of a cancelled call at once. */
    for (int i = 0; i < RPC_WIRE_KINDS; i++)
        (void)rpc_wire_wait(wire, (enum rpc_wire_kind)i, CLOCK_NEVER_NS);
    if (wire->incoming)
        grpc_byte_buffer_destroy(wire->incoming);
    grpc_call_unref(wire->call);
    pthread_cond_destroy(&wire->changed);
    pthread_mutex_destroy(&wire->lock);
}

void rpc_wire_begin(struct rpc_wire *wire, enum rpc_wire_kind kind, const grpc_op *ops,
                    size_t count)
{
    struct rpc_wire_op *op = &wire->ops[kind];
    pthread_mutex_lock(&wire->lock);
    assert(!op->pending);
    op->pending = true;
    pthread_mutex_unlock(&wire->lock);
    handover_give(&op->tag);
    grpc_call_error error = grpc_call_start_batch(wire->call, ops, count, &op->tag, NULL);
    assert(error == GRPC_CALL_OK);
}

void rpc_wire_end(struct rpc_wire *wire, const grpc_op *ops, size_t count,
                  void (*over)(struct rpc_wire *wire))
{
    struct rpc_wire_op *op = &wire->ops[RPC_WIRE_FINISH];
    pthread_mutex_lock(&wire->lock);
    assert(!op->pending && !wire->over);
    op->pending = true;
    wire->over = over;
    grpc_call *call = wire->call;
    pthread_mutex_unlock(&wire->lock);
    handover_give(&op->tag);
    grpc_call_error error = grpc_call_start_batch(call, ops, count, &op->tag, NULL);
    assert(error == GRPC_CALL_OK);
}

bool rpc_wire_wait(struct rpc_wire *wire, enum rpc_wire_kind kind, int64_t deadline_ns)
{
    pthread_mutex_lock(&wire->lock);
    while (wire->ops[kind].pending && clock_wait(&wire->changed, &wire->lock, deadline_ns))
        ;
    bool ended = !wire->ops[kind].pending;
    pthread_mutex_unlock(&wire->lock);
    return ended;
}

bool rpc_wire_ended(struct rpc_wire *wire)
{
    return rpc_wire_wait(wire, RPC_WIRE_END, 0);
}

void rpc_wire_begin_read(struct rpc_wire *wire)
{
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
    op.data.recv_message.recv_message = &wire->incoming;
    wire->read_begun = true;
    rpc_wire_begin(wire, RPC_WIRE_READ, &op, 1);
}

enum status rpc_wire_read(struct rpc_wire *wire, struct rpc_arena *arena,
                          const ProtobufCMessage **message,
                          const ProtobufCMessageDescriptor *descriptor, size_t bytes_max,
                          int64_t deadline_ns)
{
    if (!wire->read_begun)
        rpc_wire_begin_read(wire);
    if (!rpc_wire_wait(wire, RPC_WIRE_READ, deadline_ns))
        return fail(STATUS_DEADLINE_EXCEEDED, "no message came in time");
    wire->read_begun = false;
    *message = NULL;
    if (!wire->incoming)
        return STATUS_OK;
    enum status status = rpc_message_take(arena, message, descriptor, wire->incoming, bytes_max);
    grpc_byte_buffer_destroy(wire->incoming);
    wire->incoming = NULL;
    return status;
}

/* ---- writing ---- */

/* `*number` is the message's place among all that were posted, from 1. */
static enum status post(struct rpc_wire *wire, int64_t *number, const ProtobufCMessage *message)
{
    struct rpc_wire_unsent *unsent = calloc(1, sizeof *unsent);
    if (!unsent)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to send a message");
    unsent->buffer = rpc_message_pack(message);
    unsent->bytes = FRAME_BYTES + grpc_byte_buffer_length(unsent->buffer);
    struct rpc_wire_op *op = &wire->ops[RPC_WIRE_WRITE];
    pthread_mutex_lock(&wire->lock);
    if (wire->write_failed) {
        pthread_mutex_unlock(&wire->lock);
        unsent_free(unsent);
        return fail(STATUS_CANCELLED, "the call is over");
    }
    *wire->unsent_last = unsent;
    wire->unsent_last = &unsent->next;
    wire->unsent_bytes += unsent->bytes;
    *number = ++wire->posted;
    bool idle = !op->pending, greet = idle && wire->greets && !wire->greeted;
    if (idle) {
        op->pending = true;
        wire->greeted = true;
        wire->taken_ns = clock_now_ns();
    }
    pthread_mutex_unlock(&wire->lock);
    if (idle)
        send_first(wire, unsent->buffer, greet);
    return STATUS_OK;
}

enum status rpc_wire_post(struct rpc_wire *wire, const ProtobufCMessage *message)
{
    int64_t number = 0;
    return post(wire, &number, message);
}

enum status rpc_wire_write(struct rpc_wire *wire, const ProtobufCMessage *message,
                           int64_t deadline_ns)
{
    int64_t number = 0;
    TRY(post(wire, &number, message));
    pthread_mutex_lock(&wire->lock);
    while (wire->taken < number && !wire->write_failed &&
           clock_wait(&wire->changed, &wire->lock, deadline_ns))
        ;
    bool taken = wire->taken >= number, failed = wire->write_failed;
    pthread_mutex_unlock(&wire->lock);
    if (taken)
        return STATUS_OK;
    if (failed)
        return fail(STATUS_CANCELLED, "the call is over");
    grpc_call_cancel(wire->call, NULL);
    (void)rpc_wire_wait(wire, RPC_WIRE_WRITE, CLOCK_NEVER_NS);
    return fail(STATUS_UNAVAILABLE, "the peer took no message in time");
}

bool rpc_wire_wait_unsent(struct rpc_wire *wire, size_t bytes, int64_t deadline_ns)
{
    pthread_mutex_lock(&wire->lock);
    while (wire->unsent_bytes > bytes && clock_wait(&wire->changed, &wire->lock, deadline_ns))
        ;
    bool room = wire->unsent_bytes <= bytes;
    pthread_mutex_unlock(&wire->lock);
    return room;
}

int64_t rpc_wire_stalled_ms(struct rpc_wire *wire)
{
    pthread_mutex_lock(&wire->lock);
    int64_t stalled_ns = wire->unsent ? clock_now_ns() - wire->taken_ns : 0;
    pthread_mutex_unlock(&wire->lock);
    return stalled_ns / 1000000;
}
