/* Attention of spans of queries to extents of keys on sm_90a: TMA, wgmma, warps with roles.
 *
 * A block of threads stays on its multiprocessor and works on one tile of queries of one head
 * after another. Of its first warps, one walks the tile's blocks of keys as attention_blocks.h
 * says, one has TMA fetch queries and keys, one values; then CONSUMERS groups of four warps have 64
 * queries each.
 *
 * A block's softmax is taken while the second product of the block before runs: both were put on
 * the tensor cores together. The groups take turns at putting products there, so that one's
 * softmax falls beside another's products. Queries, keys and values have a ring of places each;
 * TMA's barriers say when one is full, and the warps when it is empty.
 *
 * Promises the state that attention.h defines, probabilities rounded to the operand type for the
 * second product, the sum taken before. Other devices and widths go to attention_cuda.cu. */
#include <cudaTypedefs.h>

#include "kernels/attention_hopper_fetch.cuh"
#include "kernels/variants_cuda.h"

enum {
    SCORES = GROUP_QUERIES * BLOCK_KEYS / GROUP_THREADS,
    SLACK = 8, /* a base lags behind the largest score by at most so many powers of two */
    /* Named barriers. */
    TURN = 1,  /* and one for each group of consumers from here on */
    CLEAN = 5, /* the same */
};

/* ---- consumers ---- */

/* The state of a thread's two rows, and where its group stands in the rings. */
template <int HEAD_DIM> struct hopper_state {
    float acc[HEAD_DIM / 2];
    float base[2];    /* what is taken off scores, scaled; -infinity: nothing was seen yet */
    float largest[2]; /* score of this lane's keys, not scaled */
    float sum[2];     /* of this lane's keys */
    int count;        /* blocks met so far, of all tiles */
    int flags;        /* of block `count`; the same for the whole warp */
    int loads;        /* of queries */
    int group;        /* the same for the whole warp, and known to be */
};

/* wgmma does not go with branches that threads of a warp might take differently; this tells the
 * compiler that they do not. */
static __device__ __forceinline__ int uniform(int value)
{
    return __shfl_sync(0xffffffffu, value, 0);
}

/* This thread's number in its group, told anew each time, as mma_lane() is. */
static __device__ __forceinline__ int thread_number(void)
{
    int thread;
    asm volatile("mov.u32 %0, %%tid.x;\n" : "=r"(thread));
    return thread % GROUP_THREADS;
}

/* One arrival a warp. */
static __device__ __forceinline__ void release(uint64_t *barrier)
{
    if (mma_lane() == 0)
        mbarrier_arrive(mma_shared(barrier));
}

static __device__ __forceinline__ void take_turn(int group)
{
    named_barrier_meet(TURN + group, 2 * GROUP_THREADS);
}

template <int HEAD_DIM> static __device__ __forceinline__ void pass_turn(int group)
{
    named_barrier_arrive(TURN + (group + 1) % hopper_shape<HEAD_DIM>::CONSUMERS, 2 * GROUP_THREADS);
}

/* Waits for the queries that the block is met with, and gives the ones before back. */
template <int HEAD_DIM>
static __device__ __forceinline__ void switch_queries(struct hopper_shared<HEAD_DIM> *shared,
                                                      struct hopper_state<HEAD_DIM> *state)
{
    const int at = state->loads % QUERY_PLACES;
    if (state->loads > 0)
        release(&shared->queries_empty[(state->loads - 1) % QUERY_PLACES]);
    mbarrier_wait(mma_shared(&shared->queries_full[at]), state->loads / QUERY_PLACES & 1);
    state->loads++;
}

