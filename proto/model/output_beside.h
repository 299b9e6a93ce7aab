/* Where a model lies while it is written: in a folder beside its place that is nobody else's, so
 * that neither a file that is there is lost nor two writers of one place meet. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "proto/status.h"

enum { OUTPUT_BESIDE_SUFFIX_BYTES = 40 }; /* what a name grows by, at most */

/* Makes a folder that was not there, "PLACE.KIND-PROCESS-NUMBER" of at most `bytes` with its end,
 * and gives its path. IO where it cannot be made. */
MUST_CHECK enum status output_beside_make(char *path, size_t bytes, const char *place,
                                          const char *kind);

/* Renames a file or a folder to `place`. ALREADY_EXISTS where it `keeps_existing` and something is
 * there; without, a file takes the place of a file. */
MUST_CHECK enum status output_beside_put(const char *path, const char *place, bool keeps_existing);
