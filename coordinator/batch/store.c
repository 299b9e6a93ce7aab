/* Owns the store's parts: opens them in sequence, closes them in reverse, hands calls on. */
#include "coordinator/batch/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "coordinator/batch/store_batch.h"
#include "coordinator/batch/store_begin.h"
#include "coordinator/batch/store_parts.h"
#include "coordinator/batch/store_schema.h"
#include "proto/clock.h"

enum {
    READERS = 4,
    RETRY_MS = 5000,
    LOG_PAGES = 4096,
    CACHE_KIB = 64 * 1024,
    LOOK_CACHE_KIB = 8 * 1024
};

static enum status open_parts(struct store *store, const struct store_options *options)
{
    const int readers = options->readers > 0 ? options->readers : READERS;
    store->cache_kib = options->cache_bytes > 0 ? options->cache_bytes / 1024 : CACHE_KIB;
    TRY(store_begin(store, options->accept_lost_log));
    TRY(store_readers_create(&store->readers, store->database, store->vfs, readers,
                             store->cache_kib / 2 / readers));
    TRY(store_waits_create(&store->waits));
    return store_writer_create(&store->writer, store,
                               options->retry_ms > 0 ? options->retry_ms : RETRY_MS,
                               options->log_pages > 0 ? options->log_pages : LOG_PAGES);
}

static void close_parts(struct store *store)
{
    store_writer_destroy(store->writer);
    store_waits_destroy(store->waits);
    store_readers_destroy(store->readers);
    store_segment_abandon(&store->segment, &store->place);
}

static void destroy(struct store *store)
{
    store_link_close(&store->link);
    store_tenants_deinit(&store->tenants);
    store_place_close(&store->place);
    free(store);
}

enum status store_open(struct store **store, const struct store_options *options)
{
    struct store *s = calloc(1, sizeof *s);
    if (!s)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the store");
    s->vfs = options->vfs;
    s->segment.descriptor = -1;
    enum status status = store_place_open(&s->place, options->folder,
                                          options->files ? options->files : &store_file_system);
    if (status == STATUS_OK) {
        store_place_path(&s->place, s->database, "store.db");
        status = open_parts(s, options);
        if (status == STATUS_OK) {
            *store = s;
            return STATUS_OK;
        }
        close_parts(s);
    }
    destroy(s);
    return status;
}

enum status store_look(struct store **store, const char *folder)
{
    struct store *s = calloc(1, sizeof *s);
    if (!s)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the store");
    s->segment.descriptor = -1;
    enum status status = store_place_look(&s->place, folder);
    if (status == STATUS_OK)
        status = store_schema_check_version(folder, s->place.schema);
    store_place_path(&s->place, s->database, "store.db");
    if (status == STATUS_OK)
        status = store_readers_create(&s->readers, s->database, NULL, 1, LOOK_CACHE_KIB);
    if (status == STATUS_OK)
        *store = s;
    else
        destroy(s);
    return status;
}

void store_close(struct store *store)
{
    if (!store)
        return;
    close_parts(store);
    store_begin_end(store);
    destroy(store);
}

bool store_is_serving(struct store *store, char *reason, size_t bytes)
{
    return store_writer_is_serving(store->writer, reason, bytes);
}

void store_read_facts(struct store *store, struct store_facts *facts)
{
    store_writer_facts(store->writer, facts);
    facts->log_bytes = store_place_log_bytes(&store->place);
    facts->free_bytes = store_place_free_bytes(&store->place);
    facts->memory_bytes = sqlite3_memory_used();
    facts->leases_expired = atomic_load(&store->leases_expired);
    struct store_link *link;
    bool found;
    if (store_readers_take(store->readers, &link) != STATUS_OK)
        return;
    if (store_link_number_values(link, &facts->stored_bytes, &found,
                                 "SELECT coalesce(sum(stored_bytes), 0) FROM tenants", NULL,
                                 0) != STATUS_OK)
        facts->stored_bytes = 0;
    store_readers_give(store->readers, link);
}

int64_t store_now_us(const struct store *store)
{
    return clock_now_ns() / 1000 + store->clock_offset_us;
}

