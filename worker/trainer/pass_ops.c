/* Owns nothing: what each op computes for a rank's rows, and its gradient. Sums over rows go by
 * blocks of PASS_BLOCK_ROWS, one after the other, whatever the threads. */
#include "worker/trainer/pass_parts.h"

#include <assert.h>
#include <string.h>

enum { COLUMNS_OF_AN_ITEM = 64 };

/* An op on rows, forward or back; what a kind does not need stays empty. */
struct rows_job {
    const struct pass *pass;
    const struct layer_op *op;
    int64_t rows, width; /* of the output */
    float *y;
    const float *x, *second, *weight, *dy;
    float *dx, *dsecond, *dweight;
    bool accumulate, accumulate_second;
};

static int64_t blocks_of(int64_t rows)
{
    return (rows + PASS_BLOCK_ROWS - 1) / PASS_BLOCK_ROWS;
}

void pass_for_blocks(const struct pass *pass, int64_t rows, thread_pool_work *work, void *context)
{
    thread_pool_run(pass->options.pool, (size_t)blocks_of(rows), work, NULL, context);
}

static int64_t block_rows(const struct rows_job *job, size_t item)
{
    const int64_t left = job->rows - (int64_t)item * PASS_BLOCK_ROWS;
    return left < PASS_BLOCK_ROWS ? left : PASS_BLOCK_ROWS;
}

/* ---- embedding ---- */

static void embed_block(void *context, int thread, size_t item)
{
    const struct rows_job *job = context;
    const struct pass *pass = job->pass;
    const int64_t row = (int64_t)item * PASS_BLOCK_ROWS;
    (void)thread;
    for (int64_t r = row; r < row + block_rows(job, item); r++)
        memcpy(job->y + r * job->width, job->weight + pass->sample.ids[pass->index[r]] * job->width,
               (size_t)job->width * sizeof(float));
}

void pass_embed(struct pass *pass)
{
    struct rows_job job = {.pass = pass, .rows = pass->rows, .width = pass->options.spec->hidden};
    job.y = pass->inputs;
    job.weight = pass_weight_of(pass, MODEL_TOKEN_EMBD, 0);
    pass_for_blocks(pass, pass->rows, embed_block, &job);
}

/* Some columns of all rows, in order: a token may be there twice. */
static void embed_back_columns(void *context, int thread, size_t item)
{
    const struct rows_job *job = context;
    const struct pass *pass = job->pass;
    const int64_t first = (int64_t)item * COLUMNS_OF_AN_ITEM, left = job->width - first;
    const int64_t count = left < COLUMNS_OF_AN_ITEM ? left : COLUMNS_OF_AN_ITEM;
    (void)thread;
    for (int64_t r = 0; r < job->rows; r++)
        pass->options.kernels->add(job->dweight + pass->sample.ids[pass->index[r]] * job->width +
                                       first,
                                   job->dy + r * job->width + first, count);
}

void pass_embed_back(struct pass *pass, float *gradients)
{
    const int64_t width = pass->options.spec->hidden;
    struct rows_job job = {.pass = pass, .rows = pass->rows, .width = width};
    job.dweight = pass_weight(pass, gradients, MODEL_TOKEN_EMBD, 0);
    job.dy = pass->gradients[LAYER_HIDDEN];
    thread_pool_run(pass->options.pool,
                    (size_t)((width + COLUMNS_OF_AN_ITEM - 1) / COLUMNS_OF_AN_ITEM),
                    embed_back_columns, NULL, &job);
}

/* ---- norms: rows are those of the model, or heads ---- */

static void norm_block(void *context, int thread, size_t item)
{
    const struct rows_job *job = context;
    const struct pass *pass = job->pass;
    const int64_t at = (int64_t)item * PASS_BLOCK_ROWS * job->width;
    (void)thread;
    pass->options.kernels->rmsnorm(job->y + at, job->x + at, job->weight, block_rows(job, item),
                                   job->width, pass->options.spec->norm_eps);
}

void pass_norm(struct pass *pass, float *y, const float *x, const float *weight)
{
    struct rows_job job = {.pass = pass, .rows = pass->rows, .width = pass->options.spec->hidden};
    job.y = y;
    job.x = x;
    job.weight = weight;
    pass_for_blocks(pass, pass->rows, norm_block, &job);
}

