/* Training's gradients row by row and column by column, its loss and its optimiser. Promises that
 * each number is added up by one thread, or by one block in a fixed tree; sums over rows go by
 * blocks of rows whose sums are then added in their order. */
#include <math.h>

#include "kernels/kernels_cuda.h"
#include "kernels/store_cuda.cuh"
#include "kernels/variants_cuda.h"

enum {
    THREADS = 256,
    NARROW = 128, /* rows up to so wide have a warp for a block */
    COLUMN_LANES = 32,
    ENTROPY_THREADS = 512,
};

static int64_t blocks_of(int64_t threads)
{
    return (threads + THREADS - 1) / THREADS;
}

static __device__ __forceinline__ int64_t thread_number(void)
{
    return (int64_t)blockIdx.x * THREADS + threadIdx.x;
}

/* ---- sums over a block of 32 * n threads, in every thread ---- */

struct two_sums {
    float first, second;
};

static __device__ struct two_sums block_sums(float first, float second)
{
    __shared__ struct two_sums parts[32];
    for (int apart = 16; apart > 0; apart /= 2) {
        first += __shfl_xor_sync(0xffffffffu, first, apart);
        second += __shfl_xor_sync(0xffffffffu, second, apart);
    }
    __syncthreads(); /* the sums before these have been read */
    if (threadIdx.x % 32 == 0) {
        parts[threadIdx.x / 32].first = first;
        parts[threadIdx.x / 32].second = second;
    }
    __syncthreads();
    struct two_sums sums = {0, 0};
    for (int w = 0; w < (int)blockDim.x / 32; w++) {
        sums.first += parts[w].first;
        sums.second += parts[w].second;
    }
    return sums;
}

/* ---- sums of columns ---- */

/* A block has 32 columns: a warp each COLUMN_LANES-th row, then the warps' sums in their order. */
__global__ void __launch_bounds__(32 * COLUMN_LANES)
    column_sums_kernel(const __grid_constant__ struct kernels_cuda_column_sums args)
{
    __shared__ float parts[COLUMN_LANES][32];
    const int column = threadIdx.x % 32, lane = threadIdx.x / 32;
    const int64_t at = (int64_t)blockIdx.x * 32 + column;
    float sum = 0;
    for (int64_t row = lane; at < args.width && row < args.rows; row += COLUMN_LANES)
        sum += args.x[row * args.stride + at];
    parts[lane][column] = sum;
    __syncthreads();
    if (lane > 0 || at >= args.width)
        return;
    for (int other = 1; other < COLUMN_LANES; other++)
        sum += parts[other][column];
    args.sums[at] += sum;
}

static int column_sums(const struct kernels_cuda_column_sums *args, cudaStream_t stream)
{
    const int64_t blocks = (args->width + 31) / 32;
    if (args->rows == 0 || blocks == 0)
        return 0;
    if (args->rows < 0 || blocks < 0 || blocks > INT32_MAX)
        return cudaErrorInvalidValue;
    column_sums_kernel<<<(unsigned)blocks, 32 * COLUMN_LANES, 0, stream>>>(*args);
    return cudaGetLastError();
}

/* ---- rmsnorm ---- */

/* A block has KERNELS_CUDA_NORM_ROWS rows, one after the other; its threads keep their columns'
 * part of dweight in memory that nobody else touches. */
__global__ void __launch_bounds__(THREADS)
    rmsnorm_gradient_kernel(const __grid_constant__ struct kernels_cuda_rmsnorm_gradient args)
{
    const int64_t first = (int64_t)blockIdx.x * KERNELS_CUDA_NORM_ROWS;
    const int64_t left = args.rows - first;
    const int64_t rows =
        (left < KERNELS_CUDA_NORM_ROWS ? left : KERNELS_CUDA_NORM_ROWS) * args.heads;
    float *partial = args.partial + blockIdx.x * args.width;
    for (int64_t i = threadIdx.x; i < args.width; i += blockDim.x)
        partial[i] = 0;
    for (int64_t row = 0; row < rows; row++) {
        const int64_t at = (first + row / args.heads) * args.stride + row % args.heads * args.width;
        const float *x = args.x + at, *dy = args.dy + at;
        float *dx = args.dx + at;
        float squares = 0, along = 0;
        for (int64_t i = threadIdx.x; i < args.width; i += blockDim.x) {
            squares += x[i] * x[i];
            along += dy[i] * args.weight[i] * x[i];
        }
        const struct two_sums sums = block_sums(squares, along);
        const float scale = 1 / sqrtf(sums.first / (float)args.width + args.eps);
        const float mean = sums.second / (float)args.width * scale * scale;
        for (int64_t i = threadIdx.x; i < args.width; i += blockDim.x) {
            const float x_here = x[i], dy_here = dy[i];
            const float value = scale * (dy_here * args.weight[i] - x_here * mean);
            partial[i] += dy_here * x_here * scale;
            dx[i] = args.accumulate ? dx[i] + value : value;
        }
    }
}

