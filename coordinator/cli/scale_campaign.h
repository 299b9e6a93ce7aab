/* The runs of `longhaul scale`: a coordinator with its workers for each number of them, one at a
 * time, and each repetition over all of them, so that what the machine does meanwhile meets all
 * alike. Odd repetitions go backwards, so that a steady drift meets all alike too. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "coordinator/bench/scaling.h"
#include "coordinator/cli/scale_settings.h"
#include "proto/config.h"
#include "proto/status.h"

enum { SCALE_CAMPAIGN_KERNELS_BYTES = 32 };

/* Workers that a coordinator is started with. */
struct scale_group {
    int nodes; /* 0: not told */
    int workers;
    char *hosts; /* as --hosts has them, owned; NULL: not told */
    char *text;  /* its prompt, owned; NULL: not made yet */
};

struct scale_campaign {
    const struct scale_settings *settings;
    struct config *config; /* its own: its number of workers is set for each group */
    FILE *runs;            /* gets each run as a line of JSON, as it ends */
    int64_t run_count;
    struct scale_group *groups; /* [group_count] */
    size_t group_count;
    struct scaling_row *rows; /* [row_count]: the groups of one method, then those of the next */
    size_t row_count;
    char kernels[SCALE_CAMPAIGN_KERNELS_BYTES]; /* that answered */
};

/* `settings` is borrowed, `config` is copied. FAILED_PRECONDITION for --nodes without hosts. */
MUST_CHECK enum status scale_campaign_init(struct scale_campaign *campaign,
                                           const struct scale_settings *settings,
                                           const struct config *config);

/* Measures all of it. CANCELLED after an interrupt. */
MUST_CHECK enum status scale_campaign_run(struct scale_campaign *campaign, FILE *runs);

void scale_campaign_deinit(struct scale_campaign *campaign);
