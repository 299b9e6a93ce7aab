/* A model, opened and checked: its facts, its tensors and its tokenizer, as views into the mapped
 * file or files. Everything above this header is the same for a GGUF file and for a directory.
 *
 * Once model_open has succeeded, every tensor of model_role.h that the facts ask for is there once,
 * with its shape and a type that can be computed with, and nothing else needs checking. The
 * weights' numbers themselves are not looked at (a NaN passes).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/dtype.h"
#include "proto/model/checkpoint.h"
#include "proto/model/model_role.h"
#include "proto/model/spec.h"
#include "proto/model/vocab.h"
#include "proto/status.h"

struct model;

/* Row r is the dtype_row_bytes(dtype, columns) bytes from r times as many on. A vector has one row.
 */
struct model_tensor {
    const void *data; /* NULL where the model does not have the role */
    enum dtype dtype;
    int64_t rows;    /* outputs */
    int64_t columns; /* inputs, contiguous */
};

/* A GGUF file, or a directory as Hugging Face lays it out. As checkpoint_open fails, and with
 * UNIMPLEMENTED (by name) and DATA_LOSS where the model itself cannot be used. */
MUST_CHECK enum status model_open(struct model **model, const char *path);

/* For tests: the same over a GGUF file's bytes in memory, which are borrowed until model_close;
 * `name` stands for the path in sentences. */
MUST_CHECK enum status model_parse(struct model **model, const void *data, size_t bytes,
                                   const char *name);

/* The same over a checkpoint, which is borrowed until model_close. */
MUST_CHECK enum status model_create(struct model **model, struct checkpoint *checkpoint);

/* Ends every view. Accepts NULL. */
void model_close(struct model *model);

const struct model_spec *model_spec(const struct model *model);

/* Shaped as model_role_shape says; rows in the file's order: spec_qk_row. `layer` is ignored for a
 * role of the whole model. */
struct model_tensor model_tensor(const struct model *model, enum model_role role, int layer);

/* The elements of a vector (model_role_shape) in float32; those of heads in the rotate-half layout:
 * see spec_qk_row. */
void model_read_vector(float *elements, const struct model *model, enum model_role role, int layer);

/* NULL where the model has no tokenizer. */
const struct vocab *model_vocab(const struct model *model);

const struct checkpoint *model_checkpoint(const struct model *model);
