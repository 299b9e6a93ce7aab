/* Owns a gRPC call and the operations under way on it. Promises that none outlives
 * rpc_wire_deinit. */
#include "proto/rpc/rpc_wire.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "proto/clock.h"

static void op_done(struct rpc_tag *tag, bool ok)
{
    struct rpc_wire_op *op =
        (struct rpc_wire_op *)((char *)tag - offsetof(struct rpc_wire_op, tag));
    struct rpc_wire *wire = op->wire;
    pthread_mutex_lock(&wire->lock);
    op->pending = false;
    op->ok = ok;
    pthread_cond_broadcast(&wire->changed);
    pthread_mutex_unlock(&wire->lock);
}

void rpc_wire_init(struct rpc_wire *wire, grpc_call *call)
{
    memset(wire, 0, sizeof *wire);
    wire->call = call;
    pthread_mutex_init(&wire->lock, NULL);
    pthread_mutex_init(&wire->write_lock, NULL);
    pthread_cond_init(&wire->changed, NULL);
    for (int i = 0; i < RPC_WIRE_KINDS; i++)
        wire->ops[i] = (struct rpc_wire_op){.tag = {op_done}, .wire = wire};
}

void rpc_wire_deinit(struct rpc_wire *wire)
{
    grpc_call_cancel(wire->call, NULL);
    /* gRPC ends every operation of a cancelled call at once. */
    for (int i = 0; i < RPC_WIRE_KINDS; i++)
        (void)rpc_wire_wait(wire, (enum rpc_wire_kind)i, CLOCK_NEVER_NS);
    if (wire->incoming)
        grpc_byte_buffer_destroy(wire->incoming);
    grpc_call_unref(wire->call);
    pthread_cond_destroy(&wire->changed);
    pthread_mutex_destroy(&wire->write_lock);
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
    grpc_call_error error = grpc_call_start_batch(wire->call, ops, count, &op->tag, NULL);
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

enum status rpc_wire_read(struct rpc_wire *wire, struct rpc_arena *arena,
                          const ProtobufCMessage **message,
                          const ProtobufCMessageDescriptor *descriptor, size_t bytes_max,
                          int64_t deadline_ns)
{
    if (!wire->read_begun) {
        grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
        op.data.recv_message.recv_message = &wire->incoming;
        wire->read_begun = true;
        rpc_wire_begin(wire, RPC_WIRE_READ, &op, 1);
    }
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

static enum status write_locked(struct rpc_wire *wire, grpc_byte_buffer *buffer,
                                int64_t deadline_ns, bool greet)
{
    grpc_op ops[2];
    memset(ops, 0, sizeof ops);
    size_t count = 0;
    if (greet && !wire->greeted)
        ops[count++].op = GRPC_OP_SEND_INITIAL_METADATA;
    wire->greeted = true;
    ops[count].op = GRPC_OP_SEND_MESSAGE;
    ops[count++].data.send_message.send_message = buffer;
    rpc_wire_begin(wire, RPC_WIRE_WRITE, ops, count);
    if (!rpc_wire_wait(wire, RPC_WIRE_WRITE, deadline_ns)) {
        grpc_call_cancel(wire->call, NULL);
        (void)rpc_wire_wait(wire, RPC_WIRE_WRITE, CLOCK_NEVER_NS);
        return fail(STATUS_UNAVAILABLE, "the peer took no message in time");
    }
    if (!wire->ops[RPC_WIRE_WRITE].ok)
        return fail(STATUS_CANCELLED, "the call is over");
    return STATUS_OK;
}

enum status rpc_wire_write(struct rpc_wire *wire, const ProtobufCMessage *message,
                           int64_t deadline_ns, bool greet)
{
    grpc_byte_buffer *buffer = rpc_message_pack(message);
    pthread_mutex_lock(&wire->write_lock);
    enum status status = write_locked(wire, buffer, deadline_ns, greet);
    pthread_mutex_unlock(&wire->write_lock);
    grpc_byte_buffer_destroy(buffer);
    return status;
}
