/* Owns the bytes of keys and values that are written. */
#include "proto/model/gguf_pairs.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/dtype.h"

enum status gguf_pairs_begin(struct gguf_pairs *pairs)
{
    *pairs = (struct gguf_pairs){0};
    pairs->stream = open_memstream(&pairs->data, &pairs->bytes);
    return pairs->stream ? STATUS_OK
                         : fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the keys of a GGUF file");
}

void gguf_pairs_put_bytes(struct gguf_pairs *pairs, const void *data, size_t bytes)
{
    (void)fwrite(data, 1, bytes, pairs->stream); /* ferror tells at the end */
}

static void put_little_endian(struct gguf_pairs *pairs, uint64_t value, int bytes)
{
    uint8_t spelt[8];
    for (int i = 0; i < bytes; i++)
        spelt[i] = (uint8_t)(value >> (8 * i));
    gguf_pairs_put_bytes(pairs, spelt, (size_t)bytes);
}

void gguf_pairs_put_u8(struct gguf_pairs *pairs, uint8_t value)
{
    put_little_endian(pairs, value, 1);
}

void gguf_pairs_put_u32(struct gguf_pairs *pairs, uint32_t value)
{
    put_little_endian(pairs, value, 4);
}

void gguf_pairs_put_u64(struct gguf_pairs *pairs, uint64_t value)
{
    put_little_endian(pairs, value, 8);
}

void gguf_pairs_put_string(struct gguf_pairs *pairs, struct text_view text)
{
    gguf_pairs_put_u64(pairs, text.bytes);
    gguf_pairs_put_bytes(pairs, text.text, text.bytes);
}

static void put_key(struct gguf_pairs *pairs, const char *key, enum gguf_type type)
{
    gguf_pairs_put_string(pairs, text_view_of(key));
    gguf_pairs_put_u32(pairs, type);
    pairs->count++;
}

void gguf_pairs_u16(struct gguf_pairs *pairs, const char *key, uint16_t value)
{
    put_key(pairs, key, GGUF_U16);
    put_little_endian(pairs, value, 2);
}

void gguf_pairs_i32(struct gguf_pairs *pairs, const char *key, int32_t value)
{
    put_key(pairs, key, GGUF_I32);
    gguf_pairs_put_u32(pairs, (uint32_t)value);
}

void gguf_pairs_u32(struct gguf_pairs *pairs, const char *key, uint32_t value)
{
    put_key(pairs, key, GGUF_U32);
    gguf_pairs_put_u32(pairs, value);
}

void gguf_pairs_f32(struct gguf_pairs *pairs, const char *key, float value)
{
    put_key(pairs, key, GGUF_F32);
    gguf_pairs_put_u32(pairs, dtype_bits_from_f32(value));
}

void gguf_pairs_bool(struct gguf_pairs *pairs, const char *key, bool value)
{
    put_key(pairs, key, GGUF_BOOL);
    put_little_endian(pairs, value, 1);
}

void gguf_pairs_text(struct gguf_pairs *pairs, const char *key, struct text_view value)
{
    put_key(pairs, key, GGUF_STRING);
    gguf_pairs_put_string(pairs, value);
}

void gguf_pairs_array(struct gguf_pairs *pairs, const char *key, enum gguf_type type,
                      uint64_t count)
{
    put_key(pairs, key, GGUF_ARRAY);
    gguf_pairs_put_u32(pairs, type);
    gguf_pairs_put_u64(pairs, count);
}

void gguf_pairs_copy(struct gguf_pairs *pairs, const struct gguf_pair *pair)
{
    gguf_pairs_put_string(pairs, pair->key);
    gguf_pairs_put_u32(pairs, pair->type);
    gguf_pairs_put_bytes(pairs, pair->value, pair->bytes);
    pairs->count++;
}

enum status gguf_pairs_end(struct gguf_pairs *pairs)
{
    int failed = ferror(pairs->stream);
    failed |= fclose(pairs->stream);
    pairs->stream = NULL;
    return failed ? fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the keys of a GGUF file")
                  : STATUS_OK;
}

void gguf_pairs_free(struct gguf_pairs *pairs)
{
    if (pairs->stream)
        (void)fclose(pairs->stream);
    free(pairs->data);
    *pairs = (struct gguf_pairs){0};
}
