/* The merges of a vocabulary by ids: those that it lists, or those that its scores allow. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "coordinator/text/bpe.h"
#include "coordinator/text/token_table.h"
#include "proto/model/vocab.h"
#include "proto/status.h"

/* In scores, longer tokens are refused: their parts are looked for at every character. */
enum {
    MERGE_LIST_TOKEN_BYTES_MAX = 1024,
    /* Of all tokens, the squares of their bytes, which bound how long that takes; a vocabulary of
     * 250,048 pieces has 35 million. */
    MERGE_LIST_SQUARES_MAX = 1 << 30,
};

/* The caller owns the struct, the list owns `merges`. {0} is empty. */
struct merge_list {
    struct bpe_merge *merges; /* [count], by priority */
    size_t count;
    size_t capacity;
};

void merge_list_deinit(struct merge_list *list);

/* A character that is no token is the symbol ~character: negative. `table` still has its spellings.
 * DATA_LOSS where a merge makes a control token or lacks one of its three tokens, or tokens are too
 * long for their scores, UNIMPLEMENTED where it makes an unused one. */
MUST_CHECK enum status merge_list_make(struct merge_list *list, const struct token_table *table,
                                       const struct vocab *vocab);

/* A byte or a merge that made a control token would let any text forge a turn. */
MUST_CHECK enum status merge_list_check_plain(const struct token_table *table, int32_t id,
                                              const char *what);
