/* Owns the making of merges from a vocabulary. Promises that no merge makes a control token, and
 * that of merges made from scores the larger score goes first, equal scores sharing a priority. */
#include "coordinator/text/merge_list.h"

#include <math.h>
#include <stdlib.h>
#include <utf8proc.h>

#include "proto/utf8.h"

enum { NONE = -1, MERGES_MAX = 1 << 24 };

void merge_list_deinit(struct merge_list *list)
{
    free(list->merges);
    *list = (struct merge_list){0};
}

static enum status add(struct merge_list *list, struct bpe_merge merge)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 1024;
        struct bpe_merge *merges =
            capacity > MERGES_MAX ? NULL : realloc(list->merges, capacity * sizeof *merges);
        if (!merges)
            return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %zu merges of a tokenizer",
                        capacity);
        list->merges = merges;
        list->capacity = capacity;
    }
    list->merges[list->count++] = merge;
    return STATUS_OK;
}

enum status merge_list_check_plain(const struct token_table *table, int32_t id, const char *what)
{
    size_t bytes;
    if (id == NONE || !token_table_is_reserved(table, id))
        return STATUS_OK;
    const char *text = token_table_bytes(table, id, &bytes);
    return fail(STATUS_DATA_LOSS, "%s makes token %d, \"%.*s\", which %s", what, id,
                (int)(bytes < 64 ? bytes : 64), text,
                token_table_is_control(table, id) ? "the file marks as control"
                                                  : "is written like a control token");
}

static enum status check_result(const struct token_table *table, const struct vocab *vocab,
                                int32_t id)
{
    enum vocab_type type = vocab_token(vocab, id).type;
    if (type == VOCAB_UNUSED || type == VOCAB_BYTE)
        return fail(STATUS_UNIMPLEMENTED,
                    "a merge makes token %d, which the file marks as %s; that is not supported", id,
                    type == VOCAB_BYTE ? "a byte" : "unused");
    return merge_list_check_plain(table, id, "a merge");
}

/* ---- as listed ---- */

static enum status take_listed(struct merge_list *list, const struct token_table *table,
                               const struct vocab *vocab, int32_t priority)
{
    struct vocab_merge sides = vocab_merge(vocab, priority);
    struct bpe_merge merge = {.priority = priority};
    merge.left = token_table_find(table, sides.left, sides.left_bytes, "", 0);
    merge.right = token_table_find(table, sides.right, sides.right_bytes, "", 0);
    merge.result =
        token_table_find(table, sides.left, sides.left_bytes, sides.right, sides.right_bytes);
    if (merge.left == NONE || merge.right == NONE || merge.result == NONE)
        return fail(STATUS_DATA_LOSS,
                    "merge %d (tokenizer.ggml.merges) needs \"%.*s\", \"%.*s\" and both together, "
                    "and one of them is not in the vocabulary",
                    priority, (int)(sides.left_bytes < 64 ? sides.left_bytes : 64), sides.left,
                    (int)(sides.right_bytes < 64 ? sides.right_bytes : 64), sides.right);
    TRY(check_result(table, vocab, merge.result));
    return add(list, merge);
}

/* ---- by scores ---- */

static bool is_part(const struct token_table *table, const struct vocab *vocab, int32_t id)
{
    const enum vocab_type type = vocab_token(vocab, id).type;
    return (type == VOCAB_NORMAL || type == VOCAB_USER_DEFINED) &&
           !token_table_is_reserved(table, id);
}

/* The token that is spelt so, or the character that is none; NONE for longer texts. */
static bool find_symbol(int32_t *symbol, const struct token_table *table, const struct vocab *vocab,
                        const char *text, size_t bytes)
{
    *symbol = token_table_find(table, text, bytes, "", 0);
    if (*symbol != NONE && is_part(table, vocab, *symbol))
        return true;
    int32_t point;
    if (utf8proc_iterate((const uint8_t *)text, (utf8proc_ssize_t)bytes, &point) !=
        (utf8proc_ssize_t)bytes)
        return false;
    *symbol = ~point;
    return true;
}

