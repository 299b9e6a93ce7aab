/* Byte-pair merges over one word. Knows ids and priorities, no text but bytes. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "coordinator/text/id_list.h"
#include "proto/status.h"

struct bpe;

/* `left` followed by `right` becomes `result`. Symbols are ids, or what else the caller tells apart
 * by numbers above INT32_MIN. Of a priority the smallest merges first; those that share one are
 * consecutive in the list, and the priority is the place of the first of them. */
struct bpe_merge {
    int32_t left;
    int32_t right;
    int32_t result;
    int32_t priority;
};

/* One thread's working memory: {0} to begin with, grows to the longest word. */
struct bpe_scratch {
    struct bpe_symbol *symbols;
    size_t symbols_capacity;
    uint64_t *heap;
    size_t heap_count;
    size_t heap_capacity;
};

/* Copies. `byte_ids` [256]: the id a byte starts as, -1 where it has none; NULL where bpe_encode is
 * not to be called. Of two merges of the same pair the later one counts. */
MUST_CHECK enum status bpe_create(struct bpe **bpe, const struct bpe_merge *merges, size_t count,
                                  const int32_t *byte_ids);

/* Accepts NULL. */
void bpe_destroy(struct bpe *bpe);

/* Appends the ids of one word; a byte without id is left out before merging. O(n log n). On failure
 * ids may have grown. `bytes` must be below 2^31. */
MUST_CHECK enum status bpe_encode(const struct bpe *bpe, struct bpe_scratch *scratch,
                                  struct id_list *ids, const char *word, size_t bytes);

/* The same of symbols [count], below 2^31: appends what is left of them. */
MUST_CHECK enum status bpe_encode_symbols(const struct bpe *bpe, struct bpe_scratch *scratch,
                                          struct id_list *ids, const int32_t *symbols,
                                          size_t count);

void bpe_scratch_deinit(struct bpe_scratch *scratch);
