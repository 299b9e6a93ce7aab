/* Owns the two files while they are written. Promises the same bytes
 * for the same settings. */
#include "coordinator/cli/eval_cases.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "coordinator/batch/text_set.h"
#include "coordinator/cli/console.h"
#include "coordinator/cli/eval_counter.h"
#include "coordinator/cli/eval_file.h"
#include "coordinator/cli/eval_files.h"
#include "coordinator/eval/eval_fit.h"
#include "proto/json_writer.h"

struct making {
    const struct eval_settings *settings;
    struct eval_counter counter;
    FILE *cases, *lines;
    int64_t made, all;
};

/* ---- one case ---- */

struct made_case {
    const char *task; /* of results */
    enum eval_metric metric;
    int64_t length, index, answer_tokens, prompt_tokens;
    int depth;
};

static void write_case(FILE *file, const struct made_case *of, const struct eval_prompt *prompt)
{
    char hex[TEXT_SET_HEX_BYTES];
    struct json_writer writer = {.file = file};
    text_set_hex(hex, prompt->text, prompt->bytes);
    json_writer_begin_object(&writer, NULL);
    json_writer_text(&writer, "task", of->task);
    json_writer_integer(&writer, "length", of->length);
    if (of->depth >= 0)
        json_writer_integer(&writer, "depth", of->depth);
    else
        json_writer_null(&writer, "depth");
    json_writer_integer(&writer, "sample", of->index);
    json_writer_integer(&writer, "prompt_tokens", of->prompt_tokens);
    json_writer_text(&writer, "prompt_xxh3", hex);
    json_writer_text(&writer, "metric", eval_metric_name(of->metric));
    json_writer_begin_array(&writer, "expected");
    for (size_t i = 0; i < prompt->answer_count; i++)
        json_writer_text(&writer, NULL, prompt->answers[i]);
    json_writer_end_array(&writer);
    json_writer_begin_array(&writer, "depths");
    for (size_t i = 0; i < prompt->answer_count && prompt->depths[i] >= 0; i++)
        json_writer_integer(&writer, NULL, prompt->depths[i]);
    json_writer_end_array(&writer);
    json_writer_end_object(&writer);
    fputc('\n', file);
}

static void write_line(FILE *file, const struct making *making, const struct made_case *of,
                       const struct eval_prompt *prompt, size_t method)
{
    char id[64];
    struct json_writer writer = {.file = file};
    snprintf(id, sizeof id, "%zu/%" PRId64, method, making->made);
    json_writer_begin_object(&writer, NULL);
    json_writer_text(&writer, "custom_id", id);
    json_writer_text(&writer, "method", "POST");
    json_writer_text(&writer, "url", "/longhaul/v1/generate");
    json_writer_begin_object(&writer, "body");
    json_writer_bytes(&writer, "text", prompt->text, prompt->bytes);
    json_writer_boolean(&writer, "raw", !making->settings->chat);
    json_writer_integer(&writer, "max_tokens", of->answer_tokens);
    json_writer_text(&writer, "method", making->settings->methods.spellings[method]);
    json_writer_end_object(&writer);
    json_writer_end_object(&writer);
    fputc('\n', file);
}

static void write_both(struct making *making, const struct made_case *of,
                       const struct eval_prompt *prompt)
{
    write_case(making->cases, of, prompt);
    for (size_t m = 0; m < making->settings->methods.count; m++)
        write_line(making->lines, making, of, prompt, m);
    making->made++;
    console_progress("making prompts: %" PRId64 " of %" PRId64, making->made, making->all);
}

static enum status make_generated(struct making *making, const struct eval_task *task,
                                  int64_t length, int64_t index, int depth)
{
    const struct eval_settings *settings = making->settings;
    const int64_t answer_tokens =
        settings->answer_tokens ? settings->answer_tokens : task->answer_tokens;
    struct made_case made = {.task = task->name,
                             .metric = task->metric,
                             .length = length,
                             .index = index,
                             .answer_tokens = answer_tokens,
                             .depth = depth};
    const struct eval_case of = {.task = task,
                                 .material = &settings->material,
                                 .key = {(uint64_t)settings->seed, task->name, length, index},
                                 .depth = depth};
    const struct eval_fit_args args = {.of = &of,
                                       .answer_tokens = answer_tokens,
                                       .count = eval_counter_count,
                                       .context = &making->counter};
    struct eval_prompt prompt = {.text = NULL};
    const enum status status = eval_fit(&prompt, &made.prompt_tokens, &args);
    if (status == STATUS_OK)
        write_both(making, &made, &prompt);
    eval_prompt_deinit(&prompt);
    return status;
}

/* ---- records of a file ---- */

enum { FILE_ANSWER_TOKENS = 64 };

