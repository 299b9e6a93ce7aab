/* Owns the table of CUDA kernels: each file of kernels puts in its own entries. */
#include "kernels/kernels_cuda.h"

#include <threads.h>

#include "kernels/variants_cuda.h"

static struct kernels_cuda kernels;

static void install(void)
{
    attention_cuda_install(&kernels);
    attention_decode_cuda_install(&kernels);
    rows_cuda_install(&kernels);
    rope_cuda_install(&kernels);
    matmul_cuda_install(&kernels);
    survey_cuda_install(&kernels);
}

const struct kernels_cuda *kernels_cuda_find(void)
{
    static once_flag once = ONCE_FLAG_INIT;
    call_once(&once, install);
    return &kernels;
}
