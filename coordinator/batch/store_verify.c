/* Owns the check of everything that is in a store, against one state of it while it serves. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "coordinator/batch/store.h"
#include "coordinator/batch/store_batch_row.h"
#include "coordinator/batch/store_document_row.h"
#include "coordinator/batch/store_input.h"
#include "coordinator/batch/store_line_row.h"
#include "coordinator/batch/store_parts.h"
#include "coordinator/batch/store_result.h"
#include "coordinator/batch/store_schema.h"

struct verify {
    struct store *store;
    struct store_link *link;
    store_report *report;
    void *context;
    int64_t wrong;
};

__attribute__((format(printf, 2, 3))) static void complain(struct verify *verify,
                                                           const char *format, ...)
{
    char sentence[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    verify->wrong++;
    verify->report(verify->context, sentence);
}

/* A check of one row; DATA_LOSS is complained of, everything else ends the walk. */
typedef enum status check_row(struct verify *verify, sqlite3_stmt *rows);

static enum status each(struct verify *verify, const char *sql, check_row *check)
{
    sqlite3_stmt *rows;
    TRY(store_link_ask_values(verify->link, &rows, sql, NULL, 0));
    for (;;) {
        bool found;
        const enum status stepped = store_link_step(verify->link, rows, &found);
        if (stepped == STATUS_DATA_LOSS)
            complain(verify, "%s", status_message());
        if (stepped == STATUS_DATA_LOSS || (stepped == STATUS_OK && !found))
            return STATUS_OK;
        TRY(stepped);
        const enum status status = check(verify, rows);
        if (status == STATUS_DATA_LOSS)
            complain(verify, "%s", status_message());
        else
            TRY(status);
    }
}

static enum status check_sentence(struct verify *verify, sqlite3_stmt *rows)
{
    const char *sentence = (const char *)sqlite3_column_text(rows, 0);
    if (!sentence || strcmp(sentence, "ok") != 0)
        complain(verify, "integrity_check: %s", sentence ? sentence : "");
    return STATUS_OK;
}

/* Columns: what it is called, bytes, digest, segment or 0, place, body. */
static enum status check_body(struct verify *verify, sqlite3_stmt *rows, const char *what,
                              int64_t number)
{
    const int64_t bytes = sqlite3_column_int64(rows, 1);
    const int64_t segment = sqlite3_column_int64(rows, 3);
    if (bytes < 0 || bytes > STORE_BODY_BYTES ||
        (!segment && sqlite3_column_bytes(rows, 5) != bytes))
        return fail(STATUS_DATA_LOSS, "%s %lld of batch %lld: its row is damaged", what,
                    (long long)(number & ((1 << STORE_KEY_BITS) - 1)),
                    (long long)(number >> STORE_KEY_BITS));
    char *read = segment ? malloc((size_t)bytes + 1) : NULL;
    if (segment && !read)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to verify the store");
    enum status status =
        segment ? store_segment_read(&verify->store->place, segment, sqlite3_column_int64(rows, 4),
                                     0, read, (size_t)bytes)
                : STATUS_OK;
    const void *body = segment ? read : sqlite3_column_blob(rows, 5);
    if (status == STATUS_OK &&
        store_segment_digest(body, (size_t)bytes) != (uint64_t)sqlite3_column_int64(rows, 2))
        status = fail(STATUS_DATA_LOSS, "%s %lld of batch %lld: its body is damaged", what,
                      (long long)(number & ((1 << STORE_KEY_BITS) - 1)),
                      (long long)(number >> STORE_KEY_BITS));
    free(read);
    return status;
}

static enum status check_chunk(struct verify *verify, sqlite3_stmt *rows)
{
    return check_body(verify, rows, "chunk", sqlite3_column_int64(rows, 0));
}

static enum status check_result(struct verify *verify, sqlite3_stmt *rows)
{
    const int64_t key = sqlite3_column_int64(rows, 0);
    const uint64_t seal = store_result_seal(
        key, sqlite3_column_int64(rows, 6), (enum store_line_state)sqlite3_column_int(rows, 7),
        sqlite3_column_int(rows, 8), sqlite3_column_int64(rows, 1),
        (uint64_t)sqlite3_column_int64(rows, 2));
    if (seal != (uint64_t)sqlite3_column_int64(rows, 9))
        return fail(STATUS_DATA_LOSS, "the result of line %lld of batch %lld: its row is damaged",
                    (long long)sqlite3_column_int64(rows, 6), (long long)(key >> STORE_KEY_BITS));
    return check_body(verify, rows, "result", key);
}

