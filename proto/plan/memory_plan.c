/* Owns the sizes of a rank's memory. Promises that they hold for every prompt up to the context, by
 * walking through the stages of the longest one. */
#include "proto/plan/memory_plan.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/plan/cost.h"
#include "proto/plan/layer_buffers.h"
#include "proto/plan/schedule.h"

enum { F32 = 4, PIECE_ALIGNMENT = 64, SPARE_PANELS = 4, RANGES_MOST = 32 };

static const char *const names[MEMORY_REGIONS] = {
    [MEMORY_WEIGHTS] = "weights",
    [MEMORY_CACHE] = "cache",
    [MEMORY_RECEIVE_SLOTS] = "receive slots",
    [MEMORY_HIDDEN] = "hidden",
    [MEMORY_QUERIES] = "queries",
    [MEMORY_STATE] = "attention state",
    [MEMORY_ROPE_TABLES] = "rope tables",
    [MEMORY_THREAD_SCRATCH] = "thread scratch",
    [MEMORY_LOGITS] = "logits",
    [MEMORY_DECODE] = "decode",
    [MEMORY_LISTS] = "lists",
    [MEMORY_IDS] = "ids",
    [MEMORY_SCORES] = "scores",
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
    method_bands(&choice->request.method, &bands);
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
    while (ceil_div(keys, range) > RANGES_MOST)
        range *= 2;
    return range;
}

int64_t memory_plan_ranges(const struct choice *choice)
{
    return ceil_div(step_keys(choice), memory_plan_range_tokens(choice)) + 2;
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

/* Counts whole panels: a shorter prompt may fill one that the longest one leaves nearly empty.
 * Looks at the owned spans of the stage, and at those that die with it. */
static enum status visit_stage(struct walk *walk, struct span stage)
{
    const bool sharded = choice_stage_queries(walk->choice, stage) != CHOICE_REPLICATED;
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
            peak->rows = larger(peak->rows, peak->dealt * walk->choice->group.panel_tokens + sinks);
    }
    return STATUS_OK;
}

/* The most of every rank; `peaks` is zeroed. */
static enum status walk_stages(struct peak *peaks, const struct choice *choice, int64_t kept_sinks)
{
    struct bands bands;
    method_bands(&choice->request.method, &bands);
    struct walk walk = {
        .choice = choice, .reach = bands_reach(&bands), .kept_sinks = kept_sinks, .peaks = peaks};
    TRY(ownership_create(&walk.ownership, choice->group.workers, choice->group.panel_tokens));
    enum status status = STATUS_OK;
    struct span stage = {0, 0};
    while (status == STATUS_OK && stage.end < choice->request.context_tokens) {
        stage = choice_stage(choice, stage.end, choice->request.context_tokens);
        status = visit_stage(&walk, stage);
    }
    ownership_destroy(walk.ownership);
    return status;
}

/* A shorter prompt with a longer answer deals its panels otherwise: round robin, and evenly up to a
 * few. */
static void allow_for_decode(struct memory_plan *plan, const struct choice *choice)
{
    struct bands bands;
    method_bands(&choice->request.method, &bands);
    int64_t all = ceil_div(choice->request.context_tokens, choice->group.panel_tokens);
    int64_t reach = bands_reach(&bands);
    int64_t seen = reach < choice->request.context_tokens
                       ? ceil_div(reach, choice->group.panel_tokens) + 1
                       : all;
    int64_t most = larger(plan->cache_panels, ceil_div(seen, choice->group.workers)) + SPARE_PANELS;
    plan->cache_panels = smaller(most, all);
    plan->cache_slots = plan->cache_panels + 2 * plan->sink_panels;
    plan->replicated_rows = replicated_rows(choice);
}

/* ---- bytes ---- */

static int64_t piece(int64_t bytes)
{
    return ceil_div(bytes, PIECE_ALIGNMENT) * PIECE_ALIGNMENT;
}

/* Rows of a buffer that a stage keeps. */
static int64_t kept_bytes(const struct layer_buffer_row *table, enum layer_buffer buffer,
                          const struct choice *choice, const struct bands *bands)
{
    const int64_t bytes = table[buffer].dtype == LAYER_OPERAND ? choice_cache_bytes(choice) : F32;
    return table[buffer].width * layer_buffers_copies(buffer, bands, 1) * bytes;
}

