/* The half of attention_hopper_cuda.cu that fetches: what the warps of a block of threads share,
 * the warp that walks through the keys, and those that have TMA bring them. */
#pragma once

#include <cuda.h>

#include "kernels/attention_blocks.h"
#include "kernels/attention_prefill_cuda.cuh"
#include "kernels/wgmma_cuda.cuh"

enum {
    GROUP_THREADS = 128, /* of a warpgroup */
    GROUP_QUERIES = 64,
    BLOCK_KEYS = 2 * PANEL_TOKENS,
    QUERY_PLACES = 2,
    BLOCKS = 8, /* of keys whose description is kept */
    /* Warps of the first group; the fourth has nothing to do. */
    WALKER = 0,
    KEYS_FETCHER = 1,
    VALUES_FETCHER = 2,
};

struct hopper_params {
    struct prefill_params prefill;
    CUtensorMap queries[BANDS_FRAMES_MAX]; /* [rows, heads, head_dim] */
    /* [records, kv_heads][PANEL_TOKENS, head_dim] */
    CUtensorMap extents[ATTENTION_EXTENTS_MAX];
};

template <int HEAD_DIM> struct hopper_shape {
    enum {
        CONSUMERS = HEAD_DIM == 64 ? 3 : 2,
        THREADS = (1 + CONSUMERS) * GROUP_THREADS,
        /* The block begins with 65,536 / THREADS each, cut to a multiple of 8; what all have
         * together may not become more, or taking would never end. */
        PRODUCER_REGISTERS = CONSUMERS == 3 ? 32 : 40,
        CONSUMER_REGISTERS = CONSUMERS == 3 ? 160 : 232,
        QUERIES = CONSUMERS * GROUP_QUERIES,
        CHUNKS = HEAD_DIM / WGMMA_CHUNK,
        PLACES = HEAD_DIM == 64 ? 4 : 2, /* of keys, and of values */
        BOX_BYTES = PANEL_TOKENS * WGMMA_ROW_BYTES,
        CHUNK_BYTES = BLOCK_KEYS * WGMMA_ROW_BYTES,
        TILE_BYTES = CHUNKS * CHUNK_BYTES,
        GROUP_BYTES = CHUNKS * GROUP_QUERIES * WGMMA_ROW_BYTES,
        QUERY_BYTES = CONSUMERS * GROUP_BYTES,
        SHARED_BYTES = 1024 + QUERY_PLACES * QUERY_BYTES + 2 * PLACES * TILE_BYTES,
        ARRIVALS = CONSUMERS * GROUP_THREADS / 32, /* a warp each */
    };
    static_assert(PRODUCER_REGISTERS + CONSUMERS * CONSUMER_REGISTERS <=
                      (1 + CONSUMERS) * (65536 / THREADS / 8 * 8),
                  "more registers than the block has");
    /* Keys are fetched once the next block is described; its description takes the place of the one
     * BLOCKS before, which is forgotten when the values PLACES behind that one are fetched. */
    static_assert((int)BLOCKS > (int)PLACES, "the walker would wait for itself");
};

enum { BLOCK_NONE = 64 /* a flag beside those of attention_blocks.h: no block follows */ };

/* Queries [row, row + tokens) of one head. */
struct hopper_tile {
    int row, head;
    int tokens;
};

struct hopper_block {
    struct attention_block block;
    int keys[2];   /* where the halves' keys lie in their extents' maps */
    int16_t apart; /* so many heads from there to their values */
    int16_t flags;
    struct hopper_tile tile;
};

/* What the warps of a block share. */
template <int HEAD_DIM> struct hopper_shared {
    uint64_t queries_full[QUERY_PLACES], queries_empty[QUERY_PLACES];
    uint64_t keys_full[hopper_shape<HEAD_DIM>::PLACES], keys_empty[hopper_shape<HEAD_DIM>::PLACES];
    uint64_t values_full[hopper_shape<HEAD_DIM>::PLACES];
    uint64_t values_empty[hopper_shape<HEAD_DIM>::PLACES];
    uint64_t described[BLOCKS], forgotten[BLOCKS];
    struct hopper_block blocks[BLOCKS];
    /* The walker's own. */
    struct attention_blocks walk;
    struct prefill_tile tile;
};

/* Where the three rings lie. */
template <int HEAD_DIM> struct hopper_places {
    uint32_t queries, keys, values;
};

/* Blocks take items of work in turn, every second round backwards: costs fall from item to item.
 * At and beyond the number of items: there is no more. */
static __device__ __forceinline__ unsigned work_of(unsigned round)
{
    return round * gridDim.x + (round % 2 ? gridDim.x - 1 - blockIdx.x : blockIdx.x);
}

static __device__ __forceinline__ unsigned work_items(const struct prefill_params *params)
{
    return (unsigned)params->tiles * params->head_count;
}

/* ---- the walker ---- */

/* The place of description `count`, once nobody reads what it held. */
template <int HEAD_DIM>
static __device__ __forceinline__ struct hopper_block *
next_description(struct hopper_shared<HEAD_DIM> *shared, int count)
{
    mbarrier_wait(mma_shared(&shared->forgotten[count % BLOCKS]), (count / BLOCKS & 1) ^ 1);
    return &shared->blocks[count % BLOCKS];
}

