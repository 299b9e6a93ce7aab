/* Owns nothing. */
#include "coordinator/batch/batch_fields.h"

#include <inttypes.h>
#include <string.h>

#include "coordinator/openai/openai_request.h"

enum {
    LABELS_MAX = 16,
    KEY_CHARACTERS = 64,
    VALUE_CHARACTERS = 512,
    DAY_SECONDS = 86400,
};

/* Of UTF-8. */
static size_t characters(const char *text)
{
    size_t count = 0;
    for (; *text; text++)
        count += ((unsigned char)*text & 0xC0) != 0x80;
    return count;
}

static enum status check_labels(struct status_details *details, const Longhaul__V1__Batch *batch)
{
    details->field = "batch.metadata";
    if (batch->n_metadata > LABELS_MAX)
        return fail(STATUS_INVALID_ARGUMENT, "metadata has %zu labels; at most %d",
                    batch->n_metadata, LABELS_MAX);
    for (size_t i = 0; i < batch->n_metadata; i++) {
        const Longhaul__V1__Label *label = batch->metadata[i];
        const size_t key = characters(label->key), value = characters(label->value);
        if (key == 0 || key > KEY_CHARACTERS || value > VALUE_CHARACTERS)
            return fail(STATUS_INVALID_ARGUMENT,
                        "metadata \"%.80s\": a key has 1 to %d characters and a value at most %d",
                        label->key, KEY_CHARACTERS, VALUE_CHARACTERS);
        for (size_t j = 0; j < i; j++)
            if (strcmp(label->key, batch->metadata[j]->key) == 0)
                return fail(STATUS_INVALID_ARGUMENT, "metadata has the key \"%.80s\" twice",
                            label->key);
    }
    details->field = NULL;
    return STATUS_OK;
}

static enum status check_numbers(struct status_details *details, const Longhaul__V1__Batch *batch)
{
    const struct {
        const char *field;
        int64_t value, least, most;
        bool open; /* 0 leaves it open */
    } rows[] = {
        {"batch.priority", batch->priority, -100, 100, false},
        {"batch.order", batch->order, 0, LONGHAUL__V1__RESULT_ORDER__RESULT_ORDER_INPUT, false},
        {"batch.expires_after_seconds", batch->expires_after_seconds, 60, 2592000, true},
        {"batch.retention_seconds", batch->retention_seconds, 0, 31536000, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].open && rows[i].value == 0)
            continue;
        details->field = rows[i].field;
        if (rows[i].value < rows[i].least || rows[i].value > rows[i].most)
            return fail(STATUS_INVALID_ARGUMENT,
                        "%s is %" PRId64 "; must be %" PRId64 " to %" PRId64, rows[i].field,
                        rows[i].value, rows[i].least, rows[i].most);
    }
    details->field = NULL;
    return STATUS_OK;
}

enum status batch_fields_read(struct store_batch_args *args, struct status_details *details,
                              const struct batch_tools *tools, const Longhaul__V1__Batch *batch)
{
    enum openai_form form;
    TRY(check_labels(details, batch));
    TRY(check_numbers(details, batch));
    if (batch->endpoint[0] && !openai_request_form(&form, batch->endpoint)) {
        details->field = "batch.endpoint";
        return fail(STATUS_INVALID_ARGUMENT,
                    "endpoint is \"%.80s\"; must be /v1/completions, /v1/chat/completions or "
                    "/longhaul/v1/generate",
                    batch->endpoint);
    }
    args->endpoint = batch->endpoint;
    args->order = batch->order;
    args->priority = batch->priority;
    args->expires_after_seconds =
        batch->expires_after_seconds ? batch->expires_after_seconds : DAY_SECONDS;
    args->retention_seconds =
        batch->retention_seconds ? batch->retention_seconds : tools->batch_retention_seconds;
    return STATUS_OK;
}
