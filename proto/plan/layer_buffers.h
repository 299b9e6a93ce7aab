/* What a layer computes with, row by row: the table from which the memory plan and both devices'
 * memory are derived.
 *
 * A row is one token's activations in a stage or a step. A stage with sharded queries keeps the
 * buffers marked `kept` for all its rows, because attention lies between what writes and what reads
 * them; the others live in the scratch of the block at hand. A step has all of them for all its
 * rows.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kernels/bands.h"
#include "proto/plan/decode_split.h"
#include "proto/plan/model_shape.h"

enum layer_buffer {
    LAYER_NOTHING,
    LAYER_HIDDEN,  /* the residual stream */
    LAYER_NORMED,  /* what a norm leaves */
    LAYER_DELTA,   /* what is added to the residual stream; a stage adds it at once, into HIDDEN */
    LAYER_QKV,     /* q, k and v: [heads, head_dim], twice [kv_heads, head_dim] */
    LAYER_QUERIES, /* rotated q, of every query frame */
    LAYER_STATE,   /* acc [heads, head_dim], max [heads], sum [heads]; of every rank in a step */
    LAYER_MIXED,   /* finished heads: [heads, head_dim] */
    LAYER_GATE,
    LAYER_UP,
    LAYER_ACTIVE, /* the activation's output; GATE itself where left sides are float32 */
    LAYER_TABLES, /* cos and sin [head_dim / 2, 2], of every query frame, then of every key frame */
    LAYER_OTHER_TABLES, /* the same of layers that rotate otherwise */
    LAYER_LOGITS,       /* of the rows that are asked for: they have a region of their own */
    LAYER_BUFFERS
};

enum layer_dtype {
    LAYER_F32,
    LAYER_LEFT,    /* left sides of products: float32, but operand in stages on a GPU */
    LAYER_OPERAND, /* of rotated queries; float32 has its room in a step */
};

struct layer_buffer_row {
    int64_t width; /* elements of one row of one copy */
    enum layer_dtype dtype;
    bool kept;        /* for all rows of a stage; of logits: elsewhere */
    unsigned awaited; /* set of decode_split: a layer awaits its columns of other ranks once for
                       * each of them that is split */
};

/* The table of a model: [LAYER_BUFFERS], by layer_buffer. */
void layer_buffers_make(struct layer_buffer_row *table, const struct model_shape *shape);

/* The most frames that any method has: what memory is made for. */
struct bands layer_buffers_widest(void);

/* How many there are: `states` is 1, or in a step the workers. */
int64_t layer_buffers_copies(enum layer_buffer buffer, const struct bands *bands, int states);

/* float32 elements of all copies of one row in a step; 0 where another buffer serves. */
int64_t layer_buffers_step_width(const struct layer_buffer_row *table, enum layer_buffer buffer,
                                 const struct bands *bands, int workers);
