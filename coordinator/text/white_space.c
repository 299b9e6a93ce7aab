/* Owns nothing. Promises that text is read at whole characters; it must be UTF-8. */
#include "coordinator/text/white_space.h"

#include <stdbool.h>
#include <stdint.h>

static bool is_space(const uint8_t *text, size_t bytes)
{
    if (bytes == 1)
        return text[0] == ' ' || (text[0] >= '\t' && text[0] <= '\r');
    if (bytes == 2) /* U+0085, U+00A0 */
        return text[0] == 0xC2 && (text[1] == 0x85 || text[1] == 0xA0);
    if (bytes != 3)
        return false;
    unsigned point = (text[0] & 0x0Fu) << 12 | (text[1] & 0x3Fu) << 6 | (text[2] & 0x3Fu);
    return point == 0x1680 || (point >= 0x2000 && point <= 0x200A) || point == 0x2028 ||
           point == 0x2029 || point == 0x202F || point == 0x205F || point == 0x3000;
}

size_t white_space_before(const char *text, size_t end, size_t first)
{
    while (end > first) {
        size_t start = end - 1;
        while (start > first && ((uint8_t)text[start] & 0xC0) == 0x80)
            start--;
        if (!is_space((const uint8_t *)text + start, end - start))
            break;
        end = start;
    }
    return end;
}

size_t white_space_behind(const char *text, size_t first, size_t bytes)
{
    while (first < bytes) {
        size_t end = first + 1;
        while (end < bytes && ((uint8_t)text[end] & 0xC0) == 0x80)
            end++;
        if (!is_space((const uint8_t *)text + first, end - first))
            break;
        first = end;
    }
    return first;
}
