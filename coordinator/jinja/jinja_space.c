/* Owns the list of white space. */
#include "coordinator/jinja/jinja_space.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

size_t jinja_space_bytes(const char *text, size_t bytes)
{
    static const char *const wide[] = {
        "\xC2\x85",     "\xC2\xA0",     "\xE1\x9A\x80", "\xE2\x80\xA8",
        "\xE2\x80\xA9", "\xE2\x80\xAF", "\xE2\x81\x9F", "\xE3\x80\x80",
    };
    if (bytes == 0)
        return 0;
    if (*text == ' ' || (*text >= '\t' && *text <= '\r') || (*text >= 0x1C && *text <= 0x1F))
        return 1;
    for (size_t i = 0; i < sizeof wide / sizeof wide[0]; i++)
        if (bytes >= strlen(wide[i]) && memcmp(text, wide[i], strlen(wide[i])) == 0)
            return strlen(wide[i]);
    const bool is_en_to_hair =
        bytes >= 3 && memcmp(text, "\xE2\x80", 2) == 0 && (uint8_t)text[2] <= 0x8A;
    return is_en_to_hair ? 3 : 0;
}

size_t jinja_space_before(const char *text, size_t bytes)
{
    size_t before = 0, space;
    while ((space = jinja_space_bytes(text + before, bytes - before)) > 0)
        before += space;
    return before;
}

size_t jinja_space_behind(const char *text, size_t bytes)
{
    size_t end = bytes;
    while (end > 0) {
        size_t start = end - 1;
        while (start > 0 && ((uint8_t)text[start] & 0xC0) == 0x80)
            start--;
        if (jinja_space_bytes(text + start, end - start) != end - start)
            break;
        end = start;
    }
    return bytes - end;
}
