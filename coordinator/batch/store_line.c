/* Owns the calls about lines: who has which, and their results. Promises that a line is held by one
 * lease at a time and gets one result. */
#include "coordinator/batch/store_line.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "coordinator/batch/store_batch_row.h"
#include "coordinator/batch/store_line_row.h"
#include "coordinator/batch/store_parts.h"
#include "coordinator/batch/store_schema.h"

uint64_t store_line_digest(const void *text, size_t bytes)
{
    return XXH3_64bits(text, bytes);
}

/* ---- walks ---- */

#define LINE_COLUMNS                                                                               \
    " l.key, l.batch, b.id, l.custom_id, d.id, l.state, l.priority, l.prompt_tokens, l.order_key," \
    " l.attempt, l.epoch, l.losses, l.cause, l.start, l.bytes, b.expires_us, b.state,"             \
    " b.expiring "
#define LINE_TABLES                                                                                \
    " lines l JOIN batches b ON b.number = l.batch"                                                \
    " LEFT JOIN documents d ON d.number = l.document "

static const char *text_of(sqlite3_stmt *rows, int column)
{
    const char *text = (const char *)sqlite3_column_text(rows, column);
    return text ? text : "";
}

static void fill_line(struct store_line *line, sqlite3_stmt *rows)
{
    const int64_t batch = sqlite3_column_int64(rows, 1);
    *line = (struct store_line){
        .batch = batch,
        .line = sqlite3_column_int64(rows, 0) - store_key(batch, 0),
        .batch_id = text_of(rows, 2),
        .custom_id = text_of(rows, 3),
        .document = text_of(rows, 4),
        .state = (enum store_line_state)sqlite3_column_int(rows, 5),
        .priority = sqlite3_column_int(rows, 6),
        .queued_tokens = sqlite3_column_int64(rows, 7),
        .order_key = sqlite3_column_blob(rows, 8),
        .order_key_bytes = (size_t)sqlite3_column_bytes(rows, 8),
        .attempt = sqlite3_column_int64(rows, 9),
        .epoch = sqlite3_column_int64(rows, 10),
        .losses = sqlite3_column_int64(rows, 11),
        .cause = text_of(rows, 12),
        .offset = sqlite3_column_int64(rows, 13),
        .bytes = sqlite3_column_int64(rows, 14),
        .expires_us = sqlite3_column_int64(rows, 15),
    };
}

static void note_place(struct store_line_place *place, const struct store_line *line)
{
    place->after = true;
    place->priority = line->priority;
    place->batch = line->batch;
    place->line = line->line;
    place->order_key_bytes = line->order_key_bytes < sizeof place->order_key
                                 ? line->order_key_bytes
                                 : sizeof place->order_key;
    if (place->order_key_bytes > 0)
        memcpy(place->order_key, line->order_key, place->order_key_bytes);
}

/* Whether lines of the batch in this row may run. */
static bool may_run(sqlite3_stmt *rows)
{
    const int state = sqlite3_column_int(rows, 16);
    return (state == STORE_BATCH_QUEUED || state == STORE_BATCH_RUNNING) &&
           !sqlite3_column_int(rows, 17);
}

/* Waiting lines from `place` on; the first comes from one of three ranges of the index, which are
 * asked in sequence: the rest of the same batch, later batches of the same priority, lower
 * priorities. */
