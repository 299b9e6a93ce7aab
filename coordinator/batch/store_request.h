/* Request ids: what a call answered, kept for 24 hours in the transaction of its effect. */
#pragma once

#include "coordinator/batch/store.h"
#include "coordinator/batch/store_batch.h"
#include "coordinator/batch/store_document.h"
#include "coordinator/batch/store_link.h"

struct store_turn;

/* An answer in bytes; freed by store_request_clear. */
struct store_saved {
    uint8_t *bytes;
    size_t size;
};

void store_request_clear(struct store_saved *saved);

/* What an earlier call with this id was answered; `found` false where there was none, or `request`
 * has no id. ALREADY_EXISTS: that call asked for something else. INVALID_ARGUMENT: a long id. */
MUST_CHECK enum status store_request_find(struct store_link *link, struct store_saved *saved,
                                          bool *found, int64_t tenant, int64_t now_us,
                                          const struct store_request *request);

/* Keeps an answer; nothing where `request` has no id. */
MUST_CHECK enum status store_request_keep(struct store_turn *turn, int64_t tenant,
                                          const struct store_request *request,
                                          const struct store_saved *saved);

/* Forgets up to `most` that are older than 24 hours. */
MUST_CHECK enum status store_request_forget(struct store_turn *turn, int64_t most, bool *more);

/* Answers as bytes and back. DATA_LOSS for bytes that are no such answer. */
MUST_CHECK enum status store_request_save_batch(struct store_saved *saved,
                                                const struct store_batch *batch);
MUST_CHECK enum status store_request_load_batch(struct store_batch *batch,
                                                const struct store_saved *saved);
MUST_CHECK enum status store_request_save_document(struct store_saved *saved,
                                                   const struct store_document *document);
MUST_CHECK enum status store_request_load_document(struct store_document *document,
                                                   const struct store_saved *saved);
