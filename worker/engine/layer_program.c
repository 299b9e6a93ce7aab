/* Owns the list of a model's ops and what follows from it: where runs end, which ops pass their
 * columns on, and how a block's buffers share a thread's scratch. */
#include "worker/engine/layer_program.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

/* ---- the transformer ---- */

static const struct layer_op embedding = {
    .kind = LAYER_EMBED,
    .output = LAYER_HIDDEN,
    .part = DEVICE_PART_STEP_QKV,
    .roles = {MODEL_TOKEN_EMBD},
    .role_count = 1,
};

/* One after the other: the attention of a layer, then its feed-forward part. Those whose weights a
 * model does not have are not in its program. */
static const struct layer_op of_a_layer[] = {
    {LAYER_NORM, LAYER_HIDDEN, LAYER_NORMED, LAYER_WHOLE, .part = DEVICE_PART_STEP_QKV,
     .roles = {MODEL_ATTN_NORM}, .role_count = 1},
    {LAYER_PRODUCT, LAYER_NORMED, LAYER_QKV, LAYER_COLUMNS, DECODE_SPLIT_QKV,
     .part = DEVICE_PART_STEP_QKV, .roles = {MODEL_ATTN_Q, MODEL_ATTN_K, MODEL_ATTN_V},
     .role_count = 3},
    {LAYER_BIAS, LAYER_QKV, LAYER_QKV, LAYER_COLUMNS, DECODE_SPLIT_QKV,
     .part = DEVICE_PART_STEP_QKV,
     .roles = {MODEL_ATTN_Q_BIAS, MODEL_ATTN_K_BIAS, MODEL_ATTN_V_BIAS}, .role_count = 3},
    {LAYER_NORM_HEADS, LAYER_QKV, LAYER_QKV, LAYER_WHOLE, .part = DEVICE_PART_STEP_ATTEND,
     .roles = {MODEL_ATTN_Q_NORM, MODEL_ATTN_K_NORM}, .role_count = 2},
    {LAYER_LOOK, LAYER_QKV, LAYER_NOTHING, LAYER_WHOLE, .part = DEVICE_PART_STEP_ATTEND},
    {LAYER_ROTATE, LAYER_QKV, LAYER_QUERIES, LAYER_WHOLE, .part = DEVICE_PART_STEP_ATTEND},
    {LAYER_STORE, LAYER_QKV, LAYER_NOTHING, LAYER_WHOLE, .part = DEVICE_PART_STEP_ATTEND},
    {LAYER_ATTEND, LAYER_QUERIES, LAYER_STATE, LAYER_WHOLE, .part = DEVICE_PART_STEP_ATTEND},
    {LAYER_MIX, LAYER_STATE, LAYER_MIXED, LAYER_WHOLE, .part = DEVICE_PART_STEP_OUTPUT},
    {LAYER_PRODUCT, LAYER_MIXED, LAYER_DELTA, LAYER_COLUMNS, DECODE_SPLIT_OUTPUT,
     .part = DEVICE_PART_STEP_OUTPUT, .roles = {MODEL_ATTN_OUTPUT}, .role_count = 1},
    {LAYER_BIAS, LAYER_DELTA, LAYER_DELTA, LAYER_COLUMNS, DECODE_SPLIT_OUTPUT,
     .part = DEVICE_PART_STEP_OUTPUT, .roles = {MODEL_ATTN_OUTPUT_BIAS}, .role_count = 1},
    {LAYER_NORM, LAYER_DELTA, LAYER_DELTA, LAYER_WHOLE, .part = DEVICE_PART_STEP_OUTPUT,
     .roles = {MODEL_ATTN_POST_NORM}, .role_count = 1},
    {LAYER_ADD, LAYER_DELTA, LAYER_HIDDEN, LAYER_WHOLE, .part = DEVICE_PART_STEP_GATE},

    {LAYER_NORM, LAYER_HIDDEN, LAYER_NORMED, LAYER_WHOLE, .part = DEVICE_PART_STEP_GATE,
     .roles = {MODEL_FFN_NORM}, .role_count = 1},
    {LAYER_PRODUCT, LAYER_NORMED, LAYER_GATE, LAYER_COLUMNS, DECODE_SPLIT_GATE,
     .part = DEVICE_PART_STEP_GATE, .roles = {MODEL_FFN_GATE}, .role_count = 1},
    {LAYER_BIAS, LAYER_GATE, LAYER_GATE, LAYER_COLUMNS, DECODE_SPLIT_GATE,
     .part = DEVICE_PART_STEP_GATE, .roles = {MODEL_FFN_GATE_BIAS}, .role_count = 1},
    {LAYER_PRODUCT, LAYER_NORMED, LAYER_UP, LAYER_COLUMNS, DECODE_SPLIT_GATE,
     .part = DEVICE_PART_STEP_GATE, .roles = {MODEL_FFN_UP}, .role_count = 1},
    {LAYER_BIAS, LAYER_UP, LAYER_UP, LAYER_COLUMNS, DECODE_SPLIT_GATE,
     .part = DEVICE_PART_STEP_GATE, .roles = {MODEL_FFN_UP_BIAS}, .role_count = 1},
    {LAYER_SWIGLU, LAYER_GATE, LAYER_ACTIVE, LAYER_COLUMNS, DECODE_SPLIT_GATE,
     .part = DEVICE_PART_STEP_GATE, .second = LAYER_UP},
    {LAYER_PRODUCT, LAYER_ACTIVE, LAYER_DELTA, LAYER_COLUMNS, DECODE_SPLIT_DOWN,
     .part = DEVICE_PART_STEP_DOWN, .roles = {MODEL_FFN_DOWN}, .role_count = 1},
    {LAYER_BIAS, LAYER_DELTA, LAYER_DELTA, LAYER_COLUMNS, DECODE_SPLIT_DOWN,
     .part = DEVICE_PART_STEP_DOWN, .roles = {MODEL_FFN_DOWN_BIAS}, .role_count = 1},
    {LAYER_NORM, LAYER_DELTA, LAYER_DELTA, LAYER_WHOLE, .part = DEVICE_PART_STEP_DOWN,
     .roles = {MODEL_FFN_POST_NORM}, .role_count = 1},
    {LAYER_ADD, LAYER_DELTA, LAYER_HIDDEN, LAYER_WHOLE, .part = DEVICE_PART_STEP_DOWN},
    {LAYER_LOOK, LAYER_HIDDEN, LAYER_NOTHING, LAYER_WHOLE, .part = DEVICE_PART_STEP_DOWN},
};

