/* Owns a vocabulary ready for use: its bytes, its merges, its pre-tokenizer. Promises the ids of
 * PyPI `tokenizers`, and that without TOKENIZER_CONTROL no text whatsoever comes out as a control
 * token or as one that is written like a turn's.
 */
#include "coordinator/text/tokenizer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/text/bpe.h"
#include "coordinator/text/merge_list.h"
#include "coordinator/text/pieces.h"
#include "coordinator/text/pretokenizer.h"
#include "coordinator/text/pretokenizer_rows.h"
#include "coordinator/text/text_steps.h"
#include "coordinator/text/token_table.h"
#include "coordinator/text/whole_tokens.h"
#include "proto/model/vocab.h"
#include "proto/utf8_check.h"

enum { NONE = -1, STOPS_MAX = VOCAB_ENDS_MAX + 4 };

#define METASPACE "\u2581"

struct tokenizer {
    struct token_table *table;
    struct whole_tokens *whole;         /* in the text */
    struct whole_tokens *whole_stepped; /* in what the steps made of it */
    struct whole_tokens *controls;      /* reserved tokens alone, as they are written */
    struct text_steps *steps;
    struct text_steps *spaces;          /* of metaspace: spaces become U+2581 */
    struct text_steps *prefixed_spaces; /* and one more goes before them */
    enum vocab_metaspace metaspace;
    struct pretokenizer *pretokenizer; /* these two of kind "gpt2" */
    struct bpe *bpe;
    struct pieces *pieces; /* of kind "llama" */
    int32_t bos;
    bool add_bos;
    bool ignore_merges;
    bool strips_space;
    int32_t stop_ids[STOPS_MAX];
    size_t stop_count;
    size_t token_bytes_max; /* 0: texts may have bytes without a token */
};

/* One encode's working memory and where it writes. */
struct encoding {
    const struct tokenizer *tokenizer;
    struct pretokenizer_walk *walk; /* NULL without a pre-tokenizer */
    struct bpe_scratch bpe;
    struct pieces_scratch pieces;
    struct text_steps_scratch steps;
    struct text_steps_scratch spaces;
    struct id_list *ids;
    unsigned flags;
};

static bool is_pieces(const struct vocab *vocab)
{
    return text_view_is(vocab_kind(vocab), "llama");
}

