/* Owns what one request has of its own. */
#include "worker/engine/sequence.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/clock.h"
#include "proto/plan/schedule.h"
#include "worker/engine/non_finite.h"
#include "worker/engine/transfer.h"

void sequence_init(struct sequence *sequence, const struct sequence_start *start,
                   const struct model_spec *spec)
{
    *sequence = (struct sequence){
        .number = start->number,
        .job = *start->job,
        .choice = *start->choice,
        .sharded_end = INT64_MAX,
        .non_finite = NON_FINITE_NONE,
        .started_ns = clock_now_ns(),
        .started_usage = process_usage_now(start->transport),
        .result.prefilled_tokens = start->job->request->count,
    };
    device_method_make(&sequence->method, spec, start->choice);
    if (schedule_keeps_sinks(start->choice, &sequence->method.bands))
        sequence->sinks = sequence->method.bands.sinks;
}

struct engine_result sequence_result(const struct sequence *sequence,
                                     const struct transport *transport)
{
    struct engine_result result = sequence->result;
    result.usage = process_usage_since(&sequence->started_usage, transport);
    return result;
}

enum status sequence_settle(struct sequence *sequence, const struct sequence_place *place)
{
    const struct engine_request *request = sequence->job.request;
    const struct group_choice *group = &sequence->choice.group;
    if (!sequence->ownership)
        TRY(ownership_create(&sequence->ownership, group->workers, group->panel_tokens));
    TRY(panel_table_create(&sequence->panels, &place->panels));
    sequence->place = *place;
    sequence->ids = place->ids;
    memcpy(sequence->ids, request->ids, (size_t)request->count * sizeof *request->ids);
    if (place->sampler_memory) {
        assert((int64_t)sampler_bytes(place->vocab) <= place->sampler_bytes);
        sequence->sampler = sampler_init(place->sampler_memory, place->vocab, &request->sampling);
        sampler_saw(sequence->sampler, request->ids, request->count);
        sampler_hold_back(sequence->sampler, request->stop_ids, request->stop_count,
                          request->min_tokens);
    }
    if (place->draft_memory && request->draft_tokens > 0) {
        sequence->draft = draft_init(place->draft_memory, place->draft_bytes);
        draft_see(sequence->draft, request->ids, request->count);
        draft_begin(sequence->draft);
    }
    return STATUS_OK;
}

void sequence_deinit(struct sequence *sequence)
{
    ownership_destroy(sequence->ownership);
    panel_table_destroy(sequence->panels);
    free(sequence->prefix);
    free(sequence->prefix_own);
    free(sequence->prefix_root);
    transfer_destroy(sequence->transfer);
    sequence->transfer = NULL;
    sequence->ownership = NULL;
    sequence->panels = NULL;
}

bool sequence_transfers(const struct sequence *sequence)
{
    const enum engine_kind kind = sequence->job.request->kind;
    return kind == ENGINE_SAVE || kind == ENGINE_RESTORE;
}

bool sequence_decodes(const struct sequence *sequence)
{
    return sequence->result.completion_tokens > 0;
}

struct span sequence_stage(const struct sequence *sequence)
{
    return choice_stage(&sequence->choice, sequence->passed, sequence->job.request->count);
}

enum status sequence_stop_status(const struct sequence *sequence)
{
    const int64_t deadline_ns = sequence->job.request->deadline_ns;
    const int cancelled = atomic_load(&sequence->cancel_status);
    if (cancelled != STATUS_OK)
        return (enum status)cancelled;
    if (deadline_ns && clock_now_ns() > deadline_ns)
        return STATUS_DEADLINE_EXCEEDED;
    return STATUS_OK;
}

static bool is_stop(const struct engine_request *request, int32_t id)
{
    for (int s = 0; s < request->stop_count; s++)
        if (request->stop_ids[s] == id)
            return true;
    return false;
}

bool sequence_ends_with(const struct sequence *sequence, int32_t id, int64_t ahead)
{
    const struct engine_request *request = sequence->job.request;
    return is_stop(request, id) ||
           sequence->result.completion_tokens + ahead + 1 == request->max_tokens;
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t sequence_draft(struct sequence *sequence, int32_t *drafted, const struct draft_pace *pace,
                       int64_t rows, int64_t most)
{
    const struct engine_request *request = sequence->job.request;
    const int64_t answered = sequence->result.completion_tokens;
    if (!sequence->draft)
        return 0;
    draft_see(sequence->draft, sequence->ids, request->count + answered);
    most = smaller(smaller(most, request->draft_tokens), request->max_tokens - answered - 1);
    if (request->drafts_that_pay)
        most = draft_pace_length(pace, sequence->draft, rows, most);
    return draft_propose(sequence->draft, drafted, sequence->ids, most);
}

void sequence_guess(struct sequence *sequence, const int32_t *drafts, int64_t count)
{
    int32_t *end =
        sequence->ids + sequence->job.request->count + sequence->result.completion_tokens;
    memcpy(end, drafts, (size_t)count * sizeof *drafts);
}

void sequence_take(struct sequence *sequence, int32_t id)
{
    const struct engine_request *request = sequence->job.request;
    struct engine_result *result = &sequence->result;
    const int64_t now = clock_now_ns();
    sequence->ids[request->count + result->completion_tokens++] = id;
    if (result->completion_tokens == 1) {
        sequence->first_ns = now;
        result->prefill_seconds = 1e-9 * (double)(now - sequence->started_ns);
    }
    result->decode_seconds = 1e-9 * (double)(now - sequence->first_ns);
    result->stopped_by_id = is_stop(request, id);
}
