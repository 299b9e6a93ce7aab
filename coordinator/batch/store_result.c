/* Owns how results are told. Promises that each is told once in a walk, and that a damaged one is
 * named and harms no other. */
#include "coordinator/batch/store_result.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "coordinator/batch/store_batch_row.h"
#include "coordinator/batch/store_line_row.h"
#include "coordinator/batch/store_parts.h"
#include "coordinator/batch/store_schema.h"

uint64_t store_result_seal(int64_t key, int64_t line, enum store_line_state state, int status_code,
                           int64_t bytes, uint64_t digest)
{
    const uint64_t facts[] = {(uint64_t)key,         (uint64_t)line,  (uint64_t)state,
                              (uint64_t)status_code, (uint64_t)bytes, digest};
    return XXH3_64bits(facts, sizeof facts);
}

enum status store_result_forget(struct store_turn *turn, int64_t number, int64_t most, bool *more)
{
    return store_segment_forget_rows(turn,
                                     "SELECT key, coalesce(segment, 0) FROM results"
                                     " WHERE key BETWEEN ? AND ? LIMIT 1",
                                     "DELETE FROM results WHERE key = ?", number, most, more);
}

/* ---- a walk ---- */

struct walk {
    struct store *store;
    struct store_link *link;
    const struct store_batch *batch;
    struct store_result_walk *asked;
    store_result_take *take;
    void *context;
    int64_t told, bytes;
};

static bool has_enough(const struct walk *walk)
{
    return walk->told >= walk->asked->count ||
           (walk->asked->bytes > 0 && walk->bytes >= walk->asked->bytes);
}

static enum status tell(struct walk *walk, struct store_told_result *result)
{
    walk->asked->after = result->cursor;
    walk->told++;
    walk->bytes += (int64_t)result->body_bytes;
    return walk->take(walk->context, result);
}

/* Columns of a line with its result. */
#define TOLD_COLUMNS                                                                               \
    " l.key, l.custom_id, l.state, l.result, r.key, r.line, r.state, r.status_code, r.bytes,"      \
    " r.digest, r.seal, coalesce(r.segment, 0), coalesce(r.place, 0), r.body "

/* The body of the result in this row, held against seal and digest; `*body` is freed by the
 * caller. */
static enum status read_body(struct walk *walk, sqlite3_stmt *rows, char **body)
{
    const int64_t key = sqlite3_column_int64(rows, 4);
    const int64_t bytes = sqlite3_column_int64(rows, 8);
    const uint64_t digest = (uint64_t)sqlite3_column_int64(rows, 9);
    const int64_t segment = sqlite3_column_int64(rows, 11);
    const uint64_t seal = store_result_seal(key, sqlite3_column_int64(rows, 5),
                                            (enum store_line_state)sqlite3_column_int(rows, 6),
                                            sqlite3_column_int(rows, 7), bytes, digest);
    if (seal != (uint64_t)sqlite3_column_int64(rows, 10) || bytes < 0 || bytes > STORE_BODY_BYTES)
        return fail(STATUS_DATA_LOSS, "its row is damaged");
    *body = malloc((size_t)bytes + 1);
    if (!*body)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to read a result");
    (*body)[bytes] = '\0';
    if (segment)
        TRY(store_segment_read(&walk->store->place, segment, sqlite3_column_int64(rows, 12), 0,
                               *body, (size_t)bytes));
    else if (sqlite3_column_bytes(rows, 13) != bytes)
        return fail(STATUS_DATA_LOSS, "its row is damaged");
    else if (bytes > 0)
        memcpy(*body, sqlite3_column_blob(rows, 13), (size_t)bytes);
    return store_segment_digest(*body, (size_t)bytes) == digest
               ? STATUS_OK
               : fail(STATUS_DATA_LOSS, "its body is damaged");
}

/* Tells the line of this row with its result. */
static enum status tell_row(struct walk *walk, sqlite3_stmt *rows, int64_t cursor)
{
    char complaint[256] = "", *body = NULL;
    const char *custom_id = (const char *)sqlite3_column_text(rows, 1);
    struct store_told_result result = {
        .line = sqlite3_column_int64(rows, 0) - store_key(walk->batch->number, 0),
        .custom_id = custom_id ? custom_id : "",
        .state = (enum store_line_state)sqlite3_column_int(rows, 2),
        .cursor = cursor,
        .complaint = complaint,
    };
    enum status status = STATUS_OK;
    if (sqlite3_column_int64(rows, 3)) {
        result.status_code = sqlite3_column_int(rows, 7);
        if (sqlite3_column_type(rows, 4) == SQLITE_NULL)
            status = fail(STATUS_DATA_LOSS, "its row is gone");
        else
            status = read_body(walk, rows, &body);
        result.body_bytes = status == STATUS_OK ? (size_t)sqlite3_column_int64(rows, 8) : 0;
        result.body = status == STATUS_OK ? body : "";
    }
    if (status == STATUS_DATA_LOSS) {
        snprintf(complaint, sizeof complaint, "batches/%s: the result of line %lld: %s",
                 walk->batch->id, (long long)result.line, status_message());
        result.damaged = fail(STATUS_DATA_LOSS, "%s", complaint);
        status = STATUS_OK;
    }
    if (status == STATUS_OK)
        status = tell(walk, &result);
    free(body);
    return status;
}

