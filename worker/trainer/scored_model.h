/* A model whose logits are asked for: its weights in float32 and a pass over samples. */
#pragma once

#include "proto/model/model.h"
#include "proto/plan/method.h"
#include "proto/train/sample_file.h"
#include "worker/trainer/parameters.h"
#include "worker/trainer/pass.h"
#include "worker/trainer/rank_work.h"

enum { SCORED_MODEL_ROWS = 32 };

struct scored_model {
    struct model *model;
    struct method method;
    struct parameters *parameters;
    float *weights;
    struct pass *pass;
    float *logits; /* [SCORED_MODEL_ROWS, vocab], of rows from `first` on */
    int64_t first, count;
};

/* `tokens`: most of a sample. INVALID_ARGUMENT where ids below `vocab` are not this model's;
 * `samples` names their file. */
MUST_CHECK enum status scored_model_open(struct scored_model *scored, const char *path,
                                         const char *method, const struct rank_work *work,
                                         const struct record_file *samples);
/* The rank's rows of `sample` can then be asked for. Collective over the sequence axis. */
MUST_CHECK enum status scored_model_forward(struct scored_model *scored,
                                            const struct sample *sample);

/* The logits [vocab] of this rank's row `row`, until the next call. Rows in ascending order are
 * quick. */
const float *scored_model_logits(struct scored_model *scored, int64_t row);

/* Accepts {0}. */
void scored_model_close(struct scored_model *scored);
