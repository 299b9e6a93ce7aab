/* One request's run on a group in which it has a place: the command out, the news back. Used by one
 * thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator/group_blocks.h"
#include "coordinator/group_trace.h"
#include "longhaul/control/v1/control.pb-c.h"
#include "proto/cache_file/cache_block.h"
#include "proto/sampling.h"
#include "proto/status.h"

struct group;
struct group_run;
struct workers_place;

/* A token's natural log-probability, and the likeliest tokens in its place. */
struct group_logprobs {
    float chosen;
    int32_t ids[SAMPLING_LIKELIEST_MAX]; /* as many as the command asks for */
    float likeliest[SAMPLING_LIKELIEST_MAX];
};

/* What has come since the last look; the arrays live until group_run_end. */
struct group_news {
    const int32_t *ids; /* [id_count], new ones */
    size_t id_count;
    const struct group_logprobs *logprobs; /* [id_count]; NULL unless asked for */
    /* [score_count], new ones, in order, of the tokens from score_first + 1 on */
    const float *scores;
    int64_t score_first;
    int64_t score_count;
    int64_t tokens_done; /* of the prompt */
    int64_t tokens_total;
    bool ended; /* every rank is done, or the group is lost, and all that came was told */
};

/* What a rank said at the end. */
struct group_report {
    bool done;
    Longhaul__Control__V1__RankReport report; /* no pointers in it */
};

/* How it ended, valid when `ended` was told. */
struct group_outcome {
    enum status status; /* the first that is not OK, by rank */
    const char *message;
    int64_t completion_tokens;
    int64_t cached_tokens, prefilled_tokens;
    int64_t resident_slots; /* of a run that stays: of the pool of the rank that holds most */
    int64_t drafted_tokens, accepted_tokens;
    double prefill_seconds;
    double decode_seconds;
    bool stopped;                       /* by a stop id */
    bool not_finite;                    /* INTERNAL: the request's numbers are not finite */
    const struct group_trace *traces;   /* [report_count]; NULL unless the command asks for them */
    const struct group_report *reports; /* [report_count] */
    int report_count;
};

/* Numbers the command and sends it to every rank. Takes the place: it is released once every rank
 * is done, at group_run_end at the latest. On failure it is released. */
MUST_CHECK enum status group_run_begin(struct group_run **run, const struct workers_place *place,
                                       const Longhaul__Control__V1__Run *command);

/* Waits for news at most `timeout_ms`; never fails. */
void group_run_wait(struct group_run *run, struct group_news *news, int64_t timeout_ms);

void group_run_outcome(struct group_run *run, struct group_outcome *outcome);

/* Of a run that saves: the next block, which `free` ends; NULL where none came within `timeout_ms`,
 * or all have come (group_run_is_done). */
struct group_block *group_run_next_block(struct group_run *run, int64_t timeout_ms);

/* Of a run that restores: sends the rank a block, where it has room for one within `timeout_ms` and
 * the run has not ended; *sent is false otherwise. */
MUST_CHECK enum status group_run_send_block(struct group_run *run, bool *sent, int rank,
                                            const struct cache_stored *stored, int64_t timeout_ms);

/* Asks every rank to stop; the first call counts. */
void group_run_cancel(struct group_run *run, const char *reason);

/* Whether every rank is done with it, or its group is lost. */
bool group_run_is_over(struct group_run *run);

/* Whether every rank is done, and so its place free for others. */
bool group_run_is_done(struct group_run *run);

/* What ranks name it by, and a run that goes on from it. */
uint64_t group_run_number(const struct group_run *run);

const char *group_run_id(const struct group_run *run);

/* Cancels what still runs, waits until all ranks are done with it or the group is lost, releases
 * the place. NULL is accepted. */
void group_run_end(struct group_run *run);

/* Wakes whoever waits for news of a run of the group. Under the groups' lock. */
void group_run_wake_all(struct group *group);

/* Hands a message of a rank to the runs that it belongs to; true when one of them is over and its
 * place in the group is free. Under the groups' lock. */
bool group_run_take(struct group *group, int rank,
                    const Longhaul__Control__V1__WorkerMessage *message);
