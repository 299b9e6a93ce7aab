/* Owns the piece of input that is about to be written. Promises that a retry that was broken off
 * goes on where it stopped, under the same request id: the same lines make the same bytes. */
#include "coordinator/batch/retry_call.h"

#include <stdlib.h>
#include <string.h>

#include "coordinator/batch/batch_message.h"
#include "coordinator/batch/batch_tools.h"
#include "coordinator/batch/batch_validate.h"
#include "coordinator/batch/resource_name.h"
#include "coordinator/batch/store_line.h"
#include "longhaul/v1/batches.pb-c.h"

enum { PIECE_BYTES = 1 << 20, PAGE_LINES = 1000, US_A_SECOND = 1000000 };

struct retry {
    const struct batch_context *context;
    int64_t from;      /* the number of the batch that has ended */
    const char *to_id; /* the new one */
    char *piece;
    size_t bytes, room;
    int64_t offset;     /* of the piece in the new input */
    int64_t first_line; /* the next one to look at */
};

static enum status write_piece(struct retry *retry)
{
    int64_t committed_bytes = 0;
    if (retry->bytes == 0)
        return STATUS_OK;
    TRY(store_batch_append(retry->context->tools->store, &committed_bytes, retry->context->tenant,
                           retry->to_id, retry->offset, retry->piece, retry->bytes,
                           &retry->context->limits));
    retry->offset += (int64_t)retry->bytes;
    retry->bytes = 0;
    return STATUS_OK;
}

static enum status add_text(struct retry *retry, const char *text, size_t bytes)
{
    if (retry->bytes + bytes + 1 > retry->room) {
        TRY(write_piece(retry));
        const size_t room = bytes + 1 > PIECE_BYTES ? bytes + 1 : PIECE_BYTES;
        char *wider = room > retry->room ? realloc(retry->piece, room) : retry->piece;
        if (!wider)
            return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a line of %zu bytes", bytes);
        retry->room = room > retry->room ? room : retry->room;
        retry->piece = wider;
    }
    memcpy(retry->piece + retry->bytes, text, bytes);
    retry->piece[retry->bytes + bytes] = '\n';
    retry->bytes += bytes + 1;
    return STATUS_OK;
}

/* Only its number: the store is not asked for more while it walks. */
struct numbers {
    int64_t lines[PAGE_LINES];
    size_t count;
};

static enum status note_number(void *context, const struct store_line *line)
{
    struct numbers *numbers = context;
    numbers->lines[numbers->count++] = line->line;
    return STATUS_OK;
}

static enum status copy_line(struct retry *retry, int64_t line)
{
    char *text = NULL;
    size_t bytes = 0;
    TRY(store_line_read_text(retry->context->tools->store, retry->context->tenant, retry->from,
                             line, &text, &bytes));
    enum status status = add_text(retry, text, bytes);
    free(text);
    return status;
}

static enum status copy_lines(struct retry *retry)
{
    const unsigned states =
        1u << STORE_LINE_FAILED | 1u << STORE_LINE_CANCELLED | 1u << STORE_LINE_EXPIRED;
    struct numbers numbers = {.count = PAGE_LINES};
    retry->first_line = 1;
    while (numbers.count == PAGE_LINES) {
        numbers.count = 0;
        TRY(store_line_list(retry->context->tools->store, retry->context->tenant, retry->from,
                            states, retry->first_line, PAGE_LINES, note_number, &numbers));
        for (size_t i = 0; i < numbers.count; i++) {
            TRY(copy_line(retry, numbers.lines[i]));
            retry->first_line = numbers.lines[i] + 1;
        }
    }
    return write_piece(retry);
}

static enum status fill(const struct batch_context *context, const struct store_batch *from,
                        const struct store_batch *to)
{
    struct retry retry = {.context = context, .from = from->number, .to_id = to->id};
    if (to->state != STORE_BATCH_UPLOADING)
        return STATUS_OK; /* an earlier call has filled it */
    enum status status = copy_lines(&retry);
    free(retry.piece);
    TRY(status);
    TRY(store_batch_seal(context->tools->store, context->tenant, to->id));
    batch_validate_wake(context->tools->validate);
    return STATUS_OK;
}

static enum status check_ended(const struct store_batch *batch)
{
    const struct store_counts *counts = &batch->counts;
    if (!batch_message_has_ended(batch))
        return fail(STATUS_FAILED_PRECONDITION,
                    "batches/%s has not ended: cancel it first, or wait", batch->id);
    if (counts->failed + counts->cancelled + counts->expired == 0)
        return fail(STATUS_FAILED_PRECONDITION,
                    "batches/%s has no line that failed, was cancelled or expired", batch->id);
    return STATUS_OK;
}

static enum status make(const struct batch_context *context, const struct store_batch *from,
                        const char *batch_id, const struct store_request *repeatable)
{
    struct store *store = context->tools->store;
    struct store_batch_answer made;
    struct store_batch batch;
    const struct store_batch_args args = {
        .tenant = context->tenant,
        .request = repeatable,
        .limits = &context->limits,
        .id = batch_id,
        .endpoint = from->endpoint,
        .retry_of = from->id,
        .order = from->order,
        .priority = from->priority,
        .expires_after_seconds = (from->expires_us - from->created_us) / US_A_SECOND,
        .retention_seconds = from->retention_seconds,
        .metadata = from->metadata,
        .metadata_bytes = from->metadata_bytes,
    };
    TRY(check_ended(from));
    TRY(store_batch_create(store, &made, &args));
    enum status status = fill(context, from, &made.batch);
    if (status == STATUS_OK)
        status = store_batch_get(store, &batch, context->tenant, made.batch.id);
    store_batch_clear(&made.batch);
    TRY(status);
    return batch_message_answer(context->call, &batch);
}

enum status retry_call_handle(const struct batch_context *context, const ProtobufCMessage *message)
{
    const Longhaul__V1__RetryBatchRequest *request = (const void *)message;
    struct store_request repeatable;
    struct store_batch from;
    const char *id = NULL;
    TRY(batch_tools_name(context, &id, request->name, "batches"));
    context->details->field = "batch_id";
    TRY(resource_name_check_chosen(request->batch_id));
    context->details->field = NULL;
    TRY(batch_tools_request(&repeatable, context, "RetryBatch", request->request_id, message));
    enum status status = store_batch_get(context->tools->store, &from, context->tenant, id);
    if (status == STATUS_OK) {
        status = make(context, &from, request->batch_id, &repeatable);
        store_batch_clear(&from);
    }
    batch_tools_forget(&repeatable);
    return status;
}
