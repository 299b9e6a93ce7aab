/* A model's weights on a device, by role: every matrix row by row in its file's own type, rows of
 * queries and keys in the rotate-half order, vectors in float32.
 */
#pragma once

#include "kernels/kernels_cuda.h"
#include "proto/model/model.h"
#include "worker/engine/device/cuda_runtime.h"

struct weights_cuda;

/* Copies all of them; `model` may be closed afterwards. UNIMPLEMENTED names a shape that the
 * kernels do not take. */
MUST_CHECK enum status weights_cuda_create(struct weights_cuda **weights, const struct model *model,
                                           const struct cuda_streams *streams);

/* Of a role that the model has; `layer` is ignored for a role of the whole model. */
const struct kernels_cuda_matrix *weights_cuda_matrix(const struct weights_cuda *weights,
                                                      enum model_role role, int layer);
const float *weights_cuda_vector(const struct weights_cuda *weights, enum model_role role,
                                 int layer);

/* The `weights` region of the memory plan. */
size_t weights_cuda_bytes(const struct weights_cuda *weights);

/* Accepts NULL. */
void weights_cuda_destroy(struct weights_cuda *weights);
