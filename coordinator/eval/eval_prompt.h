/* One prompt of an evaluation, with what a right answer holds. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "proto/status.h"

enum { EVAL_ANSWERS_MAX = 32, EVAL_ANSWER_BYTES = 512, EVAL_PART_BYTES = 64 };

struct eval_prompt {
    FILE *file;   /* what is written becomes the text; NULL once it is finished */
    char *text;   /* owned */
    size_t bytes; /* of the text */
    char answers[EVAL_ANSWERS_MAX][EVAL_ANSWER_BYTES];
    int depths[EVAL_ANSWERS_MAX]; /* percent of the text before the answer; -1: nobody placed it */
    size_t answer_count;
};

/* The caller calls eval_prompt_deinit, also after a failure. */
MUST_CHECK enum status eval_prompt_begin(struct eval_prompt *prompt);

/* One more answer; it fits by EVAL_ANSWERS_MAX and EVAL_ANSWER_BYTES. */
__attribute__((format(printf, 3, 4))) void eval_prompt_answer(struct eval_prompt *prompt, int depth,
                                                              const char *format, ...);

/* RESOURCE_EXHAUSTED where the text did not fit into memory. */
MUST_CHECK enum status eval_prompt_finish(struct eval_prompt *prompt);

void eval_prompt_deinit(struct eval_prompt *prompt);
