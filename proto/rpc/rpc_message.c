/* Owns the arenas that messages are unpacked into. Promises that hostile bytes cost at most 1 MiB +
 * 8 times their number, and that every string of an unpacked message is whole, NUL-free UTF-8. */
#include "proto/rpc/rpc_message.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/byte_buffer_reader.h>
#include <grpc/slice.h>

#include "proto/rpc/wire_walk.h"
#include "proto/utf8.h"

enum { CHUNK_BYTES = 64 << 10, BUDGET_BASE = 1 << 20, BUDGET_FACTOR = 8, DEPTH_MAX = 32 };

struct chunk {
    struct chunk *next;
    size_t used, room;
    max_align_t data[];
};

struct rpc_arena {
    ProtobufCAllocator allocator;
    struct chunk *chunks;
    size_t budget; /* bytes that may still be handed out */
    bool exhausted;
};

static void *arena_alloc(void *owner, size_t size)
{
    struct rpc_arena *arena = owner;
    size = (size + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
    if (size > arena->budget) {
        arena->exhausted = true;
        return NULL;
    }
    struct chunk *chunk = arena->chunks;
    if (!chunk || chunk->room - chunk->used < size) {
        size_t room = size > CHUNK_BYTES ? size : CHUNK_BYTES;
        chunk = malloc(sizeof *chunk + room);
        if (!chunk) {
            arena->exhausted = true;
            return NULL;
        }
        *chunk = (struct chunk){.next = arena->chunks, .room = room};
        arena->chunks = chunk;
    }
    void *memory = (char *)chunk->data + chunk->used;
    chunk->used += size;
    arena->budget -= size;
    return memory;
}

static void arena_free(void *owner, void *memory)
{
    (void)owner;
    (void)memory; /* all of it goes with the arena's next message */
}

static void arena_clear(struct rpc_arena *arena)
{
    for (struct chunk *chunk = arena->chunks; chunk;) {
        struct chunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
    arena->chunks = NULL;
}

enum status rpc_arena_create(struct rpc_arena **arena)
{
    struct rpc_arena *a = calloc(1, sizeof *a);
    if (!a)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a message");
    a->allocator = (ProtobufCAllocator){arena_alloc, arena_free, a};
    *arena = a;
    return STATUS_OK;
}

void rpc_arena_destroy(struct rpc_arena *arena)
{
    if (!arena)
        return;
    arena_clear(arena);
    free(arena);
}

static enum status check_text(const uint8_t *bytes, size_t size, const char *message,
                              const char *field)
{
    for (size_t at = 0; at < size;) {
        int length = utf8_sequence((const char *)bytes + at, size - at);
        if (length <= 0 || !bytes[at])
            return fail(STATUS_INVALID_ARGUMENT, "%s.%s: byte %zu is %s", message, field, at,
                        bytes[at] ? "not valid UTF-8" : "a NUL");
        at += (size_t)length;
    }
    return STATUS_OK;
}

/* Depth is bounded by the types, which a test keeps free of recursion. */
static enum status check(const ProtobufCMessageDescriptor *descriptor, const uint8_t *bytes,
                         size_t size, int depth)
{
    struct wire_walk walk = {bytes, bytes + size};
    struct wire_field field;
    bool broken = false;
    while (wire_walk_next(&walk, &field, &broken)) {
        const ProtobufCFieldDescriptor *known =
            protobuf_c_message_descriptor_get_field(descriptor, field.number);
        if (!known || field.wire_type != 2)
            continue;
        if (known->type == PROTOBUF_C_TYPE_STRING)
            TRY(check_text(field.bytes, field.size, descriptor->short_name, known->name));
        if (known->type == PROTOBUF_C_TYPE_MESSAGE && depth < DEPTH_MAX)
            TRY(check(known->descriptor, field.bytes, field.size, depth + 1));
    }
    if (broken)
        return fail(STATUS_INVALID_ARGUMENT, "%s: the bytes are no protobuf message from byte %zu",
                    descriptor->short_name, (size_t)(walk.at - bytes));
    return STATUS_OK;
}

enum status rpc_message_unpack(struct rpc_arena *arena, const ProtobufCMessage **message,
                               const ProtobufCMessageDescriptor *descriptor, const uint8_t *bytes,
                               size_t size)
{
    TRY(check(descriptor, bytes, size, 0));
    arena_clear(arena);
    arena->budget = BUDGET_BASE + BUDGET_FACTOR * size;
    arena->exhausted = false;
    ProtobufCMessage *unpacked =
        protobuf_c_message_unpack(descriptor, &arena->allocator, size, bytes);
    if (!unpacked && arena->exhausted)
        return fail(STATUS_INVALID_ARGUMENT,
                    "%s: %zu bytes unpack to more than %zu bytes of memory", descriptor->short_name,
                    size, BUDGET_BASE + BUDGET_FACTOR * size);
    if (!unpacked)
        return fail(STATUS_INVALID_ARGUMENT, "%s: the bytes are no such message",
                    descriptor->short_name);
    *message = unpacked;
    return STATUS_OK;
}

enum status rpc_message_take(struct rpc_arena *arena, const ProtobufCMessage **message,
                             const ProtobufCMessageDescriptor *descriptor, grpc_byte_buffer *buffer,
                             size_t limit)
{
    size_t size = grpc_byte_buffer_length(buffer);
    if (size > limit)
        return fail(STATUS_OUT_OF_RANGE, "%s: a message of %zu bytes; the limit is %zu",
                    descriptor->short_name, size, limit);
    if (buffer->data.raw.compression != GRPC_COMPRESS_NONE)
        return fail(STATUS_UNIMPLEMENTED, "%s: a compressed message; send it as it is (identity)",
                    descriptor->short_name);
    grpc_byte_buffer_reader reader;
    if (!grpc_byte_buffer_reader_init(&reader, buffer))
        return fail(STATUS_INVALID_ARGUMENT, "%s: the bytes cannot be read",
                    descriptor->short_name);
    grpc_slice bytes = grpc_byte_buffer_reader_readall(&reader);
    grpc_byte_buffer_reader_destroy(&reader);
    enum status status = rpc_message_unpack(arena, message, descriptor, GRPC_SLICE_START_PTR(bytes),
                                            GRPC_SLICE_LENGTH(bytes));
    grpc_slice_unref(bytes);
    return status;
}

bool rpc_message_look(grpc_byte_buffer *buffer, bool (*look)(const uint8_t *bytes, size_t size))
{
    grpc_byte_buffer_reader reader;
    if (!grpc_byte_buffer_reader_init(&reader, buffer))
        return false;
    grpc_slice bytes = grpc_byte_buffer_reader_readall(&reader);
    grpc_byte_buffer_reader_destroy(&reader);
    const bool answer = look(GRPC_SLICE_START_PTR(bytes), GRPC_SLICE_LENGTH(bytes));
    grpc_slice_unref(bytes);
    return answer;
}

grpc_byte_buffer *rpc_message_pack(const ProtobufCMessage *message)
{
    grpc_slice slice = grpc_slice_malloc(protobuf_c_message_get_packed_size(message));
    protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return buffer;
}
