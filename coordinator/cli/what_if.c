/* Owns the rows of a what-if. Promises the coordinator's choice for each: by the same chooser, with
 * the cluster's rates, in stages that a group of it would have the memory for. */
#include "coordinator/cli/what_if.h"

#include <stdlib.h>
#include <string.h>

#include "proto/plan/chooser.h"
#include "proto/plan/memory_plan.h"
#include "proto/plan/stage_costs.h"

enum { ANSWER_TOKENS = 256, LOGIT_ROWS = 96, TOKENS_MOST = 1 << 24 };

/* A rank that computes all but so much of the time is bound by its arithmetic. */
#define WAITING_SHARE 0.1

const char *what_if_bound_name(enum what_if_bound bound)
{
    static const char *const names[] = {[WHAT_IF_ARITHMETIC] = "arithmetic",
                                        [WHAT_IF_LINK] = "link",
                                        [WHAT_IF_LATENCY] = "latency"};
    return names[bound];
}

/* ---- one row ---- */

struct asked {
    const struct what_if_cluster *cluster;
    const struct model_shape *shape;
    struct method method;
    int workers;
    int64_t prompt_tokens;
};

static enum status choose(struct choice *choice, const struct asked *asked, int workers)
{
    const struct cost_table table = simulate_costs(&asked->cluster->machine);
    struct group_choice group = group_choice_usual(workers);
    memory_group_size(&group, 1, asked->prompt_tokens + ANSWER_TOKENS);
    struct method method = asked->method;
    method_fit(&method, asked->prompt_tokens + ANSWER_TOKENS);
    const struct chooser_request request = {
        .method = method,
        .workers = workers,
        .context_tokens = asked->prompt_tokens + ANSWER_TOKENS,
        .kernels = asked->cluster->kernels,
        .cache = CHOICE_CACHE_BF16,
        .partition = -1,
        .schedule = -1,
        .stage_tokens = -1,
        .stage_rows = group.stage_rows,
        .queries = -1,
        .decode_split = -1,
    };
    TRY(chooser_choose(choice, &request, asked->shape, &table));
    if (asked->cluster->block_tokens > 0)
        choice->group.block_tokens = asked->cluster->block_tokens;
    return choice_check(choice);
}

/* Exact bytes, and what all ranks compute. */
static enum status count(int64_t *sent_bytes, double *compute_seconds, const struct choice *choice,
                         const struct asked *asked)
{
    const struct cost_table table = simulate_costs(&asked->cluster->machine);
    struct stage_costs *stages;
    enum status status = STATUS_OK;
    TRY(stage_costs_create(&stages, choice, asked->shape, &table));
    *sent_bytes = 0;
    *compute_seconds = 0;
    for (int64_t done = 0; done < asked->prompt_tokens;) {
        const struct span stage = choice_stage(choice, done, asked->prompt_tokens);
        const struct cost *costs;
        TRY_ELSE(stage_costs_next(stages, &costs, stage), end);
        for (int r = 0; r < choice->group.workers; r++) {
            *sent_bytes += costs[r].sent_bytes;
            *compute_seconds += costs[r].compute_seconds;
        }
        done = stage.end;
    }
end:
    stage_costs_destroy(stages);
    return status;
}

/* What the rank that needs most allocates for this one request. */
static enum status plan_memory(int64_t *bytes, const struct choice *choice,
                               const struct model_shape *shape)
{
    const struct memory_request request = {.threads = 1, .logit_rows = LOGIT_ROWS};
    const int workers = choice->group.workers;
    struct memory_need *needs = calloc((size_t)workers, sizeof *needs);
    struct group_choice group = choice->group;
    struct memory_plan plan;
    if (!needs)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to plan %d workers", workers);
    const enum status status = memory_need_make(needs, choice, 0, workers);
    if (status == STATUS_OK) {
        memory_group_fit(&group, needs, &choice->request);
        memory_plan_make(&plan, shape, &group, 0, &request); /* rank 0 samples: it has most */
        *bytes = plan.total_bytes;
    }
    free(needs);
    return status;
}

/* What would have to be faster: where ranks wait, the links, or their latencies if without those
 * most of the waiting is gone. */
static enum status find_bound(enum what_if_bound *bound, const struct what_if_row *row,
                              const struct asked *asked)
{
    const double waited = row->prefill.seconds - row->prefill.compute_seconds;
    struct simulate_machine prompt = asked->cluster->machine;
    struct simulate_prompt without;
    *bound = WHAT_IF_ARITHMETIC;
    if (waited <= WAITING_SHARE * row->prefill.seconds)
        return STATUS_OK;
    prompt.links.host.latency_s = prompt.links.host.message_s = 0;
    prompt.links.network.latency_s = prompt.links.network.message_s = 0;
    TRY(simulate_prompt(&without, &row->choice, asked->shape, &prompt, asked->prompt_tokens));
    *bound = row->prefill.seconds - without.seconds > waited / 2 ? WHAT_IF_LATENCY : WHAT_IF_LINK;
    return STATUS_OK;
}

