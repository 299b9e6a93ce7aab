/* Owns the shape of what is written like a control token. Promises a search whose time grows with
 * the text alone. */
#include "coordinator/text/turn_mark.h"

#include <string.h>

#define WIDE_BAR "\uFF5C"

/* The length of the bar at the text's beginning; 0 where none is there. */
static size_t bar_at(const char *text, size_t bytes)
{
    static const char wide[] = WIDE_BAR;
    if (bytes >= 1 && text[0] == '|')
        return 1;
    return bytes >= sizeof wide - 1 && memcmp(text, wide, sizeof wide - 1) == 0 ? sizeof wide - 1
                                                                                : 0;
}

/* The length of the bar that ends at the text's end. */
static size_t bar_before(const char *text, size_t bytes)
{
    static const size_t lengths[] = {1, sizeof WIDE_BAR - 1};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++)
        if (bytes >= lengths[i] && bar_at(text + bytes - lengths[i], lengths[i]) == lengths[i])
            return lengths[i];
    return 0;
}

bool turn_mark_is(const char *text, size_t bytes)
{
    if (bytes < 2 || text[0] != '<' || text[bytes - 1] != '>')
        return false;
    const size_t opening = bar_at(text + 1, bytes - 2);
    return opening > 0 && bar_before(text + 1 + opening, bytes - 2 - opening) > 0;
}

/* The length of the mark at the text's beginning; 0 where none is there. */
static size_t length_at(const char *text, size_t bytes)
{
    const size_t limit = bytes < TURN_MARK_BYTES_MAX ? bytes : TURN_MARK_BYTES_MAX - 1;
    for (size_t i = 1; i < limit && text[i] != '\n'; i++)
        if (text[i] == '>' && turn_mark_is(text, i + 1))
            return i + 1;
    return 0;
}

size_t turn_mark_find(size_t *length, const char *text, size_t from, size_t bytes)
{
    while (from < bytes) {
        const char *open = memchr(text + from, '<', bytes - from);
        if (!open)
            break;
        from = (size_t)(open - text);
        if (bar_at(open + 1, bytes - from - 1) > 0) {
            *length = length_at(open, bytes - from);
            if (*length > 0)
                return from;
        }
        from++;
    }
    *length = 0;
    return bytes;
}
