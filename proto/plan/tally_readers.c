/* Owns the rows of a stage, rank by rank. Promises the sums of a schedule's transfers, in time that
 * goes with the blocks where all later rows see them whole, and otherwise with the blocks and those
 * of their ranks that a block can reach. */
#include "proto/plan/tally_readers.h"

#include <stdlib.h>

#include "proto/plan/tiles.h"

static enum status no_memory(void)
{
    return fail(STATUS_RESOURCE_EXHAUSTED, "plan: no memory to count a stage");
}

/* ---- the stage's rows ---- */

static enum status add_query(struct tally_reader *reader, struct span span)
{
    if (reader->query_count == reader->query_capacity) {
        const int capacity = 2 * reader->query_capacity + 4;
        struct span *queries = reallocarray(reader->queries, (size_t)capacity, sizeof *queries);
        if (!queries)
            return no_memory();
        reader->queries = queries;
        reader->query_capacity = capacity;
    }
    reader->queries[reader->query_count++] = span;
    return STATUS_OK;
}

static enum status grow_spans(struct tally_readers *readers)
{
    const int capacity = 2 * readers->span_capacity + 2 * readers->workers + 2;
    struct owned_span *spans = reallocarray(readers->spans, (size_t)capacity, sizeof *spans);
    if (!spans)
        return no_memory();
    readers->spans = spans;
    struct tally_arrivals *arrivals =
        reallocarray(readers->arrivals, (size_t)capacity, sizeof *arrivals);
    if (!arrivals)
        return no_memory();
    readers->arrivals = arrivals;
    int *last_from = reallocarray(readers->last_from, (size_t)capacity + 1, sizeof *last_from);
    if (!last_from)
        return no_memory();
    readers->last_from = last_from;
    readers->span_capacity = capacity;
    return STATUS_OK;
}

enum status tally_readers_begin(struct tally_readers *readers, const struct ownership *ownership,
                                struct span stage)
{
    struct owned_span owned;
    int64_t index = stage.first;
    readers->span_count = 0;
    for (int r = 0; r < readers->workers; r++) {
        readers->list[r].query_count = 0;
        readers->list[r].last_span = -1;
    }
    while (ownership_next(ownership, &index, stage.end, &owned)) {
        if (readers->span_count == readers->span_capacity)
            TRY(grow_spans(readers));
        TRY(add_query(&readers->list[owned.owner], owned.span));
        readers->list[owned.owner].last_span = readers->span_count;
        readers->arrivals[readers->span_count] = (struct tally_arrivals){0};
        readers->spans[readers->span_count++] = owned;
    }
    readers->last_from[readers->span_count] = 0;
    for (int s = readers->span_count - 1; s >= 0; s--)
        readers->last_from[s] =
            readers->last_from[s + 1] + (readers->list[readers->spans[s].owner].last_span == s);
    return STATUS_OK;
}

/* ---- blocks that later rows see whole ---- */

bool tally_readers_see_all(const struct regimes *regimes, struct span queries, struct span keys)
{
    return tiles_pairs(regimes, queries, keys, BANDS_PANELS) ==
           (queries.end - queries.first) * (keys.end - keys.first);
}

