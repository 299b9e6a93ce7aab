/* Where the numbers of a model's tensors come from while it is written: an open model, two of them
 * merged, or parameters in memory. Tensors are read piece by piece, so that nobody needs memory for
 * a whole model.
 */
#pragma once

#include <stdint.h>

#include "proto/model/model.h"
#include "proto/model/model_role.h"
#include "proto/status.h"

struct model_values {
    /* out [count, columns]: rows first .. first + count of a tensor in float32; those of queries
     * and keys in the rotate-half layout (spec_qk_row), whatever the file's is. A vector is one
     * row, its elements in that layout too. `layer` is 0 for a role of the whole model. Asked for
     * roles that the model has (model_role_is_there), and for MODEL_OUTPUT where it is not tied. */
    enum status (*read)(void *context, float *out, enum model_role role, int layer, int64_t first,
                        int64_t count);
    void *context;
};

/* An open model's own, dequantised. */
struct model_values model_values_of(const struct model *model);

/* a_weight times `a` plus b_weight times `b`, summed in float64 and rounded once. */
struct model_values_merge {
    const struct model *a;
    const struct model *b;
    double a_weight;
    double b_weight;
};

/* Whether the two have one shape, the same parts and the same tokens: INVALID_ARGUMENT says where
 * they differ. Their files, formats, number formats, bases and context lengths may. */
MUST_CHECK enum status model_values_check_merge(const struct model *a, const struct model *b);

/* Borrows `merge`, whose models have been checked. */
struct model_values model_values_of_merge(const struct model_values_merge *merge);
