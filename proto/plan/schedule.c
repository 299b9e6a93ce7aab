/* Owns the schedule of a stage. Promises that every visible pair of the stage is computed once, on
 * the rank that has the query (or, replicated, the key), and that nothing travels which its
 * receiver does not read.
 *
 * A panel that is not full yet is the sequence's last one. The queries that see its keys stand in
 * it themselves, and so belong to its owner: whatever travels is full panels.
 *
 * Why the ring cannot deadlock with max(1, workers - 1) receive slots. Order the transfers by
 * (round, hop). A rank receives in this order and sends to each peer in this order. Take the least
 * unfinished transfer T, of round g and hop h. Its sender holds the block: it is the owner, or
 * received it at a smaller hop of the same round, and that transfer is finished. Every earlier send
 * to the same peer is finished too. Its receiver's slots can only be held by blocks of round g
 * received at hops below h and still to be forwarded (forwards in earlier rounds come before T, so
 * they are done): at most h - 1 <= workers - 2 of them. So one slot is free for T, and it proceeds.
 */
#include "proto/plan/schedule.h"

#include <assert.h>
#include <stdlib.h>

#include "proto/plan/tiles.h"

enum { QUERIES, RECEIVES, SENDS, READS };

/* What may travel: keys of one owner, whole panels. */
struct block {
    struct span keys;
    int owner;
    int holder;         /* ring: the last rank on its way so far */
    int holder_receive; /* its index in that rank's receives; -1 at the owner */
};

struct block_list {
    struct block *blocks;
    int count, capacity;
};

/* What every part of the making needs. */
struct maker {
    const struct choice *choice;
    struct regimes regimes;
    int64_t reach; /* of the panels that hold all keys */
    int64_t sinks;
    const struct ownership *ownership;
    struct span stage;
    bool keeps_sinks;
};

static struct maker maker_of(const struct choice *choice, const struct bands *bands,
                             const struct ownership *ownership, struct span stage)
{
    struct maker maker = {.choice = choice,
                          .reach = bands_reach(bands),
                          .sinks = bands->sinks,
                          .ownership = ownership,
                          .stage = stage,
                          .keeps_sinks = schedule_keeps_sinks(choice, bands)};
    regimes_make(&maker.regimes, bands);
    return maker;
}

/* ---- growing lists ---- */

/* The array with room for one more than `count`, or NULL. */
static void *reserve(void *array, int *capacity, int count, size_t element_bytes)
{
    if (count < *capacity)
        return array;
    const int next = 2 * *capacity + 8;
    void *grown = reallocarray(array, (size_t)next, element_bytes);
    if (grown)
        *capacity = next;
    return grown;
}

static enum status no_memory(void)
{
    return fail(STATUS_RESOURCE_EXHAUSTED, "plan: no memory for a stage's schedule");
}

static enum status add_query(struct schedule_rank *rank, struct span span)
{
    struct span *queries =
        reserve(rank->queries, &rank->capacity[QUERIES], rank->query_count, sizeof *queries);
    if (!queries)
        return no_memory();
    rank->queries = queries;
    queries[rank->query_count++] = span;
    rank->rows += span.end - span.first;
    return STATUS_OK;
}

static enum status add_read(struct schedule_rank *rank, struct schedule_read read)
{
    struct schedule_read *reads =
        reserve(rank->reads, &rank->capacity[READS], rank->read_count, sizeof *reads);
    if (!reads)
        return no_memory();
    rank->reads = reads;
    struct schedule_read *last = rank->read_count > 0 ? &reads[rank->read_count - 1] : NULL;
    if (last && read.source == SCHEDULE_LOCAL && last->source == SCHEDULE_LOCAL &&
        last->keys.end == read.keys.first)
        last->keys.end = read.keys.end;
    else
        reads[rank->read_count++] = read;
    return STATUS_OK;
}

