/* Owns a line's request. Promises that a line that passes here fails later only for what changes:
 * workers, memory, time. */
#include "coordinator/batch/line_request.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/answer_request.h"
#include "coordinator/batch/store_document.h"
#include "coordinator/planner.h"
#include "proto/plan/given_positions.h"

enum {
    METHOD_BYTES = 512,
    ANSWER_TOKENS_MAX = 1 << 30, /* more than any context holds */
    TRAINED_TOKENS = 1 << 20,    /* of an imagined model, for a method's defaults */
};

static enum status put_document(struct line_request *request, struct status_details *details,
                                const struct line_request_tools *tools, const char *tenant)
{
    static const char collection[] = "documents/";
    const char *name = request->openai->document;
    if (!name[0])
        return STATUS_OK;
    details->field = "document";
    if (strncmp(name, collection, sizeof collection - 1) == 0)
        name += sizeof collection - 1;
    struct store_document document;
    TRY(store_document_get(tools->store, &document, tenant, name));
    char *text = NULL;
    size_t bytes = 0;
    TRY(store_document_read(tools->store, tenant, document.id, &text, &bytes));
    openai_request_set_document(request->openai, text);
    memcpy(request->document, document.id, sizeof request->document);
    details->field = NULL;
    return STATUS_OK;
}

int64_t line_request_answer_tokens(const struct line_request *request)
{
    const Longhaul__V1__GenerateRequest *generate = request->openai->generate;
    const int64_t answers = generate->answers > 1 ? generate->answers : 1;
    const bool asked = generate->optional_max_tokens_case ==
                       LONGHAUL__V1__GENERATE_REQUEST__OPTIONAL_MAX_TOKENS_MAX_TOKENS;
    const int64_t tokens = asked ? generate->max_tokens : PLANNER_ANSWER_TOKENS;
    return answers * (tokens < ANSWER_TOKENS_MAX ? tokens : ANSWER_TOKENS_MAX);
}

static enum status check_fits(const struct line_request *request, struct status_details *details,
                              const struct prompt_forms *forms)
{
    const Longhaul__V1__GenerateRequest *generate = request->openai->generate;
    const bool asked = generate->optional_max_tokens_case ==
                       LONGHAUL__V1__GENERATE_REQUEST__OPTIONAL_MAX_TOKENS_MAX_TOKENS;
    const int64_t prompt = (int64_t)request->ids.count, answer = asked ? generate->max_tokens : 1;
    if (forms->context_tokens == 0 || answer <= forms->context_tokens - prompt)
        return STATUS_OK;
    details->reason = "CONTEXT_EXCEEDED";
    return fail(STATUS_OUT_OF_RANGE,
                "a prompt of %" PRId64 " tokens and an answer of up to %" PRId64
                ": the context has %" PRId64,
                prompt, answer, forms->context_tokens);
}

/* By the method that the line names; what another default of the coordinator's means is known when
 * it runs. */
static enum status check_positions(const struct line_request *request,
                                   struct status_details *details)
{
    const Longhaul__V1__GenerateRequest *generate = request->openai->generate;
    const Longhaul__V1__PlanOptions *options = generate->options;
    struct method method;
    if (generate->n_positions == 0)
        return STATUS_OK;
    if (options && options->method) {
        details->field = "method";
        TRY(method_parse(&method, options->method->spelling, TRAINED_TOKENS));
    } else {
        TRY(method_parse(&method, "rope", TRAINED_TOKENS));
    }
    details->field = "positions";
    if (generate->answers > 1)
        return fail(STATUS_INVALID_ARGUMENT, "positions go with one answer; n is %d",
                    generate->answers);
    TRY(given_positions_check(generate->positions, generate->n_positions,
                              (int64_t)request->ids.count, &method));
    details->field = NULL;
    return STATUS_OK;
}

static enum status read_prompt(struct line_request *request, struct status_details *details,
                               const struct line_request_tools *tools, const char *tenant)
{
    const Longhaul__V1__GenerateRequest *generate = request->openai->generate;
    const Longhaul__V1__PlanOptions *options = generate->options;
    struct answer_request asked;
    char root[METHOD_BYTES];
    TRY(answer_request_read(&asked, &details->field, generate,
                            tokenizer_count(tools->forms->tokenizer), false));
    details->field = "prompt";
    enum status status = prompt_encode(tools->forms, &request->ids, generate->prompt);
    if (status == STATUS_OUT_OF_RANGE)
        details->reason = "CONTEXT_EXCEEDED";
    TRY(status);
    TRY(check_fits(request, details, tools->forms));
    details->field = NULL;
    TRY(check_positions(request, details));
    snprintf(root, sizeof root, "%s\n%s", tenant,
             options && options->method ? options->method->spelling : "");
    return panel_chain_init(&request->chain, root, request->ids.ids, request->ids.count);
}

enum status line_request_init(struct line_request *request, struct status_details *details,
                              const struct line_request_tools *tools, const char *tenant,
                              const char *text, size_t bytes)
{
    *request = (struct line_request){.openai = NULL};
    *details = (struct status_details){.reason = NULL};
    TRY(batch_line_parse(&request->parts, details, text, bytes));
    TRY(openai_request_parse(&request->openai, details, request->parts.url, request->parts.body,
                             request->parts.body_bytes));
    if (request->openai->stream) {
        details->field = "stream";
        return fail(STATUS_INVALID_ARGUMENT,
                    "stream is true: the answer to a batch's line comes as a whole");
    }
    if (request->openai->generate->session[0]) {
        details->field = "session";
        return fail(STATUS_INVALID_ARGUMENT,
                    "a batch outlives sessions: name a document, which lines share all the same");
    }
    TRY(put_document(request, details, tools, tenant));
    return read_prompt(request, details, tools, tenant);
}

void line_request_deinit(struct line_request *request)
{
    openai_request_free(request->openai);
    id_list_deinit(&request->ids);
    panel_chain_deinit(&request->chain);
    *request = (struct line_request){.openai = NULL};
}

bool line_request_is_wrong(enum status status)
{
    return status == STATUS_INVALID_ARGUMENT || status == STATUS_NOT_FOUND ||
           status == STATUS_OUT_OF_RANGE || status == STATUS_UNIMPLEMENTED ||
           status == STATUS_FAILED_PRECONDITION || status == STATUS_DATA_LOSS;
}
