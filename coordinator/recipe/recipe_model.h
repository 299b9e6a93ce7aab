/* What the recipe needs to know of the model that a run goes on from: its vocabulary, and its
 * facts; of a model from scratch those that it will have. */
#pragma once

#include <stdint.h>

#include "coordinator/text/tokenizer.h"
#include "proto/model/model.h"
#include "proto/status.h"
#include "proto/train/train_config.h"

struct recipe_model {
    struct model *model;       /* NULL: from scratch */
    struct vocab *bytes;       /* of a model from scratch */
    const struct vocab *vocab; /* of either */
    struct tokenizer *tokenizer;
    struct model_spec spec;
    int32_t end;         /* the id that ends a text; -1: none */
    uint64_t vocabulary; /* digest of what all tokens stand for */
};

MUST_CHECK enum status recipe_model_open(struct recipe_model *model,
                                         const struct train_config *config);

/* Also of {0}. */
void recipe_model_close(struct recipe_model *model);
