/* Owns the reading of a training run's file. Promises that every member is set, to what the file
 * says or to its default, and that members agree with each other. */
#include "proto/train/train_config.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "proto/config_yaml.h"
#include "proto/nearest.h"
#include "proto/train/train_config_rows.h"

enum { ROWS_MAX = 128 };

struct reading {
    struct train_config *config;
    const char *name;
    bool seen[ROWS_MAX];
    enum status status;
};

static void *member(struct train_config *config, const struct train_key *row)
{
    return (char *)config + row->offset;
}

/* ---- values ---- */

static bool read_real(double *value, const char *text, const struct train_key *row)
{
    char *end;
    const double number = strtod(text, &end);
    if (end == text || *end || !isfinite(number) || number < row->least || number > row->most)
        return false;
    *value = number;
    return true;
}

static bool read_integer(int64_t *value, const char *text, const struct train_key *row)
{
    char *end;
    errno = 0;
    const long long number = strtoll(text, &end, 10);
    if (end == text || errno || !isdigit((unsigned char)end[-1]))
        return false;
    const int64_t unit = *end == 'k' ? 1 << 10 : *end == 'M' ? 1 << 20 : 1;
    end += unit > 1;
    if (*end || number > INT64_MAX / unit || number < INT64_MIN / unit ||
        (double)(number * unit) < row->least || (double)(number * unit) > row->most)
        return false;
    *value = number * unit;
    return true;
}

/* The place of a word; -1 where it is none. */
static int find_word(const char *const *words, const char *text)
{
    for (int w = 0; words[w]; w++)
        if (strcmp(words[w], text) == 0)
            return w;
    return -1;
}

static bool read_word(void *value, const char *text, const struct train_key *row)
{
    const int word = find_word(row->words, text);
    if (word >= 0)
        memcpy(value, &word, sizeof word);
    return word >= 0;
}

static bool read_rope(struct train_config_model *model, const char *text,
                      const struct train_key *row)
{
    if (strcmp(text, "keep") == 0 || strcmp(text, "auto") == 0) {
        model->rope_base = text[0] == 'k' ? TRAIN_ROPE_KEEP : TRAIN_ROPE_AUTO;
        return true;
    }
    model->rope_base = TRAIN_ROPE_GIVEN;
    return read_real(&model->rope_base_given, text, row);
}

static bool read_switch(bool *value, const char *text)
{
    *value = strcmp(text, "true") == 0;
    return *value || strcmp(text, "false") == 0;
}

static bool read_text(char *value, const char *text, const struct train_key *row)
{
    if ((double)strlen(text) > row->most)
        return false;
    memcpy(value, text, strlen(text) + 1);
    return true;
}

static bool read_value(void *value, const struct train_key *row, const char *text)
{
    switch (row->type) {
    case TRAIN_KEY_TEXT:
        return read_text(value, text, row);
    case TRAIN_KEY_REAL:
        return read_real(value, text, row);
    case TRAIN_KEY_INTEGER:
        return read_integer(value, text, row);
    case TRAIN_KEY_SWITCH:
        return read_switch(value, text);
    case TRAIN_KEY_WORD:
        return read_word(value, text, row);
    case TRAIN_KEY_ROPE:
        return read_rope(value, text, row);
    }
    return false;
}

/* "keep, auto or a number" and the like, for a sentence or the list of keys. */
static void print_wanted(FILE *file, const struct train_key *row)
{
    switch (row->type) {
    case TRAIN_KEY_TEXT:
        fprintf(file, "text of up to %.0f bytes", row->most);
        break;
    case TRAIN_KEY_REAL:
        fprintf(file, "a number from %g to %g", row->least, row->most);
        break;
    case TRAIN_KEY_INTEGER:
        fprintf(file, "a whole number from %.0f to %.0f", row->least, row->most);
        break;
    case TRAIN_KEY_SWITCH:
        fputs("true or false", file);
        break;
    case TRAIN_KEY_WORD:
        for (int w = 0; row->words[w]; w++)
            fprintf(file, "%s%s", w == 0 ? "" : row->words[w + 1] ? ", " : " or ", row->words[w]);
        break;
    case TRAIN_KEY_ROPE:
        fprintf(file, "keep, auto or a number from %g to %g", row->least, row->most);
        break;
    }
}

static enum status refuse(const struct reading *reading, const struct train_key *row,
                          const char *text, size_t line)
{
    char wanted[160] = "";
    FILE *file = fmemopen(wanted, sizeof wanted, "w");
    if (file) {
        print_wanted(file, row);
        fclose(file);
    }
    return fail(STATUS_INVALID_ARGUMENT, "%s:%zu: %s is \"%.40s\", must be %s", reading->name, line,
                row->key, text, wanted);
}

/* ---- the walk ---- */

