/* Owns the sizes of a rank's memory. Promises that what a request needs holds for every prompt up
 * to its context, by walking through the stages of the longest one. */
#include "proto/plan/memory_plan.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/plan/layer_buffers.h"
#include "proto/plan/schedule.h"
#include "proto/plan/tensor_sums.h"

enum {
    F32 = 4,
    PIECE_ALIGNMENT = 64,
    SAMPLER_FIXED_BYTES = 512,
    DRAFT_FIXED_BYTES = 128,
    DRAFT_SLOT_BYTES = 4,
    CANDIDATE_BYTES = 8,
    MOVED_BYTES = 4,  /* a count, and a bias */
    SPARE_PANELS = 5, /* one of them for drafted tokens, before earlier ones are out of reach */
    SINK_PANELS = 2,
    USUAL_RECORDS = 2,          /* of a panel by most methods: K in one frame, and V */
    STAGE_ROWS_MOST = 8192,     /* longer prompts go in several stages */
    SINK_ROWS = 1024,           /* room for recomputed ones, and for panels that two ranks share */
    REPLICATED_ROWS_MOST = 256, /* of a question over a resident prompt */
};

static const char *const names[MEMORY_REGIONS] = {
    [MEMORY_WEIGHTS] = "weights",
    [MEMORY_CACHE] = "cache",
    [MEMORY_RECEIVE_SLOTS] = "receive slots",
    [MEMORY_HIDDEN] = "hidden",
    [MEMORY_QUERIES] = "queries",
    [MEMORY_STATE] = "attention state",
    [MEMORY_ROPE_TABLES] = "rope tables",
    [MEMORY_THREAD_SCRATCH] = "thread scratch",
    [MEMORY_SUMS] = "sums",
    [MEMORY_LOGITS] = "logits",
    [MEMORY_DECODE] = "decode",
    [MEMORY_LISTS] = "lists",
    [MEMORY_IDS] = "ids",
    [MEMORY_SCORES] = "scores",
    [MEMORY_SAMPLERS] = "samplers",
    [MEMORY_DRAFTS] = "drafts",
};

const char *memory_region_name(enum memory_region region)
{
    return names[region];
}

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Most rows of a stage with replicated queries. */
static int64_t replicated_rows(const struct choice *choice)
{
    if (choice->request.queries == CHOICE_REPLICATED)
        return choice->request.stage_tokens > 0
                   ? smaller(choice->request.stage_tokens, choice->request.context_tokens)
                   : choice->request.context_tokens;
    /* An automatic choice replicates stages that follow another one. */
    if (choice->request.queries == CHOICE_AUTO && choice->request.stage_tokens > 0 &&
        choice->group.workers > 1)
        return larger(smaller(choice->request.replicate_tokens, choice->request.stage_tokens), 1);
    return 1;
}

/* Most keys that a step sees. */
static int64_t step_keys(const struct choice *choice)
{
    struct bands bands;
    choice_bands(choice, &bands);
    const int64_t reach = bands_reach(&bands);
    /* Under a window a step reads from the panel of its first row's furthest key to its last
     * row. */
    if (reach < choice->request.context_tokens)
        return smaller(choice->request.context_tokens,
                       reach + choice->group.panel_tokens + replicated_rows(choice));
    return choice->request.context_tokens;
}

int64_t memory_plan_range_tokens(const struct choice *choice)
{
    const int64_t keys = step_keys(choice);
    const int64_t least =
        replicated_rows(choice) > 1 ? MEMORY_STAGE_RANGE_TOKENS : MEMORY_RANGE_TOKENS;
    int64_t range = least * choice->group.workers;
    while (ceil_div(keys, range) > MEMORY_RANGES_MOST - 3)
        range *= 2;
    return range;
}

int64_t memory_plan_ranges(const struct choice *choice)
{
    return ceil_div(step_keys(choice), memory_plan_range_tokens(choice)) + 3;
}

/* ---- how much there is at most ---- */

/* What a rank needs at most on the way. */
struct peak {
    int64_t begun, dead; /* panels it was dealt so far; of them, behind the reach */
    int64_t dealt;       /* panels of the stage at hand that it was dealt or goes on in */
    int64_t cache_panels, rows;
};

