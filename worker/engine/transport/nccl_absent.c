/* Stands where nccl_api.c would, in a program built without CUDA. */
#include "worker/engine/transport/nccl_api.h"

enum status nccl_find(const struct nccl_api **api)
{
    (void)api;
    return fail(STATUS_FAILED_PRECONDITION,
                "this program was built without NCCL: build it with -D LONGHAUL_CUDA=ON");
}