static void on_problem(void *context, struct config_yaml_place place, const char *sentence)
{
    struct reading *reading = context;
    if (reading->status == STATUS_OK)
        reading->status =
            fail(STATUS_INVALID_ARGUMENT, "%s:%zu: %s", reading->name, place.line, sentence);
}

static void on_unknown(struct reading *reading, const char *path, size_t line, const char *what)
{
    const char *names[ROWS_MAX];
    for (size_t r = 0; r < train_config_rows_count; r++)
        names[r] = train_config_rows[r].key;
    const char *near = nearest_name(path, names, train_config_rows_count);
    if (reading->status == STATUS_OK)
        reading->status = fail(STATUS_INVALID_ARGUMENT, "%s:%zu: there is no %s \"%s\"%s%s%s",
                               reading->name, line, what, path, near ? "; did you mean " : "",
                               near ? near : "", near ? "?" : "; longhaul recipe keys lists them");
}

static bool on_section(void *context, const char *path, struct config_yaml_place place)
{
    struct reading *reading = context;
    const size_t length = strlen(path);
    for (size_t r = 0; r < train_config_rows_count; r++)
        if (strncmp(train_config_rows[r].key, path, length) == 0 &&
            train_config_rows[r].key[length] == '.')
            return true;
    on_unknown(reading, path, place.line, "section");
    return false;
}

static void on_value(void *context, const char *path, const char *text, bool quoted,
                     struct config_yaml_place key_place, struct config_yaml_place place)
{
    struct reading *reading = context;
    (void)quoted;
    if (reading->status != STATUS_OK)
        return;
    for (size_t r = 0; r < train_config_rows_count; r++) {
        const struct train_key *row = &train_config_rows[r];
        if (strcmp(row->key, path) != 0)
            continue;
        if (reading->seen[r])
            reading->status = fail(STATUS_INVALID_ARGUMENT, "%s:%zu: %s is there twice",
                                   reading->name, key_place.line, path);
        else if (!read_value(member(reading->config, row), row, text))
            reading->status = refuse(reading, row, text, place.line);
        reading->seen[r] = true;
        return;
    }
    on_unknown(reading, path, key_place.line, "key");
}

/* ---- what is not there ---- */

static void set_defaults(struct train_config *config)
{
    for (size_t r = 0; r < train_config_rows_count; r++) {
        const struct train_key *row = &train_config_rows[r];
        if (row->initial[0] && !read_value(member(config, row), row, row->initial))
            abort(); /* a default that its own row refuses */
    }
}

static bool is_replay(const struct train_key *row)
{
    static const char prefix[] = "training.replay.";
    return strncmp(row->key, prefix, sizeof prefix - 1) == 0;
}

/* Replay trains as `training` says, but for what has a row of its own that was given, or that has a
 * default of its own. */
static void set_replay(struct reading *reading)
{
    const struct train_config_training given = reading->config->replay;
    reading->config->replay = reading->config->training;
    for (size_t r = 0; r < train_config_rows_count; r++) {
        const struct train_key *row = &train_config_rows[r];
        if (!is_replay(row) || (!reading->seen[r] && !row->initial[0]))
            continue;
        const size_t offset = row->offset - offsetof(struct train_config, replay);
        const size_t bytes = row->type == TRAIN_KEY_WORD ? sizeof(int) : sizeof(double);
        memcpy((char *)&reading->config->replay + offset, (const char *)&given + offset, bytes);
    }
}

/* What a model from scratch cannot be given; NULL: nothing. */
static const char *check_scratch(const struct train_config *config)
{
    if (config->model.rope_base != TRAIN_ROPE_KEEP || config->target > 0)
        return "a model from scratch has the base and the window of its config.json (model.shape): "
               "leave model.rope_base at keep and positions.target out";
    if (config->output.format != TRAIN_FORMAT_SAFETENSORS ||
        config->output.dtype != TRAIN_DTYPE_FLOAT32)
        return "a model from scratch is written as safetensors of float32: say output.format "
               "safetensors and output.dtype float32";
    return NULL;
}

static enum status check(const struct train_config *config, const char *name)
{
    const char *wrong = NULL;
    if (!config->model.path[0] && !config->model.shape[0])
        wrong = "model.path is missing (or model.shape, to train from scratch)";
    else if (config->model.path[0] && config->model.shape[0])
        wrong = "model.path and model.shape contradict each other: a model is there or made";
    else if (!config->data.files[0])
        wrong = "data.files is missing";
    else if (!config->output.folder[0])
        wrong = "output.folder is missing";
    else if (config->setting != TRAIN_SETTING_PLAIN && config->target == 0)
        wrong = "positions.target is missing: the tokens of the window to be";
    else if (config->model.rope_base == TRAIN_ROPE_AUTO && config->target == 0)
        wrong = "model.rope_base auto follows from positions.target, which is missing";
    else if (config->target > 0 && config->data.sample_tokens > config->target)
        wrong = "data.sample_tokens is more than positions.target";
    else if (config->data.selection == TRAIN_SELECTION_TAGS && !config->data.tags[0])
        wrong = "data.selection tags needs data.tags";
    else if (config->data.sample_tokens == 1 || config->replay_data.sample_tokens == 1)
        wrong = "a sample of one token has nothing to predict";
    else if (config->model.shape[0])
        wrong = check_scratch(config);
    return wrong ? fail(STATUS_INVALID_ARGUMENT, "%s: %s", name, wrong) : STATUS_OK;
}

