/* What a rank holds of a training run, from its start to its end: the model's facts, samples,
 * weights and what changes them. */
#pragma once

#include "proto/model/model.h"
#include "proto/plan/method.h"
#include "proto/plan/train_plan.h"
#include "proto/train/sample_file.h"
#include "proto/train/sample_order.h"
#include "proto/train/train_stage.h"
#include "worker/trainer/learning_rate.h"
#include "worker/trainer/optimiser.h"
#include "worker/trainer/parameters.h"
#include "worker/trainer/pass.h"
#include "worker/trainer/rank_work.h"
#include "worker/trainer/training_state.h"

struct train_run {
    struct rank_work *work;
    const struct train_config *config;
    const struct train_stage *stage;
    struct model *model;    /* it goes on from; NULL: from scratch */
    struct model_spec spec; /* with the base that it trains with */
    int64_t context_tokens; /* that the trained model says */
    struct record_file samples;
    struct sample_order order;
    struct parameters *parameters;
    struct method method; /* of the pass */
    struct optimiser *optimiser;
    struct pass *pass;
    struct learning_rate rate;
    struct training_state state; /* its weights are the run's; on a GPU, a copy */
    float *weights, *gradients;  /* where steps are computed */
    struct train_plan plan;
};

/* Opens all, refuses what cannot work or does not fit, and has the weights of the newest checkpoint
 * or those that the run begins with. */
MUST_CHECK enum status train_run_open(struct train_run *run, struct rank_work *work,
                                      const struct train_config *config,
                                      const struct train_stage *stage);
/* Also what was opened in part. */
void train_run_close(struct train_run *run);

/* Makes the gradients zero. */
MUST_CHECK enum status train_run_clear(struct train_run *run);

/* Has in `state` what the GPU has, before it is saved; on the CPU it is the same memory. */
MUST_CHECK enum status train_run_fetch(struct train_run *run);

/* Rank 0 writes the trained model as the configuration asks; all ranks call it. */
MUST_CHECK enum status train_run_save(struct train_run *run);
