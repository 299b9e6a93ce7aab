/* Owns the rules of UTF-8 (Unicode, table 3-7). Promises to read no byte past `bytes`. */
#include "proto/utf8.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* The length that a first byte announces, and what the second byte may be; 0 where no character
 * starts so. */
struct lead {
    int length;
    uint8_t second_first;
    uint8_t second_last;
};

static struct lead lead_of(uint8_t byte)
{
    if (byte < 0x80)
        return (struct lead){1, 0, 0};
    if (byte >= 0xC2 && byte <= 0xDF)
        return (struct lead){2, 0x80, 0xBF};
    if (byte >= 0xE0 && byte <= 0xEF)
        return (struct lead){3, byte == 0xE0 ? 0xA0 : 0x80, byte == 0xED ? 0x9F : 0xBF};
    if (byte >= 0xF0 && byte <= 0xF4)
        return (struct lead){4, byte == 0xF0 ? 0x90 : 0x80, byte == 0xF4 ? 0x8F : 0xBF};
    return (struct lead){0, 0, 0};
}

int utf8_sequence(const char *text, size_t bytes)
{
    const uint8_t *at = (const uint8_t *)text;
    struct lead lead = lead_of(at[0]);
    if (lead.length <= 1)
        return lead.length == 1 ? 1 : -1;
    if (bytes == 1)
        return 0;
    if (at[1] < lead.second_first || at[1] > lead.second_last)
        return -1;
    for (int i = 2; i < lead.length; i++) {
        if ((size_t)i == bytes)
            return 0;
        if ((at[i] & 0xC0) != 0x80)
            return -i;
    }
    return lead.length;
}

static bool eight_are_ascii(const char *text)
{
    uint64_t word;
    memcpy(&word, text, sizeof word);
    return (word & 0x8080808080808080u) == 0;
}

enum status utf8_check(const char *text, size_t bytes, const char *what)
{
    size_t place = 0;
    while (place < bytes) {
        if (bytes - place >= 8 && eight_are_ascii(text + place)) {
            place += 8;
            continue;
        }
        int length = utf8_sequence(text + place, bytes - place);
        if (length == 0)
            return fail(STATUS_INVALID_ARGUMENT,
                        "%s is no UTF-8: it ends inside the character at byte %zu", what, place);
        if (length < 0)
            return fail(STATUS_INVALID_ARGUMENT,
                        "%s is no UTF-8: byte %zu (0x%02X) begins no character", what, place,
                        (unsigned)(uint8_t)text[place]);
        place += (size_t)length;
    }
    return STATUS_OK;
}
