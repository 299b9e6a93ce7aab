/* A document as bytes. */
#pragma once

#include <stddef.h>

#include "proto/status.h"

/* Reads a whole file, or standard input for "-". NOT_FOUND where it cannot be opened; OUT_OF_RANGE
 * past 1 GiB; INVALID_ARGUMENT where it is no UTF-8 or holds a NUL, with the offset. `*text` ends
 * in 0; the caller frees it. */
MUST_CHECK enum status text_file_read(char **text, size_t *bytes, const char *path);

/* NOT_FOUND, with the reason, where `path` is no file or folder that can be read. For a model that
 * another process will open, so that a mistyped path is answered at once. */
MUST_CHECK enum status text_file_check_readable(const char *path, const char *what);
