/* One model over samples: of each token that the loss would count its log-probability, and whether
 * it is the likeliest. */
#pragma once

#include "proto/status.h"
#include "worker/trainer/rank_work.h"

/* All ranks call it; samples are shared out over the data axis. Rank 0 writes `out`, a JSON line a
 * sample in the file's order:
 *
 *   {"sample": 0, "tokens": 9, "index": [3, 4], "logprob": [-0.1, -2.5], "argmax": [true, false]}
 */
MUST_CHECK enum status score_samples_run(struct rank_work *work, const char *model,
                                         const char *method, const char *samples, const char *out);
