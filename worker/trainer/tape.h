/* The backward program, derived from the forward one (worker/engine/layer_program.h): which values
 * of a layer's forward pass are kept for the way back and where they lie, and for each op what its
 * gradient reads and whether it adds to what is there. All layers have the same tape.
 *
 * An op that changes its output in place, or writes a buffer again, makes a new value of it. A
 * value that no gradient reads shares its place with the next value of its buffer where an op
 * changes it in place. Gradients lie in one place a buffer: on the way back, a value's gradient is
 * complete when the op that made the value is reached.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/status.h"
#include "worker/engine/layer_program.h"

enum { TAPE_OPS_MAX = 40, TAPE_VALUES_MAX = 2 * TAPE_OPS_MAX };

struct tape_value {
    enum layer_buffer buffer;
    bool read_back; /* by some op's gradient */
    int place;      /* the value whose memory it lies in: itself, or an earlier one */
    int64_t offset; /* floats of a row before it; none of the layer's input and output */
};

struct tape_op {
    const struct layer_op *op;    /* of layer 0 */
    int input, second, output;    /* values; -1: none */
    bool adds_input, adds_second; /* their gradients add to what other ops have left there */
};

struct tape {
    int count;
    struct tape_op ops[TAPE_OPS_MAX];
    int first;    /* the op of the program that is ops[0] in layer 0 */
    int in_layer; /* ops of the program in a layer */
    int values_count;
    struct tape_value values[TAPE_VALUES_MAX];
    int input, output;             /* the residual stream before and after: outside the layer */
    int64_t width;                 /* floats of a row of all other values */
    int64_t widths[LAYER_BUFFERS]; /* of a row of one */
    uint32_t gradients;            /* the buffers that have one: bit 1 << buffer */
};

/* UNIMPLEMENTED, by its number, for a kind of op whose gradient is not known. */
MUST_CHECK enum status tape_make(struct tape *tape, const struct layer_program *program);

/* The op of `layer`. */
static inline const struct layer_op *
tape_op_of(const struct tape *tape, const struct layer_program *program, int op, int layer)
{
    return &program->ops[(tape->ops[op].op - program->ops) + (int64_t)layer * tape->in_layer];
}
