/* Results as they lie in their table. */
#pragma once

#include "coordinator/batch/store_line.h"

struct store_turn;

/* A digest over a result's facts. */
uint64_t store_result_seal(int64_t key, int64_t line, enum store_line_state state, int status_code,
                           int64_t bytes, uint64_t digest);

/* Forgets up to `most` results of batch `number`. */
MUST_CHECK enum status store_result_forget(struct store_turn *turn, int64_t number, int64_t most,
                                           bool *more);
