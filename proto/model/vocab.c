/* Owns a tokenizer's data: where each token and merge stands in the file. Promises that ids and
 * ranks inside the counts always give well-formed views, and that special ids are tokens.
 */
#include "proto/model/vocab.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/model/gguf_value.h"
#include "proto/model/spec.h"

struct vocab {
    struct text_view kind;
    struct text_view pre;
    struct text_view chat_template;
    const uint8_t **tokens; /* [count] places of strings in the file */
    int32_t count;
    struct gguf_array types; /* i32 [count]; count 0 where the file has none: all normal */
    const uint8_t **merges;  /* [merge_count] */
    int32_t merge_count;
    struct vocab_special special;
    enum vocab_flag add_bos;
    enum vocab_flag add_eos;
    enum vocab_flag add_space_prefix;
};

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

static enum status index_strings(const uint8_t ***places, const struct gguf_array *array)
{
    const uint8_t **found = malloc(((size_t)array->count + 1) * sizeof(*found));
    if (!found)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %lld tokens or merges",
                    (long long)array->count);
    const uint8_t *place = array->data;
    for (int64_t i = 0; i < array->count; i++) {
        found[i] = place;
        gguf_value_next_string(&place);
    }
    *places = found;
    return STATUS_OK;
}

static enum status read_tokens(struct vocab *vocab, const struct gguf *gguf)
{
    static const char key[] = "tokenizer.ggml.tokens";
    static const char types_key[] = "tokenizer.ggml.token_type";
    struct gguf_array tokens;
    TRY(gguf_value_array(gguf, &tokens, key, GGUF_STRING));
    if (tokens.count < 1 || tokens.count > MODEL_VOCAB_MAX)
        return gguf_fail(gguf, gguf_find_pair(gguf, key)->offset, STATUS_DATA_LOSS, "vocab",
                         "%lld tokens; 1 .. %d are allowed", (long long)tokens.count,
                         MODEL_VOCAB_MAX);
    vocab->count = (int32_t)tokens.count;
    TRY(index_strings(&vocab->tokens, &tokens));
    if (!gguf_find_pair(gguf, types_key))
        return STATUS_OK;
    TRY(gguf_value_array(gguf, &vocab->types, types_key, GGUF_I32));
    size_t offset = gguf_find_pair(gguf, types_key)->offset;
    if (vocab->types.count != tokens.count)
        return gguf_fail(gguf, offset, STATUS_DATA_LOSS, "token-types",
                         "%lld token types for %lld tokens", (long long)vocab->types.count,
                         (long long)tokens.count);
    for (int64_t i = 0; i < tokens.count; i++) {
        int32_t type = gguf_value_i32(&vocab->types, i);
        if (type < VOCAB_NORMAL || type > VOCAB_BYTE)
            return gguf_fail(gguf, offset, STATUS_DATA_LOSS, "token-types",
                             "token %lld has type %d; %d .. %d are known", (long long)i, type,
                             VOCAB_NORMAL, VOCAB_BYTE);
    }
    return STATUS_OK;
}

/* The space that cuts "left right"; NULL where there is none with something on both sides. */
static const char *merge_cut(struct text_view merge)
{
    if (merge.bytes < 3)
        return NULL;
    const char *cut = memchr(merge.text + 1, ' ', merge.bytes - 1);
    return cut && cut + 1 < merge.text + merge.bytes ? cut : NULL;
}

static enum status read_merges(struct vocab *vocab, const struct gguf *gguf)
{
    static const char key[] = "tokenizer.ggml.merges";
    const struct gguf_pair *pair = gguf_find_pair(gguf, key);
    if (!pair)
        return STATUS_OK;
    struct gguf_array merges;
    TRY(gguf_value_array(gguf, &merges, key, GGUF_STRING));
    TRY(index_strings(&vocab->merges, &merges));
    vocab->merge_count = (int32_t)merges.count;
    for (int32_t i = 0; i < vocab->merge_count; i++) {
        const uint8_t *place = vocab->merges[i];
        if (!merge_cut(gguf_value_next_string(&place)))
            return gguf_fail(gguf, (size_t)(vocab->merges[i] - pair->value) + pair->offset,
                             STATUS_DATA_LOSS, "merge",
                             "merge %d is not two parts with a space between them", i);
    }
    return STATUS_OK;
}

