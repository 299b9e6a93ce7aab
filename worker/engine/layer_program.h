/* The transformer, once: what is computed from ids to the last layer's output, as a list of ops
 * over named buffers. A device executes runs of it (device_run); where a run ends, forward.c
 * attends, or exchanges what other ranks computed.
 *
 * An architecture is a list of ops: one that a model has no weights for is not in its program. To
 * add one, add its row to the table in layer_program.c, and what a new kind computes to both
 * devices. A new buffer is a row in proto/plan/layer_buffers.c.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "proto/model/model.h"
#include "proto/plan/decode_split.h"
#include "proto/plan/layer_buffers.h"
#include "proto/status.h"
#include "worker/engine/device/device_part.h"

/* An op that changes its output in place has it as its input too. */
enum layer_op_kind {
    LAYER_EMBED,      /* output = the ids' rows of a matrix, times the model's embedding_scale */
    LAYER_NORM,       /* output = rmsnorm(input): kernels.h */
    LAYER_NORM_HEADS, /* q and k with the weight of its kind: each head by itself, or all as one */
    LAYER_PRODUCT,    /* output = input times its matrices, laid end to end */
    LAYER_BIAS,       /* output += its vectors, laid end to end */
    LAYER_SWIGLU,     /* output = silu(input) * second */
    LAYER_GEGLU,      /* output = gelu(input) * second */
    LAYER_ADD,        /* output += input, times the model's residual_scale */
    LAYER_LOOK,       /* notes the first row of input that is not finite; a GPU looks at less */
    LAYER_ROTATE,     /* output = q of input in every query frame */
    LAYER_STORE,      /* k, rotated, and v of input go to the cache and among the sinks */
    LAYER_ATTEND,     /* output = the state of input over the layer's keys: a cut, in no run */
    LAYER_MIX,        /* output = finished heads of the states of all ranks */
    LAYER_CAP,        /* output = input times the model's logit_scale, then capped */
};

/* Which columns of its output a rank computes, where a step's products are split over ranks. */
enum layer_place {
    LAYER_WHOLE,   /* all */
    LAYER_COLUMNS, /* a span (device_outputs), from the same columns of its inputs; a product reads
                    * all columns of its input */
};

enum { LAYER_ROLES_MAX = 3 };

struct layer_op {
    enum layer_op_kind kind;
    enum layer_buffer input;
    enum layer_buffer output;
    enum layer_place place;
    unsigned split; /* of columns: with which product of decode_split.h they are shared out */
    enum device_part part;                  /* of a step: what its time counts for */
    enum model_role roles[LAYER_ROLES_MAX]; /* of its weights, in the order of its outputs */
    int role_count;
    enum layer_buffer second; /* input */

    /* Filled in by layer_program_create: */
    int layer;                /* whose weights and cache; the output's: as many as there are */
    enum layer_buffer awaits; /* whose columns it needs of all ranks: a cut where they are split */
    unsigned awaits_split;    /* with which product */
    enum layer_buffer awaits_sum; /* whose partial sums of the tensor axis it needs summed: a cut */
    bool joined; /* takes columns as the op before it leaves them: no thread waits in between */
};

/* After the layers come the output's norm, at `head`, and its product, at `logits`, with its cap
 * behind it. A stage computes them for the rows that are asked for, a step the norm of all its rows
 * and then one row's logits. */
struct layer_program {
    struct layer_buffer_row buffers[LAYER_BUFFERS];
    struct layer_op *ops;
    int head;
    int logits;
    int count;
    /* LAYER_DELTA is changed before it is added: no product may add at once. */
    bool adds_apart;
};

/* `sums`: the spec is a slice's, and what its layers add is a partial sum. */
MUST_CHECK enum status layer_program_create(struct layer_program **program,
                                            const struct model_spec *spec, bool sums);

/* Accepts NULL. */
void layer_program_destroy(struct layer_program *program);

/* Where the run that begins at op `first` ends: at the next op that attends or awaits columns of
 * other ranks, where the products of the set `split` (decode_split.h) are split, or sums; at last
 * at the logits. `first` itself is in the run, even if it awaits some. */
int layer_program_cut(const struct layer_program *program, int first, unsigned split);

/* Where a block's buffers lie in a thread's scratch, in bytes of one row: those that are alive
 * together lie apart. The others have no place of their own. */
struct layer_layout {
    size_t offset[LAYER_BUFFERS];
    size_t row_bytes; /* of all */
    bool in_place;    /* left sides are float32: LAYER_ACTIVE lies in LAYER_GATE */
};

/* `left_bytes` of an element of the left side of a product. */
void layer_program_lay_out(struct layer_layout *layout, const struct layer_program *program,
                           size_t left_bytes);
