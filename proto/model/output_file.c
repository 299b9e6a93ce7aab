/* Owns a file's descriptor and buffer while it is written. Promises that a closed file is on disk,
 * whole. */
#include "proto/model/output_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUFFER_BYTES = 1 << 20, COPY_BYTES = 1 << 14, MODE = 0666 };

static enum status fail_on(const char *what, const char *path)
{
    return fail(STATUS_IO, "%s %s: %s", what, path, strerror(errno));
}

static void release(struct output_file *file)
{
    free(file->buffer);
    free(file->path);
    *file = (struct output_file){.descriptor = -1};
}

enum status output_file_open(struct output_file *file, const char *path)
{
    struct output_file opened = {.path = strdup(path), .buffer = malloc(BUFFER_BYTES)};
    if (!opened.path || !opened.buffer) {
        release(&opened);
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to write %s", path);
    }
    opened.descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, MODE);
    if (opened.descriptor < 0) {
        const enum status status = fail_on("open", path);
        release(&opened);
        return status;
    }
    *file = opened;
    return STATUS_OK;
}

enum status output_file_open_beside(struct output_file *file, const char *path)
{
    char *beside = NULL;
    if (asprintf(&beside, "%s.unfinished", path) < 0)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to write %s", path);
    const enum status status = output_file_open(file, beside);
    free(beside);
    return status;
}

static enum status write_all(const struct output_file *file, const uint8_t *data, size_t bytes)
{
    while (bytes > 0) {
        const ssize_t written = write(file->descriptor, data, bytes);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return fail_on("write", file->path);
        data += written;
        bytes -= (size_t)written;
    }
    return STATUS_OK;
}

static enum status flush(struct output_file *file)
{
    TRY(write_all(file, file->buffer, file->used));
    file->used = 0;
    return STATUS_OK;
}

enum status output_file_write(struct output_file *file, const void *data, size_t bytes)
{
    if (bytes > BUFFER_BYTES - file->used)
        TRY(flush(file));
    if (bytes > BUFFER_BYTES) {
        TRY(write_all(file, data, bytes));
    } else if (bytes > 0) {
        memcpy(file->buffer + file->used, data, bytes);
        file->used += bytes;
    }
    file->bytes += bytes;
    return STATUS_OK;
}

enum status output_file_pad(struct output_file *file, size_t alignment)
{
    static const uint8_t zero;
    while (file->bytes % alignment != 0)
        TRY(output_file_write(file, &zero, 1));
    return STATUS_OK;
}

enum status output_file_close(struct output_file *file)
{
    enum status status = flush(file);
    if (status == STATUS_OK && fsync(file->descriptor) != 0)
        status = fail_on("sync", file->path);
    if (close(file->descriptor) != 0 && status == STATUS_OK)
        status = fail_on("close", file->path);
    if (status != STATUS_OK)
        (void)unlink(file->path);
    release(file);
    return status;
}

enum status output_file_close_as(struct output_file *file, const char *path)
{
    char *beside = strdup(file->path);
    if (!beside) {
        output_file_discard(file);
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to write %s", path);
    }
    enum status status = output_file_close(file);
    if (status == STATUS_OK && rename(beside, path) != 0) {
        status = fail(STATUS_IO, "rename %s to %s: %s", beside, path, strerror(errno));
        (void)unlink(beside);
    }
    free(beside);
    return status == STATUS_OK ? output_file_sync_folder(path) : status;
}

void output_file_discard(struct output_file *file)
{
    if (file->descriptor < 0 || !file->path)
        return;
    (void)close(file->descriptor);
    (void)unlink(file->path);
    release(file);
}

static enum status copy_all(struct output_file *file, int from, const char *path)
{
    uint8_t piece[COPY_BYTES];
    for (;;) {
        const ssize_t bytes = read(from, piece, sizeof piece);
        if (bytes < 0 && errno == EINTR)
            continue;
        if (bytes < 0)
            return fail_on("read", path);
        if (bytes == 0)
            return STATUS_OK;
        TRY(output_file_write(file, piece, (size_t)bytes));
    }
}

/* A pipe is not waited for. */
static enum status open_regular(int *descriptor, const char *path)
{
    struct stat facts;
    const int opened = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (opened < 0)
        return errno == ENOENT ? fail(STATUS_NOT_FOUND, "open %s: %s", path, strerror(errno))
                               : fail_on("open", path);
    if (fstat(opened, &facts) == 0 && S_ISREG(facts.st_mode)) {
        *descriptor = opened;
        return STATUS_OK;
    }
    (void)close(opened);
    return fail(STATUS_INVALID_ARGUMENT, "%s is not a regular file", path);
}

enum status output_file_copy(const char *to, const char *from)
{
    struct output_file file;
    int descriptor = -1;
    enum status status;
    TRY(open_regular(&descriptor, from));
    TRY_ELSE(output_file_open(&file, to), close_source);
    TRY_ELSE(copy_all(&file, descriptor, from), discard);
    status = output_file_close(&file);
    goto close_source;
discard:
    output_file_discard(&file);
close_source:
    (void)close(descriptor);
    return status;
}

enum status output_file_sync_folder(const char *path)
{
    char folder[4096] = ".";
    const char *slash = strrchr(path, '/');
    const size_t bytes = slash ? (size_t)(slash - path) : 0;
    if (bytes >= sizeof folder)
        return fail(STATUS_INVALID_ARGUMENT, "the path %.64s... is too long", path);
    if (slash) {
        memcpy(folder, bytes > 0 ? path : "/", bytes > 0 ? bytes : 1);
        folder[bytes > 0 ? bytes : 1] = 0;
    }
    const int descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0)
        return fail_on("open", folder);
    const int synced = fsync(descriptor);
    const enum status status = synced == 0 ? STATUS_OK : fail_on("sync", folder);
    (void)close(descriptor);
    return status;
}
