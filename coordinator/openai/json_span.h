/* Where the values of a JSON text lie, found in one pass without allocation. Brackets, strings and
 * their number are looked at, no more: what is wrong inside a value is for a parser to find. What
 * it lets through bounds what the parser can allocate. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "proto/status.h"

enum { JSON_SPAN_DEPTH_MAX = 64 };

struct json_span {
    const char *text;
    size_t bytes;
    size_t at;         /* the next byte to look at */
    size_t values;     /* seen so far, about: commas, colons and opening brackets */
    size_t values_max; /* more are INVALID_ARGUMENT; set by the caller */
};

/* Goes past white space; true where a byte is left. */
bool json_span_more(struct json_span *span);

/* Goes past white space and this byte, where it is next. */
bool json_span_take(struct json_span *span, char byte);

/* Goes past one value, which lies from *first to *end. INVALID_ARGUMENT names the byte. */
MUST_CHECK enum status json_span_value(struct json_span *span, size_t *first, size_t *end);
