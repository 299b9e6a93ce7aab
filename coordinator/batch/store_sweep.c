/* Owns what ends and goes by itself. Promises that a part is small, so that no change waits long
 * for it, and that what is begun is gone on with after a restart. */
#include "coordinator/batch/store_sweep.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/batch/store_batch_row.h"
#include "coordinator/batch/store_input.h"
#include "coordinator/batch/store_line_row.h"
#include "coordinator/batch/store_parts.h"
#include "coordinator/batch/store_request.h"
#include "coordinator/batch/store_result.h"
#include "coordinator/batch/store_schema.h"

enum { PART = 1000 };
#define CLOCK_KEPT_US (INT64_C(10) * 1000000)

/* ---- leases ---- */

static enum status release_one(struct store_turn *turn, int64_t key, bool at_start)
{
    struct store_batch_row row;
    struct store_line_row line;
    const int64_t batch = key >> STORE_KEY_BITS;
    TRY(store_line_row_load(turn->link, &line, 0, batch, key - store_key(batch, 0)));
    TRY(store_batch_row_load(turn->link, &row, 0, batch));
    enum status status = store_line_row_release(
        turn, &row, &line, at_start ? STORE_GIVE_BACK_UNTRIED : STORE_GIVE_BACK_LOST,
        at_start ? NULL : "its lease ran out");
    if (status == STATUS_OK)
        status = store_batch_row_update(turn, &row);
    store_batch_clear(&row.batch);
    return status;
}

enum status store_sweep_leases(struct store_turn *turn, int64_t until_us)
{
    for (;;) {
        int64_t key;
        bool found;
        TRY(store_link_number(turn->link, &key, &found,
                              "SELECT key FROM lines WHERE state = 2 AND lease_us <= ? LIMIT 1",
                              store_int(until_us)));
        if (!found)
            return STATUS_OK;
        TRY(release_one(turn, key, until_us == INT64_MAX));
        atomic_fetch_add(&turn->store->leases_expired, 1);
    }
}

/* ---- batches whose time has come ---- */

/* A batch that has not ended expires; one that has goes. */
static enum status come_due(struct store_turn *turn, struct store_batch_row *row)
{
    struct store_batch *batch = &row->batch;
    row->due_us = INT64_MAX;
    if (store_batch_row_has_ended(batch)) {
        row->sweep = STORE_SWEEP_DELETE;
        return STATUS_OK;
    }
    if (batch->state == STORE_BATCH_CANCELLING)
        return STATUS_OK;
    batch->expiring = true;
    row->sweep = STORE_SWEEP_EXPIRE;
    return store_batch_row_settle(turn, row);
}

static enum status sweep_due(struct store_turn *turn, bool *more)
{
    for (int i = 0; i < PART; i++) {
        struct store_batch_row row;
        int64_t number;
        TRY(store_link_number(turn->link, &number, more,
                              "SELECT number FROM batches WHERE due_us <= ? LIMIT 1",
                              store_int(turn->now_us)));
        if (!*more)
            return STATUS_OK;
        TRY(store_batch_row_load(turn->link, &row, 0, number));
        enum status status = come_due(turn, &row);
        if (status == STATUS_OK)
            status = store_batch_row_update(turn, &row);
        store_batch_clear(&row.batch);
        TRY(status);
    }
    return STATUS_OK;
}

/* ---- batches with something to be done ---- */

