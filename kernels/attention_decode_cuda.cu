/* Attention of few queries to many keys, split over the keys; and what makes one result of several
 * states.
 *
 * Decode: a block is sixteen rows (token, head) of one KV head's group and one split of the keys.
 * Each of its four warps takes sixteen keys of every panel, copies them for itself and keeps a
 * state of its own, so nothing in the loop waits for another warp; the four are merged at the end.
 * Keys and values are read once for the whole group.
 *
 * Promises the state that attention.h defines; merging goes in a fixed order. */
#include <math.h>

#include "kernels/attention_segments.h"
#include "kernels/kernels_cuda.h"
#include "kernels/mma_cuda.cuh"
#include "kernels/mma_layout.h"
#include "kernels/store_cuda.cuh"
#include "kernels/variants_cuda.h"

enum {
    WARPS = 4,
    THREADS = 32 * WARPS,
    ROWS = 16,
    WARP_KEYS = PANEL_TOKENS / WARPS,
    VISITS = 4, /* kept in shared memory; at least the stages */
    ROW_THREADS = 128,
};

struct decode_params {
    struct regimes regimes;
    const char *bases[KERNELS_CUDA_BASES];
    const struct kernels_cuda_extent *extents;
    const int32_t *split_first;
    const int64_t *index;
    const char *queries;
    int64_t frame_bytes;
    int64_t row_bytes; /* of all heads */
    int64_t record_bytes;
    float *states;
    int64_t rows;
    int heads, group, head_dim;
    int kv_first; /* of the KV heads that are computed */
    float scale_log2;
};

/* What this block computes. */
static __device__ __forceinline__ int kv_head_of(const struct decode_params *params)
{
    return params->kv_first + (int)blockIdx.y;
}

template <int HEAD_DIM> struct decode_shape {
    enum {
        CHUNKS = HEAD_DIM / MMA_LAYOUT_CHUNK,
        STEPS_K = HEAD_DIM / 16,
        STAGES = HEAD_DIM <= 64    ? 4
                 : HEAD_DIM <= 128 ? 3
                                   : 2,
        SLICE_BYTES = WARP_KEYS * HEAD_DIM * 2, /* of K, or of V */
        WARP_BYTES = STAGES * 2 * SLICE_BYTES,
        SHARED_BYTES = WARPS * WARP_BYTES, /* and, at the end, acc of four warps */
        ACC_STRIDE = HEAD_DIM + 8,         /* floats: rows lie in different banks */
    };
    static_assert(WARPS * ROWS * ACC_STRIDE * 4 <= SHARED_BYTES, "acc has room");
    /* Of 228 KiB; a block has 1 KiB of the system's and less than 2 KiB of its own beside it. */
    static_assert((HEAD_DIM <= 64    ? 3
                   : HEAD_DIM <= 128 ? 2
                                     : 1) *
                          (SHARED_BYTES + 3 * 1024) <=
                      228 * 1024,
                  "kernels_cuda_decode_resident tells how many blocks fit");
};

/* A warp's way through the extents of its block's split, in shared memory; one lane goes it. */
struct decode_walk {
    struct attention_visits at;
    struct attention_extent extent; /* at hand */
    int listed, listed_end; /* of params->extents */
    struct attention_visit visits[VISITS];
    const char *keys[VISITS]; /* the visits' K records */
    int32_t apart[VISITS];    /* records from K to V */
};

static __device__ void take_extent(struct decode_walk *walk, const struct decode_params *params)
{
    if (walk->listed >= walk->listed_end)
        return;
    /* All of it in one wait. */
    const struct kernels_cuda_extent extent = params->extents[walk->listed];
    walk->extent.records = params->bases[extent.base] + extent.record * params->record_bytes;
    walk->extent.panel_records = extent.panel_records;
    walk->extent.first = extent.first;
    walk->extent.end = extent.end;
    walk->extent.store = extent.store;
}

