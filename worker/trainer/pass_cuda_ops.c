/* Owns nothing: what each op computes for a rank's rows on its GPU, its gradient, and the loss. */
#include <assert.h>

#include "worker/trainer/gpu_wait.h"
#include "worker/trainer/pass_cuda_parts.h"

/* LAUNCH(pass, kernel, {fields}): one kernel on the compute stream. */
#define LAUNCH(pass, name, ...)                                                                    \
    pass_cuda_launched(                                                                            \
        (pass),                                                                                    \
        (pass)->cuda->streams->kernels->name(&(struct kernels_cuda_##name)__VA_ARGS__,             \
                                             (pass)->cuda->streams->compute),                      \
        #name)

/* An op on rows, forward or back; what a kind does not need stays empty. */
struct rows_job {
    const struct pass *pass;
    const struct layer_op *op;
    int64_t rows, width; /* of the output */
    float *y, *x, *second;
    float *dy, *dx, *dsecond;
    bool accumulate;
};

static size_t bytes_of(const struct rows_job *job)
{
    return (size_t)(job->rows * job->width) * sizeof(float);
}

/* ---- embedding ---- */

enum status pass_cuda_embed(struct pass *pass)
{
    const struct model_spec *spec = pass->options.spec;
    const struct kernels_cuda_matrix matrix = {pass_weight_of(pass, MODEL_TOKEN_EMBD, 0), DTYPE_F32,
                                               spec->vocab, spec->hidden};
    return LAUNCH(pass, embed, {pass->inputs, matrix, pass->cuda->there.ids, pass->rows});
}

enum status pass_cuda_embed_back(struct pass *pass, float *gradients)
{
    const struct pass_cuda_crossing *there = &pass->cuda->there;
    return LAUNCH(pass, embed_gradient,
                  {.dweight = pass_weight(pass, gradients, MODEL_TOKEN_EMBD, 0),
                   .dy = pass->gradients[LAYER_HIDDEN],
                   .ids = there->tokens,
                   .first = there->first,
                   .order = there->order,
                   .tokens = pass->cuda->tokens_count,
                   .width = pass->options.spec->hidden});
}

/* ---- norms ---- */

static enum status norm(const struct pass *pass, float *y, float *x, const float *weight)
{
    return LAUNCH(pass, rmsnorm,
                  {.out = y,
                   .out_dtype = DTYPE_F32,
                   .hidden = x,
                   .weight = weight,
                   .rows = pass->rows,
                   .width = pass->options.spec->hidden,
                   .eps = pass->options.spec->norm_eps});
}

static enum status norm_back(const struct pass *pass, float *dx, float *dweight, const float *dy,
                             const float *x, const float *weight, bool accumulate)
{
    const int64_t hidden = pass->options.spec->hidden;
    return LAUNCH(pass, rmsnorm_gradient,
                  {.dx = dx,
                   .dweight = dweight,
                   .partial = pass->partial,
                   .dy = dy,
                   .x = x,
                   .stride = hidden,
                   .weight = weight,
                   .rows = pass->rows,
                   .heads = 1,
                   .width = hidden,
                   .eps = pass->options.spec->norm_eps,
                   .accumulate = accumulate});
}

static float *last_output(const struct pass *pass)
{
    const struct model_spec *spec = pass->options.spec;
    return pass->inputs + spec->layers * pass->rows_most * spec->hidden;
}

enum status pass_cuda_norm(struct pass *pass)
{
    return norm(pass, pass->normed, last_output(pass), pass_weight_of(pass, MODEL_OUTPUT_NORM, 0));
}

/* Queries and keys of a row of q, k and v, head by head; values stay. */
static enum status norm_heads(const struct rows_job *job)
{
    const struct pass *pass = job->pass;
    const struct model_spec *spec = pass->options.spec;
    if (job->y != job->x)
        TRY(pass_cuda_copy(pass, job->y, job->x, bytes_of(job)));
    return LAUNCH(pass, norm_heads,
                  {.x = job->y,
                   .stride = job->width,
                   .weights = {pass_weight_of(pass, job->op->roles[0], job->op->layer),
                               pass_weight_of(pass, job->op->roles[1], job->op->layer)},
                   .heads = {spec->heads, spec->kv_heads},
                   .rows = job->rows,
                   .head_dim = spec->head_dim,
                   .eps = spec->norm_eps});
}

static enum status norm_heads_back(const struct rows_job *job, float *gradients)
{
    const struct pass *pass = job->pass;
    const struct model_spec *spec = pass->options.spec;
    const int heads[] = {spec->heads, spec->kv_heads};
    int64_t at = 0;
    for (int m = 0; m < job->op->role_count; at += (int64_t)heads[m++] * spec->head_dim)
        TRY(LAUNCH(pass, rmsnorm_gradient,
                   {.dx = job->dx + at,
                    .dweight = pass_weight(pass, gradients, job->op->roles[m], job->op->layer),
                    .partial = pass->partial,
                    .dy = job->dx + at,
                    .x = job->x + at,
                    .stride = job->width,
                    .weight = pass_weight_of(pass, job->op->roles[m], job->op->layer),
                    .rows = job->rows,
                    .heads = heads[m],
                    .width = spec->head_dim,
                    .eps = spec->norm_eps}));
    return STATUS_OK;
}

/* ---- element by element ---- */

static enum status bias(const struct rows_job *job)
{
    const struct pass *pass = job->pass;
    struct kernels_cuda_bias args = {
        .y = job->y, .stride = job->width, .vector_count = job->op->role_count, .rows = job->rows};
    for (int v = 0; v < job->op->role_count; v++) {
        args.vectors[v] = pass_weight_of(pass, job->op->roles[v], job->op->layer);
        args.widths[v] =
            parameters_find(pass->options.parameters, job->op->roles[v], job->op->layer)->columns;
        args.end += args.widths[v];
    }
    if (job->y != job->x)
        TRY(pass_cuda_copy(pass, job->y, job->x, bytes_of(job)));
    const struct cuda_streams *streams = pass->cuda->streams;
    return pass_cuda_launched(pass, streams->kernels->bias(&args, streams->compute), "bias");
}

static enum status bias_back(const struct rows_job *job, float *gradients)
{
    const struct pass *pass = job->pass;
    const float *dy = job->dy;
    for (int v = 0; v < job->op->role_count; v++) {
        const struct parameters_row *vector =
            parameters_find(pass->options.parameters, job->op->roles[v], job->op->layer);
        TRY(LAUNCH(pass, column_sums,
                   {gradients + vector->offset, dy, job->width, job->rows, vector->columns}));
        dy += vector->columns;
    }
    return STATUS_OK;
}

static enum status add(const struct rows_job *job)
{
    const struct pass *pass = job->pass;
    if (job->y != job->second)
        TRY(pass_cuda_copy(pass, job->y, job->second, bytes_of(job)));
    return LAUNCH(pass, add, {job->y, job->x, job->rows * job->width});
}

/* ---- products ---- */

static enum status round_rows(const struct pass *pass, uint16_t *out, const float *x,
                              int64_t stride, int64_t rows, int64_t width)
{
    return LAUNCH(pass, round, {out, DTYPE_BF16, x, stride, rows, width});
}

static enum status round_matrix(const struct pass *pass, const struct parameters_row *matrix)
{
    return LAUNCH(
        pass, dequantize,
        {.out = pass->cuda->matrix,
         .operand = DTYPE_BF16,
         .matrix = {pass->weights + matrix->offset, DTYPE_F32, matrix->rows, matrix->columns},
         .end = matrix->rows});
}

static enum status multiply(const struct pass *pass, struct cuda_product product)
{
    const struct cuda_streams *streams = pass->cuda->streams;
    product.operand = DTYPE_BF16;
    product.workspace = pass->cuda->workspace;
    product.workspace_bytes = streams->runtime->workspace_bytes;
    return streams->runtime->product(&product, streams->compute);
}

/* y = x w^T with both rounded already. */
static enum status forward(const struct pass *pass, float *y, int64_t y_stride, const uint16_t *x,
                           int64_t rows, const struct parameters_row *matrix)
{
    return multiply(pass, (struct cuda_product){.y = y,
                                                .y_stride = y_stride,
                                                .x = x,
                                                .w = pass->cuda->matrix,
                                                .rows = rows,
                                                .out = matrix->rows,
                                                .in = matrix->columns});
}

/* dx (+)= dy w and dw += dy^T x, of dy in `left` and x in `right`. */
static enum status backward(const struct pass *pass, float *dx, float *dw, int64_t rows,
                            const struct parameters_row *matrix, bool accumulate)
{
    const struct pass_cuda *cuda = pass->cuda;
    TRY(multiply(pass, (struct cuda_product){.y = dx,
                                             .y_stride = matrix->columns,
                                             .x = cuda->left,
                                             .w = cuda->matrix,
                                             .w_transposed = true,
                                             .rows = rows,
                                             .out = matrix->columns,
                                             .in = matrix->rows,
                                             .accumulate = accumulate}));
    return multiply(pass, (struct cuda_product){.y = dw,
                                                .y_stride = matrix->columns,
                                                .x = cuda->left,
                                                .x_transposed = true,
                                                .w = cuda->right,
                                                .w_transposed = true,
                                                .rows = matrix->rows,
                                                .out = matrix->columns,
                                                .in = rows,
                                                .accumulate = true});
}

static const struct parameters_row *matrix_of(const struct rows_job *job, int m)
{
    return parameters_find(job->pass->options.parameters, job->op->roles[m], job->op->layer);
}

static enum status product(const struct rows_job *job)
{
    const struct pass *pass = job->pass;
    const int64_t in = matrix_of(job, 0)->columns;
    int64_t base = 0;
    TRY(round_rows(pass, pass->cuda->right, job->x, in, job->rows, in));
    for (int m = 0; m < job->op->role_count; m++) {
        const struct parameters_row *matrix = matrix_of(job, m);
        TRY(round_matrix(pass, matrix));
        TRY(forward(pass, job->y + base, job->width, pass->cuda->right, job->rows, matrix));
        base += matrix->rows;
    }
    return STATUS_OK;
}

static enum status product_back(const struct rows_job *job, float *gradients)
{
    const struct pass *pass = job->pass;
    const int64_t in = matrix_of(job, 0)->columns;
    int64_t base = 0;
    TRY(round_rows(pass, pass->cuda->right, job->x, in, job->rows, in));
    for (int m = 0; m < job->op->role_count; m++) {
        const struct parameters_row *matrix = matrix_of(job, m);
        TRY(round_matrix(pass, matrix));
        TRY(round_rows(pass, pass->cuda->left, job->dy + base, job->width, job->rows,
                       matrix->rows));
        TRY(backward(pass, job->dx, gradients + matrix->offset, job->rows, matrix,
                     job->accumulate || m > 0));
        base += matrix->rows;
    }
    return STATUS_OK;
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
                           .accumulate = step->adds_input};
    assert(!step->adds_second);
    if (step->second >= 0) {
        job.second = pass_value(pass, layer, step->second);
        job.dsecond = pass->gradients[values[step->second].buffer];
    }
    return job;
}

enum status pass_cuda_op(struct pass *pass, int op, int layer)
{
    const struct rows_job job = job_of(pass, op, layer);
    switch (job.op->kind) {
    case LAYER_NORM:
        return norm(pass, job.y, job.x, pass_weight_of(pass, job.op->roles[0], layer));
    case LAYER_NORM_HEADS:
        return norm_heads(&job);
    case LAYER_PRODUCT:
        return product(&job);
    case LAYER_BIAS:
        return bias(&job);
    case LAYER_SWIGLU:
        return LAUNCH(
            pass, swiglu,
            {job.y, DTYPE_F32, job.width, job.x, job.second, job.width, job.rows, job.width});
    default:
        assert(job.op->kind == LAYER_ADD);
        return add(&job);
    }
}

enum status pass_cuda_op_back(struct pass *pass, int op, int layer, float *gradients)
{
    const struct rows_job job = job_of(pass, op, layer);
    switch (job.op->kind) {
    case LAYER_NORM:
        return norm_back(pass, job.dx, pass_weight(pass, gradients, job.op->roles[0], layer),
                         job.dy, job.x, pass_weight_of(pass, job.op->roles[0], layer),
                         job.accumulate);
    case LAYER_NORM_HEADS:
        return norm_heads_back(&job, gradients);
    case LAYER_PRODUCT:
        return product_back(&job, gradients);
    case LAYER_BIAS:
        return bias_back(&job, gradients);
    case LAYER_SWIGLU:
        assert(!job.accumulate);
        return LAUNCH(pass, swiglu_gradient,
                      {job.dx, job.dsecond, job.dy, job.x, job.second, job.rows * job.width});
    default:
        assert(job.op->kind == LAYER_ADD && !job.accumulate);
        return pass_cuda_copy(pass, job.dx, job.dy, bytes_of(&job));
    }
}

/* ---- the loss ---- */

/* A block of rows from the head's norm to the loss and back, with the output's matrix rounded. */
static enum status head_block(struct pass *pass, float *gradients, float scale, int64_t row,
                              int64_t count)
{
    const struct parameters_row *matrix =
        parameters_find(pass->options.parameters, MODEL_OUTPUT, 0);
    const int64_t hidden = matrix->columns, vocab = matrix->rows;
    TRY(round_rows(pass, pass->cuda->right, pass->normed + row * hidden, hidden, count, hidden));
    TRY(forward(pass, pass->logits, vocab, pass->cuda->right, count, matrix));
    TRY(LAUNCH(pass, cross_entropy,
               {pass->logits, pass->cuda->there.losses + row, pass->cuda->there.targets + row,
                count, vocab, scale}));
    TRY(round_rows(pass, pass->cuda->left, pass->logits, vocab, count, vocab));
    return backward(pass, pass->normed_gradient + row * hidden, gradients + matrix->offset, count,
                    matrix, false);
}

static enum status take_losses(struct pass *pass, double *loss)
{
    struct pass_cuda *cuda = pass->cuda;
    TRY(pass_cuda_copy(pass, cuda->here.losses, cuda->there.losses,
                       (size_t)pass->rows * sizeof(double)));
    TRY(gpu_wait(cuda->streams, pass->options.transport));
    *loss = 0;
    for (int64_t r = 0; r < pass->rows; r++)
        *loss += pass->targets[r] >= 0 ? cuda->here.losses[r] : 0;
    return STATUS_OK;
}

enum status pass_cuda_head(struct pass *pass, float *gradients, float scale, double *loss)
{
    const struct cuda_streams *streams = pass->cuda->streams;
    const int64_t hidden = pass->options.spec->hidden;
    TRY(round_matrix(pass, parameters_find(pass->options.parameters, MODEL_OUTPUT, 0)));
    for (int64_t row = 0; row < pass->rows; row += PASS_HEAD_ROWS) {
        const int64_t left = pass->rows - row;
        const int64_t count = left < PASS_HEAD_ROWS ? left : PASS_HEAD_ROWS;
        if (pass_any_counts(pass, row, count))
            TRY(head_block(pass, gradients, scale, row, count));
        else
            TRY(streams->runtime->fill(pass->normed_gradient + row * hidden, 0,
                                       (size_t)(count * hidden) * sizeof(float), streams->compute));
        transport_mark(pass->options.transport);
    }
    TRY(norm_back(pass, pass->gradients[LAYER_HIDDEN],
                  pass_weight(pass, gradients, MODEL_OUTPUT_NORM, 0), pass->normed_gradient,
                  last_output(pass), pass_weight_of(pass, MODEL_OUTPUT_NORM, 0), false));
    return take_losses(pass, loss);
}