/* The first owned span that does not begin before `index`. */
static int span_from(const struct tally_readers *readers, int64_t index)
{
    int low = 0, high = readers->span_count;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (readers->spans[middle].span.first >= index)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static bool reads_from(const struct tally_readers *readers, int rank, int span)
{
    return readers->list[rank].last_span >= span;
}

/* The nearest rank before `owner` around the ring that has rows from `span` on; -1: none. */
static int last_reader(const struct tally_readers *readers, int owner, int span)
{
    for (int hop = 1; hop < readers->workers; hop++) {
        const int r = (owner - hop + readers->workers) % readers->workers;
        if (reads_from(readers, r, span))
            return r;
    }
    return -1;
}

int tally_readers_before(const struct tally_readers *readers, int owner)
{
    return last_reader(readers, owner, 0);
}

/* To every rank with rows behind the block, where these see all of it. The rows of the block's own
 * span are its owner's, and earlier ones see nothing of it. */
static bool count_whole(struct tally_readers *readers, struct schedule *schedule,
                        const struct tally_sight *sight, struct owned_span block)
{
    const int64_t tokens = block.span.end - block.span.first;
    int from = span_from(readers, block.span.first);
    while (from < readers->span_count && readers->spans[from].span.first < block.span.end) {
        if (readers->spans[from].owner != block.owner)
            return false;
        from++;
    }
    if (from > 0 && readers->spans[from - 1].span.end > block.span.first &&
        readers->spans[from - 1].owner != block.owner)
        return false;
    const int readers_count = readers->last_from[from] - reads_from(readers, block.owner, from);
    if (readers_count == 0)
        return true;
    const struct span rows = {readers->spans[from].span.first,
                              readers->spans[readers->span_count - 1].span.end};
    if (!tally_readers_see_all(sight->regimes, rows, block.span))
        return false;
    readers->arrivals[from].tokens += tokens;
    readers->arrivals[from].blocks++;
    if (reads_from(readers, block.owner, from)) { /* its own it does not receive */
        schedule->ranks[block.owner].receive_tokens -= tokens;
        schedule->ranks[block.owner].receive_count--;
    }
    if (!sight->ring) {
        schedule->ranks[block.owner].send_tokens += readers_count * tokens;
        return true;
    }
    /* The owner sends once, and each reader but the last goes on: what arrives is sent on. */
    schedule->ranks[block.owner].send_tokens += tokens;
    schedule->ranks[last_reader(readers, block.owner, from)].send_tokens -= tokens;
    if (reads_from(readers, block.owner, from))
        schedule->ranks[block.owner].send_tokens -= tokens;
    return true;
}

void tally_readers_end(const struct tally_readers *readers, struct schedule *schedule, bool ring)
{
    struct tally_arrivals all = {0};
    for (int s = 0; s < readers->span_count; s++) {
        const int owner = readers->spans[s].owner;
        all.tokens += readers->arrivals[s].tokens;
        all.blocks += readers->arrivals[s].blocks;
        if (readers->list[owner].last_span != s)
            continue;
        schedule->ranks[owner].receive_tokens += all.tokens;
        schedule->ranks[owner].receive_count += all.blocks;
        schedule->ranks[owner].send_tokens += ring ? all.tokens : 0;
    }
}

/* ---- other blocks ---- */

/* What rank r reads of a block; empty where it reads none. */
static struct span read_by(const struct tally_readers *readers, const struct tally_sight *sight,
                           int r, struct span keys)
{
    const struct tally_reader *reader = &readers->list[r];
    const struct span none = {keys.first, keys.first};
    if (reader->query_count == 0)
        return none;
    const struct span last = reader->queries[reader->query_count - 1];
    if (keys.first >= last.end) /* queries ascend, and see nothing after themselves */
        return none;
    if (tally_readers_see_all(sight->regimes, last, keys))
        return keys;
    return tiles_trim(sight->regimes, reader->queries, reader->query_count, keys,
                      sight->panel_tokens);
}

static void count_transfer(struct schedule *schedule, int from, int to, int64_t tokens)
{
    schedule->ranks[from].send_tokens += tokens;
    schedule->ranks[to].receive_tokens += tokens;
    schedule->ranks[to].receive_count++;
}

/* The end of the owned spans from `from` on whose rows all see the block whole. */
static int whole_end(const struct tally_readers *readers, const struct tally_sight *sight,
                     struct span keys, int from)
{
    int low = from, high = readers->span_count;
    while (low < high) {
        const int middle = (low + high + 1) / 2;
        const struct span rows = {readers->spans[from].span.first,
                                  readers->spans[middle - 1].span.end};
        if (tally_readers_see_all(sight->regimes, rows, keys))
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

/* Straight to those whose rows are not before the block, nor beyond its reach. */
static void count_direct(struct tally_readers *readers, struct schedule *schedule,
                         const struct tally_sight *sight, struct owned_span block)
{
    const int64_t beyond = sight->reach == BANDS_OPEN ? INT64_MAX : block.span.end + sight->reach;
    int span = span_from(readers, block.span.first);
    const int behind = span_from(readers, block.span.end);
    const int whole = whole_end(readers, sight, block.span, behind);
    readers->looked++;
    readers->list[block.owner].looked = readers->looked;
    if (span > 0 && readers->spans[span - 1].span.end > block.span.first)
        span--;
    for (; span < readers->span_count && readers->spans[span].span.first < beyond; span++) {
        const int r = readers->spans[span].owner;
        if (readers->list[r].looked == readers->looked)
            continue;
        readers->list[r].looked = readers->looked;
        const struct span keys =
            span >= behind && span < whole ? block.span : read_by(readers, sight, r, block.span);
        if (keys.first < keys.end)
            count_transfer(schedule, block.owner, r, keys.end - keys.first);
    }
}

/* As much as all readers read together, from one to the next. */
static void count_around(const struct tally_readers *readers, struct schedule *schedule,
                         const struct tally_sight *sight, struct owned_span block)
{
    const int workers = readers->workers;
    struct span all = {block.span.end, block.span.first};
    for (int hop = 1; hop < workers; hop++) {
        const struct span keys = read_by(readers, sight, (block.owner + hop) % workers, block.span);
        if (keys.first == keys.end)
            continue;
        all.first = keys.first < all.first ? keys.first : all.first;
        all.end = keys.end > all.end ? keys.end : all.end;
    }
    int holder = block.owner;
    for (int hop = 1; all.first < all.end && hop < workers; hop++) {
        const int r = (block.owner + hop) % workers;
        const struct span keys = read_by(readers, sight, r, block.span);
        if (keys.first == keys.end)
            continue;
        count_transfer(schedule, holder, r, all.end - all.first);
        holder = r;
    }
}

void tally_readers_count(struct tally_readers *readers, struct schedule *schedule,
                         const struct tally_sight *sight, struct owned_span block)
{
    if (count_whole(readers, schedule, sight, block))
        return;
    if (sight->ring)
        count_around(readers, schedule, sight, block);
    else
        count_direct(readers, schedule, sight, block);
}

/* ---- life ---- */

enum status tally_readers_init(struct tally_readers *readers, int workers)
{
    *readers = (struct tally_readers){.workers = workers};
    readers->list = calloc((size_t)workers, sizeof *readers->list);
    return readers->list ? STATUS_OK : no_memory();
}

void tally_readers_deinit(struct tally_readers *readers)
{
    for (int r = 0; readers->list && r < readers->workers; r++)
        free(readers->list[r].queries);
    free(readers->list);
    free(readers->spans);
    free(readers->arrivals);
    free(readers->last_from);
}
