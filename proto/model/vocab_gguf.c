/* Owns the reading of a tokenizer's data from a GGUF file's keys. Promises that special ids are
 * tokens, and that texts are views into the file.
 */
#include "proto/model/vocab_gguf.h"

#include <stdlib.h>
#include <string.h>

#include "proto/model/gguf_value.h"
#include "proto/model/spec.h"

static enum status text_or_empty(struct text_view *text, const struct gguf *gguf, const char *key)
{
    *text = text_view_of("");
    return gguf_find_pair(gguf, key) ? gguf_value_text(gguf, text, key) : STATUS_OK;
}

static enum status flag_or_absent(enum vocab_flag *flag, const struct gguf *gguf, const char *key)
{
    *flag = VOCAB_FLAG_ABSENT;
    if (!gguf_find_pair(gguf, key))
        return STATUS_OK;
    bool value;
    TRY(gguf_value_bool(gguf, &value, key));
    *flag = value ? VOCAB_FLAG_ON : VOCAB_FLAG_OFF;
    return STATUS_OK;
}

static enum status id_or_absent(int32_t *id, const struct gguf *gguf, const char *key,
                                int32_t count)
{
    *id = -1;
    if (!gguf_find_pair(gguf, key))
        return STATUS_OK;
    int64_t value;
    TRY(gguf_value_integer(gguf, &value, key, 0, count - 1));
    *id = (int32_t)value;
    return STATUS_OK;
}

/* Without merges, every byte would be a token. */
static bool is_byte_level(const struct vocab_parts *parts)
{
    return text_view_is(parts->kind, "gpt2");
}

/* As SentencePiece makes them. */
static bool is_pieces(const struct vocab_parts *parts)
{
    return text_view_is(parts->kind, "llama");
}

static enum status read_types(struct vocab_parts *parts, const struct gguf *gguf)
{
    static const char key[] = "tokenizer.ggml.token_type";
    const struct gguf_pair *pair = gguf_find_pair(gguf, key);
    struct gguf_array types;
    /* Without types, control tokens would be text. */
    if (!pair && !is_byte_level(parts) && !is_pieces(parts))
        return STATUS_OK;
    TRY(gguf_value_array(gguf, &types, key, GGUF_I32));
    if (types.count != parts->count)
        return gguf_fail(gguf, pair->offset, STATUS_DATA_LOSS, "token-types",
                         "%lld token types for %d tokens", (long long)types.count, parts->count);
    for (int32_t id = 0; id < parts->count; id++) {
        int32_t type = gguf_value_i32(&types, id);
        if (type < VOCAB_NORMAL || type > VOCAB_BYTE)
            return gguf_fail(gguf, pair->offset, STATUS_DATA_LOSS, "token-types",
                             "token %d has type %d; %d .. %d are known", id, type, VOCAB_NORMAL,
                             VOCAB_BYTE);
        parts->tokens[id].type = (enum vocab_type)type;
    }
    return STATUS_OK;
}

static enum status read_tokens(struct vocab_parts *parts, const struct gguf *gguf)
{
    static const char key[] = "tokenizer.ggml.tokens";
    struct gguf_array tokens;
    TRY(gguf_value_array(gguf, &tokens, key, GGUF_STRING));
    if (tokens.count < 1 || tokens.count > MODEL_VOCAB_MAX)
        return gguf_fail(gguf, gguf_find_pair(gguf, key)->offset, STATUS_DATA_LOSS, "vocab",
                         "%lld tokens; 1 .. %d are allowed", (long long)tokens.count,
                         MODEL_VOCAB_MAX);
    parts->tokens = calloc((size_t)tokens.count, sizeof *parts->tokens);
    if (!parts->tokens)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %lld tokens",
                    (long long)tokens.count);
    parts->count = (int32_t)tokens.count;
    const uint8_t *place = tokens.data;
    for (int32_t id = 0; id < parts->count; id++) {
        struct text_view text = gguf_value_next_string(&place);
        parts->tokens[id] = (struct vocab_token){text.text, text.bytes, VOCAB_NORMAL, 0};
    }
    return read_types(parts, gguf);
}

/* "left right", cut at the first space after the first character; false where there is none with
 * something on both sides. */
static bool cut_merge(struct vocab_merge *merge, struct text_view text)
{
    if (text.bytes < 3)
        return false;
    const char *end = text.text + text.bytes;
    const char *cut = memchr(text.text + 1, ' ', text.bytes - 1);
    if (!cut || cut + 1 == end)
        return false;
    *merge = (struct vocab_merge){text.text, (size_t)(cut - text.text), cut + 1,
                                  (size_t)(end - cut - 1)};
    return true;
}

