/* Owns the row of a line, and of its result. Promises that counts, usage and quotas change in the
 * transaction of the line. */
#include "coordinator/batch/store_line_row.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "coordinator/batch/store_input.h"
#include "coordinator/batch/store_parts.h"
#include "coordinator/batch/store_result.h"
#include "coordinator/batch/store_schema.h"

enum { CUSTOM_ID_BYTES_MAX = 1024, ORDER_KEY_BYTES_MAX = 256 };

/* A digest over what never changes of a line. */
static uint64_t seal_of(int64_t key, const char *custom_id, int64_t start, int64_t bytes,
                        uint64_t digest, int64_t document, int64_t queued_tokens)
{
    const uint64_t name = custom_id ? XXH3_64bits_withSeed(custom_id, strlen(custom_id), 1) : 0;
    const uint64_t facts[] = {(uint64_t)key,          name,   (uint64_t)start,
                              (uint64_t)bytes,        digest, (uint64_t)document,
                              (uint64_t)queued_tokens};
    return XXH3_64bits(facts, sizeof facts);
}

void store_line_row_count(struct store_counts *counts, enum store_line_state state, int64_t lines)
{
    switch (state) {
    case STORE_LINE_COMPLETED:
        counts->completed += lines;
        return;
    case STORE_LINE_FAILED:
        counts->failed += lines;
        return;
    case STORE_LINE_CANCELLED:
        counts->cancelled += lines;
        return;
    case STORE_LINE_EXPIRED:
        counts->expired += lines;
        return;
    case STORE_LINE_WAITING:
    case STORE_LINE_RUNNING:
        break;
    }
    assert(!"a line ends in one of four states");
}

static enum status check_new(const struct store_batch_row *row, const struct store_new_line *line,
                             int64_t number)
{
    const int64_t there = row->batch.committed_bytes;
    if (line->offset < 0 || line->bytes < 0 || line->offset > there ||
        line->bytes > there - line->offset || line->bytes > STORE_BODY_BYTES)
        return fail(STATUS_INVALID_ARGUMENT, "line %lld is not within the batch's input",
                    (long long)number);
    if (line->custom_id && strlen(line->custom_id) > CUSTOM_ID_BYTES_MAX)
        return fail(STATUS_INVALID_ARGUMENT, "line %lld: custom_id has more than %d bytes",
                    (long long)number, CUSTOM_ID_BYTES_MAX);
    if (line->order_key_bytes > ORDER_KEY_BYTES_MAX || line->queued_tokens < 0)
        return fail(STATUS_INVALID_ARGUMENT, "line %lld: its order key or tokens are out of range",
                    (long long)number);
    return STATUS_OK;
}

/* The document's number, and that the batch names it. */
static enum status use_document(struct store_turn *turn, const struct store_batch_row *row,
                                const char *document, int64_t number, int64_t *found_number)
{
    bool found;
    TRY(store_link_number(turn->link, found_number, &found,
                          "SELECT number FROM documents WHERE tenant = ? AND id = ?",
                          store_int(row->tenant), store_text(document)));
    if (!found)
        return fail(STATUS_INVALID_ARGUMENT, "line %lld: documents/%s is not there",
                    (long long)number, document);
    return store_link_do(turn->link, "INSERT OR IGNORE INTO batch_documents VALUES(?, ?)",
                         store_int(row->batch.number), store_int(*found_number));
}

/* The error of two lines with one custom_id. */
static enum status twice(struct store_turn *turn, const struct store_batch_row *row,
                         const char *custom_id, int64_t number)
{
    int64_t key = 0;
    bool found;
    TRY(store_link_number(turn->link, &key, &found,
                          "SELECT key FROM lines WHERE batch = ? AND custom_id = ?",
                          store_int(row->batch.number), store_text(custom_id)));
    return fail(STATUS_INVALID_ARGUMENT, "lines %lld and %lld have the same custom_id \"%s\"",
                (long long)(key - store_key(row->batch.number, 0)), (long long)number, custom_id);
}

