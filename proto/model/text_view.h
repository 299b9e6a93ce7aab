/* Text that belongs to someone else: a model file, or what was read from one. UTF-8, not ended by
 * 0. Print it with %.*s and (int)bytes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct text_view {
    const char *text;
    size_t bytes;
};

static inline struct text_view text_view_of(const char *text)
{
    return (struct text_view){text, strlen(text)};
}

/* As strcmp, byte by byte. */
static inline int text_view_compare(struct text_view a, struct text_view b)
{
    size_t bytes = a.bytes < b.bytes ? a.bytes : b.bytes;
    int order = bytes > 0 ? memcmp(a.text, b.text, bytes) : 0;
    return order != 0 ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

static inline bool text_view_is(struct text_view view, const char *text)
{
    return text_view_compare(view, text_view_of(text)) == 0;
}
