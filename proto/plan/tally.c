/* Owns the counts of the blocks that every query sees whole. Promises the sums of schedule_make,
 * exactly, in time that does not grow with the number of stages before. */
#include "proto/plan/tally.h"

#include <assert.h>
#include <stdlib.h>

#include "proto/plan/tally_readers.h"
#include "proto/plan/tiles.h"

/* One rank's part. */
struct part {
    int64_t tokens, blocks;                    /* of the settled blocks that it owns */
    int64_t sink_rows, sink_pairs, sink_edges; /* of its own sink rows, which others recompute */
};

struct tally {
    const struct choice *choice; /* until the next restart */
    int workers;
    const struct ownership *ownership;
    struct regimes regimes;
    int64_t reach; /* of the panels that hold all keys */
    int64_t sinks;
    bool keeps_sinks;
    /* Settled: the blocks in [low, high), all seen whole by the stage looked at last. */
    int64_t low, high;
    struct part *parts; /* [workers] */
    struct tally_readers readers;
};

/* ---- blocks ---- */

/* The block that starts at `index`, cut as a schedule cuts it. */
static struct owned_span block_at(const struct tally *tally, int64_t index, int64_t end)
{
    const int64_t cut =
        index - index % tally->choice->group.block_tokens + tally->choice->group.block_tokens;
    struct owned_span block = {.span = {index, index}};
    int64_t next = index;
    if (ownership_next(tally->ownership, &next, end, &block) && block.span.end > cut)
        block.span.end = cut;
    return block;
}

static bool sees_all(const struct tally *tally, struct span queries, struct span keys)
{
    return tally_readers_see_all(&tally->regimes, queries, keys);
}

/* Moves the settled range on to where `stage` needs it. */
static void settle(struct tally *tally, struct span stage, int64_t live)
{
    while (tally->low < tally->high) {
        const struct owned_span block = block_at(tally, tally->low, tally->high);
        if (sees_all(tally, stage, block.span))
            break;
        tally->parts[block.owner].tokens -= block.span.end - block.span.first;
        tally->parts[block.owner].blocks--;
        tally->low = block.span.end;
    }
    while (tally->high < stage.first) {
        const struct owned_span block = block_at(tally, tally->high, stage.end);
        if (block.span.end > stage.first)
            break;
        const bool settled = block.span.first >= live && sees_all(tally, stage, block.span);
        if (!settled && tally->low < tally->high)
            break;
        tally->high = block.span.end;
        if (!settled) { /* it leaves the window, or has left it */
            tally->low = tally->high;
            continue;
        }
        tally->parts[block.owner].tokens += block.span.end - block.span.first;
        tally->parts[block.owner].blocks++;
    }
}

/* ---- sharded queries ---- */

