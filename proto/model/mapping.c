/* Owns the mapping of model files. Promises that nothing but a regular file is read, so that a
 * device or a pipe cannot make us wait, and that a file which was never downloaded is told so. */
#include "proto/model/mapping.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Git LFS keeps a text of a few lines where a large file belongs, until the file is fetched. */
static enum status refuse_lfs_pointer(const struct mapping *mapping, const char *path)
{
    static const char start[] = "version https://git-lfs.github.com/spec/";
    const size_t bytes = sizeof start - 1;
    if (mapping->bytes < bytes || memcmp(mapping->data, start, bytes) != 0)
        return STATUS_OK;
    return fail(
        STATUS_NOT_FOUND,
        "%s is a Git LFS pointer of %zu bytes: the file itself was not downloaded; fetch it "
        "with \"git lfs pull\" in its folder, or download the file [lfs-pointer]",
        path, mapping->bytes);
}

enum status mapping_open(struct mapping *mapping, const char *path)
{
    enum status status = STATUS_OK;
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0)
        return fail(errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO, "open %s: %s", path,
                    strerror(errno));
    struct stat facts;
    void *view = MAP_FAILED;
    if (fstat(file, &facts) != 0)
        status = fail(STATUS_IO, "read the size of %s: %s", path, strerror(errno));
    else if (!S_ISREG(facts.st_mode))
        status = fail(STATUS_INVALID_ARGUMENT, "%s is not a regular file", path);
    else if (facts.st_size == 0)
        status = fail(STATUS_DATA_LOSS, "%s: offset 0: the file is empty [truncated]", path);
    else if ((view = mmap(NULL, (size_t)facts.st_size, PROT_READ, MAP_PRIVATE, file, 0)) ==
             MAP_FAILED)
        status = fail(STATUS_IO, "map %s: %s", path, strerror(errno));
    close(file);
    if (status != STATUS_OK)
        return status;
    struct mapping opened = {view, (size_t)facts.st_size};
    status = refuse_lfs_pointer(&opened, path);
    if (status != STATUS_OK) {
        mapping_close(&opened);
        return status;
    }
    *mapping = opened;
    return STATUS_OK;
}

void mapping_close(struct mapping *mapping)
{
    if (mapping->data)
        munmap((void *)mapping->data, mapping->bytes);
    *mapping = (struct mapping){0};
}
