/* Owns the file. Promises that a line is written once, whenever the writer was killed before. */
#include "coordinator/cli/result_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/clock.h"

enum { SYNC_SECONDS = 5 };

static enum status failed(const struct result_file *file, const char *what)
{
    return fail(STATUS_IO, "%s %s: %s", what, file->path ? file->path : "standard output",
                strerror(errno));
}

enum status result_file_open(struct result_file *file, const char *path, bool overwrite)
{
    *file = (struct result_file){.file = stdout, .path = path};
    if (!path)
        return STATUS_OK;
    const int flags = O_RDWR | O_CREAT | O_CLOEXEC | (overwrite ? O_TRUNC : 0);
    const int descriptor = open(path, flags, 0666);
    if (descriptor < 0)
        return failed(file, "open");
    file->file = fdopen(descriptor, "r+");
    if (!file->file) {
        close(descriptor);
        return failed(file, "open");
    }
    file->comparing = true;
    return STATUS_OK;
}

enum status result_file_append(struct result_file *file, const char *path)
{
    *file = (struct result_file){.file = fopen(path, "ae"), .path = path};
    return file->file ? STATUS_OK : failed(file, "open");
}

/* From here on lines are appended: what stands behind the last whole one goes. */
static enum status begin_appending(struct result_file *file, off_t end)
{
    file->comparing = false;
    if (fseeko(file->file, end, SEEK_SET) != 0 || ftruncate(fileno(file->file), end) != 0)
        return failed(file, "write");
    return STATUS_OK;
}

/* Whether the file holds this result next. */
static enum status compare(struct result_file *file, const char *json, bool *there)
{
    const off_t begin = ftello(file->file);
    const ssize_t bytes = getline(&file->before, &file->before_room, file->file);
    *there = false;
    if (bytes <= 0 || file->before[bytes - 1] != '\n')
        return begin_appending(file, begin);
    if ((size_t)bytes - 1 != strlen(json) || memcmp(file->before, json, (size_t)bytes - 1) != 0)
        return fail(STATUS_ALREADY_EXISTS,
                    "%s holds other results: name another file, or give --overwrite", file->path);
    *there = true;
    return STATUS_OK;
}

enum status result_file_take(struct result_file *file, const char *json)
{
    bool there = false;
    if (file->comparing)
        TRY(compare(file, json, &there));
    if (there)
        return STATUS_OK;
    if (fputs(json, file->file) < 0 || putc('\n', file->file) < 0)
        return failed(file, "write");
    return STATUS_OK;
}

enum status result_file_flush(struct result_file *file)
{
    if (fflush(file->file) != 0)
        return failed(file, "write");
    if (!file->path || clock_now_seconds() < file->synced_seconds + SYNC_SECONDS)
        return STATUS_OK;
    file->synced_seconds = clock_now_seconds();
    return fdatasync(fileno(file->file)) == 0 ? STATUS_OK : failed(file, "write");
}

enum status result_file_close(struct result_file *file, enum status status)
{
    free(file->before);
    file->before = NULL;
    if (!file->path)
        return fflush(stdout) == 0 || status != STATUS_OK ? status : failed(file, "write");
    if (!file->file)
        return status;
    /* Results that are fewer than what the file holds are others. */
    const bool more = file->comparing && status == STATUS_OK && getc(file->file) != EOF;
    const bool wrong = (fflush(file->file) != 0) | (fsync(fileno(file->file)) != 0);
    const bool unclosed = fclose(file->file) != 0;
    file->file = NULL;
    if (status != STATUS_OK)
        return status;
    if (more)
        return fail(STATUS_ALREADY_EXISTS,
                    "%s holds more results: name another file, or give --overwrite", file->path);
    return wrong || unclosed ? failed(file, "write") : STATUS_OK;
}