void store_make_id(struct store *store, char id[STORE_ID_BYTES])
{
    /* Crockford's 32 signs, so that ids sort as their times do: 10 for milliseconds, 16 by chance.
     */
    static const char signs[] = "0123456789abcdefghjkmnpqrstvwxyz";
    enum { TIME_SIGNS = 10, CHANCE_SIGNS = 16 };
    uint8_t chance[CHANCE_SIGNS];
    int64_t milliseconds = store_now_us(store) / 1000;
    size_t got = 0;
    while (got < sizeof chance) {
        const ssize_t more = getrandom(chance + got, sizeof chance - got, 0);
        got += more > 0 ? (size_t)more : 0;
    }
    for (int i = TIME_SIGNS - 1; i >= 0; i--, milliseconds >>= 5)
        id[i] = signs[milliseconds & 31];
    for (int i = 0; i < CHANCE_SIGNS; i++)
        id[TIME_SIGNS + i] = signs[chance[i] & 31];
    id[TIME_SIGNS + CHANCE_SIGNS] = '\0';
}

enum status store_has_work(struct store *store, bool *has)
{
    struct store_link *link;
    int64_t number = 0;
    bool found;
    *has = true;
    TRY(store_readers_take(store->readers, &link));
    const enum status status = store_link_number(
        link, &number, &found,
        "SELECT EXISTS(SELECT 1 FROM tenants WHERE queued_lines > 0 OR running_lines > 0)"
        " OR EXISTS(SELECT 1 FROM batches WHERE state = ? AND sweep < 4)",
        store_int(STORE_BATCH_VALIDATING));
    store_readers_give(store->readers, link);
    if (status == STATUS_OK)
        *has = number != 0;
    return status;
}

static void fill_tenant(struct store_tenant *tenant, sqlite3_stmt *rows)
{
    *tenant = (struct store_tenant){
        .name = (const char *)sqlite3_column_text(rows, 0),
        .queued_lines = sqlite3_column_int64(rows, 1),
        .queued_tokens = sqlite3_column_int64(rows, 2),
        .running_lines = sqlite3_column_int64(rows, 3),
        .stored_bytes = sqlite3_column_int64(rows, 4),
    };
}

enum status store_read_tenant(struct store *store, const char *name, struct store_tenant *tenant)
{
    struct store_link *link;
    sqlite3_stmt *rows;
    bool row = false;
    TRY(store_readers_take(store->readers, &link));
    enum status status =
        store_link_ask(link, &rows,
                       "SELECT name, queued_lines, queued_tokens, running_lines, stored_bytes"
                       " FROM tenants WHERE name = ?",
                       store_text(name));
    if (status == STATUS_OK)
        status = store_link_step(link, rows, &row);
    if (row)
        fill_tenant(tenant, rows);
    else
        *tenant = (struct store_tenant){0};
    tenant->name = name;
    store_readers_give(store->readers, link);
    return status;
}

enum status store_each_waiting_tenant(struct store *store, store_tenant_take *take, void *context)
{
    struct store_link *link;
    sqlite3_stmt *rows;
    TRY(store_readers_take(store->readers, &link));
    enum status status = store_link_ask_values(
        link, &rows,
        "SELECT name, queued_lines, queued_tokens, running_lines, stored_bytes FROM tenants"
        " WHERE queued_lines > 0",
        NULL, 0);
    while (status == STATUS_OK) {
        bool row;
        struct store_tenant tenant;
        status = store_link_step(link, rows, &row);
        if (status != STATUS_OK || !row)
            break;
        fill_tenant(&tenant, rows);
        status = take(context, &tenant);
    }
    store_readers_give(store->readers, link);
    return status;
}

void store_wait_lines(struct store *store, uint64_t *seen, int64_t timeout_ms)
{
    store_waits_for_lines(store->waits, seen, timeout_ms);
}

void store_wait_batch(struct store *store, int64_t number, uint64_t *seen, int64_t timeout_ms)
{
    store_waits_for_batch(store->waits, number, seen, timeout_ms);
}
