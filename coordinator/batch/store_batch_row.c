/* Owns the row of a batch: every column has its field here. */
#include "coordinator/batch/store_batch_row.h"

#include <stdlib.h>
#include <string.h>

#include "coordinator/batch/store_parts.h"

void store_batch_clear(struct store_batch *batch)
{
    free(batch->metadata);
    free(batch->error);
    batch->metadata = NULL;
    batch->error = NULL;
    batch->metadata_bytes = 0;
}

static enum status no_memory(void)
{
    return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a batch");
}

static void read_numbers(struct store_batch_row *row, sqlite3_stmt *rows)
{
    struct store_batch *batch = &row->batch;
    batch->number = sqlite3_column_int64(rows, 0);
    row->tenant = sqlite3_column_int64(rows, 1);
    batch->order = sqlite3_column_int(rows, 5);
    batch->priority = sqlite3_column_int(rows, 6);
    batch->state = (enum store_batch_state)sqlite3_column_int(rows, 7);
    batch->expiring = sqlite3_column_int(rows, 8) != 0;
    row->sweep = (enum store_sweep_kind)sqlite3_column_int(rows, 9);
    batch->counts = (struct store_counts){
        .total = sqlite3_column_int64(rows, 10),
        .completed = sqlite3_column_int64(rows, 11),
        .failed = sqlite3_column_int64(rows, 12),
        .cancelled = sqlite3_column_int64(rows, 13),
        .expired = sqlite3_column_int64(rows, 14),
        .running = sqlite3_column_int64(rows, 15),
    };
    batch->usage = (struct store_usage){
        .prompt_tokens = sqlite3_column_int64(rows, 16),
        .cached_tokens = sqlite3_column_int64(rows, 17),
        .prefilled_tokens = sqlite3_column_int64(rows, 18),
        .completion_tokens = sqlite3_column_int64(rows, 19),
    };
    batch->committed_bytes = sqlite3_column_int64(rows, 20);
    row->stored_bytes = sqlite3_column_int64(rows, 21);
    row->chunks = sqlite3_column_int64(rows, 22);
    row->results = sqlite3_column_int64(rows, 23);
    batch->retention_seconds = sqlite3_column_int64(rows, 24);
    batch->created_us = sqlite3_column_int64(rows, 25);
    batch->started_us = sqlite3_column_int64(rows, 26);
    batch->ended_us = sqlite3_column_int64(rows, 27);
    batch->expires_us = sqlite3_column_int64(rows, 28);
    row->due_us = sqlite3_column_int64(rows, 29);
}

enum status store_batch_row_read(struct store_batch_row *row, sqlite3_stmt *rows)
{
    struct store_batch *batch = &row->batch;
    *row = (struct store_batch_row){0};
    read_numbers(row, rows);
    store_link_copy_text(batch->id, sizeof batch->id, rows, 2);
    store_link_copy_text(batch->endpoint, sizeof batch->endpoint, rows, 3);
    store_link_copy_text(batch->retry_of, sizeof batch->retry_of, rows, 4);
    const void *metadata = sqlite3_column_blob(rows, 30);
    const size_t bytes = (size_t)sqlite3_column_bytes(rows, 30);
    if (bytes > 0) {
        batch->metadata = malloc(bytes);
        if (!batch->metadata)
            return no_memory();
        memcpy(batch->metadata, metadata, bytes);
        batch->metadata_bytes = bytes;
    }
    const char *error = (const char *)sqlite3_column_text(rows, 31);
    if (error && !(batch->error = strdup(error))) {
        store_batch_clear(batch);
        return no_memory();
    }
    return STATUS_OK;
}

/* The one row of a statement. */
static enum status read_one(struct store_link *link, struct store_batch_row *row,
                            sqlite3_stmt *rows, const char *name)
{
    bool found;
    TRY(store_link_step(link, rows, &found));
    if (!found)
        return fail(STATUS_NOT_FOUND, "batches/%s is not there", name);
    const enum status status = store_batch_row_read(row, rows);
    sqlite3_reset(rows);
    return status;
}

enum status store_batch_row_load(struct store_link *link, struct store_batch_row *row,
                                 int64_t tenant, int64_t number)
{
    sqlite3_stmt *rows;
    TRY(store_link_ask(link, &rows,
                       "SELECT" STORE_BATCH_COLUMNS "FROM batches"
                       " WHERE number = ?1 AND (?2 = 0 OR tenant = ?2) AND sweep < 4",
                       store_int(number), store_int(tenant)));
    return read_one(link, row, rows, "(by number)");
}

enum status store_batch_row_find(struct store_link *link, struct store_batch_row *row,
                                 int64_t tenant, const char *id)
{
    sqlite3_stmt *rows;
    TRY(store_link_ask(link, &rows,
                       "SELECT" STORE_BATCH_COLUMNS "FROM batches"
                       " WHERE tenant = ? AND id = ? AND sweep < 4",
                       store_int(tenant), store_text(id)));
    return read_one(link, row, rows, id);
}

