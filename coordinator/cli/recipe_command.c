/* longhaul recipe: LongRecipe by stages. Owns which stage runs, and what all of them do. */
#include "coordinator/cli/recipe_command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/cli/command_list.h"
#include "coordinator/cli/commands.h"
#include "coordinator/cli/console.h"
#include "coordinator/cli/folder_lock.h"
#include "coordinator/cli/interrupt.h"
#include "proto/flags.h"

/* ---- what all of them do ---- */

struct options {
    const char *config, *transport;
    struct recipe_stages stages;
};

static enum status check(struct options *options)
{
    if (!options->config)
        return fail(STATUS_INVALID_ARGUMENT, "--config FILE is missing");
    if (strcmp(options->transport, "loopback") != 0 && strcmp(options->transport, "mpi") != 0)
        return fail(STATUS_INVALID_ARGUMENT, "--transport is loopback or mpi");
    options->stages.config_path = options->config;
    options->stages.mpi = strcmp(options->transport, "mpi") == 0;
    return STATUS_OK;
}

static int run(const struct recipe_step *step, struct options *options)
{
    struct train_config *config = calloc(1, sizeof *config);
    enum status status = config ? train_config_read(config, options->config)
                                : fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a configuration");
    interrupt_install();
    options->stages.config = config;
    if (status == STATUS_OK)
        status = folder_lock_take(config->output.folder);
    if (status == STATUS_OK)
        status = step->run(&options->stages);
    free(config);
    if (status == STATUS_OK)
        return 0;
    const int exit_code = console_failure(step->program, status);
    return status == STATUS_CANCELLED && interrupt_count() > 0 ? interrupt_exit_code() : exit_code;
}

int recipe_step_command(const struct recipe_step *step, int argc, char **argv)
{
    struct options options = {.transport = "loopback"};
    const struct flags_row rows[] = {
        {.name = "config",
         .letter = 'c',
         .type = FLAGS_TEXT,
         .target = &options.config,
         .value = "FILE",
         .help = "the run, as YAML"},
        {.name = "transport",
         .type = FLAGS_TEXT,
         .target = &options.transport,
         .value = "NAME",
         .help = "ranks are threads (loopback, the default) or processes (mpi)"},
        {.name = "json",
         .type = FLAGS_SWITCH,
         .target = &options.stages.json,
         .help = "a JSON line a step on standard output"},
        {.name = "steps",
         .type = FLAGS_INTEGER,
         .target = &options.stages.steps,
         .value = "N",
         .help = "end behind step N, with a checkpoint",
         .least = 1,
         .most = 1e9},
    };
    const size_t all = sizeof rows / sizeof rows[0];
    const struct flags_command command = {
        .program = step->program,
        .example = step->example,
        .summary = step->summary,
        .rows = rows,
        .rows_count = step->trains ? all : 1,
    };
    int exit_code = flags_parse(&command, argc, argv, NULL);
    if (exit_code == FLAGS_GO_ON && check(&options) != STATUS_OK)
        exit_code = console_usage(step->program);
    return exit_code == FLAGS_GO_ON ? run(step, &options) : exit_code;
}

/* ---- the stages ---- */

enum status recipe_step_extend(const struct recipe_stages *stages)
{
    return recipe_stages_train(stages, TRAIN_STAGE_EXTEND);
}

static enum status replay(const struct recipe_stages *stages)
{
    return recipe_stages_train(stages, TRAIN_STAGE_REPLAY);
}

static int analyze_command(int argc, char **argv)
{
    static const struct recipe_step step = {
        .program = "longhaul recipe analyze",
        .example = "  longhaul recipe analyze --config recipe.yaml\n",
        .summary =
            "Reads samples of the data with model.path and with model.tuned, the same model after\n"
            "tuning for long text, and tells which tokens gain: for data.selection impact.\n",
        .run = recipe_stages_analyze,
        .trains = true,
    };
    return recipe_step_command(&step, argc, argv);
}

static int positions_command(int argc, char **argv)
{
    static const struct recipe_step step = {
        .program = "longhaul recipe positions",
        .example = "  longhaul recipe positions --config recipe.yaml\n",
        .summary = "Makes the samples to extend with: text to tokens, sentences that are kept,\n"
                   "packed, shuffled, and given positions as positions.setting says; and those of\n"
                   "replay, where data.replay.files names any. Then longhaul-trainer can run.\n",
        .run = recipe_stages_positions,
    };
    return recipe_step_command(&step, argc, argv);
}

static int recipe_train_command(int argc, char **argv)
{
    static const struct recipe_step step = {
        .program = "longhaul recipe train",
        .example = "  longhaul recipe train --config recipe.yaml\n",
        .summary = "Extends the model: trains on the samples, with RoPE's base for the longer\n"
                   "window, and writes FOLDER/extend/model.\n",
        .run = recipe_step_extend,
        .trains = true,
    };
    return recipe_step_command(&step, argc, argv);
}

static int replay_command(int argc, char **argv)
{
    static const struct recipe_step step = {
        .program = "longhaul recipe replay",
        .example = "  longhaul recipe replay --config recipe.yaml\n",
        .summary = "Trains the extended model on prompts and responses at plain positions, so "
                   "that it\nkeeps what it could do before, and writes FOLDER/replay/model.\n",
        .run = replay,
        .trains = true,
    };
    return recipe_step_command(&step, argc, argv);
}

static int merge_command(int argc, char **argv)
{
    static const struct recipe_step step = {
        .program = "longhaul recipe merge",
        .example = "  longhaul recipe merge --config recipe.yaml\n",
        .summary = "Adds the weights of the model before and of the trained one, halves unless\n"
                   "output.merge_original and output.merge_trained say otherwise, and writes\n"
                   "FOLDER/merge/model.\n",
        .run = recipe_stages_merge,
    };
    return recipe_step_command(&step, argc, argv);
}

static int all_command(int argc, char **argv)
{
    static const struct recipe_step step = {
        .program = "longhaul recipe run",
        .example = "  longhaul recipe run --config recipe.yaml\n",
        .summary = "All stages that the file asks for, one after the other. What is done and has\n"
                   "not changed is not done again; a stage that was broken off goes on.\n",
        .run = recipe_stages_run,
        .trains = true,
    };
    return recipe_step_command(&step, argc, argv);
}

static int keys_command(int argc, char **argv)
{
    const struct flags_command command = {
        .program = "longhaul recipe keys",
        .example = "  longhaul recipe keys\n",
        .summary = "Every key of a run's file, with what it may be and its default.\n",
    };
    const int exit_code = flags_parse(&command, argc, argv, NULL);
    if (exit_code != FLAGS_GO_ON)
        return exit_code;
    train_config_print_keys(stdout);
    return 0;
}

static const struct command_row commands[] = {
    {"run", all_command, "all stages that the file asks for"},
    {"analyze", analyze_command, "which tokens gain by long text"},
    {"positions", positions_command, "samples with their positions"},
    {"train", recipe_train_command, "extend the model"},
    {"replay", replay_command, "train on what it could do before"},
    {"merge", merge_command, "add the weights before and after"},
    {"keys", keys_command, "what the file may say"},
};

int recipe_command(int argc, char **argv)
{
    const struct command_list list = {
        .program = "longhaul recipe",
        .example = "  longhaul recipe run --config recipe.yaml\n",
        .summary =
            "LongRecipe: a model that was trained for a short window becomes one for a long "
            "window,\nat about a third of the tokens. One file says it all (docs/training.md).\n",
        .rows = commands,
        .count = sizeof commands / sizeof commands[0],
    };
    return command_list_run(&list, argc, argv);
}
