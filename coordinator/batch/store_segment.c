/* Owns the segment files. Promises that a body is on disk before the row that names it, and that
 * nothing is written over a body. */
#include "coordinator/batch/store_segment.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "coordinator/batch/store_schema.h"
#include "coordinator/batch/store_parts.h"

enum { SEGMENT_BYTES = 256 * 1024 * 1024 };

struct record_head {
    char magic[8];
    uint64_t bytes, digest;
};

uint64_t store_segment_digest(const void *body, size_t bytes)
{
    return XXH3_64bits(body, bytes);
}

static void name_of(char *name, size_t bytes, int64_t number)
{
    snprintf(name, bytes, "segments/%lld", (long long)number);
}

/* Removes the file NAME of the folder of segments, unless a row names it. */
static enum status settle_file(struct store_segment *segment, const struct store_place *place,
                               struct store_link *link, const char *name)
{
    char path[PATH_MAX], relative[64], *end;
    const long long number = strtoll(name, &end, 10);
    if (number < 1 || *end)
        return STATUS_OK;
    if (number > segment->last_number)
        segment->last_number = number;
    int64_t live;
    bool named;
    TRY(store_link_number(link, &live, &named, "SELECT live FROM segments WHERE number = ?",
                          store_int(number)));
    if (named)
        return STATUS_OK;
    name_of(relative, sizeof relative, number);
    store_place_path(place, path, relative);
    const int removed = place->files->remove(path);
    return removed < 0 ? store_file_fail(removed, "remove", path) : STATUS_OK;
}

enum status store_segment_settle(struct store_segment *segment, const struct store_place *place,
                                 struct store_link *link)
{
    char path[PATH_MAX];
    bool found;
    *segment = (struct store_segment){.descriptor = -1};
    TRY(store_link_number_values(link, &segment->last_number, &found,
                                 "SELECT coalesce(max(number), 0) FROM segments", NULL, 0));
    store_place_path(place, path, "segments");
    DIR *folder = opendir(path);
    if (!folder)
        return fail(STATUS_IO, "open the folder %s: %s", path, strerror(errno));
    enum status status = STATUS_OK;
    for (struct dirent *entry; status == STATUS_OK && (entry = readdir(folder));)
        status = settle_file(segment, place, link, entry->d_name);
    closedir(folder);
    return status;
}

/* The row of a segment without live bodies goes with its file. */
static enum status retire(struct store_turn *turn, int64_t number)
{
    char name[64];
    int64_t live;
    bool found;
    TRY(store_link_number(turn->link, &live, &found, "SELECT live FROM segments WHERE number = ?",
                          store_int(number)));
    if (!found || live > 0)
        return STATUS_OK;
    TRY(store_link_do(turn->link, "DELETE FROM segments WHERE number = ?", store_int(number)));
    name_of(name, sizeof name, number);
    return store_turn_remove(turn, name);
}

static enum status begin_segment(struct store_turn *turn, struct store_segment *segment)
{
    char name[64], path[PATH_MAX];
    const struct store_place *place = &turn->store->place;
    const int64_t old = segment->descriptor >= 0 ? segment->number : 0;
    if (old) {
        TRY(store_segment_sync(segment, place));
        store_segment_abandon(segment, place);
        TRY(retire(turn, old));
    }
    const int64_t number = segment->last_number + 1;
    TRY(store_link_do(turn->link, "INSERT INTO segments VALUES(?, 0)", store_int(number)));
    name_of(name, sizeof name, number);
    store_place_path(place, path, name);
    const int descriptor = place->files->open(path, O_RDWR | O_CREAT | O_EXCL);
    segment->last_number = number;
    if (descriptor < 0)
        return store_file_fail(descriptor, "make", path);
    segment->descriptor = descriptor;
    segment->number = number;
    segment->bytes = 0;
    segment->unsynced = segment->name_unsynced = true;
    return STATUS_OK;
}

