/* Owns nothing: the way from logits to a verdict. */
#include "worker/engine/next_id.h"

static enum status receive_logits(struct forward *forward, int owner)
{
    struct transport *transport = forward->transport;
    float *logits = forward->device->memory.logits;
    const size_t bytes = (size_t)forward->device->shape.vocab * sizeof *logits;
    struct transport_request *request;
    TRY(transport_receive(transport, owner, TRANSPORT_STATE, logits, bytes, &request));
    return transport_wait(transport, request);
}

static enum status send_logits(struct forward *forward)
{
    struct transport *transport = forward->transport;
    const int64_t vocab = forward->device->shape.vocab;
    float *logits = forward->device->memory.logits;
    struct transport_request *request;
    TRY(device_read_logits(forward->device, (struct span){0, vocab}));
    TRY(transport_send(transport, 0, TRANSPORT_STATE, logits, (size_t)vocab * sizeof *logits,
                       &request));
    return transport_wait(transport, request);
}

enum status next_id_first_logits(struct forward *forward, bool *gathered, bool replicated,
                                 struct span stage)
{
    const int rank = forward->transport->rank; /* of the sequence axis */
    const struct sequence *sequence = forward->sequence;
    const int64_t last = sequence->job.request->count - 1;
    *gathered = false;
    if (forward->tensor_place > 0) /* its first place has what they follow from, too */
        return STATUS_OK;
    if (replicated)
        return rank == 0 ? forward_step_logits(forward, gathered, last - stage.first, 1)
                         : STATUS_OK;
    const int owner = ownership_owner(sequence->ownership, last);
    if (owner == rank)
        TRY(device_logits(forward->device, shard_rows_find(&forward->shard, last), 1));
    if (owner == rank && rank != 0)
        return send_logits(forward);
    *gathered = rank == 0 && owner != 0;
    return *gathered ? receive_logits(forward, owner) : STATUS_OK;
}

/* By what the device surveys of its logits, where that tells; else by the logits. *finite: they
 * are, and *id is chosen. */
static enum status choose(struct device *device, struct sampler *sampler, int32_t *id, bool *finite,
                          const struct next_id_logits *at)
{
    struct logits_survey survey;
    bool chosen = false;
    *finite = true;
    if (!at->gathered) {
        TRY(device_survey(device, &survey, sampler_temperature(sampler)));
        *finite = sampler_choose(sampler, id, &chosen, &survey) == STATUS_OK;
        if (chosen || !*finite)
            return STATUS_OK;
        TRY(device_read_logits(device, (struct span){0, device->shape.vocab}));
    }
    *finite = sampler_next(sampler, id, device->memory.logits + at->row * device->shape.vocab) ==
              STATUS_OK;
    return STATUS_OK;
}

/* The next token, or where numbers are not finite. */
static enum status choose_finite(struct device *device, struct sequence *sequence,
                                 const struct next_id_logits *at, struct verdict *verdict)
{
    const int64_t last =
        sequence->job.request->count + sequence->result.completion_tokens + at->ahead - 1;
    bool finite = atomic_load(&sequence->non_finite) == NON_FINITE_NONE;
    if (finite)
        TRY(choose(device, sequence->sampler, &verdict->token, &finite, at));
    if (finite)
        return STATUS_OK;
    non_finite_note(&sequence->non_finite,
                    non_finite_place(device->shape.layers, NON_FINITE_INSIDE, last));
    verdict->non_finite = atomic_load(&sequence->non_finite);
    verdict->status = STATUS_INTERNAL;
    return STATUS_OK;
}

/* A choice leaves the logits as they were. */
static enum status tell_logprobs(struct device *device, struct logprobs *logprobs, int32_t id,
                                 int likeliest, const struct next_id_logits *at)
{
    const int64_t vocab = device->shape.vocab;
    if (!at->gathered)
        TRY(device_read_logits(device, (struct span){0, vocab}));
    logprobs_make(logprobs, device->memory.logits + at->row * vocab, vocab, id, likeliest);
    return STATUS_OK;
}

enum status next_id_decide(struct forward *forward, struct sequence *sequence,
                           const struct next_id_logits *at, struct verdict *verdict,
                           struct logprobs *logprobs)
{
    const struct engine_request *request = sequence->job.request;
    struct device *device = forward->device;
    const enum status reason = sequence_stop_status(sequence);
    *verdict = (struct verdict){.status = (int32_t)reason, .non_finite = NON_FINITE_NONE};
    if (reason == STATUS_OK)
        TRY(choose_finite(device, sequence, at, verdict));
    verdict->stop = verdict->status != STATUS_OK;
    if (verdict->stop)
        return STATUS_OK;
    if (request->logprobs)
        TRY(tell_logprobs(device, logprobs, verdict->token, request->likeliest, at));
    verdict->stop = sequence_ends_with(sequence, verdict->token, at->ahead);
    return STATUS_OK;
}
