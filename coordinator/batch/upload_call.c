/* Owns nothing. Promises that what it has answered is on disk, up to the byte that it names. */
#include "coordinator/batch/upload_call.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>

#include "coordinator/batch/batch_validate.h"
#include "coordinator/batch/client_stream.h"
#include "coordinator/batch/store_batch.h"
#include "longhaul/v1/batches.pb-c.h"

/* The batch that is uploaded, and how far. */
struct upload {
    const struct batch_context *context;
    char id[STORE_ID_BYTES]; /* "": the first message has not come */
    int64_t committed_bytes;
    bool sealed;
};

static enum status begin(struct upload *upload, const char *name)
{
    const struct batch_context *context = upload->context;
    const char *id = NULL;
    struct store_batch batch;
    TRY(batch_tools_name(context, &id, name, "batches"));
    snprintf(upload->id, sizeof upload->id, "%s", id);
    TRY(store_batch_get(context->tools->store, &batch, context->tenant, id));
    upload->committed_bytes = batch.committed_bytes;
    store_batch_clear(&batch);
    return STATUS_OK;
}

static enum status take(struct upload *upload, const Longhaul__V1__UploadLinesRequest *request)
{
    const struct batch_context *context = upload->context;
    struct store *store = context->tools->store;
    if (!upload->id[0])
        TRY(begin(upload, request->name));
    if (upload->sealed)
        return fail(STATUS_INVALID_ARGUMENT, "a message comes after the last one");
    context->details->field = "offset";
    if (request->offset < 0)
        return fail(STATUS_INVALID_ARGUMENT, "offset is %" PRId64 "; must be at least 0",
                    request->offset);
    if (request->lines.len > 0)
        TRY(store_batch_append(store, &upload->committed_bytes, context->tenant, upload->id,
                               request->offset, request->lines.data, request->lines.len,
                               &context->limits));
    context->details->field = NULL;
    if (!request->last)
        return STATUS_OK;
    TRY(store_batch_seal(store, context->tenant, upload->id));
    batch_validate_wake(context->tools->validate);
    upload->sealed = true;
    return STATUS_OK;
}

enum status upload_call_handle(const struct batch_context *context, const ProtobufCMessage *none)
{
    (void)none;
    struct upload upload = {.context = context};
    const ProtobufCMessage *message = NULL;
    do {
        TRY(client_stream_next(context, &message));
        if (message)
            TRY(take(&upload, (const void *)message));
    } while (message);
    if (!upload.id[0])
        return fail(STATUS_INVALID_ARGUMENT,
                    "the stream is empty: its first message names the batch");
    Longhaul__V1__UploadLinesResponse response = LONGHAUL__V1__UPLOAD_LINES_RESPONSE__INIT;
    response.committed_bytes = upload.committed_bytes;
    rpc_call_note(context->call, log_integer("committed_bytes", upload.committed_bytes));
    return rpc_call_answer(context->call, &response.base);
}
