/* Owns the ranks of one simulated stage. Promises to follow the engine's rules
 * (worker/engine/ring): receives are posted in the schedule's sequence as slots come free, sends to
 * one peer in theirs as their keys are there, as many at a time as there are slots. */
#include "proto/plan/simulate.h"

#include <assert.h>
#include <stdlib.h>

#include "proto/plan/simulate_work.h"

enum { LAYERS_PLAYED = 4 };

struct slot {
    bool arrived, attended, forwarded;
};

/* What goes from one rank to another, counted through the layers. */
struct pair {
    int32_t sends_posted, sends_completed, receives_posted, started;
};

struct rank {
    const struct schedule_rank *schedule;
    struct simulate_work work;
    struct slot *slots; /* [slots], by number modulo slots */
    struct pair *to;    /* [workers] */
    int layer;
    bool running;             /* the products of `layer`; otherwise it attends */
    int mark;                 /* of work.marks, the next one to be reached */
    int64_t rows_done;        /* of the products of `layer` */
    int read, read_end;       /* the call that runs */
    bool waiting;             /* for the keys of `read` */
    int64_t posted, released; /* receives, counted through the layers */
    double layer_end[LAYERS_PLAYED];
};

struct simulation {
    const struct schedule *schedule;
    const struct simulate_machine *machine;
    struct simulate_exchange *exchange;
    int workers, layers, slots;
    double token_bytes; /* of one layer */
    double now;
    struct rank *ranks; /* [workers] */
};

static struct slot *slot_of(const struct simulation *simulation, struct rank *rank, int64_t number)
{
    return &rank->slots[number % simulation->slots];
}

/* ---- messages ---- */

/* Begins every transfer for which both sides are ready. */
static enum status start_transfers(struct simulation *simulation, int from, int to)
{
    struct rank *sender = &simulation->ranks[from];
    struct pair *pair = &sender->to[to];
    const struct simulate_box *box = &sender->work.boxes[to];
    while (pair->started < pair->sends_posted && pair->started < pair->receives_posted) {
        const int send = sender->work.sends[box->first + pair->started % box->count];
        const struct span keys = sender->schedule->sends[send].keys;
        pair->started++;
        TRY(simulate_exchange_start(simulation->exchange, simulation->now, from, to,
                                    (double)(keys.end - keys.first) * simulation->token_bytes,
                                    simulation->machine->pieces));
    }
    return STATUS_OK;
}

static bool is_ready(struct simulation *simulation, struct rank *rank, int send, int layer)
{
    const struct schedule_send *row = &rank->schedule->sends[send];
    if (row->receive < 0)
        return layer < rank->layer || rank->work.ready_rows[send] <= rank->rows_done;
    const int64_t number = (int64_t)layer * rank->schedule->receive_count + row->receive;
    return number < rank->posted && slot_of(simulation, rank, number)->arrived;
}

static enum status post_sends(struct simulation *simulation, int from, int to)
{
    struct rank *rank = &simulation->ranks[from];
    const struct simulate_box *box = &rank->work.boxes[to];
    struct pair *pair = &rank->to[to];
    const int64_t allowed = (int64_t)(rank->layer + 1) * box->count;
    while (pair->sends_posted < allowed &&
           pair->sends_posted - pair->sends_completed < simulation->slots) {
        const int send = rank->work.sends[box->first + pair->sends_posted % box->count];
        if (!is_ready(simulation, rank, send, pair->sends_posted / box->count))
            break;
        pair->sends_posted++;
    }
    return start_transfers(simulation, from, to);
}

/* To the next rank first: ranks that all began with rank 0 would queue there, where real messages
 * share a link. */
static enum status post_all_sends(struct simulation *simulation, int from)
{
    const int workers = simulation->workers;
    for (int hop = 1; hop < workers; hop++) {
        const int to = from + hop < workers ? from + hop : from + hop - workers;
        if (simulation->ranks[from].work.boxes[to].count > 0)
            TRY(post_sends(simulation, from, to));
    }
    return STATUS_OK;
}

static enum status post_receives(struct simulation *simulation, int to)
{
    struct rank *rank = &simulation->ranks[to];
    const int64_t count = rank->schedule->receive_count;
    while (rank->released < rank->posted) {
        const struct slot *slot = slot_of(simulation, rank, rank->released);
        if (!slot->arrived || !slot->attended || !slot->forwarded)
            break;
        rank->released++;
    }
    const int64_t allowed = (rank->layer + 1) * count;
    while (rank->posted < allowed && rank->posted - rank->released < simulation->slots) {
        const int which = (int)(rank->posted % count);
        const int from = rank->schedule->receives[which].from;
        *slot_of(simulation, rank, rank->posted) =
            (struct slot){.forwarded = rank->work.forwards[which] < 0};
        rank->posted++;
        simulation->ranks[from].to[to].receives_posted++;
        TRY(start_transfers(simulation, from, to));
    }
    return STATUS_OK;
}

