/* What the workers of one request did when, as a file in the trace event format that Perfetto and
 * Chrome open: a process for each rank, its spans on one track, and exchanges beside them. */
#pragma once

#include <stddef.h>
#include <stdio.h>

#include "longhaul/v1/inference.pb-c.h"
#include "proto/status.h"

/* The file for it, made empty before anything is asked: IO where it cannot be. */
MUST_CHECK enum status trace_file_open(FILE **file, const char *path);

/* `parts` [count], as they came. Closes the file. */
MUST_CHECK enum status trace_file_write(FILE *file, const char *path,
                                        Longhaul__V1__RankTrace *const *parts, size_t count);
