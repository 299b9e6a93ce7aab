/* What a device computes with for a sequence's method: made once, when the sequence comes, so that
 * sequences of any methods follow each other, or go together in a step. */
#pragma once

#include <stdint.h>

#include "kernels/bands.h"
#include "proto/model/spec.h"
#include "proto/plan/choice.h"
#include "proto/plan/sight.h"

struct device_method {
    struct bands bands; /* that all ranks exchange keys for: the first of the sight */
    struct sight sight;
    struct spec_rotation rotation;
    struct spec_rotation other; /* of the model's other layers, where it has some */
    int64_t reach;              /* bands_reach */
    int64_t range_tokens;       /* of a step's key range: memory_plan.h */
    float scale_log2; /* a product of a query and a key times it is a score in log2 units */
    float cap_log2;   /* of such a score; 0: none */
};

/* Of the same choice and model always the same bytes. */
void device_method_make(struct device_method *method, const struct model_spec *spec,
                        const struct choice *choice);
