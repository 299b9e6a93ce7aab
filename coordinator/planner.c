/* Owns nothing but the forecast that it makes. Promises that what it predicts comes from the same
 * plan code that the ranks run. */
#include "coordinator/planner.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/method_message.h"
#include "coordinator/worker_speeds.h"
#include "proto/plan/chooser.h"
#include "proto/plan/cost.h"
#include "proto/plan/partition.h"
#include "proto/plan/stage_costs.h"
#include "proto/plan/tensor_slice.h"
#include "proto/plan/tensor_sums.h"

/* What a client may well wait for between two tokens is twice this; on a slow link the other. */
#define STAGE_SECONDS 0.5
#define LINKED_STAGE_SECONDS 4.0

enum status planner_init(struct planner *planner, const struct model_spec *spec,
                         const struct planner_defaults *defaults)
{
    struct method method;
    TRY(method_parse(&method, defaults->method, spec->trained_tokens));
    *planner = (struct planner){.defaults = *defaults, .shape = spec_shape(spec, 0)};
    if (planner->defaults.context_tokens == 0)
        planner->defaults.context_tokens = spec->trained_tokens;
    planner->frequencies = spec_frequencies(spec, planner->defaults.context_tokens);
    return STATUS_OK;
}

static int tensor_of(const struct workers_facts *facts)
{
    return facts->tensor > 1 ? facts->tensor : 1;
}

/* That share out the sequence. */
static int workers_of(const struct workers_facts *facts)
{
    return facts->size / tensor_of(facts);
}

enum status planner_set_workers(struct workers_facts *facts, struct status_details *details,
                                int workers)
{
    if (workers % tensor_of(facts) != 0) {
        details->field = "workers";
        return fail(STATUS_INVALID_ARGUMENT,
                    "workers is %d; the group's weights are shared out over a tensor axis of %d: "
                    "give a multiple of that",
                    workers, tensor_of(facts));
    }
    if (workers > 0)
        facts->size = workers;
    return STATUS_OK;
}

/* What the ranks of one place of the tensor axis have of the model. */
static enum status shape_of(const struct planner *planner, struct model_shape *shape,
                            const struct workers_facts *facts, int place)
{
    struct tensor_slice slice;
    *shape = planner->shape;
    shape->weights_bytes = facts->weights_bytes;
    if (tensor_of(facts) == 1)
        return STATUS_OK;
    TRY(tensor_slice_make(&slice, &planner->shape, facts->tensor, place));
    *shape = tensor_slice_shape(&planner->shape, &slice);
    shape->weights_bytes = facts->slices[place].weights_bytes;
    return STATUS_OK;
}

/* Of the last place, which has as many heads as any. */
static enum status largest_shape(const struct planner *planner, struct model_shape *shape,
                                 const struct workers_facts *facts)
{
    return shape_of(planner, shape, facts, tensor_of(facts) - 1);
}

/* ---- choosing ---- */

/* The largest prompt plus answer. */
static int64_t context_limit(const struct planner *planner, const struct workers_facts *facts)
{
    int64_t limit = planner->defaults.context_tokens;
    return facts->context_tokens && facts->context_tokens < limit ? facts->context_tokens : limit;
}

int64_t planner_answer_tokens(const struct planner *planner, const struct workers_facts *facts,
                              int64_t prompt_tokens)
{
    int64_t left = context_limit(planner, facts) - prompt_tokens;
    if (left > PLANNER_ANSWER_TOKENS)
        return PLANNER_ANSWER_TOKENS;
    return left > 1 ? left : 1;
}

static enum status check_length(const struct planner *planner, struct status_details *details,
                                const struct workers_facts *facts,
                                const struct planner_request *request)
{
    const int64_t limit = context_limit(planner, facts);
    if (request->prompt_tokens <= limit && request->max_tokens <= limit - request->prompt_tokens)
        return STATUS_OK;
    details->reason = "CONTEXT_EXCEEDED";
    status_details_fact(details, "limit_tokens", "%" PRId64, limit);
    status_details_fact(details, "prompt_tokens", "%" PRId64, request->prompt_tokens);
    status_details_fact(details, "max_tokens", "%" PRId64, request->max_tokens);
    return fail(STATUS_OUT_OF_RANGE,
                "a prompt of %" PRId64 " tokens and an answer of up to %" PRId64
                " need more than the context of %" PRId64
                " tokens: shorten them or start with a larger --context",
                request->prompt_tokens, request->max_tokens, limit);
}

