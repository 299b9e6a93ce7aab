/* The prompts of an evaluation, as files in its folder: cases.jsonl says what each is and what it
 * expects, lines.jsonl asks for each by each method. */
#pragma once

#include "coordinator/cli/eval_settings.h"

#define EVAL_CASES_FILE "cases.jsonl"
#define EVAL_LINES_FILE "lines.jsonl"

/* Writes both, unless they are there. A line's custom_id is METHOD/CASE, numbers from 0. CANCELLED
 * after an interrupt. */
MUST_CHECK enum status eval_cases_make(const struct eval_settings *settings, const char *folder,
                                       const char *model_path, const char *chat_template);