static enum status ask_waiting(struct store_link *link, sqlite3_stmt **rows, int range,
                               int64_t tenant, const struct store_line_place *place)
{
    const struct store_value who = store_int(tenant);
    const struct store_value level = store_int(-(int64_t)place->priority);
    switch (range) {
    case 0:
        return store_link_ask(link, rows,
                              "SELECT" LINE_COLUMNS "FROM" LINE_TABLES
                              "WHERE l.state = 1 AND l.tenant = ? AND -l.priority = ?"
                              " AND l.batch = ? AND (l.order_key, l.key) > (?, ?)"
                              " ORDER BY l.order_key, l.key",
                              who, level, store_int(place->batch),
                              store_blob(place->order_key, place->order_key_bytes),
                              store_int(store_key(place->batch, place->line)));
    case 1:
        return store_link_ask(link, rows,
                              "SELECT" LINE_COLUMNS "FROM" LINE_TABLES
                              "WHERE l.state = 1 AND l.tenant = ? AND -l.priority = ?"
                              " AND l.batch > ? ORDER BY l.batch, l.order_key, l.key",
                              who, level, store_int(place->batch));
    default:
        return store_link_ask(
            link, rows,
            "SELECT" LINE_COLUMNS "FROM" LINE_TABLES "WHERE l.state = 1 AND l.tenant = ?"
            " AND -l.priority > ? ORDER BY -l.priority, l.batch, l.order_key, l.key",
            who, place->after ? level : store_int(INT32_MIN));
    }
}

struct next {
    struct store_link *link;
    int64_t tenant, left;
    store_line_take *take;
    void *context;
};

/* Tells lines of one range; `*skipped` where it met a batch whose lines may not run, and `place` is
 * behind that batch. */
static enum status walk_range(struct next *next, struct store_line_place *place, int range,
                              bool *skipped)
{
    sqlite3_stmt *rows;
    *skipped = false;
    TRY(ask_waiting(next->link, &rows, range, next->tenant, place));
    while (next->left > 0) {
        bool found;
        struct store_line line;
        TRY(store_link_step(next->link, rows, &found));
        if (!found)
            return STATUS_OK;
        fill_line(&line, rows);
        *skipped = !may_run(rows);
        note_place(place, &line);
        if (*skipped) {
            place->line = STORE_LINES_MAX;
            memset(place->order_key, 0xff, sizeof place->order_key);
            place->order_key_bytes = sizeof place->order_key;
            break;
        }
        next->left--;
        const enum status status = next->take(next->context, &line);
        if (status != STATUS_OK) {
            sqlite3_reset(rows);
            return status;
        }
    }
    sqlite3_reset(rows);
    return STATUS_OK;
}

enum status store_line_next(struct store *store, const char *tenant, struct store_line_place *place,
                            int64_t count, store_line_take *take, void *context)
{
    struct next next = {.left = count, .take = take, .context = context};
    TRY(store_readers_take(store->readers, &next.link));
    enum status status = store_tenants_number(next.link, &next.tenant, tenant);
    for (int range = place->after ? 0 : 2; status == STATUS_OK && next.left > 0 && range < 3;) {
        bool skipped;
        status = walk_range(&next, place, range, &skipped);
        range = skipped ? 1 : range + 1;
    }
    store_readers_give(store->readers, next.link);
    return status;
}

enum status store_line_list(struct store *store, const char *tenant, int64_t batch, unsigned states,
                            int64_t first, int64_t count, store_line_take *take, void *context)
{
    struct store_link *link;
    sqlite3_stmt *rows;
    int64_t number;
    TRY(store_readers_take(store->readers, &link));
    enum status status = store_tenants_number(link, &number, tenant);
    if (status == STATUS_OK)
        status = store_link_ask(
            link, &rows,
            "SELECT" LINE_COLUMNS "FROM" LINE_TABLES "WHERE l.tenant = ? AND l.key BETWEEN ? AND ?"
            " AND (? >> l.state) & 1 AND b.sweep < 4 ORDER BY l.key LIMIT ?",
            store_int(number), store_int(store_key(batch, first)), store_int(store_key_end(batch)),
            store_int(states), store_int(count));
    while (status == STATUS_OK) {
        bool found;
        struct store_line line;
        status = store_link_step(link, rows, &found);
        if (status != STATUS_OK || !found)
            break;
        fill_line(&line, rows);
        status = take(context, &line);
    }
    store_readers_give(store->readers, link);
    return status;
}

/* ---- a line's text ---- */

