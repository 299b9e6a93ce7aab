/* Gradients of the ops on rows, plainly. */
#include <math.h>

#include "kernels/variants.h"

static void rmsnorm_gradient(const struct rmsnorm_gradient_args *args)
{
    const int64_t width = args->width;
    for (int64_t r = 0; r < args->rows; r++) {
        const float *x = args->x + r * width, *dy = args->dy + r * width;
        float *dx = args->dx + r * width;
        double squares = 0, along = 0;
        for (int64_t i = 0; i < width; i++) {
            squares += (double)x[i] * (double)x[i];
            along += (double)dy[i] * (double)args->weight[i] * (double)x[i];
        }
        const double scale = 1 / sqrt(squares / (double)width + (double)args->eps);
        const float s = (float)scale;
        const float back = (float)(scale * scale * scale * along / (double)width);
        for (int64_t i = 0; i < width; i++) {
            const float in = x[i], out = dy[i];
            const float d = s * (out * args->weight[i]) - back * in;
            args->dweight[i] += out * (in * s);
            dx[i] = args->accumulate ? dx[i] + d : d;
        }
    }
}

static void swiglu_gradient(const struct swiglu_gradient_args *args)
{
    for (int64_t i = 0; i < args->count; i++) {
        const float dy = args->dy[i], gate = args->gate[i], up = args->up[i];
        const float t = 1.0f / (1.0f + expf(-gate));
        args->dgate[i] = dy * up * (t * (1 + gate * (1 - t)));
        args->dup[i] = dy * (gate * t);
    }
}

static void bias_gradient(float *dbias, const float *dy, int64_t dy_stride, int64_t rows,
                          int64_t width)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < width; i++)
            dbias[i] += dy[r * dy_stride + i];
}

static void add(float *sum, const float *x, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        sum[i] += x[i];
}

void rows_gradient_ref_install(struct kernels *kernels)
{
    kernels->rmsnorm_gradient = rmsnorm_gradient;
    kernels->swiglu_gradient = swiglu_gradient;
    kernels->bias_gradient = bias_gradient;
    kernels->add = add;
}