static enum status append(struct store_turn *turn, struct store_body *body, const void *bytes,
                          size_t size)
{
    char name[64], path[PATH_MAX];
    const struct store_place *place = &turn->store->place;
    struct store_segment *segment = &turn->store->segment;
    if (segment->descriptor < 0 || segment->bytes >= SEGMENT_BYTES)
        TRY(begin_segment(turn, segment));
    name_of(name, sizeof name, segment->number);
    store_place_path(place, path, name);
    const struct record_head head = {"LHSEGM1", size, body->digest};
    segment->unsynced = true;
    TRY(store_file_write(place->files, segment->descriptor, path, &head, sizeof head,
                         segment->bytes));
    TRY(store_file_write(place->files, segment->descriptor, path, bytes, size,
                         segment->bytes + (int64_t)sizeof head));
    body->segment = segment->number;
    body->place = segment->bytes + (int64_t)sizeof head;
    segment->bytes = body->place + (int64_t)size;
    TRY(store_link_do(turn->link, "UPDATE segments SET live = live + 1 WHERE number = ?",
                      store_int(segment->number)));
    return sqlite3_changes64(turn->link->database) == 1
               ? STATUS_OK
               : fail(STATUS_INTERNAL, "%s has no row", path);
}

enum status store_segment_put(struct store_turn *turn, struct store_body *body, const void *bytes,
                              size_t size)
{
    *body = (struct store_body){.size = size, .digest = store_segment_digest(bytes, size)};
    if (size > STORE_INLINE_BYTES)
        return append(turn, body, bytes, size);
    body->bytes = bytes ? bytes : "";
    return STATUS_OK;
}

/* One body that a row named is named no more. */
static enum status drop_body(struct store_turn *turn, int64_t number)
{
    TRY(store_link_do(turn->link, "UPDATE segments SET live = live - 1 WHERE number = ?",
                      store_int(number)));
    const struct store_segment *segment = &turn->store->segment;
    if (segment->descriptor >= 0 && segment->number == number)
        return STATUS_OK;
    return retire(turn, number);
}

enum status store_segment_forget_rows(struct store_turn *turn, const char *first,
                                      const char *remove, int64_t number, int64_t most, bool *more)
{
    *more = true;
    for (int64_t i = 0; i < most; i++) {
        sqlite3_stmt *rows;
        bool found;
        TRY(store_link_ask(turn->link, &rows, first, store_int(store_key(number, 0)),
                           store_int(store_key_end(number))));
        TRY(store_link_step(turn->link, rows, &found));
        *more = found;
        if (!found)
            return STATUS_OK;
        const int64_t key = sqlite3_column_int64(rows, 0);
        const int64_t segment = sqlite3_column_int64(rows, 1);
        sqlite3_reset(rows);
        TRY(store_link_do(turn->link, remove, store_int(key)));
        if (segment)
            TRY(drop_body(turn, segment));
    }
    return STATUS_OK;
}

enum status store_segment_sync(struct store_segment *segment, const struct store_place *place)
{
    char path[PATH_MAX];
    store_place_path(place, path, "segments");
    if (segment->unsynced) {
        const int synced = place->files->sync(segment->descriptor);
        if (synced < 0)
            return store_file_fail(synced, "sync a file in", path);
        segment->unsynced = false;
    }
    if (segment->name_unsynced) {
        const int synced = place->files->sync_folder(path);
        if (synced < 0)
            return store_file_fail(synced, "sync", path);
        segment->name_unsynced = false;
    }
    return STATUS_OK;
}

void store_segment_abandon(struct store_segment *segment, const struct store_place *place)
{
    if (segment->descriptor >= 0)
        (void)place->files->close(segment->descriptor);
    segment->descriptor = -1;
    segment->unsynced = segment->name_unsynced = false;
}

enum status store_segment_read(const struct store_place *place, int64_t number, int64_t body_place,
                               int64_t offset, void *to, size_t size)
{
    char name[64], path[PATH_MAX];
    name_of(name, sizeof name, number);
    store_place_path(place, path, name);
    const int descriptor = place->files->open(path, O_RDONLY);
    if (descriptor == -ENOENT)
        return fail(STATUS_DATA_LOSS, "%s is gone", path);
    if (descriptor < 0)
        return store_file_fail(descriptor, "open", path);
    const enum status status =
        store_file_read(place->files, descriptor, path, to, size, body_place + offset);
    (void)place->files->close(descriptor);
    return status;
}
