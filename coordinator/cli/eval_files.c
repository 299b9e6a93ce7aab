/* Owns nothing. Promises that a killed process leaves no half of a file under its name. */
#include "coordinator/cli/eval_files.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

static const char part[] = ".part";

enum { PART_PATH = PATH_MAX + sizeof part };

static void part_path(char name[PART_PATH], const char *path)
{
    snprintf(name, PART_PATH, "%s%s", path, part);
}

enum status eval_files_path(char path[PATH_MAX], const char *folder, const char *name)
{
    if ((size_t)snprintf(path, PATH_MAX, "%s/%s", folder, name) >= PATH_MAX - sizeof part)
        return fail(STATUS_INVALID_ARGUMENT, "--out %s: the path is too long", folder);
    return STATUS_OK;
}

enum status eval_files_begin(FILE **file, const char *path)
{
    char name[PART_PATH];
    part_path(name, path);
    *file = fopen(name, "we");
    return *file ? STATUS_OK : fail(STATUS_IO, "write %s: %s", name, strerror(errno));
}

enum status eval_files_end(FILE *file, const char *path, enum status status)
{
    char name[PART_PATH];
    part_path(name, path);
    const bool wrong = fflush(file) != 0 || ferror(file) || fsync(fileno(file)) != 0;
    const int cause = errno;
    if ((fclose(file) != 0 || wrong) && status == STATUS_OK)
        status = fail(STATUS_IO, "write %s: %s", name, strerror(wrong ? cause : errno));
    if (status == STATUS_OK && rename(name, path) != 0)
        status = fail(STATUS_IO, "rename %s: %s", name, strerror(errno));
    if (status != STATUS_OK)
        unlink(name);
    return status;
}

enum status eval_files_write(const char *path, const char *text, size_t bytes)
{
    FILE *file = NULL;
    TRY(eval_files_begin(&file, path));
    fwrite(text, 1, bytes, file);
    return eval_files_end(file, path, STATUS_OK);
}