/* A block's hop from `holder` to `to`, and to's read of it. */
static enum status add_transfer(struct schedule *schedule, struct block *block, struct span keys,
                                int to)
{
    struct schedule_rank *sender = &schedule->ranks[block->holder];
    struct schedule_rank *receiver = &schedule->ranks[to];
    struct schedule_send *sends =
        reserve(sender->sends, &sender->capacity[SENDS], sender->send_count, sizeof *sends);
    if (!sends)
        return no_memory();
    sender->sends = sends;
    struct schedule_receive *receives = reserve(receiver->receives, &receiver->capacity[RECEIVES],
                                                receiver->receive_count, sizeof *receives);
    if (!receives)
        return no_memory();
    receiver->receives = receives;
    sends[sender->send_count++] = (struct schedule_send){keys, to, block->holder_receive};
    receives[receiver->receive_count] = (struct schedule_receive){keys, block->holder};
    sender->send_tokens += keys.end - keys.first;
    receiver->receive_tokens += keys.end - keys.first;
    const struct schedule_read read = {.keys = keys,
                                       .source = SCHEDULE_RECEIVED,
                                       .receive = receiver->receive_count++,
                                       .query_first = receiver->recomputed_count,
                                       .query_end = receiver->query_count};
    return add_read(receiver, read);
}

static enum status add_block(struct block_list *list, struct block block)
{
    struct block *blocks = reserve(list->blocks, &list->capacity, list->count, sizeof *blocks);
    if (!blocks)
        return no_memory();
    list->blocks = blocks;
    blocks[list->count++] = block;
    return STATUS_OK;
}

static void clear_rank(struct schedule_rank *rank)
{
    rank->query_count = 0;
    rank->recomputed_count = 0;
    rank->receive_count = 0;
    rank->send_count = 0;
    rank->read_count = 0;
    rank->rows = 0;
    rank->pairs = rank->edges = 0;
    rank->receive_tokens = 0;
    rank->send_tokens = 0;
}

/* ---- queries and sinks ---- */

bool schedule_keeps_sinks(const struct choice *choice, const struct bands *bands)
{
    struct regimes regimes;
    regimes_make(&regimes, bands);
    return regimes_far_sinks(&regimes, choice->request.context_tokens);
}

/* The sinks that exist by the end of the stage. */
static struct span sinks_of(const struct maker *maker)
{
    return (struct span){0, regimes_smaller(maker->sinks, maker->stage.end)};
}

static enum status add_sharded_queries(const struct maker *maker, struct schedule_rank *rank,
                                       int number)
{
    struct owned_span owned;
    int64_t index = maker->stage.first;
    const int64_t sinks_end = sinks_of(maker).end;
    while (maker->keeps_sinks && ownership_next(maker->ownership, &index, sinks_end, &owned))
        if (owned.owner != number)
            TRY(add_query(rank, owned.span));
    rank->recomputed_count = rank->query_count;
    index = maker->stage.first;
    while (ownership_next(maker->ownership, &index, maker->stage.end, &owned))
        if (owned.owner == number)
            TRY(add_query(rank, owned.span));
    return STATUS_OK;
}

static enum bands_store store_of(enum schedule_source source)
{
    return source == SCHEDULE_SINKS ? BANDS_SINKS : BANDS_PANELS;
}

/* A read of the sinks out of `source`, if one of the queries reads them there. */
static enum status add_sinks_read(const struct maker *maker, struct schedule_rank *rank,
                                  enum schedule_source source, int query_end)
{
    const struct schedule_read read = {
        .keys = sinks_of(maker), .source = source, .receive = -1, .query_end = query_end};
    for (int q = 0; q < query_end; q++)
        if (tiles_read(&maker->regimes, rank->queries[q], read.keys, store_of(source)))
            return add_read(rank, read);
    return STATUS_OK;
}

static enum status add_sinks_reads(const struct maker *maker, struct schedule_rank *rank)
{
    if (!maker->keeps_sinks)
        return STATUS_OK;
    TRY(add_sinks_read(maker, rank, SCHEDULE_SINKS, rank->query_count));
    return add_sinks_read(maker, rank, SCHEDULE_SINKS_NEAR, rank->recomputed_count);
}

/* Adds what rank reads of `keys`, its own. */
static enum status add_local_read(const struct maker *maker, struct schedule_rank *rank,
                                  struct span keys)
{
    const int owned = rank->recomputed_count;
    const struct span seen =
        tiles_trim(&maker->regimes, rank->queries + owned, rank->query_count - owned, keys,
                   ownership_panel_tokens(maker->ownership));
    if (seen.first == seen.end)
        return STATUS_OK;
    const struct schedule_read read = {.keys = seen,
                                       .source = SCHEDULE_LOCAL,
                                       .receive = -1,
                                       .query_first = owned,
                                       .query_end = rank->query_count};
    return add_read(rank, read);
}

