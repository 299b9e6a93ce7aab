/* The products of product.h, plainly. */
#include <math.h>

#include "kernels/variants.h"

static float operand(float value, enum dtype dtype)
{
    return dtype == DTYPE_BF16 ? dtype_f32_from_bf16(dtype_bf16_from_f32(value)) : value;
}

/* Over k in [first, end). */
static float sum_part(const struct product_args *args, int64_t i, int64_t j, int64_t first,
                      int64_t end)
{
    float sum = 0;
    for (int64_t k = first; k < end; k++)
        sum = fmaf(operand(args->a[i * args->a_row + k * args->a_column], args->operand),
                   operand(args->b[k * args->b_row + j * args->b_column], args->operand), sum);
    return sum;
}

static void product(const struct product_args *args)
{
    for (int64_t i = 0; i < args->rows; i++)
        for (int64_t j = 0; j < args->columns; j++) {
            float *c = args->c + i * args->c_stride + j;
            if (args->depth == 0 && !args->accumulate)
                *c = 0;
            for (int64_t k = 0; k < args->depth; k += PRODUCT_DEPTH) {
                int64_t end = k + PRODUCT_DEPTH < args->depth ? k + PRODUCT_DEPTH : args->depth;
                float sum = sum_part(args, i, j, k, end);
                *c = args->accumulate || k > 0 ? *c + sum : sum;
            }
        }
}

void product_ref_install(struct kernels *kernels)
{
    kernels->product = product;
}
