/* A line's row as the store's own files see it. */
#pragma once

#include "coordinator/batch/store_batch_row.h"
#include "coordinator/batch/store_line.h"
#include "coordinator/batch/store_tenants.h"

/* Its numbers. */
struct store_line_row {
    int64_t key, tenant, batch;
    enum store_line_state state;
    int64_t queued_tokens, start, bytes;
    uint64_t digest;
    int64_t document; /* 0: none */
    int64_t attempt, epoch, lease_us;
    int64_t result; /* 0: none yet */
};

/* Adds lines to a batch, numbered on from its total, and counts them in `row` and for the tenant;
 * the row is to be updated or inserted. Runs in a part of a change (store_writer_begin_part). */
MUST_CHECK enum status store_line_row_insert(struct store_turn *turn, struct store_batch_row *row,
                                             const struct store_new_line *lines, size_t count,
                                             const struct store_limits *limits);

/* NOT_FOUND: it is not there, or is another tenant's. */
MUST_CHECK enum status store_line_row_load(struct store_link *link, struct store_line_row *line,
                                           int64_t tenant, int64_t batch, int64_t number);

/* Its text, freed by the caller, with a zero byte behind it. DATA_LOSS, without the line's name,
 * where row or text is damaged. */
MUST_CHECK enum status store_line_row_text(struct store *store, struct store_link *link,
                                           const struct store_batch_row *row,
                                           const struct store_line_row *line, char **text);

/* Gives a line its one result; `row` is to be updated. */
MUST_CHECK enum status store_line_row_finish(struct store_turn *turn, struct store_batch_row *row,
                                             int64_t key, enum store_line_state state,
                                             int status_code, const void *body, size_t bytes);

/* A running line waits again: takes its lease back, counts in `row`, which is to be updated, and
 * for the tenant. */
MUST_CHECK enum status store_line_row_release(struct store_turn *turn, struct store_batch_row *row,
                                              const struct store_line_row *line,
                                              enum store_give_back how, const char *cause);

/* Counts a line that ends in `state`. */
void store_line_row_count(struct store_counts *counts, enum store_line_state state, int64_t lines);
