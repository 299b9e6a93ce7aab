/* Owns the planner's decisions: what a request leaves open is chosen by predicted cost. */
#include "proto/plan/chooser.h"

#include <stdio.h>
#include <string.h>

#include "proto/plan/memory_plan.h"
#include "proto/plan/sight.h"
#include "proto/plan/stage_costs.h"

enum {
    PANEL_TOKENS = BANDS_LANES,
    STAGE_ROWS_MIN = 1024,  /* rows of a rank's stage below which products run badly */
    STAGE_ROWS_LEAST = 128, /* below which they run so badly that nobody's wait gets shorter */
    STAGES_WEIGHED = 8,     /* stages whose cost is added up: later ones are like them */
    WEIGHED_TOKENS_MAX = 1 << 24,
    REPLICATE_TOKENS_MAX = 256,
};

#define WINDOW_HANDICAP 1.1
/* Of a stage's arithmetic: how long its exchange may take before stages get longer for it. */
#define LINK_SHARE 0.25

/* What it takes to predict a choice's seconds. */
struct weigher {
    const struct model_shape *shape;
    const struct cost_table *table;
    struct stage_costs *stages;
    const struct cost *costs; /* [workers] of the stage weighed last */
    struct chooser_weighed weighed;
};

static enum status weigh_stage(double *seconds, struct weigher *weigher,
                               const struct choice *choice, struct span stage)
{
    TRY(stage_costs_next(weigher->stages, &weigher->costs, stage));
    *seconds = cost_slowest(weigher->costs, choice->group.workers);
    return STATUS_OK;
}

static int64_t weighed_tokens(const struct choice *choice)
{
    return choice->request.context_tokens < WEIGHED_TOKENS_MAX ? choice->request.context_tokens
                                                               : WEIGHED_TOKENS_MAX;
}

/* Seconds of the first stages of a prompt that fills the context. */
static enum status weigh_prompt(double *seconds, struct weigher *weigher,
                                const struct choice *choice)
{
    const int64_t tokens = weighed_tokens(choice);
    double total = 0;
    int64_t done = 0;
    stage_costs_restart(weigher->stages, choice);
    for (int n = 0; n < STAGES_WEIGHED && done < tokens; n++) {
        const struct span stage = choice_stage(choice, done, tokens);
        double seconds_of_stage;
        TRY(weigh_stage(&seconds_of_stage, weigher, choice, stage));
        total += seconds_of_stage;
        done = stage.end;
    }
    *seconds = total;
    return STATUS_OK;
}

static enum status choose_partition(struct choice *choice, struct weigher *weigher)
{
    double contiguous;
    double zigzag;
    choice->request.partition = PARTITION_CONTIGUOUS;
    TRY(weigh_prompt(&contiguous, weigher, choice));
    choice->request.partition = PARTITION_ZIGZAG;
    TRY(weigh_prompt(&zigzag, weigher, choice));
    /* Under a window contiguous shards need half the halo and one neighbour: balance alone, which
     * the first stage lacks and the others have, must be worth more than a little. */
    const double handicap = choice->request.schedule == CHOICE_HALO ? WINDOW_HANDICAP : 1;
    if (contiguous < handicap * zigzag)
        choice->request.partition = PARTITION_CONTIGUOUS;
    weigher->weighed.contiguous_s = contiguous;
    weigher->weighed.zigzag_s = zigzag;
    return STATUS_OK;
}

/* Seconds of the context's last `tokens` tokens as one stage, the rest being present. */
static enum status weigh_question(double *seconds, struct weigher *weigher,
                                  const struct choice *choice, int64_t tokens,
                                  enum choice_queries queries)
{
    struct choice tried = *choice;
    const int64_t end = weighed_tokens(choice);
    tried.request.queries = queries;
    stage_costs_restart(weigher->stages, &tried);
    TRY(ownership_advance(stage_costs_ownership(weigher->stages), end - tokens,
                          choice->request.partition, &choice->request.weights));
    return weigh_stage(seconds, weigher, &tried, (struct span){end - tokens, end});
}

