/* A file while it is written. Bytes are gathered into large writes. After a failure it can only be
 * discarded. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/status.h"

struct output_file {
    int descriptor;
    char *path;
    uint8_t *buffer;
    size_t used;    /* of the buffer */
    uint64_t bytes; /* written so far, those in the buffer included */
};

/* Makes the file, or empties it. IO where it cannot be made. */
MUST_CHECK enum status output_file_open(struct output_file *file, const char *path);

/* Makes PATH.unfinished, for a file that takes its place by output_file_close_as. */
MUST_CHECK enum status output_file_open_beside(struct output_file *file, const char *path);

MUST_CHECK enum status output_file_write(struct output_file *file, const void *data, size_t bytes);

/* Zeros up to a multiple of `alignment`. */
MUST_CHECK enum status output_file_pad(struct output_file *file, size_t alignment);

/* Writes the rest, and returns once it is on disk. The file is closed also on failure. */
MUST_CHECK enum status output_file_close(struct output_file *file);

/* The same; then the file takes the place of `path` at once, and its name is on disk too. */
MUST_CHECK enum status output_file_close_as(struct output_file *file, const char *path);

/* Copies a regular file as it is, be it empty. NOT_FOUND, IO, or INVALID_ARGUMENT for what is no
 * regular file. */
MUST_CHECK enum status output_file_copy(const char *to, const char *from);

/* Closes, and removes what was written. For a file that failed before it was to be closed. */
void output_file_discard(struct output_file *file);

/* Returns once names in the folder of `path` are on disk: after a rename. */
MUST_CHECK enum status output_file_sync_folder(const char *path);
