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

enum status sampling_request_read(struct sampling *sampling, const char **field,
                                  const Longhaul__V1__Sampling *request)
{
    Longhaul__V1__Sampling empty = LONGHAUL__V1__SAMPLING__INIT;
    const Longhaul__V1__Sampling *r = request ? request : &empty;
    struct sampling s = {.top_k = r->top_k, .top_p = 1, .min_p = r->min_p, .repetition_penalty = 1};
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
    *sampling = s;
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
}
