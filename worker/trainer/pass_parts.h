/* The inside of a pass, for its own files: pass.c (memory, and the way through the layers),
 * pass_ops.c (ops on rows), pass_exchange.c (what ranks exchange), pass_attention.c, pass_head.c
 * (the loss). */
#pragma once

#include "kernels/attention_spans.h"
#include "proto/plan/key_exchange.h"
#include "proto/plan/sight.h"
#include "worker/trainer/pass.h"
#include "worker/trainer/products.h"
#include "worker/trainer/tape.h"

enum {
    PASS_PANEL = ATTENTION_SPANS_TOKENS, /* of ownership: tiles of keys are the same on any ranks */
    PASS_BLOCK_ROWS = 64,                /* of an item of an op on rows */
    PASS_HEAD_ROWS = 256,                /* of a block of logits */
    PASS_PARTS = 4, /* of queries and of keys, which meet in turn on the way back */
};

/* Consecutive tokens whose keys this rank has. */
struct pass_piece {
    struct span keys;
    int owner;
    int64_t place; /* of its first key among all that the rank has */
    int64_t row;   /* of its first token, where the rank owns it; else -1 */
};

struct pass;

/* What computes a pass: the threads of a rank, or its GPU. All pointers to activations, weights and
 * gradients are to the device's memory, and what a call computes may still be under way when it
 * returns; the next one goes on from it. `head` waits for its loss. */
struct pass_device {
    /* Takes the memory. */
    enum status (*open)(struct pass *pass);
    void (*close)(struct pass *pass); /* also what was opened in part */
    /* What follows from the positions and ids of the sample at hand. */
    enum status (*deal)(struct pass *pass);
    enum status (*embed)(struct pass *pass);
    enum status (*embed_back)(struct pass *pass, float *gradients);
    enum status (*op)(struct pass *pass, int op, int layer);
    enum status (*op_back)(struct pass *pass, int op, int layer, float *gradients);
    enum status (*attend)(struct pass *pass, int op, int layer);
    enum status (*attend_back)(struct pass *pass, int op, int layer);
    /* `normed`, of the last layer's output. */
    enum status (*norm)(struct pass *pass);
    /* The loss of all rows, and the way back to the last layer. */
    enum status (*head)(struct pass *pass, float *gradients, float scale, double *loss);
    enum status (*add)(struct pass *pass, float *sum, const float *x, int64_t count);
};

/* Memory, once to add up and once to hand out. */
struct pass_taker {
    char *memory; /* NULL: only adds up */
    size_t bytes;
};

struct pass {
    struct pass_options options;
    const struct pass_device *device;
    struct pass_cuda *cuda; /* what a GPU has beside; else NULL */
    struct layer_program *program;
    struct tape tape;
    struct sight sight;
    struct spec_rotation rotation;
    float scale_log2;
    size_t bytes;
    void *memory; /* of the device */

    /* Of the sample at hand. */
    struct ownership *ownership;
    struct key_exchange exchange;
    struct sample sample;
    int64_t rows, keys;
    int piece_count, piece_capacity;
    struct pass_piece *pieces; /* by index */
    const float *weights;

    int64_t rows_most, keys_most;
    int64_t returned_most; /* keys of all messages that this rank sends */
    /* Memory; [rows] and [keys] stand for the most. Of the host: */
    int64_t *index;   /* [rows] */
    int32_t *targets; /* [rows] */
    /* Of the device: */
    float
        *inputs; /* [layers + 1][rows, hidden]: what enters each layer, and the last one's output */
    float *values;                      /* [layers or 1][rows, tape.width] */
    float *logsumexp;                   /* [layers or 1][rows, heads] */
    float *normed;                      /* [rows, hidden]: of the head */
    float *gradients[LAYER_BUFFERS];    /* [rows, width] of those in tape.gradients */
    float *normed_gradient;             /* [rows, hidden]: of the head */
    float *partial;                     /* [blocks of rows, widest norm] */
    float *logits;                      /* [PASS_HEAD_ROWS, vocab] */
    double *losses;                     /* [PASS_HEAD_ROWS] */
    float *query_tables;                /* [query frames][rows, head_dim] */
    float *key_tables;                  /* [key frames][keys, head_dim] */
    float *queries, *query_gradients;   /* [query frames][rows, heads, head_dim] */
    float *rotated, *rotated_gradients; /* [key frames][keys, kv_heads, head_dim] */
    float *pairs, *pair_gradients;      /* [keys][K, V][kv_heads, head_dim] */
    float *returned;                    /* [returned keys][K, V][kv_heads, head_dim] */
    float *sums, *dots;                 /* [rows, heads] */
    char *product_scratch;
    char *tile_scratch; /* [threads] */
    size_t tile_scratch_bytes;
    struct transport_request **requests; /* [messages] */
    int requests_capacity;
};

