/* Ids of a text as SentencePiece's BPE makes them: characters that grow together, without words,
 * and the bytes of a character that is no token.
 *
 * Source: T. Kudo, J. Richardson, "SentencePiece: A simple and language independent subword
 * tokenizer and detokenizer for Neural Text Processing" (2018).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "coordinator/text/bpe.h"
#include "coordinator/text/id_list.h"
#include "coordinator/text/merge_list.h"
#include "coordinator/text/token_table.h"
#include "proto/model/vocab.h"
#include "proto/status.h"

struct pieces;

/* Working memory, of one thread; starts as {0}. */
struct pieces_scratch {
    struct bpe_scratch bpe;
    struct id_list symbols;
    struct id_list merged;
};

/* Copies what it needs. `table` still has its spellings. UNIMPLEMENTED where a byte has no
 * token. */
MUST_CHECK enum status pieces_create(struct pieces **created, const struct token_table *table,
                                     const struct vocab *vocab, const struct merge_list *merges);

/* Accepts NULL. */
void pieces_destroy(struct pieces *pieces);

/* Appends the ids of UTF-8. OUT_OF_RANGE where more than `word_bytes_max` bytes hang together. On
 * failure ids may have grown. */
MUST_CHECK enum status pieces_encode(const struct pieces *pieces, struct pieces_scratch *scratch,
                                     struct id_list *ids, const char *text, size_t bytes,
                                     size_t word_bytes_max);

void pieces_scratch_deinit(struct pieces_scratch *scratch);
