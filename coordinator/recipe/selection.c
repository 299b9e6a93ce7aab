/* Owns the marks of one document at a time. Promises the same sentences for the same seed, in
 * whatever sequence documents come. */
#include "coordinator/recipe/selection.h"

#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "proto/model/mapping.h"
#include "proto/train/chance.h"

struct selection {
    struct selection_args args;
    bool *ids;    /* [vocab]: marked by what they are; NULL: tags */
    bool *marked; /* [marked_room]: of the document's tokens */
    size_t marked_room;
    struct mapping tags;
    size_t *lines; /* [args.documents]: where they begin in tags */
    int64_t drop_tenths;
    struct chance chance;
};

static enum status no_memory(void)
{
    return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a selection");
}

/* ---- ids ---- */

static bool has_digit(const struct tokenizer *tokenizer, int32_t id)
{
    size_t bytes;
    const char *text = tokenizer_token(tokenizer, id, &bytes);
    for (size_t i = 0; i < bytes; i++)
        if (isdigit((unsigned char)text[i]))
            return !tokenizer_is_control(tokenizer, id);
    return false;
}

static enum status mark_ids(struct selection *selection)
{
    const struct selection_args *args = &selection->args;
    const int32_t vocab = tokenizer_count(args->tokenizer);
    const bool impact = args->kind == TRAIN_SELECTION_IMPACT;
    int64_t marked = 0;
    selection->ids = calloc((size_t)vocab + 1, sizeof *selection->ids);
    if (!selection->ids)
        return no_memory();
    if (impact && args->impact->vocab != vocab)
        return fail(STATUS_INVALID_ARGUMENT,
                    "the scores are of a vocabulary of %lld tokens, the model has %d",
                    (long long)args->impact->vocab, vocab);
    for (int32_t id = 0; id < vocab; id++) {
        selection->ids[id] =
            impact ? token_impact_is_impactful(args->impact, id, args->share)
                   : args->kind == TRAIN_SELECTION_NONE || has_digit(args->tokenizer, id);
        marked += selection->ids[id];
    }
    if (marked == 0)
        return fail(STATUS_FAILED_PRECONDITION,
                    "data.selection: no token would keep a sentence; lower data.impact_share or "
                    "select otherwise");
    return STATUS_OK;
}

/* ---- tags ---- */

static enum status find_lines(struct selection *selection)
{
    const struct selection_args *args = &selection->args;
    int64_t found = 0;
    TRY(mapping_open(&selection->tags, args->tags));
    selection->lines = calloc((size_t)args->documents + 1, sizeof *selection->lines);
    if (!selection->lines)
        return no_memory();
    const char *text = (const char *)selection->tags.data;
    for (size_t at = 0; at < selection->tags.bytes; found++) {
        const char *newline = memchr(text + at, '\n', selection->tags.bytes - at);
        if (found < args->documents)
            selection->lines[found] = at;
        at = newline ? (size_t)(newline - text) + 1 : selection->tags.bytes;
    }
    if (found != args->documents)
        return fail(STATUS_INVALID_ARGUMENT, "%s: %lld lines for %lld documents", args->tags,
                    (long long)found, (long long)args->documents);
    return STATUS_OK;
}

static bool is_wanted(const char *types, const char *type)
{
    const size_t bytes = strlen(type);
    for (const char *at = types; *at;) {
        const size_t length = strcspn(at, " ,");
        if (length == bytes && length > 0 && memcmp(at, type, bytes) == 0)
            return true;
        at += length + (at[length] != '\0');
    }
    return false;
}

struct span {
    json_int_t first, end;
    const char *type;
};

static bool read_span(struct span *span, const json_t *value)
{
    const json_t *first = json_array_get(value, 0), *end = json_array_get(value, 1);
    const json_t *type = json_array_get(value, 2);
    if (!json_is_integer(first) || !json_is_integer(end) || !json_is_string(type))
        return false;
    *span =
        (struct span){json_integer_value(first), json_integer_value(end), json_string_value(type)};
    return true;
}

/* Spans ascend, so that tokens and spans are walked side by side. Marks every token that shares a
 * byte with a span of a wanted type; the bytes of all tokens are the text. */
