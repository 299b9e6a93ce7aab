/* Owns the rules of UTF-8 (Unicode, table 3-7). Promises to read no byte past `bytes`. */
#include "proto/utf8.h"

#include <stdint.h>

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