static void count_pairs(const struct maker *maker, struct schedule_rank *rank, bool sharded)
{
    for (int s = 0; s < rank->read_count; s++) {
        const struct schedule_read *read = &rank->reads[s];
        const enum bands_store store = store_of(read->source);
        for (int q = read->query_first; q < read->query_end; q++) {
            rank->pairs += tiles_pairs(&maker->regimes, rank->queries[q], read->keys, store);
            if (sharded)
                rank->edges += tiles_edges(&maker->regimes, rank->queries[q], read->keys, store);
        }
    }
}

/* ---- blocks ---- */

/* Everything that is present and within reach, in ascending order. */
static enum status list_blocks(const struct maker *maker, struct block_list *list)
{
    const int64_t block_tokens = maker->choice->group.block_tokens;
    struct owned_span owned;
    int64_t index = ownership_live_first(maker->ownership, maker->stage.first, maker->reach);
    while (ownership_next(maker->ownership, &index, maker->stage.end, &owned)) {
        int64_t first = owned.span.first;
        while (first < owned.span.end) {
            const int64_t cut = first - first % block_tokens + block_tokens;
            const struct block block = {
                .keys = {first, cut < owned.span.end ? cut : owned.span.end},
                .owner = owned.owner,
                .holder = owned.owner,
                .holder_receive = -1,
            };
            TRY(add_block(list, block));
            first = block.keys.end;
        }
    }
    return STATUS_OK;
}

static struct span read_by(const struct maker *maker, const struct schedule_rank *rank,
                           struct span keys)
{
    const int owned = rank->recomputed_count;
    return tiles_trim(&maker->regimes, rank->queries + owned, rank->query_count - owned, keys,
                      ownership_panel_tokens(maker->ownership));
}

/* Each rank takes what it reads straight from the owner, in ascending order. */
static enum status make_direct(const struct maker *maker, struct schedule *schedule,
                               struct block_list *list)
{
    for (int b = 0; b < list->count; b++) {
        struct block *block = &list->blocks[b];
        for (int r = 0; r < schedule->workers; r++) {
            if (r == block->owner) {
                TRY(add_local_read(maker, &schedule->ranks[r], block->keys));
                continue;
            }
            const struct span keys = read_by(maker, &schedule->ranks[r], block->keys);
            if (keys.first < keys.end)
                TRY(add_transfer(schedule, block, keys, r));
        }
    }
    return STATUS_OK;
}

/* What the other ranks read of a block, together: this much goes along its readers. */
static struct span read_by_others(const struct maker *maker, const struct schedule *schedule,
                                  const struct block *block)
{
    struct span all = {block->keys.end, block->keys.first};
    for (int r = 0; r < schedule->workers; r++) {
        const struct span keys = read_by(maker, &schedule->ranks[r], block->keys);
        if (r == block->owner || keys.first == keys.end)
            continue;
        if (keys.first < all.first)
            all.first = keys.first;
        if (keys.end > all.end)
            all.end = keys.end;
    }
    return all;
}

/* The owner's block of a round: its round-th in ascending order; NULL past its last. */
static struct block *block_of_round(struct block_list *list, int owner, int round)
{
    for (int b = 0; b < list->count; b++)
        if (list->blocks[b].owner == owner && round-- == 0)
            return &list->blocks[b];
    return NULL;
}

/* Hop 0 of a round: every rank attends to its own block, which is then cut to what travels. */
static enum status make_ring_start(const struct maker *maker, struct schedule *schedule,
                                   struct block **blocks)
{
    for (int r = 0; r < schedule->workers; r++) {
        if (!blocks[r])
            continue;
        TRY(add_local_read(maker, &schedule->ranks[r], blocks[r]->keys));
        blocks[r]->keys = read_by_others(maker, schedule, blocks[r]);
    }
    return STATUS_OK;
}

/* One block of every rank goes around, along its readers. */
static enum status make_ring_round(const struct maker *maker, struct schedule *schedule,
                                   struct block **blocks)
{
    const int workers = schedule->workers;
    TRY(make_ring_start(maker, schedule, blocks));
    for (int hop = 1; hop < workers; hop++) {
        for (int r = 0; r < workers; r++) {
            struct block *block = blocks[(r - hop + workers) % workers];
            if (!block || block->keys.first >= block->keys.end)
                continue;
            const struct span keys = read_by(maker, &schedule->ranks[r], block->keys);
            if (keys.first == keys.end)
                continue;
            TRY(add_transfer(schedule, block, block->keys, r));
            block->holder = r;
            block->holder_receive = schedule->ranks[r].receive_count - 1;
        }
    }
    return STATUS_OK;
}

