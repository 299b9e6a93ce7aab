/* The loop over a run's steps. */
#pragma once

#include "proto/status.h"
#include "worker/trainer/rank_work.h"
#include "worker/trainer/trainer.h"

/* All ranks call it. Goes on from the newest checkpoint of the stage's folder, tells what a step
 * takes before the first one, and writes the trained model behind the last. CANCELLED as
 * trainer_play has it. */
MUST_CHECK enum status train_loop_run(struct rank_work *work, const struct trainer_options *options,
                                      const struct train_stage *stage);
