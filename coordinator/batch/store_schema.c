/* Owns the tables. Promises that an older database is brought up whole or left as it is, and that a
 * newer one is not touched. */
#include "coordinator/batch/store_schema.h"

#include <stdio.h>

/* What leads from version i to i + 1.
 *
 * keys: batches, lines, chunks and results by number: nothing is sorted anew when it is added.
 * A line's prompt_tokens are all that it waits with, those of its longest answers too.
 * due_us is when the store has something to do with a row: expiry, then the end of its retention.
 * A seal is the digest of a row's fields, so that a damaged one is noticed. Bodies are in the row,
 * or (body NULL) in a segment at `place`. */
static const char *const steps[STORE_SCHEMA_VERSION] = {
    "CREATE TABLE meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "INSERT INTO meta VALUES('opened', 0), ('last_us', 0), ('next_batch', 1), ('probes', 0);"

    "CREATE TABLE tenants(number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,"
    " queued_lines INTEGER NOT NULL, queued_tokens INTEGER NOT NULL,"
    " running_lines INTEGER NOT NULL, stored_bytes INTEGER NOT NULL) STRICT;"

    "CREATE TABLE batches(number INTEGER PRIMARY KEY, tenant INTEGER NOT NULL, id TEXT NOT NULL,"
    " endpoint TEXT NOT NULL, retry_of TEXT NOT NULL, result_order INTEGER NOT NULL,"
    " priority INTEGER NOT NULL, state INTEGER NOT NULL, expiring INTEGER NOT NULL,"
    " sweep INTEGER NOT NULL, total INTEGER NOT NULL, completed INTEGER NOT NULL,"
    " failed INTEGER NOT NULL, cancelled INTEGER NOT NULL, expired INTEGER NOT NULL,"
    " running INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL,"
    " prefilled_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,"
    " committed_bytes INTEGER NOT NULL, stored_bytes INTEGER NOT NULL, chunks INTEGER NOT NULL,"
    " results INTEGER NOT NULL, retention_seconds INTEGER NOT NULL, created_us INTEGER NOT NULL,"
    " started_us INTEGER NOT NULL, ended_us INTEGER NOT NULL, expires_us INTEGER NOT NULL,"
    " due_us INTEGER NOT NULL, metadata BLOB, error TEXT) STRICT;"
    "CREATE UNIQUE INDEX batches_id ON batches(tenant, id);"
    "CREATE INDEX batches_state ON batches(tenant, state, number);"
    "CREATE INDEX batches_due ON batches(due_us);"
    "CREATE INDEX batches_sweep ON batches(sweep) WHERE sweep > 0;"

    "CREATE TABLE chunks(key INTEGER PRIMARY KEY, start INTEGER NOT NULL, bytes INTEGER NOT NULL,"
    " digest INTEGER NOT NULL, segment INTEGER, place INTEGER, body BLOB) STRICT;"

    "CREATE TABLE lines(key INTEGER PRIMARY KEY, tenant INTEGER NOT NULL, batch INTEGER NOT NULL,"
    " custom_id TEXT, state INTEGER NOT NULL, priority INTEGER NOT NULL, order_key BLOB NOT NULL,"
    " prompt_tokens INTEGER NOT NULL, start INTEGER NOT NULL, bytes INTEGER NOT NULL,"
    " digest INTEGER NOT NULL, document INTEGER, attempt INTEGER NOT NULL,"
    " epoch INTEGER NOT NULL, losses INTEGER NOT NULL, lease_us INTEGER NOT NULL,"
    " result INTEGER NOT NULL, seal INTEGER NOT NULL, cause TEXT) STRICT;"
    "CREATE UNIQUE INDEX lines_custom_id ON lines(batch, custom_id) WHERE custom_id IS NOT NULL;"
    "CREATE INDEX lines_waiting ON lines(tenant, -priority, batch, order_key) WHERE state = 1;"
    "CREATE INDEX lines_running ON lines(lease_us) WHERE state = 2;"

    "CREATE TABLE results(key INTEGER PRIMARY KEY, line INTEGER NOT NULL, state INTEGER NOT NULL,"
    " status_code INTEGER NOT NULL, bytes INTEGER NOT NULL, digest INTEGER NOT NULL,"
    " seal INTEGER NOT NULL, segment INTEGER, place INTEGER, body BLOB) STRICT;"

    "CREATE TABLE segments(number INTEGER PRIMARY KEY, live INTEGER NOT NULL) STRICT;"

    "CREATE TABLE documents(number INTEGER PRIMARY KEY AUTOINCREMENT, tenant INTEGER NOT NULL, id "
    "TEXT NOT NULL,"
    " digest BLOB NOT NULL, title TEXT NOT NULL, bytes INTEGER NOT NULL, tokens INTEGER NOT NULL,"
    " file TEXT NOT NULL UNIQUE, created_us INTEGER NOT NULL, expires_us INTEGER NOT NULL) STRICT;"
    "CREATE UNIQUE INDEX documents_id ON documents(tenant, id);"
    "CREATE UNIQUE INDEX documents_digest ON documents(tenant, digest);"
    "CREATE INDEX documents_due ON documents(expires_us);"
    "CREATE TABLE batch_documents(batch INTEGER NOT NULL, document INTEGER NOT NULL,"
    " PRIMARY KEY(batch, document)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX batch_documents_document ON batch_documents(document);"

    "CREATE TABLE request_ids(number INTEGER PRIMARY KEY, tenant INTEGER NOT NULL,"
    " id TEXT NOT NULL, digest BLOB NOT NULL, answer BLOB NOT NULL,"
    " expires_us INTEGER NOT NULL) STRICT;"
    "CREATE UNIQUE INDEX request_ids_id ON request_ids(tenant, id);",
};

