/* For one stage: which blocks travel from whom to whom, and what each rank attends to, in which
 * order.
 *
 * Sharded queries: the same schedule runs in every layer. A rank attends by its reads in order,
 * each read when its keys are there. It receives `receives` in order through `receive_slots` slots;
 * a slot is free again once its read is attended and every send that forwards it is done. Sends to
 * one peer and that peer's receives from this rank are the same list in the same order. Every key
 * that travels lies in a full panel.
 *
 * Replicated queries: every rank has all rows and attends to its own keys only (rank 0 also to the
 * far sinks); ranks' states are gathered once a layer. No blocks travel.
 *
 * Sinks, where some query of the context sees them beyond the window: every rank computes the rows
 * [0, sinks) of every layer, the ones it does not own as recomputed queries, and keeps their keys
 * in all key frames, those of SINKS and those of SINKS_NEAR. Recomputed rows attend to these two
 * only, owned rows to SINKS and to ordinary panels.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kernels/bands.h"
#include "proto/plan/choice.h"
#include "proto/plan/partition.h"
#include "proto/status.h"

enum schedule_source {
    SCHEDULE_SINKS,      /* the rank's sink keys, in the key frames kept for sinks only */
    SCHEDULE_SINKS_NEAR, /* the rank's sink keys, in those kept for all; for recomputed rows */
    SCHEDULE_LOCAL,      /* the rank's own cache */
    SCHEDULE_RECEIVED,   /* receives[receive] */
};

struct schedule_receive {
    struct span keys;
    int from;
};

struct schedule_send {
    struct span keys;
    int to;
    int receive; /* forwards this rank's receives[receive]; -1: from its own cache */
};

struct schedule_read {
    struct span keys;
    enum schedule_source source;
    int receive;                /* of SCHEDULE_RECEIVED; otherwise -1 */
    int query_first, query_end; /* the range of `queries` that it applies to */
};

struct schedule_rank {
    struct span *queries; /* recomputed sink rows first, then owned rows; each group ascending */
    int query_count;
    int recomputed_count; /* how many of `queries` are recomputed */
    struct schedule_receive *receives;
    int receive_count;
    struct schedule_send *sends;
    int send_count;
    struct schedule_read *reads;
    int read_count;
    int64_t rows;           /* tokens in `queries` */
    int64_t pairs;          /* visible pairs it computes, per head and layer */
    int64_t edges;          /* of what these rows see (tiles_edges), alike; 0 of replicated ones */
    int64_t receive_tokens; /* tokens of keys and values received, per layer */
    int64_t send_tokens;
    int capacity[4]; /* of the four arrays, private */
};

struct schedule {
    struct span stage;
    bool replicated;
    int workers;
    struct schedule_rank *ranks;
};

/* Sets *schedule up empty; schedule_make fills it, any number of times, and schedule_deinit frees
 * it. */
MUST_CHECK enum status schedule_init(struct schedule *schedule, int workers);
void schedule_deinit(struct schedule *schedule);

/* The schedule of `stage`, whose tokens are the last that `ownership` has dealt. */
MUST_CHECK enum status schedule_make(struct schedule *schedule, const struct choice *choice,
                                     const struct bands *bands, const struct ownership *ownership,
                                     struct span stage);

/* Only rank's part of a stage with replicated queries: what decode asks for at each token.
 * Allocates nothing unless the lists outgrow their arrays. `rank_schedule` starts zeroed. */
MUST_CHECK enum status schedule_make_replicated(struct schedule_rank *rank_schedule,
                                                const struct choice *choice,
                                                const struct bands *bands,
                                                const struct ownership *ownership,
                                                struct span stage, int rank);
void schedule_rank_deinit(struct schedule_rank *rank_schedule);

/* Whether every rank keeps the sinks: some query of the context sees one beyond the window. */
bool schedule_keeps_sinks(const struct choice *choice, const struct bands *bands);
