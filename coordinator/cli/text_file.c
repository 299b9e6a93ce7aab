/* Owns nothing. Promises whole, valid UTF-8 or a sentence with the place. */
#include "coordinator/cli/text_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/utf8_check.h"

static const size_t BYTES_MAX = (size_t)1 << 30;

static enum status open_for_reading(int *descriptor, const char *path, const char *what)
{
    int opened = open(path, O_RDONLY | O_CLOEXEC);
    if (opened < 0)
        return fail(STATUS_NOT_FOUND, "open the %s %s: %s", what, path, strerror(errno));
    struct stat facts;
    if (fstat(opened, &facts) == 0 && S_ISDIR(facts.st_mode)) {
        close(opened);
        return fail(STATUS_NOT_FOUND, "open the %s %s: it is a folder", what, path);
    }
    *descriptor = opened;
    return STATUS_OK;
}

enum status text_file_check_readable(const char *path, const char *what)
{
    if (access(path, R_OK) != 0)
        return fail(STATUS_NOT_FOUND, "open the %s %s: %s", what, path, strerror(errno));
    return STATUS_OK;
}

static enum status read_all(char **text, size_t *bytes, int descriptor, const char *path)
{
    size_t room = 1 << 16, used = 0;
    char *buffer = malloc(room + 1);
    while (buffer) {
        ssize_t got = read(descriptor, buffer + used, room - used);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            free(buffer);
            return fail(STATUS_IO, "read %s: %s", path,
                        errno == EBADF ? "it is closed" : strerror(errno));
        }
        if (got == 0) {
            buffer[used] = '\0';
            *text = buffer;
            *bytes = used;
            return STATUS_OK;
        }
        used += (size_t)got;
        if (used > BYTES_MAX) {
            free(buffer);
            return fail(STATUS_OUT_OF_RANGE, "%s is larger than 1 GiB", path);
        }
        if (used < room)
            continue;
        room *= 2;
        char *larger = realloc(buffer, room + 1);
        if (!larger)
            free(buffer);
        buffer = larger;
    }
    return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to read %s", path);
}

static enum status check_text(const char *text, size_t bytes, const char *path)
{
    TRY(utf8_check(text, bytes, path));
    if (strlen(text) != bytes)
        return fail(STATUS_INVALID_ARGUMENT, "%s is no text: a zero byte at offset %zu", path,
                    strlen(text));
    return STATUS_OK;
}

enum status text_file_read(char **text, size_t *bytes, const char *path)
{
    bool standard_input = strcmp(path, "-") == 0;
    int descriptor = STDIN_FILENO;
    if (!standard_input)
        TRY(open_for_reading(&descriptor, path, "text"));
    enum status status =
        read_all(text, bytes, descriptor, standard_input ? "standard input" : path);
    if (!standard_input)
        close(descriptor);
    TRY(status);
    status = check_text(*text, *bytes, path);
    if (status != STATUS_OK) {
        free(*text);
        *text = NULL;
    }
    return status;
}