/* ---- computing ---- */

/* Wakes the rank where more of its rows are done, the last time with all of them. */
static enum status run_on(struct simulation *simulation, int number)
{
    struct rank *rank = &simulation->ranks[number];
    const struct simulate_work *work = &rank->work;
    const int64_t rows = rank->mark < work->mark_count ? work->marks[rank->mark] : work->rows;
    const double share = work->rows > 0 ? (double)(rows - rank->rows_done) / (double)work->rows : 0;
    return simulate_exchange_wake(simulation->exchange, simulation->now + share * work->run_seconds,
                                  number);
}

static enum status begin_layer(struct simulation *simulation, int number)
{
    struct rank *rank = &simulation->ranks[number];
    rank->layer++;
    rank->mark = 0;
    rank->rows_done = 0;
    rank->read = rank->read_end = 0;
    rank->running = true;
    TRY(post_receives(simulation, number));
    TRY(post_all_sends(simulation, number));
    return run_on(simulation, number);
}

static bool is_there(struct simulation *simulation, struct rank *rank, int read)
{
    const struct schedule_read *row = &rank->schedule->reads[read];
    if (row->source != SCHEDULE_RECEIVED)
        return true;
    const int64_t number = (int64_t)rank->layer * rank->schedule->receive_count + row->receive;
    return number < rank->posted && slot_of(simulation, rank, number)->arrived;
}

/* The next call takes the reads that are there, as the engine does. */
static enum status attend(struct simulation *simulation, int number)
{
    struct rank *rank = &simulation->ranks[number];
    const struct schedule_rank *schedule = rank->schedule;
    const int most = simulation->machine->call_reads;
    if (rank->read == schedule->read_count) {
        rank->layer_end[rank->layer] = simulation->now;
        return rank->layer + 1 < simulation->layers ? begin_layer(simulation, number) : STATUS_OK;
    }
    if (!is_there(simulation, rank, rank->read)) {
        rank->waiting = true;
        return STATUS_OK;
    }
    double seconds = 0;
    int64_t rows = 0;
    int end = rank->read;
    while (end < schedule->read_count && is_there(simulation, rank, end) &&
           (end - rank->read < most || most == 0 || schedule->receive_count == 0)) {
        seconds += rank->work.read_seconds[end];
        rows = rank->work.read_rows[end] > rows ? rank->work.read_rows[end] : rows;
        end++;
    }
    rank->read_end = end;
    seconds += simulate_work_call_seconds(&rank->work, simulation->machine, rows);
    return simulate_exchange_wake(simulation->exchange, simulation->now + seconds, number);
}

static enum status end_call(struct simulation *simulation, int number)
{
    struct rank *rank = &simulation->ranks[number];
    const struct schedule_rank *schedule = rank->schedule;
    for (; rank->read < rank->read_end; rank->read++) {
        const struct schedule_read *read = &schedule->reads[rank->read];
        if (read->source == SCHEDULE_RECEIVED)
            slot_of(simulation, rank,
                    (int64_t)rank->layer * schedule->receive_count + read->receive)
                ->attended = true;
    }
    TRY(post_receives(simulation, number));
    return attend(simulation, number);
}

static enum status on_timer(struct simulation *simulation, int number)
{
    struct rank *rank = &simulation->ranks[number];
    if (!rank->running)
        return end_call(simulation, number);
    if (rank->mark < rank->work.mark_count) {
        rank->rows_done = rank->work.marks[rank->mark++];
        TRY(post_all_sends(simulation, number));
        return run_on(simulation, number);
    }
    rank->running = false;
    return attend(simulation, number);
}

/* ---- arriving ---- */

/* The sender is done with what it forwarded, and may post the next one. */
static enum status complete_send(struct simulation *simulation, int from, int to)
{
    struct rank *rank = &simulation->ranks[from];
    struct pair *pair = &rank->to[to];
    const struct simulate_box *box = &rank->work.boxes[to];
    const int done = pair->sends_completed++;
    const int receive =
        rank->schedule->sends[rank->work.sends[box->first + done % box->count]].receive;
    if (receive >= 0) {
        const int64_t layer = done / box->count;
        slot_of(simulation, rank, layer * rank->schedule->receive_count + receive)->forwarded =
            true;
        TRY(post_receives(simulation, from));
    }
    return post_sends(simulation, from, to);
}

