/* Owns the mapping of model files. Promises that nothing but a regular file is read, so that a
 * device or a pipe cannot make us wait. */
#include "proto/model/mapping.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum status mapping_open(struct mapping *mapping, const char *path)
{
    enum status status = STATUS_OK;
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0)
        return fail(errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO, "open model file %s: %s", path,
                    strerror(errno));
    struct stat facts;
    void *view = MAP_FAILED;
    if (fstat(file, &facts) != 0)
        status = fail(STATUS_IO, "read the size of model file %s: %s", path, strerror(errno));
    else if (!S_ISREG(facts.st_mode))
        status = fail(STATUS_INVALID_ARGUMENT, "model file %s is not a regular file", path);
    else if (facts.st_size == 0)
        status = fail(STATUS_DATA_LOSS, "%s: offset 0: the file is empty [truncated]", path);
    else if ((view = mmap(NULL, (size_t)facts.st_size, PROT_READ, MAP_PRIVATE, file, 0)) ==
             MAP_FAILED)
        status = fail(STATUS_IO, "map model file %s: %s", path, strerror(errno));
    close(file);
    if (status != STATUS_OK)
        return status;
    *mapping = (struct mapping){view, (size_t)facts.st_size};
    return STATUS_OK;
}

void mapping_close(struct mapping *mapping)
{
    if (mapping->data)
        munmap((void *)mapping->data, mapping->bytes);
    *mapping = (struct mapping){0};
}
