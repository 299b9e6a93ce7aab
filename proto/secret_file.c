/* Owns nothing. Promises that no secret is taken from a file which others could have read or
 * written. */
#include "proto/secret_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DRAWN_BYTES = 32, FILE_MOST = 4096 };

enum status secret_file_check(int descriptor, const char *path, const struct secret_kind *kind,
                              bool folder)
{
    struct stat about;
    if (fstat(descriptor, &about) != 0)
        return fail(STATUS_IO, "look at %s: %s", path, strerror(errno));
    if (!folder && !S_ISREG(about.st_mode))
        return fail(STATUS_FAILED_PRECONDITION, "the %s %s is not a regular file", kind->name,
                    path);
    if (about.st_uid != geteuid())
        return fail(STATUS_FAILED_PRECONDITION,
                    "%s belongs to user %u, not to %u, who runs this: it is not safe for a %s; "
                    "name another file with %s",
                    path, (unsigned)about.st_uid, (unsigned)geteuid(), kind->name, kind->option);
    if (about.st_mode & (S_IRWXG | S_IRWXO))
        return fail(STATUS_FAILED_PRECONDITION,
                    "%s is open to other users (mode %04o): it is not safe for a %s; chmod %s it, "
                    "or name another file with %s",
                    path, (unsigned)about.st_mode & 07777, kind->name, folder ? "700" : "600",
                    kind->option);
    return STATUS_OK;
}

static enum status take_text(char text[SECRET_ROOM], const char *path,
                             const struct secret_kind *kind, const char *bytes, size_t count)
{
    while (count > 0 && strchr(" \t\r\n", bytes[count - 1]))
        count--;
    if (count == 0)
        return fail(STATUS_UNAVAILABLE, "the %s %s is empty", kind->name, path);
    bool printable = true;
    for (size_t i = 0; i < count; i++)
        printable = printable && bytes[i] > ' ' && bytes[i] <= '~';
    if (!printable || count < SECRET_LEAST || count > SECRET_MOST)
        return fail(STATUS_INVALID_ARGUMENT,
                    "%s holds no %s: that is one word of %d to %d printable characters, "
                    "as `openssl rand -hex 32` makes it",
                    path, kind->name, SECRET_LEAST, SECRET_MOST);
    memset(text, 0, SECRET_ROOM);
    memcpy(text, bytes, count);
    return STATUS_OK;
}

enum status secret_file_read(char text[SECRET_ROOM], const char *path,
                             const struct secret_kind *kind)
{
    /* A pipe of that name must not hold us. */
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (descriptor < 0)
        return fail(errno == ENOENT ? STATUS_NOT_FOUND : STATUS_FAILED_PRECONDITION,
                    "open the %s %s: %s", kind->name, path, strerror(errno));
    char bytes[FILE_MOST];
    ssize_t got = 0;
    enum status status = secret_file_check(descriptor, path, kind, false);
    if (status == STATUS_OK && (got = read(descriptor, bytes, sizeof bytes)) < 0)
        status = fail(STATUS_IO, "read the %s %s: %s", kind->name, path, strerror(errno));
    if (status == STATUS_OK)
        status = take_text(text, path, kind, bytes, (size_t)got);
    explicit_bzero(bytes, sizeof bytes);
    close(descriptor);
    return status;
}

enum status secret_file_draw(char text[SECRET_ROOM], const struct secret_kind *kind)
{
    uint8_t bytes[DRAWN_BYTES];
    if (getrandom(bytes, sizeof bytes, 0) != DRAWN_BYTES)
        return fail(STATUS_IO, "draw a %s: %s", kind->name, strerror(errno));
    for (int i = 0; i < DRAWN_BYTES; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    explicit_bzero(bytes, sizeof bytes);
    return STATUS_OK;
}