/* Begins scores = queries . keys, not scaled, of the group's 64 queries. */
template <typename OPERAND, int HEAD_DIM>
static __device__ __forceinline__ void begin_scores(float scores[SCORES],
                                                    struct hopper_places<HEAD_DIM> places,
                                                    const struct hopper_state<HEAD_DIM> *state)
{
    typedef hopper_shape<HEAD_DIM> shape;
    const uint32_t queries = places.queries +
                             (state->loads - 1) % QUERY_PLACES * shape::QUERY_BYTES +
                             state->group * shape::GROUP_BYTES;
    const uint32_t keys = places.keys + state->count % shape::PLACES * shape::TILE_BYTES;
    const uint64_t a = wgmma_rows(queries), b = wgmma_rows(keys);
    wgmma_begin();
#pragma unroll
    for (int step = 0; step < HEAD_DIM / 16; step++)
        wgmma_multiply(OPERAND(), scores, a + step / 4 * (shape::BOX_BYTES / 16) + step % 4 * 2,
                       b + step / 4 * (shape::CHUNK_BYTES / 16) + step % 4 * 2, step > 0);
    wgmma_commit();
}

/* Begins acc += probabilities . values of block `count`. */
template <typename OPERAND, int HEAD_DIM>
static __device__ __forceinline__ void begin_sums(float (&acc)[HEAD_DIM / 2],
                                                  const uint32_t probabilities[SCORES / 2],
                                                  struct hopper_places<HEAD_DIM> places, int count)
{
    typedef hopper_shape<HEAD_DIM> shape;
    const uint64_t b = wgmma_columns(places.values + count % shape::PLACES * shape::TILE_BYTES,
                                     shape::CHUNK_BYTES);
    wgmma_begin();
#pragma unroll
    for (int step = 0; step < BLOCK_KEYS / 16; step++)
        wgmma_accumulate(OPERAND(), acc, probabilities + 4 * step,
                         b + step * (16 * WGMMA_ROW_BYTES / 16));
    wgmma_commit();
}

/* Rows of values that are not stored are zeros, as 0 times what lies there may be NaN. Each group
 * writes them all. */
template <int HEAD_DIM>
static __device__ __forceinline__ void clean_values(const struct hopper_block *block,
                                                    uint32_t values, int group)
{
    typedef hopper_shape<HEAD_DIM> shape;
    const int thread = thread_number();
#pragma unroll 1
    for (int h = 0; h < 2; h++) {
        const int first = block->block.half[h].keys * WGMMA_ROW_BYTES;
#pragma unroll 1
        for (int chunk = 0; chunk < shape::CHUNKS; chunk++) {
            const uint32_t box = values + chunk * shape::CHUNK_BYTES + h * shape::BOX_BYTES;
#pragma unroll 1
            for (int at = first + 16 * thread; at < shape::BOX_BYTES; at += 16 * GROUP_THREADS)
                asm volatile("st.shared.v4.u32 [%0], {%1, %1, %1, %1};\n" ::"r"(box + at), "r"(0)
                             : "memory");
        }
    }
    tma_fence();
    named_barrier_meet(CLEAN + group, GROUP_THREADS);
}

/* What this thread's row `h` does not see of half `half` becomes -infinity. */
static __device__ __forceinline__ void mask_half(float scores[SCORES],
                                                 const struct attention_visit *visit, int half,
                                                 int group)
{
    const int lane = mma_lane();
    const int first_row = group * GROUP_QUERIES + thread_number() / 32 * 16 + lane / 4;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const int row = first_row + 8 * h;
        const int least = max(visit->key_first, row - visit->far + 1);
        int end = min(visit->key_end, row - visit->near + 1);
        if (row < visit->query_first || row >= visit->query_end || end < least)
            end = least;
        const unsigned first = lane % 4 * 2 - least, count = end - least;
#pragma unroll
        for (int n = 0; n < PANEL_TOKENS / 8; n++) {
#pragma unroll
            for (int e = 0; e < 2; e++)
                if (first + (8 * n + e) >= count)
                    scores[4 * (8 * half + n) + 2 * h + e] = -INFINITY;
        }
    }
}

static __device__ __forceinline__ void mask(float scores[SCORES], const struct hopper_block *block,
                                            int flags, int group)
{
    if (flags & ATTENTION_BLOCK_MASKED)
        mask_half(scores, &block->block.half[0], 0, group);
    if (flags & 2 * ATTENTION_BLOCK_MASKED)
        mask_half(scores, &block->block.half[1], 1, group);
}

