/* A symbolic cluster: carries out the schedules of a small sequence token by token, records every
 * pair computed and every token received, and judges them by a pairwise definition that knows
 * nothing of proto/plan. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kernels/bands.h"
#include "proto/plan/choice.h"
#include "proto/plan/schedule.h"
#include "tests/support/plan_cases.h"

enum { WORLD_TOKENS = 32, WORLD_RANKS = 4 };

/* Whether query i sees key j; then its effective distance, and whether it is a sink read
 * unrotated. */
typedef bool world_sees(const void *definition, int64_t i, int64_t j, double *distance, bool *far);

struct world {
    const char *label; /* what is printed when a check fails */
    struct choice choice;
    struct bands bands;
    world_sees *sees;
    const void *definition;
    struct cases_random random;
    struct ownership *ownership;
    struct schedule schedule;

    /* What each rank keeps. */
    bool cached[WORLD_RANKS][WORLD_TOKENS];
    bool far_sinks[WORLD_RANKS][WORLD_TOKENS];
    bool near_sinks[WORLD_RANKS][WORLD_TOKENS];

    /* What the running stage did. The last rank's slot is for owned rows, whoever owns them. */
    int computed[WORLD_RANKS + 1][WORLD_TOKENS][WORLD_TOKENS];
    int64_t pairs[WORLD_RANKS];

    /* The largest of all stages so far, to compare with memory_plan. */
    int64_t rows_max[WORLD_RANKS];
    int64_t panels_max[WORLD_RANKS];
};

/* Fills in what the choice decides; `world` is otherwise zeroed by the caller. */
void world_init(struct world *world);
void world_deinit(struct world *world);

/* One stage of a prompt whose tokens are dealt already; then one decoded token after the other. */
void world_run_stage(struct world *world, struct span stage);
void world_decode(struct world *world, int64_t tokens);
