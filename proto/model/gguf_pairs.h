/* Keys and values of a GGUF file that is written, in memory. A failure (memory) is told at the
 * end. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "proto/model/gguf.h"

struct gguf_pairs {
    FILE *stream;
    char *data; /* once gguf_pairs_end has succeeded */
    size_t bytes;
    uint64_t count;
};

MUST_CHECK enum status gguf_pairs_begin(struct gguf_pairs *pairs);

/* Numbers and texts without a key: elements of an array, or parts of another table. */
void gguf_pairs_put_bytes(struct gguf_pairs *pairs, const void *data, size_t bytes);
void gguf_pairs_put_u8(struct gguf_pairs *pairs, uint8_t value);
void gguf_pairs_put_u32(struct gguf_pairs *pairs, uint32_t value);
void gguf_pairs_put_u64(struct gguf_pairs *pairs, uint64_t value);
void gguf_pairs_put_string(struct gguf_pairs *pairs, struct text_view text);

void gguf_pairs_u16(struct gguf_pairs *pairs, const char *key, uint16_t value);
void gguf_pairs_i32(struct gguf_pairs *pairs, const char *key, int32_t value);
void gguf_pairs_u32(struct gguf_pairs *pairs, const char *key, uint32_t value);
void gguf_pairs_f32(struct gguf_pairs *pairs, const char *key, float value);
void gguf_pairs_bool(struct gguf_pairs *pairs, const char *key, bool value);
void gguf_pairs_text(struct gguf_pairs *pairs, const char *key, struct text_view value);

/* A key and the start of an array whose elements are put next. */
void gguf_pairs_array(struct gguf_pairs *pairs, const char *key, enum gguf_type type,
                      uint64_t count);

/* A pair of another file, as it is. */
void gguf_pairs_copy(struct gguf_pairs *pairs, const struct gguf_pair *pair);

/* Makes `data` and `bytes`. */
MUST_CHECK enum status gguf_pairs_end(struct gguf_pairs *pairs);

/* Accepts {0}. */
void gguf_pairs_free(struct gguf_pairs *pairs);
