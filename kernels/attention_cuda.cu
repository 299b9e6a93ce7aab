/* Attention of spans of queries to extents of keys on sm_80 and later: mma.sync, cp.async,
 * ldmatrix.
 *
 * A block is four warps on one tile of queries of one head. It goes through panels of 64 keys as
 * attention_segments.h walks them; one thread walks ahead and leaves each visit in shared memory.
 * K and V tiles pass through a ring of SLOTS places, K of visit n being tile 2 n and V tile 2 n +
 * 1: every barrier both shows a tile that has arrived and frees the place of the one before, which
 * is refilled at once. Scores, probabilities and sums never leave registers; the maximum and
 * rescale are per row; a pair that is not visible has probability 0. The state is merged with the
 * one in memory at the end.
 *
 * Promises the state that attention.h defines, probabilities rounded to the operand type for the
 * second product, the sum taken before. */
#include "kernels/attention_prefill_cuda.cuh"
#include "kernels/mma_layout.h"
#include "kernels/variants_cuda.h"

enum {
    WARPS = 4,
    THREADS = 32 * WARPS,
    SCORE_TILES = PANEL_TOKENS / 8,
    VISITS = 4, /* kept in shared memory; more than the ring looks ahead */
};

/* HEAD_DIM is the width in shared memory: the head's own, or more, filled with zeros. A warp has
 * ROW_TILES tiles of 16 queries. */
template <int HEAD_DIM> struct prefill_shape {
    enum {
        ROW_TILES = HEAD_DIM > 128 ? 1 : 2,
        QUERIES = 16 * ROW_TILES * WARPS,
        CHUNKS = HEAD_DIM / MMA_LAYOUT_CHUNK,
        STEPS_K = HEAD_DIM / 16,
        SLOTS = HEAD_DIM <= 64    ? 4
                : HEAD_DIM <= 128 ? 3
                                  : 2,
        AHEAD = (SLOTS + 1) / 2, /* visits that are walked before they are needed */
        TILE_BYTES = PANEL_TOKENS * HEAD_DIM * 2,
        QUERY_BYTES = QUERIES * HEAD_DIM * 2,
        SHARED_BYTES = QUERY_BYTES + SLOTS * TILE_BYTES,
        /* Reading them again for every panel would keep shared memory, not arithmetic, busy. */
        QUERIES_STAY = HEAD_DIM <= 64,
    };
};

/* `rows` rows of `row_bytes` into a swizzled tile of ROWS x CHUNKS; zeros beyond. */
template <int ROWS, int CHUNKS>
static __device__ __forceinline__ void copy_rows(uint32_t to, const char *from, int64_t row_bytes,
                                                 int rows, int head_dim)
{
    const int thread = threadIdx.x / 32 * 32 + mma_lane();
#pragma unroll
    for (int i = 0; i < ROWS * CHUNKS / THREADS; i++) {
        int place = i * THREADS + thread;
        int row = place / CHUNKS, chunk = place % CHUNKS;
        bool there = row < rows && chunk * MMA_LAYOUT_CHUNK < head_dim;
        mma_copy(to + mma_layout_place(CHUNKS, row, chunk) * 16,
                 there ? from + row * row_bytes + chunk * 16 : from, there);
    }
}

/* Tile `tile` of the ring: K, or V where it is odd, of its visit; nothing after the last visit. */
template <int HEAD_DIM>
static __device__ __forceinline__ void copy_tile(const struct prefill_params *params,
                                                 const struct attention_visit *visits, int tile,
                                                 uint32_t slots, int kv_head)
{
    typedef prefill_shape<HEAD_DIM> shape;
    const struct attention_visit *visit = &visits[tile / 2 % VISITS];
    if (visit->keys > 0) {
        const int head_dim = prefill_head_dim<HEAD_DIM>(params);
        const struct attention_extent *extent = &params->extents[visit->extent];
        const int64_t record = visit->panel * extent->panel_records +
                               (tile % 2 ? extent->panel_records - 1 : visit->key_frame);
        const char *from = (const char *)extent->records + record * params->record_bytes +
                           (int64_t)kv_head * PANEL_TOKENS * head_dim * 2;
        copy_rows<PANEL_TOKENS, shape::CHUNKS>(slots + tile % shape::SLOTS * shape::TILE_BYTES,
                                               from, head_dim * 2, visit->keys, head_dim);
    }
    mma_copy_commit();
}

