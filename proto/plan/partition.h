/* Which rank owns which token, as the sequence grows stage by stage.
 *
 * Ownership is dealt in panels of `panel_tokens` tokens aligned to the index: a panel has one
 * owner. A stage that starts inside a panel continues with that panel's owner.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kernels/bands.h"
#include "proto/status.h"

enum partition_kind {
    PARTITION_CONTIGUOUS, /* rank r gets the r-th of N parts of a stage's panels */
    PARTITION_ZIGZAG,     /* rank r gets parts r and 2N-1-r of 2N: under a causal mask, work as its
                           * share of the panels */
    PARTITION_ROUND_ROBIN /* panel p belongs to rank p mod N: decode and replicated stages */
};

enum { PARTITION_WEIGHTS_MAX = 4096 };

/* How much of a sharded stage each rank gets: its part of the parts of all. `count` 0, or parts
 * that are all the same: evenly. */
struct partition_weights {
    int count;                            /* 0, or the workers */
    uint8_t parts[PARTITION_WEIGHTS_MAX]; /* [count], from 1 on */
};

/* Whether these share out unevenly. */
bool partition_weights_differ(const struct partition_weights *weights);

/* Rank's part over the largest one; 1 where all get the same. */
double partition_weights_share(const struct partition_weights *weights, int rank);

/* Tokens with one owner. */
struct owned_span {
    struct span span;
    int owner;
};

struct ownership;

MUST_CHECK enum status ownership_create(struct ownership **ownership, int workers,
                                        int panel_tokens);
void ownership_destroy(struct ownership *ownership);

/* The same of its first `tokens` tokens. What is dealt to the fork from its last whole panel on is
 * in owned spans of its own, since it lies elsewhere. */
MUST_CHECK enum status ownership_fork(struct ownership **fork, const struct ownership *from,
                                      int64_t tokens);

/* Forgets every token; keeps its memory. */
void ownership_clear(struct ownership *ownership);

/* Appends the next `tokens` tokens, dealt by `kind`. A rank gets its share of the panels by
 * `weights`, to less than one panel; NULL: the same as the others. PARTITION_ROUND_ROBIN knows no
 * weights. */
MUST_CHECK enum status ownership_advance(struct ownership *ownership, int64_t tokens,
                                         enum partition_kind kind,
                                         const struct partition_weights *weights);

/* Gives every token dealt so far to one rank. */
MUST_CHECK enum status ownership_give(struct ownership *ownership, int owner);

/* Forgets the tokens from index `tokens` on, the last ones dealt. */
void ownership_retreat(struct ownership *ownership, int64_t tokens);

/* For tests: appends owned spans given by hand: ascending, without gaps, from ownership_tokens on,
 * cut at panels only. */
MUST_CHECK enum status ownership_deal(struct ownership *ownership, const struct owned_span *spans,
                                      int count);

int ownership_workers(const struct ownership *ownership);
int ownership_panel_tokens(const struct ownership *ownership);

/* Tokens dealt so far; also the index of the next one. */
int64_t ownership_tokens(const struct ownership *ownership);

/* The owner of a token already dealt. */
int ownership_owner(const struct ownership *ownership, int64_t index);

/* Iterates over the owned spans of [*index, end): sets *owned (cut to that range), moves *index to
 * its end; false when done. int64_t index = span.first; while (ownership_next(ownership, &index,
 * span.end, &owned)) ... */
bool ownership_next(const struct ownership *ownership, int64_t *index, int64_t end,
                    struct owned_span *owned);

/* For tests, which check sums by it: how many of the tokens in `within` rank owns. */
int64_t ownership_count(const struct ownership *ownership, int rank, struct span within);

/* For tests: how many panels these touch. */
int64_t ownership_panels(const struct ownership *ownership, int rank, struct span within);

/* The first index whose panel is still needed when the next query is `next`: a panel wholly `reach`
 * or further behind is dead (bands_reach). Always the start of a panel. Rank r's live spans are its
 * owned spans from here on. */
int64_t ownership_live_first(const struct ownership *ownership, int64_t next, int64_t reach);

/* The same by the tokens of a panel, whoever owns them. */
int64_t partition_live_first(int panel_tokens, int64_t next, int64_t reach);

/* Rank's share of `rows` rows of a split product, in whole groups of `align` rows. */
struct span partition_rows(int64_t rows, int64_t align, int workers, int rank);