/* A walk through the stages of the longest prompt. */
struct walk {
    const struct choice *choice;
    int64_t reach;
    int64_t kept_sinks;
    struct ownership *ownership;
    int64_t live;       /* where the panels that are not dead begin */
    struct peak *peaks; /* [workers] */
};

static int64_t panels_of(const struct walk *walk, struct span span)
{
    const int64_t panel = walk->choice->group.panel_tokens;
    return ceil_div(span.end, panel) - span.first / panel;
}

/* A share by weights is rounded up or down: a shorter stage may round up what the longest rounds
 * down. */
static int64_t spare_panels(const struct choice *choice)
{
    return partition_weights_differ(&choice->request.weights) ? 1 : 0;
}

/* Counts whole panels: a shorter prompt may fill one that the longest one leaves nearly empty.
 * Looks at the owned spans of the stage, and at those that die with it. */
static enum status visit_stage(struct walk *walk, struct span stage)
{
    const bool sharded = choice_stage_queries(walk->choice, stage) != CHOICE_REPLICATED;
    const int64_t spare = spare_panels(walk->choice);
    const int64_t sinks = larger(smaller(walk->kept_sinks, stage.end) - stage.first, 0);
    const int64_t live_end = ownership_live_first(walk->ownership, stage.first, walk->reach);
    TRY(choice_deal(walk->choice, walk->ownership, stage));
    struct owned_span owned;
    for (int r = 0; r < walk->choice->group.workers; r++)
        walk->peaks[r].dealt = 0;
    for (int64_t index = stage.first; ownership_next(walk->ownership, &index, stage.end, &owned);) {
        struct peak *peak = &walk->peaks[owned.owner];
        const int64_t panels = panels_of(walk, owned.span);
        peak->dealt += panels;
        peak->begun += panels - (owned.span.first % walk->choice->group.panel_tokens != 0);
    }
    while (ownership_next(walk->ownership, &walk->live, live_end, &owned))
        walk->peaks[owned.owner].dead += panels_of(walk, owned.span);
    for (int r = 0; r < walk->choice->group.workers; r++) {
        struct peak *peak = &walk->peaks[r];
        peak->cache_panels = larger(peak->cache_panels, peak->begun - peak->dead);
        if (sharded)
            peak->rows = larger(peak->rows,
                                (peak->dealt + spare) * walk->choice->group.panel_tokens + sinks);
    }
    return STATUS_OK;
}

/* What a request has before its first stage. */
struct before {
    const struct ownership *ownership; /* NULL: nothing */
    bool shares;
};

static enum status begin_walk(struct walk *walk, const struct before *before)
{
    const struct group_choice *group = &walk->choice->group;
    if (!before->ownership)
        return ownership_create(&walk->ownership, group->workers, group->panel_tokens);
    const int64_t tokens = ownership_tokens(before->ownership);
    const int64_t whole = before->shares ? tokens - tokens % group->panel_tokens : 0;
    TRY(ownership_fork(&walk->ownership, before->ownership, tokens));
    struct owned_span owned;
    for (int64_t index = whole; ownership_next(walk->ownership, &index, tokens, &owned);)
        walk->peaks[owned.owner].begun += panels_of(walk, owned.span);
    walk->live = whole;
    return STATUS_OK;
}

/* The most of every rank; `peaks` is zeroed. */
static enum status walk_stages(struct peak *peaks, const struct choice *choice, int64_t kept_sinks,
                               const struct before *before)
{
    struct bands bands;
    choice_bands(choice, &bands);
    struct walk walk = {
        .choice = choice, .reach = bands_reach(&bands), .kept_sinks = kept_sinks, .peaks = peaks};
    TRY(begin_walk(&walk, before));
    enum status status = STATUS_OK;
    const int64_t done = ownership_tokens(walk.ownership);
    struct span stage = {done, done};
    while (status == STATUS_OK && stage.end < choice->request.context_tokens) {
        stage = choice_stage(choice, stage.end, choice->request.context_tokens);
        status = visit_stage(&walk, stage);
    }
    ownership_destroy(walk.ownership);
    return status;
}