/* The longest question for which gathering states beats moving keys. */
static enum status choose_replicate_tokens(struct choice *choice, struct weigher *weigher)
{
    choice->request.replicate_tokens = 0;
    const int64_t most = weighed_tokens(choice) / 2;
    for (int64_t tokens = 1; tokens <= REPLICATE_TOKENS_MAX && tokens <= most; tokens *= 2) {
        double sharded;
        double replicated;
        TRY(weigh_question(&sharded, weigher, choice, tokens, CHOICE_SHARDED));
        TRY(weigh_question(&replicated, weigher, choice, tokens, CHOICE_REPLICATED));
        if (replicated >= sharded)
            break;
        choice->request.replicate_tokens = tokens;
    }
    return STATUS_OK;
}

/* The longest that any rank computes, and sends or receives, in the stage weighed last. */
static struct cost longest_parts(const struct weigher *weigher, int workers)
{
    struct cost longest = {0};
    for (int r = 0; r < workers; r++) {
        const struct cost *cost = &weigher->costs[r];
        if (cost->compute_seconds > longest.compute_seconds)
            longest.compute_seconds = cost->compute_seconds;
        if (cost->link_seconds > longest.link_seconds)
            longest.link_seconds = cost->link_seconds;
    }
    return longest;
}

/* Stages of a power of two of tokens, as long as may be: the last one, which sees most, is
 * to take no longer than was asked for. A slow link makes them longer: what it takes for the keys
 * of all stages before does not get less with the stage. */
static enum status limit_stages(struct choice *choice, struct weigher *weigher,
                                const struct chooser_request *wanted)
{
    struct request_choice *request = &choice->request;
    const int workers = choice->group.workers;
    int64_t least = (int64_t)STAGE_ROWS_LEAST * workers;
    /* Stages of a prompt stay sharded: others can share their panels. */
    if (workers > 1 && least <= REPLICATE_TOKENS_MAX)
        least = 2 * REPLICATE_TOKENS_MAX;
    int64_t tokens = weighed_tokens(choice);
    if (request->stage_tokens > 0 && request->stage_tokens < tokens)
        tokens = request->stage_tokens;
    double seconds;
    TRY(weigh_question(&seconds, weigher, choice, tokens, CHOICE_SHARDED));
    for (;;) {
        weigher->weighed.stage_s = seconds;
        const double compute_seconds = longest_parts(weigher, workers).compute_seconds;
        int64_t shorter = 1;
        while (2 * shorter < tokens)
            shorter *= 2;
        if (seconds <= wanted->stage_seconds || shorter < least)
            return STATUS_OK;
        TRY(weigh_question(&seconds, weigher, choice, shorter, CHOICE_SHARDED));
        const struct cost parts = longest_parts(weigher, workers);
        if (compute_seconds <= wanted->linked_stage_seconds &&
            parts.link_seconds > LINK_SHARE * wanted->pace * parts.compute_seconds) {
            weigher->weighed.linked = true;
            return STATUS_OK;
        }
        request->stage_tokens = tokens = shorter;
    }
}

/* Without keys: reading them costs the same either way. */
static double weigh_decode(const struct weigher *weigher, const struct choice *choice,
                           unsigned split)
{
    struct choice tried = *choice;
    struct cost cost;
    tried.request.decode_split = split;
    cost_decode(&cost, &tried, weigher->shape, weigher->table, 0, 0);
    return cost.seconds;
}

/* The set of products whose splitting makes a token cheapest; of equal ones the first. */
static unsigned choose_split(const struct weigher *weigher, const struct choice *choice)
{
    unsigned best = 0;
    for (unsigned set = 1; set <= DECODE_SPLIT_ALL; set++)
        if (weigh_decode(weigher, choice, set) < weigh_decode(weigher, choice, best))
            best = set;
    return best;
}

/* ---- who decodes ---- */

/* Keys that the last token sees. */
static int64_t seen_tokens(const struct choice *choice)
{
    struct bands bands;
    choice_bands(choice, &bands);
    const int64_t context = choice->request.context_tokens;
    const int64_t reach = bands_reach(&bands);
    return reach < context - bands.sinks ? reach + bands.sinks : context;
}

