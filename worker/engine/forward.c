/* The page: how tokens pass through the layers of a model on one rank. Owns the lists of the stage
 * at hand; the numbers are the device's, the bytes between ranks the ring's and the transport's.
 *
 * Sharded queries (prefill): each rank has its own rows, keys and values travel.
 * Replicated queries (decode): each rank has all rows, attends to its own keys, and states travel.
 */
#include "worker/engine/forward.h"

#include <math.h>
#include <stdlib.h>

#include "proto/clock.h"
#include "proto/plan/tensor_sums.h"
#include "worker/engine/home.h"
#include "worker/engine/layer_program.h"

static void drive(void *context);
static void idle(void *context);

static enum status run_ops(struct forward *forward, int first, int end,
                           const struct device_drive *while_running)
{
    struct device *device = forward->device;
    const int64_t begin_ns = trace_now(device->trace);
    const enum status status = device_run(device, first, end, while_running);
    trace_span(device->trace, TRACE_RUN, device->program->ops[first].layer, begin_ns, end - first);
    return status;
}

/* ---- sharded queries ---- */

static enum status act_on_verdict(struct forward *forward)
{
    const struct device_drive waiting = {idle, forward};
    struct verdict verdict;
    TRY(verdict_take(&forward->verdict, &verdict, &waiting));
    if (!verdict.stop)
        return STATUS_OK;
    TRY(ring_end(forward->ring));
    return forward_stop(forward, &verdict, "in its prefill");
}

/* A request that is cut short left arithmetic undone: what it found there counts for nothing. */
static enum status offer(struct forward *forward, uint64_t non_finite)
{
    enum status reason = sequence_stop_status(forward->sequence);
    if (reason != STATUS_OK)
        non_finite = NON_FINITE_NONE;
    else if (non_finite != NON_FINITE_NONE)
        reason = STATUS_INTERNAL;
    const struct verdict verdict = {
        .stop = reason != STATUS_OK, .status = (int32_t)reason, .non_finite = non_finite};
    return verdict_offer(&forward->verdict, &verdict);
}

static void tell_progress(const struct forward *forward, int layers_done, int layers)
{
    const struct engine_job *job = &forward->sequence->job;
    const struct span stage = forward->schedule.stage;
    if (forward->world->rank == 0)
        job->observer->progress(job->observer->context,
                                stage.first + (stage.end - stage.first) * layers_done / layers,
                                job->request->count);
}

/* The tensor axis adds up what its ranks have of `rows` rows. */
static enum status sum_up(struct forward *forward, float *partial, int64_t rows, bool of_stage,
                          const struct device_drive *waiting)
{
    const struct device *device = forward->device;
    const int64_t begin_ns = trace_now(device->trace);
    TRY(tensor_sum_take(&forward->sum, partial, device->memory.sum_scratch,
                        rows * device->shape.hidden, of_stage, waiting));
    trace_span(device->trace, TRACE_GATHER, -1, begin_ns, 0);
    return STATUS_OK;
}

/* Runs the ops of the stage's rows from `first` on to `end`, which attends or is the last; where
 * partial sums are awaited in between, they are summed. */
static enum status run_stage(struct forward *forward, int first, int end)
{
    const struct device_drive working = {drive, forward};
    const struct device_drive waiting = {idle, forward};
    struct device *device = forward->device;
    while (first < end) {
        const int next = layer_program_cut(device->program, first, 0);
        const int cut = next < end ? next : end;
        TRY(run_ops(forward, first, cut, &working));
        if (cut < end)
            TRY(sum_up(forward, device->memory.sums, forward->shard.rows, true, &waiting));
        first = cut;
    }
    return STATUS_OK;
}

/* The op of the program at which the layer that follows op `first` attends; or the head. */
static int find_attend(const struct layer_program *program, int first)
{
    while (first < program->head && program->ops[first].kind != LAYER_ATTEND)
        first++;
    return first;
}