static enum status refuse_the_unsupported(const struct vocab *vocab)
{
    struct text_view kind = vocab_kind(vocab);
    if (is_pieces(vocab))
        return vocab_merge_count(vocab) > 0 || vocab_scores(vocab)
                   ? STATUS_OK
                   : fail(STATUS_UNIMPLEMENTED,
                          "a tokenizer of model llama needs scores (tokenizer.ggml.scores)");
    if (!text_view_is(kind, "gpt2"))
        return fail(STATUS_UNIMPLEMENTED,
                    "tokenizer model \"%.*s\" (tokenizer.ggml.model) is not supported; known: "
                    "gpt2, llama",
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

static enum status create_bpe(struct tokenizer *tokenizer, const struct merge_list *merges)
{
    int32_t byte_ids[256];
    for (int byte = 0; byte < 256; byte++) {
        byte_ids[byte] = token_table_find_byte(tokenizer->table, (uint8_t)byte);
        TRY(merge_list_check_plain(tokenizer->table, byte_ids[byte], "a byte"));
    }
    return bpe_create(&tokenizer->bpe, merges->merges, merges->count, byte_ids);
}

static enum status take_merges(struct tokenizer *tokenizer, const struct vocab *vocab)
{
    struct merge_list merges = {0};
    enum status status = merge_list_make(&merges, tokenizer->table, vocab);
    if (status == STATUS_OK)
        status = is_pieces(vocab)
                     ? pieces_create(&tokenizer->pieces, tokenizer->table, vocab, &merges)
                     : create_bpe(tokenizer, &merges);
    merge_list_deinit(&merges);
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
    tokenizer->add_bos =
        vocab_add_bos(vocab) == VOCAB_FLAG_ON ||
        (vocab_add_bos(vocab) == VOCAB_FLAG_ABSENT && special.bos != NONE &&
         (!tokenizer->pretokenizer || pretokenizer_adds_bos(tokenizer->pretokenizer)));
    if (tokenizer->add_bos && special.bos == NONE)
        return fail(STATUS_DATA_LOSS, "tokenizer.ggml.add_bos_token is true, but the file has no "
                                      "tokenizer.ggml.bos_token_id");
    for (int i = 0; i < special.end_count; i++)
        add_stop(tokenizer, special.ends[i]);
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        add_stop(tokenizer, tokenizer_control_id(tokenizer, ends[i]));
    return STATUS_OK;
}

static enum status take_steps(struct tokenizer *tokenizer, const struct vocab *vocab)
{
    static const struct vocab_step nfc = {.kind = VOCAB_STEP_NFC};
    static const struct vocab_step spaces[] = {
        {VOCAB_STEP_REPLACE, {" ", 1}, {METASPACE, sizeof METASPACE - 1}},
        {VOCAB_STEP_PREPEND, {"", 0}, {METASPACE, sizeof METASPACE - 1}},
    };
    int count;
    const struct vocab_step *steps = vocab_steps(vocab, &count);
    bool is_nfc = vocab_nfc(vocab) == VOCAB_FLAG_ON ||
                  (vocab_nfc(vocab) == VOCAB_FLAG_ABSENT && tokenizer->pretokenizer &&
                   pretokenizer_normalises(tokenizer->pretokenizer));
    tokenizer->metaspace = vocab_metaspace(vocab);
    tokenizer->strips_space = vocab_strips_space(vocab);
    TRY(text_steps_create(&tokenizer->spaces, spaces, 1));
    TRY(text_steps_create(&tokenizer->prefixed_spaces, spaces, 2));
    return text_steps_create(&tokenizer->steps, is_nfc ? &nfc : steps, is_nfc ? 1 : count);
}

/* The tokens that are looked for in the text, or those in what the steps make of it. */
static size_t gather_whole(struct whole_tokens_entry *entries, const struct tokenizer *tokenizer,
                           const struct vocab *vocab, bool stepped)
{
    size_t count = 0;
    for (int32_t id = 0; id < vocab_count(vocab); id++) {
        struct vocab_token token = vocab_token(vocab, id);
        if (token_table_is_whole(tokenizer->table, id) &&
            ((token.match & VOCAB_IN_STEPPED) != 0) == stepped)
            entries[count++] =
                (struct whole_tokens_entry){token.text, token.bytes, id, token.match,
                                            token_table_is_reserved(tokenizer->table, id)};
    }
    return count;
}

/* Makes of each text what the steps make of it: in `texts`, which is long enough. */
static enum status step_entries(struct whole_tokens_entry *entries, size_t count,
                                const struct tokenizer *tokenizer, struct text_steps_scratch *steps,
                                char **texts)
{
    for (size_t i = 0; i < count; i++) {
        struct whole_tokens_entry *entry = &entries[i];
        if (!(entry->match & VOCAB_STEPPED))
            continue;
        TRY(text_steps_apply(tokenizer->steps, steps, &entry->text, &entry->bytes,
                             TOKENIZER_STEPPED_BYTES_MAX));
        texts[i] = malloc(entry->bytes + 1);
        if (!texts[i])
            return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %zu tokens", count);
        memcpy(texts[i], entry->text, entry->bytes);
        entry->text = texts[i];
    }
    return STATUS_OK;
}

static size_t gather_controls(struct whole_tokens_entry *entries, const struct tokenizer *tokenizer,
                              const struct vocab *vocab)
{
    size_t count = 0;
    for (int32_t id = 0; id < vocab_count(vocab); id++) {
        struct vocab_token token = vocab_token(vocab, id);
        if (token_table_is_reserved(tokenizer->table, id))
            entries[count++] =
                (struct whole_tokens_entry){token.text, token.bytes, id, token.match, true};
    }
    return count;
}

static enum status take_whole(struct tokenizer *tokenizer, const struct vocab *vocab)
{
    struct text_steps_scratch steps = {0};
    size_t room = (size_t)vocab_count(vocab) + 1;
    struct whole_tokens_entry *entries = calloc(room, sizeof *entries);
    char **texts = calloc(room, sizeof *texts);
    enum status status = STATUS_OK;
    if (!entries || !texts)
        TRY_ELSE(fail(STATUS_RESOURCE_EXHAUSTED, "no memory for control tokens"), free_all);
    size_t count = gather_whole(entries, tokenizer, vocab, false);
    TRY_ELSE(whole_tokens_create(&tokenizer->whole, entries, count), free_all);
    count = gather_controls(entries, tokenizer, vocab);
    TRY_ELSE(whole_tokens_create(&tokenizer->controls, entries, count), free_all);
    count = gather_whole(entries, tokenizer, vocab, true);
    TRY_ELSE(step_entries(entries, count, tokenizer, &steps, texts), free_all);
    status = whole_tokens_create(&tokenizer->whole_stepped, entries, count);
free_all:
    for (size_t i = 0; texts && i < room; i++)
        free(texts[i]);
    free(texts);
    free(entries);
    text_steps_scratch_deinit(&steps);
    return status;
}

/* What a token stands for may be the normal form of a longer text, and a token may take any amount
 * of white space. */
static void measure_tokens(struct tokenizer *tokenizer, const struct vocab *vocab)
{
    size_t shrinks_by = text_steps_shrink_by(tokenizer->steps);
    for (int byte = 0; byte < 256; byte++)
        if (token_table_find_byte(tokenizer->table, (uint8_t)byte) == NONE)
            return;
    size_t longest = 0;
    for (int32_t id = 0; id < token_table_count(tokenizer->table); id++) {
        struct vocab_token token = vocab_token(vocab, id);
        size_t bytes = token.bytes;
        if (!is_pieces(vocab))
            (void)token_table_bytes(tokenizer->table, id, &bytes);
        if (token.match & (VOCAB_LSTRIP | VOCAB_RSTRIP))
            return;
        if (bytes > longest)
            longest = bytes;
    }
    tokenizer->token_bytes_max = longest * shrinks_by;
}

static enum status fill(struct tokenizer *tokenizer, const struct vocab *vocab)
{
    struct text_view pre = vocab_pre(vocab);
    if (!is_pieces(vocab))
        TRY(pretokenizer_create(&tokenizer->pretokenizer, pre.text, pre.bytes));
    TRY(token_table_create(&tokenizer->table, vocab));
    TRY(take_steps(tokenizer, vocab));
    TRY(take_whole(tokenizer, vocab));
    TRY(take_merges(tokenizer, vocab));
    TRY(take_specials(tokenizer, vocab));
    measure_tokens(tokenizer, vocab);
    enum vocab_flag ignores = vocab_ignore_merges(vocab);
    if (tokenizer->pretokenizer)
        tokenizer->ignore_merges = ignores == VOCAB_FLAG_ABSENT
                                       ? pretokenizer_ignores_merges(tokenizer->pretokenizer)
                                       : ignores == VOCAB_FLAG_ON;
    token_table_forget_spellings(tokenizer->table, tokenizer->ignore_merges);
    return STATUS_OK;
}

enum status tokenizer_create(struct tokenizer **tokenizer, const struct vocab *vocab)
{
    TRY(refuse_the_unsupported(vocab));
    struct tokenizer *created = calloc(1, sizeof *created);
    if (!created)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a tokenizer");
    enum status status = fill(created, vocab);
    if (status != STATUS_OK) {
        tokenizer_destroy(created);
        return status;
    }
    *tokenizer = created;
    return STATUS_OK;
}

void tokenizer_destroy(struct tokenizer *tokenizer)
{
    if (!tokenizer)
        return;
    bpe_destroy(tokenizer->bpe);
    pieces_destroy(tokenizer->pieces);
    whole_tokens_destroy(tokenizer->whole);
    whole_tokens_destroy(tokenizer->whole_stepped);
    whole_tokens_destroy(tokenizer->controls);
    text_steps_destroy(tokenizer->steps);
    text_steps_destroy(tokenizer->spaces);
    text_steps_destroy(tokenizer->prefixed_spaces);
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
    return bpe_encode(tokenizer->bpe, &encoding->bpe, encoding->ids, word, bytes);
}

static enum status encode_words(struct encoding *encoding, const char *text, size_t bytes)
{
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

/* Spaces become U+2581, and one goes before a text that begins with none. */
static enum status apply_metaspace(struct encoding *encoding, const char **text, size_t *bytes,
                                   bool first)
{
    const struct tokenizer *tokenizer = encoding->tokenizer;
    static const char space[] = METASPACE;
    bool begins_so = **text == ' ' ||
                     (*bytes >= sizeof space - 1 && memcmp(*text, space, sizeof space - 1) == 0);
    bool wants_one = tokenizer->metaspace == VOCAB_METASPACE_ALWAYS ||
                     (tokenizer->metaspace == VOCAB_METASPACE_FIRST && first);
    return text_steps_apply(wants_one && !begins_so ? tokenizer->prefixed_spaces
                                                    : tokenizer->spaces,
                            &encoding->spaces, text, bytes, TOKENIZER_STEPPED_BYTES_MAX);
}

/* Text between tokens that are matched whole; words do not reach across those. `first`: nothing
 * stands before it. */
static enum status encode_plain(struct encoding *encoding, const char *text, size_t bytes,
                                bool first)
{
    const struct tokenizer *tokenizer = encoding->tokenizer;
    if (bytes == 0)
        return STATUS_OK;
    if (tokenizer->pretokenizer)
        return encode_words(encoding, text, bytes);
    if (tokenizer->metaspace != VOCAB_METASPACE_ABSENT)
        TRY(apply_metaspace(encoding, &text, &bytes, first));
    return pieces_encode(tokenizer->pieces, &encoding->pieces, encoding->ids, text, bytes,
                         TOKENIZER_WORD_BYTES_MAX);
}

typedef enum status encode_between(struct encoding *encoding, const char *text, size_t bytes,
                                   bool first);

/* The tokens of `whole` that are written in the text, and by `between` what is not. */
static enum status encode_around(struct encoding *encoding, const struct whole_tokens *whole,
                                 encode_between *between, const char *text, size_t bytes,
                                 bool first)
{
    size_t taken = 0;
    for (size_t place = 0; place < bytes;) {
        struct whole_tokens_found found = whole_tokens_find(whole, text, bytes, place, taken,
                                                            encoding->flags & TOKENIZER_CONTROL);
        if (found.first > taken)
            TRY(between(encoding, text + taken, found.first - taken, first && taken == 0));
        if (found.id != NONE)
            TRY(id_list_add(encoding->ids, found.id));
        taken = found.end;
        place = found.next;
    }
    return STATUS_OK;
}

/* Between tokens that were found in the text itself. */
static enum status encode_stepped(struct encoding *encoding, const char *text, size_t bytes,
                                  bool first)
{
    const struct tokenizer *tokenizer = encoding->tokenizer;
    TRY(text_steps_apply(tokenizer->steps, &encoding->steps, &text, &bytes,
                         TOKENIZER_STEPPED_BYTES_MAX));
    return encode_around(encoding, tokenizer->whole_stepped, encode_plain, text, bytes, first);
}

static enum status encode_text(struct encoding *encoding, const char *text, size_t bytes)
{
    const struct tokenizer *tokenizer = encoding->tokenizer;
    if ((encoding->flags & TOKENIZER_BOS) && tokenizer->add_bos)
        TRY(id_list_add(encoding->ids, tokenizer->bos));
    return encode_around(encoding, tokenizer->whole, encode_stepped, text, bytes,
                         !(encoding->flags & TOKENIZER_CONTINUES));
}

enum status tokenizer_encode(const struct tokenizer *tokenizer, struct id_list *ids,
                             const char *text, size_t bytes, unsigned flags)
{
    if (bytes > TOKENIZER_TEXT_BYTES_MAX)
        return fail(STATUS_OUT_OF_RANGE, "the text has %zu bytes; the limit is %d", bytes,
                    TOKENIZER_TEXT_BYTES_MAX);
    TRY(utf8_check(text, bytes, "the text"));
    size_t count_before = ids->count;
    struct encoding encoding = {.tokenizer = tokenizer, .ids = ids, .flags = flags};
    if (tokenizer->pretokenizer)
        TRY(pretokenizer_walk_create(&encoding.walk, tokenizer->pretokenizer));
    enum status status = encode_text(&encoding, text, bytes);
    pretokenizer_walk_destroy(encoding.walk);
    bpe_scratch_deinit(&encoding.bpe);
    pieces_scratch_deinit(&encoding.pieces);
    text_steps_scratch_deinit(&encoding.steps);
    text_steps_scratch_deinit(&encoding.spaces);
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
    return whole_tokens_control_id(tokenizer->controls, text, strlen(text));
}

size_t tokenizer_find_control(const struct tokenizer *tokenizer, int32_t *id, size_t *length,
                              const char *text, size_t from, size_t bytes)
{
    const struct whole_tokens_found found =
        whole_tokens_find(tokenizer->controls, text, bytes, from, from, true);
    *id = found.id;
    *length = found.end - found.first;
    return found.first;
}

bool tokenizer_strips_space(const struct tokenizer *tokenizer)
{
    return tokenizer->strips_space;
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
