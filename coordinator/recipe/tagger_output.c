/* Owns the tagger's file and the types that it has named. */
#include "coordinator/recipe/tagger_output.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum status tagger_output_open(struct tagger_output *output, const char *path, int64_t documents)
{
    struct tagger_output opened = {.path = path};
    int64_t found = 0;
    TRY(mapping_open(&opened.lines, path));
    opened.starts = calloc((size_t)documents + 1, sizeof *opened.starts);
    if (!opened.starts) {
        tagger_output_close(&opened);
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the lines of %s", path);
    }
    const char *text = (const char *)opened.lines.data;
    for (size_t at = 0; at < opened.lines.bytes; found++) {
        const char *newline = memchr(text + at, '\n', opened.lines.bytes - at);
        if (found < documents)
            opened.starts[found] = at;
        at = newline ? (size_t)(newline - text) + 1 : opened.lines.bytes;
    }
    if (found != documents) {
        tagger_output_close(&opened);
        return fail(STATUS_INVALID_ARGUMENT, "%s: %lld lines for %lld documents", path,
                    (long long)found, (long long)documents);
    }
    *output = opened;
    return STATUS_OK;
}

void tagger_output_close(struct tagger_output *output)
{
    mapping_close(&output->lines);
    free(output->starts);
    *output = (struct tagger_output){.path = NULL};
}

/* ---- spans ---- */

struct span {
    json_int_t first, end;
    const char *type;
};

static bool read_span(struct span *span, const json_t *value)
{
    const json_t *first = json_array_get(value, 0), *end = json_array_get(value, 1);
    const json_t *type = json_array_get(value, 2);
    if (!json_is_integer(first) || !json_is_integer(end) || !json_is_string(type) ||
        json_string_length(type) >= TAGGER_OUTPUT_NAME_BYTES)
        return false;
    *span =
        (struct span){json_integer_value(first), json_integer_value(end), json_string_value(type)};
    return true;
}

/* The place of a type; -1 where there is no room for another one. */
static int place_of(struct tagger_output *output, const char *type)
{
    for (int i = 0; i < output->count; i++)
        if (strcmp(output->names[i], type) == 0)
            return i;
    if (output->count == TAGGER_OUTPUT_TYPES_MAX)
        return -1;
    memcpy(output->names[output->count], type, strlen(type) + 1);
    return output->count++;
}

/* Where the walk over a document's tokens is. */
struct walk {
    size_t token, first; /* and its first byte */
};

/* Tokens and spans ascend side by side. A token that reaches beyond the span is looked at again. */
static void mark(struct walk *walk, int8_t *types, const struct document *document,
                 const struct tokenizer *tokenizer, const struct span *span, int type)
{
    for (; walk->token < document->ids.count; walk->token++) {
        size_t bytes;
        tokenizer_token(tokenizer, document->ids.ids[walk->token], &bytes);
        if (walk->first >= (size_t)span->end)
            return;
        if (walk->first + bytes > (size_t)span->first && types[walk->token] < 0)
            types[walk->token] = (int8_t)type;
        if (walk->first + bytes > (size_t)span->end)
            return;
        walk->first += bytes;
    }
}

static enum status mark_all(struct tagger_output *output, int8_t *types,
                            const struct document *document, const struct tokenizer *tokenizer,
                            const json_t *spans, int64_t number)
{
    struct walk walk = {0, 0};
    json_int_t last = 0;
    for (size_t s = 0; s < json_array_size(spans); s++) {
        struct span span;
        if (!read_span(&span, json_array_get(spans, s)) || span.first < last ||
            span.end <= span.first || (size_t)span.end > document->text_bytes)
            return fail(STATUS_INVALID_ARGUMENT,
                        "%s:%lld: span %zu: must be [first byte, end, type], ascending within the "
                        "%zu bytes of the document, the type shorter than %d bytes",
                        output->path, (long long)number + 1, s, document->text_bytes,
                        TAGGER_OUTPUT_NAME_BYTES);
        const int type = place_of(output, span.type);
        if (type < 0)
            return fail(STATUS_INVALID_ARGUMENT, "%s:%lld: more than %d types", output->path,
                        (long long)number + 1, TAGGER_OUTPUT_TYPES_MAX);
        mark(&walk, types, document, tokenizer, &span, type);
        last = span.end;
    }
    return STATUS_OK;
}

enum status tagger_output_read(struct tagger_output *output, int8_t *types,
                               const struct document *document, const struct tokenizer *tokenizer,
                               int64_t number)
{
    const char *text = (const char *)output->lines.data + output->starts[number];
    const size_t left = output->lines.bytes - output->starts[number];
    const char *newline = memchr(text, '\n', left);
    if (document->text_bytes == 0)
        return fail(STATUS_INVALID_ARGUMENT,
                    "%s:%lld: tags are for texts, and this document is of token ids", output->path,
                    (long long)number + 1);
    memset(types, -1, document->ids.count);
    json_error_t error;
    json_t *line = json_loadb(text, newline ? (size_t)(newline - text) : left, 0, &error);
    const json_t *spans = json_object_get(line, "spans");
    const enum status status =
        json_is_array(spans)
            ? mark_all(output, types, document, tokenizer, spans, number)
            : fail(STATUS_INVALID_ARGUMENT, "%s:%lld: no JSON object with \"spans\"", output->path,
                   (long long)number + 1);
    json_decref(line);
    return status;
}
