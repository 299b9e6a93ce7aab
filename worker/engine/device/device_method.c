/* Owns nothing: what follows from a choice of a method on a model. */
#include "worker/engine/device/device_method.h"

#include <math.h>
#include <string.h>

#include "proto/plan/memory_plan.h"

void device_method_make(struct device_method *method, const struct model_spec *spec,
                        const struct choice *choice)
{
    const struct method *asked = &choice->request.method;
    memset(method, 0, sizeof *method);
    const struct model_shape shape = spec_shape(spec, 0);
    sight_make(&method->sight, asked, &shape);
    method->bands = method->sight.tables[0].bands;
    spec_rotation_make(&method->rotation, spec, &asked->frequencies, method_logn(asked));
    spec_rotation_other(&method->other, spec, method_logn(asked));
    method->reach = method->sight.tables[0].reach;
    method->range_tokens = memory_plan_range_tokens(choice);
    const double log2_e = 1.4426950408889634;
    method->scale_log2 =
        (float)(spec->attention_scale > 0
                    ? method_logit_scale(asked) * log2_e * spec->attention_scale
                    : method_logit_scale(asked) * log2_e / sqrt((double)spec->head_dim));
    method->cap_log2 = (float)(spec->attention_cap * log2_e);
}
