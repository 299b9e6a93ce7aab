/* Owns nothing: how threads share out the ops of rows that are theirs together. */
#include "worker/engine/device/device_cpu_share.h"

#include "worker/engine/device/device_cpu_ops.h"

/* Rows from which on a second thread is worth waking: below, their ops take about a microsecond. */
enum { ROWS_LEAST = 4 };

int device_cpu_share_end(const struct layer_program *program, int first, int end)
{
    const struct layer_op *ops = program->ops;
    const bool columns = ops[first].place == LAYER_COLUMNS;
    int next = first + 1;
    while (next < end && (columns ? ops[next].joined : ops[next].place != LAYER_COLUMNS))
        next++;
    return next;
}

struct device_cpu_rows device_cpu_share_slice(const struct device_cpu_rows *part, int64_t first,
                                              int64_t rows)
{
    const struct device_cpu *cpu = part->cpu;
    const int64_t query_width = device_cpu_query_width(cpu);
    struct device_cpu_rows slice = *part;
    for (int b = 0; b < LAYER_BUFFERS; b++)
        if (part->at[b])
            slice.at[b] += first * cpu->program->buffers[b].width;
    slice.at[LAYER_QUERIES] =
        (float *)(void *)((char *)part->at[LAYER_QUERIES] +
                          (size_t)(first * query_width) * device_cpu_operand_bytes(cpu));
    slice.at[LAYER_STATE] = part->at[LAYER_STATE] + first * query_width; /* acc */
    slice.sum += first * cpu->spec.heads;
    slice.index += first;
    slice.row += first;
    slice.rows = rows;
    return slice;
}

struct slices_job {
    const struct device_cpu_share *share;
    int first, end; /* ops */
    int64_t rows;   /* of an item */
    const struct device_drive *drive;
};

static void do_ops(const struct slices_job *job, const struct device_cpu_rows *rows, int thread)
{
    const struct layer_op *ops = rows->cpu->program->ops;
    for (int o = job->first; o < job->end; o++)
        device_cpu_op(rows, &ops[o], thread, device_cpu_all_of(rows, &ops[o]));
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* The rows of an item, whoever they belong to. */
static void slices_item(void *context, int thread, size_t item)
{
    const struct slices_job *job = context;
    const int64_t first = (int64_t)item * job->rows;
    const int64_t end = first + job->rows;
    int64_t before = 0; /* rows of the parts so far */
    for (int p = 0; p < job->share->count && before < end; p++) {
        const struct device_cpu_rows *part = &job->share->parts[p];
        const int64_t from = larger(first - before, 0);
        const int64_t to = end - before < part->rows ? end - before : part->rows;
        before += part->rows;
        if (from >= to)
            continue;
        const struct device_cpu_rows slice = device_cpu_share_slice(part, from, to - from);
        do_ops(job, &slice, thread);
    }
}

static void slices_between(void *context)
{
    const struct slices_job *job = context;
    if (job->drive)
        job->drive->call(job->drive->context);
}

bool device_cpu_share_ops(const struct device_cpu_share *share, int first, int end,
                          struct span columns, const struct device_drive *drive)
{
    struct device_cpu *cpu = share->all.cpu;
    const struct layer_op *ops = &cpu->program->ops[first];
    if (ops->place == LAYER_COLUMNS)
        return device_cpu_joined(&share->all, ops, end - first, columns, drive);
    const int64_t rows = share->all.rows;
    const int64_t items = rows < ROWS_LEAST ? 1 : 2 * cpu->device.threads;
    struct slices_job job = {share, first, end, (rows + items - 1) / items, drive};
    return thread_pool_run(cpu->pool, (size_t)((rows + job.rows - 1) / job.rows), slices_item,
                           slices_between, &job);
}
