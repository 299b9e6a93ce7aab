/* Row by row: norm (with the addition before it), norm of heads, bias, swiglu, and what is asked of
 * logits. Promises float32 sums in an order that depends on the width alone. */
#include <math.h>

#include "kernels/kernels_cuda.h"
#include "kernels/store_cuda.cuh"
#include "kernels/variants_cuda.h"

enum {
    NORM_THREADS = 256,
    HEADS_WARPS = 8,
    BIAS_THREADS = 256,
    SWIGLU_THREADS = 256,
    LOGITS_THREADS = 512,
};

/* ---- rmsnorm ---- */

/* The sum over a block of 32 * n threads, in every thread. */
static __device__ float block_sum(float x)
{
    __shared__ float parts[32];
    for (int apart = 16; apart > 0; apart /= 2)
        x += __shfl_xor_sync(0xffffffffu, x, apart);
    if (threadIdx.x % 32 == 0)
        parts[threadIdx.x / 32] = x;
    __syncthreads();
    float sum = 0;
    for (int w = 0; w < (int)blockDim.x / 32; w++)
        sum += parts[w];
    return sum;
}

/* A block a row. */
__global__ void __launch_bounds__(NORM_THREADS)
    rmsnorm_kernel(const __grid_constant__ struct kernels_cuda_rmsnorm args)
{
    const int64_t row = (int64_t)blockIdx.x * args.width;
    float4 *hidden = (float4 *)(args.hidden + row);
    const float4 *add = (const float4 *)(args.add + row);
    const float4 *weight = (const float4 *)args.weight;
    const int64_t quads = args.width / 4;
    float sum = 0;
    for (int64_t i = threadIdx.x; i < quads; i += NORM_THREADS) {
        float4 x = hidden[i];
        if (args.add) {
            const float4 y = add[i];
            x = make_float4(x.x + y.x, x.y + y.y, x.z + y.z, x.w + y.w);
            hidden[i] = x;
        }
        sum += x.x * x.x + x.y * x.y + x.z * x.z + x.w * x.w;
    }
    if (!args.out)
        return;
    const float scale = 1 / sqrtf(block_sum(sum) / (float)args.width + args.eps);
    for (int64_t i = threadIdx.x; i < quads; i += NORM_THREADS) {
        const float4 x = hidden[i], w = weight[i];
        store_four(args.out, args.out_dtype, row + 4 * i,
                   make_float4(x.x * scale * w.x, x.y * scale * w.y, x.z * scale * w.z,
                               x.w * scale * w.w));
    }
}

static int rmsnorm(const struct kernels_cuda_rmsnorm *args, cudaStream_t stream)
{
    if (args->rows == 0)
        return 0;
    if (args->rows < 0 || args->rows > INT32_MAX || args->width < 4 || args->width % 4 != 0 ||
        !store_takes(args->out_dtype))
        return cudaErrorInvalidValue;
    rmsnorm_kernel<<<(unsigned)args->rows, NORM_THREADS, 0, stream>>>(*args);
    return cudaGetLastError();
}

/* ---- norm of heads ---- */

/* A warp a head: its values are read once, and few enough to be found in the first cache again. */
__global__ void __launch_bounds__(32 * HEADS_WARPS)
    norm_heads_kernel(const __grid_constant__ struct kernels_cuda_norm_heads args)
{
    const int heads = args.heads[0] + args.heads[1];
    const int64_t place = (int64_t)blockIdx.x * HEADS_WARPS + threadIdx.x / 32;
    if (place >= args.rows * heads)
        return;
    const int head = (int)(place % heads);
    float *x = args.x + place / heads * args.stride + (int64_t)head * args.head_dim;
    const float *weight = head < args.heads[0] ? args.weights[0] : args.weights[1];
    float sum = 0;
    for (int d = threadIdx.x % 32; d < args.head_dim; d += 32)
        sum += x[d] * x[d];
    for (int apart = 16; apart > 0; apart /= 2)
        sum += __shfl_xor_sync(0xffffffffu, sum, apart);
    const float scale = 1 / sqrtf(sum / (float)args.head_dim + args.eps);
    for (int d = threadIdx.x % 32; d < args.head_dim; d += 32)
        x[d] = x[d] * scale * weight[d];
}

static int norm_heads(const struct kernels_cuda_norm_heads *args, cudaStream_t stream)
{
    const int64_t heads = args->rows * (args->heads[0] + args->heads[1]);
    const int64_t blocks = (heads + HEADS_WARPS - 1) / HEADS_WARPS;
    if (heads == 0)
        return 0;
    if (args->rows < 0 || args->heads[0] < 0 || args->heads[1] < 0 || blocks > INT32_MAX ||
        args->head_dim < 1)
        return cudaErrorInvalidValue;
    norm_heads_kernel<<<(unsigned)blocks, 32 * HEADS_WARPS, 0, stream>>>(*args);
    return cudaGetLastError();
}

/* ---- bias ---- */

/* A thread an element: rows are written as they are read, and vectors come from the cache. */
__global__ void __launch_bounds__(BIAS_THREADS)
    bias_kernel(const __grid_constant__ struct kernels_cuda_bias args)
{
    const int64_t width = args.end - args.first;
    const int64_t place = (int64_t)blockIdx.x * BIAS_THREADS + threadIdx.x;
    if (place >= args.rows * width)
        return;
    float *y = args.y + place / width * args.stride + args.first + place % width;
    int64_t column = args.first + place % width;
    float added = 0;
#pragma unroll
    for (int v = 0; v < KERNELS_CUDA_MATRICES; v++) {
        if (v < args.vector_count && column >= 0 && column < args.widths[v])
            added = args.vectors[v][column];
        column -= v < args.vector_count ? args.widths[v] : 0;
    }
    *y += added;
}

