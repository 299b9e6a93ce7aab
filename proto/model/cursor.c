/* Owns the reading of foreign bytes. Promises that no read leaves the bytes, whatever lengths they
 * claim. */
#include "proto/model/cursor.h"

#include <stdarg.h>
#include <stdio.h>

#include "proto/utf8.h"

enum { SENTENCE_BYTES = 640 };

enum status cursor_fail(const struct cursor *cursor, size_t offset, enum status status,
                        const char *rule, const char *format, ...)
{
    char sentence[SENTENCE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    return fail(status, "%s: offset %zu: %s [%s]", cursor->name, offset, sentence, rule);
}

enum status cursor_take(struct cursor *cursor, const uint8_t **view, uint64_t bytes,
                        const char *what)
{
    if (bytes > cursor_left(cursor))
        return cursor_fail(cursor, cursor->offset, STATUS_DATA_LOSS, "truncated",
                           "%s needs %llu bytes, the file has %zu left", what,
                           (unsigned long long)bytes, cursor_left(cursor));
    *view = cursor->data + cursor->offset;
    cursor->offset += (size_t)bytes;
    return STATUS_OK;
}

static uint64_t little_endian(const uint8_t *bytes, int count)
{
    uint64_t value = 0;
    for (int i = 0; i < count; i++)
        value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}

enum status cursor_u32(struct cursor *cursor, uint32_t *value, const char *what)
{
    const uint8_t *view = NULL;
    TRY(cursor_take(cursor, &view, sizeof *value, what));
    *value = (uint32_t)little_endian(view, sizeof *value);
    return STATUS_OK;
}

enum status cursor_u64(struct cursor *cursor, uint64_t *value, const char *what)
{
    const uint8_t *view = NULL;
    TRY(cursor_take(cursor, &view, sizeof *value, what));
    *value = little_endian(view, sizeof *value);
    return STATUS_OK;
}

bool cursor_is_utf8(const uint8_t *data, size_t bytes)
{
    int length;
    for (size_t i = 0; i < bytes; i += (size_t)length) {
        length = utf8_sequence((const char *)data + i, bytes - i);
        if (length <= 0)
            return false;
    }
    return true;
}
