/* Owns the table of CUDA kernels: each file of kernels puts in its own entries. */
#include "kernels/kernels_cuda.h"

#include <threads.h>

#include "kernels/variants_cuda.h"

static once_flag once = ONCE_FLAG_INIT;
static struct kernels_cuda portable, kernels;

static void install(void)
{
    attention_cuda_install(&portable);
    attention_decode_cuda_install(&portable);
    rows_cuda_install(&portable);
    rope_cuda_install(&portable);
    matmul_cuda_install(&portable);
    survey_cuda_install(&portable);
    attention_gradient_cuda_install(&portable);
    rows_gradient_cuda_install(&portable);
    kernels = portable;
    attention_hopper_cuda_install(&kernels);
}

const struct kernels_cuda *kernels_cuda_find(void)
{
    call_once(&once, install);
    return &kernels;
}

const struct kernels_cuda *kernels_cuda_find_portable(void)
{
    call_once(&once, install);
    return &portable;
}