static void norm_back_block(void *context, int thread, size_t item)
{
    const struct rows_job *job = context;
    const struct pass *pass = job->pass;
    const int64_t at = (int64_t)item * PASS_BLOCK_ROWS * job->width;
    float *dweight = pass->partial + (int64_t)item * job->width;
    (void)thread;
    memset(dweight, 0, (size_t)job->width * sizeof *dweight);
    pass->options.kernels->rmsnorm_gradient(&(struct rmsnorm_gradient_args){
        .dx = job->dx + at,
        .dweight = dweight,
        .dy = job->dy + at,
        .x = job->x + at,
        .weight = job->weight,
        .rows = block_rows(job, item),
        .width = job->width,
        .eps = pass->options.spec->norm_eps,
        .accumulate = job->accumulate,
    });
}

static void add_partial(const struct rows_job *job)
{
    const struct pass *pass = job->pass;
    for (int64_t block = 0; block < blocks_of(job->rows); block++)
        pass->options.kernels->add(job->dweight, pass->partial + block * job->width, job->width);
}

void pass_norm_back(struct pass *pass, float *dx, float *dweight, const float *dy, const float *x,
                    const float *weight, bool accumulate)
{
    struct rows_job job = {.pass = pass, .rows = pass->rows, .width = pass->options.spec->hidden};
    job.dx = dx;
    job.dweight = dweight;
    job.dy = dy;
    job.x = x;
    job.weight = weight;
    job.accumulate = accumulate;
    pass_for_blocks(pass, pass->rows, norm_back_block, &job);
    add_partial(&job);
}

/* Queries and keys of a row of q, k and v, head by head; values stay. */
static void norm_heads_block(void *context, int thread, size_t item)
{
    const struct rows_job *job = context;
    const struct pass *pass = job->pass;
    const struct model_spec *spec = pass->options.spec;
    const int64_t row = (int64_t)item * PASS_BLOCK_ROWS;
    const int heads[] = {spec->heads, spec->kv_heads};
    (void)thread;
    for (int64_t r = row; r < row + block_rows(job, item); r++) {
        float *y = job->y + r * job->width;
        const float *x = job->x + r * job->width;
        if (y != x)
            memcpy(y, x, (size_t)job->width * sizeof *y);
        for (int m = 0; m < job->op->role_count; m++) {
            pass->options.kernels->rmsnorm(y, x,
                                           pass_weight_of(pass, job->op->roles[m], job->op->layer),
                                           heads[m], spec->head_dim, spec->norm_eps);
            y += (int64_t)heads[m] * spec->head_dim;
            x += (int64_t)heads[m] * spec->head_dim;
        }
    }
}

static void norm_heads_back_block(void *context, int thread, size_t item)
{
    const struct rows_job *job = context;
    const struct pass *pass = job->pass;
    const struct model_spec *spec = pass->options.spec;
    const int64_t row = (int64_t)item * PASS_BLOCK_ROWS, head_dim = spec->head_dim;
    const int heads[] = {spec->heads, spec->kv_heads};
    float *partial = pass->partial + (int64_t)item * 2 * head_dim;
    (void)thread;
    memset(partial, 0, (size_t)(2 * head_dim) * sizeof *partial);
    for (int64_t r = row; r < row + block_rows(job, item); r++) {
        int64_t at = r * job->width;
        for (int m = 0; m < job->op->role_count; m++) {
            pass->options.kernels->rmsnorm_gradient(&(struct rmsnorm_gradient_args){
                .dx = job->dx + at,
                .dweight = partial + m * head_dim,
                .dy = job->dx + at,
                .x = job->x + at,
                .weight = pass_weight_of(pass, job->op->roles[m], job->op->layer),
                .rows = heads[m],
                .width = head_dim,
                .eps = spec->norm_eps,
            });
            at += heads[m] * head_dim;
        }
    }
}

static void norm_heads_back(struct rows_job *job, float *gradients)
{
    const struct pass *pass = job->pass;
    const int64_t head_dim = pass->options.spec->head_dim;
    pass_for_blocks(pass, job->rows, norm_heads_back_block, job);
    for (int64_t block = 0; block < blocks_of(job->rows); block++)
        for (int m = 0; m < job->op->role_count; m++)
            pass->options.kernels->add(
                pass_weight(pass, gradients, job->op->roles[m], job->op->layer),
                pass->partial + (2 * block + m) * head_dim, head_dim);
}

