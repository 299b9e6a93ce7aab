/* What an analysis found, from the files of a run: which tokens gain, and which parts of speech
 * where a tagger's output is given. */
#pragma once

#include <stdbool.h>

#include "coordinator/recipe/recipe_model.h"
#include "coordinator/recipe/token_impact.h"
#include "coordinator/recipe/type_impact.h"
#include "proto/status.h"
#include "proto/train/train_stage.h"

enum { RECIPE_IMPACT_TYPES_BYTES = TAGGER_OUTPUT_TYPES_MAX * (TAGGER_OUTPUT_NAME_BYTES + 1) };

struct recipe_impact {
    struct token_impact tokens;
    bool has_types;
    struct type_impact types;
    struct tagger_output tags; /* the names of types */
};

/* The scores are those of data.scores, else FOLDER/analyze/scores. */
void recipe_impact_scores(char path[TRAIN_STAGE_PATH_BYTES], const struct train_config *config);

/* NOT_FOUND where there are no scores yet. */
MUST_CHECK enum status recipe_impact_open(struct recipe_impact *impact,
                                          const struct train_config *config,
                                          const struct recipe_model *model);

/* Also of {0}. */
void recipe_impact_close(struct recipe_impact *impact);

/* The types of which at least data.impact_share of the tokens are in the top, apart by blanks. */
void recipe_impact_list_types(char list[RECIPE_IMPACT_TYPES_BYTES],
                              const struct recipe_impact *impact, double share);