enum status store_line_read_text(struct store *store, const char *tenant, int64_t batch,
                                 int64_t line, char **text, size_t *bytes)
{
    struct store_link *link;
    struct store_batch_row row = {0};
    struct store_line_row found;
    int64_t number;
    TRY(store_readers_take(store->readers, &link));
    enum status status = store_tenants_number(link, &number, tenant);
    if (status == STATUS_OK)
        status = store_batch_row_load(link, &row, number ? number : -1, batch);
    if (status == STATUS_OK)
        status = store_line_row_load(link, &found, number, batch, line);
    if (status == STATUS_OK)
        status = store_line_row_text(store, link, &row, &found, text);
    if (status == STATUS_DATA_LOSS)
        status = fail(STATUS_DATA_LOSS, "batches/%s: line %lld: %s", row.batch.id, (long long)line,
                      status_message());
    if (status == STATUS_OK)
        *bytes = (size_t)found.bytes;
    store_batch_clear(&row.batch);
    store_readers_give(store->readers, link);
    return status;
}

/* ---- leases ---- */

struct lease {
    const char *tenant;
    struct store_lease *leases;
    size_t count;
    int64_t lease_ms;
};

static enum status lease_line(struct store_turn *turn, struct store_batch_row *row,
                              struct store_lease *lease, int64_t until_us)
{
    struct store_line_row line;
    const enum status found =
        store_line_row_load(turn->link, &line, row->tenant, lease->batch, lease->line);
    if (found == STATUS_NOT_FOUND || (found == STATUS_OK && line.state != STORE_LINE_WAITING))
        return STATUS_OK;
    TRY(found);
    TRY(store_link_do(turn->link,
                      "UPDATE lines SET state = 2, attempt = ?, epoch = ?, lease_us = ?"
                      " WHERE key = ?",
                      store_int(line.attempt + 1), store_int(line.epoch + 1), store_int(until_us),
                      store_int(line.key)));
    lease->attempt = line.attempt + 1;
    lease->epoch = line.epoch + 1;
    lease->granted = true;
    const struct store_tenant_growth growth = {
        .queued_lines = -1, .queued_tokens = -line.queued_tokens, .running_lines = 1};
    store_tenants_grow(&turn->store->tenants, store_tenants_at(&turn->store->tenants, row->tenant),
                       &growth);
    row->batch.counts.running++;
    if (row->batch.state == STORE_BATCH_QUEUED) {
        row->batch.state = STORE_BATCH_RUNNING;
        row->batch.started_us = turn->now_us;
    }
    return STATUS_OK;
}

static enum status lease_one(struct store_turn *turn, int64_t tenant, struct store_lease *lease,
                             int64_t until_us)
{
    struct store_batch_row row;
    const enum status found = store_batch_row_load(turn->link, &row, tenant, lease->batch);
    if (found == STATUS_NOT_FOUND)
        return STATUS_OK;
    TRY(found);
    enum status status = STATUS_OK;
    if (!row.batch.expiring &&
        (row.batch.state == STORE_BATCH_QUEUED || row.batch.state == STORE_BATCH_RUNNING))
        status = lease_line(turn, &row, lease, until_us);
    if (status == STATUS_OK && lease->granted)
        status = store_batch_row_update(turn, &row);
    store_batch_clear(&row.batch);
    return status;
}

static enum status apply_lease(struct store_turn *turn, void *context)
{
    const struct lease *lease = context;
    const struct store_tenant_entry *tenant =
        store_tenants_known(&turn->store->tenants, lease->tenant);
    const int64_t until_us =
        lease->lease_ms > 0 ? turn->now_us + lease->lease_ms * 1000 : INT64_MAX;
    for (size_t i = 0; i < lease->count; i++) {
        lease->leases[i].granted = false;
        TRY(lease_one(turn, tenant ? tenant->number : -1, &lease->leases[i], until_us));
    }
    return STATUS_OK;
}

enum status store_line_lease(struct store *store, const char *tenant, struct store_lease *leases,
                             size_t count, int64_t lease_ms)
{
    struct lease lease = {tenant, leases, count, lease_ms};
    return store_writer_run(store->writer, apply_lease, &lease);
}

/* ---- the end of a lease ---- */

struct ending {
    const char *tenant;
    const struct store_result *result;
    enum store_give_back how;
    const char *cause;
};

