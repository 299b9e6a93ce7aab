/* Owns the order of tokens by how often they gain. */
#include "coordinator/cli/impact_report.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/cli/console.h"
#include "coordinator/recipe/recipe_model.h"
#include "coordinator/recipe/recipe_samples.h"
#include "coordinator/recipe/token_impact.h"
#include "proto/json_writer.h"
#include "proto/train/sample_file.h"
#include "proto/train/score_file.h"
#include "proto/train/train_stage.h"

enum { SHOWN = 10 };

struct ranked {
    int32_t id;
    double share; /* of its occurrences that are in the top */
    int64_t occurrences;
};

static int compare(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->share != y->share)
        return x->share < y->share ? 1 : -1;
    if (x->occurrences != y->occurrences)
        return x->occurrences < y->occurrences ? 1 : -1;
    return x->id - y->id;
}

static size_t rank(struct ranked *ranked, const struct token_impact *impact)
{
    size_t count = 0;
    for (int32_t id = 0; id < impact->vocab; id++) {
        const struct token_impact_row *row = &impact->rows[id];
        if (row->occurrences > 0)
            ranked[count++] = (struct ranked){id, (double)row->in_top / (double)row->occurrences,
                                              row->occurrences};
    }
    qsort(ranked, count, sizeof *ranked, compare);
    return count;
}

static void write_line(FILE *file, const struct token_impact *impact,
                       const struct recipe_model *model, int32_t id, double share)
{
    struct json_writer writer = {.file = file};
    const struct token_impact_row *row = &impact->rows[id];
    size_t bytes;
    const char *text = tokenizer_token(model->tokenizer, id, &bytes);
    json_writer_begin_object(&writer, NULL);
    json_writer_integer(&writer, "id", id);
    json_writer_bytes(&writer, "text", text, bytes);
    json_writer_integer(&writer, "occurrences", row->occurrences);
    json_writer_integer(&writer, "in_top", row->in_top);
    json_writer_real(&writer, "difference", row->difference);
    json_writer_boolean(&writer, "impactful", token_impact_is_impactful(impact, id, share));
    json_writer_end_object(&writer);
    fputc('\n', file);
}

static void show(const struct token_impact *impact, const struct recipe_model *model,
                 const struct ranked *ranked, size_t count, double share)
{
    int64_t impactful = 0;
    for (size_t i = 0; i < count; i++)
        impactful += token_impact_is_impactful(impact, ranked[i].id, share);
    console_say("impact: %lld of %zu tokens that occur are impactful; first:", (long long)impactful,
                count);
    for (size_t i = 0; i < count && i < SHOWN; i++) {
        size_t bytes;
        const char *text = tokenizer_token(model->tokenizer, ranked[i].id, &bytes);
        console_say("  %6d  in the top %3.0f %% of %lld times  %.*s", ranked[i].id,
                    100 * ranked[i].share, (long long)ranked[i].occurrences, (int)bytes, text);
    }
}

static enum status write_all(const struct train_config *config, const struct token_impact *impact,
                             const struct recipe_model *model)
{
    char path[TRAIN_STAGE_PATH_BYTES];
    train_stage_path(path, config, "analyze", "tokens.jsonl");
    struct ranked *ranked = malloc((size_t)impact->vocab * sizeof *ranked + 1);
    if (!ranked)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a list of tokens");
    const size_t count = rank(ranked, impact);
    FILE *file = fopen(path, "we");
    for (size_t i = 0; file && i < count; i++)
        write_line(file, impact, model, ranked[i].id, config->data.impact_share);
    const bool whole = file && !ferror(file);
    show(impact, model, ranked, count, config->data.impact_share);
    free(ranked);
    if (!file || fclose(file) != 0 || !whole)
        return fail(STATUS_IO, "write %s: %s", path, strerror(errno));
    return STATUS_OK;
}

enum status impact_report_write(const struct train_config *config)
{
    struct recipe_model model = {.end = -1};
    struct token_impact impact = {0};
    enum status status = recipe_samples_impact(&impact, config);
    if (status == STATUS_OK)
        status = recipe_model_open(&model, config);
    if (status == STATUS_OK && tokenizer_count(model.tokenizer) < impact.vocab)
        status = fail(STATUS_INVALID_ARGUMENT, "the scores are of another vocabulary");
    if (status == STATUS_OK)
        status = write_all(config, &impact, &model);
    recipe_model_close(&model);
    token_impact_deinit(&impact);
    return status;
}
