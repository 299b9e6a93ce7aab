/* GGUF files (version 3; 2 reads the same): keys with values, and named tensors. Nothing here knows
 * a model.
 *
 * A file is checked whole when it is opened: bounds, budgets, UTF-8, duplicates, and tensors that
 * lie side by side without gap or overlap up to the end of the file. Types of values are checked
 * when they are asked for.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/model/text_view.h"
#include "proto/status.h"

enum {
    GGUF_DIMS_MAX = 4,
    GGUF_PAIRS_MAX = 4096,
    GGUF_TENSORS_MAX = 65536,
    GGUF_STRING_BYTES_MAX = 16 << 20,
    GGUF_ARRAY_ELEMENTS_MAX = 1 << 24,
    GGUF_KEY_BYTES_MAX = 255,
    GGUF_NAME_BYTES_MAX = 63,
    GGUF_HEADER_BYTES_MAX = 512 << 20,
};

enum gguf_type {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
    GGUF_TYPE_COUNT
};

/* `data` points at the first element as stored: packed little-endian numbers, or strings (u64
 * length, bytes). */
struct gguf_array {
    enum gguf_type type;
    int64_t count;
    const uint8_t *data;
};

struct gguf_pair {
    struct text_view key;
    size_t offset; /* of the value, in the file */
    enum gguf_type type;
    struct gguf_array array; /* where type is GGUF_ARRAY */
    const uint8_t *value;    /* the bytes at offset */
    size_t bytes;            /* of the value, as stored */
};

struct gguf_tensor {
    struct text_view name;
    size_t offset; /* of its description, in the file */
    int dims_count;
    int64_t dims[GGUF_DIMS_MAX]; /* dims[0] is contiguous; 1 beyond dims_count */
    int type;                    /* as numbered in ggml_type.h; known */
    const uint8_t *data;
    size_t bytes;
    const char *file; /* the one that it is in */
};

struct gguf;

/* Maps a regular file, read-only. */
MUST_CHECK enum status gguf_open(struct gguf **gguf, const char *path);

/* Reads bytes in memory, borrowed until gguf_close. `name` is copied and stands for the path in
 * sentences. */
MUST_CHECK enum status gguf_parse(struct gguf **gguf, const void *data, size_t bytes,
                                  const char *name);

/* The tensors of `part` come behind those of `gguf`, which takes the part, also on failure.
 * DATA_LOSS where both have a tensor of one name. */
MUST_CHECK enum status gguf_join(struct gguf *gguf, struct gguf *part);

/* Accepts NULL. */
void gguf_close(struct gguf *gguf);

const char *gguf_name(const struct gguf *gguf);
const void *gguf_data(const struct gguf *gguf, size_t *bytes);

/* The file itself is part 0, those that were joined follow. */
int gguf_part_count(const struct gguf *gguf);
const struct gguf *gguf_part(const struct gguf *gguf, int index);

int gguf_version(const struct gguf *gguf);

/* In the file's order. */
int gguf_pair_count(const struct gguf *gguf);
const struct gguf_pair *gguf_pair(const struct gguf *gguf, int index);
int gguf_tensor_count(const struct gguf *gguf);
const struct gguf_tensor *gguf_tensor(const struct gguf *gguf, int index);

/* NULL where absent. */
const struct gguf_pair *gguf_find_pair(const struct gguf *gguf, const char *key);

/* The index of a tensor; -1 where absent. */
int gguf_find_tensor(const struct gguf *gguf, const char *name);

/* "u32", "string", ... */
const char *gguf_type_name(enum gguf_type type);

/* Records "NAME: offset N: <sentence> [rule]" for a file that was read. */
__attribute__((format(printf, 5, 6))) MUST_CHECK enum status
gguf_fail(const struct gguf *gguf, size_t offset, enum status status, const char *rule,
          const char *format, ...);

/* The same of a tensor: NAME is that of the part of a split model that has it. */
__attribute__((format(printf, 4, 5))) MUST_CHECK enum status
gguf_fail_tensor(const struct gguf_tensor *tensor, enum status status, const char *rule,
                 const char *format, ...);
