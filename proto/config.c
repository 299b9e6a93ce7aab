/* Owns the values of one process's settings. Promises that every value, wherever it came from, has
 * passed its row's type, range and check; one that stands for another text, once it is expanded. */
#include "proto/config.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <assert.h>

#include "proto/config_rows.h"
#include "proto/config_yaml.h"
#include "proto/nearest.h"
#include "proto/printable.h"

enum {
    PROBLEMS_KEPT = 200,
    SENTENCE_BYTES = 640,
    WORD_SHOWN = 60, /* bytes of a wrong text that a sentence quotes */
};

struct value {
    char *text;
    int64_t integer;
    double real;
    enum config_origin origin;
    char *where;
    size_t line_seen; /* of the file read last; 0: not there */
};

struct config {
    struct value values[CONFIG_ROWS_MAX];
    char *problems[PROBLEMS_KEPT];
    size_t problems_count; /* may pass PROBLEMS_KEPT */
    bool out_of_memory;
    const char *file_name; /* of the file being read */
    const char *sections_seen[CONFIG_ROWS_MAX];
    size_t sections_count;
};

size_t config_rows_count(void)
{
    return config_rows_total;
}

const struct config_row *config_row_at(size_t i)
{
    assert(i < config_rows_total);
    return &config_rows[i];
}

/* ---- one text against its row ---- */

static enum status check_integer(struct value *value, const struct config_row *row,
                                 const char *text)
{
    char *end = NULL;
    errno = 0;
    value->integer = strtoll(text, &end, 10);
    bool digits = text[0] == '-' || (text[0] >= '0' && text[0] <= '9');
    if (!digits || *end || end == text)
        return fail(STATUS_INVALID_ARGUMENT, "\"%.*s\" is not a whole number from %.0f to %.0f",
                    WORD_SHOWN, text, row->least, row->most);
    if (errno == ERANGE || (double)value->integer < row->least ||
        (double)value->integer > row->most)
        return fail(STATUS_INVALID_ARGUMENT, "%.*s is outside %.0f to %.0f", WORD_SHOWN, text,
                    row->least, row->most);
    value->real = (double)value->integer;
    return STATUS_OK;
}

static enum status check_real(struct value *value, const struct config_row *row, const char *text)
{
    char *end = NULL;
    value->real = strtod(text, &end);
    bool digits = text[0] != '\0' && text[strspn(text, "0123456789+-.eE")] == '\0';
    if (!digits || *end || end == text)
        return fail(STATUS_INVALID_ARGUMENT, "\"%.*s\" is not a number from %g to %g", WORD_SHOWN,
                    text, row->least, row->most);
    if (!isfinite(value->real) || value->real < row->least || value->real > row->most)
        return fail(STATUS_INVALID_ARGUMENT, "%.*s is outside %g to %g", WORD_SHOWN, text,
                    row->least, row->most);
    return STATUS_OK;
}

static enum status check_switch(struct value *value, const char *text)
{
    if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
        return fail(STATUS_INVALID_ARGUMENT, "\"%.*s\" is neither true nor false", WORD_SHOWN,
                    text);
    value->integer = text[0] == 't';
    return STATUS_OK;
}

static enum status check_choice(const struct config_row *row, const char *text)
{
    size_t bytes = strlen(text);
    for (const char *choice = row->choices; *choice; choice += *choice == '|') {
        size_t choice_bytes = strcspn(choice, "|");
        if (bytes == choice_bytes && memcmp(text, choice, bytes) == 0)
            return STATUS_OK;
        choice += choice_bytes;
    }
    return fail(STATUS_INVALID_ARGUMENT, "\"%.*s\" is none of %s", WORD_SHOWN, text, row->choices);
}

/* A text that does is checked when it gives way to that one, by config_expand. */
static bool stands_for_another(const struct config_row *row, const char *text)
{
    return row->stands_for_another && row->stands_for_another(text);
}

static enum status check_text(struct value *value, const struct config_row *row, const char *text,
                              bool quoted)
{
    if (quoted && row->type != CONFIG_TEXT && row->type != CONFIG_CHOICE)
        return fail(STATUS_INVALID_ARGUMENT, "expects a %s, not a quoted text",
                    row->type == CONFIG_SWITCH ? "true or false" : "number");
    switch (row->type) {
    case CONFIG_INTEGER:
        TRY(check_integer(value, row, text));
        break;
    case CONFIG_REAL:
        TRY(check_real(value, row, text));
        break;
    case CONFIG_SWITCH:
        TRY(check_switch(value, text));
        break;
    case CONFIG_CHOICE:
        TRY(check_choice(row, text));
        break;
    case CONFIG_TEXT:
        if (text[0] == '\0' && row->standard[0])
            return fail(STATUS_INVALID_ARGUMENT, "has no value");
        break;
    }
    return row->check && !stands_for_another(row, text) ? row->check(text) : STATUS_OK;
}

