/* Owns the reading of one file of facts. Promises that every row is set exactly once, or the first
 * problem of the file as an error. */
#include "proto/fact_file.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/config_yaml.h"

enum { ROWS_MAX = 64 };

struct reading {
    const char *path;
    const struct fact_row *rows;
    size_t count;
    bool seen[ROWS_MAX];
    enum status status;
};

static bool is_failed(const struct reading *reading)
{
    return reading->status != STATUS_OK;
}

static void on_problem(void *context, struct config_yaml_place place, const char *sentence)
{
    struct reading *reading = context;
    if (!is_failed(reading))
        reading->status =
            fail(STATUS_INVALID_ARGUMENT, "%s:%zu: %s", reading->path, place.line, sentence);
}

static bool on_section(void *context, const char *path, struct config_yaml_place place)
{
    struct reading *reading = context;
    const size_t length = strlen(path);
    for (size_t r = 0; r < reading->count; r++)
        if (strncmp(reading->rows[r].key, path, length) == 0 && reading->rows[r].key[length] == '.')
            return true;
    if (!is_failed(reading))
        reading->status = fail(STATUS_INVALID_ARGUMENT, "%s:%zu: there is no section \"%s\"",
                               reading->path, place.line, path);
    return false;
}

/* ---- values ---- */

static bool read_real(double *value, const char *text, const struct fact_row *row)
{
    char *end;
    const double number = strtod(text, &end);
    if (end == text || *end || !isfinite(number) || number < row->least || number > row->most)
        return false;
    *value = number;
    return true;
}

/* A number up to a blank or the end; *text goes behind it. */
static bool read_integer(int64_t *value, const char **text, double least, double most)
{
    char *end;
    errno = 0;
    const long long number = strtoll(*text, &end, 10);
    if (end == *text || errno || !isdigit((unsigned char)end[-1]))
        return false;
    const int64_t unit = *end == 'k' ? 1 << 10 : *end == 'M' ? 1 << 20 : 1;
    end += unit > 1;
    if ((*end && *end != ' ' && *end != ',') || number > INT64_MAX / unit ||
        number < INT64_MIN / unit)
        return false;
    if ((double)(number * unit) < least || (double)(number * unit) > most)
        return false;
    *value = number * unit;
    *text = end;
    return true;
}

static bool read_integers(struct fact_integers *integers, const char *text, double least,
                          double most)
{
    struct fact_integers read = {.count = 0};
    while (*text == ' ' || *text == ',')
        text++;
    while (*text) {
        if (read.count == FACT_INTEGERS_MAX ||
            !read_integer(&read.list[read.count], &text, least, most))
            return false;
        read.count++;
        while (*text == ' ' || *text == ',')
            text++;
    }
    if (read.count > 0)
        *integers = read;
    return read.count > 0;
}

static bool read_value(const struct fact_row *row, const char *text)
{
    switch (row->type) {
    case FACT_REAL:
        return read_real(row->target, text, row);
    case FACT_INTEGER:
        return read_integer(row->target, &text, row->least, row->most) && !*text;
    case FACT_INTEGERS:
        return read_integers(row->target, text, row->least, row->most);
    case FACT_TEXT:
        if (strlen(text) >= FACT_TEXT_BYTES)
            return false;
        memcpy(row->target, text, strlen(text) + 1);
        return true;
    }
    return false;
}

static enum status refuse(const struct reading *reading, const struct fact_row *row,
                          const char *text, size_t line)
{
    static const char *const wanted[] = {
        [FACT_REAL] = "a number",
        [FACT_INTEGER] = "a whole number",
        [FACT_INTEGERS] = "up to 16 whole numbers",
    };
    if (row->type == FACT_TEXT)
        return fail(STATUS_INVALID_ARGUMENT, "%s:%zu: %s may have %d bytes", reading->path, line,
                    row->key, FACT_TEXT_BYTES - 1);
    return fail(STATUS_INVALID_ARGUMENT, "%s:%zu: %s is \"%.40s\", must be %s from %g to %g",
                reading->path, line, row->key, text, wanted[row->type], row->least, row->most);
}

static void on_value(void *context, const char *path, const char *text, bool quoted,
                     struct config_yaml_place key_place, struct config_yaml_place place)
{
    struct reading *reading = context;
    (void)quoted;
    if (is_failed(reading))
        return;
    for (size_t r = 0; r < reading->count; r++) {
        const struct fact_row *row = &reading->rows[r];
        if (strcmp(row->key, path) != 0)
            continue;
        if (reading->seen[r])
            reading->status = fail(STATUS_INVALID_ARGUMENT, "%s:%zu: %s is there twice",
                                   reading->path, key_place.line, path);
        else if (!read_value(row, text))
            reading->status = refuse(reading, row, text, place.line);
        reading->seen[r] = true;
        return;
    }
    reading->status = fail(STATUS_INVALID_ARGUMENT, "%s:%zu: nothing is called \"%s\" here",
                           reading->path, key_place.line, path);
}

/* ---- the file ---- */

static enum status load(char **data, size_t *bytes, const char *path)
{
    FILE *file = fopen(path, "rb");
    char *read = malloc(CONFIG_YAML_BYTES + 1);
    enum status status = STATUS_OK;
    if (!file)
        status = fail(errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO, "open %s: %s", path,
                      strerror(errno));
    else if (!read)
        status = fail(STATUS_RESOURCE_EXHAUSTED, "no memory to read %s", path);
    if (status == STATUS_OK) {
        *bytes = fread(read, 1, CONFIG_YAML_BYTES + 1, file);
        if (ferror(file))
            status = fail(STATUS_IO, "read %s: %s", path, strerror(errno));
    }
    if (file)
        fclose(file);
    if (status == STATUS_OK)
        *data = read;
    else
        free(read);
    return status;
}

enum status fact_file_read(const char *path, const struct fact_row *rows, size_t count)
{
    struct reading reading = {.path = path, .rows = rows, .count = count};
    const struct config_yaml_visitor visitor = {
        .context = &reading, .section = on_section, .value = on_value, .problem = on_problem};
    char *data;
    size_t bytes = 0;
    TRY(count <= ROWS_MAX ? STATUS_OK : fail(STATUS_INTERNAL, "%s: too many facts", path));
    TRY(load(&data, &bytes, path));
    config_yaml_walk(&visitor, data, bytes);
    free(data);
    TRY(reading.status);
    for (size_t r = 0; r < count; r++)
        if (!rows[r].optional && !reading.seen[r])
            return fail(STATUS_INVALID_ARGUMENT, "%s: %s is missing", path, rows[r].key);
    return STATUS_OK;
}
