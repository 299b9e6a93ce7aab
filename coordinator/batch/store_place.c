/* Owns the lock and the mark. Promises that two processes never write one store, and that a store
 * whose last acknowledged changes may be missing is not taken for a whole one. */
#include "coordinator/batch/store_place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

void store_place_path(const struct store_place *place, char path[PATH_MAX], const char *name)
{
    snprintf(path, PATH_MAX, "%s/%s", place->folder, name);
}

static enum status make_folder(const char *path)
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        return STATUS_OK;
    return fail(STATUS_IO, "make the folder %s: %s", path, strerror(errno));
}

static enum status make_folders(const struct store_place *place)
{
    static const char *const names[] = {"segments", "documents", "documents/new"};
    TRY(make_folder(place->folder));
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[PATH_MAX];
        store_place_path(place, path, names[i]);
        TRY(make_folder(path));
    }
    return STATUS_OK;
}

enum status store_place_check_kind(const char *folder, int64_t kind)
{
    static const struct {
        int64_t kind;
        const char *name;
    } shared[] = {
        {0x6969, "NFS"},      {0x0bd00bd0, "Lustre"},   {0x517b, "SMB"},
        {0xff534d42, "CIFS"}, {0xfe534d42, "SMB2"},     {0x00c36400, "Ceph"},
        {0x47504653, "GPFS"}, {0x19830326, "BeeGFS"},   {0x5346414f, "AFS"},
        {0x6b414653, "AFS"},  {0x01021997, "9P"},       {0x7461636f, "OCFS2"},
        {0x01161970, "GFS2"}, {0xaad7aaea, "PanFS"},    {0x73757245, "Coda"},
        {0x65735546, "FUSE"}, {0x20030528, "OrangeFS"},
    };
    for (size_t i = 0; i < sizeof shared / sizeof shared[0]; i++)
        if (shared[i].kind == kind)
            return fail(STATUS_FAILED_PRECONDITION,
                        "%s is on %s: the store's log needs memory that processes of one machine "
                        "share; choose a folder on a local disk",
                        folder, shared[i].name);
    return STATUS_OK;
}

static enum status take_lock(struct store_place *place)
{
    char path[PATH_MAX], holder[128] = "";
    store_place_path(place, path, "lock");
    place->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (place->lock < 0)
        return fail(STATUS_IO, "open %s: %s", path, strerror(errno));
    if (flock(place->lock, LOCK_EX | LOCK_NB) != 0) {
        const int reason = errno;
        const ssize_t got = pread(place->lock, holder, sizeof holder - 1, 0);
        holder[got > 0 ? got : 0] = '\0';
        holder[strcspn(holder, "\n")] = '\0';
        if (reason == EWOULDBLOCK)
            return fail(STATUS_FAILED_PRECONDITION,
                        "%s is in use by %s: end it, or give another folder", place->folder,
                        holder[0] ? holder : "another process");
        return fail(STATUS_IO, "lock %s: %s", path, strerror(reason));
    }
    const int length = snprintf(holder, sizeof holder, "process %lld\n", (long long)getpid());
    if (ftruncate(place->lock, 0) != 0 || pwrite(place->lock, holder, (size_t)length, 0) < 0)
        return fail(STATUS_UNAVAILABLE, "write %s: %s", path, strerror(errno));
    return STATUS_OK;
}

static const char *const end_names[] = {"making", "open", "closed"};

/* The mark is one line: "longhaul-store END schema N opened N". */
static enum status read_mark(struct store_place *place, bool *there)
{
    char path[PATH_MAX], line[256], end[16];
    store_place_path(place, path, "state");
    FILE *file = fopen(path, "re");
    *there = file != NULL;
    if (!file)
        return errno == ENOENT ? STATUS_OK : fail(STATUS_IO, "open %s: %s", path, strerror(errno));
    const char *got = fgets(line, sizeof line, file);
    fclose(file);
    long long schema, opened;
    if (got &&
        sscanf(line, "longhaul-store %15s schema %lld opened %lld", end, &schema, &opened) == 3)
        for (int i = 0; i < 3; i++)
            if (strcmp(end, end_names[i]) == 0) {
                place->end = (enum store_place_end)i;
                place->schema = schema;
                place->opened = opened;
                return STATUS_OK;
            }
    return fail(STATUS_DATA_LOSS, "%s is damaged: it does not say how the store was left", path);
}

enum status store_place_mark(struct store_place *place, enum store_place_end end, int64_t schema,
                             int64_t opened)
{
    char line[128];
    const int bytes = snprintf(line, sizeof line, "longhaul-store %s schema %lld opened %lld\n",
                               end_names[end], (long long)schema, (long long)opened);
    TRY(store_file_replace(place->files, place->folder, "state", line, (size_t)bytes));
    place->end = end;
    place->schema = schema;
    place->opened = opened;
    return STATUS_OK;
}