/* Ends a part of the lines that wait. */
static enum status end_waiting(struct store_turn *turn, struct store_batch_row *row)
{
    const enum store_line_state state =
        row->sweep == STORE_SWEEP_CANCEL ? STORE_LINE_CANCELLED : STORE_LINE_EXPIRED;
    struct store_tenant_growth growth = {0};
    for (int i = 0; i < PART; i++) {
        sqlite3_stmt *rows;
        bool found;
        TRY(store_link_ask(turn->link, &rows,
                           "SELECT key, prompt_tokens FROM lines WHERE state = 1 AND tenant = ?"
                           " AND -priority = ? AND batch = ? LIMIT 1",
                           store_int(row->tenant), store_int(-(int64_t)row->batch.priority),
                           store_int(row->batch.number)));
        TRY(store_link_step(turn->link, rows, &found));
        if (!found) {
            row->sweep = STORE_SWEEP_NONE;
            break;
        }
        const int64_t key = sqlite3_column_int64(rows, 0);
        growth.queued_lines--;
        growth.queued_tokens -= sqlite3_column_int64(rows, 1);
        sqlite3_reset(rows);
        TRY(store_link_do(turn->link, "UPDATE lines SET state = ? WHERE key = ?", store_int(state),
                          store_int(key)));
        store_line_row_count(&row->batch.counts, state, 1);
    }
    store_tenants_grow(&turn->store->tenants, store_tenants_at(&turn->store->tenants, row->tenant),
                       &growth);
    return row->sweep == STORE_SWEEP_NONE ? store_batch_row_settle(turn, row) : STATUS_OK;
}

/* Forgets a part of the batch's lines; waiting ones are counted out of what the tenant has. */
static enum status forget_lines(struct store_turn *turn, const struct store_batch_row *row,
                                bool *more)
{
    struct store_tenant_growth growth = {0};
    *more = true;
    for (int i = 0; i < PART && *more; i++) {
        sqlite3_stmt *rows;
        TRY(store_link_ask(turn->link, &rows,
                           "SELECT key, prompt_tokens, state FROM lines WHERE key BETWEEN ? AND ?"
                           " LIMIT 1",
                           store_int(store_key(row->batch.number, 0)),
                           store_int(store_key_end(row->batch.number))));
        TRY(store_link_step(turn->link, rows, more));
        if (!*more)
            break;
        const int64_t key = sqlite3_column_int64(rows, 0);
        if (sqlite3_column_int(rows, 2) == STORE_LINE_WAITING) {
            growth.queued_lines--;
            growth.queued_tokens -= sqlite3_column_int64(rows, 1);
        }
        sqlite3_reset(rows);
        TRY(store_link_do(turn->link, "DELETE FROM lines WHERE key = ?", store_int(key)));
    }
    store_tenants_grow(&turn->store->tenants, store_tenants_at(&turn->store->tenants, row->tenant),
                       &growth);
    return STATUS_OK;
}

/* Forgets a part of what a batch has; at last its counts, and itself where it is deleted. */
static enum status forget(struct store_turn *turn, struct store_batch_row *row)
{
    bool more;
    const int64_t number = row->batch.number;
    TRY(forget_lines(turn, row, &more));
    if (!more)
        TRY(store_result_forget(turn, number, PART, &more));
    if (!more)
        TRY(store_input_forget(turn, number, PART, &more));
    if (more)
        return STATUS_OK;
    const struct store_tenant_growth growth = {.stored_bytes = -row->stored_bytes};
    store_tenants_grow(&turn->store->tenants, store_tenants_at(&turn->store->tenants, row->tenant),
                       &growth);
    row->stored_bytes = 0;
    if (row->sweep == STORE_SWEEP_DELETE)
        return store_link_do(turn->link, "DELETE FROM batches WHERE number = ?", store_int(number));
    row->sweep = STORE_SWEEP_NONE;
    row->chunks = row->results = 0;
    row->batch.committed_bytes = 0;
    row->batch.counts = (struct store_counts){0};
    return STATUS_OK;
}

/* Any batch with work, those to be deleted too. */
static enum status load_swept(struct store_turn *turn, struct store_batch_row *row, bool *found)
{
    sqlite3_stmt *rows;
    TRY(store_link_ask_values(turn->link, &rows,
                              "SELECT" STORE_BATCH_COLUMNS "FROM batches WHERE sweep > 0 LIMIT 1",
                              NULL, 0));
    TRY(store_link_step(turn->link, rows, found));
    if (!*found)
        return STATUS_OK;
    const enum status status = store_batch_row_read(row, rows);
    sqlite3_reset(rows);
    return status;
}