template <int HEAD_DIM>
static __device__ __forceinline__ void copy_queries(const struct prefill_params *params,
                                                    const struct prefill_tile *tile, uint32_t to,
                                                    int frame)
{
    typedef prefill_shape<HEAD_DIM> shape;
    const int head_dim = prefill_head_dim<HEAD_DIM>(params);
    const char *from = params->queries + frame * params->frame_bytes +
                       tile->row * params->row_bytes + (int64_t)tile->head * head_dim * 2;
    copy_rows<shape::QUERIES, shape::CHUNKS>(to, from, params->row_bytes, tile->tokens, head_dim);
}

/* The state of a warp's rows in registers: a lane has two rows of each tile of 16. */
template <int HEAD_DIM> struct prefill_state {
    float acc[prefill_shape<HEAD_DIM>::ROW_TILES][HEAD_DIM / 8][4];
    float max[prefill_shape<HEAD_DIM>::ROW_TILES][2];
    float sum[prefill_shape<HEAD_DIM>::ROW_TILES][2]; /* of this lane's keys */
};

/* A of the warp's queries, 16 elements from `step` on. */
template <int HEAD_DIM>
static __device__ __forceinline__ void load_queries(uint32_t a[4], uint32_t queries, int row_tile,
                                                    int step)
{
    typedef prefill_shape<HEAD_DIM> shape;
    const int lane = mma_lane(), warp = threadIdx.x / 32;
    const int row = (warp * shape::ROW_TILES + row_tile) * 16 + mma_layout_query_row(lane);
    mma_load(a, queries +
                    mma_layout_place(shape::CHUNKS, row, mma_layout_query_chunk(lane, step)) * 16);
}

/* scores = queries . keys, not scaled. `held` is used where the queries stay in registers. */
template <typename OPERAND, int HEAD_DIM>
static __device__ __forceinline__ void
score(float scores[prefill_shape<HEAD_DIM>::ROW_TILES][SCORE_TILES][4], uint32_t queries,
      const uint32_t held[prefill_shape<HEAD_DIM>::ROW_TILES][prefill_shape<HEAD_DIM>::STEPS_K][4],
      uint32_t keys)
{
    typedef prefill_shape<HEAD_DIM> shape;
    const int lane = mma_lane();
#pragma unroll
    for (int i = 0; i < shape::ROW_TILES * SCORE_TILES * 4; i++)
        (&scores[0][0][0])[i] = 0;
#pragma unroll 4
    for (int step = 0; step < shape::STEPS_K; step++) {
        uint32_t a[shape::ROW_TILES][4];
#pragma unroll
        for (int t = 0; t < shape::ROW_TILES; t++) {
            if (shape::QUERIES_STAY)
                memcpy(a[t], held[t][step], sizeof a[t]);
            else
                load_queries<HEAD_DIM>(a[t], queries, t, step);
        }
#pragma unroll
        for (int pair = 0; pair < SCORE_TILES / 2; pair++) {
            uint32_t b[4];
            mma_load(b, keys + mma_layout_place(shape::CHUNKS, pair * 16 + mma_layout_key_row(lane),
                                                mma_layout_key_chunk(lane, step)) *
                                   16);
#pragma unroll
            for (int t = 0; t < shape::ROW_TILES; t++) {
                mma_multiply(OPERAND(), scores[t][2 * pair], a[t], b);
                mma_multiply(OPERAND(), scores[t][2 * pair + 1], a[t], b + 2);
            }
        }
    }
}

template <int ROW_TILES>
static __device__ __forceinline__ void mask(float scores[ROW_TILES][SCORE_TILES][4],
                                            const struct attention_visit *visit)
{
    const int lane = mma_lane(), warp = threadIdx.x / 32;
#pragma unroll
    for (int t = 0; t < ROW_TILES; t++) {
#pragma unroll
        for (int n = 0; n < SCORE_TILES; n++) {
#pragma unroll
            for (int e = 0; e < 4; e++) {
                int row = (warp * ROW_TILES + t) * 16 + mma_layout_c_row(lane, e);
                int key = n * 8 + mma_layout_c_column(lane, e);
                if (!attention_visit_sees(visit, row, key))
                    scores[t][n][e] = -INFINITY;
            }
        }
    }
}

