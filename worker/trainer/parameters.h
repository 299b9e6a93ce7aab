/* Where each of a model's tensors lies in a flat vector of float32: its weights while it is
 * trained, and likewise their gradients, moments and checkpoints.
 *
 * A matrix is [rows, columns] as model_role_shape says, row by row; rows of queries and keys, and
 * the elements of their biases and norms, are in the rotate-half layout (spec_qk_row). Tensors
 * begin at multiples of PARAMETERS_ALIGNMENT floats; what lies between them is 0. Where the output
 * is tied to the embedding, both are one tensor. */
#pragma once

#include <stdint.h>

#include "proto/model/model.h"
#include "proto/model/model_role.h"
#include "proto/status.h"

enum { PARAMETERS_ALIGNMENT = 16 };

struct parameters_row {
    enum model_role role;
    int layer; /* 0 for a role of the whole model */
    int64_t rows, columns;
    int64_t offset; /* floats */
    bool is_vector; /* a norm or a bias, which weight decay leaves alone */
};

struct parameters {
    int count;
    struct parameters_row *list; /* [count], by offset */
    int64_t floats;              /* of the flat vector */
    int layers;
    int *place; /* [layers, MODEL_ROLE_COUNT] in the list; -1: the model has none */
};

MUST_CHECK enum status parameters_create(struct parameters **parameters,
                                         const struct model_spec *spec);

/* Accepts NULL. */
void parameters_destroy(struct parameters *parameters);

/* NULL where the model has no such tensor. `layer` is ignored for a role of the whole model. */
const struct parameters_row *parameters_find(const struct parameters *parameters,
                                             enum model_role role, int layer);

/* flat [floats]: the model's own numbers, dequantised. */
MUST_CHECK enum status parameters_load(float *flat, const struct parameters *parameters,
                                       const struct model *model);

/* flat [floats]: for training from scratch. Matrices are normal with deviation 1 / sqrt(columns)
 * (LeCun et al., Efficient BackProp, 1998), those that add to the residual stream that / sqrt(2
 * layers) (Radford et al., GPT-2, 2019); norms are 1, biases 0. The same numbers for a seed
 * everywhere. */
void parameters_initialise(float *flat, const struct parameters *parameters, uint64_t seed);