static __device__ void begin_walk(struct decode_walk *walk, const struct decode_params *params,
                                  int first_row)
{
    const int64_t first = first_row / params->group;
    const int64_t end =
        regimes_smaller((first_row + ROWS - 1) / params->group + 1, params->rows);
    const int64_t index = *params->index;
    const int listed = params->split_first[blockIdx.x];
    const int listed_end = params->split_first[blockIdx.x + 1];
    attention_visits_begin(&walk->at, index + first, end - first);
    walk->listed = listed;
    walk->listed_end = listed_end;
    take_extent(walk, params);
}

static __device__ void advance_walk(struct decode_walk *walk, const struct decode_params *params,
                                    int slot)
{
    struct attention_visit *visit = &walk->visits[slot];
    for (; walk->listed < walk->listed_end; walk->listed++, take_extent(walk, params)) {
        if (attention_visits_next(&walk->at, visit, &params->regimes, &walk->extent)) {
            const int records = walk->extent.panel_records;
            walk->keys[slot] =
                (const char *)walk->extent.records +
                (visit->panel * records + visit->key_frame) * params->record_bytes;
            walk->apart[slot] = records - 1 - visit->key_frame;
            return;
        }
    }
    visit->keys = 0;
}

/* Sixteen keys, and values `apart` bytes behind them, without a gap, and none missing: 512 bytes at
 * a time, one behind the other. A row's swizzle (mma_layout_place) is that of the first rows and
 * that of how many follow. */
template <int HEAD_DIM>
static __device__ __forceinline__ void copy_whole(const char *from, int64_t apart, uint32_t stage)
{
    typedef decode_shape<HEAD_DIM> shape;
    enum { ROWS_AT_ONCE = 32 / shape::CHUNKS };
    const int lane = threadIdx.x % 32;
    const int row = lane / shape::CHUNKS, chunk = lane % shape::CHUNKS;
    const int place = row * shape::CHUNKS + (chunk ^ row);
    from += lane * 16;
#pragma unroll
    for (int i = 0; i < WARP_KEYS / ROWS_AT_ONCE; i++) {
        const uint32_t to = stage + (place ^ i * ROWS_AT_ONCE % 8) * 16 + i * 512;
        mma_copy(to, from + i * 512, true);
        mma_copy(to + shape::SLICE_BYTES, from + apart + i * 512, true);
    }
}

/* Sixteen keys and values, of which some may be missing or shorter than their place. */
template <int HEAD_DIM>
static __device__ __forceinline__ void copy_part(const char *from, int64_t apart,
                                                 uint32_t stage, int keys, int head_dim)
{
    typedef decode_shape<HEAD_DIM> shape;
    const int lane = mma_lane();
#pragma unroll 1
    for (int i = 0; i < WARP_KEYS * shape::CHUNKS / 32; i++) {
        const int row = (i * 32 + lane) / shape::CHUNKS, chunk = (i * 32 + lane) % shape::CHUNKS;
        const bool there = row < keys && chunk * MMA_LAYOUT_CHUNK < head_dim;
        const char *key = there ? from + row * head_dim * 2 + chunk * 16 : from;
        const uint32_t to = stage + mma_layout_place(shape::CHUNKS, row, chunk) * 16;
        mma_copy(to, key, there);
        mma_copy(to + shape::SLICE_BYTES, there ? key + apart : key, there);
    }
}

/* This warp's sixteen keys and values of a visit into a stage. */
template <int HEAD_DIM>
static __device__ __forceinline__ void copy_slices(const struct decode_params *params,
                                                   const struct decode_walk *walk, int slot,
                                                   uint32_t stage)
{
    const int first = threadIdx.x / 32 * WARP_KEYS;
    const int keys = walk->visits[slot].keys;
    const int64_t apart = walk->apart[slot] * params->record_bytes;
    const char *panel =
        walk->keys[slot] + (int64_t)kv_head_of(params) * PANEL_TOKENS * params->head_dim * 2;
    const char *from = panel + first * params->head_dim * 2;
    const bool even = 32 % decode_shape<HEAD_DIM>::CHUNKS == 0 && params->head_dim == HEAD_DIM;
    if (even && keys >= first + WARP_KEYS)
        copy_whole<HEAD_DIM>(from, apart, stage);
    else if (keys > 0)
        copy_part<HEAD_DIM>(keys > first ? from : panel, apart, stage, keys - first,
                            params->head_dim);
    mma_copy_commit();
}

