/* Owns a tokenizer's data. Promises that ids and priorities inside the counts always give
 * well-formed views.
 */
#include "proto/model/vocab.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct vocab {
    struct vocab_parts parts;
};

void vocab_parts_init(struct vocab_parts *parts)
{
    *parts = (struct vocab_parts){
        .special = {-1, -1, -1, -1, -1, -1, {0}, 0},
        .add_bos = VOCAB_FLAG_ABSENT,
        .add_eos = VOCAB_FLAG_ABSENT,
        .add_space_prefix = VOCAB_FLAG_ABSENT,
        .nfc = VOCAB_FLAG_ABSENT,
        .ignore_merges = VOCAB_FLAG_ABSENT,
    };
    parts->kind = parts->pre = parts->chat_template = text_view_of("");
}

void vocab_parts_deinit(struct vocab_parts *parts)
{
    free(parts->tokens);
    free(parts->merges);
    free(parts->texts);
    free(parts->scores);
    vocab_parts_init(parts);
}

const char *vocab_parts_keep(struct vocab_parts *parts, struct text_view text)
{
    char *copy = parts->texts + parts->texts_used;
    if (text.bytes > 0)
        memcpy(copy, text.text, text.bytes);
    parts->texts_used += text.bytes;
    return copy;
}

bool vocab_parts_add_end(struct vocab_parts *parts, int32_t id)
{
    struct vocab_special *special = &parts->special;
    if (id < 0)
        return true;
    for (int i = 0; i < special->end_count; i++)
        if (special->ends[i] == id)
            return true;
    if (special->end_count == VOCAB_ENDS_MAX)
        return false;
    special->ends[special->end_count++] = id;
    return true;
}

void vocab_parts_spaces(struct vocab_parts *parts, bool prefix)
{
    static const struct text_view space = {" ", 1};
    static const struct text_view none = {"", 0};
    const struct text_view spelt = text_view_of("\u2581");
    assert(parts->step_count + 2 <= VOCAB_STEPS_MAX);
    if (prefix)
        parts->steps[parts->step_count++] = (struct vocab_step){VOCAB_STEP_PREPEND, none, spelt};
    parts->steps[parts->step_count++] = (struct vocab_step){VOCAB_STEP_REPLACE, space, spelt};
    parts->strips_space = prefix;
}

enum status vocab_create(struct vocab **vocab, struct vocab_parts *parts)
{
    struct vocab *created = malloc(sizeof *created);
    if (!created)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a vocabulary");
    created->parts = *parts;
    vocab_parts_init(parts);
    *vocab = created;
    return STATUS_OK;
}

void vocab_destroy(struct vocab *vocab)
{
    if (!vocab)
        return;
    vocab_parts_deinit(&vocab->parts);
    free(vocab);
}

struct text_view vocab_kind(const struct vocab *vocab)
{
    return vocab->parts.kind;
}

struct text_view vocab_pre(const struct vocab *vocab)
{
    return vocab->parts.pre;
}

int32_t vocab_count(const struct vocab *vocab)
{
    return vocab->parts.count;
}

struct vocab_token vocab_token(const struct vocab *vocab, int32_t id)
{
    assert(id >= 0 && id < vocab->parts.count);
    return vocab->parts.tokens[id];
}

int32_t vocab_merge_count(const struct vocab *vocab)
{
    return vocab->parts.merge_count;
}

struct vocab_merge vocab_merge(const struct vocab *vocab, int32_t priority)
{
    assert(priority >= 0 && priority < vocab->parts.merge_count);
    return vocab->parts.merges[priority];
}

struct vocab_special vocab_special(const struct vocab *vocab)
{
    return vocab->parts.special;
}

enum vocab_flag vocab_add_bos(const struct vocab *vocab)
{
    return vocab->parts.add_bos;
}

enum vocab_flag vocab_add_eos(const struct vocab *vocab)
{
    return vocab->parts.add_eos;
}

enum vocab_flag vocab_add_space_prefix(const struct vocab *vocab)
{
    return vocab->parts.add_space_prefix;
}

enum vocab_flag vocab_nfc(const struct vocab *vocab)
{
    return vocab->parts.nfc;
}

enum vocab_flag vocab_ignore_merges(const struct vocab *vocab)
{
    return vocab->parts.ignore_merges;
}

const float *vocab_scores(const struct vocab *vocab)
{
    return vocab->parts.scores;
}

const struct vocab_step *vocab_steps(const struct vocab *vocab, int *count)
{
    *count = vocab->parts.step_count;
    return vocab->parts.steps;
}

enum vocab_metaspace vocab_metaspace(const struct vocab *vocab)
{
    return vocab->parts.metaspace;
}

bool vocab_metaspace_splits(const struct vocab *vocab)
{
    return vocab->parts.metaspace_splits;
}

bool vocab_strips_space(const struct vocab *vocab)
{
    return vocab->parts.strips_space;
}

struct text_view vocab_chat_template(const struct vocab *vocab)
{
    return vocab->parts.chat_template;
}
