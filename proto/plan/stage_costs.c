/* Owns a tally for each table of the model's sight. Promises that a pair is counted for the heads
 * that see it, and rows and what travels once. */
#include "proto/plan/stage_costs.h"

#include <stdlib.h>
#include <string.h>

#include "proto/plan/sight.h"
#include "proto/plan/tally.h"

struct stage_costs {
    const struct choice *choice;
    const struct model_shape *shape;
    const struct cost_table *table;
    struct sight sight;
    struct ownership *ownership;
    struct tally *tallies[SIGHT_TABLES_MAX]; /* [sight.count] */
    struct schedule schedule;                /* its sums alone */
    struct cost *costs;                      /* [workers] */
};

void stage_costs_destroy(struct stage_costs *made)
{
    if (!made)
        return;
    free(made->costs);
    schedule_deinit(&made->schedule);
    for (int t = 0; t < SIGHT_TABLES_MAX; t++)
        tally_destroy(made->tallies[t]);
    ownership_destroy(made->ownership);
    free(made);
}

static enum status make(struct stage_costs *made, const struct choice *choice)
{
    const int workers = choice->group.workers;
    made->costs = calloc((size_t)workers, sizeof *made->costs);
    if (!made->costs)
        return fail(STATUS_RESOURCE_EXHAUSTED, "plan: no memory for the costs of %d workers",
                    workers);
    TRY(ownership_create(&made->ownership, workers, choice->group.panel_tokens));
    TRY(schedule_init(&made->schedule, workers));
    for (int t = 0; t < made->sight.count; t++)
        TRY(tally_create(&made->tallies[t], choice, made->ownership));
    stage_costs_restart(made, choice);
    return STATUS_OK;
}

enum status stage_costs_create(struct stage_costs **out, const struct choice *choice,
                               const struct model_shape *shape, const struct cost_table *table)
{
    struct stage_costs *made = calloc(1, sizeof *made);
    if (!made)
        return fail(STATUS_RESOURCE_EXHAUSTED, "plan: no memory for what stages cost");
    made->shape = shape;
    made->table = table;
    sight_make(&made->sight, &choice->request.method, shape);
    const enum status status = make(made, choice);
    if (status != STATUS_OK)
        stage_costs_destroy(made);
    else
        *out = made;
    return status;
}

/* What travels and which rows there are is the choice's, which is the first table. */
void stage_costs_restart(struct stage_costs *made, const struct choice *choice)
{
    made->choice = choice;
    ownership_clear(made->ownership);
    for (int t = 0; t < made->sight.count; t++) {
        tally_restart(made->tallies[t], choice);
        if (t > 0)
            tally_see(made->tallies[t], &made->sight.tables[t].bands);
    }
}

struct ownership *stage_costs_ownership(struct stage_costs *made)
{
    return made->ownership;
}

enum status stage_costs_next(struct stage_costs *made, const struct cost **costs, struct span stage)
{
    const struct model_shape *shape = made->shape;
    TRY(choice_deal(made->choice, made->ownership, stage));
    memset(made->costs, 0, (size_t)made->choice->group.workers * sizeof *made->costs);
    for (int t = 0; t < made->sight.count; t++) {
        const struct sight_table *table = &made->sight.tables[t];
        const struct cost_part pairs = {.layers = table->layers,
                                        .heads = shape->heads / shape->kv_heads *
                                                 (table->head_end - table->head_first)};
        const struct cost_part rows = {.layers = shape->layers, .rows = true};
        TRY(tally_stage(made->tallies[t], &made->schedule, stage));
        cost_stage_add(made->costs, &made->schedule, made->choice, shape, made->table, &pairs);
        if (t == 0)
            cost_stage_add(made->costs, &made->schedule, made->choice, shape, made->table, &rows);
    }
    *costs = made->costs;
    return STATUS_OK;
}