/* Describes the blocks of keys of all tiles of this block of threads. */
template <int HEAD_DIM>
static __device__ __forceinline__ void walk(struct hopper_shared<HEAD_DIM> *shared,
                                            const struct prefill_params *params)
{
    int count = 0;
    for (unsigned round = 0; work_of(round) < work_items(params); round++) {
        const struct prefill_tile *tile = &shared->tile;
        prefill_find_tile(&shared->tile, params, work_of(round), hopper_shape<HEAD_DIM>::QUERIES);
        attention_blocks_begin(&shared->walk, tile->index, tile->tokens);
        for (int flags = 0; !(flags & ATTENTION_BLOCK_LAST);) {
            struct hopper_block *block = next_description(shared, count);
            const struct attention_visit *half = block->block.half;
            flags = attention_blocks_next(&shared->walk, &block->block, &params->regimes,
                                          params->extents, params->extent_count, tile->span);
#pragma unroll
            for (int h = 0; h < 2; h++) {
                const int records = params->extents[half[h].extent].panel_records;
                const int kv_heads = params->heads / params->group;
                const int panel = (int)half[h].panel * records;
                block->keys[h] = (panel + half[h].key_frame) * kv_heads + tile->kv_head;
                block->apart = (int16_t)((records - 1 - half[h].key_frame) * kv_heads);
            }
            block->tile.row = (int)tile->row;
            block->tile.head = tile->head;
            block->tile.tokens = tile->tokens;
            block->flags = (int16_t)flags;
            mbarrier_arrive(mma_shared(&shared->described[count++ % BLOCKS]));
        }
    }
    next_description(shared, count)->flags = BLOCK_NONE;
    mbarrier_arrive(mma_shared(&shared->described[count % BLOCKS]));
}

/* ---- the fetchers ---- */

template <int HEAD_DIM>
static __device__ __forceinline__ const struct hopper_block *
wait_described(struct hopper_shared<HEAD_DIM> *shared, int count)
{
    mbarrier_wait(mma_shared(&shared->described[count % BLOCKS]), count / BLOCKS & 1);
    return &shared->blocks[count % BLOCKS];
}

/* K of both halves of a block, or V, `apart` heads further. */
template <int HEAD_DIM>
static __device__ __forceinline__ void fetch(const struct hopper_params *params,
                                             const struct hopper_block *block, int apart,
                                             uint32_t to, uint32_t barrier)
{
    typedef hopper_shape<HEAD_DIM> shape;
    if (!(block->flags & ATTENTION_BLOCK_SEEN)) {
        mbarrier_arrive(barrier);
        return;
    }
    mbarrier_expect(barrier, shape::TILE_BYTES);
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const CUtensorMap *map = &params->extents[block->block.half[h].extent];
#pragma unroll
        for (int chunk = 0; chunk < shape::CHUNKS; chunk++)
            tma_load(to + chunk * shape::CHUNK_BYTES + h * shape::BOX_BYTES, map, barrier,
                     chunk * WGMMA_CHUNK, 0, block->keys[h] + apart);
    }
}

/* Queries of the block's tile, in the frame that it is met with. */
template <int HEAD_DIM>
static __device__ __forceinline__ void fetch_queries(const struct hopper_params *params,
                                                     const struct hopper_block *block, uint32_t to,
                                                     uint32_t barrier)
{
    typedef hopper_shape<HEAD_DIM> shape;
    const CUtensorMap *map = &params->queries[block->block.half[0].query_frame];
    mbarrier_expect(barrier, shape::QUERY_BYTES);
#pragma unroll
    for (int box = 0; box < shape::CONSUMERS * shape::CHUNKS; box++)
        tma_load(to + box * shape::BOX_BYTES, map, barrier, box % shape::CHUNKS * WGMMA_CHUNK,
                 block->tile.head, block->tile.row + box / shape::CHUNKS * GROUP_QUERIES);
}

/* Whoever has keys of a block can read the description of the next one too. */
template <int HEAD_DIM>
static __device__ __forceinline__ void fetch_keys(struct hopper_shared<HEAD_DIM> *shared,
                                                  const struct hopper_params *params,
                                                  struct hopper_places<HEAD_DIM> places)
{
    typedef hopper_shape<HEAD_DIM> shape;
    int loads = 0;
    for (int count = 0;; count++) {
        const struct hopper_block *block = wait_described(shared, count);
        const int flags = block->flags, place = count % shape::PLACES;
        if (flags & BLOCK_NONE)
            return;
        if (flags & ATTENTION_BLOCK_SWITCHES) {
            const int at = loads % QUERY_PLACES;
            mbarrier_wait(mma_shared(&shared->queries_empty[at]), (loads++ / QUERY_PLACES & 1) ^ 1);
            fetch_queries<HEAD_DIM>(params, block, places.queries + at * shape::QUERY_BYTES,
                                    mma_shared(&shared->queries_full[at]));
        }
        mbarrier_wait(mma_shared(&shared->keys_empty[place]), (count / shape::PLACES & 1) ^ 1);
        wait_described(shared, count + 1);
        fetch<HEAD_DIM>(params, block, 0, places.keys + place * shape::TILE_BYTES,
                        mma_shared(&shared->keys_full[place]));
    }
}

/* Also tells the walker which blocks are done with: those whose values are. */
template <int HEAD_DIM>
static __device__ __forceinline__ void fetch_values(struct hopper_shared<HEAD_DIM> *shared,
                                                    const struct hopper_params *params,
                                                    struct hopper_places<HEAD_DIM> places)
{
    typedef hopper_shape<HEAD_DIM> shape;
    for (int count = 0;; count++) {
        const struct hopper_block *block = wait_described(shared, count);
        const int place = count % shape::PLACES;
        if (block->flags & BLOCK_NONE)
            return;
        mbarrier_wait(mma_shared(&shared->values_empty[place]), (count / shape::PLACES & 1) ^ 1);
        if (count >= shape::PLACES)
            mbarrier_arrive(mma_shared(&shared->forgotten[(count - shape::PLACES) % BLOCKS]));
        fetch<HEAD_DIM>(params, block, block->apart, places.values + place * shape::TILE_BYTES,
                        mma_shared(&shared->values_full[place]));
    }
}
