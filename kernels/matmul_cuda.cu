/* Weights in their file's type: rows expanded (for the embedding and for cuBLASLt), and products of
 * few rows that read the quantised matrix directly. Promises one order over k whatever the rows and
 * the range of outputs, and float32 throughout. */
#include "kernels/dtype_cuda.cuh"
#include "kernels/kernels_cuda.h"
#include "kernels/store_cuda.cuh"
#include "kernels/variants_cuda.h"

enum {
    EXPAND_THREADS = 256,
    PRODUCT_WARPS = 4,
    PRODUCT_OUTPUTS = 2, /* of a warp: they share what is read of x */
    PRODUCT_ROWS = 8,    /* of a launch: they share what is read of the matrix */
};

/* ---- rows, expanded ---- */

struct expand_params {
    void *out; /* [count, in] */
    enum dtype out_dtype;
    const uint8_t *rows;
    int64_t row_bytes;
    const int32_t *ids; /* [count]; NULL: rows first, first + 1, ... */
    int64_t first, count, in;
};

/* A thread for each unit. */
template <int DTYPE>
__global__ void __launch_bounds__(EXPAND_THREADS)
    expand_kernel(const __grid_constant__ struct expand_params params)
{
    const int64_t units = params.in / DTYPE_CUDA_UNIT;
    const int64_t place = (int64_t)blockIdx.x * EXPAND_THREADS + threadIdx.x;
    if (place >= params.count * units)
        return;
    const int64_t r = place / units, unit = place % units;
    const int64_t row = params.ids ? params.ids[r] : params.first + r;
    float x[2][8];
    dtype_cuda<DTYPE>::expand(x, params.rows + row * params.row_bytes, unit);
#pragma unroll
    for (int octet = 0; octet < 2; octet++) {
        const int64_t k =
            r * params.in + dtype_cuda<DTYPE>::first(unit) + octet * dtype_cuda<DTYPE>::APART;
        store_four(params.out, params.out_dtype, k,
                   make_float4(x[octet][0], x[octet][1], x[octet][2], x[octet][3]));
        store_four(params.out, params.out_dtype, k + 4,
                   make_float4(x[octet][4], x[octet][5], x[octet][6], x[octet][7]));
    }
}

template <int DTYPE> static int expand_of(const struct expand_params *params, cudaStream_t stream)
{
    const int64_t threads = params->count * (params->in / DTYPE_CUDA_UNIT);
    const int64_t blocks = (threads + EXPAND_THREADS - 1) / EXPAND_THREADS;
    if (blocks == 0)
        return 0;
    if (blocks < 0 || blocks > INT32_MAX)
        return cudaErrorInvalidValue;
    expand_kernel<DTYPE><<<(unsigned)blocks, EXPAND_THREADS, 0, stream>>>(*params);
    return cudaGetLastError();
}

/* Blocks and bytes as in dtype.c, which is not linked here. */
static int64_t row_bytes_of(enum dtype dtype, int64_t in)
{
    static const struct {
        int elements, bytes;
    } blocks[DTYPE_ON_GPU] = {{1, 4},   {1, 2},   {1, 2},     {32, 18},   {32, 20},  {32, 22},
                              {32, 24}, {32, 34}, {256, 144}, {256, 176}, {256, 210}};
    if (dtype < 0 || dtype >= DTYPE_ON_GPU || in < 0 || in % DTYPE_CUDA_UNIT != 0 ||
        in % blocks[dtype].elements != 0)
        return -1;
    return in / blocks[dtype].elements * blocks[dtype].bytes;
}

static int expand(struct expand_params *params, const struct kernels_cuda_matrix *matrix,
                  cudaStream_t stream)
{
    static int (*const of[DTYPE_ON_GPU])(const struct expand_params *, cudaStream_t) = {
        expand_of<DTYPE_F32>,  expand_of<DTYPE_F16>,  expand_of<DTYPE_BF16>, expand_of<DTYPE_Q4_0>,
        expand_of<DTYPE_Q4_1>, expand_of<DTYPE_Q5_0>, expand_of<DTYPE_Q5_1>, expand_of<DTYPE_Q8_0>,
        expand_of<DTYPE_Q4_K>, expand_of<DTYPE_Q5_K>, expand_of<DTYPE_Q6_K>,
    };
    params->rows = (const uint8_t *)matrix->rows;
    params->in = matrix->in;
    params->row_bytes = row_bytes_of(matrix->dtype, matrix->in);
    if (params->row_bytes < 0 || params->count < 0)
        return cudaErrorInvalidValue;
    return of[matrix->dtype](params, stream);
}

static int embed(const struct kernels_cuda_embed *args, cudaStream_t stream)
{
    struct expand_params params = {};
    params.out = args->hidden;
    params.out_dtype = DTYPE_F32;
    params.ids = args->ids;
    params.count = args->rows;
    return expand(&params, &args->matrix, stream);
}

static int dequantize(const struct kernels_cuda_dequantize *args, cudaStream_t stream)
{
    if (!store_is_operand(args->operand) || args->first < 0 || args->end > args->matrix.out)
        return cudaErrorInvalidValue;
    struct expand_params params = {};
    params.out = args->out;
    params.out_dtype = args->operand;
    params.first = args->first;
    params.count = args->end - args->first;
    return expand(&params, &args->matrix, stream);
}

/* ---- products ---- */

/* Up to PRODUCT_ROWS rows of x times rows [first, end) of one matrix. */
struct product_params {
    float *y; /* of output 0 of the matrix */
    int64_t y_stride;
    const float *x;
    int64_t x_stride;
    const uint8_t *rows;
    int64_t row_bytes;
    int64_t first, end, in;
    int count; /* of rows of x */
    bool accumulate;
};