/* A shorter prompt with a longer answer deals its panels otherwise: round robin, and evenly up to a
 * few; or all that are seen go to one rank. */
static int64_t panels_with_decode(const struct choice *choice, int rank, int64_t stage_panels,
                                  int64_t shared_panels)
{
    struct bands bands;
    choice_bands(choice, &bands);
    int64_t all =
        ceil_div(choice->request.context_tokens, choice->group.panel_tokens) - shared_panels;
    int64_t reach = bands_reach(&bands);
    int64_t seen = reach < choice->request.context_tokens
                       ? ceil_div(reach, choice->group.panel_tokens) + 1
                       : all;
    int64_t dealt = ceil_div(seen, choice->group.workers);
    if (choice_is_home(choice))
        dealt = rank == 0 ? seen : 0;
    int64_t most = larger(stage_panels, dealt) + SPARE_PANELS;
    return smaller(most, larger(all, 0));
}

static enum status make_needs(struct memory_need *needs, const struct choice *choice,
                              const struct before *before, int first, int end)
{
    struct bands bands;
    choice_bands(choice, &bands);
    const int64_t kept_sinks = schedule_keeps_sinks(choice, &bands) ? bands.sinks : 0;
    const int64_t sink_panels = ceil_div(kept_sinks, choice->group.panel_tokens);
    const int64_t shared_panels =
        before->shares ? ownership_tokens(before->ownership) / choice->group.panel_tokens : 0;
    struct peak *peaks = calloc((size_t)choice->group.workers, sizeof *peaks);
    if (!peaks)
        return fail(STATUS_RESOURCE_EXHAUSTED, "plan: no memory to plan %d workers",
                    choice->group.workers);
    const enum status status = walk_stages(peaks, choice, kept_sinks, before);
    for (int rank = first; status == STATUS_OK && rank < end; rank++) {
        const int64_t panels = panels_with_decode(
            choice, rank, peaks[rank].cache_panels + spare_panels(choice), shared_panels);
        needs[rank - first] = (struct memory_need){
            .stage_rows = peaks[rank].rows,
            .step_rows = replicated_rows(choice),
            .cache_panels = panels,
            .sink_panels = sink_panels,
            .panel_slots = bands.panel_frames + 1,
            .sink_slots = bands.key_frames + 1,
            .slots = panels * (bands.panel_frames + 1) + sink_panels * (bands.key_frames + 1),
        };
    }
    free(peaks);
    return status;
}

enum status memory_need_make(struct memory_need *needs, const struct choice *choice, int first,
                             int end)
{
    return make_needs(needs, choice, &(struct before){NULL, false}, first, end);
}

enum status memory_need_after(struct memory_need *needs, const struct choice *choice,
                              const struct ownership *before, bool shares, int first, int end)
{
    return make_needs(needs, choice, &(struct before){before, shares}, first, end);
}

/* ---- a group's sizes ---- */

static enum status check_most(const char *what, int64_t needed, int64_t most)
{
    if (needed <= most)
        return STATUS_OK;
    return fail(STATUS_OUT_OF_RANGE,
                "the request needs %lld %s, and the workers have room for %lld: shorten it, ask "
                "for shorter stages, or use more workers",
                (long long)needed, what, (long long)most);
}

enum status memory_context_check(const struct choice *choice)
{
    return check_most("tokens of context", choice->request.context_tokens,
                      choice->group.context_tokens);
}

enum status memory_need_check(const struct memory_need *need, const struct choice *choice)
{
    const struct group_choice *group = &choice->group;
    TRY(memory_context_check(choice));
    TRY(check_most("rows of a stage on a worker", need->stage_rows, group->stage_rows));
    TRY(check_most("rows of a replicated stage", need->step_rows, group->step_rows));
    return check_most("records of keys and values on a worker", need->slots, group->pool_slots);
}

void memory_group_fit(struct group_choice *group, const struct memory_need *needs,
                      const struct request_choice *request)
{
    group->sequences = 1;
    group->context_tokens = request->context_tokens;
    group->stage_rows = group->step_rows = group->pool_slots = 0;
    for (int rank = 0; rank < group->workers; rank++) {
        group->stage_rows = larger(group->stage_rows, needs[rank].stage_rows);
        group->step_rows = larger(group->step_rows, needs[rank].step_rows);
        group->pool_slots = larger(group->pool_slots, needs[rank].slots);
    }
}

