/* Owns a vocabulary ready for use: its bytes, its merges, its pre-tokenizer. Promises the ids of
 * PyPI `tokenizers`, and that without TOKENIZER_CONTROL no text whatsoever comes out as a control
 * token.
 */
#include "coordinator/text/tokenizer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/text/bpe.h"
#include "coordinator/text/nfc.h"
#include "coordinator/text/pretokenizer.h"
#include "coordinator/text/token_table.h"
#include "coordinator/text/whole_tokens.h"
#include "proto/model/vocab.h"
#include "proto/utf8_check.h"

enum { NONE = -1, STOPS_MAX = VOCAB_ENDS_MAX + 4 };

struct tokenizer {
    struct token_table *table;
    struct whole_tokens *whole;
    struct pretokenizer *pretokenizer;
    struct bpe *bpe;
    int32_t bos;
    bool add_bos;
    bool ignore_merges;
    bool normalises;
    int32_t stop_ids[STOPS_MAX];
    size_t stop_count;
    size_t token_bytes_max; /* 0: texts may have bytes without a token */
};

/* One encode's working memory and where it writes. */
struct encoding {
    const struct tokenizer *tokenizer;
    struct pretokenizer_walk *walk;
    struct bpe_scratch scratch;
    struct nfc nfc;
    struct id_list *ids;
};

static enum status refuse_the_unsupported(const struct vocab *vocab)
{
    struct text_view kind = vocab_kind(vocab);
    if (!text_view_is(kind, "gpt2"))
        return fail(STATUS_UNIMPLEMENTED,
                    "tokenizer model \"%.*s\" (tokenizer.ggml.model) is not supported; known: gpt2",
                    (int)(kind.bytes < 64 ? kind.bytes : 64), kind.text);
    if (vocab_pre(vocab).bytes == 0)
        return fail(STATUS_UNIMPLEMENTED,
                    "the file names no pre-tokenizer (tokenizer.ggml.pre), and a guess would split "
                    "words wrongly; known: " PRETOKENIZER_NAMES);
    if (vocab_add_space_prefix(vocab) == VOCAB_FLAG_ON)
        return fail(STATUS_UNIMPLEMENTED,
                    "tokenizer.ggml.add_space_prefix = true is not supported for model gpt2");
    return STATUS_OK;
}

/* A merge or a byte that made a control token would let any text forge a turn. */
static enum status check_plain(const struct token_table *table, int32_t id, const char *what)
{
    size_t bytes;
    if (id == NONE || !token_table_is_control(table, id))
        return STATUS_OK;
    const char *text = token_table_bytes(table, id, &bytes);
    return fail(STATUS_DATA_LOSS, "%s makes token %d, \"%.*s\", which the file marks as control",
                what, id, (int)(bytes < 64 ? bytes : 64), text);
}

static enum status find_merge(struct bpe_merge *merge, const struct token_table *table,
                              const struct vocab *vocab, int32_t priority)
{
    struct vocab_merge sides = vocab_merge(vocab, priority);
    merge->left = token_table_find(table, sides.left, sides.left_bytes, "", 0);
    merge->right = token_table_find(table, sides.right, sides.right_bytes, "", 0);
    merge->result =
        token_table_find(table, sides.left, sides.left_bytes, sides.right, sides.right_bytes);
    if (merge->left == NONE || merge->right == NONE || merge->result == NONE)
        return fail(STATUS_DATA_LOSS,
                    "merge %d (tokenizer.ggml.merges) needs \"%.*s\", \"%.*s\" and both together, "
                    "and one of them is not in the vocabulary",
                    priority, (int)(sides.left_bytes < 64 ? sides.left_bytes : 64), sides.left,
                    (int)(sides.right_bytes < 64 ? sides.right_bytes : 64), sides.right);
    return check_plain(table, merge->result, "a merge");
}

static enum status create_bpe(struct bpe **bpe, const struct token_table *table,
                              const struct vocab *vocab)
{
    int32_t byte_ids[256];
    for (int byte = 0; byte < 256; byte++) {
        byte_ids[byte] = token_table_find_byte(table, (uint8_t)byte);
        TRY(check_plain(table, byte_ids[byte], "a byte"));
    }
    int32_t count = vocab_merge_count(vocab);
    struct bpe_merge *merges = malloc(((size_t)count + 1) * sizeof *merges);
    if (!merges)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %d merges of a tokenizer", count);
    enum status status = STATUS_OK;
    for (int32_t priority = 0; priority < count; priority++)
        TRY_ELSE(find_merge(&merges[priority], table, vocab, priority), free_merges);
    status = bpe_create(bpe, merges, (size_t)count, byte_ids);
free_merges:
    free(merges);
    return status;
}

