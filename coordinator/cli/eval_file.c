/* Owns the file and its line. */
#include "coordinator/cli/eval_file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum status eval_file_open(struct eval_file *file, const char *path)
{
    *file = (struct eval_file){.path = path, .file = fopen(path, "re")};
    return file->file ? STATUS_OK : fail(STATUS_NOT_FOUND, "open %s: %s", path, strerror(errno));
}

void eval_file_close(struct eval_file *file)
{
    if (file->file)
        fclose(file->file);
    free(file->line);
    *file = (struct eval_file){.path = NULL};
}

enum status eval_file_next(struct eval_file *file, struct eval_record *record, bool *there)
{
    ssize_t bytes = 0;
    do {
        bytes = getline(&file->line, &file->room, file->file);
        file->number++;
    } while (bytes > 0 && strspn(file->line, " \t\r\n") == (size_t)bytes);
    *there = bytes > 0;
    if (bytes <= 0)
        return ferror(file->file) ? fail(STATUS_IO, "read %s: %s", file->path, strerror(errno))
                                  : STATUS_OK;
    const enum status status = eval_record_parse(record, file->line, (size_t)bytes);
    if (status != STATUS_OK)
        return fail(status, "%s: line %" PRId64 ": %s", file->path, file->number, status_message());
    return STATUS_OK;
}