static int64_t rows_of_context(const struct group_choice *group)
{
    const int64_t panels = ceil_div(group->context_tokens, group->panel_tokens);
    return ceil_div(panels, group->workers) * group->panel_tokens;
}

void memory_group_size(struct group_choice *group, int sequences, int64_t context_tokens)
{
    group->sequences = sequences;
    group->context_tokens = context_tokens;
    group->stage_rows = smaller(rows_of_context(group), STAGE_ROWS_MOST) + SINK_ROWS;
    group->step_rows = sequences + MEMORY_DRAFT_ROWS;
    if (group->workers > 1)
        group->step_rows = larger(group->step_rows, REPLICATED_ROWS_MOST);
}

/* Of a rank, dealt in any way, with the sinks of any usual method. */
static int64_t slots_of_context(const struct group_choice *group, int64_t records)
{
    const int64_t all = ceil_div(group->context_tokens, group->panel_tokens);
    const int64_t dealt = ceil_div(all, group->workers) + 2 + SPARE_PANELS;
    return smaller(dealt, all) * records + SINK_PANELS * (records + 1);
}

int64_t memory_group_slots(const struct group_choice *group, const struct model_shape *shape,
                           const struct memory_request *request, int64_t limit_bytes)
{
    const int64_t one = slots_of_context(group, BANDS_RECORDS_MAX);
    const int64_t other = slots_of_context(group, USUAL_RECORDS);
    struct group_choice without = *group;
    struct memory_plan plan;
    without.pool_slots = 0;
    memory_plan_make(&plan, shape, &without, 0, request);
    const int64_t there =
        larger(limit_bytes - plan.total_bytes, 0) / memory_slot_bytes(group, shape);
    if (there <= one)
        return there;
    return smaller(one + (there - one) / 2, one + (group->sequences - 1) * other);
}

int64_t memory_group_least(const struct group_choice *group, const struct model_shape *shape,
                           const struct memory_request *request)
{
    struct group_choice one = *group;
    struct memory_plan plan;
    one.pool_slots = slots_of_context(group, USUAL_RECORDS);
    memory_plan_make(&plan, shape, &one, 0, request);
    return plan.total_bytes;
}

/* ---- bytes ---- */

static int64_t piece(int64_t bytes)
{
    return ceil_div(bytes, PIECE_ALIGNMENT) * PIECE_ALIGNMENT;
}

int64_t memory_sampler_bytes(const struct model_shape *shape)
{
    return SAMPLER_FIXED_BYTES + piece(shape->vocab * CANDIDATE_BYTES) + piece(shape->vocab) +
           2 * piece(shape->vocab * MOVED_BYTES);
}

int64_t memory_draft_bytes(int64_t context_tokens)
{
    int64_t slots = 1;
    while (slots < context_tokens)
        slots *= 2;
    return piece(DRAFT_FIXED_BYTES + slots * DRAFT_SLOT_BYTES);
}

/* Of K or V of one panel on one layer. */
static int64_t record_bytes(const struct group_choice *group, const struct model_shape *shape)
{
    return group->panel_tokens * shape->kv_heads *
           choice_cache_bytes(group->cache, shape->head_dim);
}

int64_t memory_slot_bytes(const struct group_choice *group, const struct model_shape *shape)
{
    return shape->layers * record_bytes(group, shape);
}

/* Rows of a buffer that a stage keeps. */
static int64_t kept_bytes(const struct layer_buffer_row *table, enum layer_buffer buffer,
                          const struct group_choice *group)
{
    const struct bands widest = layer_buffers_widest();
    const int64_t bytes =
        table[buffer].dtype == LAYER_OPERAND ? choice_operand_bytes(group->cache) : F32;
    return group->stage_rows * table[buffer].width * layer_buffers_copies(buffer, &widest, 1) *
           bytes;
}