/* A of the block's sixteen rows, straight from global memory; zeros where there is none. */
template <int HEAD_DIM>
static __device__ __forceinline__ void load_rows(uint32_t a[decode_shape<HEAD_DIM>::STEPS_K][4],
                                                 const struct decode_params *params, int first_row,
                                                 int frame)
{
    const int lane = mma_lane();
#pragma unroll
    for (int step = 0; step < decode_shape<HEAD_DIM>::STEPS_K; step++) {
#pragma unroll
        for (int r = 0; r < 4; r++) {
            const int row = first_row + mma_layout_a_row(lane, r);
            const int d = step * 16 + mma_layout_a_column(lane, r);
            const int token = row / params->group;
            const int head = kv_head_of(params) * params->group + row % params->group;
            a[step][r] = 0;
            if (token < params->rows && d < params->head_dim)
                a[step][r] = *(const uint32_t *)(params->queries + frame * params->frame_bytes +
                                                 token * params->row_bytes +
                                                 (head * params->head_dim + d) * 2);
        }
    }
}

template <int HEAD_DIM> struct decode_state {
    float acc[HEAD_DIM / 8][4];
    float max[2];
    float sum[2]; /* of this lane's keys */
};

static __device__ __forceinline__ void mask(float scores[2][4], const struct attention_visit *visit,
                                            int first_row, int group)
{
    const int lane = mma_lane(), warp = threadIdx.x / 32;
    const int first_token = first_row / group;
#pragma unroll
    for (int n = 0; n < 2; n++) {
#pragma unroll
        for (int e = 0; e < 4; e++) {
            int token = (first_row + mma_layout_c_row(lane, e)) / group - first_token;
            int key = warp * WARP_KEYS + n * 8 + mma_layout_c_column(lane, e);
            if (!attention_visit_sees(visit, token, key))
                scores[n][e] = -INFINITY;
        }
    }
}

template <int HEAD_DIM>
static __device__ __forceinline__ void softmax(struct decode_state<HEAD_DIM> *state,
                                               float scores[2][4], float scale_log2)
{
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float top = fmaxf(fmaxf(scores[0][2 * h], scores[0][2 * h + 1]),
                          fmaxf(scores[1][2 * h], scores[1][2 * h + 1]));
        top = fmaxf(state->max[h], mma_quad_max(top) * scale_log2);
        const float base = top == -INFINITY ? 0 : top;
        const float rescale = mma_exp2(state->max[h] - base);
        float sum = 0;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            float *score = &scores[i / 2][2 * h + i % 2];
            *score = mma_exp2(fmaf(*score, scale_log2, -base));
            sum += *score;
        }
        state->max[h] = top;
        state->sum[h] = state->sum[h] * rescale + sum;
#pragma unroll
        for (int n = 0; n < HEAD_DIM / 8; n++) {
            state->acc[n][2 * h] *= rescale;
            state->acc[n][2 * h + 1] *= rescale;
        }
    }
}