/* The message's values are the enum's plus one, and 0, "the planner's choice", becomes -1. */
static enum status read_enum(int *value, struct status_details *details, const char *field,
                             int number, int last)
{
    details->field = field;
    if (number < 0 || number > last + 1)
        return fail(STATUS_INVALID_ARGUMENT, "%s: this version knows no value %d", field, number);
    *value = number - 1;
    return STATUS_OK;
}

static enum status read_method(const struct planner *planner, struct method *method,
                               struct status_details *details, const Longhaul__V1__Method *message)
{
    const int64_t trained = planner->shape.trained_tokens;
    if (!method_message_is_given(message)) {
        TRY(method_parse(method, planner->defaults.method, trained));
    } else {
        details->field = "options.method";
        TRY(method_message_read(method, message, trained));
    }
    if (method->frequencies.kind == FREQUENCIES_OF_MODEL)
        method->frequencies = planner->frequencies;
    return STATUS_OK;
}

enum status planner_method(const struct planner *planner, char text[METHOD_TEXT_BYTES],
                           struct status_details *details, const Longhaul__V1__PlanOptions *options)
{
    struct method method;
    TRY(read_method(planner, &method, details, options ? options->method : NULL));
    details->field = NULL;
    method_print(&method, text);
    return STATUS_OK;
}

enum status planner_shares_keys(const struct planner *planner, bool *shares,
                                struct status_details *details,
                                const Longhaul__V1__PlanOptions *options)
{
    struct method method;
    TRY(read_method(planner, &method, details, options ? options->method : NULL));
    details->field = NULL;
    *shares = !method_follows_length(&method);
    return STATUS_OK;
}

static enum status read_options(const struct planner *planner, struct chooser_request *wanted,
                                struct status_details *details,
                                const Longhaul__V1__PlanOptions *options)
{
    TRY(read_method(planner, &wanted->method, details, options ? options->method : NULL));
    wanted->partition = wanted->schedule = -1;
    wanted->stage_tokens = planner->defaults.stage_tokens ? planner->defaults.stage_tokens : -1;
    if (!options)
        return STATUS_OK;
    TRY(read_enum(&wanted->partition, details, "options.partition", (int)options->partition,
                  PARTITION_ZIGZAG));
    TRY(read_enum(&wanted->schedule, details, "options.schedule", (int)options->schedule,
                  CHOICE_RING));
    if (options->optional_stage_tokens_case ==
        LONGHAUL__V1__PLAN_OPTIONS__OPTIONAL_STAGE_TOKENS_STAGE_TOKENS) {
        details->field = "options.stage_tokens";
        if (options->stage_tokens < 0)
            return fail(STATUS_INVALID_ARGUMENT, "options.stage_tokens: %" PRId64 " is negative",
                        options->stage_tokens);
        wanted->stage_tokens = options->stage_tokens;
    }
    /* What is left to refuse is how they go together. */
    details->field = "options";
    return STATUS_OK;
}

/* On a group that answers several at a time nobody waits longer than two stages for a token. A
 * prediction second is as long as prompts have shown it to be. */
static void limit_stages(struct chooser_request *wanted, const struct workers_facts *facts)
{
    const double pace = facts->pace > 0 ? facts->pace : 1;
    if (facts->places <= 1)
        return;
    wanted->stage_seconds = STAGE_SECONDS / pace;
    wanted->linked_stage_seconds = LINKED_STAGE_SECONDS / pace;
    wanted->pace = pace;
}

/* What was measured of such workers, or what their kernels are known to reach; what they found
 * their own links to be, and how fast each was in the last prompts. */
