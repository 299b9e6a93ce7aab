/* Owns nothing: sums and shares. */
#include "worker/engine/account.h"

#include "proto/plan/cost.h"
#include "proto/plan/tensor_sums.h"

static void read_counters(const struct transport *transport, struct account *account)
{
    const struct transport_counters *counters = &transport->counters;
    for (int channel = 0; channel < TRANSPORT_CHANNELS; channel++) {
        if (channel == TRANSPORT_VERDICT || channel == TRANSPORT_TURN || channel == TRANSPORT_ORDER)
            continue;
        account->sent_bytes += (int64_t)counters->sent_bytes[channel];
        account->received_bytes += (int64_t)counters->received_bytes[channel];
        account->sent_messages += (int64_t)counters->sent_messages[channel];
    }
}

void account_open(struct account *account, const struct forward *forward)
{
    const struct device *device = forward->device;
    *account = (struct account){0};
    read_counters(forward->world, account);
    account->compute_seconds = device->compute_seconds;
    for (int part = 0; part < DEVICE_PARTS; part++)
        account->part_seconds[part] = device->part_seconds[part];
    account->times = ring_times(forward->ring);
}

void account_close(const struct account *account, const struct forward *forward,
                   struct engine_result *result, int64_t rows, int64_t of)
{
    const double share = (double)rows / (double)of;
    struct account now;
    account_open(&now, forward);
    result->sent_bytes += (now.sent_bytes - account->sent_bytes) * rows / of;
    result->received_bytes += (now.received_bytes - account->received_bytes) * rows / of;
    result->sent_messages += of == 1 ? now.sent_messages - account->sent_messages : 0;
    result->compute_seconds += (now.compute_seconds - account->compute_seconds) * share;
    for (int part = 0; part < DEVICE_PARTS; part++)
        result->part_seconds[part] +=
            (now.part_seconds[part] - account->part_seconds[part]) * share;
    result->exchange_wait_seconds +=
        (now.times.waited_seconds - account->times.waited_seconds) * share;
    result->exchange_seconds +=
        (now.times.exchange_seconds - account->times.exchange_seconds) * share;
}

static void predict(struct engine_result *result, const struct cost *cost)
{
    result->predicted_sent_bytes += cost->sent_bytes;
    result->predicted_received_bytes += cost->received_bytes;
    result->predicted_sent_messages += cost->sent_messages;
}

void account_predict_stage(const struct forward *forward, struct engine_result *result,
                           bool replicated, struct span stage)
{
    const struct sequence *sequence = forward->sequence;
    const struct choice *choice = &sequence->choice;
    const struct model_shape *shape = &forward->device->shape;
    const struct cost_table table = cost_table_default();
    const int rank = forward->transport->rank;
    struct cost cost;
    if (replicated)
        cost_replicated(&cost, choice, shape, stage);
    else
        cost_rank(&cost, &forward->schedule, choice, shape, &table, rank);
    tensor_sums_cost(&cost, &choice->group, shape,
                     replicated ? stage.end - stage.first : forward->shard.rows, !replicated,
                     forward->world->rank);
    predict(result, &cost);
    if (sequence->job.request->kind == ENGINE_SCORE && !replicated && forward->tensor_place == 0) {
        cost_scores(&cost, &forward->schedule, rank);
        predict(result, &cost);
    }
}

void account_predict_logits(const struct forward *forward, struct engine_result *result)
{
    const struct sequence *sequence = forward->sequence;
    struct cost cost;
    if (forward->tensor_place > 0)
        return;
    cost_logits(&cost, &forward->device->shape,
                ownership_owner(sequence->ownership, sequence->job.request->count - 1),
                forward->transport->rank);
    predict(result, &cost);
}

void account_predict_home(const struct forward *forward, const struct sequence *sequence,
                          struct engine_result *result)
{
    struct cost cost;
    cost_home(&cost, &sequence->choice, &forward->device->shape, sequence->ownership,
              forward->transport->rank);
    predict(result, &cost);
}

void account_predict_tokens(const struct forward *forward, const struct sequence *sequence,
                            struct engine_result *result, int64_t rows, int64_t of)
{
    const struct cost_table table = cost_table_default();
    struct cost cost;
    cost_decode(&cost, &sequence->choice, &forward->device->shape, &table, forward->transport->rank,
                0);
    const struct choice *choice = &sequence->choice;
    if (!choice_is_home(choice) || forward->transport->rank == 0)
        tensor_sums_cost(&cost, &choice->group, &forward->device->shape, 1, false,
                         forward->world->rank);
    if (group_choice_tensor(&choice->group) > 1)
        cost_logit_shares(&cost, &forward->device->shape, tensor_sums_logit_places(choice),
                          forward->world->rank);
    cost.sent_bytes *= rows;
    cost.received_bytes *= rows;
    if (of > 1)
        cost.sent_messages = 0;
    predict(result, &cost);
}