static enum status read_merges(struct vocab_parts *parts, const struct gguf *gguf)
{
    static const char key[] = "tokenizer.ggml.merges";
    const struct gguf_pair *pair = gguf_find_pair(gguf, key);
    if (!pair && !is_byte_level(parts))
        return STATUS_OK;
    struct gguf_array merges;
    TRY(gguf_value_array(gguf, &merges, key, GGUF_STRING));
    parts->merges = calloc((size_t)merges.count + 1, sizeof *parts->merges);
    if (!parts->merges)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %lld merges",
                    (long long)merges.count);
    const uint8_t *place = merges.data;
    for (int32_t priority = 0; priority < (int32_t)merges.count; priority++) {
        size_t offset = (size_t)(place - pair->value) + pair->offset;
        if (!cut_merge(&parts->merges[priority], gguf_value_next_string(&place)))
            return gguf_fail(gguf, offset, STATUS_DATA_LOSS, "merge",
                             "merge %d is not two parts with a space between them", priority);
    }
    parts->merge_count = (int32_t)merges.count;
    return STATUS_OK;
}

static enum status read_scores(struct vocab_parts *parts, const struct gguf *gguf)
{
    static const char key[] = "tokenizer.ggml.scores";
    struct gguf_array scores;
    if (!is_pieces(parts) || parts->merge_count > 0)
        return STATUS_OK;
    TRY(gguf_value_array(gguf, &scores, key, GGUF_F32));
    if (scores.count != parts->count)
        return gguf_fail(gguf, gguf_find_pair(gguf, key)->offset, STATUS_DATA_LOSS, "token-scores",
                         "%lld scores for %d tokens", (long long)scores.count, parts->count);
    parts->scores = malloc((size_t)parts->count * sizeof *parts->scores);
    if (!parts->scores)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %d scores", parts->count);
    memcpy(parts->scores, scores.data, (size_t)parts->count * sizeof *parts->scores);
    return STATUS_OK;
}

/* What SentencePiece does to a text, and what of it is not carried out here. */
static enum status read_steps(struct vocab_parts *parts, const struct gguf *gguf)
{
    static const char charsmap[] = "tokenizer.ggml.precompiled_charsmap";
    static const char extra[] = "tokenizer.ggml.remove_extra_whitespaces";
    enum vocab_flag removes;
    if (!is_pieces(parts))
        return STATUS_OK;
    TRY(flag_or_absent(&removes, gguf, extra));
    if (removes == VOCAB_FLAG_ON)
        return gguf_fail(gguf, gguf_find_pair(gguf, extra)->offset, STATUS_UNIMPLEMENTED,
                         "tokenizer-step", "%s is true, which is not supported", extra);
    if (gguf_find_pair(gguf, charsmap))
        return gguf_fail(gguf, gguf_find_pair(gguf, charsmap)->offset, STATUS_UNIMPLEMENTED,
                         "tokenizer-step", "%s is not supported", charsmap);
    vocab_parts_spaces(parts, parts->add_space_prefix != VOCAB_FLAG_OFF);
    return STATUS_OK;
}

static enum status read_special(struct vocab_parts *parts, const struct gguf *gguf)
{
    struct vocab_special *special = &parts->special;
    const struct {
        int32_t *id;
        const char *key;
    } ids[] = {
        {&special->bos, "tokenizer.ggml.bos_token_id"},
        {&special->eos, "tokenizer.ggml.eos_token_id"},
        {&special->eot, "tokenizer.ggml.eot_token_id"},
        {&special->eom, "tokenizer.ggml.eom_token_id"},
        {&special->unknown, "tokenizer.ggml.unknown_token_id"},
        {&special->padding, "tokenizer.ggml.padding_token_id"},
    };
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++)
        TRY(id_or_absent(ids[i].id, gguf, ids[i].key, parts->count));
    const int32_t ends[] = {special->eos, special->eot, special->eom};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        (void)vocab_parts_add_end(parts, ends[i]); /* there is room */
    TRY(flag_or_absent(&parts->add_bos, gguf, "tokenizer.ggml.add_bos_token"));
    TRY(flag_or_absent(&parts->add_eos, gguf, "tokenizer.ggml.add_eos_token"));
    return flag_or_absent(&parts->add_space_prefix, gguf, "tokenizer.ggml.add_space_prefix");
}

static enum status read_all(struct vocab_parts *parts, const struct gguf *gguf)
{
    TRY(gguf_value_text(gguf, &parts->kind, "tokenizer.ggml.model"));
    TRY(text_or_empty(&parts->pre, gguf, "tokenizer.ggml.pre"));
    TRY(text_or_empty(&parts->chat_template, gguf, "tokenizer.chat_template"));
    TRY(read_tokens(parts, gguf));
    TRY(read_merges(parts, gguf));
    TRY(read_scores(parts, gguf));
    TRY(read_special(parts, gguf));
    return read_steps(parts, gguf);
}

bool vocab_gguf_is_there(const struct gguf *gguf)
{
    return gguf_find_pair(gguf, "tokenizer.ggml.model") ||
           gguf_find_pair(gguf, "tokenizer.ggml.tokens") ||
           gguf_find_pair(gguf, "tokenizer.ggml.merges");
}

enum status vocab_gguf_read(struct vocab **vocab, const struct gguf *gguf)
{
    struct vocab_parts parts;
    vocab_parts_init(&parts);
    enum status status = read_all(&parts, gguf);
    if (status == STATUS_OK)
        status = vocab_create(vocab, &parts);
    vocab_parts_deinit(&parts);
    return status;
}
