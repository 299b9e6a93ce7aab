#include "coordinator/hostfile.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HOSTFILE_BYTES_MOST = 1 << 20 };

enum status hostfile_read(char **text, const char *path)
{
    char *read = calloc(1, HOSTFILE_BYTES_MOST + 1);
    FILE *file = read ? fopen(path, "re") : NULL;
    enum status status = STATUS_OK;
    if (!read)
        status = fail(STATUS_RESOURCE_EXHAUSTED, "no memory for --hostfile %s", path);
    else if (!file)
        status = fail(errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO, "--hostfile %s: %s", path,
                      strerror(errno));
    else if (fread(read, 1, HOSTFILE_BYTES_MOST, file) == HOSTFILE_BYTES_MOST)
        status = fail(STATUS_INVALID_ARGUMENT, "--hostfile %s: longer than %d bytes", path,
                      HOSTFILE_BYTES_MOST - 1);
    else if (ferror(file))
        status = fail(STATUS_IO, "--hostfile %s: %s", path, strerror(errno));
    if (file)
        fclose(file);
    if (status == STATUS_OK)
        *text = read;
    else
        free(read);
    return status;
}