/* Rows, pairs and edges of every rank. */
static void count_rows(struct tally *tally, struct schedule *schedule, int64_t live)
{
    const struct regimes *regimes = &tally->regimes;
    const struct span stage = schedule->stage, seen = {live, stage.end};
    const struct span sinks = {0, regimes_smaller(tally->sinks, stage.end)};
    int64_t rows = 0, pairs = 0, edges = 0; /* of all sink rows of the stage */
    int64_t index = stage.first;
    struct owned_span owned;
    for (int r = 0; r < schedule->workers; r++)
        tally->parts[r].sink_rows = tally->parts[r].sink_pairs = tally->parts[r].sink_edges = 0;
    while (ownership_next(tally->ownership, &index, stage.end, &owned)) {
        struct schedule_rank *rank = &schedule->ranks[owned.owner];
        rank->rows += owned.span.end - owned.span.first;
        rank->pairs += tiles_pairs(regimes, owned.span, seen, BANDS_PANELS);
        rank->edges += tiles_edges(regimes, owned.span, seen, BANDS_PANELS);
        if (tally->keeps_sinks) {
            rank->pairs += tiles_pairs(regimes, owned.span, sinks, BANDS_SINKS);
            rank->edges += tiles_edges(regimes, owned.span, sinks, BANDS_SINKS);
        }
    }
    index = stage.first;
    while (tally->keeps_sinks && ownership_next(tally->ownership, &index, sinks.end, &owned)) {
        const int64_t owned_pairs = tiles_pairs(regimes, owned.span, sinks, BANDS_PANELS) +
                                    tiles_pairs(regimes, owned.span, sinks, BANDS_SINKS);
        const int64_t owned_edges = tiles_edges(regimes, owned.span, sinks, BANDS_PANELS) +
                                    tiles_edges(regimes, owned.span, sinks, BANDS_SINKS);
        rows += owned.span.end - owned.span.first;
        pairs += owned_pairs;
        edges += owned_edges;
        tally->parts[owned.owner].sink_rows += owned.span.end - owned.span.first;
        tally->parts[owned.owner].sink_pairs += owned_pairs;
        tally->parts[owned.owner].sink_edges += owned_edges;
    }
    for (int r = 0; r < schedule->workers; r++) { /* each recomputes the sink rows of the others */
        schedule->ranks[r].rows += rows - tally->parts[r].sink_rows;
        schedule->ranks[r].pairs += pairs - tally->parts[r].sink_pairs;
        schedule->ranks[r].edges += edges - tally->parts[r].sink_edges;
    }
}

/* The settled blocks go whole to every rank that has rows. */
static void count_settled(const struct tally *tally, struct schedule *schedule)
{
    int64_t tokens = 0, blocks = 0, readers = 0;
    const bool ring = tally->choice->request.schedule == CHOICE_RING;
    for (int r = 0; r < schedule->workers; r++) {
        tokens += tally->parts[r].tokens;
        blocks += tally->parts[r].blocks;
        readers += tally->readers.list[r].query_count > 0;
    }
    for (int r = 0; r < schedule->workers; r++) {
        const struct part *part = &tally->parts[r];
        const bool reads = tally->readers.list[r].query_count > 0;
        struct schedule_rank *rank = &schedule->ranks[r];
        if (reads) {
            rank->receive_tokens += tokens - part->tokens;
            rank->receive_count += (int)(blocks - part->blocks);
        }
        if (!ring) {
            rank->send_tokens += part->tokens * (readers - reads);
            continue;
        }
        /* Around the ring: the owner sends its own once, and each reader but the last goes on. */
        const int last = part->tokens > 0 ? tally_readers_before(&tally->readers, r) : -1;
        if (last >= 0) {
            rank->send_tokens += part->tokens;
            schedule->ranks[last].send_tokens -= part->tokens;
        }
        if (reads)
            rank->send_tokens += tokens - part->tokens;
    }
}

/* ---- the whole ---- */

static void count_range(struct tally *tally, struct schedule *schedule, struct span range)
{
    const struct tally_sight sight = {
        .regimes = &tally->regimes,
        .reach = tally->reach,
        .panel_tokens = ownership_panel_tokens(tally->ownership),
        .ring = tally->choice->request.schedule == CHOICE_RING,
    };
    for (int64_t index = range.first; index < range.end;) {
        const struct owned_span block = block_at(tally, index, range.end);
        index = block.span.end;
        if (!schedule->replicated)
            tally_readers_count(&tally->readers, schedule, &sight, block);
        else
            schedule->ranks[block.owner].pairs +=
                tiles_pairs(&tally->regimes, schedule->stage, block.span, BANDS_PANELS);
    }
}

/* Every rank has all rows; each counts its own keys, and rank 0 the far sinks. */
static void count_replicated(const struct tally *tally, struct schedule *schedule)
{
    const struct regimes *regimes = &tally->regimes;
    const struct span stage = schedule->stage;
    const struct span sinks = {0, regimes_smaller(tally->sinks, stage.end)};
    for (int r = 0; r < schedule->workers; r++)
        schedule->ranks[r].rows = stage.end - stage.first;
    if (tally->keeps_sinks)
        schedule->ranks[0].pairs += tiles_pairs(regimes, stage, sinks, BANDS_SINKS);
}