static enum status make_ring(const struct maker *maker, struct schedule *schedule,
                             struct block_list *list)
{
    const int workers = schedule->workers;
    struct block **blocks = calloc((size_t)workers, sizeof(struct block *));
    if (!blocks)
        return no_memory();
    enum status status = STATUS_OK;
    for (int round = 0;; round++) {
        int present = 0;
        for (int r = 0; r < workers; r++) {
            blocks[r] = block_of_round(list, r, round);
            present += blocks[r] != NULL;
        }
        if (present == 0)
            break;
        TRY_ELSE(make_ring_round(maker, schedule, blocks), done);
    }
done:
    free(blocks);
    return status;
}

/* ---- the whole ---- */

enum status schedule_init(struct schedule *schedule, int workers)
{
    *schedule = (struct schedule){.workers = workers};
    schedule->ranks = calloc((size_t)workers, sizeof *schedule->ranks);
    return schedule->ranks ? STATUS_OK : no_memory();
}

void schedule_rank_deinit(struct schedule_rank *rank)
{
    free(rank->queries);
    free(rank->receives);
    free(rank->sends);
    free(rank->reads);
    *rank = (struct schedule_rank){0};
}

void schedule_deinit(struct schedule *schedule)
{
    for (int r = 0; schedule->ranks && r < schedule->workers; r++)
        schedule_rank_deinit(&schedule->ranks[r]);
    free(schedule->ranks);
    *schedule = (struct schedule){0};
}

static enum status make_sharded(const struct maker *maker, struct schedule *schedule)
{
    for (int r = 0; r < schedule->workers; r++) {
        clear_rank(&schedule->ranks[r]);
        TRY(add_sharded_queries(maker, &schedule->ranks[r], r));
        TRY(add_sinks_reads(maker, &schedule->ranks[r]));
    }
    struct block_list list = {0};
    enum status status = STATUS_OK;
    TRY_ELSE(list_blocks(maker, &list), done);
    if (maker->choice->request.schedule == CHOICE_RING)
        status = make_ring(maker, schedule, &list);
    else
        status = make_direct(maker, schedule, &list);
done:
    free(list.blocks);
    return status;
}

static enum status make_replicated(const struct maker *maker, struct schedule_rank *rank,
                                   int number)
{
    clear_rank(rank);
    TRY(add_query(rank, maker->stage));
    /* Every rank keeps the far sinks; one of them counts them. */
    if (number == 0)
        TRY(add_sinks_reads(maker, rank));
    struct owned_span owned;
    int64_t index = ownership_live_first(maker->ownership, maker->stage.first, maker->reach);
    while (ownership_next(maker->ownership, &index, maker->stage.end, &owned))
        if (owned.owner == number)
            TRY(add_local_read(maker, rank, owned.span));
    count_pairs(maker, rank, false);
    return STATUS_OK;
}

enum status schedule_make_replicated(struct schedule_rank *rank_schedule,
                                     const struct choice *choice, const struct bands *bands,
                                     const struct ownership *ownership, struct span stage, int rank)
{
    assert(stage.first < stage.end && stage.end == ownership_tokens(ownership));
    const struct maker maker = maker_of(choice, bands, ownership, stage);
    return make_replicated(&maker, rank_schedule, rank);
}

enum status schedule_make(struct schedule *schedule, const struct choice *choice,
                          const struct bands *bands, const struct ownership *ownership,
                          struct span stage)
{
    assert(stage.first < stage.end && stage.end == ownership_tokens(ownership));
    assert(schedule->workers == ownership_workers(ownership));
    const struct maker maker = maker_of(choice, bands, ownership, stage);
    schedule->stage = stage;
    schedule->replicated = choice_stage_queries(choice, stage) == CHOICE_REPLICATED;
    if (!schedule->replicated)
        TRY(make_sharded(&maker, schedule));
    for (int r = 0; r < schedule->workers; r++) {
        if (schedule->replicated)
            TRY(make_replicated(&maker, &schedule->ranks[r], r));
        else
            count_pairs(&maker, &schedule->ranks[r], true);
    }
    return STATUS_OK;
}