static enum status mark_spans(struct selection *selection, const struct document *document,
                              const json_t *spans, const char *where)
{
    size_t token = 0, token_first = 0, token_bytes = 0;
    json_int_t last = 0;
    for (size_t s = 0; s < json_array_size(spans); s++) {
        struct span span;
        if (!read_span(&span, json_array_get(spans, s)) || span.first < last ||
            span.end <= span.first || (size_t)span.end > document->text_bytes)
            return fail(STATUS_INVALID_ARGUMENT,
                        "%s: span %zu: must be [first byte, end, type], ascending within the %zu "
                        "bytes of the document",
                        where, s, document->text_bytes);
        last = span.end;
        if (!is_wanted(selection->args.tag_types, span.type))
            continue;
        for (; token < document->ids.count; token++) {
            tokenizer_token(selection->args.tokenizer, document->ids.ids[token], &token_bytes);
            if (token_first >= (size_t)span.end)
                break;
            if (token_first + token_bytes > (size_t)span.first)
                selection->marked[token] = true;
            /* A token may reach into the next span too. */
            if (token_first + token_bytes > (size_t)span.end)
                break;
            token_first += token_bytes;
        }
    }
    return STATUS_OK;
}

static enum status mark_tags(struct selection *selection, const struct document *document,
                             int64_t number)
{
    const char *text = (const char *)selection->tags.data + selection->lines[number];
    const size_t left = selection->tags.bytes - selection->lines[number];
    const char *newline = memchr(text, '\n', left);
    char where[256];
    json_error_t error;
    snprintf(where, sizeof where, "%s:%lld", selection->args.tags, (long long)number + 1);
    if (document->text_bytes == 0)
        return fail(STATUS_INVALID_ARGUMENT,
                    "%s: tags are for texts, and this document is of token ids", where);
    json_t *line = json_loadb(text, newline ? (size_t)(newline - text) : left, 0, &error);
    const json_t *spans = json_object_get(line, "spans");
    const enum status status =
        json_is_array(spans)
            ? mark_spans(selection, document, spans, where)
            : fail(STATUS_INVALID_ARGUMENT, "%s: no JSON object with \"spans\"", where);
    json_decref(line);
    return status;
}

/* ---- the whole ---- */

enum status selection_create(struct selection **selection, const struct selection_args *args)
{
    struct selection *made = calloc(1, sizeof *made);
    if (!made)
        return no_memory();
    made->args = *args;
    /* The published generator draws r of 1 .. 10 and drops where r < int(10 ratio). */
    made->drop_tenths = args->kind == TRAIN_SELECTION_DIGITS ? (int64_t)(10 * args->ratio) - 1 : 10;
    const enum status status =
        args->kind == TRAIN_SELECTION_TAGS ? find_lines(made) : mark_ids(made);
    made->args.impact = NULL;
    if (status == STATUS_OK)
        *selection = made;
    else
        selection_destroy(made);
    return status;
}

void selection_destroy(struct selection *selection)
{
    if (!selection)
        return;
    mapping_close(&selection->tags);
    free(selection->lines);
    free(selection->marked);
    free(selection->ids);
    free(selection);
}

enum status selection_begin(struct selection *selection, const struct document *document,
                            int64_t number)
{
    const size_t count = document->ids.count;
    if (count > selection->marked_room) {
        bool *grown = realloc(selection->marked, count * sizeof *grown);
        if (!grown)
            return no_memory();
        selection->marked = grown;
        selection->marked_room = count;
    }
    selection->chance = chance_begin(selection->args.seed, CHANCE_SELECTION, (uint64_t)number);
    for (size_t t = 0; t < count; t++)
        selection->marked[t] = selection->ids && selection->ids[document->ids.ids[t]];
    return selection->ids ? STATUS_OK : mark_tags(selection, document, number);
}

bool selection_keeps(struct selection *selection, int64_t first, int64_t end)
{
    for (int64_t t = first; t < end; t++)
        if (selection->marked[t])
            return true;
    return chance_below(&selection->chance, 10) >= selection->drop_tenths;
}