static struct cost_table table_of(const struct planner *planner, const struct workers_facts *facts)
{
    struct cost_table table;
    const struct cost_file *costs = planner->defaults.costs;
    if (!costs || !cost_measured_table(&table, &costs->rates, facts->kernels, facts->threads))
        table = cost_table_estimate(facts->kernels, facts->threads);
    if (facts->within.bytes_per_second > 0)
        table.within = facts->within;
    if (facts->between.bytes_per_second > 0)
        table.between = facts->between;
    table.host_ranks = facts->host_ranks;
    if (tensor_of(facts) > 1 && facts->host_ranks > 0) /* from one worker to the next */
        table.host_ranks = (facts->host_ranks + facts->tensor - 1) / facts->tensor;
    table.speeds = &facts->weights;
    return table;
}

/* A plan's time goes with its stages and their workers. */
static enum status check_stages(const struct planner *planner, struct status_details *details,
                                const struct choice *choice)
{
    const int64_t most = planner->defaults.stages_max;
    const int64_t tokens = choice->request.stage_tokens ? choice->request.stage_tokens
                                                        : choice->request.context_tokens;
    const int64_t stages = (choice->request.context_tokens + tokens - 1) / tokens;
    if (most == 0 || stages <= most / choice->group.workers)
        return STATUS_OK;
    details->field = "options.stage_tokens";
    return fail(STATUS_INVALID_ARGUMENT,
                "%" PRId64 " tokens in stages of %" PRId64 " tokens make %" PRId64
                " stages for %d workers; stages times workers may be %" PRId64
                ": ask for longer stages, or start with a larger --max-plan-stages",
                choice->request.context_tokens, tokens, stages, choice->group.workers, most);
}

/* Several answers at a time share a link's delays, and would not have room on one worker. */
static int home_wanted(const struct planner *planner, const struct workers_facts *facts, int split)
{
    const char *decode = planner->defaults.decode;
    if (workers_of(facts) > 1 && decode && strcmp(decode, "home") == 0)
        return 1;
    return split < 0 && facts->places <= 1 ? -1 : 0;
}

/* The group as its ranks have made it; where they have not, as this request alone needs it. */
static struct group_choice group_of(const struct choice *choice, const struct workers_facts *facts,
                                    const struct memory_need *needs)
{
    struct group_choice group = choice->group;
    if (facts->pool_slots == 0) {
        memory_group_fit(&group, needs, &choice->request);
        return group;
    }
    group.sequences = facts->places;
    group.context_tokens = facts->longest_tokens;
    group.stage_rows = facts->stage_rows;
    group.step_rows = facts->step_rows;
    group.pool_slots = facts->pool_slots;
    return group;
}

/* Whether every rank of the group has room for its share. */
static bool weights_fit(const struct choice *choice, const struct workers_facts *facts)
{
    const int workers = choice->group.workers;
    struct memory_need *needs = calloc((size_t)workers, sizeof *needs);
    bool fit = needs && memory_need_make(needs, choice, 0, workers) == STATUS_OK;
    if (fit) {
        const struct choice whole = {group_of(choice, facts, needs), choice->request};
        for (int rank = 0; rank < workers; rank++)
            fit = fit && memory_need_check(&needs[rank], &whole) == STATUS_OK;
    }
    free(needs);
    return fit;
}

/* By the workers' weights where their memory allows it; evenly otherwise. */
static enum status weigh(const struct planner *planner, struct planner_weighed *weighed,
                         const struct workers_facts *facts)
{
    struct model_shape shape;
    const struct cost_table costs = table_of(planner, facts);
    const char *said = planner->defaults.weights;
    struct partition_weights weights = facts->weights;
    struct chooser_request wanted = weighed->wanted;
    TRY(largest_shape(planner, &shape, facts));
    if (worker_speeds_read(&weights, said ? said : "auto", workers_of(facts)) != STATUS_OK)
        return fail(STATUS_FAILED_PRECONDITION, "%s: start the coordinator with others",
                    status_message());
    wanted.weights = &weights;
    TRY(chooser_weigh(&weighed->choice, &weighed->seconds, &wanted, &shape, &costs));
    if (!partition_weights_differ(&weights) || weights_fit(&weighed->choice, facts))
        return STATUS_OK;
    return chooser_weigh(&weighed->choice, &weighed->seconds, &weighed->wanted, &shape, &costs);
}

