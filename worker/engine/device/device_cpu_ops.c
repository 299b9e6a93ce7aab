/* Owns nothing: what each op of the program computes on the CPU, for a block's rows and for a
 * step's alike. */
#include "worker/engine/device/device_cpu_ops.h"

#include <assert.h>
#include <math.h>

static int64_t width_of(const struct device_cpu_rows *rows, enum layer_buffer buffer)
{
    return rows->cpu->device.program->buffers[buffer].width;
}

static void embed(const struct device_cpu_rows *rows, const struct layer_op *op)
{
    const struct matmul_weights *matrix = weights_matrix(rows->cpu->weights, op->roles[0], 0);
    for (int64_t r = 0; r < rows->rows; r++)
        rows->cpu->kernels->matmul_row(rows->at[op->output] + r * matrix->in, matrix,
                                       rows->sequence->ids[rows->index + r]);
    const float scale = (float)rows->cpu->spec.embedding_scale;
    for (int64_t i = 0; scale != 0 && i < rows->rows * matrix->in; i++)
        rows->at[op->output][i] *= scale;
}

static void norm(const struct device_cpu_rows *rows, const struct layer_op *op)
{
    const struct device_cpu *cpu = rows->cpu;
    cpu->kernels->rmsnorm(rows->at[op->output], rows->at[op->input],
                          weights_vector(cpu->weights, op->roles[0], op->layer), rows->rows,
                          width_of(rows, op->input), cpu->spec.norm_eps);
}

static void norm_heads(const struct device_cpu_rows *rows, const struct layer_op *op)
{
    const struct device_cpu *cpu = rows->cpu;
    const int64_t widths[] = {device_cpu_query_width(cpu), device_cpu_key_width(cpu)};
    for (int64_t r = 0; r < rows->rows; r++) {
        float *x = rows->at[op->output] + r * width_of(rows, op->output);
        for (int m = 0; m < op->role_count; m++) {
            const int64_t width = model_role_shape(&cpu->spec, op->roles[m]).columns;
            cpu->kernels->rmsnorm(x, x, weights_vector(cpu->weights, op->roles[m], op->layer),
                                  widths[m] / width, width, cpu->spec.norm_eps);
            x += widths[m];
        }
    }
}

/* The part of `columns` that each matrix has. */
static void product(const struct device_cpu_rows *rows, const struct layer_op *op, int thread,
                    struct span columns)
{
    const struct device_cpu *cpu = rows->cpu;
    int64_t base = 0;
    for (int m = 0; m < op->role_count; m++) {
        const struct matmul_weights *matrix = weights_matrix(cpu->weights, op->roles[m], op->layer);
        const struct matmul_args args = {
            .y = rows->at[op->output] + base,
            .y_stride = width_of(rows, op->output),
            .x = rows->at[op->input],
            .x_stride = matrix->in,
            .rows = rows->rows,
            .weights = matrix,
            .out_first = columns.first > base ? columns.first - base : 0,
            .out_end = columns.end - base < matrix->out ? columns.end - base : matrix->out,
            .accumulate = op->output == LAYER_DELTA && rows->adds_at_once,
            .scratch = device_cpu_kernel_scratch(cpu, thread),
        };
        if (args.out_first < args.out_end)
            rows->multiply(&args);
        base += matrix->out;
    }
}

/* The part of `columns` that each vector has. */
static void bias(const struct device_cpu_rows *rows, const struct layer_op *op, struct span columns)
{
    const struct device_cpu *cpu = rows->cpu;
    const int64_t stride = width_of(rows, op->output);
    int64_t base = 0;
    for (int v = 0; v < op->role_count; v++) {
        const float *vector = weights_vector(cpu->weights, op->roles[v], op->layer);
        const int64_t width = model_role_shape(&cpu->spec, op->roles[v]).columns;
        const int64_t first = columns.first > base ? columns.first - base : 0;
        const int64_t end = columns.end - base < width ? columns.end - base : width;
        for (int64_t r = 0; r < rows->rows; r++) {
            float *y = rows->at[op->output] + r * stride + base;
            for (int64_t i = first; i < end; i++)
                y[i] += vector[i];
        }
        base += width;
    }
}

/* The gate's values become its product: `output` lies where `input` does. */
static void activate(const struct device_cpu_rows *rows, const struct layer_op *op,
                     struct span columns)
{
    const struct kernels *kernels = rows->cpu->kernels;
    void (*const kernel)(float *gate, const float *up, int64_t count) =
        op->kind == LAYER_GEGLU ? kernels->geglu : kernels->swiglu;
    const int64_t width = width_of(rows, op->output);
    assert(rows->at[op->output] == rows->at[op->input]);
    for (int64_t r = 0; r < rows->rows; r++)
        kernel(rows->at[op->output] + r * width + columns.first,
               rows->at[op->second] + r * width + columns.first, columns.end - columns.first);
}