/* One visit of one warp: scores, softmax, mixture. */
template <typename OPERAND, int HEAD_DIM>
static __device__ __forceinline__ void
attend(struct decode_state<HEAD_DIM> *state,
       const uint32_t queries[decode_shape<HEAD_DIM>::STEPS_K][4],
       const struct decode_params *params, const struct attention_visit *visit, uint32_t stage,
       int first_row)
{
    typedef decode_shape<HEAD_DIM> shape;
    const int lane = mma_lane();
    float scores[2][4] = {};
    uint32_t a[4];
#pragma unroll
    for (int s = 0; s < shape::STEPS_K; s++) {
        uint32_t b[4];
        mma_load(b, stage + mma_layout_place(shape::CHUNKS, mma_layout_key_row(lane),
                                             mma_layout_key_chunk(lane, s)) *
                                16);
        mma_multiply(OPERAND(), scores[0], queries[s], b);
        mma_multiply(OPERAND(), scores[1], queries[s], b + 2);
    }
    if (visit->masked)
        mask(scores, visit, first_row, params->group);
    softmax<HEAD_DIM>(state, scores, params->scale_log2);
#pragma unroll
    for (int r = 0; r < 4; r++)
        a[r] = mma_pack(OPERAND(), scores[r / 2][r % 2 * 2], scores[r / 2][r % 2 * 2 + 1]);
#pragma unroll
    for (int s = 0; s < shape::STEPS_K; s++) {
        uint32_t b[4];
        mma_load_transposed(b, stage + shape::SLICE_BYTES +
                                   mma_layout_place(shape::CHUNKS, mma_layout_value_row(lane),
                                                    mma_layout_value_chunk(lane, s)) *
                                       16);
        mma_multiply(OPERAND(), state->acc[2 * s], a, b);
        mma_multiply(OPERAND(), state->acc[2 * s + 1], a, b + 2);
    }
}

/* Merges the warps' states in their order, and writes the block's. `shared` holds [WARPS, ROWS,
 * ACC_STRIDE] floats. */
template <int HEAD_DIM>
static __device__ void store_state(const struct decode_params *params,
                                   const struct decode_state<HEAD_DIM> *state, float *shared,
                                   int first_row)
{
    __shared__ float tops[WARPS][ROWS], sums[WARPS][ROWS];
    enum { STRIDE = decode_shape<HEAD_DIM>::ACC_STRIDE };
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int64_t rows = params->rows * params->group - first_row;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const int row = mma_layout_c_row(lane, 2 * h);
        float *to = shared + (warp * ROWS + row) * STRIDE + mma_layout_c_column(lane, 0);
#pragma unroll
        for (int n = 0; n < HEAD_DIM / 8; n++)
            if (row < rows)
                *(float2 *)(to + n * 8) =
                    make_float2(state->acc[n][2 * h], state->acc[n][2 * h + 1]);
    }
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const float sum = mma_quad_sum(state->sum[h]);
        tops[warp][mma_layout_c_row(lane, 2 * h)] = state->max[h];
        sums[warp][mma_layout_c_row(lane, 2 * h)] = sum;
    }
    __syncthreads();
    const int64_t states = params->rows * params->heads;
    float *acc = params->states + blockIdx.x * states * (params->head_dim + 2);
    for (int row = warp; row < ROWS; row += WARPS) {
        const int64_t token = (first_row + row) / params->group;
        if (token >= params->rows)
            break;
        const int64_t place = token * params->heads + (int64_t)kv_head_of(params) * params->group +
                              (first_row + row) % params->group;
        float top = -INFINITY, sum = 0, weights[WARPS];
        for (int w = 0; w < WARPS; w++)
            top = fmaxf(top, tops[w][row]);
        for (int w = 0; w < WARPS; w++) {
            weights[w] = sums[w][row] == 0 ? 0 : mma_exp2(tops[w][row] - top);
            sum += weights[w] * sums[w][row];
        }
        for (int d = lane; d < params->head_dim; d += 32) {
            float all = 0;
            for (int w = 0; w < WARPS; w++)
                all += weights[w] * shared[(w * ROWS + row) * STRIDE + d];
            acc[place * params->head_dim + d] = all;
        }
        if (lane == 0) {
            acc[states * params->head_dim + place] = top;
            acc[states * (params->head_dim + 1) + place] = sum;
        }
    }
}