/* Until rank 0 has the other ranks' keys. */
static double home_seconds(const struct weigher *weigher, const struct choice *choice)
{
    const int workers = choice->group.workers;
    const struct cost_link *link = cost_link_of(weigher->table, 0, workers - 1);
    const int64_t layers = weigher->shape->layers;
    const double tokens = (double)seen_tokens(choice) * (1 - 1.0 / workers);
    const double bytes = tokens * (double)(layers * cost_token_bytes(weigher->shape, choice));
    return link->latency_s + bytes / link->bytes_per_second +
           tokens / choice->group.panel_tokens * (double)layers * link->message_s;
}

/* Rank 0 decodes alone where that is faster for the answer as a whole, and its pool has room for
 * all keys. Ranks that share memory lose half of it that way. */
static enum status choose_home(struct choice *choice, struct weigher *weigher,
                               const struct chooser_request *wanted)
{
    struct chooser_weighed *weighed = &weigher->weighed;
    struct choice alone = *choice;
    struct memory_need need;
    struct cost cost;
    const int64_t seen = seen_tokens(choice);
    if (wanted->decode_home >= 0 || wanted->shared_memory_bus || wanted->answer_tokens < 2 ||
        strcmp(wanted->kernels, CHOICE_KERNELS_GPU) == 0)
        return STATUS_OK;
    alone.request.decode_split = 0;
    alone.request.decode_home = true;
    TRY(memory_need_make(&need, &alone, 0, 1));
    if (wanted->pool_slots > 0 && need.slots > wanted->pool_slots)
        return STATUS_OK;
    cost_decode(&cost, choice, weigher->shape, weigher->table, 0, seen / choice->group.workers + 1);
    weighed->shared_s = cost.seconds;
    cost_decode(&cost, &alone, weigher->shape, weigher->table, 0, seen);
    weighed->alone_s = cost.seconds;
    weighed->home_s = home_seconds(weigher, choice);
    const double tokens = (double)(wanted->answer_tokens - 1); /* the first is the prompt's */
    if (tokens * weighed->alone_s + weighed->home_s < tokens * weighed->shared_s)
        *choice = alone;
    return STATUS_OK;
}

static int64_t round_up(int64_t value, int64_t multiple)
{
    return (value + multiple - 1) / multiple * multiple;
}

/* Under a window, stages in which each rank's rows are about as many as the keys it receives:
 * memory stays flat in the length, and a token's keys travel about once. */
static int64_t windowed_stage_tokens(const struct choice *choice, int64_t reach)
{
    const int64_t rows = reach > STAGE_ROWS_MIN ? reach : STAGE_ROWS_MIN;
    const int64_t tokens = choice->group.workers * round_up(rows, choice->group.panel_tokens);
    return tokens < choice->request.context_tokens ? tokens : 0;
}

/* Tokens of a stage of which the rank that gets most has so many rows. */
static int64_t tokens_of_rows(const struct choice *choice, int64_t rows)
{
    const struct partition_weights *weights = &choice->request.weights;
    int64_t parts = 0, most = 0;
    for (int r = 0; r < weights->count; r++) {
        parts += weights->parts[r];
        most = weights->parts[r] > most ? weights->parts[r] : most;
    }
    return weights->count > 0 ? rows * parts / most : rows * choice->group.workers;
}

/* The stage at hand, or as much of it as no rank has more rows of than `most`, sinks included: a
 * rank may get a panel or two more than its share, and go on in another. */
static int64_t roomy_stage_tokens(const struct choice *choice, int64_t most, int64_t sinks)
{
    enum { SPARE_PANELS = 3 };
    const int64_t asked = choice->request.stage_tokens;
    int64_t rows = (most - sinks) / PANEL_TOKENS * PANEL_TOKENS - SPARE_PANELS * PANEL_TOKENS;
    if (rows > STAGE_ROWS_MIN)
        rows = rows / STAGE_ROWS_MIN * STAGE_ROWS_MIN;
    if (rows < PANEL_TOKENS)
        rows = PANEL_TOKENS;
    const int64_t tokens = tokens_of_rows(choice, rows) / PANEL_TOKENS * PANEL_TOKENS;
    if (asked > 0 && asked <= tokens)
        return asked;
    return asked == 0 && choice->request.context_tokens <= tokens ? 0 : tokens;
}