/* Columns: the line's batch, and its number in it. */
static enum status check_line(struct verify *verify, sqlite3_stmt *rows)
{
    struct store_batch_row row;
    struct store_line_row line;
    char *text;
    const int64_t batch = sqlite3_column_int64(rows, 0), number = sqlite3_column_int64(rows, 1);
    TRY(store_line_row_load(verify->link, &line, 0, batch, number));
    const enum status found = store_batch_row_load(verify->link, &row, 0, batch);
    if (found == STATUS_NOT_FOUND)
        return STATUS_OK; /* it is being deleted */
    TRY(found);
    enum status status = store_line_row_text(verify->store, verify->link, &row, &line, &text);
    if (status == STATUS_OK)
        free(text);
    else if (status == STATUS_DATA_LOSS)
        status = fail(status, "batches/%s: line %lld: %s", row.batch.id, (long long)number,
                      status_message());
    store_batch_clear(&row.batch);
    return status;
}

static enum status check_document(struct verify *verify, sqlite3_stmt *rows)
{
    struct store_document document;
    char file[STORE_DOCUMENT_FILE_BYTES], *text;
    TRY(store_document_row_read(&document, file, rows));
    TRY(store_document_row_text(verify->store, &document, file, &text));
    free(text);
    return STATUS_OK;
}

/* A row names what does not agree. */
static enum status check_difference(struct verify *verify, sqlite3_stmt *rows)
{
    complain(verify, "%s %lld: its counts are not those of its rows",
             (const char *)sqlite3_column_text(rows, 0), (long long)sqlite3_column_int64(rows, 1));
    return STATUS_OK;
}

static enum status check_counts(struct verify *verify)
{
    TRY(each(verify,
             "SELECT 'batch', number FROM batches b WHERE sweep NOT IN (3, 4) AND"
             " (total, completed, failed, cancelled, expired, running, results) IS NOT"
             " (SELECT count(*), count(*) FILTER (WHERE state = 3),"
             " count(*) FILTER (WHERE state = 4), count(*) FILTER (WHERE state = 5),"
             " count(*) FILTER (WHERE state = 6), count(*) FILTER (WHERE state = 2),"
             " (SELECT count(*) FROM results WHERE key BETWEEN b.number << 24 AND"
             " (b.number << 24) + 16777215)"
             " FROM lines WHERE key BETWEEN b.number << 24 AND (b.number << 24) + 16777215)",
             check_difference));
    TRY(each(verify,
             "SELECT 'tenant', number FROM tenants t WHERE"
             " (queued_lines, queued_tokens, running_lines) IS NOT"
             " (SELECT count(*) FILTER (WHERE state = 1),"
             " coalesce(sum(prompt_tokens) FILTER (WHERE state = 1), 0),"
             " count(*) FILTER (WHERE state = 2) FROM lines WHERE tenant = t.number)"
             " OR stored_bytes IS NOT (SELECT coalesce(sum(stored_bytes), 0) FROM batches"
             " WHERE tenant = t.number) + (SELECT coalesce(sum(bytes), 0) FROM documents"
             " WHERE tenant = t.number)",
             check_difference));
    TRY(each(verify,
             "SELECT 'line of batch', l.key >> 24 FROM lines l LEFT JOIN results r ON r.key ="
             " (l.key >> 24 << 24) + l.result WHERE l.result > 0 AND"
             " (r.key IS NULL OR r.line != (l.key & 16777215) OR r.state != l.state)",
             check_difference));
    return each(verify,
                "SELECT 'segment', number FROM segments s WHERE live !="
                " (SELECT count(*) FROM chunks WHERE segment = s.number) +"
                " (SELECT count(*) FROM results WHERE segment = s.number)",
                check_difference);
}

static enum status check_all(struct verify *verify)
{
    TRY(store_link_run(verify->link, "BEGIN"));
    TRY(each(verify, "PRAGMA integrity_check", check_sentence));
    TRY(each(verify, "SELECT key, bytes, digest, coalesce(segment, 0), place, body FROM chunks",
             check_chunk));
    TRY(each(verify,
             "SELECT key, bytes, digest, coalesce(segment, 0), place, body, line, state,"
             " status_code, seal FROM results",
             check_result));
    TRY(check_counts(verify));
    TRY(each(verify,
             "SELECT l.batch, l.key & 16777215 FROM lines l JOIN batches b ON b.number = l.batch"
             " WHERE b.sweep NOT IN (3, 4)",
             check_line));
    TRY(each(verify, "SELECT" STORE_DOCUMENT_COLUMNS "FROM documents", check_document));
    return store_link_run(verify->link, "COMMIT");
}

enum status store_verify(struct store *store, store_report *report, void *context)
{
    struct verify verify = {.store = store, .report = report, .context = context};
    int hold = -1;
    TRY(store_place_hold_files(&store->place, &hold));
    enum status status = store_readers_take(store->readers, &verify.link);
    if (status != STATUS_OK) {
        close(hold);
        return status;
    }
    status = check_all(&verify);
    if (!sqlite3_get_autocommit(verify.link->database))
        (void)sqlite3_exec(verify.link->database, "ROLLBACK", NULL, NULL, NULL);
    close(hold);
    store_readers_give(store->readers, verify.link);
    if (status == STATUS_OK && verify.wrong > 0)
        return fail(STATUS_DATA_LOSS, "%s: %lld things are wrong", store->place.folder,
                    (long long)verify.wrong);
    return status;
}
