/* Owns the defaults and ranges of sampling parameters. Promises that workers never see one out of
 * range. */
#include "coordinator/sampling_request.h"

#include <math.h>
#include <sys/random.h>

static enum status check_range(struct status_details *details, const char *field, double value,
                               double least, double most)
{
    if (value >= least && value <= most) /* NaN is neither */
        return STATUS_OK;
    details->field = field;
    return fail(STATUS_INVALID_ARGUMENT, "%s is %g; must be between %g and %g", field, value, least,
                most);
}

static uint64_t draw_seed(void)
{
    uint64_t seed = 0;
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        return 1; /* without entropy any seed is as good */
    return seed;
}

enum status sampling_request_read(Longhaul__Control__V1__RunSampling *sampling,
                                  struct status_details *details,
                                  const Longhaul__V1__Sampling *request)
{
    Longhaul__V1__Sampling empty = LONGHAUL__V1__SAMPLING__INIT;
    const Longhaul__V1__Sampling *r = request ? request : &empty;
    longhaul__control__v1__run_sampling__init(sampling);
    sampling->top_k = r->top_k;
    sampling->min_p = r->min_p;
    sampling->top_p = 1;
    sampling->repetition_penalty = 1;
    if (r->optional_temperature_case == LONGHAUL__V1__SAMPLING__OPTIONAL_TEMPERATURE_TEMPERATURE)
        sampling->temperature = r->temperature;
    if (r->optional_top_p_case == LONGHAUL__V1__SAMPLING__OPTIONAL_TOP_P_TOP_P)
        sampling->top_p = r->top_p;
    if (r->optional_repetition_penalty_case ==
        LONGHAUL__V1__SAMPLING__OPTIONAL_REPETITION_PENALTY_REPETITION_PENALTY)
        sampling->repetition_penalty = r->repetition_penalty;
    sampling->seed =
        r->optional_seed_case == LONGHAUL__V1__SAMPLING__OPTIONAL_SEED_SEED ? r->seed : draw_seed();
    TRY(check_range(details, "sampling.temperature", sampling->temperature, 0, 100));
    TRY(check_range(details, "sampling.top_k", sampling->top_k, 0, 1 << 30));
    TRY(check_range(details, "sampling.top_p", sampling->top_p, 1e-9, 1));
    TRY(check_range(details, "sampling.min_p", sampling->min_p, 0, 1));
    TRY(check_range(details, "sampling.repetition_penalty", sampling->repetition_penalty, 0.01,
                    100));
    return STATUS_OK;
}