static enum status read_request(const struct planner *planner, struct chooser_request *wanted,
                                struct status_details *details, const struct workers_facts *facts,
                                const struct planner_request *request)
{
    TRY(check_length(planner, details, facts, request));
    *wanted = (struct chooser_request){
        .workers = workers_of(facts),
        .tensor = facts->tensor,
        .context_tokens = request->prompt_tokens + request->max_tokens,
        .kernels = facts->kernels,
        .cache = facts->cache,
        .queries = -1,
        .decode_split = decode_split_wanted(planner->defaults.decode),
        .answer_tokens = request->max_tokens,
        .pool_slots = facts->pool_slots,
        /* What travels between hosts is weighed. */
        .shared_memory_bus = facts->shared_memory_bus && facts->between.bytes_per_second <= 0,
        .stage_rows = facts->stage_rows,
    };
    wanted->decode_home = home_wanted(planner, facts, wanted->decode_split);
    limit_stages(wanted, facts);
    if (workers_of(facts) > 1 && facts->places > 1)
        wanted->weighed_context_tokens = context_limit(planner, facts);
    TRY(read_options(planner, wanted, details, request->options));
    struct bands bands;
    method_bands(&wanted->method, &bands);
    if (request->in_session && bands.sinks > 0) /* whether they are kept follows from the context */
        wanted->context_tokens = context_limit(planner, facts);
    /* A session's keys serve questions of any length. */
    method_fit(&wanted->method,
               request->in_session ? context_limit(planner, facts) : wanted->context_tokens);
    return STATUS_OK;
}

enum status planner_weigh(const struct planner *planner, struct planner_weighed *weighed,
                          struct status_details *details, const struct workers_facts *facts,
                          const struct planner_request *request)
{
    TRY(read_request(planner, &weighed->wanted, details, facts, request));
    weighed->weight_sharers = facts->weight_sharers;
    weighed->weights_bytes = facts->weights_bytes;
    weighed->whole_bytes = facts->whole_bytes;
    weighed->memory_bytes = facts->memory_bytes;
    const enum status status = weigh(planner, weighed, facts);
    if (status != STATUS_INVALID_ARGUMENT)
        details->field = NULL;
    TRY(status);
    return check_stages(planner, details, &weighed->choice);
}

enum status planner_choose(const struct planner *planner, struct choice *choice,
                           struct status_details *details, const struct workers_facts *facts,
                           const struct planner_request *request)
{
    struct planner_weighed weighed;
    TRY(planner_weigh(planner, &weighed, details, facts, request));
    *choice = weighed.choice;
    return STATUS_OK;
}

/* ---- forecasting ---- */

/* The link between neighbours on a tensor axis, which are on one host where that has room. */
static const struct cost_link *tensor_link(const struct cost_table *table,
                                           const struct workers_facts *facts)
{
    const bool together = facts->host_ranks == 0 || facts->host_ranks % tensor_of(facts) == 0;
    return together ? &table->within : &table->between;
}

/* Of a decoded token behind so many others, where they are shared out evenly. */
static double step_seconds(const struct choice *choice, const struct model_shape *shape,
                           const struct cost_table *table, const struct workers_facts *facts,
                           int64_t tokens)
{
    struct bands bands;
    struct cost cost;
    choice_bands(choice, &bands);
    const int64_t reach = bands_reach(&bands);
    const int64_t seen = tokens < reach ? tokens : reach + bands.sinks;
    const int sharers = choice_is_home(choice) ? 1 : choice->group.workers;
    cost_decode(&cost, choice, shape, table, 0, seen / sharers + 1);
    return cost.seconds +
           tensor_sums_seconds(&choice->group, shape, tensor_link(table, facts), 1, false, 0);
}

/* Of the slowest rank: a stage ends when the last one does. */
static void add_parts(struct planner_forecast *forecast, const struct cost *costs, int workers)
{
    const struct cost *slowest = costs;
    for (int rank = 1; rank < workers; rank++)
        if (costs[rank].seconds > slowest->seconds)
            slowest = &costs[rank];
    double *parts = forecast->parts;
    parts[PLANNER_PRODUCTS] += slowest->rows_seconds;
    parts[PLANNER_ATTENTION] += slowest->attention_seconds;
    parts[PLANNER_EXCHANGE] += slowest->seconds - slowest->compute_seconds;
    parts[PLANNER_FIXED] += slowest->fixed_seconds;
    forecast->seconds += slowest->seconds;
}