/* The largest of this lane's scores of row `h`, not scaled. */
static __device__ __forceinline__ float largest(const float scores[SCORES], int h)
{
    float top = fmaxf(scores[2 * h], scores[2 * h + 1]);
    float other = fmaxf(scores[2 * h + 4], scores[2 * h + 5]);
#pragma unroll
    for (int n = 2; n < SCORES / 4; n += 2) {
        top = fmaxf(top, fmaxf(scores[4 * n + 2 * h], scores[4 * n + 2 * h + 1]));
        other = fmaxf(other, fmaxf(scores[4 * n + 2 * h + 4], scores[4 * n + 2 * h + 5]));
    }
    return fmaxf(top, other);
}

/* Moves a row's base to the block's largest score where that is more than SLACK above it: what a
 * row does depends on nothing but its own scores. Returns what acc is to be multiplied by. */
static __device__ __forceinline__ float move_base(float *base, float block_largest,
                                                  float scale_log2)
{
    const float top = mma_quad_max(block_largest) * scale_log2;
    if (!(top > *base + SLACK))
        return 1;
    const float rescale = mma_exp2(*base - top);
    *base = top;
    return rescale;
}

/* Scores -> probabilities 2^(score - base), at most 2^SLACK; steps largest, base and sum of both
 * rows. True where acc is to be multiplied by `rescale`. */
template <int HEAD_DIM>
static __device__ __forceinline__ bool softmax(struct hopper_state<HEAD_DIM> *state,
                                               float rescale[2], float scores[SCORES],
                                               float scale_log2)
{
    bool moves = false;
    float top[2];
#pragma unroll
    for (int h = 0; h < 2; h++) {
        top[h] = largest(scores, h);
        moves |= top[h] * scale_log2 > state->base[h] + SLACK;
        state->largest[h] = fmaxf(state->largest[h], top[h]);
        rescale[h] = 1;
    }
    moves = __any_sync(0xffffffffu, moves);
    if (moves) {
#pragma unroll
        for (int h = 0; h < 2; h++) {
            rescale[h] = move_base(&state->base[h], top[h], scale_log2);
            state->sum[h] *= rescale[h];
        }
    }
#pragma unroll
    for (int h = 0; h < 2; h++) {
        /* A row that has seen nothing yet has no base to take off. */
        const float base = state->base[h] == -INFINITY ? 0 : state->base[h];
        float sum = 0, more = 0;
#pragma unroll
        for (int n = 0; n < SCORES / 4; n++) {
            float *low = &scores[4 * n + 2 * h], *high = low + 1;
            *low = mma_exp2(fmaf(*low, scale_log2, -base));
            *high = mma_exp2(fmaf(*high, scale_log2, -base));
            sum += *low;
            more += *high;
        }
        state->sum[h] += sum + more;
    }
    return moves;
}

template <typename OPERAND>
static __device__ __forceinline__ void pack(uint32_t probabilities[SCORES / 2],
                                            const float scores[SCORES])
{
#pragma unroll
    for (int i = 0; i < SCORES / 2; i++)
        probabilities[i] = mma_pack(OPERAND(), scores[2 * i], scores[2 * i + 1]);
}

/* Waits for the sums under way, and multiplies acc by the factors where the softmax has any. The
 * branch depends on the softmax's sums, so that what compiles it cannot wait before it; and the two
 * waits are spelt differently, so that they do not become one before the branch. */
template <int HEAD_DIM>
static __device__ __forceinline__ void finish_sums(struct hopper_state<HEAD_DIM> *state, bool moves,
                                                   const float rescale[2])
{
    if (moves || __any_sync(0xffffffffu, !(state->sum[0] + state->sum[1] >= 0))) {
        wgmma_wait<0>();
        wgmma_pin(state->acc);
#pragma unroll
        for (int i = 0; i < HEAD_DIM / 2; i++)
            state->acc[i] *= rescale[i / 2 % 2];
    } else {
        asm volatile("wgmma.wait_group.sync.aligned 0; //\n" ::: "memory");
        wgmma_pin(state->acc);
    }
}