static void clear_sums(struct schedule *schedule)
{
    for (int r = 0; r < schedule->workers; r++) {
        struct schedule_rank *rank = &schedule->ranks[r];
        rank->rows = rank->pairs = rank->edges = 0;
        rank->receive_tokens = rank->send_tokens = 0;
        rank->receive_count = 0;
    }
}

/* The settled blocks at once, the others one by one. */
static void count_blocks(struct tally *tally, struct schedule *schedule, int64_t live)
{
    const struct span stage = schedule->stage;
    const struct span settled = {tally->low, tally->high};
    if (settled.first == settled.end || !sees_all(tally, stage, settled)) {
        count_range(tally, schedule, (struct span){live, stage.end});
        return;
    }
    count_range(tally, schedule, (struct span){live, settled.first});
    count_range(tally, schedule, (struct span){settled.end, stage.end});
    for (int r = 0; schedule->replicated && r < schedule->workers; r++)
        schedule->ranks[r].pairs += (stage.end - stage.first) * tally->parts[r].tokens;
    if (!schedule->replicated)
        count_settled(tally, schedule);
}

enum status tally_stage(struct tally *tally, struct schedule *schedule, struct span stage)
{
    assert(stage.first < stage.end && stage.end == ownership_tokens(tally->ownership));
    const int64_t live = ownership_live_first(tally->ownership, stage.first, tally->reach);
    schedule->stage = stage;
    schedule->replicated = choice_stage_queries(tally->choice, stage) == CHOICE_REPLICATED;
    clear_sums(schedule);
    settle(tally, stage, live);
    if (schedule->replicated) {
        count_replicated(tally, schedule);
        count_blocks(tally, schedule, live);
        return STATUS_OK;
    }
    TRY(tally_readers_begin(&tally->readers, tally->ownership, stage));
    count_rows(tally, schedule, live);
    count_blocks(tally, schedule, live);
    tally_readers_end(&tally->readers, schedule, tally->choice->request.schedule == CHOICE_RING);
    return STATUS_OK;
}

/* ---- life ---- */

void tally_see(struct tally *tally, const struct bands *bands)
{
    regimes_make(&tally->regimes, bands);
    tally->reach = bands_reach(bands);
}

void tally_restart(struct tally *tally, const struct choice *choice)
{
    tally->choice = choice;
    struct bands bands;
    choice_bands(choice, &bands);
    tally_see(tally, &bands);
    tally->keeps_sinks = schedule_keeps_sinks(choice, &bands);
    tally->sinks = bands.sinks;
    tally->low = tally->high = 0;
    for (int r = 0; r < tally->workers; r++)
        tally->parts[r].tokens = tally->parts[r].blocks = 0;
}

enum status tally_create(struct tally **tally, const struct choice *choice,
                         const struct ownership *ownership)
{
    struct tally *t = calloc(1, sizeof *t);
    if (!t)
        return fail(STATUS_RESOURCE_EXHAUSTED, "plan: no memory to count stages");
    t->workers = choice->group.workers;
    t->ownership = ownership;
    t->parts = calloc((size_t)t->workers, sizeof *t->parts);
    enum status status = tally_readers_init(&t->readers, t->workers);
    if (status == STATUS_OK && !t->parts)
        status = fail(STATUS_RESOURCE_EXHAUSTED, "plan: no memory to count stages");
    if (status != STATUS_OK) {
        tally_destroy(t);
        return status;
    }
    tally_restart(t, choice);
    *tally = t;
    return STATUS_OK;
}

void tally_destroy(struct tally *tally)
{
    if (!tally)
        return;
    tally_readers_deinit(&tally->readers);
    free(tally->parts);
    free(tally);
}
