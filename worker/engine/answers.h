/* A step of answers: each one's next token, those drafted behind it, and what rank 0 makes of their
 * logits. */
#pragma once

#include <stdbool.h>

#include "proto/status.h"
#include "worker/engine/forward.h"
#include "worker/engine/logprobs.h"
#include "worker/engine/verdict.h"

/* Passes the parts, whose drafted ids stand behind their sequences' own. On rank 0 `verdicts` and
 * `logprobs` [rows of all parts] are filled in: of each part for its first row, and for the one
 * behind each row whose token came as it was drafted. */
MUST_CHECK enum status answers_step(struct forward *forward, const struct forward_part *parts,
                                    int count, struct verdict *verdicts, struct logprobs *logprobs);

/* Whether the verdict is the token that was drafted number `ahead` of so many: unless it stops, the
 * row behind it was right to follow. */
bool answers_came_true(const struct verdict *verdict, const int32_t *drafts, int64_t drafted,
                       int64_t ahead);