static void add_stop(struct tokenizer *tokenizer, int32_t id)
{
    if (id == NONE)
        return;
    for (size_t i = 0; i < tokenizer->stop_count; i++)
        if (tokenizer->stop_ids[i] == id)
            return;
    assert(tokenizer->stop_count < STOPS_MAX);
    tokenizer->stop_ids[tokenizer->stop_count++] = id;
}

/* A file that asks for EOS after the text is not followed: what we encode is always to be
 * continued. */
static enum status take_specials(struct tokenizer *tokenizer, const struct vocab *vocab)
{
    static const char *const ends[] = {"<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>"};
    struct vocab_special special = vocab_special(vocab);
    tokenizer->bos = special.bos;
    tokenizer->add_bos = vocab_add_bos(vocab) == VOCAB_FLAG_ON ||
                         (vocab_add_bos(vocab) == VOCAB_FLAG_ABSENT && special.bos != NONE &&
                          pretokenizer_adds_bos(tokenizer->pretokenizer));
    if (tokenizer->add_bos && special.bos == NONE)
        return fail(STATUS_DATA_LOSS, "tokenizer.ggml.add_bos_token is true, but the file has no "
                                      "tokenizer.ggml.bos_token_id");
    for (int i = 0; i < special.end_count; i++)
        add_stop(tokenizer, special.ends[i]);
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        add_stop(tokenizer, tokenizer_control_id(tokenizer, ends[i]));
    return STATUS_OK;
}

/* What a token stands for may be the normal form of a longer text. */
static void measure_tokens(struct tokenizer *tokenizer)
{
    size_t shrinks_by = tokenizer->normalises ? NFC_SHRINKS_BY : 1;
    for (int byte = 0; byte < 256; byte++)
        if (token_table_find_byte(tokenizer->table, (uint8_t)byte) == NONE)
            return;
    for (int32_t id = 0; id < token_table_count(tokenizer->table); id++) {
        size_t bytes;
        (void)token_table_bytes(tokenizer->table, id, &bytes);
        if (bytes * shrinks_by > tokenizer->token_bytes_max)
            tokenizer->token_bytes_max = bytes * shrinks_by;
    }
}

enum status tokenizer_create(struct tokenizer **tokenizer, const struct vocab *vocab)
{
    TRY(refuse_the_unsupported(vocab));
    struct tokenizer *created = calloc(1, sizeof *created);
    if (!created)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a tokenizer");
    enum status status;
    struct text_view pre = vocab_pre(vocab);
    TRY_ELSE(pretokenizer_create(&created->pretokenizer, pre.text, pre.bytes), destroy);
    TRY_ELSE(token_table_create(&created->table, vocab), destroy);
    TRY_ELSE(whole_tokens_create(&created->whole, created->table), destroy);
    TRY_ELSE(create_bpe(&created->bpe, created->table, vocab), destroy);
    TRY_ELSE(take_specials(created, vocab), destroy);
    created->normalises =
        vocab_nfc(vocab) == VOCAB_FLAG_ON ||
        (vocab_nfc(vocab) == VOCAB_FLAG_ABSENT && pretokenizer_normalises(created->pretokenizer));
    measure_tokens(created);
    created->ignore_merges = pretokenizer_ignores_merges(created->pretokenizer);
    token_table_forget_spellings(created->table, created->ignore_merges);
    *tokenizer = created;
    return STATUS_OK;
destroy:
    tokenizer_destroy(created);
    return status;
}

void tokenizer_destroy(struct tokenizer *tokenizer)
{
    if (!tokenizer)
        return;
    bpe_destroy(tokenizer->bpe);
    whole_tokens_destroy(tokenizer->whole);
    token_table_destroy(tokenizer->table);
    pretokenizer_destroy(tokenizer->pretokenizer);
    free(tokenizer);
}