/* Rows are whole: only attention mixes them, so a run ends one layer and begins the next. */
static enum status sharded_layers(struct forward *forward)
{
    const struct device_drive working = {drive, forward};
    const struct layer_program *program = forward->device->program;
    int layers = (int)forward->device->shape.layers;
    int first = 0;
    for (int layer = 0; layer < layers; layer++) {
        const int attend = find_attend(program, first);
        TRY(offer(forward, NON_FINITE_NONE));
        shard_rows_restart(&forward->shard);
        ring_layer(forward->ring, layer);
        TRY(run_stage(forward, first, attend));
        TRY(ring_attend(forward->ring, &working));
        TRY(forward->failure);
        TRY(act_on_verdict(forward));
        tell_progress(forward, layer + 1, layers);
        first = attend + 1;
    }
    TRY(run_stage(forward, first, program->head));
    TRY(ring_end(forward->ring));
    return forward->failure;
}

enum status forward_move(struct device *device, const struct panel_moves *moves)
{
    const size_t bytes = (size_t)moves->slots * device->record_bytes;
    for (int64_t m = 0; m < moves->count; m++) {
        const struct panel_move *move = &moves->list[m];
        for (int layer = 0; layer < device->shape.layers; layer++) {
            void *to = device_record(device, layer, move->to);
            if (move->from < 0)
                TRY(device_clear(device, to, bytes));
            else
                TRY(device_move(device, to, device_record(device, layer, move->from), bytes));
        }
    }
    return STATUS_OK;
}

/* Says who has the tokens of `stage`, and makes room for this rank's. */
static enum status deal_stage(struct forward *forward, struct sequence *sequence, struct span stage)
{
    struct panel_moves moves;
    TRY(choice_deal(&sequence->choice, sequence->ownership, stage));
    TRY(panel_table_stage(
        sequence->panels, &moves, sequence->ownership, forward->transport->rank, stage,
        ownership_live_first(sequence->ownership, stage.first, sequence->method.reach)));
    return forward_move(forward->device, &moves);
}

enum status forward_deal_prompt(struct forward *forward, struct sequence *sequence)
{
    while (sequence->passed < sequence->job.request->count) {
        const struct span stage = sequence_stage(sequence);
        TRY(deal_stage(forward, sequence, stage));
        sequence->passed = stage.end;
    }
    return STATUS_OK;
}

static struct device_sequence as_device_knows(struct sequence *sequence)
{
    return (struct device_sequence){
        .method = &sequence->method,
        .panels = sequence->panels,
        .ids = sequence->ids,
        .positions = sequence->job.request->positions,
        .positioned = sequence->job.request->count,
        .sinks = sequence->sinks,
        .non_finite = &sequence->non_finite,
    };
}

static enum status sharded_stage(struct forward *forward, struct span stage)
{
    struct sequence *sequence = forward->sequence;
    const struct choice *choice = &sequence->choice;
    int rank = forward->transport->rank;
    TRY(deal_stage(forward, sequence, stage));
    TRY(schedule_make(&forward->schedule, choice, &sequence->method.bands, sequence->ownership,
                      stage));
    const struct schedule_rank *mine = &forward->schedule.ranks[rank];
    shard_rows_clear(&forward->shard);
    TRY(shard_rows_add(&forward->shard, mine, device_block_rows(forward->device, mine->rows),
                       forward->device->tile_tokens));
    const struct ring_stage exchange = {
        .schedule = mine,
        .panels = sequence->panels,
        .shard = &forward->shard,
        .device = forward->device,
        .receive_slots = choice->group.receive_slots,
        .block_tokens = choice->group.block_tokens,
        .idle = {idle, forward},
    };
    TRY(ring_begin(forward->ring, &exchange));
    forward->sequences[0] = as_device_knows(sequence);
    TRY(device_begin(forward->device,
                     &(struct device_stage){&forward->shard, forward->sequences, 1}));
    return sharded_layers(forward);
}

/* ---- replicated queries ---- */