/* What a forecast is made from: the ranks of each place of the tensor axis have a slice, and stages
 * are walked through for all of them at once. */
struct forecasting {
    const struct choice *choice;
    const struct workers_facts *facts;
    struct cost_table table;
    int places;
    struct model_shape shapes[CHOICE_TENSOR_MAX];  /* [places] */
    struct stage_costs *stages[CHOICE_TENSOR_MAX]; /* [places] */
    struct cost *costs;                            /* [ranks] of the stage at hand */
};

static enum status open_stages(struct forecasting *making, const struct planner *planner)
{
    for (int place = 0; place < making->places; place++) {
        TRY(shape_of(planner, &making->shapes[place], making->facts, place));
        TRY(stage_costs_create(&making->stages[place], making->choice, &making->shapes[place],
                               &making->table));
    }
    making->costs =
        calloc((size_t)group_choice_ranks(&making->choice->group), sizeof *making->costs);
    return making->costs ? STATUS_OK : fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a plan");
}

static void close_stages(struct forecasting *making)
{
    for (int place = 0; place < making->places; place++)
        stage_costs_destroy(making->stages[place]);
    free(making->costs);
}

/* What follows the stages: the prompt's last logits, and an answer's tokens. */
static void add_rest(struct planner_forecast *forecast, const struct forecasting *making,
                     int64_t prompt_tokens)
{
    const struct model_shape *shape = &making->shapes[making->places - 1];
    const struct ownership *ownership = stage_costs_ownership(making->stages[0]);
    const double logits =
        cost_logits_seconds(shape, &making->table, ownership_owner(ownership, prompt_tokens - 1));
    forecast->parts[PLANNER_LOGITS] = logits;
    forecast->seconds += logits;
    forecast->token_seconds =
        step_seconds(making->choice, shape, &making->table, making->facts, prompt_tokens);
}

/* What the next stage costs every rank: along the sequence axis, and in sums along the other. */
static enum status next_stage(struct forecasting *making, struct span stage)
{
    const struct group_choice *group = &making->choice->group;
    const struct cost_link *link = tensor_link(&making->table, making->facts);
    const bool sharded = choice_stage_queries(making->choice, stage) == CHOICE_SHARDED;
    for (int place = 0; place < making->places; place++) {
        const struct model_shape *shape = &making->shapes[place];
        const struct cost *costs;
        TRY(stage_costs_next(making->stages[place], &costs, stage));
        for (int worker = 0; worker < group->workers; worker++) {
            const int rank = worker * making->places + place;
            struct cost *cost = &making->costs[rank];
            *cost = costs[worker];
            tensor_sums_cost(cost, group, shape, cost->rows, sharded, rank);
            cost->seconds += tensor_sums_seconds(group, shape, link, cost->rows, sharded, rank);
        }
    }
    return STATUS_OK;
}

/* Adds up the stages of the prompt. */
static enum status add_stages(struct planner_forecast *forecast, struct forecasting *making,
                              int64_t prompt_tokens, const struct planner_watch *watch)
{
    for (int64_t done = 0; done < prompt_tokens;) {
        const struct span stage = choice_stage(making->choice, done, prompt_tokens);
        if (watch)
            TRY(watch->check(watch->context));
        TRY(next_stage(making, stage));
        for (int rank = 0; rank < forecast->count; rank++) {
            forecast->ranks[rank].sent_bytes += making->costs[rank].sent_bytes;
            forecast->ranks[rank].received_bytes += making->costs[rank].received_bytes;
            forecast->ranks[rank].flops += making->costs[rank].flops;
        }
        add_parts(forecast, making->costs, forecast->count);
        forecast->stages++;
        done = stage.end;
    }
    const struct ownership *ownership = stage_costs_ownership(making->stages[0]);
    struct owned_span owned;
    for (int64_t index = 0; ownership_next(ownership, &index, prompt_tokens, &owned);)
        for (int place = 0; place < making->places; place++)
            forecast->ranks[owned.owner * making->places + place].prompt_tokens +=
                owned.span.end - owned.span.first;
    return STATUS_OK;
}

