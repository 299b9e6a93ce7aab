/* Owns the layer between a store and the system. Promises that what is recorded is what reached the
 * system, in its sequence. */
#include "tests/support/store_faults.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES = 512, DESCRIPTORS = 4096 };

/* Held over each call that changes the disk, so that the record has their sequence. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct crash_disk *disk;
static char root[PATH_BYTES];
static int64_t calls, fail_at;
static int fail_reason;
static bool fail_lasting, fired;
static char paths[DESCRIPTORS][PATH_BYTES]; /* of our own files, by descriptor */

/* The part behind the watched folder; NULL: not in it. */
static const char *below(const char *path)
{
    const size_t bytes = strlen(root);
    if (bytes == 0 || strncmp(path, root, bytes) != 0)
        return NULL;
    if (path[bytes] == '\0')
        return "";
    return path[bytes] == '/' ? path + bytes + 1 : NULL;
}

/* Under the lock: the error that this call is to fail with; 0: none. */
static int fault(void)
{
    calls++;
    if (fail_at == 0 || calls < fail_at || (calls > fail_at && !fail_lasting))
        return 0;
    fired = true;
    return fail_reason;
}

void store_faults_fail(int64_t at, int reason, bool lasting)
{
    pthread_mutex_lock(&lock);
    calls = 0;
    fail_at = at;
    fail_reason = reason;
    fail_lasting = lasting;
    fired = false;
    pthread_mutex_unlock(&lock);
}

int64_t store_faults_calls(void)
{
    pthread_mutex_lock(&lock);
    const int64_t count = calls;
    pthread_mutex_unlock(&lock);
    return count;
}

bool store_faults_fired(void)
{
    pthread_mutex_lock(&lock);
    const bool has = fired;
    pthread_mutex_unlock(&lock);
    return has;
}

/* ---- what is in the folder already ---- */

static void record_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    static uint8_t bytes[64 * 1024];
    int64_t offset = 0;
    assert(file);
    crash_disk_make(disk, below(path));
    for (size_t got; (got = fread(bytes, 1, sizeof bytes, file)) > 0; offset += (int64_t)got)
        crash_disk_write(disk, below(path), bytes, got, offset);
    crash_disk_sync(disk, below(path));
    fclose(file);
}

static void record_folder(const char *path)
{
    DIR *folder = opendir(path);
    assert(folder);
    for (struct dirent *entry; (entry = readdir(folder));) {
        char inner[PATH_BYTES];
        struct stat found;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            strcmp(entry->d_name, "store.db-shm") == 0 || strcmp(entry->d_name, "lock") == 0)
            continue;
        const int length = snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
        assert(length < PATH_BYTES);
        if (stat(inner, &found) == 0 && S_ISDIR(found.st_mode))
            record_folder(inner);
        else
            record_file(inner);
    }
    closedir(folder);
    crash_disk_sync_folder(disk, below(path));
}

/* ---- our own files ---- */

static int own_open(const char *path, int flags)
{
    if (!(flags & O_CREAT)) {
        const int opened = store_file_system.open(path, flags);
        return opened;
    }
    pthread_mutex_lock(&lock);
    const int reason = fault();
    const bool there = access(path, F_OK) == 0;
    const int descriptor = reason ? -reason : store_file_system.open(path, flags);
    assert(descriptor < DESCRIPTORS);
    if (descriptor >= 0) {
        snprintf(paths[descriptor], PATH_BYTES, "%s", path);
        if (disk && !there)
            crash_disk_make(disk, below(path));
        else if (disk && flags & O_TRUNC)
            crash_disk_truncate(disk, below(path), 0);
    }
    pthread_mutex_unlock(&lock);
    return descriptor;
}

static int64_t own_write(int descriptor, const void *from, size_t bytes, int64_t offset)
{
    pthread_mutex_lock(&lock);
    const int reason = fault();
    const size_t part = reason ? bytes / 2 : bytes;
    int64_t written = part > 0 ? store_file_system.write(descriptor, from, part, offset) : 0;
    if (disk && written > 0)
        crash_disk_write(disk, below(paths[descriptor]), from, (size_t)written, offset);
    pthread_mutex_unlock(&lock);
    return reason ? -reason : written;
}

static int own_sync(int descriptor)
{
    pthread_mutex_lock(&lock);
    const int reason = fault();
    const int synced = reason ? -reason : disk ? 0 : store_file_system.sync(descriptor);
    if (disk && synced == 0)
        crash_disk_sync(disk, below(paths[descriptor]));
    pthread_mutex_unlock(&lock);
    return synced;
}

static int own_rename(const char *from, const char *to)
{
    pthread_mutex_lock(&lock);
    const int reason = fault();
    const int renamed = reason ? -reason : store_file_system.rename(from, to);
    if (disk && renamed == 0)
        crash_disk_rename(disk, below(from), below(to));
    pthread_mutex_unlock(&lock);
    return renamed;
}