/* Takes the text as row i's value unless a stronger origin has set it. */
static enum status set_value(struct config *config, size_t i, const char *text, bool quoted,
                             enum config_origin origin, const char *where)
{
    struct value next = {.origin = origin};
    TRY(check_text(&next, &config_rows[i], text, quoted));
    struct value *value = &config->values[i];
    if (value->text && value->origin > origin)
        return STATUS_OK;
    next.text = strdup(text);
    next.where = strdup(where);
    next.line_seen = value->line_seen;
    if (!next.text || !next.where) {
        free(next.text);
        free(next.where);
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the setting %s", config_rows[i].key);
    }
    free(value->text);
    free(value->where);
    *value = next;
    return STATUS_OK;
}

enum status config_create(struct config **config)
{
    struct config *made = calloc(1, sizeof *made);
    if (!made)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the settings");
    for (size_t i = 0; i < config_rows_total; i++) {
        enum status status =
            set_value(made, i, config_rows[i].standard, false, CONFIG_DEFAULT, "default");
        if (status != STATUS_OK) {
            config_destroy(made);
            return status;
        }
    }
    *config = made;
    return STATUS_OK;
}

void config_destroy(struct config *config)
{
    if (!config)
        return;
    for (size_t i = 0; i < config_rows_total; i++) {
        free(config->values[i].text);
        free(config->values[i].where);
    }
    for (size_t i = 0; i < config->problems_count && i < PROBLEMS_KEPT; i++)
        free(config->problems[i]);
    free(config);
}

/* ---- a file ---- */

__attribute__((format(printf, 3, 4))) static void
add_problem(struct config *config, struct config_yaml_place place, const char *format, ...)
{
    char sentence[SENTENCE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    printable_mask_line(sentence, strlen(sentence)); /* it quotes the file */
    size_t i = config->problems_count++;
    if (i >= PROBLEMS_KEPT)
        return;
    if (asprintf(&config->problems[i], "%s:%zu:%zu: %s", config->file_name, place.line,
                 place.column, sentence) < 0) {
        config->problems[i] = NULL;
        config->out_of_memory = true;
    }
}

static bool is_section(const char *path)
{
    size_t bytes = strlen(path);
    for (size_t i = 0; i < config_rows_total; i++)
        if (strncmp(config_rows[i].key, path, bytes) == 0 && config_rows[i].key[bytes] == '.')
            return true;
    return false;
}

static const char *last_name(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot ? dot + 1 : path;
}

/* The key that a wrong path most likely stands for: of its own section first, then of any. */
static const char *nearest_key(const char *path)
{
    const char *names[CONFIG_ROWS_MAX];
    const char *keys[CONFIG_ROWS_MAX];
    size_t section_bytes = (size_t)(last_name(path) - path);
    for (int any_section = 0; any_section < 2; any_section++) {
        size_t count = 0;
        for (size_t i = 0; i < config_rows_total; i++) {
            if (!any_section && strncmp(config_rows[i].key, path, section_bytes) != 0)
                continue;
            names[count] = last_name(config_rows[i].key);
            keys[count++] = config_rows[i].key;
        }
        const char *name =
            section_bytes || any_section ? nearest_name(last_name(path), names, count) : NULL;
        for (size_t i = 0; name && i < count; i++)
            if (names[i] == name)
                return keys[i];
    }
    return NULL;
}

/* The section that a wrong top-level word most likely stands for. */
static const char *nearest_section(const char *path, char *section, size_t room)
{
    const char *best = NULL;
    size_t best_distance = nearest_edits_most(path) + 1;
    for (size_t i = 0; i < config_rows_total; i++) {
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)strcspn(config_rows[i].key, "."),
                 config_rows[i].key);
        size_t distance = nearest_distance(path, name);
        if (distance < best_distance) {
            best_distance = distance;
            snprintf(section, room, "%s", name);
            best = section;
        }
    }
    return best;
}

