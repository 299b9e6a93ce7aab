/* Owns nothing: the launches of each op. */
#include "worker/engine/device/device_cuda_ops.h"

#include <assert.h>

static int64_t width_of(const struct device_cuda_rows *rows, enum layer_buffer buffer)
{
    return rows->cuda->device.program->buffers[buffer].width;
}

/* The columns of an op's output that this rank computes. */
static struct span columns_of(const struct device_cuda_rows *rows, const struct layer_op *op)
{
    const int64_t width = width_of(rows, op->output);
    if (!(rows->split & op->split))
        return (struct span){0, width};
    return device_outputs(width, rows->cuda->device.group.workers, rows->rank);
}

static enum dtype left_of(const struct device_cuda_rows *rows)
{
    return rows->in_step ? DTYPE_F32 : DEVICE_CUDA_OPERAND;
}

static enum status embed(const struct device_cuda_rows *rows, const struct layer_op *op)
{
    const struct kernels_cuda_embed args = {
        .hidden = rows->at[op->output],
        .matrix = *weights_cuda_matrix(rows->cuda->weights, op->roles[0], op->layer),
        .ids = rows->ids,
        .rows = rows->rows,
    };
    LAUNCH(rows->cuda, embed, &args);
    return STATUS_OK;
}

/* ---- norms and additions ---- */

static enum status norm(struct device_cuda_rows *rows, const struct layer_op *op)
{
    const struct kernels_cuda_rmsnorm args = {
        .out = rows->at[op->output],
        .out_dtype = left_of(rows),
        .hidden = rows->at[op->input],
        .add = rows->to_add,
        .weight = weights_cuda_vector(rows->cuda->weights, op->roles[0], op->layer),
        .rows = rows->rows,
        .width = width_of(rows, op->input),
        .eps = rows->cuda->spec.norm_eps,
    };
    rows->to_add = NULL;
    LAUNCH(rows->cuda, rmsnorm, &args);
    return STATUS_OK;
}

/* A stage's products have added already; a step's addition waits for the norm that follows. */
static void add(struct device_cuda_rows *rows, const struct layer_op *op)
{
    assert(op->input == LAYER_DELTA && op->output == LAYER_HIDDEN);
    if (rows->in_step)
        rows->to_add = rows->at[op->input];
}

/* What no norm has added. */
static enum status add_now(struct device_cuda_rows *rows)
{
    const struct kernels_cuda_rmsnorm args = {
        .hidden = rows->at[LAYER_HIDDEN],
        .add = rows->to_add,
        .rows = rows->rows,
        .width = width_of(rows, LAYER_HIDDEN),
    };
    if (!rows->to_add)
        return STATUS_OK;
    rows->to_add = NULL;
    LAUNCH(rows->cuda, rmsnorm, &args);
    return STATUS_OK;
}

static enum status norm_heads(const struct device_cuda_rows *rows, const struct layer_op *op)
{
    const struct device_cuda *cuda = rows->cuda;
    const struct kernels_cuda_norm_heads args = {
        .x = rows->at[op->output],
        .stride = width_of(rows, op->output),
        .weights = {weights_cuda_vector(cuda->weights, op->roles[0], op->layer),
                    weights_cuda_vector(cuda->weights, op->roles[1], op->layer)},
        .heads = {cuda->spec.heads, cuda->spec.kv_heads},
        .rows = rows->rows,
        .head_dim = cuda->spec.head_dim,
        .eps = cuda->spec.norm_eps,
    };
    LAUNCH(cuda, norm_heads, &args);
    return STATUS_OK;
}

/* ---- products ---- */

/* Matrix by matrix, by cuBLASLt. */
static enum status multiply_many(const struct device_cuda_rows *rows, const struct layer_op *op)
{
    float *y = rows->at[op->output];
    for (int m = 0; m < op->role_count; m++) {
        const struct kernels_cuda_matrix *matrix =
            weights_cuda_matrix(rows->cuda->weights, op->roles[m], op->layer);
        TRY(device_cuda_multiply(rows->cuda, y, width_of(rows, op->output), rows->at[op->input],
                                 matrix, rows->rows, op->output == LAYER_DELTA));
        y += matrix->out;
    }
    return STATUS_OK;
}