static int rmsnorm_gradient(const struct kernels_cuda_rmsnorm_gradient *args, cudaStream_t stream)
{
    const int64_t blocks = kernels_cuda_norm_parts(args->rows);
    if (args->rows == 0)
        return 0;
    if (args->rows < 0 || args->heads < 1 || args->width < 1 || blocks > INT32_MAX)
        return cudaErrorInvalidValue;
    rmsnorm_gradient_kernel<<<(unsigned)blocks, args->width <= NARROW ? 32 : THREADS, 0, stream>>>(
        *args);
    const int error = cudaGetLastError();
    const struct kernels_cuda_column_sums sums = {.sums = args->dweight,
                                                  .x = args->partial,
                                                  .stride = args->width,
                                                  .rows = blocks,
                                                  .width = args->width};
    return error == cudaSuccess ? column_sums(&sums, stream) : error;
}

/* ---- element by element ---- */

__global__ void __launch_bounds__(THREADS)
    swiglu_gradient_kernel(const __grid_constant__ struct kernels_cuda_swiglu_gradient args)
{
    const int64_t i = thread_number();
    if (i >= args.count)
        return;
    const float gate = args.gate[i], up = args.up[i], dy = args.dy[i];
    const float t = 1 / (1 + expf(-gate));
    args.dgate[i] = dy * up * t * (1 + gate * (1 - t));
    args.dup[i] = dy * gate * t;
}

static int swiglu_gradient(const struct kernels_cuda_swiglu_gradient *args, cudaStream_t stream)
{
    const int64_t blocks = blocks_of(args->count);
    if (blocks == 0)
        return 0;
    if (blocks < 0 || blocks > INT32_MAX)
        return cudaErrorInvalidValue;
    swiglu_gradient_kernel<<<(unsigned)blocks, THREADS, 0, stream>>>(*args);
    return cudaGetLastError();
}

__global__ void __launch_bounds__(THREADS)
    add_kernel(const __grid_constant__ struct kernels_cuda_add args)
{
    const int64_t i = thread_number();
    if (i < args.count)
        args.sum[i] += args.x[i];
}

static int add(const struct kernels_cuda_add *args, cudaStream_t stream)
{
    const int64_t blocks = blocks_of(args->count);
    if (blocks == 0)
        return 0;
    if (blocks < 0 || blocks > INT32_MAX)
        return cudaErrorInvalidValue;
    add_kernel<<<(unsigned)blocks, THREADS, 0, stream>>>(*args);
    return cudaGetLastError();
}

/* A thread for four neighbours. */
__global__ void __launch_bounds__(THREADS)
    copy_rows_kernel(const __grid_constant__ struct kernels_cuda_copy_rows args)
{
    const int64_t quads = args.width / 4, place = thread_number();
    if (place >= args.rows * quads)
        return;
    const int64_t row = place / quads, column = place % quads * 4;
    *(float4 *)(args.out + row * args.out_stride + column) =
        *(const float4 *)(args.x + row * args.x_stride + column);
}

static int copy_rows(const struct kernels_cuda_copy_rows *args, cudaStream_t stream)
{
    const int64_t blocks = blocks_of(args->rows * (args->width / 4));
    if (blocks == 0)
        return 0;
    if (blocks < 0 || blocks > INT32_MAX || args->width % 4 != 0 || args->x_stride % 4 != 0 ||
        args->out_stride % 4 != 0)
        return cudaErrorInvalidValue;
    copy_rows_kernel<<<(unsigned)blocks, THREADS, 0, stream>>>(*args);
    return cudaGetLastError();
}

/* A thread for four neighbours. */
__global__ void __launch_bounds__(THREADS)
    round_kernel(const __grid_constant__ struct kernels_cuda_round args)
{
    const int64_t quads = args.width / 4, place = thread_number();
    if (place >= args.rows * quads)
        return;
    const int64_t row = place / quads, column = place % quads * 4;
    store_four(args.out, args.operand, row * args.width + column,
               *(const float4 *)(args.x + row * args.x_stride + column));
}