/* ---- element by element ---- */

static void bias_block(void *context, int thread, size_t item)
{
    const struct rows_job *job = context;
    const struct pass *pass = job->pass;
    const int64_t row = (int64_t)item * PASS_BLOCK_ROWS;
    (void)thread;
    for (int64_t r = row; r < row + block_rows(job, item); r++) {
        int64_t at = r * job->width;
        for (int v = 0; v < job->op->role_count; v++) {
            const struct parameters_row *bias =
                parameters_find(pass->options.parameters, job->op->roles[v], job->op->layer);
            for (int64_t i = 0; i < bias->columns; i++, at++)
                job->y[at] = job->x[at] + pass->weights[bias->offset + i];
        }
    }
}

static void bias_back_columns(void *context, int thread, size_t item)
{
    const struct rows_job *job = context;
    const int64_t first = (int64_t)item * COLUMNS_OF_AN_ITEM, left = job->width - first;
    (void)thread;
    job->pass->options.kernels->bias_gradient(
        job->dweight + first, job->dy + first,
        job->op ? job->pass->tape.widths[job->op->output] : 0, job->rows,
        left < COLUMNS_OF_AN_ITEM ? left : COLUMNS_OF_AN_ITEM);
}

static void bias_back(struct rows_job job, float *gradients)
{
    const struct pass *pass = job.pass;
    const float *dy = job.dy;
    for (int v = 0; v < job.op->role_count; v++) {
        job.width =
            parameters_find(pass->options.parameters, job.op->roles[v], job.op->layer)->columns;
        job.dweight = pass_weight(pass, gradients, job.op->roles[v], job.op->layer);
        job.dy = dy;
        thread_pool_run(pass->options.pool,
                        (size_t)((job.width + COLUMNS_OF_AN_ITEM - 1) / COLUMNS_OF_AN_ITEM),
                        bias_back_columns, NULL, &job);
        dy += job.width;
    }
}

static void swiglu_block(void *context, int thread, size_t item)
{
    const struct rows_job *job = context;
    const int64_t at = (int64_t)item * PASS_BLOCK_ROWS * job->width;
    const int64_t count = block_rows(job, item) * job->width;
    (void)thread;
    if (job->y != job->x)
        memcpy(job->y + at, job->x + at, (size_t)count * sizeof *job->y);
    job->pass->options.kernels->swiglu(job->y + at, job->second + at, count);
}

static void swiglu_back_block(void *context, int thread, size_t item)
{
    const struct rows_job *job = context;
    const int64_t at = (int64_t)item * PASS_BLOCK_ROWS * job->width;
    (void)thread;
    job->pass->options.kernels->swiglu_gradient(&(struct swiglu_gradient_args){
        .dgate = job->dx + at,
        .dup = job->dsecond + at,
        .dy = job->dy + at,
        .gate = job->x + at,
        .up = job->second + at,
        .count = block_rows(job, item) * job->width,
    });
}

static void add_block(void *context, int thread, size_t item)
{
    const struct rows_job *job = context;
    const int64_t at = (int64_t)item * PASS_BLOCK_ROWS * job->width;
    const int64_t count = block_rows(job, item) * job->width;
    (void)thread;
    if (job->y != job->second)
        memcpy(job->y + at, job->second + at, (size_t)count * sizeof *job->y);
    job->pass->options.kernels->add(job->y + at, job->x + at, count);
}

/* ---- products ---- */

void pass_multiply(const struct pass *pass, struct product_args args)
{
    args.operand = pass->options.bf16 ? DTYPE_BF16 : DTYPE_F32;
    products_run(pass->options.pool, pass->options.kernels, &args, pass->product_scratch);
}

static void product(const struct rows_job *job)
{
    const struct pass *pass = job->pass;
    int64_t base = 0;
    for (int m = 0; m < job->op->role_count; m++) {
        const struct parameters_row *matrix =
            parameters_find(pass->options.parameters, job->op->roles[m], job->op->layer);
        pass_multiply(pass, (struct product_args){
                                .c = job->y + base,
                                .c_stride = job->width,
                                .a = job->x,
                                .a_row = matrix->columns,
                                .a_column = 1,
                                .b = pass->weights + matrix->offset,
                                .b_row = 1,
                                .b_column = matrix->columns,
                                .rows = job->rows,
                                .columns = matrix->rows,
                                .depth = matrix->columns,
                            });
        base += matrix->rows;
    }
}

