/* Owns nothing. Promises to look at each byte once. */
#include "coordinator/openai/json_span.h"

#include <stdint.h>
#include <string.h>

bool json_span_more(struct json_span *span)
{
    while (span->at < span->bytes && memchr(" \t\r\n", span->text[span->at], 4))
        span->at++;
    return span->at < span->bytes;
}

bool json_span_take(struct json_span *span, char byte)
{
    if (!json_span_more(span) || span->text[span->at] != byte)
        return false;
    span->at++;
    return true;
}

/* Past a string, from its first quote on. */
static enum status skip_string(struct json_span *span)
{
    const size_t first = span->at++;
    while (span->at < span->bytes) {
        const char byte = span->text[span->at++];
        if (byte == '"')
            return STATUS_OK;
        if (byte == '\\')
            span->at++;
    }
    span->at = span->bytes;
    return fail(STATUS_INVALID_ARGUMENT, "the string that begins at byte %zu does not end",
                first + 1);
}

static bool is_of_scalar(char byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
           (byte >= 'A' && byte <= 'Z') || byte == '-' || byte == '+' || byte == '.';
}

static enum status count_value(struct json_span *span)
{
    if (++span->values <= span->values_max)
        return STATUS_OK;
    return fail(STATUS_INVALID_ARGUMENT, "more than %zu values in one JSON text", span->values_max);
}

/* Past an object or an array. `open` has a bit for each bracket that is open: 1 where it is '{'. */
static enum status skip_brackets(struct json_span *span)
{
    uint64_t open = 0;
    int depth = 0;
    while (json_span_more(span)) {
        const char byte = span->text[span->at];
        if (byte == '"') {
            TRY(skip_string(span));
            continue;
        }
        span->at++;
        if (byte == '{' || byte == '[') {
            if (++depth > JSON_SPAN_DEPTH_MAX)
                return fail(STATUS_INVALID_ARGUMENT, "JSON nests deeper than %d at byte %zu",
                            JSON_SPAN_DEPTH_MAX, span->at);
            open = open << 1 | (byte == '{');
        } else if (byte == '}' || byte == ']') {
            if ((open & 1) != (byte == '}'))
                return fail(STATUS_INVALID_ARGUMENT, "'%c' at byte %zu closes another bracket",
                            byte, span->at);
            open >>= 1;
            if (--depth == 0)
                return STATUS_OK;
            continue;
        } else if (byte != ',' && byte != ':') {
            continue;
        }
        TRY(count_value(span));
    }
    return fail(STATUS_INVALID_ARGUMENT, "JSON ends inside of brackets");
}

enum status json_span_value(struct json_span *span, size_t *first, size_t *end)
{
    if (!json_span_more(span))
        return fail(STATUS_INVALID_ARGUMENT, "a JSON value is missing at the end");
    const size_t start = span->at;
    const char byte = span->text[start];
    TRY(count_value(span));
    if (byte == '"')
        TRY(skip_string(span));
    else if (byte == '{' || byte == '[')
        TRY(skip_brackets(span));
    else
        while (span->at < span->bytes && is_of_scalar(span->text[span->at]))
            span->at++;
    if (span->at == start)
        return fail(STATUS_INVALID_ARGUMENT, "no JSON value begins at byte %zu", start + 1);
    *first = start;
    *end = span->at;
    return STATUS_OK;
}
