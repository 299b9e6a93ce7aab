/* Writes a model as a GGUF file of version 3. */
#pragma once

#include "proto/model/model_save.h"
#include "proto/status.h"

/* UNIMPLEMENTED for a folder's model whose rope scaling a GGUF file is not written for. */
MUST_CHECK enum status output_gguf_check(const struct model_save *save);

/* Makes the file at `path`, on disk when this returns; none is left on failure. Keys of a GGUF
 * source go in their order and as they are, but for those that are replaced. */
MUST_CHECK enum status output_gguf_write(const char *path, const struct model_save *save);
