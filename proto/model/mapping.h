/* A file's bytes, mapped and read-only. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/status.h"

struct mapping {
    const uint8_t *data;
    size_t bytes;
};

/* The whole of a regular file that is not empty. NOT_FOUND (also where a Git LFS pointer stands for
 * the file), IO, INVALID_ARGUMENT (no regular file) or DATA_LOSS (empty). */
MUST_CHECK enum status mapping_open(struct mapping *mapping, const char *path);

/* Accepts {0}. */
void mapping_close(struct mapping *mapping);