static enum status make_row(struct what_if_row *row, const struct asked *asked)
{
    const struct simulate_machine *machine = &asked->cluster->machine;
    const struct cost_table table = simulate_costs(machine);
    struct choice alone;
    double alone_seconds, all_seconds;
    int64_t no_bytes;
    struct cost decode;
    TRY(choose(&row->choice, asked, asked->workers));
    TRY(choose(&alone, asked, 1));
    TRY(count(&no_bytes, &alone_seconds, &alone, asked));
    TRY(count(&row->sent_bytes, &all_seconds, &row->choice, asked));
    TRY(simulate_prompt(&row->prefill, &row->choice, asked->shape, machine, asked->prompt_tokens));
    TRY(plan_memory(&row->memory_bytes, &row->choice, asked->shape));
    TRY(find_bound(&row->bound, row, asked));
    struct bands bands;
    choice_bands(&row->choice, &bands);
    const int64_t reach = bands_reach(&bands);
    const int64_t seen = reach < asked->prompt_tokens ? reach : asked->prompt_tokens;
    cost_decode(&decode, &row->choice, asked->shape, &table, 0, seen / asked->workers + 1);
    row->decode_seconds = decode.seconds;
    row->prompt_tokens = asked->prompt_tokens;
    row->efficiency = alone_seconds / asked->workers / row->prefill.seconds;
    row->fits = row->memory_bytes <= asked->cluster->memory_bytes;
    return STATUS_OK;
}

/* ---- all rows ---- */

/* Spellings with every parameter as a number. */
static enum status read_methods(struct what_if *what_if, struct method methods[])
{
    char text[FACT_TEXT_BYTES], *rest = text;
    memcpy(text, what_if->cluster.methods, sizeof text);
    what_if->methods_count = 0;
    for (char *word; (word = strtok_r(rest, " ", &rest));) {
        if (what_if->methods_count == WHAT_IF_METHODS_MAX)
            return fail(STATUS_INVALID_ARGUMENT, "sweep.methods: more than %d methods",
                        WHAT_IF_METHODS_MAX);
        struct method *method = &methods[what_if->methods_count];
        TRY(method_parse(method, word, what_if->model.shape.trained_tokens));
        method_print(method, what_if->methods[what_if->methods_count++]);
    }
    if (what_if->methods_count == 0)
        return fail(STATUS_INVALID_ARGUMENT, "sweep.methods: names no method");
    return STATUS_OK;
}

static enum status tokens_of(int64_t *tokens, const struct what_if_cluster *cluster, int length,
                             int workers)
{
    *tokens = cluster->worker_tokens > 0 ? cluster->worker_tokens * workers
                                         : cluster->tokens.list[length];
    if (*tokens <= TOKENS_MOST)
        return STATUS_OK;
    return fail(STATUS_INVALID_ARGUMENT,
                "%lld tokens for each of %d workers are more than %d: ask for fewer",
                (long long)cluster->worker_tokens, workers, TOKENS_MOST);
}

static enum status make_rows(struct what_if *what_if, const struct method methods[],
                             void (*progress)(int row, int rows))
{
    const struct what_if_cluster *cluster = &what_if->cluster;
    const int lengths = cluster->worker_tokens > 0 ? 1 : cluster->tokens.count;
    const int rows = what_if->methods_count * lengths * cluster->workers.count;
    what_if->rows = calloc((size_t)rows, sizeof *what_if->rows);
    if (!what_if->rows)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %d plans", rows);
    for (int m = 0; m < what_if->methods_count; m++)
        for (int length = 0; length < lengths; length++)
            for (int w = 0; w < cluster->workers.count; w++) {
                struct asked asked = {.cluster = cluster,
                                      .shape = &what_if->model.shape,
                                      .method = methods[m],
                                      .workers = (int)cluster->workers.list[w]};
                TRY(tokens_of(&asked.prompt_tokens, cluster, length, asked.workers));
                progress(what_if->count, rows);
                TRY(make_row(&what_if->rows[what_if->count], &asked));
                what_if->count++;
            }
    return STATUS_OK;
}

enum status what_if_make(struct what_if *what_if, void (*progress)(int row, int rows))
{
    struct method methods[WHAT_IF_METHODS_MAX];
    what_if->rows = NULL;
    what_if->count = 0;
    TRY(read_methods(what_if, methods));
    const enum status status = make_rows(what_if, methods, progress);
    if (status != STATUS_OK)
        what_if_deinit(what_if);
    return status;
}

void what_if_deinit(struct what_if *what_if)
{
    free(what_if->rows);
    what_if->rows = NULL;
}
