/* The files in an evaluation's folder: each is there as a whole, or not. */
#pragma once

#include <limits.h>
#include <stddef.h>
#include <stdio.h>

#include "proto/status.h"

/* FOLDER/NAME. INVALID_ARGUMENT where that is too long. */
MUST_CHECK enum status eval_files_path(char path[PATH_MAX], const char *folder, const char *name);

/* A file that takes the name of `path` in eval_files_end; until then what stands there stays. */
MUST_CHECK enum status eval_files_begin(FILE **file, const char *path);

/* On disk, under its name, where `status` is OK; else gone. Returns `status`, or IO where not
 * all of it could be written. `file` is closed. */
MUST_CHECK enum status eval_files_end(FILE *file, const char *path, enum status status);

MUST_CHECK enum status eval_files_write(const char *path, const char *text, size_t bytes);
