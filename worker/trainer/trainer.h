/* One rank of longhaul-trainer, from its transport to its end. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "proto/status.h"
#include "proto/train/train_stage.h"
#include "worker/engine/device/cuda_runtime.h"
#include "worker/engine/transport/nccl_api.h"
#include "worker/engine/transport/transport.h"

struct trainer_options {
    const struct train_config *config; /* NULL: scores one model, with the rest's defaults */
    enum train_stage_name stage;
    int64_t last_step; /* ends behind it; 0: the configuration's last */
    bool json;
    bool analyze;

    const char *score;  /* samples to score; NULL: none */
    const char *out;    /* of score */
    const char *model;  /* of score; NULL: the configuration's */
    const char *method; /* of score; NULL: the configuration's, or rope */

    const char *kernels;      /* NULL: the best */
    int threads;              /* of a rank; 0: the configuration's, or its cores */
    const atomic_bool *drain; /* set when the run is told to end */

    /* As struct rank_place_request has them: for tests. */
    enum status (*find_cuda)(const struct cuda_runtime **runtime,
                             const struct kernels_cuda **kernels);
    enum status (*find_nccl)(const struct nccl_api **api);
};

/* Takes `transport`. CANCELLED where it was told to end before the last step, with a checkpoint. */
MUST_CHECK enum status trainer_play(struct transport *transport,
                                    const struct trainer_options *options);
