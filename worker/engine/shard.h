/* One rank's rows in one stage with sharded queries, of one sequence or of several short prompts:
 * how rows, indices and work items relate.
 *
 * Row r of a rank's activations is one token. Rows follow the schedule's queries: recomputed sink
 * rows first, then owned ones, each group ascending. Work comes in blocks of rows (everything but
 * attention) and in tiles of queries (attention), each of one sequence. Blocks are done in the
 * order in which peers want their keys, so that delivery hides behind the blocks still to do.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "proto/plan/schedule.h"
#include "proto/status.h"

struct shard_block {
    int64_t row;
    int64_t rows;
    int64_t index;   /* of the first row; the block is contiguous */
    bool recomputed; /* sink rows that another rank owns */
    int member;      /* whose: which of the stage's sequences */
};

struct shard_tile {
    int64_t row;
    int64_t tokens;
    int64_t index;
    int query; /* which of the schedules' query spans, counted through the sequences */
    int member;
};

struct shard_rows {
    int64_t rows;
    int members;
    int queries; /* spans of all schedules */
    int block_count;
    struct shard_block *blocks; /* by row */
    int *sequence;              /* [block_count]: which block to do n-th */
    atomic_bool *done;          /* [block_count], by row; set by the device, layer by layer */
    int tile_count;
    struct shard_tile *tiles; /* by row */
    int block_capacity;
    int tile_capacity;
};

/* Starts zeroed. */
void shard_rows_clear(struct shard_rows *shard);

/* Adds one more sequence's rows, behind those that are there. `rows` <= block_rows in a block,
 * `tile_tokens` in a tile. Allocates only when the lists outgrow their arrays. */
MUST_CHECK enum status shard_rows_add(struct shard_rows *shard,
                                      const struct schedule_rank *schedule, int64_t block_rows,
                                      int64_t tile_tokens);
void shard_rows_deinit(struct shard_rows *shard);

/* Before each layer. */
void shard_rows_restart(struct shard_rows *shard);

/* Whether the blocks of all owned rows with an index in `keys` are done in this layer. */
bool shard_rows_ready(const struct shard_rows *shard, struct span keys);

/* The owned row of `index`; -1 if this rank does not own it in this stage. */
int64_t shard_rows_find(const struct shard_rows *shard, int64_t index);
