/* The device that every machine has: the host's cores and memory. */
#pragma once

#include "proto/model/model.h"
#include "proto/plan/tensor_slice.h"
#include "worker/engine/device/binding.h"
#include "worker/engine/device/device.h"
#include "worker/engine/weights.h"

struct device_cpu_options {
    const char *kernels;           /* variant; NULL: the best that runs here */
    bool int8_cache;               /* keys and values in 8 bits; false: as the variant has them */
    const struct binding *binding; /* where its threads run; NULL: as binding_choose has it of: */
    int threads;                   /* 0: the cores of this rank's share of the host */
    const struct tensor_slice *slice;  /* what it has of the model */
    const struct weights_store *store; /* where its weights are kept */
    int local_rank;                    /* among the ranks of this host */
    int local_size;
};

/* Re-lays the weights; `model` may be closed afterwards. INVALID_ARGUMENT for a variant that is
 * unknown or does not run here. */
MUST_CHECK enum status device_cpu_create(struct device **device, const struct model *model,
                                         const struct device_cpu_options *options);
