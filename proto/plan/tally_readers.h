/* Which ranks take part in a stage, and what of a block each of them reads, for counting (tally.h):
 * blocks that all rows after them see whole, which under a causal mask are nearly all, are counted
 * once for all their readers. */
#pragma once

#include "kernels/regimes.h"
#include "proto/plan/partition.h"
#include "proto/plan/schedule.h"
#include "proto/status.h"

struct tally_reader {
    struct span *queries; /* [query_count], its own rows of the stage, ascending */
    int query_count, query_capacity;
    int last_span;  /* its last one among the owned spans of the stage; -1: it has none */
    int64_t looked; /* at its part in a block, the last time */
};

/* What went whole to the ranks whose last owned span is this one or a later one. */
struct tally_arrivals {
    int64_t tokens;
    int blocks;
};

struct tally_readers {
    int workers;
    struct tally_reader *list;       /* [workers] */
    struct owned_span *spans;        /* [span_count], the stage's, ascending */
    struct tally_arrivals *arrivals; /* [span_count] */
    int *last_from;                  /* [span_count + 1] ranks whose last span is not before it */
    int span_count, span_capacity;
    int64_t looked;
};

/* What blocks are read by. */
struct tally_sight {
    const struct regimes *regimes;
    int64_t reach;
    int panel_tokens;
    bool ring;
};

MUST_CHECK enum status tally_readers_init(struct tally_readers *readers, int workers);
void tally_readers_deinit(struct tally_readers *readers);

/* The rows of `stage`, which `ownership` was dealt last. */
MUST_CHECK enum status tally_readers_begin(struct tally_readers *readers,
                                           const struct ownership *ownership, struct span stage);

/* Adds a block's way to its readers to the sums of `schedule`; of what went to many of them only
 * tally_readers_end says it. */
void tally_readers_count(struct tally_readers *readers, struct schedule *schedule,
                         const struct tally_sight *sight, struct owned_span block);
void tally_readers_end(const struct tally_readers *readers, struct schedule *schedule, bool ring);

/* The last reader of an owner's blocks that all ranks with rows read, on their way around: the
 * nearest one before it. -1: none. */
int tally_readers_before(const struct tally_readers *readers, int owner);

/* Whether every query of `queries` sees every key. */
bool tally_readers_see_all(const struct regimes *regimes, struct span queries, struct span keys);
