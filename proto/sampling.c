/* Owns the ranges of sampling's fields. Promises that what is not a number is in none of them. */
#include "proto/sampling.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>

/* `limits` says the same in words. */
struct range {
    const char *field;
    const char *limits;
    double least, most;
    bool without_least, without_most;
};

/* Ends that a float does not hold are those of the nearest one. */
static const struct range temperature_range = {
    "sampling.temperature", "at least 0 and at most 100", 0, 100, false, false};
static const struct range top_k_range = {
    "sampling.top_k", "at least 0 and at most 1073741824", 0, 1 << 30, false, false};
static const struct range top_p_range = {
    "sampling.top_p", "above 0 and at most 1", 0, 1, true, false};
static const struct range min_p_range = {
    "sampling.min_p", "at least 0 and below 1", 0, 1, false, true};
static const struct range penalty_range = {"sampling.repetition_penalty",
                                           "at least 0.01 and at most 100",
                                           (double)0.01f,
                                           100,
                                           false,
                                           false};

static const struct range presence_range = {
    "sampling.presence_penalty", "at least -2 and at most 2", -2, 2, false, false};
static const struct range frequency_range = {
    "sampling.frequency_penalty", "at least -2 and at most 2", -2, 2, false, false};
static const char bias_field[] = "sampling.logit_bias";
static const struct range bias_range = {
    bias_field, "at least -100 and at most 100", -100, 100, false, false};

static enum status check(const struct range *range, const char **field, double value)
{
    const bool above = range->without_least ? value > range->least : value >= range->least;
    const bool below = range->without_most ? value < range->most : value <= range->most;
    if (above && below) /* NaN is neither */
        return STATUS_OK;
    *field = range->field;
    return fail(STATUS_INVALID_ARGUMENT, "%s is %.9g; it must be %s", range->field, value,
                range->limits);
}

enum status sampling_check(const struct sampling *sampling, const char **field)
{
    TRY(check(&temperature_range, field, (double)sampling->temperature));
    TRY(check(&top_k_range, field, (double)sampling->top_k));
    TRY(check(&top_p_range, field, (double)sampling->top_p));
    TRY(check(&min_p_range, field, (double)sampling->min_p));
    TRY(check(&penalty_range, field, (double)sampling->repetition_penalty));
    TRY(check(&presence_range, field, (double)sampling->presence_penalty));
    TRY(check(&frequency_range, field, (double)sampling->frequency_penalty));
    for (int32_t b = 0; b < sampling->bias_count; b++)
        TRY(check(&bias_range, field, (double)sampling->biases[b]));
    return STATUS_OK;
}

enum status sampling_check_biases(const struct sampling *sampling, const char **field,
                                  int64_t vocab)
{
    for (int32_t b = 0; b < sampling->bias_count; b++) {
        const int32_t id = sampling->bias_ids[b];
        if (id >= 0 && id < vocab)
            continue;
        *field = bias_field;
        return fail(STATUS_INVALID_ARGUMENT, "%s of token %d; the vocabulary has %lld", bias_field,
                    id, (long long)vocab);
    }
    return STATUS_OK;
}

enum status sampling_check_likeliest(int32_t likeliest, int64_t vocab)
{
    const int most = vocab < SAMPLING_LIKELIEST_MAX ? (int)vocab : SAMPLING_LIKELIEST_MAX;
    if (likeliest >= 0 && likeliest <= most)
        return STATUS_OK;
    return fail(STATUS_INVALID_ARGUMENT, "logprobs is %d; it must be at least 0 and at most %d",
                likeliest, most);
}
