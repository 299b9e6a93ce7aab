/* Owns nothing. Promises that a stage whose inputs and outputs are as they were is not repeated. */
#include "coordinator/cli/recipe_stages.h"

#include <stdio.h>

#include "coordinator/cli/console.h"
#include "coordinator/cli/impact_report.h"
#include "coordinator/cli/interrupt.h"
#include "coordinator/cli/loss_chart.h"
#include "coordinator/cli/trainer_process.h"
#include "coordinator/recipe/recipe_merge.h"
#include "coordinator/recipe/recipe_samples.h"
#include "coordinator/recipe/stage_record.h"

static bool stops(void)
{
    return interrupt_count() > 0;
}

static void say_nothing_to_do(const char *what)
{
    console_say("%s: nothing has changed since it was done; not repeated", what);
}

/* ---- samples ---- */

static enum status make_samples(const struct recipe_stages *stages, enum recipe_part part,
                                const char *what)
{
    struct recipe_samples_report report;
    TRY(recipe_samples_make(&report, stages->config, part, stops));
    if (!report.made) {
        say_nothing_to_do(what);
        return STATUS_OK;
    }
    const struct packing_report *packing = &report.packing;
    console_say("%s: %lld of %lld tokens each, of %lld documents with %lld tokens", what,
                (long long)packing->samples, (long long)report.sample_tokens,
                (long long)packing->documents, (long long)packing->tokens);
    if (packing->uncounted > 0)
        console_say("%s: %lld more were dropped, all within prompts, of which the loss counts none",
                    what, (long long)packing->uncounted);
    if (packing->sentences > 0)
        console_say("%s: %lld of %lld sentences kept; %d tokens of the vocabulary end one", what,
                    (long long)packing->kept, (long long)packing->sentences, report.delimiters);
    return STATUS_OK;
}

enum status recipe_stages_positions(const struct recipe_stages *stages)
{
    TRY(make_samples(stages, RECIPE_EXTEND, "samples"));
    return stages->config->replay_data.files[0]
               ? make_samples(stages, RECIPE_REPLAY, "replay samples")
               : STATUS_OK;
}

/* ---- training ---- */

/* What the trained model depends on. Ranks, threads and checkpoints change how, not what. */
static enum status note_training(struct stage_record *record, const struct recipe_stages *stages,
                                 const struct train_stage *stage)
{
    const struct train_config *config = stages->config;
    const bool extends = stage->name == TRAIN_STAGE_EXTEND;
    train_config_print_values(
        record->file, config, "training.",
        extends ? "training.checkpoint_steps training.keep training.threads training.retries "
                  "training.replay."
                : "training.checkpoint_steps training.keep training.threads training.retries");
    train_config_print_values(record->file, config, "model.", "model.path model.tuned");
    train_config_print_values(record->file, config, "positions.target", "");
    train_config_print_values(record->file, config, "output.",
                              "output.folder output.merge_original output.merge_trained");
    TRY(stage_record_input(record, stage->samples));
    TRY(stage_record_input(record, stage->model));
    return stage_record_input(record, stage->model[0] ? "" : config->model.shape);
}

static enum status run_trainer(const struct recipe_stages *stages, const struct train_stage *stage)
{
    const struct trainer_process_args args = {
        .config_path = stages->config_path,
        .config = stages->config,
        .stage = train_stage_word(stage->name),
        .retries = stage->training->retries,
        .steps = stages->steps,
        .json = stages->json,
        .mpi = stages->mpi,
    };
    const enum status status = trainer_process_run(&args);
    if (status != STATUS_OK && status != STATUS_CANCELLED)
        return status;
    /* The curve is of use after an interrupted run too. */
    const enum status drawn = loss_chart_draw(stage->folder, train_stage_word(stage->name));
    return status == STATUS_CANCELLED ? trainer_process_interrupted() : drawn;
}