/* Scores -> probabilities; steps maximum, sum and acc of every row. */
template <int HEAD_DIM>
static __device__ __forceinline__ void
softmax(struct prefill_state<HEAD_DIM> *state,
        float scores[prefill_shape<HEAD_DIM>::ROW_TILES][SCORE_TILES][4], float scale_log2)
{
#pragma unroll
    for (int t = 0; t < prefill_shape<HEAD_DIM>::ROW_TILES; t++) {
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float top = scores[t][0][2 * h];
#pragma unroll
            for (int n = 0; n < SCORE_TILES; n++)
                top = fmaxf(top, fmaxf(scores[t][n][2 * h], scores[t][n][2 * h + 1]));
            top = fmaxf(state->max[t][h], mma_quad_max(top) * scale_log2);
            /* A row that has seen nothing yet has no maximum to take off. */
            const float base = top == -INFINITY ? 0 : top;
            const float rescale = mma_exp2(state->max[t][h] - base);
            float sum = 0;
#pragma unroll
            for (int n = 0; n < SCORE_TILES; n++) {
#pragma unroll
                for (int e = 2 * h; e < 2 * h + 2; e++) {
                    scores[t][n][e] = mma_exp2(fmaf(scores[t][n][e], scale_log2, -base));
                    sum += scores[t][n][e];
                }
            }
            state->max[t][h] = top;
            state->sum[t][h] = state->sum[t][h] * rescale + sum;
#pragma unroll
            for (int n = 0; n < HEAD_DIM / 8; n++) {
                state->acc[t][n][2 * h] *= rescale;
                state->acc[t][n][2 * h + 1] *= rescale;
            }
        }
    }
}

/* acc += probabilities . values */
template <typename OPERAND, int HEAD_DIM>
static __device__ __forceinline__ void
accumulate(struct prefill_state<HEAD_DIM> *state,
           const float scores[prefill_shape<HEAD_DIM>::ROW_TILES][SCORE_TILES][4], uint32_t values)
{
    typedef prefill_shape<HEAD_DIM> shape;
    const int lane = mma_lane();
#pragma unroll
    for (int step = 0; step < PANEL_TOKENS / 16; step++) {
        uint32_t a[shape::ROW_TILES][4];
#pragma unroll
        for (int t = 0; t < shape::ROW_TILES; t++) {
#pragma unroll
            for (int r = 0; r < 4; r++) {
                const float *pair = &scores[t][2 * step + r / 2][r % 2 * 2];
                a[t][r] = mma_pack(OPERAND(), pair[0], pair[1]);
            }
        }
#pragma unroll
        for (int pair = 0; pair < HEAD_DIM / 16; pair++) {
            uint32_t b[4];
            mma_load_transposed(b, values + mma_layout_place(shape::CHUNKS,
                                                             step * 16 + mma_layout_value_row(lane),
                                                             mma_layout_value_chunk(lane, pair)) *
                                                16);
#pragma unroll
            for (int t = 0; t < shape::ROW_TILES; t++) {
                mma_multiply(OPERAND(), state->acc[t][2 * pair], a[t], b);
                mma_multiply(OPERAND(), state->acc[t][2 * pair + 1], a[t], b + 2);
            }
        }
    }
}

template <typename OPERAND, int HEAD_DIM>
static __device__ __forceinline__ void store_state(const struct prefill_params *params,
                                                   const struct prefill_tile *tile,
                                                   const struct prefill_state<HEAD_DIM> *state)
{
    typedef prefill_shape<HEAD_DIM> shape;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
    for (int t = 0; t < shape::ROW_TILES; t++) {
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const int token = (warp * shape::ROW_TILES + t) * 16 + mma_layout_c_row(lane, 2 * h);
            struct prefill_row row = {(tile->row + token) * params->heads + tile->head,
                                      state->max[t][h], mma_quad_sum(state->sum[t][h]), 0, 0};
            if (!params->first && token < tile->tokens) {
                row.other_max = params->max[row.row];
                row.other_sum = params->sum[row.row];
            }
            __syncwarp(); /* all four lanes of a row have read what one of them writes */
            if (token < tile->tokens)
                prefill_store_row<OPERAND, HEAD_DIM>(params, &row, &state->acc[t][0][2 * h]);
        }
    }
}

