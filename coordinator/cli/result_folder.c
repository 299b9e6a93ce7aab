/* Owns nothing. Promises that the results of an earlier measurement are not written over. */
#include "coordinator/cli/result_folder.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum status join(char path[PATH_MAX], const char *folder, const char *name)
{
    if ((size_t)snprintf(path, PATH_MAX, "%s/%s", folder, name) >= PATH_MAX)
        return fail(STATUS_INVALID_ARGUMENT, "--out %s: the path is too long", folder);
    return STATUS_OK;
}

enum status result_folder_prepare(const char *folder, const char *results)
{
    char path[PATH_MAX];
    struct stat facts;
    TRY(join(path, folder, results));
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return fail(STATUS_IO, "make %s: %s", folder, strerror(errno));
    if (stat(path, &facts) == 0)
        return fail(STATUS_ALREADY_EXISTS, "%s is there already: give another --out, or remove it",
                    path);
    if (access(folder, W_OK | X_OK) != 0)
        return fail(STATUS_IO, "write into %s: %s", folder, strerror(errno));
    return STATUS_OK;
}

enum status result_folder_create(FILE **file, const char *folder, const char *name)
{
    char path[PATH_MAX];
    TRY(join(path, folder, name));
    *file = fopen(path, "we");
    return *file ? STATUS_OK : fail(STATUS_IO, "write %s: %s", path, strerror(errno));
}

enum status result_folder_finish(FILE *file, const char *folder, const char *name)
{
    const bool whole = !ferror(file);
    if (fclose(file) == 0 && whole)
        return STATUS_OK;
    return fail(STATUS_IO, "write %s/%s: %s", folder, name,
                errno ? strerror(errno) : "not all could be written");
}

void result_folder_remove(const char *folder, const char *name)
{
    char path[PATH_MAX];
    if (join(path, folder, name) == STATUS_OK)
        unlink(path);
}