static const struct layer_op output_norm = {
    .kind = LAYER_NORM,
    .input = LAYER_HIDDEN,
    .output = LAYER_NORMED,
    .part = DEVICE_PART_STEP_LOGITS,
    .roles = {MODEL_OUTPUT_NORM},
    .role_count = 1,
};

static const struct layer_op output_product = {
    .kind = LAYER_PRODUCT,
    .input = LAYER_NORMED,
    .output = LAYER_LOGITS,
    .place = LAYER_COLUMNS,
    .split = DECODE_SPLIT_LOGITS,
    .part = DEVICE_PART_STEP_LOGITS,
    .roles = {MODEL_OUTPUT},
    .role_count = 1,
};

static const struct layer_op output_cap = {
    .kind = LAYER_CAP,
    .input = LAYER_LOGITS,
    .output = LAYER_LOGITS,
    .place = LAYER_COLUMNS,
    .split = DECODE_SPLIT_LOGITS,
    .part = DEVICE_PART_STEP_LOGITS,
};

enum { OPS_OF_A_LAYER = sizeof of_a_layer / sizeof of_a_layer[0] };

/* ---- what follows from the list ---- */

static uint32_t bit(enum layer_buffer buffer)
{
    return buffer == LAYER_NOTHING ? 0 : UINT32_C(1) << buffer;
}

/* The buffers that an op has to find whole: all it reads, unless it goes column by column. */
static uint32_t reads_whole(const struct layer_op *op)
{
    if (op->place == LAYER_COLUMNS && op->kind != LAYER_PRODUCT)
        return 0;
    return bit(op->input) | bit(op->second);
}

/* Products of a slice into the residual stream are partial sums until the next op that takes them.
 */
static void find_sums(struct layer_program *program)
{
    bool partial = false;
    for (int o = 0; o < program->count; o++) {
        struct layer_op *op = &program->ops[o];
        if (partial && op->input == LAYER_DELTA) {
            op->awaits_sum = LAYER_DELTA;
            op->joined = false;
            partial = false;
        }
        if (op->kind == LAYER_PRODUCT && op->output == LAYER_DELTA)
            partial = true;
    }
}

/* Walks in order, with the buffers that lie in columns so far, and by which product. */
static void find_awaits(struct layer_program *program)
{
    unsigned split_of[LAYER_BUFFERS] = {0};
    uint32_t columns = 0;
    for (int o = 0; o < program->count; o++) {
        struct layer_op *op = &program->ops[o];
        const uint32_t awaited = reads_whole(op) & columns;
        assert((awaited & (awaited - 1)) == 0); /* one exchange at a cut */
        if (awaited) {
            op->awaits = awaited & bit(op->input) ? op->input : op->second;
            op->awaits_split = split_of[op->awaits];
        }
        columns &= ~awaited & ~bit(op->output);
        if (op->place == LAYER_COLUMNS) {
            columns |= bit(op->output);
            split_of[op->output] = op->split;
        }
        op->joined = op->place == LAYER_COLUMNS && !awaited && o > 0 && op[-1].split == op->split &&
                     program->buffers[op->output].width == program->buffers[op[-1].output].width;
    }
}

int layer_program_cut(const struct layer_program *program, int first, unsigned split)
{
    for (int o = first; o < program->logits; o++)
        if (program->ops[o].kind == LAYER_ATTEND ||
            (o > first && ((program->ops[o].awaits_split & split) || program->ops[o].awaits_sum)))
            return o;
    return program->logits;
}

/* ---- a block's buffers ---- */

/* A layout while it is made. */
struct lay_out {
    struct layer_layout *layout;
    size_t bytes[LAYER_BUFFERS];      /* of a row; 0: lies elsewhere */
    uint32_t together[LAYER_BUFFERS]; /* the buffers that are alive with it somewhere */
};

