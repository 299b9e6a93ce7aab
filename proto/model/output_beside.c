/* Owns the names of what is being written. Promises that nothing that was there is opened for
 * writing, and that what may not be replaced is not, however long the writing took. */
#include "proto/model/output_beside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MODE = 0777, NAMES_MAX = 10000 };

enum status output_beside_make(char *path, size_t bytes, const char *place, const char *kind)
{
    for (int number = 0; number < NAMES_MAX; number++) {
        const int length =
            snprintf(path, bytes, "%s.%s-%ld-%d", place, kind, (long)getpid(), number);
        if (length < 0 || (size_t)length >= bytes)
            return fail(STATUS_INVALID_ARGUMENT, "the path %.64s... is too long", place);
        if (mkdir(path, MODE) == 0)
            return STATUS_OK;
        if (errno != EEXIST)
            return fail(STATUS_IO, "make the folder %s: %s", path, strerror(errno));
    }
    return fail(STATUS_IO, "%s and all names before it are taken; remove what is not needed", path);
}

static enum status fail_to_put(const char *path, const char *place)
{
    if (errno == EEXIST || errno == ENOTEMPTY || errno == ENOTDIR)
        return fail(STATUS_ALREADY_EXISTS, "%s is there already", place);
    return fail(STATUS_IO, "rename %s to %s: %s", path, place, strerror(errno));
}

/* A folder is not renamed over anything but an empty one. Of a file a link is refused where
 * something is; a file system without links leaves a moment between the look and the renaming. */
static enum status put_without_flag(const char *path, const char *place)
{
    struct stat facts;
    if (lstat(path, &facts) == 0 && S_ISDIR(facts.st_mode))
        return rename(path, place) == 0 ? STATUS_OK : fail_to_put(path, place);
    if (link(path, place) == 0) {
        (void)unlink(path);
        return STATUS_OK;
    }
    if (errno != EPERM && errno != EOPNOTSUPP && errno != ENOSYS)
        return fail_to_put(path, place);
    if (lstat(place, &facts) == 0)
        return fail(STATUS_ALREADY_EXISTS, "%s is there already", place);
    return rename(path, place) == 0 ? STATUS_OK : fail_to_put(path, place);
}

enum status output_beside_put(const char *path, const char *place, bool keeps_existing)
{
    if (!keeps_existing)
        return rename(path, place) == 0
                   ? STATUS_OK
                   : fail(STATUS_IO, "rename %s to %s: %s", path, place, strerror(errno));
    if (renameat2(AT_FDCWD, path, AT_FDCWD, place, RENAME_NOREPLACE) == 0)
        return STATUS_OK;
    return errno == EINVAL || errno == ENOSYS ? put_without_flag(path, place)
                                              : fail_to_put(path, place);
}