static enum status not_held(const struct store_result *result)
{
    return fail(STATUS_FAILED_PRECONDITION,
                "line %lld is not held by lease %lld any more: its result is dropped",
                (long long)result->line, (long long)result->epoch);
}

/* Row and line of the lease. */
static enum status load_held(struct store_turn *turn, struct store_batch_row *row,
                             struct store_line_row *line, const struct ending *ending)
{
    const struct store_tenant_entry *tenant =
        store_tenants_known(&turn->store->tenants, ending->tenant);
    const int64_t number = tenant ? tenant->number : -1;
    TRY(store_line_row_load(turn->link, line, number, ending->result->batch, ending->result->line));
    return store_batch_row_load(turn->link, row, number, ending->result->batch);
}

static enum status commit_line(struct store_turn *turn, struct store_batch_row *row,
                               const struct store_line_row *line, const struct store_result *result)
{
    struct store_tenant_entry *tenant = store_tenants_at(&turn->store->tenants, row->tenant);
    TRY(store_line_row_finish(turn, row, line->key, result->state, result->status_code,
                              result->body, result->body_bytes));
    row->batch.counts.running--;
    if (result->state == STORE_LINE_COMPLETED) {
        row->batch.usage.prompt_tokens += result->usage.prompt_tokens;
        row->batch.usage.cached_tokens += result->usage.cached_tokens;
        row->batch.usage.prefilled_tokens += result->usage.prefilled_tokens;
        row->batch.usage.completion_tokens += result->usage.completion_tokens;
    }
    TRY(store_batch_row_settle(turn, row));
    TRY(store_batch_row_update(turn, row));
    const struct store_tenant_growth growth = {.running_lines = -1,
                                               .stored_bytes = (int64_t)result->body_bytes};
    store_tenants_grow(&turn->store->tenants, tenant, &growth);
    return STATUS_OK;
}

static enum status apply_commit(struct store_turn *turn, void *context)
{
    const struct ending *ending = context;
    struct store_batch_row row;
    struct store_line_row line;
    TRY(load_held(turn, &row, &line, ending));
    enum status status = STATUS_OK;
    if (line.epoch != ending->result->epoch)
        status = not_held(ending->result);
    else if (line.state == STORE_LINE_RUNNING)
        status = commit_line(turn, &row, &line, ending->result);
    else if (!line.result)
        status = not_held(ending->result);
    store_batch_clear(&row.batch);
    return status;
}

enum status store_line_commit(struct store *store, const char *tenant,
                              const struct store_result *result)
{
    struct ending ending = {.tenant = tenant, .result = result};
    if (result->state < STORE_LINE_COMPLETED || result->state > STORE_LINE_EXPIRED ||
        result->body_bytes > STORE_BODY_BYTES || result->status_code <= 0)
        return fail(STATUS_INVALID_ARGUMENT, "the result of line %lld is out of range",
                    (long long)result->line);
    return store_writer_run(store->writer, apply_commit, &ending);
}

static enum status apply_give_back(struct store_turn *turn, void *context)
{
    const struct ending *ending = context;
    struct store_batch_row row;
    struct store_line_row line;
    TRY(load_held(turn, &row, &line, ending));
    enum status status = STATUS_OK;
    if (line.state != STORE_LINE_RUNNING || line.epoch != ending->result->epoch)
        status = not_held(ending->result);
    if (status == STATUS_OK)
        status = store_line_row_release(turn, &row, &line, ending->how, ending->cause);
    if (status == STATUS_OK)
        status = store_batch_row_update(turn, &row);
    store_batch_clear(&row.batch);
    return status;
}

enum status store_line_give_back(struct store *store, const char *tenant, int64_t batch,
                                 int64_t line, int64_t epoch, enum store_give_back how,
                                 const char *cause)
{
    const struct store_result lease = {.batch = batch, .line = line, .epoch = epoch};
    struct ending ending = {tenant, &lease, how, cause};
    return store_writer_run(store->writer, apply_give_back, &ending);
}
