/* Owns the two models while they are merged. */
#include "coordinator/recipe/recipe_merge.h"

#include <stdio.h>
#include <string.h>

#include "coordinator/recipe/stage_record.h"
#include "proto/model/model_save.h"

static enum dtype dtype_of(enum train_dtype dtype)
{
    static const enum dtype dtypes[] = {DTYPE_F32, DTYPE_BF16, DTYPE_F16};
    return dtypes[dtype];
}

/* Facts, base and context come from the trained model, as the published merge has it. */
static enum status save(const struct recipe_merge_report *report, const struct train_config *config,
                        const struct model *original, const struct model *trained)
{
    const struct model_values_merge merge = {
        .a = original,
        .b = trained,
        .a_weight = config->output.merge_original,
        .b_weight = config->output.merge_trained,
    };
    const struct model_values values = model_values_of_merge(&merge);
    struct model_save save = {
        .source = trained, .values = &values, .dtype = dtype_of(config->output.dtype)};
    if (report->folder[0]) {
        save.format = MODEL_SAVE_FOLDER;
        TRY(model_save(&save, report->folder));
    }
    if (report->gguf[0]) {
        save.format = MODEL_SAVE_GGUF;
        TRY(model_save(&save, report->gguf));
    }
    return STATUS_OK;
}

static enum status merge(const struct recipe_merge_report *report,
                         const struct train_config *config)
{
    struct model *original = NULL, *trained = NULL;
    enum status status = model_open(&original, report->original);
    if (status == STATUS_OK)
        status = model_open(&trained, report->trained);
    if (status == STATUS_OK)
        status = model_values_check_merge(original, trained);
    if (status == STATUS_OK)
        status = save(report, config, original, trained);
    model_close(trained);
    model_close(original);
    return status;
}

static void find_paths(struct recipe_merge_report *report, const struct train_config *config,
                       bool replayed)
{
    struct train_stage stage;
    train_stage_make(&stage, config, replayed ? TRAIN_STAGE_REPLAY : TRAIN_STAGE_EXTEND);
    const char *trained = stage.output_folder[0] ? stage.output_folder : stage.output_gguf;
    *report = (struct recipe_merge_report){.made = false};
    memcpy(report->trained, trained, strlen(trained) + 1);
    memcpy(report->original, config->model.path, strlen(config->model.path) + 1);
    if (stage.output_folder[0])
        train_stage_path(report->folder, config, "merge", "model");
    if (stage.output_gguf[0])
        train_stage_path(report->gguf, config, "merge", "model.gguf");
}

enum status recipe_merge_make(struct recipe_merge_report *report, const struct train_config *config,
                              bool replayed)
{
    const char *const outputs[] = {report->folder, report->gguf, NULL};
    struct stage_record record;
    bool done;
    if (!config->model.path[0])
        return fail(STATUS_INVALID_ARGUMENT,
                    "a model from scratch has nothing before it to merge with: model.path is not "
                    "set");
    find_paths(report, config, replayed);
    TRY(stage_record_open(&record, config, "merge", "merge"));
    train_config_print_values(record.file, config, "output.", "output.folder");
    enum status status = stage_record_input(&record, report->original);
    if (status == STATUS_OK)
        status = stage_record_input(&record, report->trained);
    if (status == STATUS_NOT_FOUND)
        status = fail(STATUS_FAILED_PRECONDITION,
                      "%s: train first (longhaul recipe train, longhaul recipe replay)",
                      status_message());
    if (status == STATUS_OK)
        status = stage_record_is_done(&record, &done, outputs);
    if (status == STATUS_OK && !done) {
        report->made = true;
        status = merge(report, config);
        if (status == STATUS_OK)
            status = stage_record_finish(&record, outputs);
    }
    stage_record_close(&record);
    return status;
}