/* Cursors of the order of ends: results by number, then lines that the store ended, behind them. */
enum { ENDED_BY_STORE = 1 << STORE_KEY_BITS };

static enum status walk_results(struct walk *walk)
{
    sqlite3_stmt *rows;
    const int64_t number = walk->batch->number;
    if (walk->asked->after >= ENDED_BY_STORE)
        return STATUS_OK;
    TRY(store_link_ask(walk->link, &rows,
                       "SELECT" TOLD_COLUMNS "FROM results r JOIN lines l ON l.key = ? + r.line"
                       " WHERE r.key > ? AND r.key <= ? ORDER BY r.key",
                       store_int(store_key(number, 0)),
                       store_int(store_key(number, walk->asked->after)),
                       store_int(store_key_end(number))));
    while (!has_enough(walk)) {
        bool row;
        TRY(store_link_step(walk->link, rows, &row));
        if (!row)
            return STATUS_OK;
        TRY(tell_row(walk, rows, sqlite3_column_int64(rows, 4) - store_key(number, 0)));
    }
    sqlite3_reset(rows);
    return STATUS_OK;
}

/* Lines without a result: once the batch has ended no other will come before them. */
static enum status walk_rest(struct walk *walk)
{
    sqlite3_stmt *rows;
    const int64_t number = walk->batch->number;
    const int64_t after =
        walk->asked->after >= ENDED_BY_STORE ? walk->asked->after - ENDED_BY_STORE : 0;
    TRY(store_link_ask(walk->link, &rows,
                       "SELECT l.key, l.custom_id, l.state, l.result FROM lines l"
                       " WHERE l.key > ? AND l.key <= ? AND l.result = 0 AND l.state >= 5"
                       " ORDER BY l.key",
                       store_int(store_key(number, after)), store_int(store_key_end(number))));
    while (!has_enough(walk)) {
        bool row;
        TRY(store_link_step(walk->link, rows, &row));
        if (!row) {
            walk->asked->complete = true;
            return STATUS_OK;
        }
        const int64_t line = sqlite3_column_int64(rows, 0) - store_key(number, 0);
        TRY(tell_row(walk, rows, ENDED_BY_STORE + line));
    }
    sqlite3_reset(rows);
    return STATUS_OK;
}

static enum status walk_input_order(struct walk *walk, bool ended)
{
    sqlite3_stmt *rows;
    const int64_t number = walk->batch->number;
    TRY(store_link_ask(walk->link, &rows,
                       "SELECT" TOLD_COLUMNS "FROM lines l LEFT JOIN results r"
                       " ON l.result > 0 AND r.key = ? + l.result"
                       " WHERE l.key > ? AND l.key <= ? ORDER BY l.key",
                       store_int(store_key(number, 0)),
                       store_int(store_key(number, walk->asked->after)),
                       store_int(store_key_end(number))));
    while (!has_enough(walk)) {
        bool row;
        TRY(store_link_step(walk->link, rows, &row));
        if (!row) {
            walk->asked->complete = ended;
            return STATUS_OK;
        }
        if (sqlite3_column_int(rows, 2) < STORE_LINE_COMPLETED)
            break;
        TRY(tell_row(walk, rows, sqlite3_column_int64(rows, 0) - store_key(number, 0)));
    }
    sqlite3_reset(rows);
    return STATUS_OK;
}

enum status store_line_results(struct store *store, struct store_result_walk *asked,
                               store_result_take *take, void *context)
{
    struct store_link *link;
    struct store_batch_row row = {0};
    int64_t tenant;
    asked->complete = false;
    TRY(store_readers_take(store->readers, &link));
    enum status status = store_tenants_number(link, &tenant, asked->tenant);
    if (status == STATUS_OK)
        status = store_batch_row_load(link, &row, tenant ? tenant : -1, asked->batch);
    if (status == STATUS_OK) {
        /* Read before its lines: once it has ended no result comes any more. */
        const bool ended = store_batch_row_has_ended(&row.batch);
        struct walk walk = {store, link, &row.batch, asked, take, context, 0, 0};
        if (row.batch.state == STORE_BATCH_FAILED)
            asked->complete = true; /* its lines are forgotten */
        else if (asked->input_order)
            status = walk_input_order(&walk, ended);
        else {
            status = walk_results(&walk);
            if (status == STATUS_OK && ended && !has_enough(&walk))
                status = walk_rest(&walk);
        }
        store_batch_clear(&row.batch);
    }
    store_readers_give(store->readers, link);
    return status;
}
