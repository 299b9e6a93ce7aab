/* Owns nothing: moves a stage's log-probabilities to rank 0, each once. */
#include "worker/engine/score.h"

#include <string.h>

/* Sends or receives the log-probabilities of one rank's owned rows. */
static enum status pass_scores(struct forward *forward, const struct score_place *place, int rank)
{
    const struct schedule_rank *schedule = &forward->schedule.ranks[rank];
    struct transport *transport = forward->transport;
    const float *row = place->rows;
    for (int q = 0; q < schedule->query_count; q++) {
        struct span span = schedule->queries[q];
        size_t bytes = (size_t)(span.end - span.first) * sizeof(float);
        struct transport_request *request;
        if (q >= schedule->recomputed_count && rank == transport->rank) {
            if (rank == 0) {
                memcpy(place->all + span.first, row, bytes);
            } else {
                TRY(transport_send(transport, 0, TRANSPORT_SCORE, row, bytes, &request));
                TRY(transport_wait(transport, request));
            }
        } else if (q >= schedule->recomputed_count) {
            TRY(transport_receive(transport, rank, TRANSPORT_SCORE, place->all + span.first, bytes,
                                  &request));
            TRY(transport_wait(transport, request));
        }
        row += span.end - span.first;
    }
    return STATUS_OK;
}

static enum status pass_sharded(struct forward *forward, const struct score_place *place)
{
    if (forward->tensor_place > 0)
        return STATUS_OK;
    if (forward->transport->rank != 0)
        return pass_scores(forward, place, forward->transport->rank);
    for (int rank = 0; rank < forward->transport->size; rank++)
        TRY(pass_scores(forward, place, rank));
    return STATUS_OK;
}

/* Every rank has every row of the stage; rank 0 keeps the results. */
static enum status keep_replicated(struct forward *forward, const struct score_place *place,
                                   struct span stage)
{
    const struct sequence *sequence = forward->sequence;
    const int64_t count = sequence->job.request->count;
    if (forward->world->rank != 0)
        return STATUS_OK;
    for (int64_t index = stage.first; index < stage.end && index + 1 < count; index++) {
        bool gathered;
        TRY(forward_step_logits(forward, &gathered, index - stage.first, 1));
        TRY(device_logprob(forward->device, &place->all[index], sequence->ids[index + 1]));
        forward_look(forward, index, place->all[index]);
        transport_mark(forward->transport); /* the others wait for rank 0 meanwhile */
    }
    return STATUS_OK;
}

/* Rank 0 alone has seen the scores of a replicated stage. */
static enum status settle_replicated(struct forward *forward)
{
    struct verdict verdict = {.non_finite = atomic_load(&forward->sequence->non_finite)};
    TRY(transport_broadcast(forward->world, &verdict, sizeof verdict));
    if (verdict.non_finite == NON_FINITE_NONE)
        return STATUS_OK;
    return forward_stop(forward, &verdict, "");
}

enum status score_stage(struct forward *forward, const struct score_place *place, bool replicated,
                        struct span stage)
{
    const struct engine_job *job = &forward->sequence->job;
    if (replicated) {
        TRY(keep_replicated(forward, place, stage));
        TRY(settle_replicated(forward));
    } else {
        TRY(pass_sharded(forward, place));
    }
    const int64_t last = job->request->count - 1;
    const int64_t end = stage.end < last + 1 ? stage.end : last;
    if (forward->world->rank == 0)
        job->observer->scores(job->observer->context, stage.first, place->all + stage.first,
                              end - stage.first);
    return STATUS_OK;
}
