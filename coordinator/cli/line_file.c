/* Owns the descriptor. */
#include "coordinator/cli/line_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE_BYTES = 1 << 16 };

/* Into memory that is a file: it can be read again where an upload breaks. */
static enum status copy_standard_input(int to)
{
    char piece[PIECE_BYTES];
    for (;;) {
        const ssize_t got = read(STDIN_FILENO, piece, sizeof piece);
        if (got < 0 && errno == EINTR)
            return fail(STATUS_CANCELLED, "interrupted");
        if (got < 0)
            return fail(STATUS_IO, "read standard input: %s", strerror(errno));
        if (got == 0)
            return STATUS_OK;
        for (ssize_t done = 0; done < got;) {
            const ssize_t put = write(to, piece + done, (size_t)(got - done));
            if (put < 0)
                return fail(STATUS_IO, "keep standard input: %s", strerror(errno));
            done += put;
        }
    }
}

enum status line_file_open(struct line_file *file, const char *path)
{
    struct stat about;
    const bool is_stdin = strcmp(path, "-") == 0;
    *file = (struct line_file){.descriptor = is_stdin ? memfd_create("lines", MFD_CLOEXEC)
                                                      : open(path, O_RDONLY | O_CLOEXEC),
                               .path = path};
    if (file->descriptor < 0)
        return fail(STATUS_NOT_FOUND, "open %s: %s", path, strerror(errno));
    enum status status = is_stdin ? copy_standard_input(file->descriptor) : STATUS_OK;
    if (status == STATUS_OK && fstat(file->descriptor, &about) != 0)
        status = fail(STATUS_IO, "look at %s: %s", path, strerror(errno));
    if (status == STATUS_OK && !S_ISREG(about.st_mode))
        status = fail(STATUS_NOT_FOUND, "open %s: it is no file", path);
    if (status != STATUS_OK) {
        line_file_close(file);
        return status;
    }
    file->bytes = about.st_size;
    return STATUS_OK;
}

void line_file_close(struct line_file *file)
{
    if (file->descriptor >= 0)
        close(file->descriptor);
    file->descriptor = -1;
}

enum status line_file_read(void *context, int64_t offset, void *piece, size_t size, size_t *bytes)
{
    const struct line_file *file = context;
    const ssize_t got = pread(file->descriptor, piece, size, offset);
    if (got < 0)
        return fail(STATUS_IO, "read %s: %s", file->path, strerror(errno));
    *bytes = (size_t)got;
    return STATUS_OK;
}
