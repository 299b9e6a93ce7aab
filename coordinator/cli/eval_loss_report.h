/* What is told of losses.jsonl: perplexity by length, loss by position. */
#pragma once

#include "coordinator/cli/eval_report.h"

/* Table or JSON lines on standard output, and loss-LENGTH.svg in the folder. */
MUST_CHECK enum status eval_loss_report(const struct eval_report_args *args);
