/* Owns the derivation of the way back. */
#include "worker/trainer/tape.h"

#include <assert.h>
#include <string.h>

/* What the gradient of an op reads of the way forward. */
struct reads {
    bool input, second, output;
};

/* ATTEND stands for all of attention: ROTATE, STORE and MIX belong to it. */
static enum status reads_of(struct reads *reads, const struct layer_op *op)
{
    switch (op->kind) {
    case LAYER_NORM:
    case LAYER_NORM_HEADS:
    case LAYER_PRODUCT:
        *reads = (struct reads){.input = true};
        return STATUS_OK;
    case LAYER_SWIGLU:
        *reads = (struct reads){.input = true, .second = true};
        return STATUS_OK;
    case LAYER_ATTEND:
        *reads = (struct reads){.input = true, .output = true};
        return STATUS_OK;
    case LAYER_BIAS:
    case LAYER_ADD:
        *reads = (struct reads){.input = false};
        return STATUS_OK;
    default:
        return fail(STATUS_UNIMPLEMENTED, "training knows no gradient of a layer's op of kind %d",
                    (int)op->kind);
    }
}

static bool is_in_tape(const struct layer_op *op)
{
    return op->kind != LAYER_LOOK && op->kind != LAYER_ROTATE && op->kind != LAYER_STORE &&
           op->kind != LAYER_MIX;
}

static int new_value(struct tape *tape, enum layer_buffer buffer)
{
    assert(tape->values_count < TAPE_VALUES_MAX);
    tape->values[tape->values_count] =
        (struct tape_value){.buffer = buffer, .place = tape->values_count};
    return tape->values_count++;
}

/* ---- values, on the way forward ---- */

static enum status append(struct tape *tape, const struct layer_op *op, int at[LAYER_BUFFERS])
{
    const bool attends = op->kind == LAYER_ATTEND;
    const enum layer_buffer input = attends ? LAYER_QKV : op->input;
    const enum layer_buffer output = attends ? LAYER_MIXED : op->output;
    struct reads reads = {0};
    TRY(reads_of(&reads, op));
    assert(tape->count < TAPE_OPS_MAX);
    struct tape_op *made = &tape->ops[tape->count++];
    const int before = at[output];
    made->op = op;
    made->input = at[input];
    made->second = op->second == LAYER_NOTHING ? -1 : at[op->second];
    if (op->kind == LAYER_ADD)
        made->second = at[output];
    tape->values[made->input].read_back |= reads.input;
    if (made->second >= 0)
        tape->values[made->second].read_back |= reads.second;
    made->output = at[output] = new_value(tape, output);
    tape->values[made->output].read_back |= reads.output;
    /* What is changed in place goes on where it was, if nobody wants it as it was. */
    if (before >= 0 && (made->input == before || made->second == before))
        tape->values[made->output].place = before;
    return STATUS_OK;
}

static void find_places(struct tape *tape)
{
    for (int v = 0; v < tape->values_count; v++) {
        struct tape_value *value = &tape->values[v];
        const int before = value->place;
        if (v == tape->input || v == tape->output)
            continue;
        if (before != v && !tape->values[before].read_back && before != tape->input) {
            value->place = tape->values[before].place;
            value->offset = tape->values[before].offset;
            continue;
        }
        value->place = v;
        value->offset = tape->width;
        tape->width += tape->widths[value->buffer];
    }
}

/* ---- gradients, on the way back ---- */

/* `there`: buffers in which ops that were passed have left a gradient. */
static void find_gradients(struct tape *tape)
{
    uint32_t there = UINT32_C(1) << LAYER_HIDDEN;
    for (int o = tape->count - 1; o >= 0; o--) {
        struct tape_op *op = &tape->ops[o];
        const enum layer_buffer input = tape->values[op->input].buffer;
        const enum layer_buffer output = tape->values[op->output].buffer;
        assert(there >> output & 1);
        if (input != output && op->op->kind != LAYER_ADD)
            there &= ~(UINT32_C(1) << output);
        op->adds_input = input != output && (there >> input & 1);
        there |= UINT32_C(1) << input;
        if (op->second >= 0 && op->op->kind != LAYER_ADD) {
            const enum layer_buffer second = tape->values[op->second].buffer;
            op->adds_second = there >> second & 1;
            there |= UINT32_C(1) << second;
        }
        tape->gradients |= there;
    }
    assert(there == UINT32_C(1) << LAYER_HIDDEN);
}

enum status tape_make(struct tape *tape, const struct layer_program *program)
{
    int at[LAYER_BUFFERS];
    *tape = (struct tape){.first = 1};
    for (int b = 0; b < LAYER_BUFFERS; b++) {
        tape->widths[b] = program->buffers[b].width;
        at[b] = -1;
    }
    at[LAYER_HIDDEN] = tape->input = new_value(tape, LAYER_HIDDEN);
    for (int o = tape->first; o < program->head && program->ops[o].layer == 0; o++) {
        if (is_in_tape(&program->ops[o]))
            TRY(append(tape, &program->ops[o], at));
        tape->in_layer++;
    }
    assert(program->ops[0].kind == LAYER_EMBED);
    assert((program->head - tape->first) % tape->in_layer == 0);
    tape->output = at[LAYER_HIDDEN];
    find_places(tape);
    find_gradients(tape);
    return STATUS_OK;
}