static void touch(struct store_turn *turn, const struct store_batch_row *row)
{
    turn->touched_batches |= UINT64_C(1) << (row->batch.number % STORE_WAITS);
}

enum status store_batch_row_insert(struct store_turn *turn, const struct store_batch_row *row)
{
    const struct store_batch *batch = &row->batch;
    touch(turn, row);
    return store_link_do(
        turn->link,
        "INSERT INTO batches(" STORE_BATCH_COLUMNS ") VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?,"
        " ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        store_int(batch->number), store_int(row->tenant), store_text(batch->id),
        store_text(batch->endpoint), store_text(batch->retry_of), store_int(batch->order),
        store_int(batch->priority), store_int(batch->state), store_int(batch->expiring),
        store_int(row->sweep), store_int(batch->counts.total), store_int(batch->counts.completed),
        store_int(batch->counts.failed), store_int(batch->counts.cancelled),
        store_int(batch->counts.expired), store_int(batch->counts.running),
        store_int(batch->usage.prompt_tokens), store_int(batch->usage.cached_tokens),
        store_int(batch->usage.prefilled_tokens), store_int(batch->usage.completion_tokens),
        store_int(batch->committed_bytes), store_int(row->stored_bytes), store_int(row->chunks),
        store_int(row->results), store_int(batch->retention_seconds), store_int(batch->created_us),
        store_int(batch->started_us), store_int(batch->ended_us), store_int(batch->expires_us),
        store_int(row->due_us), store_blob(batch->metadata, batch->metadata_bytes),
        store_text(batch->error));
}

enum status store_batch_row_update(struct store_turn *turn, const struct store_batch_row *row)
{
    const struct store_batch *batch = &row->batch;
    touch(turn, row);
    return store_link_do(
        turn->link,
        "UPDATE batches SET endpoint = ?, state = ?, expiring = ?, sweep = ?, total = ?,"
        " completed = ?, failed = ?, cancelled = ?, expired = ?, running = ?, prompt_tokens = ?,"
        " cached_tokens = ?, prefilled_tokens = ?, completion_tokens = ?, committed_bytes = ?,"
        " stored_bytes = ?, chunks = ?, results = ?, started_us = ?, ended_us = ?, due_us = ?,"
        " error = ? WHERE number = ?",
        store_text(batch->endpoint), store_int(batch->state), store_int(batch->expiring),
        store_int(row->sweep), store_int(batch->counts.total), store_int(batch->counts.completed),
        store_int(batch->counts.failed), store_int(batch->counts.cancelled),
        store_int(batch->counts.expired), store_int(batch->counts.running),
        store_int(batch->usage.prompt_tokens), store_int(batch->usage.cached_tokens),
        store_int(batch->usage.prefilled_tokens), store_int(batch->usage.completion_tokens),
        store_int(batch->committed_bytes), store_int(row->stored_bytes), store_int(row->chunks),
        store_int(row->results), store_int(batch->started_us), store_int(batch->ended_us),
        store_int(row->due_us), store_text(batch->error), store_int(batch->number));
}

bool store_batch_row_has_ended(const struct store_batch *batch)
{
    switch (batch->state) {
    case STORE_BATCH_SUCCEEDED:
    case STORE_BATCH_FAILED:
    case STORE_BATCH_EXPIRED:
    case STORE_BATCH_CANCELLED:
        return true;
    default:
        return false;
    }
}

enum status store_batch_row_end(struct store_turn *turn, struct store_batch_row *row,
                                enum store_batch_state state)
{
    row->batch.state = state;
    row->batch.ended_us = turn->now_us;
    row->due_us = turn->now_us + row->batch.retention_seconds * 1000000;
    /* Its documents may go from now on. */
    return store_link_do(turn->link, "DELETE FROM batch_documents WHERE batch = ?",
                         store_int(row->batch.number));
}

enum status store_batch_row_settle(struct store_turn *turn, struct store_batch_row *row)
{
    const struct store_batch *batch = &row->batch;
    const struct store_counts *counts = &batch->counts;
    const int64_t ended = counts->completed + counts->failed + counts->cancelled + counts->expired;
    if (ended < counts->total || store_batch_row_has_ended(batch))
        return STATUS_OK;
    if (batch->state == STORE_BATCH_CANCELLING)
        return store_batch_row_end(turn, row, STORE_BATCH_CANCELLED);
    if (batch->expiring || counts->expired > 0) /* lines may see the time before the batch does */
        return store_batch_row_end(turn, row, STORE_BATCH_EXPIRED);
    if (batch->state == STORE_BATCH_QUEUED || batch->state == STORE_BATCH_RUNNING)
        return store_batch_row_end(turn, row, STORE_BATCH_SUCCEEDED);
    return STATUS_OK;
}