static enum status insert_one(struct store_turn *turn, struct store_batch_row *row,
                              const struct store_new_line *line, int64_t number, int64_t document)
{
    const int64_t key = store_key(row->batch.number, number);
    const char *custom_id = line->custom_id && line->custom_id[0] ? line->custom_id : NULL;
    const uint64_t seal = seal_of(key, custom_id, line->offset, line->bytes, line->digest, document,
                                  line->queued_tokens);
    sqlite3_stmt *rows;
    TRY(store_link_ask(
        turn->link, &rows,
        "INSERT INTO lines VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0,"
        " 0, ?, NULL)",
        store_int(key), store_int(row->tenant), store_int(row->batch.number), store_text(custom_id),
        store_int(line->failed_code ? STORE_LINE_RUNNING : STORE_LINE_WAITING),
        store_int(row->batch.priority),
        store_blob(line->order_key ? line->order_key : "", line->order_key_bytes),
        store_int(line->queued_tokens), store_int(line->offset), store_int(line->bytes),
        store_int((int64_t)line->digest), document ? store_int(document) : store_text(NULL),
        store_int((int64_t)seal)));
    if (sqlite3_step(rows) != SQLITE_DONE) {
        const bool duplicate =
            sqlite3_extended_errcode(turn->link->database) == SQLITE_CONSTRAINT_UNIQUE;
        enum status status = store_link_fail(turn->link, "add a line");
        sqlite3_reset(rows);
        return duplicate ? twice(turn, row, custom_id, number) : status;
    }
    sqlite3_reset(rows);
    if (!line->failed_code)
        return STATUS_OK;
    return store_line_row_finish(turn, row, key, STORE_LINE_FAILED, line->failed_code,
                                 line->failed_body, line->failed_body_bytes);
}

enum status store_line_row_insert(struct store_turn *turn, struct store_batch_row *row,
                                  const struct store_new_line *lines, size_t count,
                                  const struct store_limits *limits)
{
    struct store_tenant_entry *tenant = store_tenants_at(&turn->store->tenants, row->tenant);
    struct store_tenant_growth growth = {0};
    const char *last_document = NULL;
    int64_t document = 0;
    if ((int64_t)count > STORE_LINES_MAX - row->batch.counts.total)
        return fail(STATUS_INVALID_ARGUMENT, "a batch has at most %d lines", STORE_LINES_MAX);
    const int64_t stored_before = row->stored_bytes;
    for (size_t i = 0; i < count; i++) {
        const struct store_new_line *line = &lines[i];
        const int64_t number = row->batch.counts.total + 1;
        TRY(check_new(row, line, number));
        if (line->document && (!last_document || strcmp(last_document, line->document) != 0)) {
            TRY(use_document(turn, row, line->document, number, &document));
            last_document = line->document;
        }
        TRY(insert_one(turn, row, line, number, line->document ? document : 0));
        row->batch.counts.total++;
        if (!line->failed_code) {
            growth.queued_lines++;
            growth.queued_tokens += line->queued_tokens;
        }
    }
    growth.stored_bytes = row->stored_bytes - stored_before;
    TRY(store_tenants_check(tenant, limits, &growth));
    store_tenants_grow(&turn->store->tenants, tenant, &growth);
    return STATUS_OK;
}

enum status store_line_row_load(struct store_link *link, struct store_line_row *line,
                                int64_t tenant, int64_t batch, int64_t number)
{
    sqlite3_stmt *rows;
    bool found = false;
    if (number < 1 || number > STORE_LINES_MAX)
        return fail(STATUS_NOT_FOUND, "line %lld is not there", (long long)number);
    TRY(store_link_ask(link, &rows,
                       "SELECT key, tenant, batch, state, prompt_tokens, start, bytes, digest,"
                       " coalesce(document, 0), attempt, epoch, lease_us, result FROM lines"
                       " WHERE key = ?1 AND (?2 = 0 OR tenant = ?2)",
                       store_int(store_key(batch, number)), store_int(tenant)));
    TRY(store_link_step(link, rows, &found));
    if (!found)
        return fail(STATUS_NOT_FOUND, "line %lld is not there", (long long)number);
    *line = (struct store_line_row){
        .key = sqlite3_column_int64(rows, 0),
        .tenant = sqlite3_column_int64(rows, 1),
        .batch = sqlite3_column_int64(rows, 2),
        .state = (enum store_line_state)sqlite3_column_int(rows, 3),
        .queued_tokens = sqlite3_column_int64(rows, 4),
        .start = sqlite3_column_int64(rows, 5),
        .bytes = sqlite3_column_int64(rows, 6),
        .digest = (uint64_t)sqlite3_column_int64(rows, 7),
        .document = sqlite3_column_int64(rows, 8),
        .attempt = sqlite3_column_int64(rows, 9),
        .epoch = sqlite3_column_int64(rows, 10),
        .lease_us = sqlite3_column_int64(rows, 11),
        .result = sqlite3_column_int64(rows, 12),
    };
    sqlite3_reset(rows);
    return STATUS_OK;
}