static enum status take_parts_of(struct merge_list *list, const struct token_table *table,
                                 const struct vocab *vocab, int32_t id)
{
    struct vocab_token token = vocab_token(vocab, id);
    if (token.bytes > MERGE_LIST_TOKEN_BYTES_MAX)
        return fail(STATUS_DATA_LOSS, "token %d has %zu bytes; at most %d are allowed", id,
                    token.bytes, MERGE_LIST_TOKEN_BYTES_MAX);
    size_t cut = 0;
    for (;;) {
        int length = cut < token.bytes ? utf8_sequence(token.text + cut, token.bytes - cut) : 1;
        if (length <= 0)
            return fail(STATUS_DATA_LOSS, "token %d is no UTF-8", id);
        cut += (size_t)length;
        if (cut >= token.bytes)
            return STATUS_OK;
        struct bpe_merge merge = {.result = id};
        if (!find_symbol(&merge.left, table, vocab, token.text, cut) ||
            !find_symbol(&merge.right, table, vocab, token.text + cut, token.bytes - cut))
            continue;
        TRY(check_result(table, vocab, id));
        TRY(add(list, merge));
    }
}

/* For the comparison of two merges, which is given nothing else. */
struct scored {
    struct bpe_merge merge;
    float score;
};

static int by_score(const void *left, const void *right)
{
    const struct scored *a = left;
    const struct scored *b = right;
    if (a->score != b->score)
        return a->score > b->score ? -1 : 1;
    if (a->merge.result != b->merge.result)
        return a->merge.result < b->merge.result ? -1 : 1;
    return (a->merge.left > b->merge.left) - (a->merge.left < b->merge.left);
}

static enum status sort(struct merge_list *list, const float *scores)
{
    struct scored *sorted = malloc((list->count + 1) * sizeof *sorted);
    if (!sorted)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to sort %zu merges", list->count);
    for (size_t i = 0; i < list->count; i++)
        sorted[i] = (struct scored){list->merges[i], scores[list->merges[i].result]};
    qsort(sorted, list->count, sizeof *sorted, by_score);
    for (size_t i = 0; i < list->count; i++) {
        list->merges[i] = sorted[i].merge;
        bool ties = i > 0 && sorted[i].score == sorted[i - 1].score;
        list->merges[i].priority = ties ? list->merges[i - 1].priority : (int32_t)i;
    }
    free(sorted);
    return STATUS_OK;
}

/* Whether the token can be what several characters become. What is unused and can is refused. */
static bool can_result(const struct token_table *table, const struct vocab *vocab, int32_t id)
{
    return is_part(table, vocab, id) || vocab_token(vocab, id).type == VOCAB_UNUSED;
}

/* Every cut of a token is looked for at both its sides. */
static enum status check_squares(const struct token_table *table, const struct vocab *vocab)
{
    int64_t squares = 0;
    for (int32_t id = 0; id < vocab_count(vocab); id++) {
        const size_t bytes = vocab_token(vocab, id).bytes;
        if (bytes <= MERGE_LIST_TOKEN_BYTES_MAX && can_result(table, vocab, id))
            squares += (int64_t)(bytes * bytes);
        if (squares > MERGE_LIST_SQUARES_MAX)
            return fail(STATUS_DATA_LOSS,
                        "the first %d tokens are too long together to look for their parts: the "
                        "squares of their bytes are more than %d",
                        id + 1, MERGE_LIST_SQUARES_MAX);
    }
    return STATUS_OK;
}

enum status merge_list_make(struct merge_list *list, const struct token_table *table,
                            const struct vocab *vocab)
{
    const float *scores = vocab_scores(vocab);
    int32_t count = vocab_merge_count(vocab);
    for (int32_t priority = 0; priority < count; priority++)
        TRY(take_listed(list, table, vocab, priority));
    if (count > 0 || !scores)
        return STATUS_OK;
    TRY(check_squares(table, vocab));
    for (int32_t id = 0; id < vocab_count(vocab); id++) {
        if (!isfinite(scores[id]))
            return fail(STATUS_DATA_LOSS, "the score of token %d is no number", id);
        if (can_result(table, vocab, id))
            TRY(take_parts_of(list, table, vocab, id));
    }
    return sort(list, scores);
}
