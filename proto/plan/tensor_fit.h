/* How long a tensor axis a model needs to fit the memory of the ranks that are there. */
#pragma once

#include <stdint.h>

#include "proto/plan/memory_plan.h"
#include "proto/plan/tensor_slice.h"
#include "proto/status.h"

struct tensor_fit_request {
    const struct model_shape *shape; /* of the whole model */
    int ranks;
    int sequences; /* at a time */
    int64_t context_tokens;
    const char *kernels;
    enum choice_cache cache;
    struct memory_request needs; /* of a rank that has the whole model */
    int64_t limit_bytes;         /* of the rank that has least; 0: no limit */
    int sharers; /* ranks of a host that map one copy of weights that are alike; 0: 1 */
    /* Bytes that a slice's weights take once they are re-laid. */
    int64_t (*weights_bytes)(void *context, const struct tensor_slice *slice);
    void *context;
};

/* Whether a model can be cut for a tensor axis that was asked for, of so many ranks, which it
 * divides. INVALID_ARGUMENT says which mesh would do; UNIMPLEMENTED, of norms over all heads. */
MUST_CHECK enum status tensor_fit_check(const struct model_shape *shape, int tensor, int ranks);

struct tensor_fit {
    int tensor; /* the shortest axis that fits; where none does, the one that needs least */
    int64_t
        needed_bytes; /* with it, of the rank that needs most; of a copy that it shares, its part */
    int64_t whole_bytes; /* with none */
};

/* Weighs every number of places that divides the ranks and that the model allows. INVALID_ARGUMENT
 * as tensor_slice_make. */
MUST_CHECK enum status tensor_fit_find(struct tensor_fit *fit,
                                       const struct tensor_fit_request *request);
