/* Owns a creation until its call is over. Promises that what is answered OK is in the store, and
 * that a repeated request is answered as before, even if it could not be carried out any more. */
#include "coordinator/batch/create_call.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/batch/batch_dispatch.h"
#include "coordinator/batch/batch_fields.h"
#include "coordinator/batch/batch_message.h"
#include "coordinator/batch/resource_name.h"
#include "coordinator/batch/store_batch.h"
#include "coordinator/batch/whole_input.h"
#include "longhaul/v1/batches.pb-c.h"

enum { SHORT_INPUT_BYTES = 64 << 10, REASON_BYTES = 1024 };

struct creating {
    struct store_batch_creation creation;
    struct batch_context context;
    const Longhaul__V1__CreateBatchRequest *request; /* the call's */
    struct store_request repeatable;
    struct whole_input input;
    uint8_t *labels;
    char id[STORE_ID_BYTES];
};

static void creating_free(struct creating *creating)
{
    whole_input_deinit(&creating->input);
    free(creating->labels);
    batch_tools_forget(&creating->repeatable);
    free(creating);
}

/* ---- requests that were carried out before ---- */

/* The answer that was given under the request's id. NOT_FOUND: none was. */
static enum status answer_again(const struct creating *creating)
{
    const struct batch_context *context = &creating->context;
    struct store_batch_answer earlier;
    if (!creating->repeatable.content)
        return fail(STATUS_NOT_FOUND, "the request has no request_id");
    TRY(store_batch_repeated(context->tools->store, &earlier, context->tenant,
                             &creating->repeatable));
    return batch_message_answer(context->call, &earlier.batch);
}

/* The same for a request that has failed; without an earlier answer the failure stays. */
static enum status answer_again_or(const struct creating *creating, enum status status)
{
    struct status_details *details = creating->context.details;
    const struct status_details why = *details;
    char reason[REASON_BYTES];
    snprintf(reason, sizeof reason, "%s", status_message());
    *details = (struct status_details){0};
    const enum status again = answer_again(creating);
    if (again != STATUS_NOT_FOUND)
        return again;
    *details = why;
    return fail(status, "%s", reason);
}

/* ---- what is asked for ---- */

static enum status read_lines(struct creating *creating)
{
    const struct batch_context *context = &creating->context;
    struct store_batch_args *args = &creating->creation.args;
    store_make_id(context->tools->store, creating->id);
    if (!args->id[0])
        args->id = creating->id;
    context->details->field = "lines";
    enum status status = whole_input_init(&creating->input, context, args->id, args->endpoint,
                                          args->input, args->input_bytes);
    if (status != STATUS_OK && status != STATUS_INVALID_ARGUMENT)
        context->details->field = NULL;
    args->endpoint = creating->input.endpoint;
    args->lines = creating->input.lines;
    args->lines_count = creating->input.count;
    return status;
}

static enum status read_request(struct creating *creating)
{
    static const Longhaul__V1__Batch nothing = LONGHAUL__V1__BATCH__INIT;
    const Longhaul__V1__CreateBatchRequest *request = creating->request;
    const struct batch_context *context = &creating->context;
    const Longhaul__V1__Batch *batch = request->batch ? request->batch : &nothing;
    struct store_batch_args *args = &creating->creation.args;
    *args = (struct store_batch_args){
        .tenant = context->tenant,
        .request = &creating->repeatable,
        .limits = &context->limits,
        .id = request->batch_id,
        .input = request->lines.len ? request->lines.data : NULL,
        .input_bytes = request->lines.len,
    };
    TRY(batch_fields_read(args, context->details, context->tools, batch));
    context->details->field = "batch_id";
    TRY(resource_name_check_chosen(request->batch_id));
    context->details->field = NULL;
    TRY(batch_message_pack_labels(&creating->labels, &args->metadata_bytes, batch));
    args->metadata = creating->labels;
    return args->input ? read_lines(creating) : STATUS_OK;
}

/* Who changes the store looks for the request's id in any case. A look of its own costs more than a
 * short input: it comes after a failure, and first only where much would be read in vain. */
static enum status prepare(struct creating *creating, bool *answered)
{
    const bool is_long = creating->request->lines.len > SHORT_INPUT_BYTES;
    TRY(batch_tools_request(&creating->repeatable, &creating->context, "CreateBatch",
                            creating->request->request_id, &creating->request->base));
    const enum status again = is_long ? answer_again(creating) : STATUS_NOT_FOUND;
    *answered = again != STATUS_NOT_FOUND;
    if (*answered)
        return again;
    const enum status status = read_request(creating);
    return status == STATUS_OK || is_long ? status : answer_again_or(creating, status);
}

/* ---- the call ---- */

static enum status answer(const struct creating *creating, enum status status)
{
    const struct batch_context *context = &creating->context;
    struct store_batch *batch = (struct store_batch *)&creating->creation.answer.batch;
    if (status != STATUS_OK && status != STATUS_INVALID_ARGUMENT)
        context->details->field = NULL;
    if (status == STATUS_UNAVAILABLE) /* nobody has looked for the id */
        return answer_again_or(creating, status);
    TRY(status);
    if (creating->creation.args.lines_count > 0)
        batch_dispatch_wake(context->tools->dispatch);
    rpc_call_note(context->call, log_integer("lines", batch->counts.total));
    return batch_message_answer(context->call, batch);
}

static void created(struct store_batch_creation *creation, enum status status)
{
    struct creating *creating = (struct creating *)creation;
    struct rpc_call *call = creating->context.call;
    status = batch_tools_end(creating->context.details, answer(creating, status));
    creating_free(creating);
    rpc_call_end(call, status);
}

/* JSON may write a key's letters as escapes. */
bool create_call_is_brief(const uint8_t *bytes, size_t size)
{
    static const char key[] = "\"document\"", escape[] = "\\u00";
    return !memmem(bytes, size, key, sizeof key - 1) &&
           !memmem(bytes, size, escape, sizeof escape - 1);
}

enum status create_call_handle(const struct batch_context *context, const ProtobufCMessage *request)
{
    struct creating *creating = calloc(1, sizeof *creating);
    bool answered = false;
    if (!creating)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a batch");
    creating->context = *context;
    creating->request = (const void *)request;
    creating->creation.ended = created;
    enum status status = prepare(creating, &answered);
    if (status != STATUS_OK || answered) {
        creating_free(creating);
        return status;
    }
    rpc_call_defer(context->call);
    store_batch_create_later(context->tools->store, &creating->creation);
    return STATUS_OK;
}
