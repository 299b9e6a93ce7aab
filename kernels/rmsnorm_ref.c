/* rmsnorm, plainly. The mean is summed in float64, so that its error is one rounding whatever the
 * width. */
#include <math.h>

#include "kernels/variants.h"

static void rmsnorm(float *y, const float *x, const float *weight, int64_t rows, int64_t width,
                    float eps)
{
    for (int64_t r = 0; r < rows; r++) {
        const float *in = x + r * width;
        float *out = y + r * width;
        double squares = 0;
        for (int64_t i = 0; i < width; i++)
            squares += (double)in[i] * in[i];
        float scale = (float)(1.0 / sqrt(squares / (double)width + (double)eps));
        for (int64_t i = 0; i < width; i++)
            out[i] = in[i] * scale * weight[i];
    }
}

void rmsnorm_ref_install(struct kernels *kernels)
{
    kernels->rmsnorm = rmsnorm;
}
