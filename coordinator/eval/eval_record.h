/* A line of a file of questions, as LongBench, LongBench v2 and RULER write them, and the prompt
 * that it becomes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator/eval/eval_fit.h"
#include "coordinator/eval/eval_prompt.h"
#include "proto/status.h"

enum { EVAL_RECORD_NAME_BYTES = 40, EVAL_RECORD_BYTES_MAX = 64 << 20 };

struct json_t;

/* Views into `root` but for `input`. */
struct eval_record {
    struct json_t *root;
    char name[EVAL_RECORD_NAME_BYTES]; /* of its data set; "file" where it has none */
    const char *context;               /* "": none */
    char *input;                       /* owned; with a choice's four letters below it */
    const char *prefix;                /* that an answer begins with */
    const char *answers[EVAL_ANSWERS_MAX];
    size_t answer_count;
};

/* A JSON object with input (or question) and answers (or outputs, or answer); context, dataset,
 * answer_prefix, choice_A to choice_D where it has them. INVALID_ARGUMENT, with the field, for what
 * is missing or of another type; OUT_OF_RANGE for more or longer answers than eval_prompt.h holds.
 * The caller calls eval_record_deinit after a success. */
MUST_CHECK enum status eval_record_parse(struct eval_record *record, const char *text,
                                         size_t bytes);
void eval_record_deinit(struct eval_record *record);

struct eval_record_args {
    const struct eval_record *record;
    const char *form; /* {context} and {input} are put in, each once; NULL: with an empty line */
    int64_t tokens;   /* that the prompt may have */
    eval_fit_count *count;
    void *counting;
};

/* The whole prompt where it fits; else without the middle of its context, as much of both ends
 * as fits. OUT_OF_RANGE where it does not fit without its context. The caller calls
 * eval_prompt_deinit, also after a failure; `prompt` is {0} before. */
MUST_CHECK enum status eval_record_fit(struct eval_prompt *prompt, int64_t *tokens,
                                       const struct eval_record_args *args);
