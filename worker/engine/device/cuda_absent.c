/* Stands where cuda_runtime.c would, in a program built without CUDA. */
#include "worker/engine/device/cuda_find.h"

bool cuda_find_built(void)
{
    return false;
}

enum status cuda_find_load_eagerly(void)
{
    return STATUS_OK;
}

enum status cuda_find(const struct cuda_runtime **runtime, const struct kernels_cuda **kernels)
{
    (void)runtime;
    (void)kernels;
    return fail(STATUS_FAILED_PRECONDITION,
                "this program was built without CUDA: build it with -D LONGHAUL_CUDA=ON");
}
