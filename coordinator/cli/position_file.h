/* Positions of a prompt's tokens, in a file: whole numbers apart by blanks, lines or commas. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/status.h"

/* INVALID_ARGUMENT, with the line, where something is no number of [0, 2^40), or where none is
 * there. Whether they suit the prompt its tokens decide. The caller frees *positions. */
MUST_CHECK enum status position_file_read(int64_t **positions, size_t *count, const char *path);

/* The same from memory, which by itself is for tests. */
MUST_CHECK enum status position_file_read_text(int64_t **positions, size_t *count, const char *name,
                                               const char *text);
