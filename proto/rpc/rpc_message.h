/* Bytes of a peer into a message, within a budget, and a message into bytes.
 *
 * protobuf-c accepts what it should not: strings that are not UTF-8 or hold a NUL, and small inputs
 * that unpack to a hundred times their size. So the bytes are walked by descriptor first, and
 * unpacked into a capped arena.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <grpc/byte_buffer.h>
#include <protobuf-c/protobuf-c.h>

#include "proto/status.h"

/* Holds one unpacked message; the next unpack into it ends the life of the one before. */
struct rpc_arena;

MUST_CHECK enum status rpc_arena_create(struct rpc_arena **arena);
void rpc_arena_destroy(struct rpc_arena *arena);

/* For tests, and what reads a slice: INVALID_ARGUMENT for bytes that break the wire format or hold
 * bad text, RESOURCE_EXHAUSTED for a message that needs more memory than 1 MiB + 8 times its size.
 * `message` is borrowed from the arena. */
MUST_CHECK enum status rpc_message_unpack(struct rpc_arena *arena, const ProtobufCMessage **message,
                                          const ProtobufCMessageDescriptor *descriptor,
                                          const uint8_t *bytes, size_t size);

/* The same for what gRPC received; does not destroy `buffer`. Larger than `limit`:
 * RESOURCE_EXHAUSTED. */
MUST_CHECK enum status rpc_message_take(struct rpc_arena *arena, const ProtobufCMessage **message,
                                        const ProtobufCMessageDescriptor *descriptor,
                                        grpc_byte_buffer *buffer, size_t limit);

/* What `look` says of the received bytes; false where they cannot be read. */
bool rpc_message_look(grpc_byte_buffer *buffer, bool (*look)(const uint8_t *bytes, size_t size));

/* The caller destroys the buffer. */
grpc_byte_buffer *rpc_message_pack(const ProtobufCMessage *message);