static int round_rows(const struct kernels_cuda_round *args, cudaStream_t stream)
{
    const int64_t blocks = blocks_of(args->rows * (args->width / 4));
    if (blocks == 0)
        return 0;
    if (blocks < 0 || blocks > INT32_MAX || args->width % 4 != 0 || args->x_stride % 4 != 0 ||
        !store_is_operand(args->operand))
        return cudaErrorInvalidValue;
    round_kernel<<<(unsigned)blocks, THREADS, 0, stream>>>(*args);
    return cudaGetLastError();
}

/* A thread for two pairs of one head, over all frames. */
__global__ void __launch_bounds__(THREADS)
    rope_gradient_kernel(const __grid_constant__ struct kernels_cuda_rope_gradient args)
{
    const int half = args.head_dim / 2, per_head = half / 2;
    const int64_t line = thread_number() / per_head; /* (row, head) */
    if (line >= args.rows * args.heads)
        return;
    const int p = (int)(thread_number() % per_head) * 2;
    const float *x = args.x + line * args.head_dim + p;
    const float *table = args.table + (line / args.heads * half + p) * 2;
    float2 low = make_float2(0, 0), high = make_float2(0, 0);
#pragma unroll 1
    for (int frame = 0; frame < args.frame_count; frame++) {
        const float2 a = *(const float2 *)x, b = *(const float2 *)(x + half);
        const float4 angles = *(const float4 *)table;
        low.x += a.x * angles.x + b.x * angles.y;
        low.y += a.y * angles.z + b.y * angles.w;
        high.x += b.x * angles.x - a.x * angles.y;
        high.y += b.y * angles.z - a.y * angles.w;
        x += args.frame_stride;
        table += args.table_stride;
    }
    float *out =
        args.out + line / args.heads * args.out_stride + line % args.heads * args.head_dim + p;
    *(float2 *)out = low;
    *(float2 *)(out + half) = high;
}

static int rope_gradient(const struct kernels_cuda_rope_gradient *args, cudaStream_t stream)
{
    const int64_t blocks = blocks_of(args->rows * args->heads * (args->head_dim / 4));
    if (blocks == 0)
        return 0;
    if (blocks < 0 || blocks > INT32_MAX || args->head_dim % 16 != 0 || args->out_stride % 4 != 0)
        return cudaErrorInvalidValue;
    rope_gradient_kernel<<<(unsigned)blocks, THREADS, 0, stream>>>(*args);
    return cudaGetLastError();
}

/* ---- embedding ---- */

/* A block a token of the vocabulary: its rows one after the other. */
__global__ void __launch_bounds__(THREADS)
    embed_gradient_kernel(const __grid_constant__ struct kernels_cuda_embed_gradient args)
{
    const int32_t first = args.first[blockIdx.x], end = args.first[blockIdx.x + 1];
    float *dweight = args.dweight + args.ids[blockIdx.x] * args.width;
    for (int64_t i = threadIdx.x; i < args.width; i += THREADS) {
        float sum = dweight[i];
        for (int32_t r = first; r < end; r++)
            sum += args.dy[args.order[r] * args.width + i];
        dweight[i] = sum;
    }
}

static int embed_gradient(const struct kernels_cuda_embed_gradient *args, cudaStream_t stream)
{
    if (args->tokens == 0)
        return 0;
    if (args->tokens < 0 || args->tokens > INT32_MAX || args->width < 1)
        return cudaErrorInvalidValue;
    embed_gradient_kernel<<<(unsigned)args->tokens, THREADS, 0, stream>>>(*args);
    return cudaGetLastError();
}

/* ---- cross-entropy ---- */

/* A block a row. An x that is not a number, or infinity, makes the sum a NaN, and all with it. */
__global__ void __launch_bounds__(ENTROPY_THREADS)
    cross_entropy_kernel(const __grid_constant__ struct kernels_cuda_cross_entropy args)
{
    __shared__ float parts[ENTROPY_THREADS / 32];
    float *logits = args.logits + (int64_t)blockIdx.x * args.width;
    const int32_t target = args.targets[blockIdx.x];
    if (target < 0) {
        for (int64_t i = threadIdx.x; i < args.width; i += ENTROPY_THREADS)
            logits[i] = 0;
        if (threadIdx.x == 0)
            args.losses[blockIdx.x] = 0;
        return;
    }
    const float wanted = logits[target];
    float top = -INFINITY, sum = 0;
    for (int64_t i = threadIdx.x; i < args.width; i += ENTROPY_THREADS)
        top = fmaxf(top, logits[i]);
    for (int apart = 16; apart > 0; apart /= 2)
        top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, apart));
    if (threadIdx.x % 32 == 0)
        parts[threadIdx.x / 32] = top;
    __syncthreads();
    for (int w = 0; w < ENTROPY_THREADS / 32; w++)
        top = fmaxf(top, parts[w]);
    for (int64_t i = threadIdx.x; i < args.width; i += ENTROPY_THREADS)
        sum += expf(logits[i] - top);
    sum = block_sums(sum, 0).first; /* after it, all have read the target's logit */
    const float factor = args.weight / sum;
    for (int64_t i = threadIdx.x; i < args.width; i += ENTROPY_THREADS)
        logits[i] = expf(logits[i] - top) * factor - (i == target ? args.weight : 0);
    if (threadIdx.x == 0)
        args.losses[blockIdx.x] = log((double)sum) - ((double)wanted - (double)top);
}

