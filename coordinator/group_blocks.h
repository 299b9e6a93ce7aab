/* The blocks of keys of one run that saves a session or restores one, on their way between its
 * ranks and a client (control.proto, RunBlock). No lock: group_run.c has one.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "longhaul/control/v1/control.pb-c.h"
#include "proto/status.h"

/* As a rank sent it, stored. free ends it. */
struct group_block {
    struct group_block *next;
    int rank;
    int64_t number;
    uint64_t digest;
    size_t count;
    uint8_t bytes[]; /* [count] */
};

/* All zero, there are none, and no rank may send or be sent any. */
struct group_blocks {
    struct group_block *first, **end;
    struct group_blocks_rank {
        int64_t here;   /* that it sent and nobody has taken */
        int64_t untold; /* of those that were taken, what it does not know of */
        int64_t ahead;  /* that it was sent and has not taken */
    } * ranks;          /* [size] */
};

MUST_CHECK enum status group_blocks_init(struct group_blocks *blocks, int size);
void group_blocks_deinit(struct group_blocks *blocks);

/* Keeps a block that has come; false where the rank may not send one more, or there is no memory
 * for it. */
bool group_blocks_add(struct group_blocks *blocks, int rank,
                      const Longhaul__Control__V1__RunBlock *message);

/* The first that is there, which is the caller's from now on, and how many its rank is to be told
 * that were taken: 0 as long as it has enough. NULL: none is there. */
struct group_block *group_blocks_pop(struct group_blocks *blocks, int64_t *taken);

/* Whether the rank may be sent one more; it counts as sent. */
bool group_blocks_reserve(struct group_blocks *blocks, int rank);

/* The rank has taken so many more. */
void group_blocks_taken(struct group_blocks *blocks, int rank, int64_t count);
