/* Owns how the store's own files are written: whole, or with an error that names the file. */
#include "coordinator/batch/store_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int system_open(const char *path, int flags)
{
    const int descriptor = open(path, flags | O_CLOEXEC, 0600);
    return descriptor >= 0 ? descriptor : -errno;
}

static int64_t system_write(int descriptor, const void *from, size_t bytes, int64_t offset)
{
    const ssize_t written = pwrite(descriptor, from, bytes, offset);
    return written >= 0 ? written : -errno;
}

static int64_t system_read(int descriptor, void *to, size_t bytes, int64_t offset)
{
    const ssize_t got = pread(descriptor, to, bytes, offset);
    return got >= 0 ? got : -errno;
}

static int system_sync(int descriptor)
{
    return fdatasync(descriptor) == 0 ? 0 : -errno;
}

static int system_close(int descriptor)
{
    return close(descriptor) == 0 ? 0 : -errno;
}

static int system_rename(const char *from, const char *to)
{
    return rename(from, to) == 0 ? 0 : -errno;
}

static int system_remove(const char *path)
{
    return unlink(path) == 0 ? 0 : -errno;
}

static int system_sync_folder(const char *path)
{
    const int descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0)
        return -errno;
    const int returned = fsync(descriptor) == 0 ? 0 : -errno;
    close(descriptor);
    return returned;
}

const struct store_file_row store_file_system = {
    .open = system_open,
    .write = system_write,
    .read = system_read,
    .sync = system_sync,
    .close = system_close,
    .rename = system_rename,
    .remove = system_remove,
    .sync_folder = system_sync_folder,
};

enum status store_file_fail(int64_t returned, const char *what, const char *path)
{
    return fail(STATUS_UNAVAILABLE, "%s %s: %s", what, path, strerror((int)-returned));
}

enum status store_file_write(const struct store_file_row *files, int descriptor, const char *path,
                             const void *from, size_t bytes, int64_t offset)
{
    for (size_t done = 0; done < bytes;) {
        const int64_t written = files->write(descriptor, (const char *)from + done, bytes - done,
                                             offset + (int64_t)done);
        if (written < 0 && written != -EINTR)
            return store_file_fail(written, "write", path);
        if (written == 0)
            return store_file_fail(-ENOSPC, "write", path);
        if (written > 0)
            done += (size_t)written;
    }
    return STATUS_OK;
}

enum status store_file_read(const struct store_file_row *files, int descriptor, const char *path,
                            void *to, size_t bytes, int64_t offset)
{
    for (size_t done = 0; done < bytes;) {
        const int64_t got =
            files->read(descriptor, (char *)to + done, bytes - done, offset + (int64_t)done);
        if (got < 0 && got != -EINTR)
            return store_file_fail(got, "read", path);
        if (got == 0)
            return fail(STATUS_DATA_LOSS, "%s ends before byte %lld", path,
                        (long long)(offset + (int64_t)bytes));
        if (got > 0)
            done += (size_t)got;
    }
    return STATUS_OK;
}

/* Writes and syncs PATH, which comes to be. */
static enum status write_new(const struct store_file_row *files, const char *path,
                             const void *content, size_t bytes)
{
    const int descriptor = files->open(path, O_WRONLY | O_CREAT | O_TRUNC);
    if (descriptor < 0)
        return store_file_fail(descriptor, "make", path);
    enum status status = store_file_write(files, descriptor, path, content, bytes, 0);
    if (status == STATUS_OK) {
        const int synced = files->sync(descriptor);
        if (synced < 0)
            status = store_file_fail(synced, "sync", path);
    }
    files->close(descriptor);
    return status;
}

enum status store_file_replace(const struct store_file_row *files, const char *folder,
                               const char *name, const void *content, size_t bytes)
{
    char path[PATH_MAX], new_path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    snprintf(new_path, sizeof new_path, "%s/%s.new", folder, name);
    enum status status = write_new(files, new_path, content, bytes);
    if (status != STATUS_OK) {
        (void)files->remove(new_path);
        return status;
    }
    const int renamed = files->rename(new_path, path);
    if (renamed < 0)
        return store_file_fail(renamed, "rename", new_path);
    const int synced = files->sync_folder(folder);
    return synced < 0 ? store_file_fail(synced, "sync", folder) : STATUS_OK;
}
