/* longhaul train: next-token training as a file says: samples, training, the curve of losses. */
#include "coordinator/cli/commands.h"
#include "coordinator/cli/recipe_command.h"

int train_command(int argc, char **argv)
{
    static const struct recipe_step step = {
        .program = "longhaul train",
        .example = "  longhaul train --config train.yaml\n",
        .summary =
            "Trains a model on text to predict each next token, from its weights or from scratch,\n"
            "as the file says (docs/training.md; `longhaul recipe keys` lists what it may say).\n"
            "Makes the samples where they are not there yet, tells memory and time before the\n"
            "first step, and writes the model. Broken off at any moment, the same command goes on\n"
            "from the last checkpoint.\n",
        .run = recipe_step_extend,
        .trains = true,
    };
    return recipe_step_command(&step, argc, argv);
}