static enum status on_arrival(struct simulation *simulation, int from, int to)
{
    struct rank *rank = &simulation->ranks[to];
    const struct pair *pair = &simulation->ranks[from].to[to];
    const struct simulate_box *box = &simulation->ranks[from].work.boxes[to];
    const int done = pair->sends_completed;
    const int which = rank->work.receives[rank->work.boxes[from].receive_first + done % box->count];
    const int64_t number = (int64_t)(done / box->count) * rank->schedule->receive_count + which;
    slot_of(simulation, rank, number)->arrived = true;
    TRY(complete_send(simulation, from, to));
    if (rank->work.forwards[which] >= 0)
        TRY(post_sends(simulation, to, rank->schedule->sends[rank->work.forwards[which]].to));
    TRY(post_receives(simulation, to));
    if (!rank->waiting || !is_there(simulation, rank, rank->read))
        return STATUS_OK;
    rank->waiting = false;
    return attend(simulation, to);
}

/* ---- the whole ---- */

static enum status play(struct simulation *simulation)
{
    struct simulate_event event;
    bool found = true;
    for (int r = 0; r < simulation->workers; r++)
        TRY(begin_layer(simulation, r));
    for (;;) {
        TRY(simulate_exchange_next(simulation->exchange, &event, &found));
        if (!found)
            return STATUS_OK;
        simulation->now = event.time;
        TRY(event.from < 0 ? on_timer(simulation, event.rank)
                           : on_arrival(simulation, event.from, event.rank));
    }
}

static double last_end(const struct simulation *simulation, int layer)
{
    double end = 0;
    for (int r = 0; r < simulation->workers; r++)
        if (simulation->ranks[r].layer_end[layer] > end)
            end = simulation->ranks[r].layer_end[layer];
    return end;
}

/* The layers that were not played take as long as the later ones that were. */
static void sum_up(const struct simulation *simulation, struct simulate_stage *stage,
                   const struct model_shape *shape)
{
    const int played = simulation->layers;
    double seconds = last_end(simulation, played - 1);
    if (played < shape->layers) {
        const double pace = (seconds - last_end(simulation, 1)) / (played - 2);
        seconds += (double)(shape->layers - played) * pace;
    }
    stage->seconds = seconds;
    stage->compute_seconds = 0;
    for (int r = 0; r < simulation->workers; r++) {
        const double computed =
            simulate_work_seconds(&simulation->ranks[r].work, simulation->machine) *
            (double)shape->layers;
        if (computed > stage->compute_seconds)
            stage->compute_seconds = computed;
    }
}

static enum status make_ranks(struct simulation *simulation, const struct choice *choice,
                              const struct model_shape *shape)
{
    struct sight sight;
    sight_make(&sight, &choice->request.method, shape);
    for (int r = 0; r < simulation->workers; r++) {
        struct rank *rank = &simulation->ranks[r];
        rank->schedule = &simulation->schedule->ranks[r];
        rank->layer = -1;
        rank->slots = calloc((size_t)simulation->slots, sizeof *rank->slots);
        rank->to = calloc((size_t)simulation->workers, sizeof *rank->to);
        if (!rank->slots || !rank->to)
            return fail(STATUS_RESOURCE_EXHAUSTED, "plan: no memory to simulate %d workers",
                        simulation->workers);
        TRY(simulate_work_make(&rank->work, simulation->schedule, r, &sight, shape,
                               simulation->machine));
    }
    return STATUS_OK;
}

enum status simulate_stage(struct simulate_stage *stage, const struct schedule *schedule,
                           const struct choice *choice, const struct model_shape *shape,
                           const struct simulate_machine *machine)
{
    assert(!schedule->replicated);
    struct simulation simulation = {
        .schedule = schedule,
        .machine = machine,
        .workers = schedule->workers,
        .layers = shape->layers < LAYERS_PLAYED ? (int)shape->layers : LAYERS_PLAYED,
        .slots = choice->group.receive_slots,
        .token_bytes = (double)cost_token_bytes(shape, choice),
    };
    enum status status = STATUS_OK;
    TRY(simulate_exchange_create(&simulation.exchange, &machine->links, schedule->workers));
    simulation.ranks = calloc((size_t)schedule->workers, sizeof *simulation.ranks);
    if (!simulation.ranks)
        TRY_ELSE(fail(STATUS_RESOURCE_EXHAUSTED, "plan: no memory to simulate %d workers",
                      schedule->workers),
                 done);
    TRY_ELSE(make_ranks(&simulation, choice, shape), done);
    TRY_ELSE(play(&simulation), done);
    sum_up(&simulation, stage, shape);
done:
    for (int r = 0; simulation.ranks && r < schedule->workers; r++) {
        simulate_work_deinit(&simulation.ranks[r].work);
        free(simulation.ranks[r].slots);
        free(simulation.ranks[r].to);
    }
    free(simulation.ranks);
    simulate_exchange_destroy(simulation.exchange);
    return status;
}
