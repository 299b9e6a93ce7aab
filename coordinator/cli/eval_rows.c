/* Owns the rows. */
#include "coordinator/cli/eval_rows.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "coordinator/cli/eval_files.h"
#include "coordinator/cli/eval_losses.h"
#include "coordinator/cli/eval_results.h"

/* ---- reading ---- */

static bool take_text(char *to, size_t room, const json_t *line, const char *key)
{
    const char *text = json_string_value(json_object_get(line, key));
    return text && (size_t)snprintf(to, room, "%s", text) < room;
}

static void take_found(struct eval_row *row, const json_t *line)
{
    const json_t *depths = json_object_get(line, "depths"), *found = json_object_get(line, "found");
    const size_t count = json_array_size(depths);
    if (count > EVAL_ANSWERS_MAX || json_array_size(found) != count)
        return;
    for (; row->placed < count; row->placed++) {
        const json_int_t depth = json_integer_value(json_array_get(depths, row->placed));
        row->depths[row->placed] = (unsigned char)(depth < 0 ? 0 : depth > 100 ? 100 : depth);
        row->found[row->placed] = json_integer_value(json_array_get(found, row->placed)) != 0;
    }
}

static bool take(struct eval_row *row, const json_t *line, bool is_loss)
{
    const json_t *length = json_object_get(line, "length");
    const json_t *score = json_object_get(line, is_loss ? "new_loss" : "score");
    const json_t *depth = json_object_get(line, "depth");
    const json_t *sample = json_object_get(line, is_loss ? "window" : "sample");
    *row = (struct eval_row){.depth = -1, .is_loss = is_loss};
    if (!take_text(row->task, sizeof row->task, line, "task") ||
        !take_text(row->method, sizeof row->method, line, "method") ||
        !take_text(row->hex, sizeof row->hex, line, "prompt_xxh3") || !json_is_integer(length) ||
        !json_is_integer(sample) || !score)
        return false;
    row->length = (int64_t)json_integer_value(length);
    row->sample = (int64_t)json_integer_value(sample);
    row->failed = !json_is_number(score);
    row->score = json_number_value(score);
    if (json_is_integer(depth))
        row->depth = (int)json_integer_value(depth);
    take_found(row, line);
    return row->score >= 0 && (is_loss || row->score <= 1);
}

static enum status add(struct eval_rows *rows, const struct eval_row *row)
{
    if (rows->count == rows->room) {
        const size_t room = rows->room ? 2 * rows->room : 256;
        struct eval_row *grown = reallocarray(rows->rows, room, sizeof *grown);
        if (!grown)
            return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %zu results", room);
        rows->rows = grown;
        rows->room = room;
    }
    rows->rows[rows->count++] = *row;
    return STATUS_OK;
}

static enum status read_file(struct eval_rows *rows, FILE *file, const char *path, bool is_loss)
{
    char *text = NULL;
    size_t room = 0, number = 0;
    enum status status = STATUS_OK;
    for (ssize_t bytes; status == STATUS_OK && (bytes = getline(&text, &room, file)) > 0;) {
        struct eval_row row;
        json_t *line = json_loadb(text, (size_t)bytes, JSON_REJECT_DUPLICATES, NULL);
        number++;
        status = take(&row, line, is_loss) ? add(rows, &row)
                                           : fail(STATUS_DATA_LOSS,
                                                  "%s: line %zu is no result of an "
                                                  "evaluation",
                                                  path, number);
        json_decref(line);
    }
    free(text);
    return status;
}

static enum status read_named(struct eval_rows *rows, const char *folder, const char *name,
                              bool is_loss)
{
    char path[PATH_MAX];
    TRY(eval_files_path(path, folder, name));
    FILE *file = fopen(path, "re");
    if (!file)
        return fail(errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO, "open %s: %s", path,
                    strerror(errno));
    const enum status status = read_file(rows, file, path, is_loss);
    fclose(file);
    return status;
}

enum status eval_rows_read(struct eval_rows *rows, const char *folder)
{
    return read_named(rows, folder, EVAL_RESULTS_FILE, false);
}

enum status eval_rows_read_losses(struct eval_rows *rows, const char *folder)
{
    return read_named(rows, folder, EVAL_LOSSES_FILE, true);
}

void eval_rows_deinit(struct eval_rows *rows)
{
    free(rows->rows);
    *rows = (struct eval_rows){.count = 0};
}

/* ---- groups ---- */

static struct eval_group *group_of(struct eval_groups *groups, const struct eval_row *row)
{
    for (size_t i = groups->count; i-- > 0;) {
        const struct eval_row *first = groups->groups[i].first;
        if (first->length == row->length && strcmp(first->task, row->task) == 0 &&
            strcmp(first->method, row->method) == 0)
            return &groups->groups[i];
    }
    groups->groups[groups->count] = (struct eval_group){.first = row};
    return &groups->groups[groups->count++];
}

static int by_task_and_length(const void *left, const void *right)
{
    const struct eval_group *a = left, *b = right;
    if (a->task_first != b->task_first)
        return a->task_first < b->task_first ? -1 : 1;
    if (a->first->length != b->first->length)
        return a->first->length < b->first->length ? -1 : 1;
    return (a->first > b->first) - (a->first < b->first);
}

static void put_in_order(struct eval_groups *groups)
{
    for (size_t i = 0; i < groups->count; i++) {
        size_t k = 0;
        while (strcmp(groups->groups[k].first->task, groups->groups[i].first->task) != 0)
            k++;
        groups->groups[i].task_first = groups->groups[k].first;
    }
    if (groups->count > 0)
        qsort(groups->groups, groups->count, sizeof *groups->groups, by_task_and_length);
}

enum status eval_rows_group(struct eval_groups *groups, const struct eval_rows *rows)
{
    *groups = (struct eval_groups){.groups = calloc(rows->count + 1, sizeof *groups->groups)};
    if (!groups->groups)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %zu results", rows->count);
    for (size_t i = 0; i < rows->count; i++) {
        struct eval_group *group = group_of(groups, &rows->rows[i]);
        group->failed += rows->rows[i].failed;
        group->samples += !rows->rows[i].failed;
        group->sum += rows->rows[i].score;
    }
    for (size_t i = 0; i < groups->count; i++)
        groups->groups[i].interval =
            eval_interval_of(groups->groups[i].sum, groups->groups[i].samples);
    put_in_order(groups);
    return STATUS_OK;
}

void eval_groups_deinit(struct eval_groups *groups)
{
    free(groups->groups);
    *groups = (struct eval_groups){.count = 0};
}
