/* How fast the workers of a group are beside each other, and what follows: the weights of their
 * shards, and who was slower than planned. Pure. */
#pragma once

#include "proto/plan/partition.h"
#include "proto/status.h"

/* What one prompt showed of each worker. */
struct worker_speeds_run {
    const double *flops;   /* [count] that were planned */
    const double *seconds; /* [count] of its arithmetic; 0: not measured */
    int count;
    int places; /* ranks that each worker of the weights is made of, one after another; 0: 1 */
};

enum { WORKER_SPEEDS_PROMPTS = 4 };

/* FLOP/s of a worker in its last prompts, the last one first; 0: not known. */
struct worker_speed {
    double shown[WORKER_SPEEDS_PROMPTS];
};

/* From here on a worker is slow: it is named, and gets less. */
#define WORKER_SPEEDS_SLOW 1.3

/* A prompt that took all of them less than WORKER_SPEEDS_MEASURED_S seconds says nothing: what else
 * the hosts did weighs too much in it. */
#define WORKER_SPEEDS_MEASURED_S 2
void worker_speeds_note(struct worker_speed *speeds, const struct worker_speeds_run *run);

/* Weights by the best of a worker's last prompts, the fastest one's 16; none while the slowest is
 * not WORKER_SPEEDS_SLOW times as slow, or where one is not known. `weights` has those in use,
 * which stay unless a worker's changes by two or more: prompts that are shared out alike can share
 * their beginnings, so one worker must have been slow in all of them before that is given up. */
void worker_speeds_weigh(struct partition_weights *weights, const struct worker_speed *speeds,
                         int count);

/* How many times as long a worker took as the middle one of the others, for what it was given by
 * `weights`; [count], 0 where that was not measured, or not for long enough. */
void worker_speeds_slowness(double *slowness, const struct worker_speeds_run *run,
                            const struct partition_weights *weights);

/* "auto" (`weights` are those in use), "even", or "2,1,1": a part for each of `workers`; 0: however
 * many there will be. */
MUST_CHECK enum status worker_speeds_read(struct partition_weights *weights, const char *text,
                                          int workers);