template <int HEAD_DIM>
static __device__ __forceinline__ void wait_keys(struct hopper_shared<HEAD_DIM> *shared, int count)
{
    const int place = count % hopper_shape<HEAD_DIM>::PLACES;
    mbarrier_wait(mma_shared(&shared->keys_full[place]),
                  count / hopper_shape<HEAD_DIM>::PLACES & 1);
}

template <int HEAD_DIM>
static __device__ __forceinline__ int read_flags(const struct hopper_shared<HEAD_DIM> *shared,
                                                 int count)
{
    return uniform(shared->blocks[count % BLOCKS].flags);
}

/* Until the values of block `count`, whose flags are these, are here and fit to be multiplied. */
template <int HEAD_DIM>
static __device__ __forceinline__ void wait_values(struct hopper_shared<HEAD_DIM> *shared,
                                                   struct hopper_places<HEAD_DIM> places, int count,
                                                   int flags, int group)
{
    typedef hopper_shape<HEAD_DIM> shape;
    const int place = count % shape::PLACES;
    mbarrier_wait(mma_shared(&shared->values_full[place]), count / shape::PLACES & 1);
    if (flags & ATTENTION_BLOCK_SHORT)
        clean_values<HEAD_DIM>(&shared->blocks[count % BLOCKS],
                               places.values + place * shape::TILE_BYTES, group);
}

/* The first block of a tile: its probabilities. */
template <typename OPERAND, int HEAD_DIM>
static __device__ __forceinline__ void begin_tile(struct hopper_state<HEAD_DIM> *state,
                                                  struct hopper_shared<HEAD_DIM> *shared,
                                                  struct hopper_places<HEAD_DIM> places,
                                                  uint32_t (&probabilities)[SCORES / 2],
                                                  float scale_log2)
{
    float scores[SCORES], rescale[2];
    switch_queries(shared, state);
    take_turn(state->group);
    begin_scores<OPERAND, HEAD_DIM>(scores, places, state);
    pass_turn<HEAD_DIM>(state->group);
    wgmma_wait<0>();
    wgmma_pin(scores);
    release(&shared->keys_empty[state->count % hopper_shape<HEAD_DIM>::PLACES]);
    mask(scores, &shared->blocks[state->count % BLOCKS], state->flags, state->group);
    softmax<HEAD_DIM>(state, rescale, scores, scale_log2);
    pack<OPERAND>(probabilities, scores);
    wgmma_pin(state->acc);
    wgmma_pin(probabilities);
}

/* All blocks of one tile; the first one's keys are here. */
template <typename OPERAND, int HEAD_DIM>
static __device__ __forceinline__ void attend(struct hopper_state<HEAD_DIM> *state,
                                              struct hopper_shared<HEAD_DIM> *shared,
                                              struct hopper_places<HEAD_DIM> places,
                                              float scale_log2)
{
    typedef hopper_shape<HEAD_DIM> shape;
    uint32_t probabilities[SCORES / 2];
    int next = read_flags(shared, state->count + 1);
    begin_tile<OPERAND, HEAD_DIM>(state, shared, places, probabilities, scale_log2);
    while (!(state->flags & ATTENTION_BLOCK_LAST)) {
        float scores[SCORES], rescale[2];
        const int before = state->count, flags_before = state->flags;
        state->flags = next;
        wait_keys(shared, ++state->count);
        if (state->flags & ATTENTION_BLOCK_SWITCHES)
            switch_queries(shared, state);
        take_turn(state->group);
        begin_scores<OPERAND, HEAD_DIM>(scores, places, state);
        wait_values<HEAD_DIM>(shared, places, before, flags_before, state->group);
        begin_sums<OPERAND, HEAD_DIM>(state->acc, probabilities, places, before);
        pass_turn<HEAD_DIM>(state->group);
        next = read_flags(shared, state->count + 1);
        wgmma_wait<1>();
        wgmma_pin(scores);
        release(&shared->keys_empty[state->count % shape::PLACES]);
        mask(scores, &shared->blocks[state->count % BLOCKS], state->flags, state->group);
        const bool moves = softmax<HEAD_DIM>(state, rescale, scores, scale_log2);
        finish_sums<HEAD_DIM>(state, moves, rescale);
        release(&shared->values_empty[before % shape::PLACES]);
        pack<OPERAND>(probabilities, scores);
        wgmma_pin(state->acc);
        wgmma_pin(probabilities);
    }
    wait_values<HEAD_DIM>(shared, places, state->count, state->flags, state->group);
    begin_sums<OPERAND, HEAD_DIM>(state->acc, probabilities, places, state->count);
    wgmma_wait<0>();
    wgmma_pin(state->acc);
}