static int64_t decode_bytes(const struct group_choice *group, const struct layer_buffer_row *table)
{
    const struct bands widest = layer_buffers_widest();
    const int64_t rows = group->step_rows;
    const int64_t heads = table[LAYER_MIXED].width;
    const int64_t states = table[LAYER_STATE].width - heads;
    const int64_t partials = MEMORY_RANGES_MOST * rows;
    int64_t bytes = piece(partials * heads * F32) + 2 * piece(partials * states / 2 * F32);
    for (int buffer = 0; buffer < LAYER_BUFFERS; buffer++)
        bytes += piece(
            rows * F32 *
            layer_buffers_step_width(table, (enum layer_buffer)buffer, &widest, group->workers));
    return bytes;
}

void memory_plan_make(struct memory_plan *plan, const struct model_shape *shape,
                      const struct group_choice *group, int rank,
                      const struct memory_request *request)
{
    struct layer_buffer_row table[LAYER_BUFFERS];
    layer_buffers_make(table, shape);
    *plan = (struct memory_plan){.rank = rank};
    int64_t *bytes = plan->bytes;
    bytes[MEMORY_WEIGHTS] = shape->weights_bytes;
    bytes[MEMORY_CACHE] = group->pool_slots * memory_slot_bytes(group, shape);
    if (group->workers > 1)
        bytes[MEMORY_RECEIVE_SLOTS] = group->receive_slots *
                                      (group->block_tokens / group->panel_tokens) *
                                      BANDS_RECORDS_MAX * record_bytes(group, shape);
    bytes[MEMORY_HIDDEN] = kept_bytes(table, LAYER_HIDDEN, group);
    bytes[MEMORY_QUERIES] = kept_bytes(table, LAYER_QUERIES, group);
    bytes[MEMORY_STATE] = kept_bytes(table, LAYER_STATE, group);
    bytes[MEMORY_ROPE_TABLES] =
        kept_bytes(table, LAYER_TABLES, group) + kept_bytes(table, LAYER_OTHER_TABLES, group);
    bytes[MEMORY_THREAD_SCRATCH] = request->threads * request->scratch_bytes;
    if (group_choice_tensor(group) > 1)
        bytes[MEMORY_SUMS] = piece(kept_bytes(table, LAYER_DELTA, group)) +
                             piece(tensor_sums_scratch(group_choice_tensor(group)) * F32);
    bytes[MEMORY_LOGITS] = request->logit_rows * (shape->vocab + shape->hidden) * F32;
    bytes[MEMORY_DECODE] = decode_bytes(group, table);
    bytes[MEMORY_LISTS] =
        (group->stage_rows + group->step_rows) * request->list_row_bytes +
        (group->pool_slots + MEMORY_RANGES_MOST + SPARE_PANELS) * request->list_panel_bytes;
    bytes[MEMORY_IDS] = group->sequences * group->context_tokens * 4;
    bytes[MEMORY_SCORES] = (group->stage_rows + (rank == 0 ? group->context_tokens : 0)) * F32;
    if (rank == 0) {
        bytes[MEMORY_SAMPLERS] = group->sequences * memory_sampler_bytes(shape);
        bytes[MEMORY_DRAFTS] = group->sequences * memory_draft_bytes(group->context_tokens);
    }
    for (int region = 0; region < MEMORY_REGIONS; region++) {
        bytes[region] = piece(bytes[region]);
        plan->total_bytes += bytes[region];
    }
}

/* ---- saying it ---- */

enum status memory_plan_fits(const struct memory_plan *plan, int64_t limit_bytes)
{
    if (limit_bytes == 0 || plan->total_bytes <= limit_bytes)
        return STATUS_OK;
    int64_t cache = plan->bytes[MEMORY_CACHE];
    int64_t weights = plan->bytes[MEMORY_WEIGHTS];
    return fail(STATUS_OUT_OF_RANGE,
                "the plan needs %.2f GiB on rank %d (weights %.2f, cache %.2f, the rest %.2f) and "
                "%.2f GiB are there: use more workers, a shorter --context, or a method with a "
                "window",
                (double)plan->total_bytes / 0x1p30, plan->rank, (double)weights / 0x1p30,
                (double)cache / 0x1p30, (double)(plan->total_bytes - cache - weights) / 0x1p30,
                (double)limit_bytes / 0x1p30);
}
