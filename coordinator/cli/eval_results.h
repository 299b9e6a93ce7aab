/* results.jsonl: what was answered to each case by each method, and how well. */
#pragma once

#include "coordinator/cli/eval_settings.h"

#define EVAL_ANSWERS_FILE "answers.jsonl"
#define EVAL_RESULTS_FILE "results.jsonl"

/* Of cases.jsonl and answers.jsonl, method by method, in the cases' order. FAILED_PRECONDITION
 * where a prompt was counted as other than the model file makes it; DATA_LOSS for a file that
 * another hand has changed. */
MUST_CHECK enum status eval_results_make(const struct eval_settings *settings, const char *folder);