/* Takes row `h` from its base to its largest score. */
template <int HEAD_DIM>
static __device__ __forceinline__ void settle(struct hopper_state<HEAD_DIM> *state, int h,
                                              float scale_log2)
{
    const float top = mma_quad_max(state->largest[h]) * scale_log2;
    const float rescale = top == -INFINITY ? 1 : mma_exp2(state->base[h] - top);
    state->base[h] = top;
    state->sum[h] *= rescale;
#pragma unroll
    for (int i = 2 * h; i < HEAD_DIM / 2; i += 4) {
        state->acc[i] *= rescale;
        state->acc[i + 1] *= rescale;
    }
}

template <typename OPERAND, int HEAD_DIM>
static __device__ __forceinline__ void store_state(const struct prefill_params *params,
                                                   const struct hopper_tile *tile,
                                                   struct hopper_state<HEAD_DIM> *state)
{
#pragma unroll
    for (int h = 0; h < 2; h++) {
        settle<HEAD_DIM>(state, h, params->scale_log2);
        const int token =
            state->group * GROUP_QUERIES + thread_number() / 32 * 16 + mma_lane() / 4 + 8 * h;
        struct prefill_row row = {(int64_t)(tile->row + token) * params->heads + tile->head,
                                  state->base[h], mma_quad_sum(state->sum[h]), 0, 0};
        if (!params->first && token < tile->tokens) {
            row.other_max = params->max[row.row];
            row.other_sum = params->sum[row.row];
        }
        __syncwarp(); /* all four lanes of a row have read what one of them writes */
        if (token < tile->tokens)
            prefill_store_row<OPERAND, HEAD_DIM>(params, &row, &state->acc[2 * h]);
    }
}

template <typename OPERAND, int HEAD_DIM>
static __device__ __forceinline__ void consume(struct hopper_shared<HEAD_DIM> *shared,
                                               const struct prefill_params *params,
                                               struct hopper_places<HEAD_DIM> places, int group)
{
    typedef hopper_shape<HEAD_DIM> shape;
    struct hopper_state<HEAD_DIM> state;
    state.count = state.loads = 0;
    state.group = group;
    if (group == shape::CONSUMERS - 1)
        pass_turn<HEAD_DIM>(group); /* the first group begins */
    for (;; state.count++) {
        wait_keys(shared, state.count);
        state.flags = read_flags(shared, state.count);
#pragma unroll
        for (int i = 0; i < HEAD_DIM / 2; i++)
            state.acc[i] = 0;
        state.base[0] = state.base[1] = state.largest[0] = state.largest[1] = -INFINITY;
        state.sum[0] = state.sum[1] = 0;
        if (state.flags & ATTENTION_BLOCK_SEEN) {
            attend<OPERAND, HEAD_DIM>(&state, shared, places, params->scale_log2);
        } else {
            release(&shared->keys_empty[state.count % shape::PLACES]);
            wait_values<HEAD_DIM>(shared, places, state.count, state.flags, group);
        }
        const struct hopper_tile tile = shared->blocks[state.count % BLOCKS].tile;
        const int next = read_flags(shared, state.count + 1);
        release(&shared->values_empty[state.count % shape::PLACES]);
        store_state<OPERAND, HEAD_DIM>(params, &tile, &state);
        if (next & BLOCK_NONE)
            break;
    }
    if (group == 0)
        take_turn(group); /* nobody leaves while another is to arrive */
}