static enum status read_special(struct vocab *vocab, const struct gguf *gguf)
{
    struct vocab_special *special = &vocab->special;
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
        TRY(id_or_absent(ids[i].id, gguf, ids[i].key, vocab->count));
    TRY(flag_or_absent(&vocab->add_bos, gguf, "tokenizer.ggml.add_bos_token"));
    TRY(flag_or_absent(&vocab->add_eos, gguf, "tokenizer.ggml.add_eos_token"));
    return flag_or_absent(&vocab->add_space_prefix, gguf, "tokenizer.ggml.add_space_prefix");
}

static enum status read_all(struct vocab *vocab, const struct gguf *gguf)
{
    TRY(gguf_value_text(gguf, &vocab->kind, "tokenizer.ggml.model"));
    TRY(text_or_empty(&vocab->pre, gguf, "tokenizer.ggml.pre"));
    TRY(text_or_empty(&vocab->chat_template, gguf, "tokenizer.chat_template"));
    TRY(read_tokens(vocab, gguf));
    TRY(read_merges(vocab, gguf));
    return read_special(vocab, gguf);
}

enum status vocab_create(struct vocab **vocab, const struct gguf *gguf)
{
    enum status status;
    struct vocab *created = calloc(1, sizeof *created);
    if (!created)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a vocabulary");
    TRY_ELSE(read_all(created, gguf), destroy_vocab);
    *vocab = created;
    return STATUS_OK;
destroy_vocab:
    vocab_destroy(created);
    return status;
}

void vocab_destroy(struct vocab *vocab)
{
    if (!vocab)
        return;
    free(vocab->tokens);
    free(vocab->merges);
    free(vocab);
}

struct text_view vocab_kind(const struct vocab *vocab)
{
    return vocab->kind;
}

struct text_view vocab_pre(const struct vocab *vocab)
{
    return vocab->pre;
}

int32_t vocab_count(const struct vocab *vocab)
{
    return vocab->count;
}

struct vocab_token vocab_token(const struct vocab *vocab, int32_t id)
{
    assert(id >= 0 && id < vocab->count);
    const uint8_t *place = vocab->tokens[id];
    struct text_view text = gguf_value_next_string(&place);
    enum vocab_type type = VOCAB_NORMAL;
    if (vocab->types.count > 0)
        type = (enum vocab_type)gguf_value_i32(&vocab->types, id);
    return (struct vocab_token){text.text, text.bytes, type};
}

int32_t vocab_merge_count(const struct vocab *vocab)
{
    return vocab->merge_count;
}

struct vocab_merge vocab_merge(const struct vocab *vocab, int32_t rank)
{
    assert(rank >= 0 && rank < vocab->merge_count);
    const uint8_t *place = vocab->merges[rank];
    struct text_view merge = gguf_value_next_string(&place);
    const char *cut = merge_cut(merge);
    const char *right = cut + 1;
    return (struct vocab_merge){merge.text, (size_t)(cut - merge.text), right,
                                (size_t)(merge.text + merge.bytes - right)};
}

struct vocab_special vocab_special(const struct vocab *vocab)
{
    return vocab->special;
}

enum vocab_flag vocab_add_bos(const struct vocab *vocab)
{
    return vocab->add_bos;
}

enum vocab_flag vocab_add_eos(const struct vocab *vocab)
{
    return vocab->add_eos;
}

enum vocab_flag vocab_add_space_prefix(const struct vocab *vocab)
{
    return vocab->add_space_prefix;
}

struct text_view vocab_chat_template(const struct vocab *vocab)
{
    return vocab->chat_template;
}