static enum status add_needs(struct planner_forecast *forecast, struct memory_need *needs,
                             const struct forecasting *making)
{
    const struct workers_facts *facts = making->facts;
    struct memory_request request = {
        .threads = facts->threads,
        .scratch_bytes = facts->scratch_bytes,
        .logit_rows = facts->logit_rows,
        .list_row_bytes = facts->list_row_bytes,
        .list_panel_bytes = facts->list_panel_bytes,
    };
    TRY(memory_need_make(needs, making->choice, 0, making->choice->group.workers));
    const struct choice whole = {group_of(making->choice, facts, needs), making->choice->request};
    for (int rank = 0; rank < forecast->count; rank++) {
        const int place = rank % making->places;
        struct planner_rank *own = &forecast->ranks[rank];
        if (making->places > 1)
            request.scratch_bytes = facts->slices[place].scratch_bytes;
        memory_plan_make(&own->memory, &making->shapes[place], &whole.group, rank, &request);
        own->pool_bytes = needs[rank / making->places].slots *
                          memory_slot_bytes(&whole.group, &making->shapes[place]);
    }
    return STATUS_OK;
}

static enum status add_memory(struct planner_forecast *forecast, const struct forecasting *making)
{
    struct memory_need *needs = calloc((size_t)making->choice->group.workers, sizeof *needs);
    if (!needs)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a plan");
    const enum status status = add_needs(forecast, needs, making);
    free(needs);
    return status;
}

/* As it was, or as it will be. */
static double load_seconds(const struct workers_facts *facts, const struct cost_table *table)
{
    if (facts->load_seconds > 0 || table->load_bytes <= 0)
        return facts->load_seconds;
    return (double)facts->weights_bytes / table->load_bytes;
}

