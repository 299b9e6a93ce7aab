/* Owns the texts of an evaluation. Promises that a folder holds results of one set of settings. */
#include "coordinator/cli/eval_settings.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "coordinator/batch/text_set.h"
#include "coordinator/cli/eval_files.h"
#include "coordinator/cli/template_digest.h"
#include "coordinator/cli/text_file.h"
#include "proto/json_writer.h"
#include "proto/model/model.h"
#include "proto/nearest.h"

enum { LENGTH_LEAST = 128, NAME_BYTES = 40, NAMES_MAX = 40 };

static const char standard_depths[] = "0,25,50,75,100";
static const char record_file[] = "evaluation.json";

/* ---- tasks ---- */

static bool same(const char *name, const char *text, size_t bytes)
{
    return strlen(name) == bytes && memcmp(name, text, bytes) == 0;
}

static enum status add_task(struct eval_settings *settings, const struct eval_task *task)
{
    for (size_t i = 0; i < settings->task_count; i++)
        if (settings->tasks[i] == task)
            return STATUS_OK;
    if (settings->task_count == EVAL_SETTINGS_TASKS_MAX)
        return fail(STATUS_INVALID_ARGUMENT, "more than %d tasks", EVAL_SETTINGS_TASKS_MAX);
    settings->tasks[settings->task_count++] = task;
    return STATUS_OK;
}

static enum status unknown_task(const char *text, size_t bytes)
{
    char name[NAME_BYTES];
    const char *names[NAMES_MAX] = {"perplexity", "file", "niah", "ruler"};
    size_t count = 4;
    for (const struct eval_task *task; (task = eval_task_at(count - 4)) && count < NAMES_MAX;)
        names[count++] = task->name;
    snprintf(name, sizeof name, "%.*s", (int)bytes, text);
    const char *near = nearest_name(name, names, count);
    return fail(STATUS_INVALID_ARGUMENT, "there is no task \"%s\"%s%s%s", name,
                near ? "; did you mean " : "", near ? near : "",
                near ? "?" : ": see longhaul eval --help");
}

static enum status read_task(struct eval_settings *settings, const char *text, size_t bytes)
{
    bool found = false;
    if (same("perplexity", text, bytes))
        settings->perplexity = found = true;
    if (same("file", text, bytes))
        settings->file = found = true;
    for (size_t i = 0; eval_task_at(i); i++) {
        const struct eval_task *task = eval_task_at(i);
        if (!same(task->name, text, bytes) && !same(task->group, text, bytes))
            continue;
        found = true;
        TRY(add_task(settings, task));
    }
    return found ? STATUS_OK : unknown_task(text, bytes);
}

static enum status read_tasks(struct eval_settings *settings)
{
    if (!settings->tasks_text || !settings->tasks_text[0])
        return fail(STATUS_INVALID_ARGUMENT, "TASK is missing: passkey, for example");
    for (const char *at = settings->tasks_text;; at++) {
        const size_t bytes = strcspn(at, ",");
        TRY(read_task(settings, at, bytes));
        at += bytes;
        if (!*at)
            return STATUS_OK;
    }
}

/* ---- what goes together ---- */

static enum status check_files(const struct eval_settings *settings)
{
    if (settings->perplexity && !settings->text_path)
        return fail(STATUS_INVALID_ARGUMENT, "perplexity needs --text FILE");
    if (settings->file != (settings->file_path != NULL))
        return fail(STATUS_INVALID_ARGUMENT, "the task file and --file FILE go together");
    if (settings->template_text && !strstr(settings->template_text, "{input}"))
        return fail(STATUS_INVALID_ARGUMENT, "--template: {input} is missing in it");
    if (!settings->file && (settings->metric_text || settings->template_text))
        return fail(STATUS_INVALID_ARGUMENT, "--metric and --template are of the task file");
    return STATUS_OK;
}

static enum status read_metric(struct eval_settings *settings)
{
    settings->metric = EVAL_MATCH_PART;
    if (!settings->metric_text || eval_metric_named(&settings->metric, settings->metric_text))
        return STATUS_OK;
    return fail(STATUS_INVALID_ARGUMENT,
                "--metric %s: give match_all, match_part, first_integer, words_f1, exact or choice",
                settings->metric_text);
}

enum status eval_settings_read(struct eval_settings *settings)
{
    TRY(read_tasks(settings));
    TRY(check_files(settings));
    TRY(read_metric(settings));
    if (!settings->lengths_text)
        return fail(STATUS_INVALID_ARGUMENT, "--lengths N,N is missing: tokens, 4096 for example");
    TRY(number_list_parse(&settings->lengths, "lengths", settings->lengths_text, LENGTH_LEAST,
                          EVAL_SETTINGS_LENGTH_MOST));
    return number_list_parse(&settings->depths, "depths",
                             settings->depths_text ? settings->depths_text : standard_depths, 0,
                             100);
}

/* ---- files ---- */

static enum status read_text(char **text, char hex[DIGEST_HEX_BYTES], const char *path)
{
    size_t bytes = 0;
    *text = NULL;
    hex[0] = 0;
    if (!path)
        return STATUS_OK;
    TRY(text_file_read(text, &bytes, path));
    text_set_hex(hex, *text, bytes);
    return STATUS_OK;
}

static enum status open_model(struct eval_settings *settings, const char *path)
{
    struct model *model = NULL;
    TRY(text_file_check_readable(path, "model"));
    TRY(model_open(&model, path));
    digest_model(settings->model_hex, model);
    const char *slash = strrchr(path, '/');
    snprintf(settings->model_name, sizeof settings->model_name, "%s",
             slash && slash[1] ? slash + 1 : path);
    const enum status status = method_list_parse(&settings->methods, settings->methods_text,
                                                 model_spec(model)->trained_tokens);
    model_close(model);
    return status;
}