enum status store_schema_check_version(const char *path, int64_t schema)
{
    if (schema <= STORE_SCHEMA_VERSION)
        return STATUS_OK;
    return fail(STATUS_FAILED_PRECONDITION,
                "%s has version %lld of the store, this program knows version %d and older: start "
                "the newer program, or give another folder",
                path, (long long)schema, STORE_SCHEMA_VERSION);
}

static enum status read_versions(struct store_link *link, int64_t *application, int64_t *version,
                                 int64_t *tables)
{
    bool found;
    TRY(store_link_number_values(link, application, &found, "PRAGMA application_id", NULL, 0));
    TRY(store_link_number_values(link, version, &found, "PRAGMA user_version", NULL, 0));
    return store_link_number_values(link, tables, &found, "SELECT count(*) FROM sqlite_schema",
                                    NULL, 0);
}

static enum status take_steps(struct store_link *link, int64_t version)
{
    TRY(store_link_run(link, "BEGIN IMMEDIATE"));
    enum status status = STATUS_OK;
    for (int64_t i = version; i < STORE_SCHEMA_VERSION; i++)
        TRY_ELSE(store_link_run(link, steps[i]), undo);
    char settle[128];
    snprintf(settle, sizeof settle, "PRAGMA application_id=%d; PRAGMA user_version=%d; COMMIT",
             STORE_SCHEMA_APPLICATION, STORE_SCHEMA_VERSION);
    TRY_ELSE(store_link_run(link, settle), undo);
    return STATUS_OK;
undo:
    (void)sqlite3_exec(link->database, "ROLLBACK", NULL, NULL, NULL);
    return status;
}

enum status store_schema_settle(struct store_link *link, const char *path)
{
    int64_t application, version, tables;
    TRY(read_versions(link, &application, &version, &tables));
    if (tables > 0 && application != STORE_SCHEMA_APPLICATION)
        return fail(STATUS_DATA_LOSS, "%s is another program's database: give another folder",
                    path);
    TRY(store_schema_check_version(path, version));
    if (version == STORE_SCHEMA_VERSION)
        return STATUS_OK;
    TRY(store_link_run(link, "PRAGMA journal_mode=WAL"));
    return take_steps(link, version);
}