static int64_t decode_bytes(const struct memory_plan *plan, const struct layer_buffer_row *table,
                            const struct choice *choice, const struct bands *bands)
{
    const int64_t rows = plan->replicated_rows;
    const int64_t heads = table[LAYER_MIXED].width;
    const int64_t states = table[LAYER_STATE].width - heads;
    const int64_t ranges = memory_plan_ranges(choice);
    int64_t bytes =
        piece(ranges * rows * heads * F32) + 2 * piece(ranges * rows * states / 2 * F32);
    for (int buffer = 0; buffer < LAYER_BUFFERS; buffer++)
        bytes += piece(rows * F32 *
                       layer_buffers_step_width(table, (enum layer_buffer)buffer, bands,
                                                choice->group.workers));
    return bytes;
}

static void fill_bytes(struct memory_plan *plan, const struct model_shape *shape,
                       const struct choice *choice, const struct memory_request *request)
{
    struct bands bands;
    struct layer_buffer_row table[LAYER_BUFFERS];
    method_bands(&choice->request.method, &bands);
    layer_buffers_make(table, shape);
    int64_t panel_bytes = choice->group.panel_tokens * cost_kv_bytes(shape, choice);
    int64_t *bytes = plan->bytes;
    bytes[MEMORY_WEIGHTS] = shape->weights_bytes;
    bytes[MEMORY_CACHE] = shape->layers * plan->cache_slots * panel_bytes;
    if (choice->group.workers > 1)
        bytes[MEMORY_RECEIVE_SLOTS] = choice->group.receive_slots *
                                      (choice->group.block_tokens / choice->group.panel_tokens) *
                                      panel_bytes;
    bytes[MEMORY_HIDDEN] = plan->rows * kept_bytes(table, LAYER_HIDDEN, choice, &bands);
    bytes[MEMORY_QUERIES] = plan->rows * kept_bytes(table, LAYER_QUERIES, choice, &bands);
    bytes[MEMORY_STATE] = plan->rows * kept_bytes(table, LAYER_STATE, choice, &bands);
    bytes[MEMORY_ROPE_TABLES] = plan->rows * kept_bytes(table, LAYER_TABLES, choice, &bands);
    bytes[MEMORY_THREAD_SCRATCH] = request->threads * request->scratch_bytes;
    bytes[MEMORY_LOGITS] = request->logit_rows * (shape->vocab + shape->hidden) * F32;
    bytes[MEMORY_DECODE] = decode_bytes(plan, table, choice, &bands);
    bytes[MEMORY_LISTS] =
        (plan->rows + plan->replicated_rows) * request->list_row_bytes +
        (plan->cache_slots + memory_plan_ranges(choice) + SPARE_PANELS) * request->list_panel_bytes;
    bytes[MEMORY_IDS] = choice->request.context_tokens * 4;
    bytes[MEMORY_SCORES] =
        (plan->rows + (plan->rank == 0 ? choice->request.context_tokens : 0)) * F32;
    for (int region = 0; region < MEMORY_REGIONS; region++) {
        bytes[region] = piece(bytes[region]);
        plan->total_bytes += bytes[region];
    }
}

enum status memory_plan_make_each(struct memory_plan *plans, const struct model_shape *shape,
                                  const struct choice *choice, int first, int end,
                                  const struct memory_request *request)
{
    struct bands bands;
    method_bands(&choice->request.method, &bands);
    const int64_t kept_sinks = schedule_keeps_sinks(choice, &bands) ? bands.sinks : 0;
    struct peak *peaks = calloc((size_t)choice->group.workers, sizeof *peaks);
    if (!peaks)
        return fail(STATUS_RESOURCE_EXHAUSTED, "plan: no memory to plan %d workers",
                    choice->group.workers);
    enum status status = walk_stages(peaks, choice, kept_sinks);
    for (int rank = first; status == STATUS_OK && rank < end; rank++) {
        struct memory_plan *plan = &plans[rank - first];
        *plan = (struct memory_plan){
            .rank = rank,
            .rows = peaks[rank].rows,
            .cache_panels = peaks[rank].cache_panels,
            .sink_panels = ceil_div(kept_sinks, choice->group.panel_tokens),
        };
        allow_for_decode(plan, choice);
        fill_bytes(plan, shape, choice, request);
    }
    free(peaks);
    return status;
}

enum status memory_plan_make(struct memory_plan *plan, const struct model_shape *shape,
                             const struct choice *choice, int rank,
                             const struct memory_request *request)
{
    return memory_plan_make_each(plan, shape, choice, rank, rank + 1, request);
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