static enum status digest_file(char hex[DIGEST_HEX_BYTES], const char *path)
{
    char *text = NULL;
    TRY(read_text(&text, hex, path));
    free(text);
    return STATUS_OK;
}

enum status eval_settings_open(struct eval_settings *settings, const char *model_path)
{
    char *text = NULL;
    TRY(open_model(settings, model_path));
    TRY(template_digest(settings->template_hex, settings->chat ? settings->chat_template : "auto"));
    TRY(read_text(&text, settings->text_hex, settings->text_path));
    if (text)
        TRY(eval_material_take_text(&settings->material, text, settings->text_path));
    TRY(read_text(&text, settings->words_hex, settings->words_path));
    if (text)
        TRY(eval_material_take_words(&settings->material, text, settings->words_path));
    return digest_file(settings->file_hex, settings->file_path);
}

void eval_settings_deinit(struct eval_settings *settings)
{
    eval_material_deinit(&settings->material);
}

/* ---- what a folder is of ---- */

static void write_numbers(struct json_writer *writer, const char *key,
                          const struct number_list *list)
{
    json_writer_begin_array(writer, key);
    for (size_t i = 0; i < list->count; i++)
        json_writer_integer(writer, NULL, list->values[i]);
    json_writer_end_array(writer);
}

static void write_tasks(struct json_writer *writer, const struct eval_settings *settings)
{
    json_writer_begin_array(writer, "tasks");
    for (size_t i = 0; i < settings->task_count; i++)
        json_writer_text(writer, NULL, settings->tasks[i]->name);
    if (settings->perplexity)
        json_writer_text(writer, NULL, "perplexity");
    if (settings->file)
        json_writer_text(writer, NULL, "file");
    json_writer_end_array(writer);
    json_writer_begin_array(writer, "methods");
    for (size_t i = 0; i < settings->methods.count; i++)
        json_writer_text(writer, NULL, settings->methods.spellings[i]);
    json_writer_end_array(writer);
}

/* What changes answers and is seldom given: a folder without the key has the standard. */
static void write_unusual(struct json_writer *writer, const char *key, const char *value,
                          const char *standard)
{
    if (value && strcmp(value, standard) != 0)
        json_writer_text(writer, key, value);
}

static void write_record(FILE *file, const struct eval_settings *settings)
{
    struct json_writer writer = {.file = file};
    json_writer_begin_object(&writer, NULL);
    json_writer_integer(&writer, "schema_version", 1);
    json_writer_integer(&writer, "generator_version", EVAL_TASK_VERSION);
    write_tasks(&writer, settings);
    write_numbers(&writer, "lengths", &settings->lengths);
    write_numbers(&writer, "depths", &settings->depths);
    json_writer_integer(&writer, "samples", settings->samples);
    json_writer_integer(&writer, "seed", settings->seed);
    json_writer_integer(&writer, "answer_tokens", settings->answer_tokens);
    json_writer_integer(&writer, "stride", settings->stride);
    json_writer_boolean(&writer, "chat", settings->chat);
    json_writer_text(&writer, "metric", eval_metric_name(settings->metric));
    json_writer_text(&writer, "template", settings->template_text ? settings->template_text : "");
    json_writer_text(&writer, "model", settings->model_hex);
    json_writer_text(&writer, "text", settings->text_hex);
    json_writer_text(&writer, "words", settings->words_hex);
    json_writer_text(&writer, "file", settings->file_hex);
    write_unusual(&writer, "chat_template", settings->template_hex, "auto");
    write_unusual(&writer, "cache", settings->cache, "bf16");
    write_unusual(&writer, "kernels", settings->kernels, "auto");
    json_writer_end_object(&writer);
    fputc('\n', file);
}

/* The first key of `record` by which another differs; NULL: none. */
static const char *differs(json_t *record, const json_t *other)
{
    const char *key;
    json_t *value;
    json_object_foreach(record, key,
                        value) if (!json_equal(value, json_object_get(other, key))) return key;
    return NULL;
}

/* Either may have a key that the other has not. */
static const char *difference(json_t *there, json_t *here)
{
    const char *key = differs(here, there);
    return key ? key : differs(there, here);
}

static enum status compare_record(const char *folder, const char *path, const char *text)
{
    json_error_t error;
    json_t *there = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    json_t *here = json_loads(text, 0, NULL);
    enum status status = STATUS_OK;
    if (!there || !here) {
        status =
            fail(STATUS_INVALID_ARGUMENT, "%s is no record of an evaluation: %s", path, error.text);
    } else {
        const char *key = difference(there, here);
        char *said = key ? json_dumps(json_object_get(there, key), JSON_ENCODE_ANY) : NULL;
        if (key)
            status = fail(STATUS_INVALID_ARGUMENT,
                          "%s holds an evaluation with another \"%s\" (%s): give another --out, or "
                          "the same options",
                          folder, key, said ? said : "absent");
        free(said);
    }
    json_decref(there);
    json_decref(here);
    return status;
}

enum status eval_settings_keep(const struct eval_settings *settings, const char *folder)
{
    char path[PATH_MAX], *text = NULL;
    size_t bytes = 0;
    TRY(eval_files_path(path, folder, record_file));
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return fail(STATUS_IO, "make %s: %s", folder, strerror(errno));
    FILE *file = open_memstream(&text, &bytes);
    if (!file)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a record");
    write_record(file, settings);
    fclose(file);
    const enum status status = access(path, F_OK) == 0 ? compare_record(folder, path, text)
                                                       : eval_files_write(path, text, bytes);
    free(text);
    return status;
}
