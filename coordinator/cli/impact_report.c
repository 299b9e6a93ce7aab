/* Owns the order of tokens by how often they gain. */
#include "coordinator/cli/impact_report.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/cli/console.h"
#include "coordinator/recipe/recipe_impact.h"
#include "proto/json_writer.h"
#include "proto/printable.h"
#include "proto/train/train_stage.h"

enum { SHOWN = 10, SHOWN_BYTES = 24 };

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

/* Without an id where it is negative. */
static void write_row(FILE *file, const struct token_impact_row *row, int32_t id, const char *text,
                      size_t bytes, double share)
{
    struct json_writer writer = {.file = file};
    json_writer_begin_object(&writer, NULL);
    if (id >= 0)
        json_writer_integer(&writer, "id", id);
    json_writer_bytes(&writer, id >= 0 ? "text" : "type", text, bytes);
    json_writer_integer(&writer, "occurrences", row->occurrences);
    json_writer_integer(&writer, "in_top", row->in_top);
    json_writer_real(&writer, "difference", row->difference);
    json_writer_boolean(&writer, "impactful", token_impact_is_impactful(row, share));
    json_writer_end_object(&writer);
    fputc('\n', file);
}

static void write_line(FILE *file, const struct token_impact *impact,
                       const struct recipe_model *model, int32_t id, double share)
{
    size_t bytes;
    const char *text = tokenizer_token(model->tokenizer, id, &bytes);
    write_row(file, &impact->rows[id], id, text, bytes, share);
}

static void show(const struct token_impact *impact, const struct recipe_model *model,
                 const struct ranked *ranked, size_t count, double share)
{
    int64_t impactful = 0;
    for (size_t i = 0; i < count; i++)
        impactful += token_impact_is_impactful(&impact->rows[ranked[i].id], share);
    console_say("impact: %lld of %zu tokens that occur are impactful; first:", (long long)impactful,
                count);
    for (size_t i = 0; i < count && i < SHOWN; i++) {
        size_t bytes;
        char shown[SHOWN_BYTES + 1];
        const char *text = tokenizer_token(model->tokenizer, ranked[i].id, &bytes);
        const size_t used = bytes < SHOWN_BYTES ? bytes : SHOWN_BYTES;
        memcpy(shown, text, used);
        shown[used] = '\0';
        printable_mask_line(shown, used);
        console_say("  %6d  in the top %3.0f %% of %lld times  \"%s\"", ranked[i].id,
                    100 * ranked[i].share, (long long)ranked[i].occurrences, shown);
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

static enum status write_types(const struct train_config *config,
                               const struct recipe_impact *impact)
{
    char path[TRAIN_STAGE_PATH_BYTES];
    train_stage_path(path, config, "analyze", "types.jsonl");
    FILE *file = fopen(path, "we");
    for (int i = 0; file && i <= impact->tags.count; i++) {
        const bool typed = i < impact->tags.count;
        const struct token_impact_row *row = typed ? &impact->types.rows[i] : &impact->types.none;
        const char *name = typed ? impact->tags.names[i] : "";
        char shown[TAGGER_OUTPUT_NAME_BYTES];
        memcpy(shown, name, strlen(name) + 1);
        printable_mask_line(shown, strlen(shown));
        write_row(file, row, -1, name, strlen(name), config->data.impact_share);
        if (row->occurrences > 0)
            console_say("  %-12s in the top %3.0f %% of %lld times", typed ? shown : "(no type)",
                        100 * (double)row->in_top / (double)row->occurrences,
                        (long long)row->occurrences);
    }
    const bool whole = file && !ferror(file);
    if (!file || fclose(file) != 0 || !whole)
        return fail(STATUS_IO, "write %s: %s", path, strerror(errno));
    return STATUS_OK;
}

enum status impact_report_write(const struct train_config *config)
{
    struct recipe_model model;
    struct recipe_impact impact = {.has_types = false};
    TRY(recipe_model_open(&model, config));
    enum status status = recipe_impact_open(&impact, config, &model);
    if (status == STATUS_OK)
        status = write_all(config, &impact.tokens, &model);
    if (status == STATUS_OK && impact.has_types)
        status = write_types(config, &impact);
    recipe_impact_close(&impact);
    recipe_model_close(&model);
    return status;
}