static void add_unknown(struct config *config, const char *path, bool mapping,
                        struct config_yaml_place place)
{
    char section[64];
    const char *near = NULL;
    if (mapping)
        near = nearest_section(path, section, sizeof section);
    if (!near)
        near = nearest_key(path);
    add_problem(config, place, "unknown %s \"%.*s\"%s%s%s", mapping ? "section" : "key",
                2 * WORD_SHOWN, path, near ? "; did you mean \"" : "", near ? near : "",
                near ? "\"?" : "; `longhaul config show` lists all");
}

static bool on_section(void *context, const char *path, struct config_yaml_place place)
{
    struct config *config = context;
    if (!is_section(path)) {
        for (size_t i = 0; i < config_rows_total; i++) {
            if (strcmp(config_rows[i].key, path) == 0) {
                add_problem(config, place, "%s: takes one value, not a section", path);
                return false;
            }
        }
        add_unknown(config, path, true, place);
        return false;
    }
    for (size_t i = 0; i < config->sections_count; i++) {
        if (strncmp(config->sections_seen[i], path, strlen(path)) == 0 &&
            config->sections_seen[i][strlen(path)] == '.') {
            add_problem(config, place, "the section \"%s\" is there twice; join the two", path);
            return true;
        }
    }
    for (size_t i = 0; i < config_rows_total; i++) {
        if (strncmp(config_rows[i].key, path, strlen(path)) == 0) {
            config->sections_seen[config->sections_count++] = config_rows[i].key;
            break;
        }
    }
    return true;
}

static void on_value(void *context, const char *path, const char *text, bool quoted,
                     struct config_yaml_place key_place, struct config_yaml_place place)
{
    struct config *config = context;
    if (is_section(path)) {
        if (quoted || text[0])
            add_problem(config, place, "\"%s\" is a section; write its settings below it, indented",
                        path);
        return;
    }
    size_t i = 0;
    while (i < config_rows_total && strcmp(config_rows[i].key, path) != 0)
        i++;
    if (i == config_rows_total) {
        add_unknown(config, path, false, key_place);
        return;
    }
    size_t *line_seen = &config->values[i].line_seen;
    if (*line_seen) {
        add_problem(config, key_place, "%s: is there twice, first on line %zu", path, *line_seen);
        return;
    }
    *line_seen = key_place.line;
    char where[512];
    snprintf(where, sizeof where, "%s:%zu", config->file_name, place.line);
    if (set_value(config, i, text, quoted, CONFIG_FILE, where) != STATUS_OK)
        add_problem(config, place, "%s: %s", path, status_message());
}

static void on_problem(void *context, struct config_yaml_place place, const char *sentence)
{
    add_problem(context, place, "%s", sentence);
}

enum status config_read_bytes(struct config *config, const char *name, const void *data,
                              size_t bytes)
{
    size_t problems_before = config->problems_count;
    config->file_name = name;
    config->sections_count = 0;
    for (size_t i = 0; i < config_rows_total; i++)
        config->values[i].line_seen = 0;
    const struct config_yaml_visitor visitor = {
        .context = config, .section = on_section, .value = on_value, .problem = on_problem};
    config_yaml_walk(&visitor, data, bytes);
    config->file_name = NULL;
    if (config->out_of_memory)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to read %s", name);
    size_t found = config->problems_count - problems_before;
    if (found == 0)
        return STATUS_OK;
    const char *first = problems_before < PROBLEMS_KEPT ? config->problems[problems_before] : name;
    if (found == 1)
        return fail(STATUS_INVALID_ARGUMENT, "%s", first);
    return fail(STATUS_INVALID_ARGUMENT, "%s (and %zu more)", first, found - 1);
}

static enum status read_up_to(FILE *file, const char *path, char *data, size_t room, size_t *bytes)
{
    *bytes = fread(data, 1, room, file);
    if (ferror(file))
        return fail(STATUS_IO, "read the configuration %s: %s", path, strerror(errno));
    return STATUS_OK;
}

enum status config_read_file(struct config *config, const char *path)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return fail(STATUS_NOT_FOUND, "open the configuration %s: %s", path, strerror(errno));
    enum { ROOM = CONFIG_YAML_BYTES + 1 };
    char *data = malloc(ROOM);
    if (!data) {
        fclose(file);
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to read %s", path);
    }
    size_t bytes = 0;
    enum status status = read_up_to(file, path, data, ROOM, &bytes);
    if (status == STATUS_OK)
        status = config_read_bytes(config, path, data, bytes);
    free(data);
    fclose(file);
    return status;
}