static void cap(const struct device_cpu_rows *rows, const struct layer_op *op, struct span columns)
{
    const struct model_spec *spec = &rows->cpu->spec;
    const float scale = spec->logit_scale != 0 ? (float)spec->logit_scale : 1;
    const float most = (float)spec->logit_cap;
    for (int64_t r = 0; r < rows->rows; r++) {
        float *x = rows->at[op->output] + r * width_of(rows, op->output);
        for (int64_t i = columns.first; i < columns.end; i++)
            x[i] = most > 0 ? most * tanhf(x[i] * scale / most) : x[i] * scale;
    }
}

static void add(const struct device_cpu_rows *rows, const struct layer_op *op)
{
    const int64_t count = rows->rows * width_of(rows, op->output);
    float *sum = rows->at[op->output];
    const float *x = rows->at[op->input];
    const float scale = (float)rows->cpu->spec.residual_scale;
    for (int64_t i = 0; scale != 0 && i < count; i++)
        sum[i] += scale * x[i];
    for (int64_t i = 0; scale == 0 && !rows->adds_at_once && i < count; i++)
        sum[i] += x[i];
}

static void look(const struct device_cpu_rows *rows, const struct layer_op *op)
{
    const enum non_finite_part part =
        op->input == LAYER_HIDDEN ? NON_FINITE_OUTPUT : NON_FINITE_INSIDE;
    const int64_t row =
        rows->cpu->kernels->finite_rows(rows->at[op->input], rows->rows, width_of(rows, op->input));
    if (row < rows->rows)
        non_finite_note(rows->sequence->non_finite,
                        non_finite_place(op->layer, part, rows->index + row));
}

static void mix(const struct device_cpu_rows *rows, const struct layer_op *op)
{
    const struct device_cpu *cpu = rows->cpu;
    if (rows->merge)
        rows->merge(rows);
    cpu->kernels->attention_finish(rows->at[op->output], rows->at[op->input], rows->sum,
                                   rows->rows * cpu->spec.heads, cpu->spec.head_dim);
}

void device_cpu_op(const struct device_cpu_rows *rows, const struct layer_op *op, int thread,
                   struct span columns)
{
    switch (op->kind) {
    case LAYER_EMBED:
        return embed(rows, op);
    case LAYER_NORM:
        return norm(rows, op);
    case LAYER_NORM_HEADS:
        return norm_heads(rows, op);
    case LAYER_PRODUCT:
        return product(rows, op, thread, columns);
    case LAYER_BIAS:
        return bias(rows, op, columns);
    case LAYER_SWIGLU:
    case LAYER_GEGLU:
        return activate(rows, op, columns);
    case LAYER_ADD:
        return add(rows, op);
    case LAYER_LOOK:
        return look(rows, op);
    case LAYER_ROTATE:
        return device_cpu_rotate(rows, op->layer);
    case LAYER_STORE:
        return device_cpu_store(rows, op->layer);
    case LAYER_MIX:
        return mix(rows, op);
    case LAYER_CAP:
        return cap(rows, op, columns);
    case LAYER_ATTEND:
        assert(false); /* a cut: no run has it */
    }
}

/* ---- columns that threads share out ---- */

/* Of an item, where all threads have several. */
enum { MOST_GRANULES = 96 };

struct joined_job {
    const struct device_cpu_rows *rows;
    const struct layer_op *ops;
    int count;
    struct span columns;
    int64_t chunk;
    const struct device_drive *drive;
};

static void joined_item(void *context, int thread, size_t item)
{
    const struct joined_job *job = context;
    const int64_t first = job->columns.first + (int64_t)item * job->chunk;
    const int64_t end =
        first + job->chunk < job->columns.end ? first + job->chunk : job->columns.end;
    for (int o = 0; o < job->count; o++)
        device_cpu_op(job->rows, &job->ops[o], thread, (struct span){first, end});
}

static void joined_between(void *context)
{
    const struct joined_job *job = context;
    if (job->drive)
        job->drive->call(job->drive->context);
}

bool device_cpu_joined(const struct device_cpu_rows *rows, const struct layer_op *ops, int count,
                       struct span columns, const struct device_drive *drive)
{
    struct device_cpu *cpu = rows->cpu;
    struct joined_job job = {
        .rows = rows, .ops = ops, .count = count, .columns = columns, .drive = drive};
    int64_t granules = (columns.end - columns.first + MATMUL_SPLIT - 1) / MATMUL_SPLIT;
    int64_t items = 2 * cpu->device.threads;
    if (granules > items * MOST_GRANULES) /* the last one ends soon after the others */
        items = (granules + MOST_GRANULES - 1) / MOST_GRANULES;
    if (items > granules)
        items = granules;
    if (items == 0)
        return true;
    job.chunk = (granules + items - 1) / items * MATMUL_SPLIT;
    items = (granules * MATMUL_SPLIT + job.chunk - 1) / job.chunk;
    return thread_pool_run(cpu->pool, (size_t)items, joined_item, joined_between, &job);
}
