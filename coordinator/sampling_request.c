/* Owns the defaults of sampling parameters. Promises that workers never see one out of range. */
#include "coordinator/sampling_request.h"

#include <sys/random.h>

static uint64_t draw_seed(void)
{
    uint64_t seed = 0;
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        return 1; /* without entropy any seed is as good */
    return seed;
}

static enum status read_biases(struct sampling_request *read, const char **field,
                               const Longhaul__V1__Sampling *request)
{
    const size_t count = request->n_logit_bias;
    *field = "sampling.logit_bias";
    if (count > SAMPLING_BIASES_MAX)
        return fail(STATUS_INVALID_ARGUMENT, "sampling.logit_bias has %zu tokens; at most %d",
                    count, SAMPLING_BIASES_MAX);
    for (size_t b = 0; b < count; b++) {
        read->bias_ids[b] = request->logit_bias[b]->id;
        read->biases[b] = request->logit_bias[b]->bias;
    }
    *field = NULL;
    return STATUS_OK;
}

enum status sampling_request_read(struct sampling_request *read, const char **field,
                                  const Longhaul__V1__Sampling *request)
{
    Longhaul__V1__Sampling empty = LONGHAUL__V1__SAMPLING__INIT;
    const Longhaul__V1__Sampling *r = request ? request : &empty;
    struct sampling s = {
        .top_k = r->top_k,
        .top_p = 1,
        .min_p = r->min_p,
        .repetition_penalty = 1,
        .presence_penalty = r->presence_penalty,
        .frequency_penalty = r->frequency_penalty,
        .bias_count = (int32_t)r->n_logit_bias,
        .bias_ids = read->bias_ids,
        .biases = read->biases,
    };
    TRY(read_biases(read, field, r));
    if (r->optional_temperature_case == LONGHAUL__V1__SAMPLING__OPTIONAL_TEMPERATURE_TEMPERATURE)
        s.temperature = r->temperature;
    if (r->optional_top_p_case == LONGHAUL__V1__SAMPLING__OPTIONAL_TOP_P_TOP_P)
        s.top_p = r->top_p;
    if (r->optional_repetition_penalty_case ==
        LONGHAUL__V1__SAMPLING__OPTIONAL_REPETITION_PENALTY_REPETITION_PENALTY)
        s.repetition_penalty = r->repetition_penalty;
    s.seed =
        r->optional_seed_case == LONGHAUL__V1__SAMPLING__OPTIONAL_SEED_SEED ? r->seed : draw_seed();
    TRY(sampling_check(&s, field));
    read->sampling = s;
    return STATUS_OK;
}

void sampling_request_run(Longhaul__Control__V1__RunSampling *run, const struct sampling *sampling)
{
    longhaul__control__v1__run_sampling__init(run);
    run->temperature = sampling->temperature;
    run->top_k = sampling->top_k;
    run->top_p = sampling->top_p;
    run->min_p = sampling->min_p;
    run->repetition_penalty = sampling->repetition_penalty;
    run->seed = sampling->seed;
    run->presence_penalty = sampling->presence_penalty;
    run->frequency_penalty = sampling->frequency_penalty;
    run->n_bias_ids = run->n_biases = (size_t)sampling->bias_count;
    run->bias_ids = (int32_t *)(size_t)sampling->bias_ids; /* only read, as the next ones */
    run->biases = (float *)(size_t)sampling->biases;
}