template <typename OPERAND, int HEAD_DIM>
__global__ void __launch_bounds__(THREADS)
    attention_decode_kernel(const __grid_constant__ struct decode_params params)
{
    typedef decode_shape<HEAD_DIM> shape;
    extern __shared__ __align__(128) char shared[];
    __shared__ struct decode_walk walks[WARPS];
    const int warp = threadIdx.x / 32;
    const int first_row = blockIdx.z * ROWS;
    struct decode_walk *walk = &walks[warp];
    const uint32_t stages = mma_shared(shared) + warp * shape::WARP_BYTES;
    struct decode_state<HEAD_DIM> state;
    uint32_t queries[shape::STEPS_K][4];
    int frame = -1;
#pragma unroll
    for (int i = 0; i < HEAD_DIM / 8 * 4; i++)
        (&state.acc[0][0])[i] = 0;
    state.max[0] = state.max[1] = -INFINITY;
    state.sum[0] = state.sum[1] = 0;
    for (int s = 0; s < shape::STAGES; s++) {
        if (threadIdx.x % 32 == 0) {
            if (s == 0)
                begin_walk(walk, &params, first_row);
            advance_walk(walk, &params, s);
        }
        __syncwarp();
        if (s < shape::STAGES - 1)
            copy_slices<HEAD_DIM>(&params, walk, s, stages + s * 2 * shape::SLICE_BYTES);
    }
    for (int n = 0; walk->visits[n % VISITS].keys > 0; n++) {
        const int ahead = n + shape::STAGES - 1;
        const struct attention_visit *visit = &walk->visits[n % VISITS];
        if (visit->query_frame != frame) {
            frame = visit->query_frame;
            load_rows<HEAD_DIM>(queries, &params, first_row, frame);
        }
        /* Every lane has done with the stage that is filled now, and sees the visit to fill from.
         * */
        mma_copy_wait<shape::STAGES - 2>();
        __syncwarp();
        copy_slices<HEAD_DIM>(&params, walk, ahead % VISITS,
                              stages + ahead % shape::STAGES * 2 * shape::SLICE_BYTES);
        attend<OPERAND, HEAD_DIM>(&state, queries, &params, visit,
                                  stages + n % shape::STAGES * 2 * shape::SLICE_BYTES, first_row);
        __syncwarp(); /* every lane has done with visit n, whose place may be taken */
        if (threadIdx.x % 32 == 0)
            advance_walk(walk, &params, (n + shape::STAGES) % VISITS);
        __syncwarp();
    }
    mma_copy_wait<0>();
    __syncthreads(); /* no warp reads its stages any more */
    store_state<HEAD_DIM>(&params, &state, (float *)shared, first_row);
}

template <typename OPERAND, int HEAD_DIM>
static int launch(const struct decode_params *params, dim3 grid, cudaStream_t stream)
{
    typedef decode_shape<HEAD_DIM> shape;
    const void *kernel = (const void *)attention_decode_kernel<OPERAND, HEAD_DIM>;
    cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                             shape::SHARED_BYTES);
    if (error == cudaSuccess) /* as many blocks at once as kernels_cuda_decode_resident says */
        error = cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                                     cudaSharedmemCarveoutMaxShared);
    if (error != cudaSuccess)
        return error;
    attention_decode_kernel<OPERAND, HEAD_DIM>
        <<<grid, THREADS, shape::SHARED_BYTES, stream>>>(*params);
    return cudaGetLastError();
}

template <typename OPERAND>
static int launch_width(const struct decode_params *params, dim3 grid, cudaStream_t stream)
{
    if (params->head_dim <= 64)
        return launch<OPERAND, 64>(params, grid, stream);
    if (params->head_dim <= 96)
        return launch<OPERAND, 96>(params, grid, stream);
    if (params->head_dim <= 128)
        return launch<OPERAND, 128>(params, grid, stream);
    return launch<OPERAND, 256>(params, grid, stream);
}

