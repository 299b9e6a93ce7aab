/* Owns the lists of one rank's work in a stage. Promises that every row is in one block and in one
 * tile. */
#include "worker/engine/shard.h"

#include <stdlib.h>

static enum status grow(void **array, int *capacity, int wanted, size_t element_bytes)
{
    if (wanted <= *capacity)
        return STATUS_OK;
    void *larger = realloc(*array, (size_t)wanted * element_bytes);
    if (!larger)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a list of %d work items", wanted);
    *array = larger;
    *capacity = wanted;
    return STATUS_OK;
}

static int pieces(int64_t rows, int64_t most)
{
    return (int)((rows + most - 1) / most);
}

static enum status reserve(struct shard_rows *shard, const struct schedule_rank *schedule,
                           int64_t block_rows, int64_t tile_tokens)
{
    int blocks = shard->block_count;
    int tiles = shard->tile_count;
    for (int q = 0; q < schedule->query_count; q++) {
        int64_t rows = schedule->queries[q].end - schedule->queries[q].first;
        blocks += pieces(rows, block_rows);
        tiles += pieces(rows, tile_tokens);
    }
    int sequence_capacity = shard->block_capacity;
    int done_capacity = shard->block_capacity;
    TRY(grow((void **)&shard->sequence, &sequence_capacity, blocks, sizeof *shard->sequence));
    TRY(grow((void **)&shard->done, &done_capacity, blocks, sizeof *shard->done));
    TRY(grow((void **)&shard->blocks, &shard->block_capacity, blocks, sizeof *shard->blocks));
    return grow((void **)&shard->tiles, &shard->tile_capacity, tiles, sizeof *shard->tiles);
}

static void cut_span(struct shard_rows *shard, struct span span, int query, bool recomputed,
                     int64_t block_rows, int64_t tile_tokens)
{
    for (int64_t first = span.first; first < span.end; first += block_rows) {
        int64_t left = span.end - first;
        shard->blocks[shard->block_count++] = (struct shard_block){
            shard->rows + first - span.first, left < block_rows ? left : block_rows, first,
            recomputed, shard->members};
    }
    for (int64_t first = span.first; first < span.end; first += tile_tokens) {
        int64_t left = span.end - first;
        shard->tiles[shard->tile_count++] = (struct shard_tile){
            shard->rows + first - span.first, left < tile_tokens ? left : tile_tokens, first, query,
            shard->members};
    }
    shard->rows += span.end - span.first;
}

static bool overlaps(const struct shard_block *block, struct span keys)
{
    return !block->recomputed && block->index < keys.end && block->index + block->rows > keys.first;
}

/* Of the blocks from `first` on, recomputed rows come first, then the blocks that peers wait for in
 * the order of the sends, then the rest. `done` marks what is already in the sequence. */
static void put_in_order(struct shard_rows *shard, const struct schedule_rank *schedule, int first)
{
    int n = first;
    shard_rows_restart(shard);
    for (int b = first; b < shard->block_count && shard->blocks[b].recomputed; b++) {
        shard->sequence[n++] = b;
        atomic_store(&shard->done[b], true);
    }
    for (int s = 0; s < schedule->send_count; s++) {
        for (int b = first; b < shard->block_count; b++) {
            if (atomic_load(&shard->done[b]) ||
                !overlaps(&shard->blocks[b], schedule->sends[s].keys))
                continue;
            shard->sequence[n++] = b;
            atomic_store(&shard->done[b], true);
        }
    }
    for (int b = first; b < shard->block_count; b++)
        if (!atomic_load(&shard->done[b]))
            shard->sequence[n++] = b;
}

void shard_rows_clear(struct shard_rows *shard)
{
    shard->rows = 0;
    shard->members = 0;
    shard->queries = 0;
    shard->block_count = 0;
    shard->tile_count = 0;
}

enum status shard_rows_add(struct shard_rows *shard, const struct schedule_rank *schedule,
                           int64_t block_rows, int64_t tile_tokens)
{
    const int first = shard->block_count;
    TRY(reserve(shard, schedule, block_rows, tile_tokens));
    for (int q = 0; q < schedule->query_count; q++)
        cut_span(shard, schedule->queries[q], shard->queries + q, q < schedule->recomputed_count,
                 block_rows, tile_tokens);
    put_in_order(shard, schedule, first);
    shard_rows_restart(shard);
    shard->queries += schedule->query_count;
    shard->members++;
    return STATUS_OK;
}

void shard_rows_deinit(struct shard_rows *shard)
{
    free(shard->blocks);
    free(shard->sequence);
    free(shard->done);
    free(shard->tiles);
}

void shard_rows_restart(struct shard_rows *shard)
{
    for (int b = 0; b < shard->block_count; b++)
        atomic_store(&shard->done[b], false);
}

bool shard_rows_ready(const struct shard_rows *shard, struct span keys)
{
    for (int b = 0; b < shard->block_count; b++)
        if (overlaps(&shard->blocks[b], keys) && !atomic_load(&shard->done[b]))
            return false;
    return true;
}

int64_t shard_rows_find(const struct shard_rows *shard, int64_t index)
{
    for (int b = 0; b < shard->block_count; b++) {
        const struct shard_block *block = &shard->blocks[b];
        if (overlaps(block, (struct span){index, index + 1}))
            return block->row + index - block->index;
    }
    return -1;
}
