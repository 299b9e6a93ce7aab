/* Token impact analysis: what two models say of samples' tokens (proto/train/score_file.h). */
#pragma once

#include "proto/status.h"
#include "proto/train/train_config.h"
#include "worker/trainer/rank_work.h"

/* All ranks call it; samples are shared out over the data axis, tokens over the sequence axis.
 * Reads FOLDER/analyze/samples, and rank 0 writes FOLDER/analyze/scores. Both models have the
 * configuration's method and their own bases. */
MUST_CHECK enum status analyze_samples_run(struct rank_work *work,
                                           const struct train_config *config);
