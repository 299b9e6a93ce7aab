/* Writes tensors of a model as a safetensors file, under the names that Hugging Face gives them. */
#pragma once

#include "proto/model/output_tensors.h"
#include "proto/status.h"

/* Makes the file at `path`, on disk when this returns; none is left on failure. The alignment is
 * 1. */
MUST_CHECK enum status output_safetensors_write(const char *path,
                                                const struct output_tensors_args *args);
