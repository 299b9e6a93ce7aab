/* Owns the bytes of a GGUF file that is being made. */
#include "tests/support/gguf_writer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void gguf_writer_free(struct gguf_writer *writer)
{
    free(writer->data);
    *writer = (struct gguf_writer){0};
}

static void grow(struct gguf_writer *writer, size_t capacity)
{
    writer->capacity = capacity;
    writer->data = realloc(writer->data, capacity);
    assert(writer->data);
}

void gguf_writer_reserve(struct gguf_writer *writer, size_t bytes)
{
    if (writer->capacity - writer->bytes < bytes)
        grow(writer, writer->bytes + bytes);
}

void gguf_writer_bytes(struct gguf_writer *writer, const void *data, size_t bytes)
{
    if (bytes == 0)
        return;
    if (writer->capacity - writer->bytes < bytes)
        grow(writer, (writer->bytes + bytes) * 2);
    memcpy(writer->data + writer->bytes, data, bytes);
    writer->bytes += bytes;
}

void gguf_writer_u8(struct gguf_writer *writer, uint8_t value)
{
    gguf_writer_bytes(writer, &value, sizeof value);
}

static void little_endian(struct gguf_writer *writer, uint64_t value, size_t count)
{
    for (size_t i = 0; i < count; i++)
        gguf_writer_u8(writer, (uint8_t)(value >> (8 * i)));
}

void gguf_writer_u32(struct gguf_writer *writer, uint32_t value)
{
    little_endian(writer, value, sizeof value);
}

void gguf_writer_u64(struct gguf_writer *writer, uint64_t value)
{
    little_endian(writer, value, sizeof value);
}

void gguf_writer_f32(struct gguf_writer *writer, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    gguf_writer_u32(writer, bits);
}

void gguf_writer_string(struct gguf_writer *writer, const char *text)
{
    gguf_writer_u64(writer, strlen(text));
    gguf_writer_bytes(writer, text, strlen(text));
}

void gguf_writer_pad(struct gguf_writer *writer, size_t alignment)
{
    while (writer->bytes % alignment != 0)
        gguf_writer_u8(writer, 0);
}

void gguf_writer_set_u64(struct gguf_writer *writer, size_t offset, uint64_t value)
{
    assert(offset + sizeof value <= writer->bytes);
    for (size_t i = 0; i < sizeof value; i++)
        writer->data[offset + i] = (uint8_t)(value >> (8 * i));
}

void gguf_writer_header(struct gguf_writer *writer, uint64_t tensors, uint64_t pairs)
{
    gguf_writer_bytes(writer, "GGUF", 4);
    gguf_writer_u32(writer, 3);
    gguf_writer_u64(writer, tensors);
    gguf_writer_u64(writer, pairs);
}

void gguf_writer_key(struct gguf_writer *writer, const char *key, enum gguf_type type)
{
    gguf_writer_string(writer, key);
    gguf_writer_u32(writer, type);
}

void gguf_writer_array(struct gguf_writer *writer, const char *key, enum gguf_type type,
                       uint64_t count)
{
    gguf_writer_key(writer, key, GGUF_ARRAY);
    gguf_writer_u32(writer, type);
    gguf_writer_u64(writer, count);
}

void gguf_writer_pair_u32(struct gguf_writer *writer, const char *key, uint32_t value)
{
    gguf_writer_key(writer, key, GGUF_U32);
    gguf_writer_u32(writer, value);
}

void gguf_writer_pair_f32(struct gguf_writer *writer, const char *key, float value)
{
    gguf_writer_key(writer, key, GGUF_F32);
    gguf_writer_f32(writer, value);
}

void gguf_writer_pair_bool(struct gguf_writer *writer, const char *key, uint8_t value)
{
    gguf_writer_key(writer, key, GGUF_BOOL);
    gguf_writer_u8(writer, value);
}

void gguf_writer_pair_text(struct gguf_writer *writer, const char *key, const char *value)
{
    gguf_writer_key(writer, key, GGUF_STRING);
    gguf_writer_string(writer, value);
}

void gguf_writer_tensor(struct gguf_writer *writer, const char *name, uint64_t columns,
                        uint64_t rows, uint32_t type, uint64_t offset)
{
    gguf_writer_string(writer, name);
    gguf_writer_u32(writer, rows == 0 ? 1 : 2);
    gguf_writer_u64(writer, columns);
    if (rows > 0)
        gguf_writer_u64(writer, rows);
    gguf_writer_u32(writer, type);
    gguf_writer_u64(writer, offset);
}

void gguf_writer_insert_pairs(struct gguf_writer *file, struct gguf_writer *pairs, uint64_t count)
{
    struct gguf_writer changed = {0};
    uint64_t old_count;
    memcpy(&old_count, file->data + 16, sizeof old_count);
    char filler[40] = "";
    gguf_writer_key(pairs, "filler", GGUF_STRING);
    memset(filler, '-', (32 - (pairs->bytes + 8) % 32) % 32);
    gguf_writer_string(pairs, filler);
    gguf_writer_bytes(&changed, file->data, 24);
    gguf_writer_set_u64(&changed, 16, old_count + count + 1);
    gguf_writer_bytes(&changed, pairs->data, pairs->bytes);
    gguf_writer_bytes(&changed, file->data + 24, file->bytes - 24);
    gguf_writer_free(file);
    gguf_writer_free(pairs);
    *file = changed;
}
