/* Owns nothing. */
#include "coordinator/recipe/run_folder.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum status run_folder_make(const char *path)
{
    char made[PATH_MAX];
    if ((size_t)snprintf(made, sizeof made, "%s/", path) >= sizeof made)
        return fail(STATUS_INVALID_ARGUMENT, "%s: the path is too long", path);
    for (char *slash = strchr(made + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(made, 0777) != 0 && errno != EEXIST)
            return fail(STATUS_IO, "make the folder %s: %s", made, strerror(errno));
        *slash = '/';
    }
    return STATUS_OK;
}
