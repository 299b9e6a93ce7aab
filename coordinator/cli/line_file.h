/* A file of lines that is read at offsets, for uploads; standard input is copied to a file without
 * a name first. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/status.h"

struct line_file {
    int descriptor;
    int64_t bytes;
    const char *path;
};

/* "-" is standard input. NOT_FOUND where it cannot be opened. */
MUST_CHECK enum status line_file_open(struct line_file *file, const char *path);
void line_file_close(struct line_file *file);

/* As batch_client_read: `file` is a struct line_file. */
MUST_CHECK enum status line_file_read(void *file, int64_t offset, void *piece, size_t size,
                                      size_t *bytes);
