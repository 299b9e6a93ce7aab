/* Owns the reading of foreign bytes. Promises that no read leaves the bytes, whatever lengths they
 * claim. */
#include "proto/model/cursor.h"

#include <stdarg.h>
#include <stdio.h>

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

enum status cursor_u8(struct cursor *cursor, uint8_t *value, const char *what)
{
    const uint8_t *view = NULL;
    TRY(cursor_take(cursor, &view, sizeof *value, what));
    *value = *view;
    return STATUS_OK;
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

/* The bytes of the UTF-8 sequence that starts at `data`; 0 where it is malformed. */
static size_t sequence_bytes(const uint8_t *data, size_t bytes)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t lead = data[0];
    if (lead < 0x80)
        return 1;
    size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || length > bytes)
        return 0;
    uint32_t code = lead & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((data[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (data[i] & 0x3fu);
    }
    bool surrogate = code >= 0xd800 && code <= 0xdfff;
    return code < least[length] || code > 0x10ffff || surrogate ? 0 : length;
}

bool cursor_is_utf8(const uint8_t *data, size_t bytes)
{
    size_t length;
    for (size_t i = 0; i < bytes; i += length) {
        length = sequence_bytes(data + i, bytes - i);
        if (length == 0)
            return false;
    }
    return true;
}
