/* Owns the reference products of matmul.h. Packing copies the rows; a weight row is expanded to
 * float32 once a call and multiplied in float32.
 *
 * Promises one order over k: element k goes to partial sum k mod LANES, and the partial sums are
 * added pairwise at the end. Prefill and decode are the same loop. */
#include "kernels/variants.h"

#include <string.h>

enum { LANES = 16 };

static size_t packed_bytes(enum dtype dtype, int64_t out, int64_t in)
{
    return (size_t)out * dtype_row_bytes(dtype, in);
}

static void pack(void *packed, const void *rows, enum dtype dtype, int64_t out, int64_t in)
{
    memcpy(packed, rows, packed_bytes(dtype, out, in));
}

static void weight_row(float *row, const struct matmul_weights *weights, int64_t out_index)
{
    const char *packed = weights->packed;
    size_t bytes = dtype_row_bytes(weights->dtype, weights->in);
    dtype_dequantize_row(row, packed + (size_t)out_index * bytes, weights->dtype, weights->in);
}

static float dot(const float *a, const float *b, int64_t count)
{
    float sums[LANES] = {0};
    int64_t whole = count - count % LANES;
    for (int64_t k = 0; k < whole; k += LANES)
        for (int lane = 0; lane < LANES; lane++)
            sums[lane] += a[k + lane] * b[k + lane];
    for (int64_t k = whole; k < count; k++)
        sums[k - whole] += a[k] * b[k];
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int lane = 0; lane < half; lane++)
            sums[lane] += sums[lane + half];
    return sums[0];
}

static void multiply(const struct matmul_args *args)
{
    float *weight = args->scratch; /* [in] */
    int64_t in = args->weights->in;
    if (args->rows == 0)
        return;
    for (int64_t o = args->out_first; o < args->out_end; o++) {
        weight_row(weight, args->weights, o);
        for (int64_t r = 0; r < args->rows; r++) {
            float *y = args->y + r * args->y_stride + o;
            float product = dot(args->x + r * args->x_stride, weight, in);
            *y = args->accumulate ? *y + product : product;
        }
    }
}

size_t matmul_ref_scratch_bytes(const struct kernels_limits *limits)
{
    return ((size_t)limits->width_max * sizeof(float) + 63) / 64 * 64;
}

void matmul_ref_install(struct kernels *kernels)
{
    kernels->matmul_packed_bytes = packed_bytes;
    kernels->matmul_pack = pack;
    kernels->matmul_row = weight_row;
    kernels->matmul_prefill = multiply;
    kernels->matmul_decode = multiply;
}