static struct choice start_choice(const struct chooser_request *request,
                                  const struct model_shape *shape)
{
    struct bands bands;
    struct choice choice = {
        .group = group_choice_usual(request->workers),
        .request.method = request->method,
        .request.context_tokens = request->context_tokens,
        .request.window_tokens = sight_window_of_all(shape),
        .request.decode_home = request->decode_home > 0,
        .request.decode_split = request->decode_split > 0 ? (unsigned)request->decode_split : 0,
    };
    choice.group.tensor = request->tensor;
    if (request->weights && partition_weights_differ(request->weights))
        choice.request.weights = *request->weights;
    choice.group.cache = request->cache;
    snprintf(choice.group.kernels, sizeof choice.group.kernels, "%s", request->kernels);
    choice_bands(&choice, &bands);
    const int64_t reach = bands_reach(&bands);
    const bool limited = reach < request->context_tokens;
    choice.request.schedule = limited ? CHOICE_HALO : CHOICE_GATHER;
    if (request->schedule >= 0)
        choice.request.schedule = (enum choice_schedule)request->schedule;
    if (request->partition >= 0)
        choice.request.partition = (enum partition_kind)request->partition;
    if (request->stage_tokens >= 0)
        choice.request.stage_tokens = request->stage_tokens;
    else if (limited)
        choice.request.stage_tokens = windowed_stage_tokens(&choice, reach);
    if (request->stage_tokens < 0 && request->stage_rows > 0)
        choice.request.stage_tokens = roomy_stage_tokens(&choice, request->stage_rows, bands.sinks);
    choice.request.queries =
        request->queries >= 0 ? (enum choice_queries)request->queries : CHOICE_AUTO;
    return choice;
}

enum status chooser_weigh(struct choice *choice, struct chooser_weighed *weighed,
                          const struct chooser_request *request, const struct model_shape *shape,
                          const struct cost_table *costs)
{
    TRY(method_check(&request->method));
    TRY(choice_check_extent(request->workers, request->context_tokens));
    struct choice made = start_choice(request, shape);
    if (request->weighed_context_tokens > request->context_tokens)
        made.request.context_tokens = request->weighed_context_tokens;
    TRY(choice_check(&made));
    enum status status;
    struct weigher weigher = {.shape = shape, .table = costs};
    TRY(stage_costs_create(&weigher.stages, &made, shape, costs));
    if (request->partition < 0)
        TRY_ELSE(choose_partition(&made, &weigher), done);
    if (request->stage_tokens < 0 && request->stage_seconds > 0)
        TRY_ELSE(limit_stages(&made, &weigher, request), done);
    made.request.context_tokens = request->context_tokens;
    if (request->decode_split < 0 && made.group.workers > 1)
        made.request.decode_split =
            request->shared_memory_bus ? DECODE_SPLIT_ALL : choose_split(&weigher, &made);
    if (made.group.workers > 1) {
        weigher.weighed.split_s = weigh_decode(&weigher, &made, made.request.decode_split);
        weigher.weighed.whole_s = weigh_decode(&weigher, &made, 0);
    }
    if (made.group.workers > 1)
        TRY_ELSE(choose_home(&made, &weigher, request), done);
    if (made.request.queries == CHOICE_AUTO && made.group.workers > 1)
        TRY_ELSE(choose_replicate_tokens(&made, &weigher), done);
    *choice = made;
    if (weighed)
        *weighed = weigher.weighed;
    status = STATUS_OK;
done:
    stage_costs_destroy(weigher.stages);
    return status;
}

enum status chooser_choose(struct choice *choice, const struct chooser_request *request,
                           const struct model_shape *shape, const struct cost_table *costs)
{
    return chooser_weigh(choice, NULL, request, shape, costs);
}
