/* Writes a model's weights as one safetensors file, under the names that Hugging Face gives
 * them. */
#pragma once

#include "kernels/dtype.h"
#include "proto/model/model_values.h"
#include "proto/status.h"

/* Makes the file at `path`, on disk when this returns; none is left on failure. All tensors have
 * `dtype`. */
MUST_CHECK enum status output_safetensors_write(const char *path, const struct model_spec *spec,
                                                const struct model_values *values,
                                                enum dtype dtype);
