/* What tune measures by: texts in which one number lies, with the answer behind the question, so
 * that one call tells both losses. */
#pragma once

#include "coordinator/cli/eval_counter.h"
#include "coordinator/cli/tune_search.h"
#include "coordinator/eval/eval_material.h"

struct tune_samples {
    struct eval_material material;
    struct eval_counter counter;
    int64_t length;
    char *texts[TUNE_ROUNDS_MAX];           /* owned; NULL: not made yet */
    int64_t prompt_tokens[TUNE_ROUNDS_MAX]; /* before the answer */
    int64_t tokens[TUNE_ROUNDS_MAX];
};

/* The caller calls tune_samples_close, also after a failure. */
MUST_CHECK enum status tune_samples_open(struct tune_samples *samples, const char *model_path,
                                         const char *text_path, int64_t length);
void tune_samples_close(struct tune_samples *samples);

/* Makes the text of a round: a niah_1 prompt of docs/evaluation.md, seed 1, sample `round`. */
MUST_CHECK enum status tune_samples_make(struct tune_samples *samples, size_t round);

/* What the log-probabilities [tokens - 1] of a round's text say. INTERNAL where they are not as
 * many. */
MUST_CHECK enum status tune_samples_judge(const struct tune_samples *samples,
                                          struct tune_loss *loss, size_t round,
                                          const float *logprobs, size_t count);
