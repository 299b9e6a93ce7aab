/* A prompt of a given length in tokens: as many units as fit. */
#pragma once

#include "coordinator/eval/eval_task.h"

/* How many tokens a text becomes, as the model that answers will count it. */
typedef enum status eval_fit_count(void *context, int64_t *tokens, const char *text, size_t bytes);

struct eval_fit_args {
    const struct eval_case *of;
    int64_t answer_tokens; /* that stay free */
    eval_fit_count *count;
    void *context;
};

/* The prompt with the most units for which its tokens and the answer's are at most the case's
 * length, by bisection with guesses by proportion: more units are taken to have at least as many
 * tokens. OUT_OF_RANGE where not even the least fits, or where there are no more units to be had.
 * The caller frees the prompt with eval_prompt_deinit, also after a failure. */
MUST_CHECK enum status eval_fit(struct eval_prompt *prompt, int64_t *tokens,
                                const struct eval_fit_args *args);
