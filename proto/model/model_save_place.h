/* Whether a model may be written at a place. */
#pragma once

#include "proto/model/model_save.h"

/* `path` is the folder, or one GGUF file of those that are written. INVALID_ARGUMENT where a file
 * of the source is there, whatever its name; ALREADY_EXISTS for what may not be replaced. */
MUST_CHECK enum status model_save_place_check(const struct model_save *save, const char *path);