/* Holds what never changes of a line against its seal. */
static enum status check_seal(struct store_link *link, const struct store_line_row *line)
{
    sqlite3_stmt *rows;
    bool found;
    TRY(store_link_ask(link, &rows, "SELECT custom_id, seal FROM lines WHERE key = ?",
                       store_int(line->key)));
    TRY(store_link_step(link, rows, &found));
    const uint64_t seal =
        found ? seal_of(line->key, (const char *)sqlite3_column_text(rows, 0), line->start,
                        line->bytes, line->digest, line->document, line->queued_tokens)
              : 0;
    const bool right = found && seal == (uint64_t)sqlite3_column_int64(rows, 1);
    sqlite3_reset(rows);
    return right ? STATUS_OK : fail(STATUS_DATA_LOSS, "its row is damaged");
}

enum status store_line_row_text(struct store *store, struct store_link *link,
                                const struct store_batch_row *row,
                                const struct store_line_row *line, char **text)
{
    TRY(check_seal(link, line));
    if (line->bytes < 0 || line->bytes > STORE_BODY_BYTES)
        return fail(STATUS_DATA_LOSS, "its row is damaged");
    char *read = malloc((size_t)line->bytes + 1);
    if (!read)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to read a line");
    enum status status =
        store_input_read(store, link, row, read, (size_t)line->bytes, line->start, false);
    if (status == STATUS_OK && store_line_digest(read, (size_t)line->bytes) != line->digest)
        status = fail(STATUS_DATA_LOSS, "its text is damaged");
    if (status != STATUS_OK) {
        free(read);
        return status;
    }
    read[line->bytes] = '\0';
    *text = read;
    return STATUS_OK;
}

enum status store_line_row_finish(struct store_turn *turn, struct store_batch_row *row, int64_t key,
                                  enum store_line_state state, int status_code, const void *body,
                                  size_t bytes)
{
    struct store_body put;
    const int64_t number = ++row->results;
    const int64_t result_key = store_key(row->batch.number, number);
    const int64_t line = key - store_key(row->batch.number, 0);
    TRY(store_segment_put(turn, &put, body, bytes));
    const uint64_t seal =
        store_result_seal(result_key, line, state, status_code, (int64_t)bytes, put.digest);
    TRY(store_link_do(turn->link, "INSERT INTO results VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                      store_int(result_key), store_int(line), store_int(state),
                      store_int(status_code), store_int((int64_t)bytes),
                      store_int((int64_t)put.digest), store_int((int64_t)seal),
                      STORE_BODY_VALUES(&put)));
    TRY(store_link_do(turn->link,
                      "UPDATE lines SET state = ?, result = ?, lease_us = 0 WHERE key = ?",
                      store_int(state), store_int(number), store_int(key)));
    row->stored_bytes += (int64_t)bytes;
    store_line_row_count(&row->batch.counts, state, 1);
    return STATUS_OK;
}

enum status store_line_row_release(struct store_turn *turn, struct store_batch_row *row,
                                   const struct store_line_row *line, enum store_give_back how,
                                   const char *cause)
{
    TRY(store_link_do(turn->link,
                      "UPDATE lines SET state = 1, lease_us = 0, attempt = attempt - ?,"
                      " losses = losses + ?, cause = coalesce(?, cause) WHERE key = ?",
                      store_int(how == STORE_GIVE_BACK_UNTRIED),
                      store_int(how == STORE_GIVE_BACK_LOST), store_text(cause),
                      store_int(line->key)));
    const struct store_tenant_growth growth = {
        .queued_lines = 1, .queued_tokens = line->queued_tokens, .running_lines = -1};
    store_tenants_grow(&turn->store->tenants, store_tenants_at(&turn->store->tenants, line->tenant),
                       &growth);
    row->batch.counts.running--;
    turn->lines = true;
    /* What is to end without running is ended by the sweep. */
    if (row->batch.state == STORE_BATCH_CANCELLING)
        row->sweep = STORE_SWEEP_CANCEL;
    else if (row->batch.expiring)
        row->sweep = STORE_SWEEP_EXPIRE;
    return STATUS_OK;
}