/* Its rows would be counted among those of the task, whose prompts and score are others. */
static enum status check_name(const struct eval_settings *settings, const char *name)
{
    bool taken = settings->perplexity && strcmp(name, "perplexity") == 0;
    for (size_t t = 0; !taken && t < settings->task_count; t++)
        taken = strcmp(name, settings->tasks[t]->name) == 0;
    return taken ? fail(STATUS_INVALID_ARGUMENT,
                        "its \"dataset\" is \"%s\", which is also a task of this evaluation: ask "
                        "for the two with an --out of their own",
                        name)
                 : STATUS_OK;
}

static enum status make_record(struct making *making, const struct eval_record *record,
                               int64_t length, int64_t index)
{
    const struct eval_settings *settings = making->settings;
    struct made_case made = {.task = record->name,
                             .metric = settings->metric,
                             .length = length,
                             .index = index,
                             .answer_tokens = settings->answer_tokens ? settings->answer_tokens
                                                                      : FILE_ANSWER_TOKENS,
                             .depth = -1};
    const struct eval_record_args args = {.record = record,
                                          .form = settings->template_text,
                                          .tokens = length - made.answer_tokens,
                                          .count = eval_counter_count,
                                          .counting = &making->counter};
    struct eval_prompt prompt = {.text = NULL};
    const enum status status = eval_record_fit(&prompt, &made.prompt_tokens, &args);
    if (status == STATUS_OK)
        write_both(making, &made, &prompt);
    eval_prompt_deinit(&prompt);
    return status;
}

static enum status make_records(struct making *making, struct eval_file *file, int64_t length)
{
    for (int64_t i = 0; i < making->settings->samples; i++) {
        struct eval_record record;
        bool there = false;
        TRY(eval_file_next(file, &record, &there));
        if (!there)
            return i > 0 ? STATUS_OK : fail(STATUS_INVALID_ARGUMENT, "%s has no line", file->path);
        enum status status = check_name(making->settings, record.name);
        if (status == STATUS_OK)
            status = make_record(making, &record, length, i);
        eval_record_deinit(&record);
        if (status != STATUS_OK)
            return fail(status, "%s: line %" PRId64 ": %s", file->path, file->number,
                        status_message());
    }
    return STATUS_OK;
}

static enum status make_file(struct making *making, int64_t length)
{
    struct eval_file file;
    TRY(eval_file_open(&file, making->settings->file_path));
    const enum status status = make_records(making, &file, length);
    eval_file_close(&file);
    return status;
}

/* ---- all of them ---- */

static enum status make_task(struct making *making, const struct eval_task *task, int64_t length)
{
    const struct number_list *depths = &making->settings->depths;
    for (int64_t i = 0; i < making->settings->samples; i++) {
        if (!task->deep)
            TRY(make_generated(making, task, length, i, -1));
        for (size_t d = 0; task->deep && d < depths->count; d++)
            TRY(make_generated(making, task, length, i, (int)depths->values[d]));
    }
    return STATUS_OK;
}

static enum status make_all(struct making *making)
{
    const struct eval_settings *settings = making->settings;
    if (settings->file)
        making->all = settings->samples * (int64_t)settings->lengths.count;
    for (size_t t = 0; t < settings->task_count; t++)
        making->all += settings->samples * (int64_t)settings->lengths.count *
                       (settings->tasks[t]->deep ? (int64_t)settings->depths.count : 1);
    for (size_t t = 0; t < settings->task_count; t++)
        for (size_t l = 0; l < settings->lengths.count; l++)
            TRY(make_task(making, settings->tasks[t], settings->lengths.values[l]));
    for (size_t l = 0; settings->file && l < settings->lengths.count; l++)
        TRY(make_file(making, settings->lengths.values[l]));
    return STATUS_OK;
}

static enum status make_files(struct making *making, const char *cases, const char *lines)
{
    TRY(eval_files_begin(&making->cases, cases));
    enum status status = eval_files_begin(&making->lines, lines);
    if (status == STATUS_OK)
        status = eval_files_end(making->lines, lines, make_all(making));
    status = eval_files_end(making->cases, cases, status);
    console_clear();
    return status;
}

enum status eval_cases_make(const struct eval_settings *settings, const char *folder,
                            const char *model_path, const char *chat_template)
{
    char cases[PATH_MAX], lines[PATH_MAX];
    struct making making = {.settings = settings};
    TRY(eval_files_path(cases, folder, EVAL_CASES_FILE));
    TRY(eval_files_path(lines, folder, EVAL_LINES_FILE));
    if (access(cases, F_OK) == 0 && access(lines, F_OK) == 0)
        return STATUS_OK;
    enum status status =
        eval_counter_open(&making.counter, model_path, settings->chat, chat_template);
    if (status == STATUS_OK)
        status = make_files(&making, cases, lines);
    eval_counter_close(&making.counter);
    return status;
}