template <int HEAD_DIM>
static __device__ __forceinline__ void init_barriers(struct hopper_shared<HEAD_DIM> *shared)
{
    typedef hopper_shape<HEAD_DIM> shape;
    for (int i = 0; i < QUERY_PLACES; i++) {
        mbarrier_init(mma_shared(&shared->queries_full[i]), 1);
        mbarrier_init(mma_shared(&shared->queries_empty[i]), shape::ARRIVALS);
    }
    for (int i = 0; i < shape::PLACES; i++) {
        mbarrier_init(mma_shared(&shared->keys_full[i]), 1);
        mbarrier_init(mma_shared(&shared->keys_empty[i]), shape::ARRIVALS);
        mbarrier_init(mma_shared(&shared->values_full[i]), 1);
        mbarrier_init(mma_shared(&shared->values_empty[i]), shape::ARRIVALS);
    }
    for (int i = 0; i < BLOCKS; i++) {
        mbarrier_init(mma_shared(&shared->described[i]), 1);
        mbarrier_init(mma_shared(&shared->forgotten[i]), 1);
    }
    mbarrier_init_done();
}

template <typename OPERAND, int HEAD_DIM>
__global__ void __launch_bounds__(hopper_shape<HEAD_DIM>::THREADS, 1)
    attention_hopper_kernel(const __grid_constant__ struct hopper_params params)
{
    typedef hopper_shape<HEAD_DIM> shape;
    extern __shared__ char dynamic[];
    __shared__ struct hopper_shared<HEAD_DIM> shared;
    const uint32_t begin = (mma_shared(dynamic) + 1023) / 1024 * 1024;
    const struct hopper_places<HEAD_DIM> places = {
        begin, begin + QUERY_PLACES * shape::QUERY_BYTES,
        begin + QUERY_PLACES * shape::QUERY_BYTES + shape::PLACES * shape::TILE_BYTES};
    if (threadIdx.x == 0)
        init_barriers<HEAD_DIM>(&shared);
    __syncthreads();
    const int group = uniform(threadIdx.x / GROUP_THREADS);
    if (group == 0) {
        registers_give<shape::PRODUCER_REGISTERS>();
        const int warp = uniform(threadIdx.x / 32);
        if (warp == WALKER && warp_elect())
            walk(&shared, &params.prefill);
        if (warp == KEYS_FETCHER && warp_elect())
            fetch_keys(&shared, &params, places);
        if (warp == VALUES_FETCHER && warp_elect())
            fetch_values(&shared, &params, places);
    } else {
        registers_take<shape::CONSUMER_REGISTERS>();
        consume<OPERAND, HEAD_DIM>(&shared, &params.prefill, places, group - 1);
    }
}

/* ---- launching ---- */

static int (*general)(const struct kernels_cuda_prefill *args, cudaStream_t stream);

/* The driver's encoder of tensor maps, asked for once; NULL where there is none. */
static PFN_cuTensorMapEncodeTiled_v12000 encoder(void)
{
    static PFN_cuTensorMapEncodeTiled_v12000 found;
    void *function = (void *)__atomic_load_n(&found, __ATOMIC_ACQUIRE);
    cudaDriverEntryPointQueryResult result;
    if (!function &&
        cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000,
                                         cudaEnableDefault, &result) == cudaSuccess)
        __atomic_store_n(&found, (PFN_cuTensorMapEncodeTiled_v12000)function, __ATOMIC_RELEASE);
    if (!function)
        (void)cudaGetLastError(); /* the next launch would take it for its own */
    return (PFN_cuTensorMapEncodeTiled_v12000)function;
}

