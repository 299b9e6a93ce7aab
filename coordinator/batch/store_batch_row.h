/* A batch's row as the store's own files see it. */
#pragma once

#include "coordinator/batch/store_batch.h"
#include "coordinator/batch/store_link.h"

struct store_turn;

/* What the store has still to do, a part at a time (store_sweep.h). */
enum store_sweep_kind {
    STORE_SWEEP_NONE,
    STORE_SWEEP_CANCEL, /* waiting lines end as cancelled */
    STORE_SWEEP_EXPIRE, /* ... as expired */
    STORE_SWEEP_FORGET, /* lines and input go, the batch stays: it FAILED */
    STORE_SWEEP_DELETE  /* all goes; nobody sees it any more */
};

struct store_batch_row {
    struct store_batch batch;
    int64_t tenant;
    enum store_sweep_kind sweep;
    int64_t stored_bytes, chunks;
    int64_t results; /* given out so far: the next one's number is one more */
    int64_t due_us;
};

/* The columns of store_batch_row_read, for a SELECT FROM batches. */
#define STORE_BATCH_COLUMNS                                                                        \
    " number, tenant, id, endpoint, retry_of, result_order, priority, state, expiring, sweep,"     \
    " total, completed, failed, cancelled, expired, running, prompt_tokens, cached_tokens,"        \
    " prefilled_tokens, completion_tokens, committed_bytes, stored_bytes, chunks, results,"        \
    " retention_seconds, created_us, started_us, ended_us, expires_us, due_us, metadata, error "

/* From a row with the columns above; to be cleared by store_batch_clear(&row->batch). */
MUST_CHECK enum status store_batch_row_read(struct store_batch_row *row, sqlite3_stmt *rows);

/* By number. NOT_FOUND: it is not there, is another tenant's (0: any) or is being deleted. */
MUST_CHECK enum status store_batch_row_load(struct store_link *link, struct store_batch_row *row,
                                            int64_t tenant, int64_t number);

/* By id; as above. */
MUST_CHECK enum status store_batch_row_find(struct store_link *link, struct store_batch_row *row,
                                            int64_t tenant, const char *id);

MUST_CHECK enum status store_batch_row_insert(struct store_turn *turn,
                                              const struct store_batch_row *row);

/* Writes what can change, and tells those who wait for it. */
MUST_CHECK enum status store_batch_row_update(struct store_turn *turn,
                                              const struct store_batch_row *row);

bool store_batch_row_has_ended(const struct store_batch *batch);

/* Ends the batch in `state`. */
MUST_CHECK enum status store_batch_row_end(struct store_turn *turn, struct store_batch_row *row,
                                           enum store_batch_state state);

/* Ends the batch where all of its lines have ended. To be updated afterwards. */
MUST_CHECK enum status store_batch_row_settle(struct store_turn *turn, struct store_batch_row *row);