static void product_back(const struct rows_job *job, float *gradients)
{
    const struct pass *pass = job->pass;
    int64_t base = 0;
    for (int m = 0; m < job->op->role_count; m++) {
        const struct parameters_row *matrix =
            parameters_find(pass->options.parameters, job->op->roles[m], job->op->layer);
        pass_multiply(pass, (struct product_args){
                                .c = job->dx,
                                .c_stride = matrix->columns,
                                .a = job->dy + base,
                                .a_row = job->width,
                                .a_column = 1,
                                .b = pass->weights + matrix->offset,
                                .b_row = matrix->columns,
                                .b_column = 1,
                                .rows = job->rows,
                                .columns = matrix->columns,
                                .depth = matrix->rows,
                                .accumulate = job->accumulate || m > 0,
                            });
        pass_multiply(pass, (struct product_args){
                                .c = gradients + matrix->offset,
                                .c_stride = matrix->columns,
                                .a = job->dy + base,
                                .a_row = 1,
                                .a_column = job->width,
                                .b = job->x,
                                .b_row = matrix->columns,
                                .b_column = 1,
                                .rows = matrix->rows,
                                .columns = matrix->columns,
                                .depth = job->rows,
                                .accumulate = true,
                            });
        base += matrix->rows;
    }
}

/* ---- an op of the tape ---- */

static struct rows_job job_of(const struct pass *pass, int op, int layer)
{
    const struct tape_op *step = &pass->tape.ops[op];
    const struct tape_value *values = pass->tape.values;
    struct rows_job job = {.pass = pass,
                           .op = tape_op_of(&pass->tape, pass->program, op, layer),
                           .rows = pass->rows,
                           .width = pass->tape.widths[values[step->output].buffer],
                           .y = pass_value(pass, layer, step->output),
                           .x = pass_value(pass, layer, step->input),
                           .dy = pass->gradients[values[step->output].buffer],
                           .dx = pass->gradients[values[step->input].buffer],
                           .accumulate = step->adds_input,
                           .accumulate_second = step->adds_second};
    if (step->second >= 0) {
        job.second = pass_value(pass, layer, step->second);
        job.dsecond = pass->gradients[values[step->second].buffer];
    }
    return job;
}

void pass_op(struct pass *pass, int op, int layer)
{
    struct rows_job job = job_of(pass, op, layer);
    switch (job.op->kind) {
    case LAYER_NORM:
        pass_norm(pass, job.y, job.x, pass_weight_of(pass, job.op->roles[0], layer));
        return;
    case LAYER_NORM_HEADS:
        pass_for_blocks(pass, job.rows, norm_heads_block, &job);
        return;
    case LAYER_PRODUCT:
        product(&job);
        return;
    case LAYER_BIAS:
        pass_for_blocks(pass, job.rows, bias_block, &job);
        return;
    case LAYER_SWIGLU:
        pass_for_blocks(pass, job.rows, swiglu_block, &job);
        return;
    default:
        assert(job.op->kind == LAYER_ADD);
        pass_for_blocks(pass, job.rows, add_block, &job);
        return;
    }
}

void pass_op_back(struct pass *pass, int op, int layer, float *gradients)
{
    struct rows_job job = job_of(pass, op, layer);
    switch (job.op->kind) {
    case LAYER_NORM:
        pass_norm_back(pass, job.dx, pass_weight(pass, gradients, job.op->roles[0], layer), job.dy,
                       job.x, pass_weight_of(pass, job.op->roles[0], layer), job.accumulate);
        return;
    case LAYER_NORM_HEADS:
        norm_heads_back(&job, gradients);
        return;
    case LAYER_PRODUCT:
        product_back(&job, gradients);
        return;
    case LAYER_BIAS:
        bias_back(job, gradients);
        return;
    case LAYER_SWIGLU:
        assert(!job.accumulate && !job.accumulate_second);
        pass_for_blocks(pass, job.rows, swiglu_back_block, &job);
        return;
    default:
        assert(job.op->kind == LAYER_ADD && !job.accumulate);
        memcpy(job.dx, job.dy, (size_t)(job.rows * job.width) * sizeof *job.dx);
        return;
    }
}