static uint32_t bit_in(const struct lay_out *making, enum layer_buffer buffer)
{
    if (buffer == LAYER_ACTIVE && making->layout->in_place)
        buffer = LAYER_GATE;
    return making->bytes[buffer] > 0 ? bit(buffer) : 0;
}

/* Walks backwards, with the buffers that are still to be read. */
static void find_together(struct lay_out *making, const struct layer_program *program)
{
    uint32_t alive = 0;
    for (int o = program->count - 1; o >= 0; o--) {
        const struct layer_op *op = &program->ops[o];
        const uint32_t output = bit_in(making, op->output);
        const uint32_t inputs = bit_in(making, op->input) | bit_in(making, op->second);
        for (int b = 0; b < LAYER_BUFFERS; b++)
            if ((alive | output | inputs) & (UINT32_C(1) << b))
                making->together[b] |= alive | output | inputs;
        alive = (alive & ~output) | inputs;
        assert(op->kind != LAYER_ATTEND || alive == 0); /* a block's scratch ends there */
    }
}

/* Puts a buffer at the lowest place where none that is alive with it lies. */
static void put(struct lay_out *making, int buffer)
{
    size_t *offset = making->layout->offset;
    for (int b = 0; b < buffer; b++) {
        const bool apart = offset[buffer] + making->bytes[buffer] <= offset[b] ||
                           offset[b] + making->bytes[b] <= offset[buffer];
        if (apart || !(making->together[buffer] & (UINT32_C(1) << b)))
            continue;
        offset[buffer] = offset[b] + making->bytes[b];
        b = -1; /* look at all of them again */
    }
    const size_t end = offset[buffer] + making->bytes[buffer];
    if (end > making->layout->row_bytes)
        making->layout->row_bytes = end;
}

void layer_program_lay_out(struct layer_layout *layout, const struct layer_program *program,
                           size_t left_bytes)
{
    struct lay_out making = {.layout = layout};
    *layout = (struct layer_layout){.in_place = left_bytes == sizeof(float)};
    for (int b = 0; b < LAYER_BUFFERS; b++) {
        const struct layer_buffer_row *row = &program->buffers[b];
        if (!row->kept && (b != LAYER_DELTA || program->adds_apart))
            making.bytes[b] =
                (size_t)row->width * (row->dtype == LAYER_LEFT ? left_bytes : sizeof(float));
    }
    if (layout->in_place)
        making.bytes[LAYER_ACTIVE] = 0;
    find_together(&making, program);
    for (int b = 0; b < LAYER_BUFFERS; b++)
        if (making.bytes[b] > 0)
            put(&making, b);
    if (layout->in_place)
        layout->offset[LAYER_ACTIVE] = layout->offset[LAYER_GATE];
}

/* ---- making ---- */

static bool has_roles(const struct model_spec *spec, const struct layer_op *op)
{
    for (int r = 0; r < op->role_count; r++)
        if (!model_role_is_there(spec, op->roles[r]))
            return false;
    return true;
}

/* An op of a layer as the model has it. */
static struct layer_op as_in(const struct model_spec *spec, const struct layer_op *op)
{
    struct layer_op own = *op;
    if (spec->gelu && op->kind == LAYER_SWIGLU)
        own.kind = LAYER_GEGLU;
    if (spec->no_input_norms && op->input == LAYER_NORMED)
        own.input = LAYER_HIDDEN;
    return own;
}

static void append(struct layer_program *program, const struct layer_op *op, int layer)
{
    program->ops[program->count] = *op;
    program->ops[program->count++].layer = layer;
}

enum status layer_program_create(struct layer_program **out, const struct model_spec *spec,
                                 bool sums)
{
    const int most = 1 + spec->layers * OPS_OF_A_LAYER + 3;
    const struct model_shape shape = spec_shape(spec, 0);
    struct layer_program *program = calloc(1, sizeof *program);
    struct layer_op *ops = calloc((size_t)most, sizeof *ops);
    if (!program || !ops) {
        free(program);
        free(ops);
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a list of %d operations", most);
    }
    program->ops = ops;
    program->adds_apart = spec->output_norms || spec->residual_scale != 0;
    layer_buffers_make(program->buffers, &shape);
    append(program, &embedding, 0);
    for (int layer = 0; layer < spec->layers; layer++)
        for (int o = 0; o < OPS_OF_A_LAYER; o++)
            if (has_roles(spec, &of_a_layer[o])) {
                const struct layer_op own = as_in(spec, &of_a_layer[o]);
                append(program, &own, layer);
            }
    program->head = program->count;
    append(program, &output_norm, spec->layers);
    program->logits = program->count;
    append(program, &output_product, spec->layers);
    if (spec->logit_scale != 0 || spec->logit_cap != 0)
        append(program, &output_cap, spec->layers);
    find_awaits(program);
    if (sums)
        find_sums(program);
    *out = program;
    return STATUS_OK;
}

void layer_program_destroy(struct layer_program *program)
{
    if (!program)
        return;
    free(program->ops);
    free(program);
}