/* Boxes of PANEL_TOKENS rows (of dimension `rows`, 1 or 2) of 64 elements. */
static int encode(CUtensorMap *map, const struct prefill_params *params, enum dtype operand,
                  const void *at, const cuuint64_t sizes[3], int rows)
{
    const cuuint64_t strides[2] = {(cuuint64_t)params->head_dim * 2,
                                   (cuuint64_t)params->head_dim * 2 * sizes[1]};
    const cuuint32_t box[3] = {WGMMA_CHUNK, rows == 1 ? (cuuint32_t)PANEL_TOKENS : 1,
                               rows == 2 ? (cuuint32_t)GROUP_QUERIES : 1};
    const cuuint32_t steps[3] = {1, 1, 1};
    const CUresult result = encoder()(
        map,
        operand == DTYPE_BF16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
        3, (void *)at, sizes, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
        CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
        CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    return result == CUDA_SUCCESS ? cudaSuccess : cudaErrorInvalidValue;
}

static int encode_all(struct hopper_params *params, enum dtype operand)
{
    const struct prefill_params *prefill = &params->prefill;
    const int kv_heads = prefill->heads / prefill->group;
    int64_t rows = 0;
    int frames = 1, error = cudaSuccess;
    for (int s = 0; s < prefill->span_count; s++)
        rows = regimes_larger(rows, prefill->spans[s].row + prefill->spans[s].tokens);
    for (int r = 0; r < prefill->regimes.count; r++)
        frames = max(frames, prefill->regimes.list[r].query_frame + 1);
    for (int f = 0; f < frames && error == cudaSuccess; f++) {
        const cuuint64_t sizes[3] = {(cuuint64_t)prefill->head_dim, (cuuint64_t)prefill->heads,
                                     (cuuint64_t)rows};
        error = encode(&params->queries[f], prefill, operand,
                       prefill->queries + f * prefill->frame_bytes, sizes, 2);
    }
    for (int r = 0; r < prefill->extent_count && error == cudaSuccess; r++) {
        const struct attention_extent *extent = &prefill->extents[r];
        const int64_t panels = (extent->end - extent->first + PANEL_TOKENS - 1) / PANEL_TOKENS;
        const cuuint64_t sizes[3] = {(cuuint64_t)prefill->head_dim, PANEL_TOKENS,
                                     (cuuint64_t)panels * extent->panel_records * kv_heads};
        if (panels > 0)
            error = encode(&params->extents[r], prefill, operand, extent->records, sizes, 1);
    }
    return error;
}

template <typename OPERAND, int HEAD_DIM>
static int launch(struct hopper_params *params, enum dtype operand, int processors,
                  cudaStream_t stream)
{
    typedef hopper_shape<HEAD_DIM> shape;
    params->prefill.tiles = prefill_tiles(&params->prefill, shape::QUERIES);
    if (params->prefill.tiles <= 0)
        return params->prefill.tiles < 0 ? cudaErrorInvalidValue : cudaSuccess;
    int error = encode_all(params, operand);
    if (error == cudaSuccess)
        error = cudaFuncSetAttribute((const void *)attention_hopper_kernel<OPERAND, HEAD_DIM>,
                                     cudaFuncAttributeMaxDynamicSharedMemorySize,
                                     shape::SHARED_BYTES);
    if (error != cudaSuccess)
        return error;
    const int64_t items = params->prefill.tiles * params->prefill.head_count;
    attention_hopper_kernel<OPERAND, HEAD_DIM>
        <<<(unsigned)regimes_smaller(items, processors), shape::THREADS,
           shape::SHARED_BYTES, stream>>>(*params);
    return cudaGetLastError();
}

/* Multiprocessors of the device that is current; 0: it is no Hopper. */
static int hopper_processors(void)
{
    int device, major = 0, processors = 0;
    if (cudaGetDevice(&device) != cudaSuccess ||
        cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) != cudaSuccess ||
        cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device) != cudaSuccess)
        return 0;
    return major == 9 ? processors : 0;
}

static int prefill(const struct kernels_cuda_prefill *args, cudaStream_t stream)
{
    const int processors =
        args->head_dim == 64 || args->head_dim == 128 ? hopper_processors() : 0;
    struct hopper_params params = {};
    if (processors == 0 || !encoder())
        return general(args, stream);
    if (!prefill_params_make(&params.prefill, args))
        return cudaErrorInvalidValue;
    if (args->operand == DTYPE_BF16)
        return args->head_dim == 64
                   ? launch<mma_bf16, 64>(&params, args->operand, processors, stream)
                   : launch<mma_bf16, 128>(&params, args->operand, processors, stream);
    return args->head_dim == 64 ? launch<mma_f16, 64>(&params, args->operand, processors, stream)
                                : launch<mma_f16, 128>(&params, args->operand, processors, stream);
}

void attention_hopper_cuda_install(struct kernels_cuda *kernels)
{
    general = kernels->attention_prefill;
    kernels->attention_prefill = prefill;
}