static int cross_entropy(const struct kernels_cuda_cross_entropy *args, cudaStream_t stream)
{
    if (args->rows == 0)
        return 0;
    if (args->rows < 0 || args->rows > INT32_MAX || args->width < 1 || args->width > INT32_MAX)
        return cudaErrorInvalidValue;
    cross_entropy_kernel<<<(unsigned)args->rows, ENTROPY_THREADS, 0, stream>>>(*args);
    return cudaGetLastError();
}

/* ---- the optimiser ---- */

/* A block a sum. */
__global__ void __launch_bounds__(THREADS)
    squares_kernel(const __grid_constant__ struct kernels_cuda_squares args)
{
    __shared__ double parts[THREADS];
    const int64_t first = (int64_t)blockIdx.x * KERNELS_CUDA_SQUARES;
    const int64_t left = args.count - first;
    const int64_t end = first + (left < KERNELS_CUDA_SQUARES ? left : KERNELS_CUDA_SQUARES);
    double sum = 0;
    for (int64_t i = first + threadIdx.x; i < end; i += THREADS)
        sum += (double)args.x[i] * (double)args.x[i];
    parts[threadIdx.x] = sum;
    for (int apart = THREADS / 2; apart > 0; apart /= 2) {
        __syncthreads();
        if ((int)threadIdx.x < apart)
            parts[threadIdx.x] += parts[threadIdx.x + apart];
    }
    if (threadIdx.x == 0)
        args.sums[blockIdx.x] = parts[0];
}

static int squares(const struct kernels_cuda_squares *args, cudaStream_t stream)
{
    const int64_t blocks = kernels_cuda_squares_sums(args->count);
    if (blocks == 0)
        return 0;
    if (blocks < 0 || blocks > INT32_MAX)
        return cudaErrorInvalidValue;
    squares_kernel<<<(unsigned)blocks, THREADS, 0, stream>>>(*args);
    return cudaGetLastError();
}

struct adamw_params {
    struct adamw_args args;
    struct adamw_factors factors;
};

__global__ void __launch_bounds__(THREADS)
    adamw_kernel(const __grid_constant__ struct adamw_params params)
{
    const struct adamw_args *args = &params.args;
    const int64_t i = thread_number();
    if (i >= args->count)
        return;
    const float g = args->gradient_scale * args->gradient[i];
    const float m = args->beta1 * args->moment[i] + (1 - args->beta1) * g;
    const float v = args->beta2 * args->variance[i] + (1 - args->beta2) * (g * g);
    const float divisor = sqrtf(v) * params.factors.inverse_root + args->epsilon;
    args->moment[i] = m;
    args->variance[i] = v;
    args->weights[i] = args->weights[i] * params.factors.keep - params.factors.rate * (m / divisor);
}

static int adamw(const struct adamw_args *args, cudaStream_t stream)
{
    const int64_t blocks = blocks_of(args->count);
    if (blocks == 0)
        return 0;
    if (blocks < 0 || blocks > INT32_MAX || args->step < 1)
        return cudaErrorInvalidValue;
    const struct adamw_params params = {*args, adamw_factors(args)};
    adamw_kernel<<<(unsigned)blocks, THREADS, 0, stream>>>(params);
    return cudaGetLastError();
}

void rows_gradient_cuda_install(struct kernels_cuda *kernels)
{
    kernels->rmsnorm_gradient = rmsnorm_gradient;
    kernels->swiglu_gradient = swiglu_gradient;
    kernels->rope_gradient = rope_gradient;
    kernels->column_sums = column_sums;
    kernels->embed_gradient = embed_gradient;
    kernels->add = add;
    kernels->copy_rows = copy_rows;
    kernels->round = round_rows;
    kernels->cross_entropy = cross_entropy;
    kernels->squares = squares;
    kernels->adamw = adamw;
}
