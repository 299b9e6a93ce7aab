/* A model's weights on one rank, by role: every matrix re-laid for the kernels in its file's
 * quantised type, every vector in float32, so that the file can be unmapped afterwards. Rows of
 * queries and keys are in the rotate-half order.
 *
 * A rank that has a slice of the model takes the slice's rows and columns alone. Columns that do
 * not fall on a quantised type's blocks become float32, with the same values.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"
#include "proto/model/model.h"
#include "proto/plan/tensor_slice.h"
#include "proto/status.h"

struct weights;

/* Where weights are kept that several ranks map. */
struct weights_store {
    int fd;     /* of memory that is as long at least; -1: private memory */
    bool packs; /* this rank fills it; else another one does, and nothing is read until it has */
    void (*between)(void *context); /* called between matrices */
    void *context;
};

/* Bytes that the re-laid weights take up: the `weights` region of the memory plan. */
size_t weights_bytes(const struct model *model, const struct tensor_slice *slice,
                     const struct kernels *kernels);

/* Re-lays those of the slice, and protects them from being written; `model` may be closed
 * afterwards. UNIMPLEMENTED names a shape that
 * the kernels do not take. */
MUST_CHECK enum status weights_create(struct weights **weights, const struct model *model,
                                      const struct tensor_slice *slice,
                                      const struct kernels *kernels,
                                      const struct weights_store *store);

/* Of a role that the model has; `layer` is ignored for a role of the whole model. */
const struct matmul_weights *weights_matrix(const struct weights *weights, enum model_role role,
                                            int layer);
const float *weights_vector(const struct weights *weights, enum model_role role, int layer);

/* Accepts NULL. */
void weights_destroy(struct weights *weights);