/* A warp for PRODUCT_OUTPUTS outputs, its lanes side by side along k. */
template <int DTYPE, int ROWS>
__global__ void __launch_bounds__(32 * PRODUCT_WARPS)
    product_kernel(const __grid_constant__ struct product_params params)
{
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int64_t output =
        params.first + ((int64_t)blockIdx.x * PRODUCT_WARPS + warp) * PRODUCT_OUTPUTS;
    float sums[PRODUCT_OUTPUTS][ROWS] = {};
    for (int64_t unit = lane; unit < params.in / DTYPE_CUDA_UNIT; unit += 32) {
        float w[PRODUCT_OUTPUTS][2][8];
#pragma unroll
        for (int o = 0; o < PRODUCT_OUTPUTS; o++) {
            /* The last warp may have fewer outputs: it reads a row twice and stores it once. */
            const int64_t row = output + o < params.end ? output + o : params.end - 1;
            dtype_cuda<DTYPE>::expand(w[o], params.rows + row * params.row_bytes, unit);
        }
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            const float *x = params.x + (r < params.count ? r : 0) * params.x_stride +
                             dtype_cuda<DTYPE>::first(unit);
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const float4 four =
                    *(const float4 *)(x + i / 2 * dtype_cuda<DTYPE>::APART + i % 2 * 4);
#pragma unroll
                for (int o = 0; o < PRODUCT_OUTPUTS; o++) {
                    const float *ours = &w[o][i / 2][i % 2 * 4];
                    sums[o][r] = fmaf(ours[0], four.x, sums[o][r]);
                    sums[o][r] = fmaf(ours[1], four.y, sums[o][r]);
                    sums[o][r] = fmaf(ours[2], four.z, sums[o][r]);
                    sums[o][r] = fmaf(ours[3], four.w, sums[o][r]);
                }
            }
        }
    }
#pragma unroll
    for (int o = 0; o < PRODUCT_OUTPUTS; o++) {
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            float sum = sums[o][r];
            for (int apart = 16; apart > 0; apart /= 2)
                sum += __shfl_xor_sync(0xffffffffu, sum, apart);
            float *y = params.y + r * params.y_stride + output + o;
            if (lane == 0 && r < params.count && output + o < params.end)
                *y = params.accumulate ? *y + sum : sum;
        }
    }
}

template <int DTYPE> static int product_of(const struct product_params *params, cudaStream_t stream)
{
    const int64_t outputs = PRODUCT_WARPS * PRODUCT_OUTPUTS;
    const int64_t blocks = (params->end - params->first + outputs - 1) / outputs;
    if (blocks > INT32_MAX)
        return cudaErrorInvalidValue;
    if (params->count == 1)
        product_kernel<DTYPE, 1><<<(unsigned)blocks, 32 * PRODUCT_WARPS, 0, stream>>>(*params);
    else
        product_kernel<DTYPE, PRODUCT_ROWS>
            <<<(unsigned)blocks, 32 * PRODUCT_WARPS, 0, stream>>>(*params);
    return cudaGetLastError();
}

/* All rows of x times the wanted rows of one matrix, whose output 0 is column `base` of y. */
static int multiply(const struct kernels_cuda_matmul *args,
                    const struct kernels_cuda_matrix *matrix, int64_t base, cudaStream_t stream)
{
    static int (*const of[DTYPE_ON_GPU])(const struct product_params *, cudaStream_t) = {
        product_of<DTYPE_F32>,  product_of<DTYPE_F16>,  product_of<DTYPE_BF16>,
        product_of<DTYPE_Q4_0>, product_of<DTYPE_Q4_1>, product_of<DTYPE_Q5_0>,
        product_of<DTYPE_Q5_1>, product_of<DTYPE_Q8_0>, product_of<DTYPE_Q4_K>,
        product_of<DTYPE_Q5_K>, product_of<DTYPE_Q6_K>,
    };
    struct product_params params = {};
    params.y_stride = args->y_stride;
    params.x_stride = args->x_stride;
    params.rows = (const uint8_t *)matrix->rows;
    params.row_bytes = row_bytes_of(matrix->dtype, matrix->in);
    params.first = args->out_first > base ? args->out_first - base : 0;
    params.end = args->out_end - base < matrix->out ? args->out_end - base : matrix->out;
    params.in = matrix->in;
    params.accumulate = args->accumulate;
    if (params.row_bytes < 0)
        return cudaErrorInvalidValue;
    for (int64_t done = 0; done < args->rows && params.first < params.end; done += PRODUCT_ROWS) {
        params.y = args->y + done * args->y_stride + base;
        params.x = args->x + done * args->x_stride;
        params.count = args->rows - done < PRODUCT_ROWS ? (int)(args->rows - done) : PRODUCT_ROWS;
        const int error = of[matrix->dtype](&params, stream);
        if (error)
            return error;
    }
    return 0;
}

static int matmul_decode(const struct kernels_cuda_matmul *args, cudaStream_t stream)
{
    if (args->matrix_count < 1 || args->matrix_count > KERNELS_CUDA_MATRICES || args->rows < 0 ||
        args->x_stride % 4 != 0)
        return cudaErrorInvalidValue;
    int64_t base = 0;
    for (int m = 0; m < args->matrix_count; m++) {
        const int error = multiply(args, &args->matrices[m], base, stream);
        if (error)
            return error;
        base += args->matrices[m].out;
    }
    return 0;
}

void matmul_cuda_install(struct kernels_cuda *kernels)
{
    kernels->embed = embed;
    kernels->dequantize = dequantize;
    kernels->matmul_decode = matmul_decode;
}
