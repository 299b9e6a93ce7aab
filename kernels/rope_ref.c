/* Rotation with float32 operands, plainly. */
#include "kernels/variants.h"

static void rope_rotate(const struct rope_args *args)
{
    int half = args->head_dim / 2;
    for (int64_t t = 0; t < args->tokens; t++) {
        const float *table = args->table + t * half * 2;
        for (int h = 0; h < args->heads; h++) {
            const float *x = args->x + t * args->x_stride + (int64_t)h * args->head_dim;
            float *out = (float *)args->out + t * args->out_stride + (int64_t)h * args->head_dim;
            for (int p = 0; p < half; p++) {
                float low = x[p], high = x[p + half];
                float cosine = table[2 * p], sine = table[2 * p + 1];
                out[p] = low * cosine - high * sine;
                out[p + half] = high * cosine + low * sine;
            }
        }
    }
}

static void rope_gradient(const struct rope_args *args, bool accumulate)
{
    const int half = args->head_dim / 2;
    for (int64_t t = 0; t < args->tokens; t++) {
        const float *table = args->table + t * half * 2;
        for (int h = 0; h < args->heads; h++) {
            const float *x = args->x + t * args->x_stride + (int64_t)h * args->head_dim;
            float *out = (float *)args->out + t * args->out_stride + (int64_t)h * args->head_dim;
            for (int p = 0; p < half; p++) {
                const float cosine = table[2 * p], sine = table[2 * p + 1];
                const float low = x[p] * cosine + x[p + half] * sine;
                const float high = x[p + half] * cosine - x[p] * sine;
                out[p] = accumulate ? out[p] + low : low;
                out[p + half] = accumulate ? out[p + half] + high : high;
            }
        }
    }
}

void rope_ref_install(struct kernels *kernels)
{
    kernels->rope_queries = rope_rotate;
    kernels->rope_keys = rope_rotate;
    kernels->rope_gradient = rope_gradient;
}
