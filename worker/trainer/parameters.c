/* Owns where tensors lie in the flat vector. */
#include "worker/trainer/parameters.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "proto/model/model_values.h"
#include "worker/engine/pcg32.h"

#define PI 3.14159265358979323846

static bool is_taken(const struct model_spec *spec, enum model_role role, int layer)
{
    if (role < MODEL_ATTN_NORM && layer > 0)
        return false;
    return model_role_is_there(spec, role) && !(role == MODEL_OUTPUT && spec->tied_output);
}

static void take(struct parameters *parameters, const struct model_spec *spec, enum model_role role,
                 int layer)
{
    const struct model_role_shape shape = model_role_shape(spec, role);
    const int64_t floats = shape.rows * shape.columns;
    parameters->place[layer * MODEL_ROLE_COUNT + (int)role] = parameters->count;
    parameters->list[parameters->count++] = (struct parameters_row){
        role, layer, shape.rows, shape.columns, parameters->floats, shape.is_vector};
    parameters->floats +=
        (floats + PARAMETERS_ALIGNMENT - 1) / PARAMETERS_ALIGNMENT * PARAMETERS_ALIGNMENT;
}

enum status parameters_create(struct parameters **out, const struct model_spec *spec)
{
    const size_t most = (size_t)spec->layers * MODEL_ROLE_COUNT;
    struct parameters *parameters = calloc(1, sizeof *parameters);
    if (parameters) {
        parameters->list = calloc(most, sizeof *parameters->list);
        parameters->place = calloc(most, sizeof *parameters->place);
    }
    if (!parameters || !parameters->list || !parameters->place) {
        parameters_destroy(parameters);
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a table of %d layers", spec->layers);
    }
    parameters->layers = spec->layers;
    for (size_t p = 0; p < most; p++)
        parameters->place[p] = -1;
    for (int layer = 0; layer < spec->layers; layer++)
        for (int role = 0; role < MODEL_ROLE_COUNT; role++)
            if (is_taken(spec, (enum model_role)role, layer))
                take(parameters, spec, (enum model_role)role, layer);
    if (spec->tied_output)
        parameters->place[MODEL_OUTPUT] = parameters->place[MODEL_TOKEN_EMBD];
    *out = parameters;
    return STATUS_OK;
}

void parameters_destroy(struct parameters *parameters)
{
    if (!parameters)
        return;
    free(parameters->list);
    free(parameters->place);
    free(parameters);
}

const struct parameters_row *parameters_find(const struct parameters *parameters,
                                             enum model_role role, int layer)
{
    const int row = role < MODEL_ATTN_NORM ? 0 : layer;
    const int place = parameters->place[row * MODEL_ROLE_COUNT + (int)role];
    return place < 0 ? NULL : &parameters->list[place];
}

enum status parameters_load(float *flat, const struct parameters *parameters,
                            const struct model *model)
{
    const struct model_values values = model_values_of(model);
    memset(flat, 0, (size_t)parameters->floats * sizeof *flat);
    for (int p = 0; p < parameters->count; p++) {
        const struct parameters_row *row = &parameters->list[p];
        TRY(values.read(values.context, flat + row->offset, row->role, row->layer, 0, row->rows));
    }
    return STATUS_OK;
}

/* ---- from scratch ---- */

/* Two of a normal distribution for two draws (Box and Muller). */
static void fill_normal(float *x, int64_t count, double deviation, struct pcg32 *random)
{
    for (int64_t i = 0; i < count; i += 2) {
        const double u = ((double)pcg32_next(random) + 1) * 0x1p-32;
        const double angle = 2 * PI * (double)pcg32_next(random) * 0x1p-32;
        const double length = deviation * sqrt(-2 * log(u));
        x[i] = (float)(length * cos(angle));
        if (i + 1 < count)
            x[i + 1] = (float)(length * sin(angle));
    }
}

static bool is_norm(enum model_role role)
{
    return role == MODEL_OUTPUT_NORM || role == MODEL_ATTN_NORM || role == MODEL_FFN_NORM ||
           role == MODEL_ATTN_Q_NORM || role == MODEL_ATTN_K_NORM;
}

void parameters_initialise(float *flat, const struct parameters *parameters, uint64_t seed)
{
    memset(flat, 0, (size_t)parameters->floats * sizeof *flat);
    for (int p = 0; p < parameters->count; p++) {
        const struct parameters_row *row = &parameters->list[p];
        const bool adds = row->role == MODEL_ATTN_OUTPUT || row->role == MODEL_FFN_DOWN;
        const double part = adds ? 1 / sqrt(2.0 * parameters->layers) : 1;
        struct pcg32 random = pcg32_seeded(pcg32_mixed(seed), (uint64_t)p);
        if (!row->is_vector)
            fill_normal(flat + row->offset, row->rows * row->columns,
                        part / sqrt((double)row->columns), &random);
        for (int64_t i = 0; is_norm(row->role) && i < row->columns; i++)
            flat[row->offset + i] = 1;
    }
}
