/* swiglu and geglu, plainly. */
#include <math.h>

#include "kernels/variants.h"

static void swiglu(float *gate, const float *up, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        gate[i] = gate[i] / (1.0f + expf(-gate[i])) * up[i];
}

static void geglu(float *gate, const float *up, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        const float g = gate[i];
        const float inner = 0.797884561f * (g + 0.044715f * g * g * g);
        gate[i] = 0.5f * g * (1.0f + tanhf(inner)) * up[i];
    }
}

void swiglu_ref_install(struct kernels *kernels)
{
    kernels->swiglu = swiglu;
    kernels->geglu = geglu;
}
