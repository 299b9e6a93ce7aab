/* A reader over foreign bytes that cannot leave them. Integers are little-endian.
 *
 * Every failure is a sentence with the file's name, the offset and the broken rule in brackets; a
 * failed read does not move the cursor.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/status.h"

struct cursor {
    const uint8_t *data;
    size_t bytes;  /* of data */
    size_t offset; /* next byte to read; never more than bytes */
    const char *name;
};

/* Records "NAME: offset N: <sentence> [rule]". */
__attribute__((format(printf, 5, 6))) MUST_CHECK enum status
cursor_fail(const struct cursor *cursor, size_t offset, enum status status, const char *rule,
            const char *format, ...);

MUST_CHECK enum status cursor_u32(struct cursor *cursor, uint32_t *value, const char *what);
MUST_CHECK enum status cursor_u64(struct cursor *cursor, uint64_t *value, const char *what);

/* A view of the next `bytes` bytes. */
MUST_CHECK enum status cursor_take(struct cursor *cursor, const uint8_t **view, uint64_t bytes,
                                   const char *what);

static inline size_t cursor_left(const struct cursor *cursor)
{
    return cursor->bytes - cursor->offset;
}

/* True where `data` is well-formed UTF-8 (no surrogates, no overlong forms, at most U+10FFFF). */
bool cursor_is_utf8(const uint8_t *data, size_t bytes);