static int decode(const struct kernels_cuda_decode *args, cudaStream_t stream)
{
    if (args->rows == 0)
        return 0;
    if (args->rows < 0 || args->splits < 1 || args->head_dim < 16 || args->head_dim % 16 != 0 ||
        args->head_dim > ATTENTION_HEAD_DIM_MAX || args->kv_heads < 1 ||
        args->kv_heads > UINT16_MAX || args->heads % args->kv_heads != 0)
        return cudaErrorInvalidValue;
    const int count = kernels_cuda_heads_count(args->computed, args->kv_heads);
    if (count == 0)
        return cudaErrorInvalidValue;
    struct decode_params params = {};
    params.regimes = *args->regimes;
    for (int b = 0; b < KERNELS_CUDA_BASES; b++)
        params.bases[b] = (const char *)args->bases[b];
    params.extents = args->extents;
    params.split_first = args->split_first;
    params.index = args->index;
    params.queries = (const char *)args->queries;
    params.frame_bytes = args->frame_stride * 2;
    params.row_bytes = (int64_t)args->heads * args->head_dim * 2;
    params.record_bytes =
        (int64_t)attention_record_bytes(DTYPE_BF16, args->kv_heads, args->head_dim);
    params.states = args->states;
    params.rows = args->rows;
    params.heads = args->heads;
    params.group = args->heads / args->kv_heads;
    params.kv_first = args->computed.first;
    params.head_dim = args->head_dim;
    params.scale_log2 = args->scale_log2;
    const int64_t row_groups = (args->rows * params.group + ROWS - 1) / ROWS;
    if (row_groups > UINT16_MAX)
        return cudaErrorInvalidValue;
    const dim3 grid((unsigned)args->splits, (unsigned)count, (unsigned)row_groups);
    if (args->operand == DTYPE_BF16)
        return launch_width<mma_bf16>(&params, grid, stream);
    if (args->operand == DTYPE_F16)
        return launch_width<mma_f16>(&params, grid, stream);
    return cudaErrorInvalidValue;
}

/* ---- several states into one ---- */

enum { COMBINE_COLUMNS = ATTENTION_HEAD_DIM_MAX / ROW_THREADS };

/* The largest x, or the sum of all, of a block's threads, in every thread. */
static __device__ float block_max(float x)
{
    __shared__ float parts[ROW_THREADS / 32];
    for (int apart = 16; apart > 0; apart /= 2)
        x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, apart));
    if (threadIdx.x % 32 == 0)
        parts[threadIdx.x / 32] = x;
    __syncthreads();
    for (int w = 0; w < ROW_THREADS / 32; w++)
        x = fmaxf(x, parts[w]);
    return x;
}

static __device__ float block_sum(float x)
{
    __shared__ float parts[ROW_THREADS / 32];
    for (int apart = 16; apart > 0; apart /= 2)
        x += __shfl_xor_sync(0xffffffffu, x, apart);
    if (threadIdx.x % 32 == 0)
        parts[threadIdx.x / 32] = x;
    __syncthreads();
    float sum = 0;
    for (int w = 0; w < ROW_THREADS / 32; w++)
        sum += parts[w];
    return sum;
}

enum { COMBINE_LOADS = 32 /* under way at a time; ROW_THREADS is a multiple */ };

/* sum + the weighted column of `count` states, in order. All loads of a
 * round go out before the first sum, the last round's too: what is beyond is the last state again,
 * and not added. */
static __device__ __forceinline__ float combine_column(float sum, const float *weights, int count,
                                                       const float *column, int64_t state_floats)
{
    for (int first = 0; first < count; first += COMBINE_LOADS) {
        float values[COMBINE_LOADS];
#pragma unroll
        for (int w = 0; w < COMBINE_LOADS; w++)
            values[w] =
                column[regimes_smaller(first + w, count - 1) * state_floats];
#pragma unroll
        for (int w = 0; w < COMBINE_LOADS; w++)
            if (first + w < count)
                sum += weights[first + w] * values[w];
    }
    return sum;
}

