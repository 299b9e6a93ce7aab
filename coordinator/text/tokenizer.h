/* Text to token ids and back, from the vocabulary in a model file: byte-level BPE ("gpt2") with one
 * of the pre-tokenizers that coordinator/text/pretokenizer_rows.h names, or SentencePiece's BPE
 * over characters ("llama").
 *
 * A tokenizer does not change after it was created: any number of threads may use one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator/text/id_list.h"
#include "proto/status.h"

struct tokenizer;
struct vocab;

/* A text of 256 MiB, of which one run without a break (a word) may take 16 MiB. */
enum { TOKENIZER_TEXT_BYTES_MAX = 256 << 20, TOKENIZER_WORD_BYTES_MAX = 16 << 20 };

/* What a tokenizer's steps may make of a text. */
enum { TOKENIZER_STEPPED_BYTES_MAX = 1 << 30 };

enum tokenizer_flag {
    /* A control token written out in the text ("<|im_start|>") becomes that token: score, tokenize,
     * --raw. Without it the same characters are plain text: chat content, so that a document cannot
     * forge a turn. So are those of a user-defined token that is written like one (turn_mark.h). */
    TOKENIZER_CONTROL = 1,
    /* The list starts with BOS where the file asks for one. */
    TOKENIZER_BOS = 2,
    /* The text goes on behind a control token: what the vocabulary puts before the first text of a
     * prompt alone is left out. */
    TOKENIZER_CONTINUES = 4,
};

/* Copies what it needs of `vocab`. Another tokenizer model or pre-tokenizer is UNIMPLEMENTED, by
 * name; a vocabulary that contradicts itself is DATA_LOSS. */
MUST_CHECK enum status tokenizer_create(struct tokenizer **tokenizer, const struct vocab *vocab);

/* Accepts NULL. */
void tokenizer_destroy(struct tokenizer *tokenizer);

/* Appends the ids of `text` to `ids`; `flags` is of enum tokenizer_flag. Text need not end in 0 and
 * may hold NUL. INVALID_ARGUMENT with the byte offset where it is no UTF-8, OUT_OF_RANGE past the
 * limits above. On failure the list is as it was. As PyPI `tokenizers` does, a byte
 * that the vocabulary has no token for is left out. */
MUST_CHECK enum status tokenizer_encode(const struct tokenizer *tokenizer, struct id_list *ids,
                                        const char *text, size_t bytes, unsigned flags);

int32_t tokenizer_count(const struct tokenizer *tokenizer);

/* The bytes of the longest token: a text of more than n times as many has more than n tokens. 0
 * where that does not follow, because the vocabulary leaves some bytes out. */
size_t tokenizer_token_bytes_max(const struct tokenizer *tokenizer);

/* The bytes that `id` stands for, which need not be whole characters; a control token as it is
 * written. A view that lives as long as the tokenizer. `id` within 0 .. tokenizer_count - 1. */
const char *tokenizer_token(const struct tokenizer *tokenizer, int32_t id, size_t *bytes);

/* Control tokens are not printed. False for an id outside the vocabulary. */
bool tokenizer_is_control(const struct tokenizer *tokenizer, int32_t id);

/* The id of the control token that is written `text`, or of the user-defined one that is written
 * like a turn's; -1 where there is none. */
int32_t tokenizer_control_id(const struct tokenizer *tokenizer, const char *text);

/* Whether a whole text that is made of ids loses one space at its beginning. */
bool tokenizer_strips_space(const struct tokenizer *tokenizer);

/* The first place in text[from, bytes) where such a token is written: its id and length. Returns
 * `bytes` where there is none. */
size_t tokenizer_find_control(const struct tokenizer *tokenizer, int32_t *id, size_t *length,
                              const char *text, size_t from, size_t bytes);

/* -1 where the file has none. */
int32_t tokenizer_bos(const struct tokenizer *tokenizer);

/* The ids that end an answer, each once: those that the model names (eos, eot, eom), and the
 * control tokens that are written <|im_end|>, <|eot_id|>, <|eom_id|> and <|end_of_text|>. */
const int32_t *tokenizer_stop_ids(const struct tokenizer *tokenizer, size_t *count);
