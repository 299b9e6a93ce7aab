/* Samples of a run's parts, as its configuration asks: to analyse, to extend, to replay. */
#pragma once

#include <stdbool.h>

#include "coordinator/recipe/packing.h"
#include "coordinator/recipe/recipe_model.h"
#include "proto/status.h"
#include "proto/train/train_stage.h"

enum recipe_part { RECIPE_ANALYZE, RECIPE_EXTEND, RECIPE_REPLAY };

struct recipe_samples_report {
    struct packing_report packing;
    int32_t delimiters;    /* ids that end a sentence; 0: not asked */
    int64_t sample_tokens; /* of each */
    bool made;             /* false: they were there already */
};

/* Makes FOLDER/part/samples, unless they are there, made of the same. `stops` as packing has it. */
MUST_CHECK enum status recipe_samples_make(struct recipe_samples_report *report,
                                           const struct train_config *config, enum recipe_part part,
                                           bool (*stops)(void));
