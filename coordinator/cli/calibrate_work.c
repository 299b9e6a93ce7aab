/* Owns nothing. Promises that work is what the planner counts: its own costs, by rates of 1. */
#include "coordinator/cli/calibrate_work.h"

#include <stdlib.h>

#include "proto/plan/chooser.h"
#include "proto/plan/stage_costs.h"

/* So fast that it takes no time. */
static const double ENDLESS = 1e300;

static const struct cost_link no_link = {.bytes_per_second = 1e300};

static enum status choose(struct choice *choice, const struct calibrate_work *work)
{
    const Longhaul__V1__PlanSummary *plan = work->plan;
    const struct cost_table costs = cost_table_default();
    struct chooser_request request = {
        .workers = plan->workers,
        .context_tokens = plan->context_tokens,
        .kernels = plan->kernels,
        .cache = (enum choice_cache)(plan->cache - 1),
        .partition = (int)plan->partition - 1,
        .schedule = (int)plan->schedule - 1,
        .stage_tokens = plan->stage_tokens,
        .queries = CHOICE_SHARDED,
        .decode_split = -1,
        .shared_memory_bus = work->one_host,
    };
    TRY(method_parse(&request.method, plan->method, work->shape->trained_tokens));
    return chooser_choose(choice, &request, work->shape, &costs);
}

typedef void take_stage(void *context, const struct cost *costs, int workers);

static enum status walk(const struct calibrate_work *work, const struct cost_table *table,
                        take_stage *take, void *context, int *last_owner)
{
    struct choice choice;
    struct stage_costs *stages;
    enum status status = STATUS_OK;
    TRY(choose(&choice, work));
    TRY(stage_costs_create(&stages, &choice, work->shape, table));
    for (int64_t done = 0; done < work->plan->prompt_tokens;) {
        const struct span stage = choice_stage(&choice, done, work->plan->prompt_tokens);
        const struct cost *costs;
        TRY_ELSE(stage_costs_next(stages, &costs, stage), end);
        take(context, costs, choice.group.workers);
        done = stage.end;
    }
    *last_owner = ownership_owner(stage_costs_ownership(stages), work->plan->prompt_tokens - 1);
end:
    stage_costs_destroy(stages);
    return status;
}

struct counting {
    struct calibrate_prefill *prefills;
    double layers;
};

static void count_pairs(void *context, const struct cost *costs, int workers)
{
    const struct counting *counting = context;
    for (int r = 0; r < workers; r++) {
        struct calibrate_prefill *one = &counting->prefills[r];
        one->rows_flops += costs[r].rows_seconds;
        one->pair_flops += costs[r].attention_seconds;
        one->layers += counting->layers;
        one->stages += 1;
    }
}

static void count_edges(void *context, const struct cost *costs, int workers)
{
    const struct counting *counting = context;
    for (int r = 0; r < workers; r++)
        counting->prefills[r].edge_flops += costs[r].attention_seconds;
}

enum status calibrate_work_prefill(struct calibrate_prefill *prefills,
                                   const struct calibrate_work *work)
{
    struct cost_table unit = {.linear_flops = 1,
                              .attention_flops = 1,
                              .memory_bytes = 1,
                              .keys_bytes = 1,
                              .within = no_link,
                              .between = no_link};
    struct counting counting = {prefills, (double)work->shape->layers};
    int owner;
    for (int r = 0; r < work->plan->workers; r++)
        prefills[r] = (struct calibrate_prefill){.rows_flops = 0};
    TRY(walk(work, &unit, count_pairs, &counting, &owner));
    unit.edge_keys = 1;
    TRY(walk(work, &unit, count_edges, &counting, &owner));
    for (int r = 0; r < work->plan->workers; r++)
        prefills[r].edge_flops -= prefills[r].pair_flops;
    prefills[owner].logits_flops = 2 * (double)work->shape->vocab * (double)work->shape->hidden;
    return STATUS_OK;
}

enum status calibrate_work_decode(struct calibrate_decode *decode, double *messages_s,
                                  const struct calibrate_work *work, const struct cost_link *link)
{
    const int workers = work->plan->workers;
    const int64_t keys = work->plan->prompt_tokens / workers + 1;
    struct cost_table table = {.linear_flops = ENDLESS,
                               .attention_flops = ENDLESS,
                               .memory_bytes = 1,
                               .keys_bytes = ENDLESS,
                               .within = no_link,
                               .between = no_link};
    struct choice choice;
    struct cost cost;
    TRY(choose(&choice, work));
    cost_decode(&cost, &choice, work->shape, &table, 0, keys);
    decode->weights_bytes = cost.seconds;
    table.memory_bytes = ENDLESS;
    table.keys_bytes = 1;
    cost_decode(&cost, &choice, work->shape, &table, 0, keys);
    decode->keys_bytes = cost.seconds;
    table.keys_bytes = ENDLESS;
    table.within = table.between = *link;
    cost_decode(&cost, &choice, work->shape, &table, 0, keys);
    *messages_s = workers > 1 ? cost.seconds : 0;
    return STATUS_OK;
}

static void add_slowest(void *context, const struct cost *costs, int workers)
{
    *(double *)context += cost_slowest(costs, workers);
}

enum status calibrate_work_seconds(double *seconds, const struct calibrate_work *work,
                                   const struct cost_table *table)
{
    int owner;
    *seconds = 0;
    TRY(walk(work, table, add_slowest, seconds, &owner));
    *seconds += cost_logits_seconds(work->shape, table, owner);
    return STATUS_OK;
}
