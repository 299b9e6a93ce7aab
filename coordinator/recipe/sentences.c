/* Owns which ids end a sentence. Promises that this follows from the vocabulary alone. */
#include "coordinator/recipe/sentences.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool sentences_is_delimiter(const char *text, size_t bytes)
{
    bool ends = false;
    for (size_t i = 0; i < bytes; i++) {
        const char c = text[i];
        if (c == '.' || c == '?' || c == '!' || c == '\n')
            ends = true;
        else if (c != ' ' && c != '\t' && c != '\r')
            return false;
    }
    return ends;
}

static void mark(struct sentences *sentences, int32_t id)
{
    sentences->delimiters += !sentences->ends[id];
    sentences->ends[id] = true;
}

static enum status find(struct sentences *sentences, const struct tokenizer *tokenizer)
{
    for (int32_t id = 0; id < sentences->count; id++) {
        size_t bytes;
        const char *text = tokenizer_token(tokenizer, id, &bytes);
        if (!tokenizer_is_control(tokenizer, id) && sentences_is_delimiter(text, bytes))
            mark(sentences, id);
    }
    if (sentences->delimiters == 0)
        return fail(STATUS_FAILED_PRECONDITION,
                    "no token of this vocabulary ends a sentence: name their ids by "
                    "data.delimiters");
    size_t stops;
    const int32_t *stop_ids = tokenizer_stop_ids(tokenizer, &stops);
    for (size_t i = 0; i < stops; i++)
        mark(sentences, stop_ids[i]);
    return STATUS_OK;
}

static enum status take(struct sentences *sentences, const char *spelling)
{
    const char *at = spelling + strspn(spelling, " ,");
    while (*at) {
        char *end;
        errno = 0;
        const long id = strtol(at, &end, 10);
        if (end == at || errno || (*end && *end != ' ' && *end != ',') || id < 0 ||
            id >= sentences->count)
            return fail(STATUS_INVALID_ARGUMENT,
                        "data.delimiters: \"%.40s\" must be ids from 0 to %d, or auto", at,
                        sentences->count - 1);
        mark(sentences, (int32_t)id);
        at = end + strspn(end, " ,");
    }
    if (sentences->delimiters == 0)
        return fail(STATUS_INVALID_ARGUMENT, "data.delimiters names no id");
    return STATUS_OK;
}

enum status sentences_init(struct sentences *sentences, const struct tokenizer *tokenizer,
                           const char *spelling)
{
    struct sentences made = {.count = tokenizer_count(tokenizer)};
    made.ends = calloc((size_t)made.count, sizeof *made.ends);
    if (!made.ends)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %d delimiters", made.count);
    const enum status status =
        strcmp(spelling, "auto") == 0 ? find(&made, tokenizer) : take(&made, spelling);
    if (status == STATUS_OK)
        *sentences = made;
    else
        sentences_deinit(&made);
    return status;
}

void sentences_deinit(struct sentences *sentences)
{
    free(sentences->ends);
    *sentences = (struct sentences){0};
}

int64_t sentences_end(const struct sentences *sentences, const int32_t *ids, int64_t count,
                      int64_t first)
{
    int64_t end = first;
    while (end < count && !sentences->ends[ids[end]])
        end++;
    return end < count ? end + 1 : count;
}
