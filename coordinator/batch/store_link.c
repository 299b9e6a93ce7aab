/* Owns a connection and its statements. Promises a sentence for every error of SQLite. */
#include "coordinator/batch/store_link.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum status store_link_fail(const struct store_link *link, const char *what)
{
    const int code = sqlite3_extended_errcode(link->database);
    const char *message = sqlite3_errmsg(link->database);
    const int reason = sqlite3_system_errno(link->database);
    if (code == SQLITE_IOERR_NOMEM)
        return fail(STATUS_RESOURCE_EXHAUSTED, "the store is out of memory (%.40s)", what);
    switch (code & 0xff) {
    case SQLITE_NOMEM:
        return fail(STATUS_RESOURCE_EXHAUSTED, "the store is out of memory (%.40s)", what);
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
        return fail(STATUS_UNAVAILABLE, "the store's database: %s%s%s (SQLite %d, %.40s)", message,
                    reason ? ": " : "", reason ? strerror(reason) : "", code, what);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return fail(STATUS_DATA_LOSS, "the store's database is damaged: %s (SQLite %d, %.40s)",
                    message, code, what);
    default:
        return fail(STATUS_INTERNAL, "the store's database: %s (SQLite %d, %.40s)", message, code,
                    what);
    }
}

enum status store_link_run(struct store_link *link, const char *sql)
{
    if (sqlite3_exec(link->database, sql, NULL, NULL, NULL) != SQLITE_OK)
        return store_link_fail(link, sql);
    return STATUS_OK;
}

enum status store_link_open(struct store_link *link, const char *path, const char *vfs,
                            int64_t cache_kib)
{
    memset(link, 0, sizeof *link);
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    enum status status = STATUS_OK;
    if (sqlite3_open_v2(path, &link->database, flags, vfs) != SQLITE_OK) {
        status = link->database ? store_link_fail(link, path)
                                : fail(STATUS_RESOURCE_EXHAUSTED, "open %s: out of memory", path);
        goto close;
    }
    sqlite3_extended_result_codes(link->database, 1);
    sqlite3_busy_timeout(link->database, 5000);
    /* What a connection leaves at its end is decided by store_close, not by who is last. */
    sqlite3_db_config(link->database, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_db_config(link->database, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(link->database, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    TRY_ELSE(store_link_run(link, "PRAGMA cell_size_check=ON; PRAGMA temp_store=MEMORY;"
                                  "PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0"),
             close);
    char cache[64];
    snprintf(cache, sizeof cache, "PRAGMA cache_size=-%lld", (long long)cache_kib);
    TRY_ELSE(store_link_run(link, cache), close);
    return STATUS_OK;
close:
    store_link_close(link);
    return status;
}

void store_link_close(struct store_link *link)
{
    for (size_t i = 0; i < STORE_LINK_STATEMENTS; i++)
        sqlite3_finalize(link->kept[i].statement);
    (void)sqlite3_close(link->database);
    memset(link, 0, sizeof *link);
}

void store_link_reset(struct store_link *link)
{
    for (size_t i = 0; i < STORE_LINK_STATEMENTS; i++)
        if (sqlite3_stmt_busy(link->kept[i].statement))
            sqlite3_reset(link->kept[i].statement);
}

/* The statement that is kept under this literal. */
static enum status find(struct store_link *link, sqlite3_stmt **statement, const char *sql)
{
    size_t at = ((uintptr_t)sql >> 3) % STORE_LINK_STATEMENTS;
    for (size_t tried = 0; link->kept[at].sql != sql; tried++) {
        assert(tried < STORE_LINK_STATEMENTS);
        if (!link->kept[at].sql) {
            if (sqlite3_prepare_v3(link->database, sql, -1, SQLITE_PREPARE_PERSISTENT,
                                   &link->kept[at].statement, NULL) != SQLITE_OK)
                return store_link_fail(link, sql);
            link->kept[at].sql = sql;
            break;
        }
        at = (at + 1) % STORE_LINK_STATEMENTS;
    }
    *statement = link->kept[at].statement;
    return STATUS_OK;
}

enum status store_link_ask_values(struct store_link *link, sqlite3_stmt **rows, const char *sql,
                                  const struct store_value *values, size_t count)
{
    sqlite3_stmt *statement = NULL;
    TRY(find(link, &statement, sql));
    assert(!sqlite3_stmt_busy(statement));
    for (size_t i = 0; i < count; i++) {
        const struct store_value *value = &values[i];
        const int place = (int)i + 1;
        int code = SQLITE_OK;
        switch (value->type) {
        case STORE_NULL:
            code = sqlite3_bind_null(statement, place);
            break;
        case STORE_INT:
            code = sqlite3_bind_int64(statement, place, value->number);
            break;
        case STORE_TEXT:
            code = sqlite3_bind_text(statement, place, value->bytes, -1, SQLITE_STATIC);
            break;
        case STORE_BLOB:
            code = sqlite3_bind_blob64(statement, place, value->bytes, value->size, SQLITE_STATIC);
            break;
        }
        if (code != SQLITE_OK)
            return store_link_fail(link, sql);
    }
    *rows = statement;
    return STATUS_OK;
}

enum status store_link_step(struct store_link *link, sqlite3_stmt *rows, bool *row)
{
    const int code = sqlite3_step(rows);
    *row = code == SQLITE_ROW;
    if (code == SQLITE_ROW)
        return STATUS_OK;
    enum status status = code == SQLITE_DONE ? STATUS_OK : store_link_fail(link, sqlite3_sql(rows));
    sqlite3_reset(rows);
    return status;
}

enum status store_link_do_values(struct store_link *link, const char *sql,
                                 const struct store_value *values, size_t count)
{
    sqlite3_stmt *rows;
    bool row;
    TRY(store_link_ask_values(link, &rows, sql, values, count));
    TRY(store_link_step(link, rows, &row));
    assert(!row);
    return STATUS_OK;
}

enum status store_link_number_values(struct store_link *link, int64_t *number, bool *found,
                                     const char *sql, const struct store_value *values,
                                     size_t count)
{
    sqlite3_stmt *rows;
    TRY(store_link_ask_values(link, &rows, sql, values, count));
    TRY(store_link_step(link, rows, found));
    if (*found) {
        *number = sqlite3_column_int64(rows, 0);
        sqlite3_reset(rows);
    }
    return STATUS_OK;
}

void store_link_copy_text(char *to, size_t bytes, sqlite3_stmt *rows, int column)
{
    const char *text = (const char *)sqlite3_column_text(rows, column);
    snprintf(to, bytes, "%s", text ? text : "");
}