static bool is_there(const struct store_place *place, const char *name)
{
    char path[PATH_MAX];
    struct stat found;
    store_place_path(place, path, name);
    return stat(path, &found) == 0;
}

/* A database that is not there yet, or was being made when its process ended. */
static enum status begin_anew(struct store_place *place)
{
    static const char *const names[] = {"store.db", "store.db-wal", "store.db-shm",
                                        "store.db-journal"};
    TRY(store_place_mark(place, STORE_PLACE_MAKING, 0, 0));
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[PATH_MAX];
        store_place_path(place, path, names[i]);
        const int removed = place->files->remove(path);
        if (removed < 0 && removed != -ENOENT)
            return store_file_fail(removed, "remove", path);
    }
    return STATUS_OK;
}

static enum status settle(struct store_place *place)
{
    struct statfs disk;
    if (statfs(place->folder, &disk) != 0)
        return fail(STATUS_IO, "look at the file system of %s: %s", place->folder, strerror(errno));
    TRY(store_place_check_kind(place->folder, (int64_t)disk.f_type & 0xffffffff));
    TRY(take_lock(place));
    bool marked;
    TRY(read_mark(place, &marked));
    if (!marked && is_there(place, "store.db"))
        return fail(STATUS_FAILED_PRECONDITION,
                    "%s/store.db has no file `state` beside it that says how it was left: put it "
                    "back, or give another folder",
                    place->folder);
    if (!marked || place->end == STORE_PLACE_MAKING)
        return begin_anew(place);
    if (!is_there(place, "store.db"))
        return fail(
            STATUS_FAILED_PRECONDITION,
            "%s/store.db is gone, its file `state` is there: put the database back, or give "
            "another folder",
            place->folder);
    return STATUS_OK;
}

enum status store_place_open(struct store_place *place, const char *folder,
                             const struct store_file_row *files)
{
    memset(place, 0, sizeof *place);
    place->files = files;
    place->lock = -1;
    if (strlen(folder) >= sizeof place->folder)
        return fail(STATUS_INVALID_ARGUMENT, "the name of the store's folder is too long");
    snprintf(place->folder, sizeof place->folder, "%s", folder);
    TRY(make_folders(place));
    const enum status status = settle(place);
    if (status != STATUS_OK)
        store_place_close(place);
    return status;
}

enum status store_place_look(struct store_place *place, const char *folder)
{
    bool marked = false;
    *place = (struct store_place){.files = &store_file_system, .lock = -1};
    if (strlen(folder) >= sizeof place->folder)
        return fail(STATUS_INVALID_ARGUMENT, "the name of the store's folder is too long");
    snprintf(place->folder, sizeof place->folder, "%s", folder);
    TRY(read_mark(place, &marked));
    if (!marked || place->end == STORE_PLACE_MAKING || !is_there(place, "store.db"))
        return fail(STATUS_NOT_FOUND,
                    "%s is no store: give the folder that a coordinator has as --store", folder);
    return STATUS_OK;
}

enum status store_place_hold_files(const struct store_place *place, int *hold)
{
    char path[PATH_MAX];
    store_place_path(place, path, "files-held");
    const int descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (descriptor < 0)
        return fail(STATUS_IO, "open %s: %s", path, strerror(errno));
    if (flock(descriptor, LOCK_SH) == 0) {
        *hold = descriptor;
        return STATUS_OK;
    }
    const int reason = errno;
    close(descriptor);
    return fail(STATUS_IO, "lock %s: %s", path, strerror(reason));
}

bool store_place_files_are_held(const struct store_place *place)
{
    char path[PATH_MAX];
    store_place_path(place, path, "files-held");
    const int descriptor = open(path, O_RDWR | O_CLOEXEC);
    const bool held = descriptor >= 0 && flock(descriptor, LOCK_EX | LOCK_NB) != 0;
    if (descriptor >= 0)
        close(descriptor);
    return held;
}

void store_place_close(struct store_place *place)
{
    if (place->lock >= 0)
        close(place->lock);
    place->lock = -1;
}

static int64_t file_bytes(const struct store_place *place, const char *name)
{
    char path[PATH_MAX];
    struct stat found;
    store_place_path(place, path, name);
    return stat(path, &found) == 0 ? (int64_t)found.st_size : 0;
}

bool store_place_has_log(const struct store_place *place)
{
    enum { LOG_HEAD_BYTES = 32 };
    return file_bytes(place, "store.db-wal") >= LOG_HEAD_BYTES;
}

int64_t store_place_log_bytes(const struct store_place *place)
{
    return file_bytes(place, "store.db-wal");
}

int64_t store_place_free_bytes(const struct store_place *place)
{
    struct statfs disk;
    return statfs(place->folder, &disk) == 0 ? (int64_t)disk.f_bavail * (int64_t)disk.f_bsize : 0;
}
