/* Owns nothing. */
#include "worker/trainer/flat_values.h"

#include <string.h>

static enum status read_rows(void *context, float *out, enum model_role role, int layer,
                             int64_t first, int64_t count)
{
    const struct flat_values *flat = context;
    const struct parameters_row *one = parameters_find(flat->parameters, role, layer);
    if (!one || first < 0 || count < 0 || first + count > one->rows)
        return fail(STATUS_INTERNAL, "no parameters for rows %lld to %lld of role %d, layer %d",
                    (long long)first, (long long)(first + count), (int)role, layer);
    memcpy(out, flat->weights + one->offset + first * one->columns,
           (size_t)(count * one->columns) * sizeof *out);
    transport_mark(flat->transport);
    return STATUS_OK;
}

struct model_values flat_values_of(struct flat_values *flat)
{
    return (struct model_values){read_rows, flat};
}