static enum status add_step_key(struct forward *forward, const struct device_keys *keys)
{
    if (forward->step_key_count == forward->step_key_capacity) {
        int capacity = forward->step_key_capacity ? 2 * forward->step_key_capacity : 32;
        struct device_keys *step_keys =
            realloc(forward->step_keys, (size_t)capacity * sizeof *step_keys);
        if (step_keys)
            forward->step_keys = step_keys;
        struct device_keys *layer_keys =
            realloc(forward->layer_keys, (size_t)capacity * sizeof *layer_keys);
        if (layer_keys)
            forward->layer_keys = layer_keys;
        if (!step_keys || !layer_keys)
            return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a list of %d key extents",
                        capacity);
        forward->step_key_capacity = capacity;
    }
    forward->step_keys[forward->step_key_count++] = *keys;
    return STATUS_OK;
}

/* The extents of this rank's keys that a sequence's tokens attend to; `query` is the first of its
 * query spans. */
static enum status find_step_keys(struct forward *forward, const struct schedule_rank *schedule,
                                  const struct panel_table *panels, int query)
{
    for (int s = 0; s < schedule->read_count; s++) {
        const struct schedule_read *read = &schedule->reads[s];
        struct device_keys keys = {.first = read->keys.first / BANDS_LANES * BANDS_LANES,
                                   .end = read->keys.end,
                                   .panel_records = (int)panel_table_panel_slots(panels),
                                   .query_first = query + read->query_first,
                                   .query_end = query + read->query_end};
        if (read->source == SCHEDULE_SINKS) {
            keys.store = BANDS_SINKS;
            keys.panel_records = (int)panel_table_sink_slots(panels);
            keys.records = device_record(forward->device, 0, panel_table_sinks(panels));
            TRY(add_step_key(forward, &keys));
            continue;
        }
        while (keys.first < read->keys.end) {
            int64_t index = keys.first;
            keys.records = device_record(forward->device, 0,
                                         panel_table_extent(panels, &index, read->keys.end));
            keys.end = index;
            TRY(add_step_key(forward, &keys));
            keys.first = index;
        }
    }
    return STATUS_OK;
}

static const struct device_keys *keys_of_layer(struct forward *forward, int layer)
{
    const size_t shift =
        (size_t)layer * (size_t)forward->device->group.pool_slots * forward->device->record_bytes;
    for (int k = 0; k < forward->step_key_count; k++) {
        forward->layer_keys[k] = forward->step_keys[k];
        forward->layer_keys[k].records = (const char *)forward->step_keys[k].records + shift;
    }
    return forward->layer_keys;
}

static enum status attend(struct forward *forward, int layer, int64_t rows)
{
    TRY(device_attend(forward->device, layer, keys_of_layer(forward, layer),
                      forward->step_key_count, NULL));
    if (forward->alone)
        TRY(transport_progress(forward->transport)); /* the others hear that this rank gets on */
    else
        TRY(step_gather_states(&forward->gather, rows));
    transport_mark(forward->transport);
    return STATUS_OK;
}

/* Every rank has all rows, and keys of its own. Of what a split product leaves it has some columns,
 * until the others' are awaited. */
static enum status replicated_layers(struct forward *forward, int64_t rows)
{
    const struct layer_program *program = forward->device->program;
    for (int first = 0; first < program->logits;) {
        const int cut = layer_program_cut(program, first, forward->split);
        const struct layer_op *op = &program->ops[cut];
        TRY(run_ops(forward, first, cut, NULL));
        first = cut;
        if (op->kind == LAYER_ATTEND) {
            TRY(attend(forward, op->layer, rows));
            first = cut + 1;
            continue;
        }
        if (op->awaits_split & forward->split)
            TRY(step_gather_columns(&forward->gather, op->awaits, rows));
        if (op->awaits_sum)
            TRY(sum_up(forward, forward->device->memory.step[op->awaits_sum], rows, false, NULL));
    }
    return STATUS_OK;
}

/* Adds the next tokens of a sequence to the step; they are dealt. */
static enum status add_tokens(struct forward *forward, struct sequence *sequence, struct span span)
{
    struct device_tokens *tokens = &forward->tokens[forward->token_count++];
    TRY(schedule_make_replicated(&forward->step_schedule, &sequence->choice,
                                 &sequence->method.bands, sequence->ownership, span,
                                 forward->transport->rank));
    *tokens = (struct device_tokens){
        .first = span.first,
        .rows = span.end - span.first,
        .sequence = as_device_knows(sequence),
        .ownership = sequence->ownership,
        .key_first = forward->step_key_count,
    };
    TRY(find_step_keys(forward, &forward->step_schedule, sequence->panels, 0));
    tokens->key_end = forward->step_key_count;
    forward->step_rows += tokens->rows;
    return STATUS_OK;
}

