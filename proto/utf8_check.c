/* Owns the refusal of text that is not UTF-8. Promises the place of the first bad byte. */
#include "proto/utf8_check.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "proto/utf8.h"

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