static int own_remove(const char *path)
{
    pthread_mutex_lock(&lock);
    const int reason = fault();
    const int removed = reason ? -reason : store_file_system.remove(path);
    if (disk && removed == 0)
        crash_disk_remove(disk, below(path));
    pthread_mutex_unlock(&lock);
    return removed;
}

static int own_sync_folder(const char *path)
{
    pthread_mutex_lock(&lock);
    const int reason = fault();
    const int synced = reason ? -reason : disk ? 0 : store_file_system.sync_folder(path);
    if (disk && synced == 0)
        crash_disk_sync_folder(disk, below(path));
    pthread_mutex_unlock(&lock);
    return synced;
}

static int own_close(int descriptor)
{
    return store_file_system.close(descriptor);
}

static int64_t own_read(int descriptor, void *to, size_t bytes, int64_t offset)
{
    return store_file_system.read(descriptor, to, bytes, offset);
}

const struct store_file_row store_faults_files = {
    .open = own_open,
    .write = own_write,
    .read = own_read,
    .sync = own_sync,
    .close = own_close,
    .rename = own_rename,
    .remove = own_remove,
    .sync_folder = own_sync_folder,
};

/* ---- SQLite's files ---- */

struct watched {
    sqlite3_file base;
    char path[PATH_BYTES]; /* "": a file without a name */
    bool name_unsynced;    /* SQLite's own VFS syncs the folder of a new log with its first sync */
    sqlite3_file *real;
};

static struct watched *watched_of(sqlite3_file *file)
{
    return (struct watched *)file;
}

/* SQLite's code for a fault, as its own VFS would give it. */
static int code_of(int reason, int otherwise)
{
    return reason == ENOSPC ? SQLITE_FULL : otherwise;
}

static int vfs_close(sqlite3_file *file)
{
    struct watched *w = watched_of(file);
    const int code = w->real->pMethods->xClose(w->real);
    free(w->real);
    return code;
}

static int vfs_read(sqlite3_file *file, void *to, int bytes, sqlite3_int64 offset)
{
    sqlite3_file *real = watched_of(file)->real;
    return real->pMethods->xRead(real, to, bytes, offset);
}

static int vfs_write(sqlite3_file *file, const void *from, int bytes, sqlite3_int64 offset)
{
    struct watched *w = watched_of(file);
    pthread_mutex_lock(&lock);
    const int reason = fault();
    const int part = reason ? bytes / 2 : bytes;
    int code = part > 0 ? w->real->pMethods->xWrite(w->real, from, part, offset) : SQLITE_OK;
    if (disk && code == SQLITE_OK && w->path[0])
        crash_disk_write(disk, below(w->path), from, (size_t)part, offset);
    if (reason)
        code = code_of(reason, SQLITE_IOERR_WRITE);
    pthread_mutex_unlock(&lock);
    return code;
}

static int vfs_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    struct watched *w = watched_of(file);
    pthread_mutex_lock(&lock);
    const int reason = fault();
    const int code = reason ? SQLITE_IOERR_TRUNCATE : w->real->pMethods->xTruncate(w->real, size);
    if (disk && code == SQLITE_OK && w->path[0])
        crash_disk_truncate(disk, below(w->path), size);
    pthread_mutex_unlock(&lock);
    return code;
}

static int vfs_sync(sqlite3_file *file, int flags)
{
    struct watched *w = watched_of(file);
    pthread_mutex_lock(&lock);
    const int reason = fault();
    const int code = reason ? SQLITE_IOERR_FSYNC
                     : disk ? SQLITE_OK
                            : w->real->pMethods->xSync(w->real, flags);
    if (disk && code == SQLITE_OK && w->path[0]) {
        crash_disk_sync(disk, below(w->path));
        if (w->name_unsynced)
            crash_disk_sync_folder(disk, "");
    }
    if (code == SQLITE_OK)
        w->name_unsynced = false;
    pthread_mutex_unlock(&lock);
    return code;
}

static int vfs_file_size(sqlite3_file *file, sqlite3_int64 *size)
{
    sqlite3_file *real = watched_of(file)->real;
    return real->pMethods->xFileSize(real, size);
}

static int vfs_lock(sqlite3_file *file, int level)
{
    sqlite3_file *real = watched_of(file)->real;
    return real->pMethods->xLock(real, level);
}

static int vfs_unlock(sqlite3_file *file, int level)
{
    sqlite3_file *real = watched_of(file)->real;
    return real->pMethods->xUnlock(real, level);
}

static int vfs_check_lock(sqlite3_file *file, int *held)
{
    sqlite3_file *real = watched_of(file)->real;
    return real->pMethods->xCheckReservedLock(real, held);
}

