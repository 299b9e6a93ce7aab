/* The last stage: the model before and the trained one, added with weights, with the longer window
 * in its facts (proto/model/model_save.h). */
#pragma once

#include <stdbool.h>

#include "proto/status.h"
#include "proto/train/train_stage.h"

struct recipe_merge_report {
    char original[TRAIN_STAGE_PATH_BYTES]; /* the models that were merged */
    char trained[TRAIN_STAGE_PATH_BYTES];
    char folder[TRAIN_STAGE_PATH_BYTES]; /* of the merged one; "": not wanted */
    char gguf[TRAIN_STAGE_PATH_BYTES];   /* likewise */
    bool made;                           /* false: it was there already */
};

/* Makes FOLDER/merge/model and model.gguf of model.path and the trained model, unless they are
 * there, made of the same. `replayed`: the trained model is that of replay, else that of extend. */
MUST_CHECK enum status recipe_merge_make(struct recipe_merge_report *report,
                                         const struct train_config *config, bool replayed);