static enum status train_unless_done(const struct recipe_stages *stages,
                                     const struct train_stage *stage, struct stage_record *record)
{
    const char *const outputs[] = {stage->output_folder, stage->output_gguf, NULL};
    bool done = false;
    TRY(note_training(record, stages, stage));
    TRY(stage_record_is_done(record, &done, outputs));
    if (done) {
        say_nothing_to_do(train_stage_word(stage->name));
        return STATUS_OK;
    }
    TRY(run_trainer(stages, stage));
    console_say("%s: losses in %s/losses.jsonl and loss.svg", train_stage_word(stage->name),
                stage->folder);
    if (stages->steps > 0)
        return STATUS_OK;
    return stage_record_finish(record, outputs);
}

enum status recipe_stages_train(const struct recipe_stages *stages, enum train_stage_name name)
{
    const bool extend = name == TRAIN_STAGE_EXTEND;
    struct train_stage stage;
    struct stage_record record;
    train_stage_make(&stage, stages->config, name);
    TRY(make_samples(stages, extend ? RECIPE_EXTEND : RECIPE_REPLAY,
                     extend ? "samples" : "replay samples"));
    TRY(stage_record_open(&record, stages->config, train_stage_word(name), "train"));
    const enum status status = train_unless_done(stages, &stage, &record);
    stage_record_close(&record);
    return status;
}

/* ---- analysis ---- */

static enum status analyze_unless_done(const struct recipe_stages *stages,
                                       struct stage_record *record)
{
    const struct train_config *config = stages->config;
    char samples[TRAIN_STAGE_PATH_BYTES], scores[TRAIN_STAGE_PATH_BYTES];
    const char *const outputs[] = {scores, NULL};
    bool done = false;
    train_stage_path(samples, config, "analyze", "samples");
    train_stage_path(scores, config, "analyze", "scores");
    TRY(stage_record_input(record, samples));
    TRY(stage_record_input(record, config->model.path));
    TRY(stage_record_input(record, config->model.tuned));
    TRY(stage_record_is_done(record, &done, outputs));
    if (done) {
        say_nothing_to_do("scores");
        return STATUS_OK;
    }
    const struct trainer_process_args args = {
        .config_path = stages->config_path,
        .config = config,
        .stage = train_stage_word(TRAIN_STAGE_EXTEND),
        .json = stages->json,
        .mpi = stages->mpi,
        .analyze = true,
    };
    TRY(trainer_process_run(&args));
    return stage_record_finish(record, outputs);
}

enum status recipe_stages_analyze(const struct recipe_stages *stages)
{
    const struct train_config *config = stages->config;
    struct stage_record record;
    if (!config->model.path[0] || !config->model.tuned[0])
        return fail(STATUS_INVALID_ARGUMENT,
                    "the analysis compares model.path with model.tuned, the same model after "
                    "tuning for long text: both must be set");
    TRY(make_samples(stages, RECIPE_ANALYZE, "samples to analyse"));
    TRY(stage_record_open(&record, config, "analyze", "scores"));
    enum status status = analyze_unless_done(stages, &record);
    stage_record_close(&record);
    if (status == STATUS_OK)
        status = impact_report_write(config);
    return status;
}

/* ---- the rest ---- */

enum status recipe_stages_merge(const struct recipe_stages *stages)
{
    const struct train_config *config = stages->config;
    struct recipe_merge_report report;
    TRY(recipe_merge_make(&report, config, config->replay_data.files[0] != '\0'));
    if (!report.made) {
        say_nothing_to_do("merge");
        return STATUS_OK;
    }
    console_say("merge: %g x %s + %g x %s -> %s%s%s", config->output.merge_original,
                report.original, config->output.merge_trained, report.trained, report.folder,
                report.folder[0] && report.gguf[0] ? ", " : "", report.gguf);
    return STATUS_OK;
}

enum status recipe_stages_run(const struct recipe_stages *stages)
{
    const struct train_config *config = stages->config;
    if (config->data.selection == TRAIN_SELECTION_IMPACT && !config->data.scores[0])
        TRY(recipe_stages_analyze(stages));
    TRY(recipe_stages_train(stages, TRAIN_STAGE_EXTEND));
    if (config->replay_data.files[0])
        TRY(recipe_stages_train(stages, TRAIN_STAGE_REPLAY));
    return config->model.path[0] ? recipe_stages_merge(stages) : STATUS_OK;
}
