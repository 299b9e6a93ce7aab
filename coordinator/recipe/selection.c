/* Owns the marks of one document at a time. Promises the same sentences for the same seed, in
 * whatever sequence documents come. */
#include "coordinator/recipe/selection.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/recipe/tagger_output.h"
#include "proto/train/chance.h"

struct selection {
    struct selection_args args;
    bool *ids;    /* [vocab]: marked by what they are; NULL: tags */
    bool *marked; /* [marked_room]: of the document's tokens */
    size_t marked_room;
    int8_t *types; /* [marked_room]: what the tagger says of them */
    struct tagger_output tags;
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
            impact ? token_impact_is_impactful(&args->impact->rows[id], args->share)
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

static enum status mark_tags(struct selection *selection, const struct document *document,
                             int64_t number)
{
    bool wanted[TAGGER_OUTPUT_TYPES_MAX];
    TRY(tagger_output_read(&selection->tags, selection->types, document, selection->args.tokenizer,
                           number));
    for (int i = 0; i < selection->tags.count; i++)
        wanted[i] = is_wanted(selection->args.tag_types, selection->tags.names[i]);
    for (size_t t = 0; t < document->ids.count; t++)
        selection->marked[t] = selection->types[t] >= 0 && wanted[selection->types[t]];
    return STATUS_OK;
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
    const enum status status = args->kind == TRAIN_SELECTION_TAGS
                                   ? tagger_output_open(&made->tags, args->tags, args->documents)
                                   : mark_ids(made);
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
    tagger_output_close(&selection->tags);
    free(selection->types);
    free(selection->marked);
    free(selection->ids);
    free(selection);
}

static enum status make_room(struct selection *selection, size_t count)
{
    if (count <= selection->marked_room)
        return STATUS_OK;
    bool *marked = realloc(selection->marked, count * sizeof *marked);
    if (!marked)
        return no_memory();
    selection->marked = marked;
    int8_t *types = realloc(selection->types, count * sizeof *types);
    if (!types)
        return no_memory();
    selection->types = types;
    selection->marked_room = count;
    return STATUS_OK;
}

enum status selection_begin(struct selection *selection, const struct document *document,
                            int64_t number)
{
    const size_t count = document->ids.count;
    TRY(make_room(selection, count));
    selection->chance = chance_begin(selection->args.seed, CHANCE_SELECTION, (uint64_t)number);
    if (!selection->ids)
        return mark_tags(selection, document, number);
    for (size_t t = 0; t < count; t++)
        selection->marked[t] = selection->ids[document->ids.ids[t]];
    return STATUS_OK;
}

bool selection_keeps(struct selection *selection, int64_t first, int64_t end)
{
    for (int64_t t = first; t < end; t++)
        if (selection->marked[t])
            return true;
    return chance_below(&selection->chance, 10) >= selection->drop_tenths;
}
