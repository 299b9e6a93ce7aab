/* swiglu, plainly. */
#include <math.h>

#include "kernels/variants.h"

static void swiglu(float *gate, const float *up, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        gate[i] = gate[i] / (1.0f + expf(-gate[i])) * up[i];
}

void swiglu_ref_install(struct kernels *kernels)
{
    kernels->swiglu = swiglu;
}
