/* The file that results go to, one a line, appended as they come; standard output where there is
 * none. What is on disk is whole lines but for, after a crash, a part of the last one. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "proto/status.h"

struct result_file {
    FILE *file; /* standard output, or its own */
    const char *path;
    char *before; /* a line of an earlier run; getline's */
    size_t before_room;
    bool comparing; /* results are still those that an earlier run has written */
    double synced_seconds;
};

/* `path` NULL: standard output. An existing file is kept: the results that come first must be those
 * that it holds (result_file_take), unless `overwrite`. */
MUST_CHECK enum status result_file_open(struct result_file *file, const char *path, bool overwrite);

/* Every result is appended: what the file holds stays. Its last line must be whole. */
MUST_CHECK enum status result_file_append(struct result_file *file, const char *path);

/* The next result. Not written again where the file holds it; a torn last line is. ALREADY_EXISTS
 * where it holds another one in its place. IO where the disk is full. */
MUST_CHECK enum status result_file_take(struct result_file *file, const char *json);

/* What was taken can be seen by others; from time to time it is on disk, too. */
MUST_CHECK enum status result_file_flush(struct result_file *file);

/* All is on disk. `status` is how the taking ended: the first failure is handed on. */
MUST_CHECK enum status result_file_close(struct result_file *file, enum status status);
