/* Builds GGUF files in memory, right ones and wrong ones: it appends what it is told and checks
 * nothing. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/model/gguf.h"

/* Starts as {0}; ended by gguf_writer_free. Running out of memory ends the test. */
struct gguf_writer {
    uint8_t *data;
    size_t bytes;
    size_t capacity;
};

void gguf_writer_free(struct gguf_writer *writer);

/* Makes room for `bytes` more, so that a large file is not moved as it grows. */
void gguf_writer_reserve(struct gguf_writer *writer, size_t bytes);

void gguf_writer_bytes(struct gguf_writer *writer, const void *data, size_t bytes);
void gguf_writer_u8(struct gguf_writer *writer, uint8_t value);
void gguf_writer_u32(struct gguf_writer *writer, uint32_t value);
void gguf_writer_u64(struct gguf_writer *writer, uint64_t value);
void gguf_writer_f32(struct gguf_writer *writer, float value);
void gguf_writer_string(struct gguf_writer *writer, const char *text);

/* Zeros up to a multiple of `alignment`. */
void gguf_writer_pad(struct gguf_writer *writer, size_t alignment);

/* Overwrites eight bytes. */
void gguf_writer_set_u64(struct gguf_writer *writer, size_t offset, uint64_t value);

void gguf_writer_header(struct gguf_writer *writer, uint64_t tensors, uint64_t pairs);

/* A key and the type of the value that is appended next. */
void gguf_writer_key(struct gguf_writer *writer, const char *key, enum gguf_type type);

/* A key and the start of an array whose elements are appended next. */
void gguf_writer_array(struct gguf_writer *writer, const char *key, enum gguf_type type,
                       uint64_t count);

void gguf_writer_pair_u32(struct gguf_writer *writer, const char *key, uint32_t value);
void gguf_writer_pair_f32(struct gguf_writer *writer, const char *key, float value);
void gguf_writer_pair_bool(struct gguf_writer *writer, const char *key, uint8_t value);
void gguf_writer_pair_text(struct gguf_writer *writer, const char *key, const char *value);

/* One or two dimensions: `columns` is contiguous; rows 0 leaves the second one out. */
void gguf_writer_tensor(struct gguf_writer *writer, const char *name, uint64_t columns,
                        uint64_t rows, uint32_t type, uint64_t offset);

/* Puts `pairs`, `count` of them, before those of a whole file, with one more pair that keeps the
 * data aligned. Frees `pairs`. */
void gguf_writer_insert_pairs(struct gguf_writer *file, struct gguf_writer *pairs, uint64_t count);