static enum status encode_word(struct encoding *encoding, const char *word, size_t bytes)
{
    const struct tokenizer *tokenizer = encoding->tokenizer;
    if (bytes > TOKENIZER_WORD_BYTES_MAX)
        return fail(STATUS_OUT_OF_RANGE,
                    "the text has a run of %zu bytes without a break between words; the limit "
                    "is %d",
                    bytes, TOKENIZER_WORD_BYTES_MAX);
    int32_t id = NONE;
    if (tokenizer->ignore_merges)
        id = token_table_find_word(tokenizer->table, word, bytes);
    if (id != NONE)
        return id_list_add(encoding->ids, id);
    return bpe_encode(tokenizer->bpe, &encoding->scratch, encoding->ids, word, bytes);
}

/* Text between tokens that are matched whole; words do not reach across those. */
static enum status encode_words(struct encoding *encoding, const char *text, size_t bytes)
{
    if (encoding->tokenizer->normalises)
        TRY(nfc_normalise(&encoding->nfc, &text, &bytes, text, bytes));
    pretokenizer_walk_begin(encoding->walk, text, bytes);
    for (;;) {
        const char *word;
        size_t word_bytes;
        TRY(pretokenizer_walk_next(encoding->walk, &word, &word_bytes));
        if (word_bytes == 0)
            return STATUS_OK;
        TRY(encode_word(encoding, word, word_bytes));
    }
}

static enum status encode_text(struct encoding *encoding, const char *text, size_t bytes,
                               unsigned flags)
{
    const struct tokenizer *tokenizer = encoding->tokenizer;
    if ((flags & TOKENIZER_BOS) && tokenizer->add_bos)
        TRY(id_list_add(encoding->ids, tokenizer->bos));
    size_t place = 0;
    while (place < bytes) {
        int32_t id = NONE;
        size_t length = 0;
        size_t found = whole_tokens_find(tokenizer->whole, &id, &length, text, place, bytes,
                                         flags & TOKENIZER_CONTROL);
        TRY(encode_words(encoding, text + place, found - place));
        if (found < bytes)
            TRY(id_list_add(encoding->ids, id));
        place = found + length;
    }
    return STATUS_OK;
}

enum status tokenizer_encode(const struct tokenizer *tokenizer, struct id_list *ids,
                             const char *text, size_t bytes, unsigned flags)
{
    if (bytes > TOKENIZER_TEXT_BYTES_MAX)
        return fail(STATUS_OUT_OF_RANGE, "the text has %zu bytes; the limit is %d", bytes,
                    TOKENIZER_TEXT_BYTES_MAX);
    TRY(utf8_check(text, bytes, "the text"));
    size_t count_before = ids->count;
    struct encoding encoding = {.tokenizer = tokenizer, .ids = ids};
    TRY(pretokenizer_walk_create(&encoding.walk, tokenizer->pretokenizer));
    enum status status = encode_text(&encoding, text, bytes, flags);
    pretokenizer_walk_destroy(encoding.walk);
    bpe_scratch_deinit(&encoding.scratch);
    nfc_deinit(&encoding.nfc);
    if (status != STATUS_OK)
        ids->count = count_before;
    return status;
}

int32_t tokenizer_count(const struct tokenizer *tokenizer)
{
    return token_table_count(tokenizer->table);
}

size_t tokenizer_token_bytes_max(const struct tokenizer *tokenizer)
{
    return tokenizer->token_bytes_max;
}

const char *tokenizer_token(const struct tokenizer *tokenizer, int32_t id, size_t *bytes)
{
    return token_table_bytes(tokenizer->table, id, bytes);
}

bool tokenizer_is_control(const struct tokenizer *tokenizer, int32_t id)
{
    return id >= 0 && id < token_table_count(tokenizer->table) &&
           token_table_is_control(tokenizer->table, id);
}

int32_t tokenizer_control_id(const struct tokenizer *tokenizer, const char *text)
{
    return whole_tokens_control_id(tokenizer->whole, text, strlen(text));
}

size_t tokenizer_find_control(const struct tokenizer *tokenizer, int32_t *id, size_t *length,
                              const char *text, size_t from, size_t bytes)
{
    for (;;) {
        const size_t found =
            whole_tokens_find(tokenizer->whole, id, length, text, from, bytes, true);
        if (found == bytes || token_table_is_control(tokenizer->table, *id))
            return found;
        from = found + *length; /* another token that is matched whole */
    }
}

int32_t tokenizer_bos(const struct tokenizer *tokenizer)
{
    return tokenizer->bos;
}

const int32_t *tokenizer_stop_ids(const struct tokenizer *tokenizer, size_t *count)
{
    *count = tokenizer->stop_count;
    return tokenizer->stop_ids;
}
