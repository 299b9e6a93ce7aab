/* What an analysis found: files of all tokens and types, and the first of them for people. */
#pragma once

#include "proto/status.h"
#include "proto/train/train_config.h"

/* Writes FOLDER/analyze/tokens.jsonl, a line a token that occurs, those that gain most often first,
 * and shows the first of them:
 *
 *   {"id": 15, "text": "7", "occurrences": 40, "in_top": 31, "difference": 52.1, "impactful": true}
 *
 * Where a tagger's output is given, FOLDER/analyze/types.jsonl likewise, a line a type; "" of
 * tokens without one. */
MUST_CHECK enum status impact_report_write(const struct train_config *config);
