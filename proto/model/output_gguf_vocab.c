/* Owns the keys of a tokenizer in a written GGUF file. Promises that what a GGUF file cannot say is
 * refused, not left out. */
#include "proto/model/output_gguf_vocab.h"

#include <stdio.h>
#include <string.h>

#include "proto/model/tokenizer_pipeline.h"

static bool is_pieces(const struct vocab *vocab)
{
    return text_view_is(vocab_kind(vocab), "llama");
}

enum { ENDS = 3 };

/* eos, eot and eom, in the free ones the further ends of an answer. False where they are too many.
 */
static bool find_ends(int32_t ends[ENDS], const struct vocab_special *special)
{
    ends[0] = special->eos;
    ends[1] = special->eot;
    ends[2] = special->eom;
    for (int i = 0; i < special->end_count; i++) {
        int at = 0;
        while (at < ENDS && ends[at] != special->ends[i])
            at++;
        if (at < ENDS)
            continue;
        for (at = 0; at < ENDS && ends[at] >= 0;)
            at++;
        if (at == ENDS)
            return false;
        ends[at] = special->ends[i];
    }
    return true;
}

/* Of byte-level tokenizers: normal form C has no key, and is a fact of the pre-tokenizer. */
static bool loses_nfc(const struct vocab *vocab)
{
    return !is_pieces(vocab) && vocab_nfc(vocab) != VOCAB_FLAG_ABSENT &&
           (vocab_nfc(vocab) == VOCAB_FLAG_ON) != text_view_is(vocab_pre(vocab), "qwen2");
}

/* What of the vocabulary has no key; NULL where there is nothing. */
static const char *what_is_lost(const struct vocab *vocab)
{
    const struct vocab_special special = vocab_special(vocab);
    int32_t ends[ENDS];
    int steps;
    (void)vocab_steps(vocab, &steps);
    if (!find_ends(ends, &special))
        return "more than three tokens that end an answer";
    if (loses_nfc(vocab))
        return "such an NFC with this pre-tokenizer";
    if (is_pieces(vocab) ? !vocab_scores(vocab) : steps > 0)
        return is_pieces(vocab) ? "merges in place of scores" : "such a normalizer";
    if (!is_pieces(vocab) && vocab_scores(vocab))
        return "ranks in place of merges";
    if (!is_pieces(vocab) && vocab_ignore_merges(vocab) != VOCAB_FLAG_ABSENT &&
        (vocab_ignore_merges(vocab) == VOCAB_FLAG_ON) !=
            tokenizer_pipeline_ignores_merges(vocab_pre(vocab)))
        return "such an ignore_merges with this pre-tokenizer";
    for (int32_t id = 0; id < vocab_count(vocab); id++)
        if (vocab_token(vocab, id).match & (VOCAB_LSTRIP | VOCAB_RSTRIP | VOCAB_SINGLE_WORD))
            return "added tokens with lstrip, rstrip or single_word";
    return NULL;
}

enum status output_gguf_vocab_check(const struct vocab *vocab, const char *name)
{
    const char *lost = what_is_lost(vocab);
    return lost ? fail(STATUS_UNIMPLEMENTED,
                       "%s: a tokenizer with %s is not written as GGUF; write a folder", name, lost)
                : STATUS_OK;
}

static void put_scores(struct gguf_pairs *pairs, const struct vocab *vocab)
{
    const float *scores = vocab_scores(vocab);
    gguf_pairs_array(pairs, "tokenizer.ggml.scores", GGUF_F32, (uint64_t)vocab_count(vocab));
    for (int32_t id = 0; id < vocab_count(vocab); id++) {
        uint32_t bits;
        memcpy(&bits, &scores[id], sizeof bits);
        gguf_pairs_put_u32(pairs, bits);
    }
}

static void put_tokens(struct gguf_pairs *pairs, const struct vocab *vocab)
{
    const uint64_t count = (uint64_t)vocab_count(vocab);
    gguf_pairs_array(pairs, "tokenizer.ggml.tokens", GGUF_STRING, count);
    for (int32_t id = 0; id < vocab_count(vocab); id++) {
        const struct vocab_token token = vocab_token(vocab, id);
        char filler[32];
        snprintf(filler, sizeof filler, "[PAD%d]", id);
        gguf_pairs_put_string(pairs, token.type == VOCAB_UNUSED
                                         ? text_view_of(filler)
                                         : (struct text_view){token.text, token.bytes});
    }
    gguf_pairs_array(pairs, "tokenizer.ggml.token_type", GGUF_I32, count);
    for (int32_t id = 0; id < vocab_count(vocab); id++)
        gguf_pairs_put_u32(pairs, vocab_token(vocab, id).type);
    if (is_pieces(vocab)) {
        put_scores(pairs, vocab);
        return;
    }
    gguf_pairs_array(pairs, "tokenizer.ggml.merges", GGUF_STRING,
                     (uint64_t)vocab_merge_count(vocab));
    for (int32_t priority = 0; priority < vocab_merge_count(vocab); priority++) {
        const struct vocab_merge merge = vocab_merge(vocab, priority);
        gguf_pairs_put_u64(pairs, merge.left_bytes + 1 + merge.right_bytes);
        gguf_pairs_put_bytes(pairs, merge.left, merge.left_bytes);
        gguf_pairs_put_bytes(pairs, " ", 1);
        gguf_pairs_put_bytes(pairs, merge.right, merge.right_bytes);
    }
}

static void put_special(struct gguf_pairs *pairs, const struct vocab *vocab)
{
    const struct vocab_special special = vocab_special(vocab);
    int32_t ends[ENDS];
    (void)find_ends(ends, &special); /* output_gguf_vocab_check has refused more */
    const struct {
        const char *key;
        int32_t id;
    } ids[] = {
        {"tokenizer.ggml.bos_token_id", special.bos},
        {"tokenizer.ggml.eos_token_id", ends[0]},
        {"tokenizer.ggml.eot_token_id", ends[1]},
        {"tokenizer.ggml.eom_token_id", ends[2]},
        {"tokenizer.ggml.unknown_token_id", special.unknown},
        {"tokenizer.ggml.padding_token_id", special.padding},
    };
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++)
        if (ids[i].id >= 0)
            gguf_pairs_u32(pairs, ids[i].key, (uint32_t)ids[i].id);
    if (vocab_add_bos(vocab) != VOCAB_FLAG_ABSENT)
        gguf_pairs_bool(pairs, "tokenizer.ggml.add_bos_token",
                        vocab_add_bos(vocab) == VOCAB_FLAG_ON);
    if (vocab_chat_template(vocab).bytes > 0)
        gguf_pairs_text(pairs, "tokenizer.chat_template", vocab_chat_template(vocab));
}

void output_gguf_vocab_put(struct gguf_pairs *pairs, const struct vocab *vocab)
{
    gguf_pairs_text(pairs, "tokenizer.ggml.model", vocab_kind(vocab));
    gguf_pairs_text(pairs, "tokenizer.ggml.pre",
                    is_pieces(vocab) ? text_view_of("default") : vocab_pre(vocab));
    if (is_pieces(vocab))
        gguf_pairs_bool(pairs, "tokenizer.ggml.add_space_prefix",
                        vocab_add_space_prefix(vocab) == VOCAB_FLAG_ON);
    put_tokens(pairs, vocab);
    put_special(pairs, vocab);
}
