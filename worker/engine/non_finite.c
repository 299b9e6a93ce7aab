/* Owns the sentence. */
#include "worker/engine/non_finite.h"

#include <inttypes.h>
#include <stdio.h>

enum status non_finite_fail(uint64_t place, int64_t layers)
{
    const int64_t index = (int64_t)(place & ((UINT64_C(1) << NON_FINITE_INDEX_BITS) - 1));
    const int64_t layer = (int64_t)(place >> NON_FINITE_INDEX_BITS) / 2;
    char where[64] = "in its logits";
    if (layer < layers)
        snprintf(where, sizeof where, "in layer %" PRId64 " of %" PRId64, layer + 1, layers);
    return fail(STATUS_INTERNAL,
                "token %" PRId64 " of the sequence is the first whose numbers are not finite (NaN "
                "or infinity), %s: check the model file's weights",
                index + 1, where);
}