template <typename OPERAND, int HEAD_DIM>
__global__ void __launch_bounds__(THREADS, 2)
    attention_prefill_kernel(const __grid_constant__ struct prefill_params params)
{
    typedef prefill_shape<HEAD_DIM> shape;
    extern __shared__ __align__(128) char shared[];
    __shared__ struct attention_visits walk;
    __shared__ struct attention_visit visits[VISITS];
    __shared__ struct prefill_tile tile;
    const uint32_t queries = mma_shared(shared);
    const uint32_t slots = queries + shape::QUERY_BYTES;
    struct prefill_state<HEAD_DIM> state;
    uint32_t held[shape::ROW_TILES][shape::STEPS_K][4];
    int frame = -1;

#pragma unroll
    for (int i = 0; i < shape::ROW_TILES * HEAD_DIM / 8 * 4; i++)
        (&state.acc[0][0][0])[i] = 0;
#pragma unroll
    for (int i = 0; i < shape::ROW_TILES * 2; i++) {
        (&state.max[0][0])[i] = -INFINITY;
        (&state.sum[0][0])[i] = 0;
    }
    if (threadIdx.x == 0) {
        prefill_find_tile(&tile, &params, blockIdx.x, shape::QUERIES);
        attention_visits_begin(&walk, tile.index, tile.tokens);
        for (int s = 0; s < shape::AHEAD; s++)
            attention_visits_advance(&walk, &visits[s], &params.regimes, params.extents,
                                    params.extent_count, tile.span);
    }
    __syncthreads();
#pragma unroll
    for (int t = 0; t < shape::SLOTS - 1; t++)
        copy_tile<HEAD_DIM>(&params, visits, t, slots, tile.kv_head);

    for (int n = 0; visits[n % VISITS].keys > 0; n++) {
        const struct attention_visit *visit = &visits[n % VISITS];
        float scores[shape::ROW_TILES][SCORE_TILES][4];
        mma_copy_wait<shape::SLOTS - 2>();
        __syncthreads(); /* K is here; V of the visit before, and its queries, are done with */
        copy_tile<HEAD_DIM>(&params, visits, 2 * n + shape::SLOTS - 1, slots, tile.kv_head);
        if (visit->query_frame != frame) {
            frame = visit->query_frame;
            copy_queries<HEAD_DIM>(&params, &tile, queries, frame);
            mma_copy_commit();
            mma_copy_wait<0>();
            __syncthreads();
            if (shape::QUERIES_STAY)
#pragma unroll
                for (int i = 0; i < shape::ROW_TILES * shape::STEPS_K; i++)
                    load_queries<HEAD_DIM>(held[i / shape::STEPS_K][i % shape::STEPS_K], queries,
                                           i / shape::STEPS_K, i % shape::STEPS_K);
        }
        if (threadIdx.x == 0)
            attention_visits_advance(&walk, &visits[(n + shape::AHEAD) % VISITS], &params.regimes,
                                    params.extents, params.extent_count, tile.span);
        score<OPERAND, HEAD_DIM>(scores, queries, held,
                                 slots + 2 * n % shape::SLOTS * shape::TILE_BYTES);
        if (visit->masked)
            mask<shape::ROW_TILES>(scores, visit);
        softmax<HEAD_DIM>(&state, scores, params.scale_log2);
        mma_copy_wait<shape::SLOTS - 2>();
        __syncthreads(); /* V is here, and the next visit is known; K is done with */
        copy_tile<HEAD_DIM>(&params, visits, 2 * n + shape::SLOTS, slots, tile.kv_head);
        accumulate<OPERAND, HEAD_DIM>(&state, scores,
                                      slots + (2 * n + 1) % shape::SLOTS * shape::TILE_BYTES);
    }
    store_state<OPERAND, HEAD_DIM>(&params, &tile, &state);
}

template <typename OPERAND, int HEAD_DIM>
static int launch(struct prefill_params *params, cudaStream_t stream)
{
    typedef prefill_shape<HEAD_DIM> shape;
    params->tiles = prefill_tiles(params, shape::QUERIES);
    if (params->tiles <= 0)
        return params->tiles < 0 ? cudaErrorInvalidValue : cudaSuccess;
    cudaError_t error =
        cudaFuncSetAttribute((const void *)attention_prefill_kernel<OPERAND, HEAD_DIM>,
                             cudaFuncAttributeMaxDynamicSharedMemorySize, shape::SHARED_BYTES);
    if (error != cudaSuccess)
        return error;
    attention_prefill_kernel<OPERAND, HEAD_DIM>
        <<<(unsigned)(params->tiles * params->head_count), THREADS, shape::SHARED_BYTES, stream>>>(
            *params);
    return cudaGetLastError();
}

template <typename OPERAND>
static int launch_width(struct prefill_params *params, cudaStream_t stream)
{
    if (params->head_dim == 64)
        return launch<OPERAND, 64>(params, stream);
    if (params->head_dim <= 96)
        return launch<OPERAND, 96>(params, stream);
    if (params->head_dim == 128)
        return launch<OPERAND, 128>(params, stream);
    return launch<OPERAND, 256>(params, stream);
}

static int prefill(const struct kernels_cuda_prefill *args, cudaStream_t stream)
{
    struct prefill_params params = {};
    if (!prefill_params_make(&params, args))
        return cudaErrorInvalidValue;
    return args->operand == DTYPE_BF16 ? launch_width<mma_bf16>(&params, stream)
                                       : launch_width<mma_f16>(&params, stream);
}

void attention_cuda_install(struct kernels_cuda *kernels)
{
    kernels->attention_prefill = prefill;
}
