/* Owns the refusals of requests. */
#include "worker/engine/request_check.h"

#include <string.h>

#include "proto/plan/given_positions.h"
#include "proto/plan/sight.h"

static enum status check_tokens(const struct engine_request *request, int64_t vocab)
{
    int64_t answer = request->kind == ENGINE_GENERATE ? request->max_tokens : 0;
    if (request->count < 1)
        return fail(STATUS_INVALID_ARGUMENT, "the prompt is empty: give at least one token");
    if (request->stays &&
        ((request->kind != ENGINE_GENERATE && request->kind != ENGINE_RESTORE) || answer > 0))
        return fail(STATUS_INVALID_ARGUMENT, "a prompt that stays has no answer of its own");
    if (answer < 0)
        return fail(STATUS_INVALID_ARGUMENT, "%lld tokens to generate; give 0 or more",
                    (long long)answer);
    if (request->count > request->choice->context_tokens ||
        answer > request->choice->context_tokens - request->count)
        return fail(STATUS_OUT_OF_RANGE,
                    "%lld prompt tokens and %lld to generate are more than the context of %lld: "
                    "shorten them, or raise --context",
                    (long long)request->count, (long long)answer,
                    (long long)request->choice->context_tokens);
    for (int64_t i = 0; i < request->count; i++)
        if (request->ids[i] < 0 || request->ids[i] >= vocab)
            return fail(STATUS_INVALID_ARGUMENT, "token %lld is %d; the vocabulary has %lld",
                        (long long)i, request->ids[i], (long long)vocab);
    return STATUS_OK;
}

static enum status check_transfer(const struct engine_request *request,
                                  const struct group_choice *group)
{
    const bool transfers = request->kind == ENGINE_SAVE || request->kind == ENGINE_RESTORE;
    if (transfers && group_choice_tensor(group) > 1)
        return fail(STATUS_UNIMPLEMENTED,
                    "files hold the keys of all heads, and a rank of a tensor axis of %d has those "
                    "of some: start the workers with --mesh tensor=1 to save or restore them",
                    group->tensor);
    if (request->kind == ENGINE_SAVE && (!request->port || !request->goes_on_from))
        return fail(STATUS_INVALID_ARGUMENT, "nothing is named whose keys are to be saved");
    if (request->kind == ENGINE_RESTORE &&
        (!request->port || !request->stays || request->goes_on_from))
        return fail(STATUS_INVALID_ARGUMENT, "keys that are restored stay, and go on from nothing");
    return STATUS_OK;
}

/* Keys at positions of a caller's are nobody else's, and are not what a file or a prefix holds. */
static enum status check_positions(const struct engine_request *request,
                                   const struct group_choice *group)
{
    if (!request->positions)
        return STATUS_OK;
    if (strcmp(group->kernels, CHOICE_KERNELS_GPU) == 0)
        return fail(STATUS_UNIMPLEMENTED, "positions: workers on GPUs take none but the indices");
    if (request->stays || request->goes_on_from || request->reuse_prefix || request->port)
        return fail(STATUS_INVALID_ARGUMENT,
                    "positions: a prompt that has some shares no keys with others");
    return given_positions_check(request->positions, (size_t)request->count, request->count,
                                 &request->choice->method);
}

/* Whether the choice was made for this engine. */
static enum status check_choice(const struct choice *choice, const struct model_shape *shape)
{
    TRY(choice_check(choice));
    if (choice->request.window_tokens != sight_window_of_all(shape))
        return fail(STATUS_INVALID_ARGUMENT,
                    "plan: window_tokens is %lld, the model's is %lld on all layers",
                    (long long)choice->request.window_tokens,
                    (long long)sight_window_of_all(shape));
    return STATUS_OK;
}

enum status request_check(const struct engine_request *request, const struct places *places)
{
    const struct model_shape *shape = &places->device->shape;
    const struct choice choice = {places->device->group, *request->choice};
    const char *field;
    if (request->refused != STATUS_OK)
        return fail(request->refused, "%s", request->refusal);
    TRY(check_tokens(request, shape->vocab));
    TRY(check_transfer(request, &choice.group));
    TRY(sampling_check_likeliest(request->likeliest, shape->vocab));
    TRY(sampling_check(&request->sampling, &field));
    TRY(sampling_check_biases(&request->sampling, &field, shape->vocab));
    TRY(check_choice(&choice, shape));
    TRY(check_positions(request, &choice.group));
    return places_check(places, &choice, request);
}