static void restart_step(struct forward *forward, unsigned split, bool alone)
{
    forward->logit_places = 1;
    forward->token_count = 0;
    forward->step_key_count = 0;
    forward->step_rows = 0;
    forward->split = split;
    forward->alone = alone;
}

static enum status replicated_pass(struct forward *forward, bool token)
{
    const struct device_step step = {
        .rows = forward->step_rows,
        .tokens = forward->tokens,
        .count = forward->token_count,
        .rank = forward->transport->rank,
        .ranks = forward->alone ? 1 : forward->transport->size,
        .keys = forward->step_keys,
        .key_count = forward->step_key_count,
        .token = token,
        .split = forward->split,
        .logit_places = forward->logit_places,
        .logit_place = forward->logit_places > 1 ? forward->world->rank : 0,
    };
    TRY(device_step_begin(forward->device, &step));
    return replicated_layers(forward, step.rows);
}

static enum status replicated_stage(struct forward *forward, struct span stage)
{
    TRY(deal_stage(forward, forward->sequence, stage));
    restart_step(forward, 0, false);
    TRY(add_tokens(forward, forward->sequence, stage));
    return replicated_pass(forward, false);
}

enum status forward_go_home(struct forward *forward, struct sequence *sequence)
{
    if (!choice_is_home(&sequence->choice))
        return STATUS_OK;
    const struct home home = {
        .transport = forward->transport,
        .device = forward->device,
        .ownership = sequence->ownership,
        .panels = sequence->panels,
        .keys = cost_home_keys(&sequence->choice, sequence->ownership),
    };
    TRY(home_fetch(&home));
    return ownership_give(sequence->ownership, 0);
}

/* Says who has the sequence's next token, and makes room for it. What is still needed where the
 * token at index `next` follows those before it is kept. */
static enum status deal_token(struct forward *forward, struct sequence *sequence, int64_t next)
{
    const int64_t index = ownership_tokens(sequence->ownership);
    struct panel_moves moves;
    if (choice_is_home(&sequence->choice))
        TRY(ownership_deal(sequence->ownership, &(struct owned_span){{index, index + 1}, 0}, 1));
    else
        TRY(ownership_advance(sequence->ownership, 1, PARTITION_ROUND_ROBIN, NULL));
    if (ownership_owner(sequence->ownership, index) != forward->transport->rank)
        return STATUS_OK;
    TRY(panel_table_append(
        sequence->panels, &moves, index,
        ownership_live_first(sequence->ownership, next, sequence->method.reach)));
    return forward_move(forward->device, &moves);
}

/* Whether this rank computes anything of the step. */
static bool has_step(const struct forward *forward)
{
    return !forward->alone || forward->transport->rank == 0;
}

enum status forward_step(struct forward *forward, const struct forward_part *parts, int count)
{
    const struct choice *choice = &parts[0].sequence->choice;
    forward_turn(forward, NULL);
    restart_step(forward, choice->request.decode_split, choice_is_home(choice));
    forward->logit_places = tensor_sums_logit_places(choice);
    for (int p = 0; p < count; p++) {
        struct sequence *sequence = parts[p].sequence;
        const struct span span = {sequence->passed, sequence->passed + parts[p].rows};
        for (int64_t index = span.first; index < span.end; index++)
            TRY(deal_token(forward, sequence, span.first));
        sequence->passed = span.end;
        if (has_step(forward))
            TRY(add_tokens(forward, sequence, span));
    }
    return has_step(forward) ? replicated_pass(forward, true) : STATUS_OK;
}

void forward_retreat(struct sequence *sequence, int64_t tokens)
{
    ownership_retreat(sequence->ownership, tokens);
    panel_table_retreat(sequence->panels, tokens);
    sequence->passed = tokens;
}