enum status planner_forecast(const struct planner *planner, struct planner_forecast *forecast,
                             const struct choice *choice, const struct workers_facts *facts,
                             int64_t prompt_tokens, const struct planner_watch *watch)
{
    struct forecasting making = {.choice = choice,
                                 .facts = facts,
                                 .table = table_of(planner, facts),
                                 .places = group_choice_tensor(&choice->group)};
    struct planner_forecast made = {.count = group_choice_ranks(&choice->group),
                                    .base_bytes = facts->base_bytes};
    enum status status = STATUS_OK;
    made.ranks = calloc((size_t)made.count, sizeof *made.ranks);
    if (!made.ranks)
        TRY_ELSE(fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a plan"), free_all);
    TRY_ELSE(open_stages(&making, planner), free_all);
    TRY_ELSE(add_stages(&made, &making, prompt_tokens, watch), free_all);
    add_rest(&made, &making, prompt_tokens);
    made.load_seconds = load_seconds(facts, &making.table);
    TRY_ELSE(add_memory(&made, &making), free_all);
    *forecast = made;
    made.ranks = NULL;
free_all:
    close_stages(&making);
    free(made.ranks);
    return status;
}

int64_t planner_pool_bytes(const struct planner_forecast *forecast)
{
    int64_t most = 0;
    for (int rank = 0; rank < forecast->count; rank++) {
        const int64_t kept = forecast->ranks[rank].pool_bytes;
        most = kept > most ? kept : most;
    }
    return most;
}

static enum status note_excess(struct status_details *details, enum status status, int64_t limit,
                               int64_t needed)
{
    details->reason = "MEMORY_EXCEEDED";
    status_details_fact(details, "limit_bytes", "%" PRId64, limit);
    status_details_fact(details, "needed_bytes", "%" PRId64, needed);
    return status;
}

enum status planner_check_fits(const struct planner_forecast *forecast,
                               struct status_details *details, const struct workers_facts *facts)
{
    for (int rank = 0; rank < forecast->count; rank++) {
        const struct memory_plan *memory = &forecast->ranks[rank].memory;
        enum status status = memory_plan_fits(memory, facts->memory_bytes);
        if (status != STATUS_OK)
            return note_excess(details, status, facts->memory_bytes, memory->total_bytes);
    }
    const int64_t kept = planner_pool_bytes(forecast);
    if (facts->pool_bytes == 0 || kept <= facts->pool_bytes)
        return STATUS_OK;
    return note_excess(details,
                       fail(STATUS_OUT_OF_RANGE,
                            "the keys and values of the prompt and its answer take %.1f MB of a "
                            "worker; its pool has %.1f MB: shorten them, or use more workers",
                            (double)kept / 1e6, (double)facts->pool_bytes / 1e6),
                       facts->pool_bytes, kept);
}

void planner_forecast_deinit(struct planner_forecast *forecast)
{
    free(forecast->ranks);
    forecast->ranks = NULL;
}

double planner_step_seconds(const struct planner *planner, const struct choice *choice,
                            const struct workers_facts *facts, int64_t tokens)
{
    const struct cost_table table = table_of(planner, facts);
    struct model_shape shape;
    if (largest_shape(planner, &shape, facts) != STATUS_OK)
        return 0; /* of a choice that was made for these facts: it never is */
    return step_seconds(choice, &shape, &table, facts, tokens);
}

/* ---- telling ---- */

const char *planner_part_name(enum planner_part part)
{
    static const char *const names[PLANNER_PARTS] = {"products", "attention", "exchange", "fixed",
                                                     "logits"};
    return names[part];
}

static double mega(int64_t bytes)
{
    return (double)bytes / 1e6;
}

void planner_print(const struct planner *planner, char text[PLANNER_TEXT_BYTES],
                   const struct choice *choice, const struct planner_forecast *forecast,
                   int64_t prompt_tokens)
{
    char method[METHOD_TEXT_BYTES];
    method_print(&choice->request.method, method);
    int64_t pool_bytes = 0, beside_bytes = 0, sent_bytes = 0;
    double flops = 0;
    char tensor[64] = "";
    if (group_choice_tensor(&choice->group) > 1)
        snprintf(tensor, sizeof tensor, " of %d ranks that share the weights",
                 choice->group.tensor);
    for (int i = 0; i < forecast->count; i++) {
        const struct memory_plan *memory = &forecast->ranks[i].memory;
        const int64_t beside = memory->total_bytes - memory->bytes[MEMORY_CACHE];
        beside_bytes = beside > beside_bytes ? beside : beside_bytes;
        if (memory->bytes[MEMORY_CACHE] > pool_bytes) /* alike but for slices of the model */
            pool_bytes = memory->bytes[MEMORY_CACHE];
        sent_bytes += forecast->ranks[i].sent_bytes;
        flops += forecast->ranks[i].flops;
    }
    int used = snprintf(
        text, PLANNER_TEXT_BYTES,
        "%" PRId64 " tokens by %s over %d worker%s%s: %s shards, %s schedule, %d stage%s\n"
        "kernels %s, cache %s, context %" PRId64
        " tokens: up to %.1f MB of keys and values on a worker, of %.1f MB for all requests, and "
        "%.1f MB beside them\n"
        "prefill: %.3f TFLOP, %.1f MB sent between workers, about %.1f s\n"
        "of it %.3g s in products, %.3g s in attention, %.3g s of exchange that arithmetic does "
        "not "
        "hide, %.3g s beside them; then about %.3g ms a token",
        prompt_tokens, method, choice->group.workers, choice->group.workers == 1 ? "" : "s", tensor,
        choice_partition_name(choice->request.partition),
        choice_schedule_name(choice->request.schedule), forecast->stages,
        forecast->stages == 1 ? "" : "s", choice->group.kernels,
        choice_cache_name(choice->group.cache), choice->request.context_tokens,
        mega(planner_pool_bytes(forecast)), mega(pool_bytes),
        mega(beside_bytes + forecast->base_bytes), flops / 1e12, mega(sent_bytes),
        forecast->seconds, forecast->parts[PLANNER_PRODUCTS], forecast->parts[PLANNER_ATTENTION],
        forecast->parts[PLANNER_EXCHANGE],
        forecast->parts[PLANNER_FIXED] + forecast->parts[PLANNER_LOGITS],
        forecast->token_seconds * 1e3);
    if (method_is_plain_rope(&choice->request.method) &&
        prompt_tokens > planner->shape.trained_tokens)
        snprintf(text + used, PLANNER_TEXT_BYTES - (size_t)used,
                 "\nwarning: rope past the %" PRId64
                 " tokens that the model was trained for gives poor answers: try string or "
                 "lm_infinite",
                 planner->shape.trained_tokens);
}
