/* What an evaluation is of, as `longhaul eval` is told: tasks, methods, lengths, depths,
 * samples. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator/cli/method_list.h"
#include "coordinator/cli/number_list.h"
#include "coordinator/eval/eval_task.h"
#include "proto/model/digest.h"
#include "proto/status.h"

enum {
    EVAL_SETTINGS_TASKS_MAX = 16,
    EVAL_SETTINGS_NAME_BYTES = 128,
    EVAL_SETTINGS_SAMPLES_MOST = 10000,
    EVAL_SETTINGS_LENGTH_MOST = 1 << 24,
};

struct eval_settings {
    /* As given; NULL: not given. The methods always are. */
    const char *tasks_text, *methods_text, *lengths_text, *depths_text;
    const char *text_path, *words_path, *file_path, *metric_text, *template_text;
    int64_t samples, seed, answer_tokens, stride;
    bool chat;
    const char *chat_template;   /* as --chat-template names it */
    const char *cache, *kernels; /* of workers that are started for it; NULL: of a server's */

    /* What follows. */
    const struct eval_task *tasks[EVAL_SETTINGS_TASKS_MAX]; /* that are generated */
    size_t task_count;
    bool perplexity, file;   /* are among the tasks */
    enum eval_metric metric; /* of the file's records */
    struct method_list methods;
    struct number_list lengths, depths;
    struct eval_material material;
    char model_name[EVAL_SETTINGS_NAME_BYTES]; /* its file's, without folders */
    char model_hex[DIGEST_HEX_BYTES], text_hex[DIGEST_HEX_BYTES], words_hex[DIGEST_HEX_BYTES],
        file_hex[DIGEST_HEX_BYTES];      /* "": not given */
    char template_hex[DIGEST_HEX_BYTES]; /* "auto": the model's, or no chat */
};

/* INVALID_ARGUMENT, by the option's name, for what is missing, unknown or out of range: before any
 * file is opened. */
MUST_CHECK enum status eval_settings_read(struct eval_settings *settings);

/* The methods for a model trained on so many tokens, and the texts with their digests. */
MUST_CHECK enum status eval_settings_open(struct eval_settings *settings, const char *model_path);

void eval_settings_deinit(struct eval_settings *settings);

/* Makes `folder` and notes in its evaluation.json what it is of. INVALID_ARGUMENT, by the first key
 * that differs, where it is of something else. */
MUST_CHECK enum status eval_settings_keep(const struct eval_settings *settings, const char *folder);
