/* The stages of LongRecipe as commands run them: each tells what it does, or that it has nothing to
 * do. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/status.h"
#include "proto/train/train_config.h"
#include "proto/train/train_stage.h"

struct recipe_stages {
    const char *config_path;
    struct train_config *config;
    int64_t steps; /* of one stage of training; 0: the configuration's */
    bool json;     /* a JSON line a step on standard output */
    bool mpi;      /* ranks are processes */
};

/* Scores of model.path and model.tuned over samples of the data, and which tokens gain. */
MUST_CHECK enum status recipe_stages_analyze(const struct recipe_stages *stages);

/* The samples to extend with, and those of replay where the configuration has it: all that
 * longhaul-trainer needs where it is started by others. */
MUST_CHECK enum status recipe_stages_positions(const struct recipe_stages *stages);

/* A stage of training, with its samples, where they are not there yet. */
MUST_CHECK enum status recipe_stages_train(const struct recipe_stages *stages,
                                           enum train_stage_name name);

MUST_CHECK enum status recipe_stages_merge(const struct recipe_stages *stages);

/* All that the configuration asks for, one after the other. */
MUST_CHECK enum status recipe_stages_run(const struct recipe_stages *stages);