static enum status sweep_batches(struct store_turn *turn, bool *more)
{
    struct store_batch_row row;
    TRY(load_swept(turn, &row, more));
    if (!*more)
        return STATUS_OK;
    enum status status = row.sweep == STORE_SWEEP_CANCEL || row.sweep == STORE_SWEEP_EXPIRE
                             ? end_waiting(turn, &row)
                             : forget(turn, &row);
    if (status == STATUS_OK)
        status = store_batch_row_update(turn, &row);
    store_batch_clear(&row.batch);
    return status;
}

/* ---- documents ---- */

static enum status forget_document(struct store_turn *turn, bool *more)
{
    sqlite3_stmt *rows;
    TRY(store_link_ask(turn->link, &rows,
                       "SELECT number, tenant, bytes, file FROM documents d WHERE expires_us <= ?"
                       " AND NOT EXISTS (SELECT 1 FROM batch_documents WHERE document = d.number)"
                       " LIMIT 1",
                       store_int(turn->now_us)));
    TRY(store_link_step(turn->link, rows, more));
    if (!*more)
        return STATUS_OK;
    char file[256], name[512];
    const int64_t number = sqlite3_column_int64(rows, 0);
    const int64_t tenant = sqlite3_column_int64(rows, 1);
    const struct store_tenant_growth growth = {.stored_bytes = -sqlite3_column_int64(rows, 2)};
    store_link_copy_text(file, sizeof file, rows, 3);
    sqlite3_reset(rows);
    TRY(store_link_do(turn->link, "DELETE FROM documents WHERE number = ?", store_int(number)));
    store_tenants_grow(&turn->store->tenants, store_tenants_at(&turn->store->tenants, tenant),
                       &growth);
    snprintf(name, sizeof name, "documents/%s", file);
    return store_turn_remove(turn, name);
}

/* ---- a part ---- */

/* Now and then, so that a clock that was set back does not go behind what was acknowledged. */
static enum status keep_clock(struct store_turn *turn)
{
    struct store *store = turn->store;
    if (turn->now_us < store->clock_kept_us + CLOCK_KEPT_US)
        return STATUS_OK;
    store->clock_kept_us = turn->now_us;
    return store_link_do(turn->link, "UPDATE meta SET value = ? WHERE name = 'last_us'",
                         store_int(turn->now_us));
}

enum status store_sweep_step(struct store_turn *turn, bool *more)
{
    bool due, batches, documents, requests;
    TRY(keep_clock(turn));
    TRY(store_sweep_leases(turn, turn->now_us));
    TRY(sweep_due(turn, &due));
    TRY(sweep_batches(turn, &batches));
    TRY(forget_document(turn, &documents));
    TRY(store_request_forget(turn, PART, &requests));
    *more = due || batches || documents || requests;
    return STATUS_OK;
}

/* ---- files ---- */

/* Removes the files of FOLDER/NAME that no row names where `check_rows`, else all. */
static enum status clear_folder(struct store *store, const char *name, bool check_rows)
{
    char path[PATH_MAX];
    store_place_path(&store->place, path, name);
    DIR *folder = opendir(path);
    if (!folder)
        return fail(STATUS_IO, "open the folder %s: %s", path, strerror(errno));
    enum status status = STATUS_OK;
    for (struct dirent *entry; status == STATUS_OK && (entry = readdir(folder));) {
        char file[2 * PATH_MAX];
        bool named = false;
        int64_t number;
        if (entry->d_name[0] == '.' || strcmp(entry->d_name, "new") == 0)
            continue;
        if (check_rows)
            status = store_link_number(&store->link, &number, &named,
                                       "SELECT number FROM documents WHERE file = ?",
                                       store_text(entry->d_name));
        if (named || status != STATUS_OK)
            continue;
        snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
        const int removed = store->place.files->remove(file);
        if (removed < 0)
            status = store_file_fail(removed, "remove", file);
    }
    closedir(folder);
    return status;
}

enum status store_sweep_files(struct store *store, bool unclean)
{
    TRY(clear_folder(store, "documents/new", false));
    return unclean ? clear_folder(store, "documents", true) : STATUS_OK;
}
