/* Owns the beginning and the end of a store's use. Promises that a store is marked `open` before it
 * acknowledges anything, and `closed` only when its database is whole without its log. */
#include "coordinator/batch/store_begin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/batch/store_parts.h"
#include "coordinator/batch/store_schema.h"
#include "coordinator/batch/store_sweep.h"
#include "proto/clock.h"
#include "proto/log.h"

enum { PROBE_BYTES = 128 * 1024, NUMBERS_KEPT = 4096 };

static enum status read_meta(struct store_link *link, int64_t *value, const char *name)
{
    bool found;
    TRY(store_link_number(link, value, &found, "SELECT value FROM meta WHERE name = ?",
                          store_text(name)));
    return found ? STATUS_OK
                 : fail(STATUS_DATA_LOSS, "the store's database does not say its `%s`", name);
}

enum status store_begin_load(struct store *store)
{
    TRY(store_tenants_load(&store->tenants, &store->link));
    int64_t kept;
    TRY(read_meta(&store->link, &kept, "next_batch"));
    store->next_batch_kept = kept;
    if (store->next_batch < kept && store->next_batch == 0)
        store->next_batch = kept;
    return STATUS_OK;
}

/* The log of a store that was not closed must be there: SQLite would not miss it. */
static enum status check_log(const struct store_place *place, bool accept_lost_log)
{
    if (place->end != STORE_PLACE_OPEN || accept_lost_log || store_place_has_log(place))
        return STATUS_OK;
    return fail(STATUS_FAILED_PRECONDITION,
                "%s was not closed, and its write-ahead log store.db-wal is gone: what was "
                "acknowledged last may be missing; put the log back, or accept the loss "
                "(--accept-lost-log)",
                place->folder);
}

static enum status check_opened(const struct store_place *place, int64_t opened,
                                bool accept_lost_log)
{
    if (opened >= place->opened || accept_lost_log)
        return STATUS_OK;
    return fail(STATUS_FAILED_PRECONDITION,
                "%s/store.db is older than the store was: it was opened %lld times, the store %lld "
                "times; put back the newer database and its log, or accept the loss "
                "(--accept-lost-log)",
                place->folder, (long long)opened, (long long)place->opened);
}

static void set_clock(struct store *store, int64_t last_us)
{
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    const int64_t wall_us = (int64_t)wall.tv_sec * 1000000 + wall.tv_nsec / 1000;
    const int64_t now_us = wall_us > last_us ? wall_us : last_us;
    store->clock_offset_us = now_us - clock_now_ns() / 1000;
}

/* Counts this opening and takes back the leases of the process before, in one transaction. */
static enum status count_opening(struct store *store, int64_t *opened)
{
    struct store_turn turn = {.store = store, .link = &store->link};
    TRY(store_link_run(&store->link, "BEGIN IMMEDIATE"));
    int64_t last_us;
    TRY(read_meta(&store->link, opened, "opened"));
    TRY(read_meta(&store->link, &last_us, "last_us"));
    ++*opened;
    set_clock(store, last_us);
    turn.now_us = store_now_us(store);
    TRY(store_link_do(&store->link, "UPDATE meta SET value = ? WHERE name = 'opened'",
                      store_int(*opened)));
    TRY(store_begin_load(store));
    TRY(store_sweep_leases(&turn, INT64_MAX));
    TRY(store_tenants_flush(&store->tenants, &store->link));
    return store_link_run(&store->link, "COMMIT");
}

enum status store_begin(struct store *store, bool accept_lost_log)
{
    struct store_place *place = &store->place;
    const bool unclean = place->end == STORE_PLACE_OPEN;
    TRY(store_schema_check_version(place->folder, place->schema));
    TRY(check_log(place, accept_lost_log));
    TRY(store_link_open(&store->link, store->database, store->vfs, store->cache_kib));
    int64_t opened;
    TRY(store_schema_settle(&store->link, store->database));
    TRY(read_meta(&store->link, &opened, "opened"));
    TRY(check_opened(place, opened, accept_lost_log));
    TRY(count_opening(store, &opened));
    const int synced = place->files->sync_folder(place->folder);
    if (synced < 0)
        return store_file_fail(synced, "sync", place->folder);
    TRY(store_place_mark(place, STORE_PLACE_OPEN, STORE_SCHEMA_VERSION, opened));
    TRY(store_segment_settle(&store->segment, place, &store->link));
    TRY(store_sweep_files(store, unclean));
    if (unclean)
        log_line(LOG_INFO, "store was not closed", log_text("folder", place->folder),
                 log_integer("opened", opened));
    return STATUS_OK;
}

/* A file as long as a long body is written, synced and removed. */
static enum status probe_file(const struct store_place *place)
{
    char path[PATH_MAX];
    store_place_path(place, path, "segments/probe");
    char *zeros = calloc(1, PROBE_BYTES);
    if (!zeros)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to probe the store's disk");
    const int descriptor = place->files->open(path, O_WRONLY | O_CREAT | O_TRUNC);
    if (descriptor < 0) {
        free(zeros);
        return store_file_fail(descriptor, "make", path);
    }
    enum status status = store_file_write(place->files, descriptor, path, zeros, PROBE_BYTES, 0);
    free(zeros);
    if (status == STATUS_OK) {
        const int synced = place->files->sync(descriptor);
        status = synced < 0 ? store_file_fail(synced, "sync", path) : STATUS_OK;
    }
    (void)place->files->close(descriptor);
    (void)place->files->remove(path);
    return status;
}

enum status store_begin_probe(struct store *store)
{
    if (!store->link.database)
        TRY(store_link_open(&store->link, store->database, store->vfs, store->cache_kib));
    TRY(probe_file(&store->place));
    TRY(store_link_run(&store->link,
                       "BEGIN IMMEDIATE; UPDATE meta SET value = value + 1 WHERE name = 'probes';"
                       "COMMIT"));
    return store_begin_load(store);
}

void store_begin_end(struct store *store)
{
    if (!store->link.database)
        return; /* the last probe of a disk that failed could not open it */
    enum status status =
        store_link_do(&store->link, "UPDATE meta SET value = ? WHERE name = 'last_us'",
                      store_int(store_now_us(store)));
    /* The log stays until the mark says that it is not needed. */
    if (status == STATUS_OK &&
        sqlite3_wal_checkpoint_v2(store->link.database, "main", SQLITE_CHECKPOINT_FULL, NULL,
                                  NULL) != SQLITE_OK)
        status = store_link_fail(&store->link, "checkpoint");
    if (status == STATUS_OK)
        status = store_place_mark(&store->place, STORE_PLACE_CLOSED, store->place.schema,
                                  store->place.opened);
    if (status == STATUS_OK)
        (void)sqlite3_wal_checkpoint_v2(store->link.database, "main", SQLITE_CHECKPOINT_TRUNCATE,
                                        NULL, NULL);
    else
        log_line(LOG_WARN, "store is left open", log_text("reason", status_message()));
}

/* What is given away is on disk in steps, so that no number comes twice
 * even where the newest batch is deleted. */
enum status store_begin_number(struct store_turn *turn, int64_t *number)
{
    struct store *store = turn->store;
    if (store->next_batch >= store->next_batch_kept) {
        const int64_t kept = store->next_batch + NUMBERS_KEPT;
        TRY(store_link_do(turn->link, "UPDATE meta SET value = ? WHERE name = 'next_batch'",
                          store_int(kept)));
        store->next_batch_kept = kept;
    }
    *number = store->next_batch++;
    return STATUS_OK;
}
