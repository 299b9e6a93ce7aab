/* Owns a model's weights and its pass. */
#include "worker/trainer/scored_model.h"

#include <stdlib.h>

static enum status load(struct scored_model *scored, const char *path)
{
    const size_t bytes = ((size_t)scored->parameters->floats * sizeof(float) + 63) / 64 * 64;
    scored->weights = aligned_alloc(64, bytes);
    if (!scored->weights)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the weights of %s: %zu MiB", path,
                    bytes >> 20);
    return parameters_load(scored->weights, scored->parameters, scored->model);
}

static enum status open_parts(struct scored_model *scored, const char *path, const char *method,
                              const struct rank_work *work, const struct record_file *samples)
{
    TRY(model_open(&scored->model, path));
    const struct model_spec *spec = model_spec(scored->model);
    if (spec->vocab != samples->vocab)
        return fail(STATUS_INVALID_ARGUMENT,
                    "%s has ids of a vocabulary of %lld, and %s one of %d: make the samples with "
                    "this model",
                    samples->name, (long long)samples->vocab, path, spec->vocab);
    TRY(method_parse(&scored->method, method, spec->trained_tokens));
    TRY(method_check(&scored->method));
    TRY(parameters_create(&scored->parameters, spec));
    TRY(load(scored, path));
    scored->logits = calloc((size_t)SCORED_MODEL_ROWS * (size_t)spec->vocab, sizeof(float));
    if (!scored->logits)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for logits of %d rows",
                    SCORED_MODEL_ROWS);
    return pass_create(&scored->pass, &(struct pass_options){
                                          .spec = spec,
                                          .method = &scored->method,
                                          .transport = work->sequence,
                                          .pool = work->pool,
                                          .kernels = work->kernels,
                                          .parameters = scored->parameters,
                                          .tokens = samples->longest,
                                          .recompute = true,
                                      });
}

enum status scored_model_open(struct scored_model *scored, const char *path, const char *method,
                              const struct rank_work *work, const struct record_file *samples)
{
    *scored = (struct scored_model){0};
    const enum status status = open_parts(scored, path, method, work, samples);
    if (status != STATUS_OK)
        scored_model_close(scored);
    return status;
}

enum status scored_model_forward(struct scored_model *scored, const struct sample *sample)
{
    scored->count = 0;
    return pass_forward(scored->pass, scored->weights, sample);
}

const float *scored_model_logits(struct scored_model *scored, int64_t row)
{
    const int64_t vocab = model_spec(scored->model)->vocab;
    if (row < scored->first || row >= scored->first + scored->count) {
        const int64_t left = pass_rows(scored->pass) - row;
        scored->first = row;
        scored->count = left < SCORED_MODEL_ROWS ? left : SCORED_MODEL_ROWS;
        pass_logits(scored->pass, scored->weights, row, scored->count, scored->logits);
    }
    return scored->logits + (row - scored->first) * vocab;
}

void scored_model_close(struct scored_model *scored)
{
    pass_destroy(scored->pass);
    free(scored->logits);
    free(scored->weights);
    parameters_destroy(scored->parameters);
    model_close(scored->model);
    *scored = (struct scored_model){0};
}
