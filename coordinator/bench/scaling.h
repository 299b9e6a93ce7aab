/* What repeated runs over different numbers of workers say of how a prompt scales. Pure.
 *
 *   efficiency of a row = (flops / seconds / cores) of it over that of its method's first row
 *
 * with the operations that were planned and the median of the seconds: so the same cores shared out
 * over more workers ideally give 1, and so do twice the cores in half the time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator/bench/samples.h"
#include "proto/status.h"

enum { SCALING_HOST_BYTES = 65 };

/* What one rank says of a run. */
struct scaling_rank {
    char host[SCALING_HOST_BYTES]; /* as it calls itself */
    int threads;                   /* that compute */
    int host_cores;                /* of its host */
    int64_t sent_bytes, predicted_sent_bytes;
    double cpu_seconds, wait_seconds;
    int64_t voluntary_switches, involuntary_switches;
    double host_cpu_seconds; /* of all on its host; 0: not known */
};

/* A prompt read once. */
struct scaling_run {
    double seconds, predicted_seconds, flops;
    const struct scaling_rank *ranks; /* [workers] */
};

/* A twentieth of the cores: what others take beyond that may cost an efficiency of 0.95. */
#define SCALING_BUSY_SHARE 0.05

/* A method on so many workers. The caller sets the first five. */
struct scaling_row {
    const char *method;
    int nodes; /* hosts that it was to use; 0: those that there were */
    int workers;
    int64_t prompt_tokens;
    bool weak; /* prompt_tokens grow with the workers */

    /* From the runs. */
    int cores;    /* of all hosts, those beyond the threads left out */
    int threads;  /* of all ranks */
    bool shared;  /* a host has fewer cores than the threads that compute there */
    bool differs; /* runs had other cores, operations or bytes: these are the last one's */
    double flops, predicted_seconds;
    int64_t sent_bytes, predicted_sent_bytes; /* of all ranks */
    int64_t most_sent_bytes;                  /* of the rank that sent most */
    struct samples seconds;                   /* one a run */
    struct samples waits;       /* one a run: share of the time that ranks waited for others */
    struct samples other_cores; /* one a run where it is known: that the hosts used for else */
    struct scaling_rank *ranks; /* [workers]: sums over the runs, owned */

    /* From all rows of its method (scaling_compare). */
    double efficiency;           /* of medians */
    struct samples efficiencies; /* one a run, over the first row's run of the same repetition */
};

/* Takes a run in. INTERNAL for one that took no time; RESOURCE_EXHAUSTED. */
MUST_CHECK enum status scaling_row_add(struct scaling_row *row, const struct scaling_run *run);

/* Fills in the efficiencies, each row against the first of its method. All rows have runs. */
MUST_CHECK enum status scaling_compare(struct scaling_row *rows, size_t count);

void scaling_row_deinit(struct scaling_row *row);

/* Of the median. */
double scaling_seconds(struct scaling_row *row);
double scaling_tokens_per_second(struct scaling_row *row);

/* Seconds of a row of efficiency 1. */
double scaling_ideal_seconds(const struct scaling_row *row, struct scaling_row *first);

/* Bytes a second that the rank which sent most gave to its link, on average over the run: what a
 * link has to carry, not what it could. */
double scaling_bus_rate(struct scaling_row *row);

/* Whether others used the hosts: more than SCALING_BUSY_SHARE of the cores in the median run.
 * `*known` is false where the runs were too short for what the kernel counts, or it counts nothing.
 */
bool scaling_busy(struct scaling_row *row, bool *known);
