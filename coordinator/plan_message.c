/* Owns nothing. Promises that the summary of a dry run and of a real one are the same bytes. */
#include "coordinator/plan_message.h"

#include <stdlib.h>

static void set_parts(struct plan_message *message, const struct planner_forecast *forecast)
{
    for (int p = 0; p < PLANNER_PARTS; p++) {
        longhaul__v1__plan_part__init(&message->parts[p]);
        message->parts[p].name = (char *)(size_t)planner_part_name((enum planner_part)p);
        message->parts[p].seconds = forecast->parts[p];
        message->part_pointers[p] = &message->parts[p];
    }
    message->summary.parts = message->part_pointers;
    message->summary.n_parts = PLANNER_PARTS;
}

void plan_message_set(struct plan_message *message, const struct planner *planner,
                      const struct choice *choice, const struct planner_forecast *forecast,
                      int64_t prompt_tokens)
{
    Longhaul__V1__PlanSummary *summary = &message->summary;
    longhaul__v1__plan_summary__init(summary);
    planner_print(planner, message->text, choice, forecast, prompt_tokens);
    method_print(&choice->request.method, message->method);
    summary->text = message->text;
    summary->method = message->method;
    summary->workers = choice->group.workers;
    /* The struct's values plus one: zero is "not said". */
    summary->partition = (Longhaul__V1__Partition)(choice->request.partition + 1);
    summary->schedule = (Longhaul__V1__Schedule)(choice->request.schedule + 1);
    summary->cache = (Longhaul__V1__CacheType)(choice->group.cache + 1);
    summary->kernels = (char *)(size_t)choice->group.kernels; /* only read */
    summary->context_tokens = choice->request.context_tokens;
    summary->stage_tokens = choice->request.stage_tokens;
    summary->prompt_tokens = prompt_tokens;
    summary->seconds = forecast->seconds;
    summary->token_seconds = forecast->token_seconds;
    summary->load_seconds = forecast->load_seconds;
    summary->base_bytes = forecast->base_bytes;
    set_parts(message, forecast);
    for (int i = 0; i < forecast->count; i++) {
        const struct planner_rank *rank = &forecast->ranks[i];
        summary->sent_bytes += rank->sent_bytes;
        summary->flops += rank->flops;
        if (rank->memory.total_bytes > summary->memory_bytes)
            summary->memory_bytes = rank->memory.total_bytes;
    }
}

/* One rank's message with its storage. */
struct plan_response_rank {
    Longhaul__V1__RankPlan plan;
    Longhaul__V1__MemoryLine lines[MEMORY_REGIONS];
    Longhaul__V1__MemoryLine *pointers[MEMORY_REGIONS];
};

static void set_rank(struct plan_response_rank *message, const struct planner_rank *rank,
                     int number)
{
    Longhaul__V1__RankPlan *plan = &message->plan;
    longhaul__v1__rank_plan__init(plan);
    plan->rank = number;
    plan->prompt_tokens = rank->prompt_tokens;
    plan->sent_bytes = rank->sent_bytes;
    plan->received_bytes = rank->received_bytes;
    plan->flops = rank->flops;
    plan->memory_bytes = rank->memory.total_bytes;
    plan->cache_bytes = rank->pool_bytes;
    for (int region = 0; region < MEMORY_REGIONS; region++) {
        longhaul__v1__memory_line__init(&message->lines[region]);
        message->lines[region].name = (char *)memory_region_name((enum memory_region)region);
        message->lines[region].bytes = rank->memory.bytes[region];
        message->pointers[region] = &message->lines[region];
    }
    plan->n_memory = MEMORY_REGIONS;
    plan->memory = message->pointers;
}

enum status plan_response_init(struct plan_response *response, const struct planner *planner,
                               const struct planner_weighed *weighed,
                               const struct planner_forecast *forecast, int64_t prompt_tokens)
{
    size_t count = (size_t)forecast->count;
    response->ranks = calloc(count, sizeof *response->ranks);
    response->pointers = calloc(count, sizeof(Longhaul__V1__RankPlan *));
    if (!response->ranks || !response->pointers) {
        plan_response_deinit(response);
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a plan's message");
    }
    plan_message_set(&response->summary, planner, &weighed->choice, forecast, prompt_tokens);
    plan_reasons_tell(&response->reasons, weighed, planner->defaults.costs);
    for (size_t i = 0; i < count; i++) {
        set_rank(&response->ranks[i], &forecast->ranks[i], (int)i);
        response->pointers[i] = &response->ranks[i].plan;
    }
    response->message = (Longhaul__V1__PlanResponse)LONGHAUL__V1__PLAN_RESPONSE__INIT;
    response->message.summary = &response->summary.summary;
    response->message.n_ranks = count;
    response->message.ranks = response->pointers;
    response->message.reasons = response->reasons.pointers;
    response->message.n_reasons = (size_t)response->reasons.count;
    return STATUS_OK;
}

void plan_response_deinit(struct plan_response *response)
{
    free(response->pointers);
    free(response->ranks);
}