enum status forward_step_logits(struct forward *forward, bool *gathered, int64_t row, int64_t count)
{
    const int places = forward->logit_places;
    *gathered = places > 1;
    /* Only rank 0 reads them; but a GPU's token is recorded with its logits. */
    if (forward->world->rank >= places && forward->device->on_host)
        return STATUS_OK;
    TRY(device_logits(forward->device, row, count));
    if (!*gathered)
        return STATUS_OK;
    const struct step_gather_logits logits = {forward->world, forward->device, places};
    TRY(device_read_logits(forward->device, step_gather_share(&logits, forward->world->rank)));
    for (int64_t r = 0; r < count; r++)
        TRY(step_gather_logits(&logits, r));
    return STATUS_OK;
}

/* ---- several prompts ---- */

/* Adds the next stage of a prompt to the stage; `member` is its number in it. */
static enum status add_prompt(struct forward *forward, struct sequence *sequence, int member)
{
    const struct span stage = sequence_stage(sequence);
    const struct device *device = forward->device;
    const int query = forward->shard.queries;
    TRY(deal_stage(forward, sequence, stage));
    TRY(schedule_make(&forward->schedule, &sequence->choice, &sequence->method.bands,
                      sequence->ownership, stage));
    const struct schedule_rank *mine = &forward->schedule.ranks[0];
    forward->sequences[member] = as_device_knows(sequence);
    TRY(shard_rows_add(&forward->shard, mine, device->block_rows, device->tile_tokens));
    TRY(find_step_keys(forward, mine, sequence->panels, query));
    sequence->passed = stage.end;
    return STATUS_OK;
}

static enum status joined_layers(struct forward *forward)
{
    const struct device_drive working = {drive, forward};
    const struct layer_program *program = forward->device->program;
    int first = 0;
    for (int layer = 0; layer < forward->device->shape.layers; layer++) {
        const int attend = layer_program_cut(program, first, 0);
        shard_rows_restart(&forward->shard);
        TRY(run_ops(forward, first, attend, &working));
        TRY(device_attend(forward->device, layer, keys_of_layer(forward, layer),
                          forward->step_key_count, &working));
        first = attend + 1;
    }
    TRY(run_ops(forward, first, program->head, &working));
    return forward->failure;
}

enum status forward_join(struct forward *forward, struct sequence *const *sequences, int count)
{
    forward_turn(forward, NULL);
    restart_step(forward, 0, false);
    shard_rows_clear(&forward->shard);
    for (int s = 0; s < count; s++)
        TRY(add_prompt(forward, sequences[s], s));
    TRY(device_begin(forward->device,
                     &(struct device_stage){&forward->shard, forward->sequences, count}));
    TRY(joined_layers(forward));
    for (int s = 0; s < count; s++) {
        const struct engine_job *job = &sequences[s]->job;
        job->observer->progress(job->observer->context, sequences[s]->passed, job->request->count);
    }
    return device_logits(forward->device, 0, count);
}

/* ---- both ---- */

enum status forward_stage(struct forward *forward, struct span stage)
{
    if (choice_stage_queries(&forward->sequence->choice, stage) == CHOICE_REPLICATED)
        return replicated_stage(forward, stage);
    return sharded_stage(forward, stage);
}

static void look_at_scores(struct forward *forward, const float *logprobs)
{
    const struct schedule_rank *mine = &forward->schedule.ranks[forward->transport->rank];
    for (int q = 0; q < mine->query_count; q++)
        for (int64_t index = mine->queries[q].first; index < mine->queries[q].end; index++)
            forward_look(forward, index, *logprobs++);
}

enum status forward_score(struct forward *forward, float *logprobs, int64_t tokens)
{
    const struct device_drive working = {drive, forward};
    if (forward->tensor_place > 0) /* its first place has all of the output's weights, and tells */
        return forward->failure;
    TRY(device_score(forward->device, logprobs, tokens, &working));
    look_at_scores(forward, logprobs);
    return forward->failure;
}

/* A hint may have undone arithmetic since the last layer's verdict. One raised after this verdict
 * would undo a slower rank's, whom the verdict tells that all is whole: so none is. */
