/* Owns nothing. Promises that workers refuse nothing that is passed on here. */
#include "coordinator/answer_request.h"

#include <inttypes.h>

static enum status read_lengths(struct answer_request *read, const char **field,
                                const Longhaul__V1__GenerateRequest *request)
{
    const bool asked = request->optional_max_tokens_case ==
                       LONGHAUL__V1__GENERATE_REQUEST__OPTIONAL_MAX_TOKENS_MAX_TOKENS;
    const int64_t most = asked ? request->max_tokens : INT64_MAX, least = request->min_tokens;
    *field = "max_tokens";
    if (most < 1)
        return fail(STATUS_INVALID_ARGUMENT, "max_tokens is %" PRId64 "; must be at least 1", most);
    *field = "min_tokens";
    if (least < 0)
        return fail(STATUS_INVALID_ARGUMENT, "min_tokens is %" PRId64 "; must be at least 0",
                    least);
    if (least > most)
        return fail(STATUS_INVALID_ARGUMENT,
                    "min_tokens is %" PRId64 "; must be at most max_tokens, which is %" PRId64,
                    least, most);
    read->max_tokens = asked ? most : 0;
    read->min_tokens = least;
    return STATUS_OK;
}

static enum status read_logprobs(struct answer_request *read, const char **field,
                                 const Longhaul__V1__GenerateRequest *request, int64_t vocab)
{
    read->logprobs = request->optional_logprobs_case ==
                     LONGHAUL__V1__GENERATE_REQUEST__OPTIONAL_LOGPROBS_LOGPROBS;
    read->likeliest = read->logprobs ? request->logprobs : 0;
    *field = "logprobs";
    return sampling_check_likeliest(read->likeliest, vocab);
}

static enum status read_draft(struct answer_request *read, const char **field,
                              Longhaul__V1__Draft draft)
{
    *field = "draft";
    if (draft != LONGHAUL__V1__DRAFT__DRAFT_UNSPECIFIED &&
        draft != LONGHAUL__V1__DRAFT__DRAFT_NONE && draft != LONGHAUL__V1__DRAFT__DRAFT_LOOKUP)
        return fail(STATUS_INVALID_ARGUMENT, "draft is %d; must be NONE or LOOKUP", (int)draft);
    if (draft != LONGHAUL__V1__DRAFT__DRAFT_UNSPECIFIED)
        read->drafts = draft == LONGHAUL__V1__DRAFT__DRAFT_LOOKUP;
    return STATUS_OK;
}

static enum status read_answers(struct answer_request *read, const char **field, int32_t answers)
{
    *field = "answers";
    if (answers < 0 || answers > SAMPLING_ANSWERS_MAX)
        return fail(STATUS_INVALID_ARGUMENT, "answers is %d; must be 0 to %d", (int)answers,
                    SAMPLING_ANSWERS_MAX);
    read->answers = answers > 0 ? answers : 1;
    return STATUS_OK;
}

enum status answer_request_read(struct answer_request *read, const char **field,
                                const Longhaul__V1__GenerateRequest *request, int64_t vocab,
                                bool drafts)
{
    read->drafts = drafts;
    read->no_prefix_reuse = request->no_prefix_reuse;
    read->trace = request->trace;
    read->ignore_end = request->ignore_end;
    TRY(read_lengths(read, field, request));
    TRY(read_logprobs(read, field, request, vocab));
    TRY(read_draft(read, field, request->draft));
    TRY(read_answers(read, field, request->answers));
    TRY(sampling_request_read(&read->sampling, field, request->sampling));
    TRY(sampling_check_biases(&read->sampling.sampling, field, vocab));
    *field = NULL;
    return STATUS_OK;
}

enum status answer_request_none(struct answer_request *read, const char **field)
{
    const Longhaul__V1__GenerateRequest nothing = LONGHAUL__V1__GENERATE_REQUEST__INIT;
    return answer_request_read(read, field, &nothing, 1, false);
}

void answer_request_run(Longhaul__Control__V1__Run *run,
                        Longhaul__Control__V1__RunSampling *sampling,
                        const struct answer_request *request)
{
    sampling_request_run(sampling, &request->sampling.sampling);
    run->sampling = sampling;
    run->min_tokens = request->min_tokens;
    run->logprobs = request->logprobs;
    run->likeliest = request->likeliest;
    run->drafts = request->drafts;
    run->no_prefix_reuse = request->no_prefix_reuse;
    run->trace = request->trace;
}
