/* The folders of a run. */
#pragma once

#include "proto/status.h"

/* Makes `path` and the folders above it, where they are not there; a slash at its end changes
 * nothing. IO, INVALID_ARGUMENT for a path that is too long. */
MUST_CHECK enum status run_folder_make(const char *path);
