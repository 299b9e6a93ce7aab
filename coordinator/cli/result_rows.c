/* Owns the parsed lines. */
#include "coordinator/cli/result_rows.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum status take_line(struct result_rows *results, const char *line, int number)
{
    json_error_t error;
    json_t *value = json_loads(line, 0, &error);
    json_t *manifest = json_object_get(value, "manifest");
    if (!json_is_object(value) || !results->manifest != !!manifest) {
        json_decref(value);
        return fail(STATUS_INVALID_ARGUMENT, "%s:%d: %s", results->path, number,
                    !value              ? error.text
                    : results->manifest ? "a second manifest"
                                        : "no manifest, with which results begin");
    }
    if (manifest)
        results->manifest = json_incref(manifest);
    else if (json_array_append(results->rows, value) != 0) {
        json_decref(value);
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the rows of %s", results->path);
    }
    json_decref(value);
    return STATUS_OK;
}

enum status result_rows_open(struct result_rows *results, const char *path)
{
    char *line = NULL;
    size_t room = 0;
    enum status status = STATUS_OK;
    *results = (struct result_rows){.path = path, .rows = json_array()};
    FILE *file = fopen(path, "re");
    if (!file)
        return fail(errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO, "open %s: %s", path,
                    strerror(errno));
    for (int number = 1; status == STATUS_OK && getline(&line, &room, file) > 0; number++)
        status = take_line(results, line, number);
    if (status == STATUS_OK && ferror(file))
        status = fail(STATUS_IO, "read %s: %s", path, strerror(errno));
    if (status == STATUS_OK && json_array_size(results->rows) == 0)
        status = fail(STATUS_INVALID_ARGUMENT, "%s: no results", path);
    free(line);
    fclose(file);
    return status;
}

void result_rows_close(struct result_rows *results)
{
    json_decref(results->manifest);
    json_decref(results->rows);
    *results = (struct result_rows){.path = NULL};
}

const char *result_rows_fact(const struct result_rows *results, const char *key, const char *inner)
{
    const json_t *value = json_object_get(results->manifest, key);
    const char *text = json_string_value(inner ? json_object_get(value, inner) : value);
    return text ? text : "";
}

static bool alike(const json_t *one, const json_t *other, const char *const *members)
{
    for (size_t i = 0; members[i]; i++) {
        json_t *a = json_object_get(one, members[i]), *b = json_object_get(other, members[i]);
        if (a != b && !json_equal(a, b))
            return false;
    }
    return true;
}

json_t *result_rows_find(const struct result_rows *results, const json_t *like,
                         const char *const *members)
{
    for (size_t i = 0; i < json_array_size(results->rows); i++)
        if (alike(json_array_get(results->rows, i), like, members))
            return json_array_get(results->rows, i);
    return NULL;
}

bool result_rows_samples(const json_t *row, const char *key, struct samples_summary *summary)
{
    const json_t *object = json_object_get(row, key);
    *summary = (struct samples_summary){
        .count = (size_t)json_integer_value(json_object_get(object, "count")),
        .mean = json_number_value(json_object_get(object, "mean")),
        .deviation = json_number_value(json_object_get(object, "deviation")),
    };
    return json_is_object(object) && summary->count > 0 && summary->mean > 0 &&
           summary->deviation >= 0;
}