enum status train_config_read_bytes(struct train_config *config, const char *name, const void *data,
                                    size_t bytes)
{
    struct train_config *read = calloc(1, sizeof *read);
    if (!read)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to read %s", name);
    struct reading reading = {.config = read, .name = name};
    const struct config_yaml_visitor visitor = {
        .context = &reading, .section = on_section, .value = on_value, .problem = on_problem};
    set_defaults(read);
    config_yaml_walk(&visitor, data, bytes);
    set_replay(&reading);
    if (reading.status == STATUS_OK)
        reading.status = check(read, name);
    if (reading.status == STATUS_OK)
        *config = *read;
    free(read);
    return reading.status;
}

enum status train_config_read(struct train_config *config, const char *path)
{
    char *data = malloc(CONFIG_YAML_BYTES + 1);
    FILE *file = data ? fopen(path, "rb") : NULL;
    enum status status = STATUS_OK;
    if (!data)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to read %s", path);
    if (!file)
        status = fail(errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO, "open %s: %s", path,
                      strerror(errno));
    const size_t bytes = file ? fread(data, 1, CONFIG_YAML_BYTES + 1, file) : 0;
    if (file && ferror(file))
        status = fail(STATUS_IO, "read %s: %s", path, strerror(errno));
    if (file)
        fclose(file);
    if (status == STATUS_OK)
        status = train_config_read_bytes(config, path, data, bytes);
    free(data);
    return status;
}

/* ---- what follows ---- */

int64_t train_config_sample_tokens(const struct train_config *config, int64_t window)
{
    if (config->data.sample_tokens > 0)
        return config->data.sample_tokens;
    if (config->setting == TRAIN_SETTING_PLAIN)
        return window;
    return config->setting == TRAIN_SETTING_FULL ? config->target : config->target * 3 / 10;
}

void train_config_print_keys(FILE *file)
{
    for (size_t r = 0; r < train_config_rows_count; r++) {
        const struct train_key *row = &train_config_rows[r];
        fprintf(file, "%-30s  %s\n%-30s  ", row->key, row->help, "");
        print_wanted(file, row);
        fprintf(file, "; default %s\n",
                row->initial[0]  ? row->initial
                : is_replay(row) ? "as in training"
                                 : "none");
    }
}

static void print_value(FILE *file, const struct train_config *config, const struct train_key *row)
{
    const char *value = (const char *)config + row->offset;
    int word;
    switch (row->type) {
    case TRAIN_KEY_TEXT:
        fputs(value, file);
        break;
    case TRAIN_KEY_REAL:
        fprintf(file, "%.17g", *(const double *)(const void *)value);
        break;
    case TRAIN_KEY_INTEGER:
        fprintf(file, "%lld", (long long)*(const int64_t *)(const void *)value);
        break;
    case TRAIN_KEY_SWITCH:
        fputs(*(const bool *)value ? "true" : "false", file);
        break;
    case TRAIN_KEY_WORD:
        memcpy(&word, value, sizeof word);
        fputs(row->words[word], file);
        break;
    case TRAIN_KEY_ROPE:
        if (config->model.rope_base == TRAIN_ROPE_GIVEN)
            fprintf(file, "%.17g", config->model.rope_base_given);
        else
            fputs(config->model.rope_base == TRAIN_ROPE_AUTO ? "auto" : "keep", file);
        break;
    }
}

/* By itself, or by a word that ends in a dot and begins it. */
static bool is_listed(const char *list, const char *key)
{
    const size_t bytes = strlen(key);
    for (const char *at = list; *at;) {
        const size_t length = strcspn(at, " ");
        const bool stands_for_many = length > 0 && at[length - 1] == '.' && length < bytes;
        if ((length == bytes || stands_for_many) && memcmp(at, key, length) == 0)
            return true;
        at += length + (at[length] != '\0');
    }
    return false;
}

void train_config_print_values(FILE *file, const struct train_config *config, const char *prefix,
                               const char *without)
{
    for (size_t r = 0; r < train_config_rows_count; r++) {
        const struct train_key *row = &train_config_rows[r];
        if (strncmp(row->key, prefix, strlen(prefix)) != 0 || is_listed(without, row->key))
            continue;
        fprintf(file, "%s = ", row->key);
        print_value(file, config, row);
        fputc('\n', file);
    }
}
