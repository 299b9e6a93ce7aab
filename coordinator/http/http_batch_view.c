/* Owns nothing. */
#include "coordinator/http/http_batch_view.h"

#include <stdio.h>
#include <string.h>

#include "coordinator/batch/batch_message.h"
#include "coordinator/http/http_store.h"
#include "coordinator/openai/openai_files.h"

#define SECOND_US INT64_C(1000000)

const char *http_batch_view_status(const struct store_batch *batch)
{
    switch (batch->state) {
    case STORE_BATCH_UPLOADING:
    case STORE_BATCH_VALIDATING:
        return "validating";
    case STORE_BATCH_QUEUED:
    case STORE_BATCH_RUNNING:
        return "in_progress";
    case STORE_BATCH_FINALIZING:
        return "finalizing";
    case STORE_BATCH_SUCCEEDED:
        return "completed";
    case STORE_BATCH_FAILED:
        return "failed";
    case STORE_BATCH_EXPIRED:
        return "expired";
    case STORE_BATCH_CANCELLING:
        return "cancelling";
    default:
        return "cancelled";
    }
}

/* Its labels without the one that is ours. */
static void set_labels(struct openai_batch *view, struct openai_label labels[OPENAI_LABELS_MAX],
                       const Longhaul__V1__Batch *message)
{
    view->labels = labels;
    view->input_file_id = "";
    for (size_t i = 0; i < message->n_metadata; i++) {
        const Longhaul__V1__Label *label = message->metadata[i];
        if (strcmp(label->key, HTTP_BATCH_VIEW_INPUT) == 0)
            view->input_file_id = label->value;
        else if (view->label_count < OPENAI_LABELS_MAX)
            labels[view->label_count++] = (struct openai_label){label->key, label->value};
    }
}

static void set_end(struct openai_batch *view, const struct store_batch *batch)
{
    const int64_t ended_s = batch->ended_us / SECOND_US;
    if (batch->state == STORE_BATCH_SUCCEEDED)
        view->completed_s = ended_s;
    else if (batch->state == STORE_BATCH_FAILED)
        view->failed_s = ended_s;
    else if (batch->state == STORE_BATCH_EXPIRED)
        view->expired_s = ended_s;
    else
        view->cancelled_s = ended_s;
}

enum status http_batch_view_write(struct json_writer *writer, const struct store_batch *batch)
{
    char id[HTTP_ID_BYTES], output[HTTP_ID_BYTES], errors[HTTP_ID_BYTES];
    struct openai_label labels[OPENAI_LABELS_MAX];
    struct batch_message message;
    const struct store_counts *counts = &batch->counts;
    TRY(batch_message_init(&message, batch));
    snprintf(id, sizeof id, HTTP_BATCH_PREFIX "%s", batch->id);
    snprintf(output, sizeof output, HTTP_OUTPUT_PREFIX "%s", batch->id);
    snprintf(errors, sizeof errors, HTTP_ERRORS_PREFIX "%s", batch->id);
    const bool ended = batch_message_has_ended(batch);
    const int64_t not_completed = counts->failed + counts->cancelled + counts->expired;
    struct openai_batch view = {
        .id = id,
        .endpoint = batch->endpoint,
        .status = http_batch_view_status(batch),
        .output_file_id = ended && counts->completed > 0 ? output : NULL,
        .error_file_id = ended && not_completed > 0 ? errors : NULL,
        .error = batch->error,
        .window_hours = (batch->expires_us - batch->created_us) / SECOND_US / 3600,
        .created_s = batch->created_us / SECOND_US,
        .in_progress_s = batch->started_us / SECOND_US,
        .expires_s = batch->expires_us / SECOND_US,
        .total = counts->total,
        .completed = counts->completed,
        .failed = not_completed,
        .prompt_tokens = batch->usage.prompt_tokens,
        .cached_tokens = batch->usage.cached_tokens,
        .completion_tokens = batch->usage.completion_tokens,
    };
    set_labels(&view, labels, &message.message);
    if (ended)
        set_end(&view, batch);
    openai_batch_write(writer, &view);
    batch_message_deinit(&message);
    return STATUS_OK;
}
