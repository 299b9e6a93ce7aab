/* Where a rank computes, and how it talks to its peers: on the CPU by the host's transport, or on a
 * GPU with NCCL above it.
 */
#pragma once

#include <stdbool.h>

#include "worker/engine/device/cuda_runtime.h"
#include "worker/engine/transport/nccl_api.h"
#include "worker/engine/transport/transport.h"

struct rank_place_request {
    bool cpu;  /* asked for: no GPU is looked for */
    bool cuda; /* asked for: what is missing is a failure */
    bool nccl; /* asked for: so is this */
    bool oversubscribe;
    const struct transport_options *options;
    /* Finds the tables; NULL: the real ones. For tests. */
    enum status (*find_cuda)(const struct cuda_runtime **runtime,
                             const struct kernels_cuda **kernels);
    enum status (*find_nccl)(const struct nccl_api **api);
};

struct rank_place {
    struct transport *transport; /* to serve with */
    struct cuda_streams streams;
    bool on_gpu; /* streams are open */
};

/* All ranks of `host` call it, and come to the same end: all on GPUs, or none. Takes `host` where
 * it succeeds. Where nothing was asked for, a rank without a GPU or NCCL takes all to the CPU, and
 * says why. */
MUST_CHECK enum status rank_place_open(struct rank_place *place, struct transport *host,
                                       const struct rank_place_request *request);

/* Destroys the transport too. */
void rank_place_close(struct rank_place *place);
