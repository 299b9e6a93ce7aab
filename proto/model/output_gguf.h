/* Writes a model as a GGUF file of version 3, or as several. */
#pragma once

#include "proto/model/model_save.h"
#include "proto/model/output_tensors.h"
#include "proto/status.h"

/* UNIMPLEMENTED for a folder's model whose rope scaling a GGUF file is not written for. */
MUST_CHECK enum status output_gguf_check(const struct model_save *save);

enum { OUTPUT_GGUF_ALIGNMENT = 32 };

/* Part `number`, from 0, of `count`. */
struct output_gguf_part {
    int number;
    int count;
    int all_tensors;                           /* of all parts */
    const struct output_tensors_args *tensors; /* of this one; their alignment is ours */
};

/* Makes the file at `path`, on disk when this returns; none is left on failure. Keys of a GGUF
 * source go in their order and as they are, but for those that are replaced; all are in the first
 * part. */
MUST_CHECK enum status output_gguf_write(const char *path, const struct model_save *save,
                                         const struct output_gguf_part *part);
