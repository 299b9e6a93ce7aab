/* Owns the copy of a store that goes on serving: the database by SQLite, files by hard links. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "coordinator/batch/store.h"
#include "coordinator/batch/store_parts.h"
#include "coordinator/batch/store_schema.h"

/* One state of the database, whole, in a file of its own. */
static enum status copy_database(struct store_link *from, const char *path)
{
    sqlite3 *to;
    enum status status = STATUS_OK;
    if (sqlite3_open_v2(path, &to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) != SQLITE_OK) {
        status = fail(STATUS_IO, "make %s: %s", path, sqlite3_errmsg(to));
        (void)sqlite3_close(to);
        return status;
    }
    sqlite3_backup *backup = sqlite3_backup_init(to, "main", from->database, "main");
    const int stepped = backup ? sqlite3_backup_step(backup, -1) : SQLITE_ERROR;
    if (backup)
        (void)sqlite3_backup_finish(backup);
    if (stepped != SQLITE_DONE)
        status = fail(STATUS_IO, "copy the database to %s: %s", path, sqlite3_errmsg(to));
    if (sqlite3_close(to) != SQLITE_OK && status == STATUS_OK)
        status = fail(STATUS_IO, "close %s: %s", path, sqlite3_errmsg(to));
    return status;
}

static enum status link_folder(const struct store_place *from, const struct store_place *to,
                               const char *name)
{
    char from_path[PATH_MAX], to_path[PATH_MAX];
    store_place_path(from, from_path, name);
    store_place_path(to, to_path, name);
    DIR *folder = opendir(from_path);
    if (!folder)
        return fail(STATUS_IO, "open the folder %s: %s", from_path, strerror(errno));
    enum status status = STATUS_OK;
    for (struct dirent *entry; status == STATUS_OK && (entry = readdir(folder));) {
        char old[2 * PATH_MAX], new[2 * PATH_MAX];
        struct stat found;
        snprintf(old, sizeof old, "%s/%s", from_path, entry->d_name);
        snprintf(new, sizeof new, "%s/%s", to_path, entry->d_name);
        /* What is gone meanwhile was not in the database that was copied. */
        if (stat(old, &found) == 0 && S_ISREG(found.st_mode) && link(old, new) != 0 &&
            errno != ENOENT)
            status = fail(STATUS_IO, "link %s to %s: %s", new, old, strerror(errno));
    }
    closedir(folder);
    const int synced = to->files->sync_folder(to_path);
    return status == STATUS_OK && synced < 0 ? store_file_fail(synced, "sync", to_path) : status;
}

static enum status copy_all(struct store *store, struct store_link *link, struct store_place *place)
{
    char path[PATH_MAX];
    int64_t opened;
    bool found;
    store_place_path(place, path, "store.db");
    TRY(copy_database(link, path));
    TRY(link_folder(&store->place, place, "segments"));
    TRY(link_folder(&store->place, place, "documents"));
    TRY(store_link_number_values(link, &opened, &found,
                                 "SELECT value FROM meta WHERE name = 'opened'", NULL, 0));
    return store_place_mark(place, STORE_PLACE_CLOSED, STORE_SCHEMA_VERSION, opened);
}

enum status store_backup(struct store *store, const char *folder)
{
    struct store_place place;
    struct store_link *link;
    struct stat found;
    if (stat(folder, &found) == 0)
        return fail(STATUS_ALREADY_EXISTS, "%s is there: choose a new folder", folder);
    TRY(store_place_open(&place, folder, store->place.files));
    enum status status = store_readers_take(store->readers, &link);
    if (status == STATUS_OK) {
        int hold = -1;
        status = store_place_hold_files(&store->place, &hold);
        if (status == STATUS_OK) {
            status = copy_all(store, link, &place);
            close(hold);
        }
        store_readers_give(store->readers, link);
    }
    store_place_close(&place);
    return status;
}