/* A block for each (token, head): a thread for each state's weight, then for each column. */
__global__ void __launch_bounds__(ROW_THREADS)
    attention_combine_kernel(const __grid_constant__ struct kernels_cuda_combine args)
{
    __shared__ float weights[ROW_THREADS];
    const int64_t row = blockIdx.x;
    const int64_t rows = args.rows * args.heads;
    const int64_t state_floats = rows * (args.head_dim + 2);
    const float *maxima = args.states + rows * args.head_dim + row;
    const float *sums = maxima + rows;
    const float *acc = args.states + row * args.head_dim;
    float top = -INFINITY, sum = 0, columns[COMBINE_COLUMNS] = {};
    for (int s = threadIdx.x; s < args.count; s += ROW_THREADS) {
        const float theirs = sums[s * state_floats], high = maxima[s * state_floats];
        top = fmaxf(top, theirs == 0 ? -INFINITY : high);
    }
    top = block_max(top);
    for (int first = 0; first < args.count; first += ROW_THREADS) {
        const int s = first + (int)threadIdx.x;
        const int end = args.count - first < ROW_THREADS ? args.count - first : ROW_THREADS;
        float weight = 0;
        const float theirs = s < args.count ? sums[s * state_floats] : 0;
        if (theirs != 0)
            weight = exp2f(maxima[s * state_floats] - top);
        sum += weight * theirs;
        __syncthreads(); /* the weights before are done with */
        weights[threadIdx.x] = weight;
        __syncthreads();
#pragma unroll
        for (int c = 0; c < COMBINE_COLUMNS; c++) {
            const int d = c * ROW_THREADS + (int)threadIdx.x;
            if (d < args.head_dim)
                columns[c] = combine_column(columns[c], weights, end,
                                            acc + first * state_floats + d, state_floats);
        }
    }
    sum = block_sum(sum);
#pragma unroll
    for (int c = 0; c < COMBINE_COLUMNS; c++) {
        const int d = c * ROW_THREADS + (int)threadIdx.x;
        if (d < args.head_dim && args.state)
            args.state[row * args.head_dim + d] = columns[c];
        if (d < args.head_dim && args.out)
            store_one(args.out, args.out_dtype, row * args.head_dim + d,
                      sum == 0 ? 0 : columns[c] / sum);
    }
    if (args.state && threadIdx.x == 0) {
        args.state[rows * args.head_dim + row] = top;
        args.state[rows * (args.head_dim + 1) + row] = sum;
    }
}

static int combine(const struct kernels_cuda_combine *args, cudaStream_t stream)
{
    const int64_t rows = args->rows * args->heads;
    if (rows == 0)
        return 0;
    if (rows < 0 || rows > INT32_MAX || args->count < 1 || args->head_dim < 1 ||
        args->head_dim > ATTENTION_HEAD_DIM_MAX || (args->out && !store_takes(args->out_dtype)))
        return cudaErrorInvalidValue;
    attention_combine_kernel<<<(unsigned)rows, ROW_THREADS, 0, stream>>>(*args);
    return cudaGetLastError();
}

__global__ void __launch_bounds__(ROW_THREADS)
    attention_finish_kernel(const __grid_constant__ struct kernels_cuda_finish args)
{
    const int64_t place = (int64_t)blockIdx.x * ROW_THREADS + threadIdx.x;
    if (place >= args.rows * args.head_dim)
        return;
    const float sum = args.sum[place / args.head_dim];
    store_one(args.out, args.out_dtype, place, sum == 0 ? 0 : args.acc[place] / sum);
}

static int finish(const struct kernels_cuda_finish *args, cudaStream_t stream)
{
    const int64_t blocks = (args->rows * args->head_dim + ROW_THREADS - 1) / ROW_THREADS;
    if (blocks == 0)
        return 0;
    if (blocks < 0 || blocks > INT32_MAX || !store_takes(args->out_dtype))
        return cudaErrorInvalidValue;
    attention_finish_kernel<<<(unsigned)blocks, ROW_THREADS, 0, stream>>>(*args);
    return cudaGetLastError();
}

void attention_decode_cuda_install(struct kernels_cuda *kernels)
{
    kernels->attention_decode = decode;
    kernels->attention_combine = combine;
    kernels->attention_finish = finish;
}
