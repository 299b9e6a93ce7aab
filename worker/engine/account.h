/* What a turn took on this rank, for the results of the sequences that it was for; and what the
 * plan had said. Bytes are payload between ranks, without verdicts. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/plan/partition.h"
#include "worker/engine/engine.h"
#include "worker/engine/forward.h"

/* Counters as they stood. */
struct account {
    int64_t sent_bytes, received_bytes, sent_messages;
    double compute_seconds;
    double part_seconds[DEVICE_PARTS];
    struct ring_times times;
};

void account_open(struct account *account, const struct forward *forward);

/* Adds to `result` what was counted since for `rows` of so many alike; messages only where all is
 * one row. */
void account_close(const struct account *account, const struct forward *forward,
                   struct engine_result *result, int64_t rows, int64_t of);

/* What the plan says of the stage that the forward pass has just made. */
void account_predict_stage(const struct forward *forward, struct engine_result *result,
                           bool replicated, struct span stage);

/* Of the logits of a prompt's last row, where its queries are sharded. */
void account_predict_logits(const struct forward *forward, struct engine_result *result);

/* Of an answer's keys that go to rank 0, before they do. */
void account_predict_home(const struct forward *forward, const struct sequence *sequence,
                          struct engine_result *result);

/* Of `rows` tokens of an answer, in a step of so many. */
void account_predict_tokens(const struct forward *forward, const struct sequence *sequence,
                            struct engine_result *result, int64_t rows, int64_t of);
