/* Owns the files of an analysis while they are read. */
#include "coordinator/recipe/recipe_impact.h"

#include <stdio.h>
#include <string.h>

#include "proto/train/sample_file.h"
#include "proto/train/score_file.h"

void recipe_impact_scores(char path[TRAIN_STAGE_PATH_BYTES], const struct train_config *config)
{
    if (config->data.scores[0])
        snprintf(path, TRAIN_STAGE_PATH_BYTES, "%s", config->data.scores);
    else
        train_stage_path(path, config, "analyze", "scores");
}

static enum status find_types(struct recipe_impact *impact, const struct train_config *config,
                              const struct recipe_model *model, const struct record_file *samples,
                              const struct record_file *scores)
{
    struct documents *documents;
    const struct documents_args documents_args = {
        .files = config->data.files,
        .field = config->data.field,
        .tokenizer = model->tokenizer,
        .end = model->end,
    };
    TRY(documents_open(&documents, &documents_args));
    const struct type_impact_args args = {
        .documents = documents,
        .tokenizer = model->tokenizer,
        .samples = samples,
        .scores = scores,
        .seed = (uint64_t)config->data.seed,
        .top = config->data.impact_top,
    };
    enum status status =
        tagger_output_open(&impact->tags, config->data.tags, documents_count(documents));
    if (status == STATUS_OK)
        status = type_impact_find(&impact->types, &impact->tags, &args);
    documents_close(documents);
    impact->has_types = status == STATUS_OK;
    return status;
}

static enum status find(struct recipe_impact *impact, const struct train_config *config,
                        const struct recipe_model *model, const struct record_file *samples,
                        const struct record_file *scores)
{
    if (samples->vocab != model->spec.vocab)
        return fail(STATUS_INVALID_ARGUMENT,
                    "%s is of a vocabulary of %lld tokens, the model has %d", samples->name,
                    (long long)samples->vocab, model->spec.vocab);
    TRY(token_impact_init(&impact->tokens, samples, scores, config->data.impact_top));
    return config->data.tags[0] ? find_types(impact, config, model, samples, scores) : STATUS_OK;
}

enum status recipe_impact_open(struct recipe_impact *impact, const struct train_config *config,
                               const struct recipe_model *model)
{
    char samples_path[TRAIN_STAGE_PATH_BYTES], scores_path[TRAIN_STAGE_PATH_BYTES];
    struct recipe_impact opened = {.has_types = false};
    struct record_file samples, scores;
    train_stage_path(samples_path, config, "analyze", "samples");
    recipe_impact_scores(scores_path, config);
    TRY(score_file_open(&scores, scores_path));
    enum status status = sample_file_open(&samples, samples_path);
    if (status == STATUS_OK) {
        status = find(&opened, config, model, &samples, &scores);
        record_file_close(&samples);
    }
    record_file_close(&scores);
    if (status == STATUS_OK)
        *impact = opened;
    else
        recipe_impact_close(&opened);
    return status;
}

void recipe_impact_close(struct recipe_impact *impact)
{
    token_impact_deinit(&impact->tokens);
    tagger_output_close(&impact->tags);
    impact->has_types = false;
}

void recipe_impact_list_types(char list[RECIPE_IMPACT_TYPES_BYTES],
                              const struct recipe_impact *impact, double share)
{
    size_t used = 0;
    list[0] = '\0';
    for (int i = 0; i < impact->tags.count; i++)
        if (token_impact_is_impactful(&impact->types.rows[i], share))
            used += (size_t)snprintf(list + used, RECIPE_IMPACT_TYPES_BYTES - used, "%s%s",
                                     used ? " " : "", impact->tags.names[i]);
}