static int vfs_control(sqlite3_file *file, int op, void *argument)
{
    sqlite3_file *real = watched_of(file)->real;
    /* Hints of sizes change nothing here that a write does not. */
    if (op == SQLITE_FCNTL_SIZE_HINT || op == SQLITE_FCNTL_CHUNK_SIZE)
        return SQLITE_OK;
    return real->pMethods->xFileControl(real, op, argument);
}

static int vfs_sector_size(sqlite3_file *file)
{
    sqlite3_file *real = watched_of(file)->real;
    return real->pMethods->xSectorSize(real);
}

static int vfs_characteristics(sqlite3_file *file)
{
    sqlite3_file *real = watched_of(file)->real;
    return real->pMethods->xDeviceCharacteristics(real);
}

static int vfs_shm_map(sqlite3_file *file, int page, int bytes, int extend, void volatile **to)
{
    sqlite3_file *real = watched_of(file)->real;
    return real->pMethods->xShmMap(real, page, bytes, extend, to);
}

static int vfs_shm_lock(sqlite3_file *file, int offset, int count, int flags)
{
    sqlite3_file *real = watched_of(file)->real;
    return real->pMethods->xShmLock(real, offset, count, flags);
}

static void vfs_shm_barrier(sqlite3_file *file)
{
    sqlite3_file *real = watched_of(file)->real;
    real->pMethods->xShmBarrier(real);
}

static int vfs_shm_unmap(sqlite3_file *file, int remove_it)
{
    sqlite3_file *real = watched_of(file)->real;
    return real->pMethods->xShmUnmap(real, remove_it);
}

static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = vfs_close,
    .xRead = vfs_read,
    .xWrite = vfs_write,
    .xTruncate = vfs_truncate,
    .xSync = vfs_sync,
    .xFileSize = vfs_file_size,
    .xLock = vfs_lock,
    .xUnlock = vfs_unlock,
    .xCheckReservedLock = vfs_check_lock,
    .xFileControl = vfs_control,
    .xSectorSize = vfs_sector_size,
    .xDeviceCharacteristics = vfs_characteristics,
    .xShmMap = vfs_shm_map,
    .xShmLock = vfs_shm_lock,
    .xShmBarrier = vfs_shm_barrier,
    .xShmUnmap = vfs_shm_unmap,
};

static sqlite3_vfs *system_vfs;

static int vfs_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags,
                    int *out_flags)
{
    struct watched *w = watched_of(file);
    (void)vfs;
    memset(w, 0, sizeof *w);
    w->real = calloc(1, (size_t)system_vfs->szOsFile);
    if (!w->real)
        return SQLITE_NOMEM;
    pthread_mutex_lock(&lock);
    const bool makes = path && flags & SQLITE_OPEN_CREATE && access(path, F_OK) != 0;
    const int reason = makes ? fault() : 0;
    const int code =
        reason ? SQLITE_CANTOPEN : system_vfs->xOpen(system_vfs, path, w->real, flags, out_flags);
    if (code == SQLITE_OK) {
        snprintf(w->path, sizeof w->path, "%s", path ? path : "");
        w->name_unsynced = makes && flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL);
        if (disk && makes)
            crash_disk_make(disk, below(path));
    }
    pthread_mutex_unlock(&lock);
    if (code == SQLITE_OK)
        w->base.pMethods = &methods;
    else
        free(w->real);
    return code;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *path, int sync_folder)
{
    (void)vfs;
    pthread_mutex_lock(&lock);
    const int reason = fault();
    const int code =
        reason ? SQLITE_IOERR_DELETE : system_vfs->xDelete(system_vfs, path, sync_folder);
    if (disk && code == SQLITE_OK) {
        crash_disk_remove(disk, below(path));
        if (sync_folder)
            crash_disk_sync_folder(disk, "");
    }
    pthread_mutex_unlock(&lock);
    return code;
}

static void register_vfs(void)
{
    static sqlite3_vfs vfs;
    system_vfs = sqlite3_vfs_find(NULL);
    assert(system_vfs);
    vfs = *system_vfs;
    vfs.zName = STORE_FAULTS_VFS;
    vfs.szOsFile = (int)sizeof(struct watched);
    vfs.xOpen = vfs_open;
    vfs.xDelete = vfs_delete;
    vfs.pNext = NULL;
    const int code = sqlite3_vfs_register(&vfs, 0);
    assert(code == SQLITE_OK);
}

void store_faults_watch(const char *folder, struct crash_disk *watching)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, register_vfs);
    pthread_mutex_lock(&lock);
    snprintf(root, sizeof root, "%s", folder);
    disk = watching;
    if (disk) {
        record_folder(folder);
        crash_disk_begin(disk);
    }
    pthread_mutex_unlock(&lock);
}