static enum status multiply_few(const struct device_cuda_rows *rows, const struct layer_op *op)
{
    const struct span columns = columns_of(rows, op);
    struct kernels_cuda_matmul args = {
        .y = rows->at[op->output],
        .y_stride = width_of(rows, op->output),
        .x = rows->at[op->input],
        .x_stride = width_of(rows, op->input),
        .rows = rows->rows,
        .matrix_count = op->role_count,
        .out_first = columns.first,
        .out_end = columns.end,
    };
    for (int m = 0; m < op->role_count; m++)
        args.matrices[m] = *weights_cuda_matrix(rows->cuda->weights, op->roles[m], op->layer);
    if (columns.first < columns.end)
        LAUNCH(rows->cuda, matmul_decode, &args);
    return STATUS_OK;
}

static enum status bias(const struct device_cuda_rows *rows, const struct layer_op *op)
{
    const struct span columns = columns_of(rows, op);
    struct kernels_cuda_bias args = {
        .y = rows->at[op->output],
        .stride = width_of(rows, op->output),
        .vector_count = op->role_count,
        .rows = rows->rows,
        .first = columns.first,
        .end = columns.end,
    };
    for (int v = 0; v < op->role_count; v++) {
        args.vectors[v] = weights_cuda_vector(rows->cuda->weights, op->roles[v], op->layer);
        args.widths[v] = model_role_shape(&rows->cuda->spec, op->roles[v]).columns;
    }
    LAUNCH(rows->cuda, bias, &args);
    return STATUS_OK;
}

static enum status swiglu(const struct device_cuda_rows *rows, const struct layer_op *op)
{
    const struct span columns = columns_of(rows, op);
    const struct kernels_cuda_swiglu args = {
        .out = rows->at[op->output] + columns.first, /* in a stage the columns are all */
        .out_dtype = left_of(rows),
        .out_stride = width_of(rows, op->output),
        .gate = rows->at[op->input] + columns.first,
        .up = rows->at[op->second] + columns.first,
        .in_stride = width_of(rows, op->input),
        .rows = rows->rows,
        .width = columns.end - columns.first,
    };
    if (columns.first < columns.end)
        LAUNCH(rows->cuda, swiglu, &args);
    return STATUS_OK;
}

/* ---- attention's sides ---- */

static enum status mix(const struct device_cuda_rows *rows, const struct layer_op *op)
{
    struct device_cuda *cuda = rows->cuda;
    const struct kernels_cuda_combine combine = {
        .states = rows->at[op->input],
        .count = cuda->device.group.workers,
        .out = rows->at[op->output],
        .out_dtype = left_of(rows),
        .rows = rows->rows,
        .heads = cuda->spec.heads,
        .head_dim = cuda->spec.head_dim,
    };
    const struct kernels_cuda_finish finish = {
        .out = rows->at[op->output],
        .out_dtype = left_of(rows),
        .acc = rows->at[op->input],
        .sum = rows->sum,
        .rows = rows->rows * cuda->spec.heads,
        .head_dim = cuda->spec.head_dim,
    };
    if (rows->in_step)
        LAUNCH(cuda, attention_combine, &combine);
    else
        LAUNCH(cuda, attention_finish, &finish);
    return STATUS_OK;
}

/* ---- all ---- */

static enum status compute(struct device_cuda_rows *rows, const struct layer_op *op)
{
    switch (op->kind) {
    case LAYER_EMBED:
        return embed(rows, op);
    case LAYER_NORM:
        return norm(rows, op);
    case LAYER_NORM_HEADS:
        return norm_heads(rows, op);
    case LAYER_BIAS:
        return bias(rows, op);
    case LAYER_PRODUCT:
        return rows->in_step ? multiply_few(rows, op) : multiply_many(rows, op);
    case LAYER_SWIGLU:
        return swiglu(rows, op);
    case LAYER_ADD:
        add(rows, op);
        return STATUS_OK;
    case LAYER_LOOK: /* logits alone are looked at */
        return STATUS_OK;
    case LAYER_ROTATE:
        return device_cuda_rotate(rows);
    case LAYER_STORE:
        return device_cuda_store(rows, op->layer);
    case LAYER_MIX:
        return mix(rows, op);
    case LAYER_ATTEND:
    case LAYER_GEGLU: /* device_cuda_create has refused the model */
    case LAYER_CAP:
        break;
    }
    return fail(STATUS_INTERNAL, "operation %d is not one that a device runs", op->kind);
}

enum status device_cuda_ops(struct device_cuda_rows *rows, int first, int end)
{
    for (int o = first; o < end; o++) {
        const struct layer_op *op = &rows->cuda->device.program->ops[o];
        if (rows->in_step)
            TRY(device_cuda_part(rows->cuda, op->part));
        TRY(compute(rows, op));
    }
    return add_now(rows);
}