static int bias(const struct kernels_cuda_bias *args, cudaStream_t stream)
{
    const int64_t count = args->rows * (args->end - args->first);
    const int64_t blocks = (count + BIAS_THREADS - 1) / BIAS_THREADS;
    int64_t all = 0;
    for (int v = 0; v < args->vector_count && v < KERNELS_CUDA_MATRICES; v++)
        all += args->widths[v];
    if (args->rows == 0 || args->first == args->end)
        return 0;
    if (args->rows < 0 || args->vector_count > KERNELS_CUDA_MATRICES || args->first < 0 ||
        args->end < args->first || args->end > all || blocks > INT32_MAX)
        return cudaErrorInvalidValue;
    bias_kernel<<<(unsigned)blocks, BIAS_THREADS, 0, stream>>>(*args);
    return cudaGetLastError();
}

/* ---- swiglu ---- */

static __device__ __forceinline__ float swiglu_of(float gate, float up)
{
    return gate / (1 + expf(-gate)) * up;
}

/* A thread for four neighbours. */
__global__ void __launch_bounds__(SWIGLU_THREADS)
    swiglu_kernel(const __grid_constant__ struct kernels_cuda_swiglu args)
{
    const int64_t quads = args.width / 4;
    const int64_t place = (int64_t)blockIdx.x * SWIGLU_THREADS + threadIdx.x;
    if (place >= args.rows * quads)
        return;
    const int64_t row = place / quads, column = place % quads * 4;
    const float4 gate = *(const float4 *)(args.gate + row * args.in_stride + column);
    const float4 up = *(const float4 *)(args.up + row * args.in_stride + column);
    store_four(args.out, args.out_dtype, row * args.out_stride + column,
               make_float4(swiglu_of(gate.x, up.x), swiglu_of(gate.y, up.y),
                           swiglu_of(gate.z, up.z), swiglu_of(gate.w, up.w)));
}

static int swiglu(const struct kernels_cuda_swiglu *args, cudaStream_t stream)
{
    const int64_t blocks = (args->rows * (args->width / 4) + SWIGLU_THREADS - 1) / SWIGLU_THREADS;
    if (blocks == 0)
        return 0;
    if (blocks < 0 || blocks > INT32_MAX || args->width % 4 != 0 || args->in_stride % 4 != 0 ||
        args->out_stride % 4 != 0 || !store_takes(args->out_dtype))
        return cudaErrorInvalidValue;
    swiglu_kernel<<<(unsigned)blocks, SWIGLU_THREADS, 0, stream>>>(*args);
    return cudaGetLastError();
}

/* ---- logits ---- */

/* The largest logit, the lowest id that has it, and Sum e^(x - max): a NaN where an x is not
 * finite. */
struct logits_part {
    float max;
    int best;
    float sum;
};

static __device__ __forceinline__ struct logits_part join(struct logits_part a,
                                                          struct logits_part b)
{
    struct logits_part both = a;
    if (b.sum == 0)
        return a;
    if (a.sum == 0)
        return b;
    if (b.max > a.max || (b.max == a.max && b.best < a.best)) {
        both.max = b.max;
        both.best = b.best;
    }
    both.sum = a.sum * expf(a.max - both.max) + b.sum * expf(b.max - both.max);
    return both;
}

/* A block a row. */
__global__ void __launch_bounds__(LOGITS_THREADS)
    logits_kernel(const __grid_constant__ struct kernels_cuda_logits args)
{
    __shared__ struct logits_part parts[LOGITS_THREADS];
    const float *logits = args.logits + (int64_t)blockIdx.x * args.vocab;
    struct logits_part mine = {-INFINITY, 0, 0};
    for (int64_t i = threadIdx.x; i < args.vocab; i += LOGITS_THREADS)
        mine = join(mine, (struct logits_part){logits[i], (int)i, 1 + 0 * logits[i]});
    parts[threadIdx.x] = mine;
    for (int apart = LOGITS_THREADS / 2; apart > 0; apart /= 2) {
        __syncthreads();
        if ((int)threadIdx.x < apart)
            parts[threadIdx.x] = join(parts[threadIdx.x], parts[threadIdx.x + apart]);
    }
    if (threadIdx.x != 0)
        return;
    struct kernels_cuda_logits_row out;
    const int id = args.ids ? args.ids[blockIdx.x] : -1;
    out.max = parts[0].max;
    out.best = parts[0].best;
    out.logsumexp = parts[0].max + logf(parts[0].sum);
    out.logprob = id < 0 ? 0 : logits[id] - out.logsumexp;
    args.out[blockIdx.x] = out;
}

static int logits(const struct kernels_cuda_logits *args, cudaStream_t stream)
{
    if (args->rows == 0)
        return 0;
    if (args->rows < 0 || args->rows > INT32_MAX || args->vocab < 1 || args->vocab > INT32_MAX)
        return cudaErrorInvalidValue;
    logits_kernel<<<(unsigned)args->rows, LOGITS_THREADS, 0, stream>>>(*args);
    return cudaGetLastError();
}

void rows_cuda_install(struct kernels_cuda *kernels)
{
    kernels->rmsnorm = rmsnorm;
    kernels->norm_heads = norm_heads;
    kernels->bias = bias;
    kernels->swiglu = swiglu;
    kernels->logits = logits;
}
