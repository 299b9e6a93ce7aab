/* What an analysis found: a file of all tokens, and the first of them for people. */
#pragma once

#include "proto/status.h"
#include "proto/train/train_config.h"

/* Writes FOLDER/analyze/tokens.jsonl, a line a token that occurs, those that gain most often first,
 * and shows the first of them:
 *
 *   {"id": 15, "text": "7", "occurrences": 40, "in_top": 31, "difference": 52.1, "impactful": true}
 */
MUST_CHECK enum status impact_report_write(const struct train_config *config);
