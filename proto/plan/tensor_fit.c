/* Owns the choice of a tensor axis by memory. */
#include "proto/plan/tensor_fit.h"

#include <stdio.h>

/* Bytes of the rank that needs most. */
static enum status needed(int64_t *bytes, const struct tensor_fit_request *request, int places)
{
    struct group_choice group = group_choice_usual(request->ranks / places);
    const int sharers = request->sharers > places ? request->sharers / places : 1;
    group.tensor = places;
    group.cache = request->cache;
    snprintf(group.kernels, sizeof group.kernels, "%s", request->kernels);
    memory_group_size(&group, request->sequences, request->context_tokens);
    *bytes = 0;
    for (int place = 0; place < places; place++) {
        struct tensor_slice slice;
        TRY(tensor_slice_make(&slice, request->shape, places, place));
        struct model_shape shape = tensor_slice_shape(request->shape, &slice);
        shape.weights_bytes = request->weights_bytes(request->context, &slice) / sharers;
        const int64_t own = memory_group_least(&group, &shape, &request->needs);
        *bytes = own > *bytes ? own : *bytes;
    }
    return STATUS_OK;
}

static bool is_allowed(const struct model_shape *shape, int ranks, int places)
{
    return ranks % places == 0 && places <= shape->heads && places <= shape->ffn &&
           places <= CHOICE_TENSOR_MAX;
}

enum status tensor_fit_check(const struct model_shape *shape, int tensor, int ranks)
{
    int fits = tensor;
    if (tensor > 1 && shape->qk_norm_joined)
        return fail(STATUS_UNIMPLEMENTED,
                    "--mesh tensor=%d: the model normalises queries and keys over all heads "
                    "together, which workers that have some of the heads do not compute; use "
                    "--mesh sequence=%d",
                    tensor, ranks);
    if (is_allowed(shape, ranks, tensor))
        return STATUS_OK;
    while (!is_allowed(shape, ranks, fits))
        fits--;
    return fail(STATUS_INVALID_ARGUMENT,
                "--mesh tensor=%d: the model has %lld query heads and %lld feed-forward columns, "
                "and each place of the axis needs one of both; over %d workers tensor=%d,"
                "sequence=%d is the longest that fits",
                tensor, (long long)shape->heads, (long long)shape->ffn, ranks, fits, ranks / fits);
}

enum status tensor_fit_find(struct tensor_fit *fit, const struct tensor_fit_request *request)
{
    const int64_t limit = request->limit_bytes;
    struct tensor_fit best = {.tensor = 1};
    TRY(needed(&best.whole_bytes, request, 1));
    best.needed_bytes = best.whole_bytes;
    for (int places = 2; limit > 0 && best.needed_bytes > limit && places <= request->ranks &&
                         places <= CHOICE_TENSOR_MAX;
         places++) {
        int64_t bytes;
        if (!is_allowed(request->shape, request->ranks, places))
            continue;
        TRY(needed(&bytes, request, places));
        if (bytes < best.needed_bytes) {
            best.tensor = places;
            best.needed_bytes = bytes;
        }
    }
    *fit = best;
    return STATUS_OK;
}