enum status forward_settle(struct forward *forward, bool agrees)
{
    const struct device_drive waiting = {idle, forward};
    uint64_t non_finite = NON_FINITE_NONE;
    if (agrees) {
        non_finite = atomic_load(&forward->sequence->non_finite);
        TRY(verdict_collect(&forward->verdict, &non_finite, &waiting));
    }
    TRY(offer(forward, non_finite));
    forward->settled = true;
    TRY(act_on_verdict(forward));
    return forward->failure;
}

enum status forward_stop(struct forward *forward, const struct verdict *verdict, const char *where)
{
    forward->stopped = true;
    forward->not_finite = verdict->non_finite != NON_FINITE_NONE;
    if (forward->not_finite)
        return non_finite_fail(verdict->non_finite, forward->device->shape.layers);
    return fail((enum status)verdict->status, "the request was cut short %s", where);
}

void forward_look(struct forward *forward, int64_t index, float logprob)
{
    if (!isfinite(logprob))
        non_finite_note(&forward->sequence->non_finite,
                        non_finite_place(forward->device->shape.layers, NON_FINITE_INSIDE, index));
}

/* While waiting: the exchange goes on, and a request that rank 0 will cut short costs no more
 * arithmetic. */
static void idle(void *context)
{
    struct forward *forward = context;
    if (forward->failure == STATUS_OK)
        forward->failure = ring_drive(forward->ring);
    if (forward->world->rank == 0 && forward->sequence && !forward->settled &&
        sequence_stop_status(forward->sequence) != STATUS_OK)
        transport_hint(forward->world, forward->turn);
    if (forward->failure != STATUS_OK || transport_hinted(forward->world) >= forward->turn)
        device_skip(forward->device);
}

/* Between work items: peers may know that this rank is getting on. */
static void drive(void *context)
{
    struct forward *forward = context;
    transport_mark(forward->transport);
    idle(context);
}

/* ---- making ---- */

enum status forward_init(struct forward *forward, const struct group_axes *axes,
                         struct device *device)
{
    enum status status = STATUS_OK;
    struct transport *transport = axes->sequence;
    *forward = (struct forward){.transport = transport,
                                .world = axes->world,
                                .tensor_place = axes->tensor ? axes->tensor->rank : 0,
                                .logit_places = 1,
                                .device = device};
    TRY(schedule_init(&forward->schedule, transport->size));
    TRY_ELSE(ring_create(&forward->ring, transport), undo);
    TRY_ELSE(verdict_init(&forward->verdict, axes->world), undo);
    TRY_ELSE(tensor_sum_init(&forward->sum, axes->tensor), undo);
    TRY_ELSE(step_gather_init(&forward->gather, transport, device), undo);
    forward->tokens = calloc(CHOICE_SEQUENCES_MAX, sizeof *forward->tokens);
    forward->sequences = calloc(CHOICE_SEQUENCES_MAX, sizeof *forward->sequences);
    if (!forward->tokens || !forward->sequences)
        TRY_ELSE(fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the lists of a step"), undo);
    device->waiting = (struct device_drive){idle, forward};
    return STATUS_OK;
undo:
    forward_deinit(forward);
    return status;
}

void forward_deinit(struct forward *forward)
{
    if (forward->device)
        forward->device->waiting = (struct device_drive){0};
    schedule_deinit(&forward->schedule);
    schedule_rank_deinit(&forward->step_schedule);
    shard_rows_deinit(&forward->shard);
    ring_destroy(forward->ring);
    verdict_deinit(&forward->verdict);
    tensor_sum_deinit(&forward->sum);
    free(forward->tokens);
    free(forward->sequences);
    free(forward->step_keys);
    free(forward->layer_keys);
    step_gather_deinit(&forward->gather);
    *forward = (struct forward){0};
}

void forward_turn(struct forward *forward, struct sequence *sequence)
{
    forward->sequence = sequence;
    forward->turn++;
    forward->failure = STATUS_OK;
    forward->stopped = false;
    forward->not_finite = false;
    forward->settled = sequence == NULL; /* a step is never cut short */
}
