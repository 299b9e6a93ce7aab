/* Owns the choice of what is played. Promises that work is bounded, whatever the prompt's length
 * and the number of workers. */
#include "proto/plan/simulate_prompt.h"

#include <stdlib.h>

enum {
    PLAYED_MOST = 5,                  /* stages */
    TRANSFERS_MOST = 3 * 1000 * 1000, /* of a layer */
};

struct cost_table simulate_costs(const struct simulate_machine *machine)
{
    const struct simulate_links *links = &machine->links;
    struct cost_table table = {.linear_flops = machine->linear_flops,
                               .attention_flops = machine->attention_flops,
                               .memory_bytes = machine->memory_bytes,
                               .keys_bytes = machine->memory_bytes,
                               .within = links->host,
                               .between = links->network,
                               .host_ranks = links->ranks_per_host};
    table.between.bytes_per_second /= links->ranks_per_network_card;
    return table;
}

/* ---- what is played ---- */

/* So many of the plan's blocks make one that is played. */
static int64_t pieces_of(const struct choice *choice, int64_t tokens)
{
    const int64_t workers = choice->group.workers;
    const int64_t blocks = tokens / choice->group.block_tokens + 1;
    int64_t pieces = 1;
    while (blocks / pieces * workers > TRANSFERS_MOST)
        pieces *= 2;
    return pieces;
}

/* The numbers of the stages that are played, ascending; how many they are. */
static int played_stages(int stages, int played[PLAYED_MOST])
{
    const int wanted[PLAYED_MOST] = {0, 1, stages / 2, stages - 2, stages - 1};
    int count = 0;
    for (int i = 0; i < PLAYED_MOST; i++)
        if (wanted[i] >= 0 && wanted[i] < stages && (count == 0 || wanted[i] > played[count - 1]))
            played[count++] = wanted[i];
    return count;
}

/* The sum of `count` values, from one that is known to the one behind them, which they grow to
 * evenly. */
static double sum_between(double first, double end, int count)
{
    return count * first + (end - first) * (count - 1) / 2;
}

/* ---- a walk through the stages ---- */

struct walk {
    const struct choice *choice;
    const struct model_shape *shape;
    const struct simulate_machine *machine;
    struct bands bands;
    struct ownership *ownership;
    struct schedule schedule;
    struct cost *costs; /* [workers] */
};

static enum status play_stage(struct walk *walk, struct simulate_stage *stage, struct span tokens)
{
    TRY(schedule_make(&walk->schedule, walk->choice, &walk->bands, walk->ownership, tokens));
    if (!walk->schedule.replicated)
        return simulate_stage(stage, &walk->schedule, walk->choice, walk->shape, walk->machine);
    /* A few rows at the prompt's end: no keys travel, and the formula says it. */
    const struct cost_table table = simulate_costs(walk->machine);
    cost_stage(walk->costs, &walk->schedule, walk->choice, walk->shape, &table);
    stage->seconds = cost_slowest(walk->costs, walk->choice->group.workers);
    stage->compute_seconds = stage->seconds;
    return STATUS_OK;
}

static enum status play_stages(struct walk *walk, struct simulate_prompt *prompt,
                               int64_t prompt_tokens)
{
    int played[PLAYED_MOST] = {0};
    struct simulate_stage before = {0};
    int64_t done = 0;
    prompt->stages = 0;
    while (done < prompt_tokens) {
        done = choice_stage(walk->choice, done, prompt_tokens).end;
        prompt->stages++;
    }
    prompt->played = played_stages(prompt->stages, played);
    done = 0;
    for (int number = 0, next = 0; number < prompt->stages; number++) {
        const struct span tokens = choice_stage(walk->choice, done, prompt_tokens);
        struct simulate_stage stage;
        TRY(choice_deal(walk->choice, walk->ownership, tokens));
        done = tokens.end;
        if (number != played[next])
            continue;
        TRY(play_stage(walk, &stage, tokens));
        const int between = next > 0 ? number - played[next - 1] - 1 : 0;
        /* Of those between, none has the value of the one before, which is counted. */
        prompt->seconds += stage.seconds + sum_between(before.seconds, stage.seconds, between + 1) -
                           before.seconds;
        prompt->compute_seconds +=
            stage.compute_seconds +
            sum_between(before.compute_seconds, stage.compute_seconds, between + 1) -
            before.compute_seconds;
        before = stage;
        next++;
    }
    return STATUS_OK;
}

static enum status walk_init(struct walk *walk, const struct choice *choice)
{
    const int workers = choice->group.workers;
    choice_bands(choice, &walk->bands);
    walk->costs = calloc((size_t)workers, sizeof *walk->costs);
    if (!walk->costs)
        return fail(STATUS_RESOURCE_EXHAUSTED, "plan: no memory to simulate %d workers", workers);
    TRY(ownership_create(&walk->ownership, workers, choice->group.panel_tokens));
    return schedule_init(&walk->schedule, workers);
}

enum status simulate_prompt(struct simulate_prompt *prompt, const struct choice *choice,
                            const struct model_shape *shape, const struct simulate_machine *machine,
                            int64_t prompt_tokens)
{
    struct choice played = *choice;
    struct simulate_machine playing = *machine;
    struct walk walk = {.choice = &played, .shape = shape, .machine = &playing};
    const int64_t pieces = pieces_of(choice, prompt_tokens);
    played.group.block_tokens *= pieces;
    playing.pieces = (double)pieces;
    *prompt = (struct simulate_prompt){.block_tokens = played.group.block_tokens};
    enum status status = walk_init(&walk, &played);
    if (status == STATUS_OK)
        status = play_stages(&walk, prompt, prompt_tokens);
    schedule_deinit(&walk.schedule);
    ownership_destroy(walk.ownership);
    free(walk.costs);
    return status;
}
