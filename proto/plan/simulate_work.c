/* Owns the step from a rank's schedule to seconds. Promises pairs by the closed forms that plans
 * are made from. */
#include "proto/plan/simulate_work.h"

#include <assert.h>
#include <stdlib.h>

#include "proto/plan/simulate.h"
#include "proto/plan/tiles.h"

static enum status allocate(struct simulate_work *work, const struct schedule_rank *rank,
                            int workers)
{
    const size_t sends = (size_t)rank->send_count + 1, receives = (size_t)rank->receive_count + 1;
    const size_t reads = (size_t)rank->read_count + 1;
    work->read_seconds = calloc(reads, sizeof *work->read_seconds);
    work->read_rows = calloc(reads, sizeof *work->read_rows);
    work->sends = calloc(sends, sizeof *work->sends);
    work->ready_rows = calloc(sends, sizeof *work->ready_rows);
    work->marks = calloc(sends, sizeof *work->marks);
    work->receives = calloc(receives, sizeof *work->receives);
    work->forwards = calloc(receives, sizeof *work->forwards);
    work->boxes = calloc((size_t)workers, sizeof *work->boxes);
    if (work->read_seconds && work->read_rows && work->sends && work->ready_rows && work->marks &&
        work->receives && work->forwards && work->boxes)
        return STATUS_OK;
    return fail(STATUS_RESOURCE_EXHAUSTED, "plan: no memory to simulate %d reads",
                rank->read_count);
}

void simulate_work_deinit(struct simulate_work *work)
{
    free(work->read_seconds);
    free(work->read_rows);
    free(work->sends);
    free(work->ready_rows);
    free(work->marks);
    free(work->receives);
    free(work->forwards);
    free(work->boxes);
}

/* ---- reads ---- */

/* FLOPs of a read on the mean layer, and how many rows have a part in them. */
static double read_flops(int64_t *rows, const struct schedule_rank *rank,
                         const struct schedule_read *read, const struct sight *sight,
                         const struct model_shape *shape)
{
    const enum bands_store store = read->source == SCHEDULE_SINKS ? BANDS_SINKS : BANDS_PANELS;
    double flops = 0;
    *rows = 0;
    for (int t = 0; t < sight->count; t++) {
        const struct sight_table *table = &sight->tables[t];
        const int64_t heads =
            shape->heads / shape->kv_heads * (table->head_end - table->head_first);
        int64_t pairs = 0, seeing = 0;
        for (int q = read->query_first; q < read->query_end; q++) {
            const int64_t found = tiles_pairs(&table->regimes, rank->queries[q], read->keys, store);
            pairs += found;
            seeing += found > 0 ? rank->queries[q].end - rank->queries[q].first : 0;
        }
        flops += (double)pairs * cost_pair_flops(shape, table->layers, heads);
        *rows = seeing > *rows ? seeing : *rows;
    }
    return flops / (double)shape->layers;
}

double simulate_work_call_seconds(const struct simulate_work *work,
                                  const struct simulate_machine *machine, int64_t rows)
{
    return machine->pieces * (machine->call_s + (double)rows * work->state_row_seconds);
}

double simulate_work_seconds(const struct simulate_work *work,
                             const struct simulate_machine *machine)
{
    double seconds = work->run_seconds;
    int64_t rows = 0;
    for (int r = 0; r < work->read_count; r++) {
        seconds += work->read_seconds[r];
        rows = work->read_rows[r] > rows ? work->read_rows[r] : rows;
        if (machine->call_reads > 0 && (r + 1) % machine->call_reads == 0) {
            seconds += simulate_work_call_seconds(work, machine, rows);
            rows = 0;
        }
    }
    return rows > 0 ? seconds + simulate_work_call_seconds(work, machine, rows) : seconds;
}

/* ---- what travels ---- */

static void sort_by_peer(struct simulate_work *work, const struct schedule_rank *rank, int workers)
{
    int next = 0, receive = 0;
    for (int s = 0; s < rank->send_count; s++)
        work->boxes[rank->sends[s].to].count++;
    for (int r = 0; r < rank->receive_count; r++)
        work->boxes[rank->receives[r].from].receive_first++;
    for (int peer = 0; peer < workers; peer++) {
        struct simulate_box *box = &work->boxes[peer];
        const int received = box->receive_first;
        box->first = next;
        next += box->count;
        box->count = 0;
        box->receive_first = receive;
        receive += received;
    }
    for (int s = 0; s < rank->send_count; s++) {
        struct simulate_box *box = &work->boxes[rank->sends[s].to];
        work->sends[box->first + box->count++] = s;
    }
    for (int r = 0; r < rank->receive_count; r++)
        work->receives[work->boxes[rank->receives[r].from].receive_first++] = r;
    for (int peer = workers - 1; peer > 0; peer--)
        work->boxes[peer].receive_first = work->boxes[peer - 1].receive_first;
    work->boxes[0].receive_first = 0;
}

/* Rows, in the sequence in which they are computed, up to the last one of `keys`; 0: the keys are
 * older than the stage. */
static int64_t rows_up_to(const struct schedule_rank *rank, struct span keys)
{
    int64_t before = 0;
    int64_t needed = 0;
    for (int q = 0; q < rank->query_count; q++) {
        const struct span rows = rank->queries[q];
        const int64_t end = regimes_smaller(rows.end, keys.end);
        if (q >= rank->recomputed_count && regimes_larger(rows.first, keys.first) < end)
            needed = before + end - rows.first;
        before += rows.end - rows.first;
    }
    return needed;
}

static int compare(const void *a, const void *b)
{
    const int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

static void set_marks(struct simulate_work *work, const struct schedule_rank *rank)
{
    int count = 0;
    for (int r = 0; r < rank->receive_count; r++)
        work->forwards[r] = -1;
    for (int s = 0; s < rank->send_count; s++) {
        const struct schedule_send *send = &rank->sends[s];
        if (send->receive >= 0) {
            assert(work->forwards[send->receive] < 0); /* a block goes on once */
            work->forwards[send->receive] = s;
            continue;
        }
        work->ready_rows[s] = rows_up_to(rank, send->keys);
        if (work->ready_rows[s] > 0)
            work->marks[count++] = work->ready_rows[s];
    }
    qsort(work->marks, (size_t)count, sizeof *work->marks, compare);
    for (int m = 0; m < count; m++)
        if (work->mark_count == 0 || work->marks[work->mark_count - 1] != work->marks[m])
            work->marks[work->mark_count++] = work->marks[m];
}

enum status simulate_work_make(struct simulate_work *work, const struct schedule *schedule,
                               int number, const struct sight *sight,
                               const struct model_shape *shape,
                               const struct simulate_machine *machine)
{
    const struct schedule_rank *rank = &schedule->ranks[number];
    TRY(allocate(work, rank, schedule->workers));
    work->rows = rank->rows;
    work->run_seconds = (double)rank->rows * cost_row_flops(shape) / machine->linear_flops;
    work->state_row_seconds =
        machine->state_passes * (double)cost_state_bytes(shape) / machine->memory_bytes;
    work->read_count = rank->read_count;
    for (int r = 0; r < rank->read_count; r++)
        work->read_seconds[r] =
            read_flops(&work->read_rows[r], rank, &rank->reads[r], sight, shape) /
            machine->attention_flops;
    sort_by_peer(work, rank, schedule->workers);
    set_marks(work, rank);
    return STATUS_OK;
}