size_t config_problems_count(const struct config *config)
{
    return config->problems_count < PROBLEMS_KEPT ? config->problems_count : PROBLEMS_KEPT;
}

const char *config_problem(const struct config *config, size_t i)
{
    assert(i < config_problems_count(config));
    return config->problems[i] ? config->problems[i] : "out of memory";
}

/* ---- values ---- */

enum status config_set_flag(struct config *config, size_t i, const char *text)
{
    assert(i < config_rows_total && config_rows[i].flag);
    char where[64];
    snprintf(where, sizeof where, "--%s", config_rows[i].flag);
    enum status status = set_value(config, i, text, false, CONFIG_FLAG, where);
    if (status == STATUS_INVALID_ARGUMENT)
        return fail(status, "%s: %s", where, status_message());
    return status;
}

static size_t row_index(const char *key)
{
    size_t i = 0;
    while (i < config_rows_total && strcmp(config_rows[i].key, key) != 0)
        i++;
    assert(i < config_rows_total);
    return i;
}

const char *config_text(const struct config *config, const char *key)
{
    return config->values[row_index(key)].text;
}

int64_t config_integer(const struct config *config, const char *key)
{
    size_t i = row_index(key);
    assert(config_rows[i].type == CONFIG_INTEGER);
    return config->values[i].integer;
}

double config_real(const struct config *config, const char *key)
{
    size_t i = row_index(key);
    assert(config_rows[i].type == CONFIG_REAL);
    return config->values[i].real;
}

bool config_switch(const struct config *config, const char *key)
{
    size_t i = row_index(key);
    assert(config_rows[i].type == CONFIG_SWITCH);
    return config->values[i].integer != 0;
}

enum config_origin config_origin(const struct config *config, const char *key, const char **where)
{
    const struct value *value = &config->values[row_index(key)];
    if (where)
        *where = value->where;
    return value->origin;
}

enum status config_check(const struct config *config)
{
    static const char beat[] = "control.heartbeat_seconds";
    static const char silence[] = "control.heartbeat_timeout_seconds";
    const char *beat_from = NULL, *silence_from = NULL;
    config_origin(config, beat, &beat_from);
    config_origin(config, silence, &silence_from);
    if (config_real(config, beat) < config_real(config, silence))
        return STATUS_OK;
    return fail(STATUS_INVALID_ARGUMENT,
                "%s is %s (%s) and %s is %s (%s): the time between heartbeats must be shorter than "
                "the silence after which a worker counts as dead",
                beat, config_text(config, beat), beat_from, silence, config_text(config, silence),
                silence_from);
}

static enum status expand_row(struct value *value, const struct config_row *row)
{
    char *text = NULL;
    enum status status = row->expand(&text, value->text);
    if (status == STATUS_OK && row->check)
        status = row->check(text);
    if (status != STATUS_OK) {
        free(text);
        return value->origin == CONFIG_FILE
                   ? fail(status, "%s: %s: %s", value->where, row->key, status_message())
                   : fail(status, "%s: %s", value->where, status_message());
    }
    free(value->text);
    value->text = text;
    return STATUS_OK;
}

enum status config_expand(struct config *config, unsigned takers)
{
    for (size_t i = 0; i < config_rows_total; i++)
        if ((config_rows[i].takers & takers) &&
            stands_for_another(&config_rows[i], config->values[i].text))
            TRY(expand_row(&config->values[i], &config_rows[i]));
    return STATUS_OK;
}

size_t config_arguments(const struct config *config, enum config_taker taker, char **arguments,
                        size_t room)
{
    size_t count = 0;
    for (size_t i = 0; i < config_rows_total; i++) {
        const struct value *value = &config->values[i];
        if (!(config_rows[i].takers & taker) || value->origin == CONFIG_DEFAULT || count == room)
            continue;
        bool is_off = config_rows[i].type == CONFIG_SWITCH && !value->integer;
        if (is_off)
            continue;
        /* --flag=value in one string, so that a value that begins with a dash stays a value. */
        bool bare = config_rows[i].type == CONFIG_SWITCH;
        if (asprintf(&arguments[count], "--%s%s%s", config_rows[i].flag, bare ? "" : "=",
                     bare ? "" : value->text) < 0)
            break;
        count++;
    }
    return count;
}
