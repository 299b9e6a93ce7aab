/* Commands that do one stage of LongRecipe, or all: their options are the same. */
#pragma once

#include <stdbool.h>

#include "coordinator/cli/recipe_stages.h"

struct recipe_step {
    const char *program; /* "longhaul recipe train" */
    const char *example;
    const char *summary;
    enum status (*run)(const struct recipe_stages *stages);
    bool trains; /* takes --steps, --json and --transport */
};

enum status recipe_step_extend(const struct recipe_stages *stages);

/* A command's exit code. */
int recipe_step_command(const struct recipe_step *step, int argc, char **argv);
