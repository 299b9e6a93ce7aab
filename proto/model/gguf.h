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

/* A view into the file: UTF-8, not ended by 0. Print it with %.*s and (int)bytes. */
struct gguf_string {
    const char *text;
    size_t bytes;
};

/* `data` points at the first element as stored: packed little-endian numbers, or strings (u64
 * length, bytes). */
struct gguf_array {
    enum gguf_type type;
    int64_t count;
    const uint8_t *data;
};

struct gguf_pair {
    struct gguf_string key;
    size_t offset; /* of the value, in the file */
    enum gguf_type type;
    struct gguf_array array; /* where type is GGUF_ARRAY */
    const uint8_t *value;    /* else: as stored */
};

struct gguf_tensor {
    struct gguf_string name;
    size_t offset; /* of its description, in the file */
    int dims_count;
    int64_t dims[GGUF_DIMS_MAX]; /* dims[0] is contiguous; 1 beyond dims_count */
    int type; /* the file's number of the type: gguf_type_row_bytes, gguf_tensor_type_name */
    const uint8_t *data;
    size_t bytes;
};

struct gguf;

/* Maps a regular file, read-only. */
MUST_CHECK enum status gguf_open(struct gguf **gguf, const char *path);

/* Reads bytes in memory, borrowed until gguf_close. `name` is copied and stands for the path in
 * sentences. */
MUST_CHECK enum status gguf_parse(struct gguf **gguf, const void *data, size_t bytes,
                                  const char *name);

/* Accepts NULL. */
void gguf_close(struct gguf *gguf);

const char *gguf_name(const struct gguf *gguf);
const void *gguf_data(const struct gguf *gguf, size_t *bytes);
int gguf_version(const struct gguf *gguf);

/* In the file's order. */
int gguf_pair_count(const struct gguf *gguf);
const struct gguf_pair *gguf_pair(const struct gguf *gguf, int index);
int gguf_tensor_count(const struct gguf *gguf);
const struct gguf_tensor *gguf_tensor(const struct gguf *gguf, int index);

/* NULL where absent. */
const struct gguf_pair *gguf_find_pair(const struct gguf *gguf, const char *key);
const struct gguf_tensor *gguf_find_tensor(const struct gguf *gguf, const char *name);

/* Values. An absent key is NOT_FOUND; a value of another type or range is DATA_LOSS with key and
 * offset. */

/* Any integer type; `first` <= value <= `last`. */
MUST_CHECK enum status gguf_integer(const struct gguf *gguf, int64_t *value, const char *key,
                                    int64_t first, int64_t last);
/* f32 or f64, finite. */
MUST_CHECK enum status gguf_float(const struct gguf *gguf, double *value, const char *key);
MUST_CHECK enum status gguf_bool(const struct gguf *gguf, bool *value, const char *key);
MUST_CHECK enum status gguf_text(const struct gguf *gguf, struct gguf_string *value,
                                 const char *key);
MUST_CHECK enum status gguf_array(const struct gguf *gguf, struct gguf_array *value,
                                  const char *key, enum gguf_type type);

/* The string at `*place`, which moves to the next one: walks the strings of a checked array. */
struct gguf_string gguf_next_string(const uint8_t **place);

/* Element `index` of an i32 array. */
int32_t gguf_array_i32(const struct gguf_array *array, int64_t index);

bool gguf_string_is(struct gguf_string string, const char *text);

/* "u32", "string", ... */
const char *gguf_type_name(enum gguf_type type);

/* "Q4_1", "IQ4_XS", ...; NULL where the number names no type that is known. */
const char *gguf_tensor_type_name(int type);

/* Records "NAME: offset N: <sentence> [rule]" for a file that was read. */
__attribute__((format(printf, 5, 6))) MUST_CHECK enum status
gguf_fail(const struct gguf *gguf, size_t offset, enum status status, const char *rule,
          const char *format, ...);