/* Rows of an op, in blocks of PASS_BLOCK_ROWS, on all threads. */
void pass_for_blocks(const struct pass *pass, int64_t rows, thread_pool_work *work, void *context);

static inline float *pass_weight(const struct pass *pass, float *flat, enum model_role role,
                                 int layer)
{
    return flat + parameters_find(pass->options.parameters, role, layer)->offset;
}

static inline const float *pass_weight_of(const struct pass *pass, enum model_role role, int layer)
{
    return pass->weights + parameters_find(pass->options.parameters, role, layer)->offset;
}

/* Where a value of a layer lies: [rows, width]. */
float *pass_value(const struct pass *pass, int layer, int value);

/* ---- pass.c ---- */

void *pass_take(struct pass_taker *taker, int64_t elements, size_t element_bytes);

/* What every device has: activations, their gradients, tables of positions, keys that travel. */
void pass_take_activations(struct pass *pass, struct pass_taker *taker);

/* Names pass->targets: -1 for a row whose next token the loss does not count. */
void pass_find_targets(struct pass *pass);

/* Whether the loss counts any of these rows' next tokens. */
bool pass_any_counts(const struct pass *pass, int64_t row, int64_t count);

/* ---- the devices ---- */

extern const struct pass_device pass_cpu_device;
extern const struct pass_device pass_cuda_device;

/* ---- pass_ops.c ---- */

void pass_embed(struct pass *pass);
void pass_embed_back(struct pass *pass, float *gradients);
void pass_op(struct pass *pass, int op, int layer);
void pass_op_back(struct pass *pass, int op, int layer, float *gradients);

/* On all threads, with the pass's operands; the args' own operand and scratch are not used. */
void pass_multiply(const struct pass *pass, struct product_args args);

/* y = rmsnorm(x) of all rows; and dx (+)=, dweight +=. */
void pass_norm(struct pass *pass, float *y, const float *x, const float *weight);
void pass_norm_back(struct pass *pass, float *dx, float *dweight, const float *dy, const float *x,
                    const float *weight, bool accumulate);

/* ---- pass_exchange.c ---- */

/* Who has what of the sample at hand. */
MUST_CHECK enum status pass_deal(struct pass *pass);

/* The tables of its positions, on the CPU. */
void pass_fill_tables(struct pass *pass);

/* Floats of a key's K and V, of all KV heads. */
static inline int64_t pass_pair_width(const struct pass *pass)
{
    return 2 * (int64_t)pass->options.spec->kv_heads * pass->options.spec->head_dim;
}

/* Own keys and values to the ranks that see them, theirs to here: in `pairs`. */
MUST_CHECK enum status pass_exchange_pairs(struct pass *pass);

/* The same messages the other way, of `pair_gradients`; what comes is added in the order of the
 * ranks that it comes from. */
MUST_CHECK enum status pass_return_gradients(struct pass *pass);

/* ---- pass_attention.c ---- */

MUST_CHECK enum status pass_attend(struct pass *pass, int op, int layer);
MUST_CHECK enum status pass_attend_back(struct pass *pass, int op, int layer);

/* ---- pass_head.c ---- */

/* The loss of all rows, and the way back to the last layer. */
double pass_head(struct pass *pass, float *gradients, float scale);
