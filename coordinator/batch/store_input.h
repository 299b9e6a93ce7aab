/* A batch's input: its bytes, in chunks as they came. */
#pragma once

#include "coordinator/batch/store_batch_row.h"

/* Adds a chunk behind what is there; the row is to be updated. */
MUST_CHECK enum status store_input_add(struct store_turn *turn, struct store_batch_row *row,
                                       const void *input, size_t bytes);

/* `bytes` from `offset` on, in one piece. Chunks that are read whole are held against their digest
 * where `checked`; a caller that has a digest of its own needs no other. OUT_OF_RANGE beyond the
 * end, DATA_LOSS for what is damaged. */
MUST_CHECK enum status store_input_read(struct store *store, struct store_link *link,
                                        const struct store_batch_row *row, void *to, size_t bytes,
                                        int64_t offset, bool checked);

/* Forgets up to `most` chunks of batch `number`. */
MUST_CHECK enum status store_input_forget(struct store_turn *turn, int64_t number, int64_t most,
                                          bool *more);
