/* What the files of the CUDA device share: its state, waiting, and what stages and steps both
 * compute. For device_cuda.c (memory, the device itself), device_cuda_stage.c (stages with sharded
 * queries), device_cuda_step.c (replicated queries, decode), device_cuda_ops.c (the ops),
 * device_cuda_rope.c (rotation, and what is stored) and device_cuda_logits.c (what is read of
 * logits) only. */
#pragma once

#include <stdatomic.h>

#include "kernels/kernels_cuda.h"
#include "proto/model/spec.h"
#include "worker/engine/device/cuda_runtime.h"
#include "worker/engine/device/device.h"
#include "worker/engine/device/part_clock.h"
#include "worker/engine/device/weights_cuda.h"
#include "worker/engine/layer_program.h"

enum {
    DEVICE_CUDA_BLOCK_ROWS = 4096, /* most rows of a product */
    DEVICE_CUDA_LOGIT_ROWS = 128,  /* rows that are turned into logits at a time by Score */
    DEVICE_CUDA_AHEAD = 2,         /* layers that may be under way at once */
};

/* What a row of a stage or a step is, on the host (pinned) and on the device alike: filled there,
 * copied here. */
struct device_cuda_lists {
    int32_t *ids;                           /* [rows] */
    int32_t *targets;                       /* [rows] the id after it; -1: not asked for */
    int64_t *indices;                       /* [rows] */
    int64_t *records;                       /* [rows] its panel's slot; -1: it is not kept here */
    struct kernels_cuda_logits_row *scores; /* [rows] */
    struct kernels_cuda_extent *extents;    /* [extent_capacity]; a step's alone */
    int32_t *split_first;                   /* [splits + 1] */
};

/* A decoded token's work between two exchanges, recorded once and done again for each token. */
struct device_cuda_segments {
    struct CUgraphExec_st **graphs; /* [layers + 1]; NULL: not recorded yet */
    int count;                      /* recorded so far */
    int next;                       /* of this token */
    bool used;                      /* by this step */
    /* What was recorded: a token of another method is another's. */
    struct device_method method;
    int64_t sinks_slot;
    bool open;
    bool recording;
};

/* A step; its buffers are device_memory's. */
struct device_cuda_step {
    struct device_step given;
    float *partials; /* [splits] states of few rows */
    int splits;
    float *token_partials; /* [token_splits] states of one row */
    int token_splits;
    int extent_capacity;
    struct device_cuda_lists host;
    struct device_cuda_lists there;
    struct device_cuda_segments segments;
};

struct device_cuda {
    struct device device;
    const struct cuda_streams *streams;
    struct model_spec spec;
    struct layer_program *program;
    struct weights_cuda *weights;
    atomic_bool skipping;
    atomic_bool busy; /* a call is running */
    _Atomic int64_t active_ns;

    struct memory_plan plan;
    void *regions[MEMORY_REGIONS]; /* on the device */
    void *pinned_lists;
    void *pinned_logits;
    struct logits_survey *pinned_survey;
    float *hidden;                          /* [rows, hidden] */
    char *queries;                          /* [frames, rows, heads, head_dim] operand */
    float *acc;                             /* [rows, heads, head_dim] */
    float *max;                             /* [rows, heads] */
    float *sum;                             /* [rows, heads] */
    float *tables;                          /* [frames + 1, rows, head_dim / 2, 2] */
    struct layer_layout layout;             /* of a block's buffers */
    char *block;                            /* [DEVICE_CUDA_BLOCK_ROWS] of them */
    void *expanded;                         /* [expanded_elements] operand: a matrix, or a part */
    void *workspace;                        /* of products */
    struct logits_survey *survey;           /* of the logits at hand */
    struct kernels_cuda_surveyed *surveyed; /* [kernels_cuda_survey_blocks(vocab)] */
    float *logits;       /* [DEVICE_CUDA_LOGIT_ROWS, vocab]; the first row is the one at hand */
    float *logit_normed; /* [DEVICE_CUDA_LOGIT_ROWS, hidden]; or operand */
    struct device_cuda_lists host, there; /* of the stage */
    struct CUevent_st *lists_read;        /* the pinned lists may be written */
    struct CUevent_st *reached;           /* what the host waits for */
    struct CUevent_st *layers_done[DEVICE_CUDA_AHEAD];
    struct part_clock clock;
    enum device_part logits_part; /* whose the logits at hand are */

    bool in_step; /* what was begun last is a step */
    struct device_stage stage;
    struct attention_span *spans; /* [span_count]: the stage's queries that have rows */
    int *span_queries;            /* [span_count]: which of the schedule's queries each one is */
    int span_count;
    int span_capacity;
    bool fresh; /* no keys attended to in this layer yet */
    struct device_cuda_step step;
};

#define DEVICE_CUDA_OPERAND DTYPE_BF16
#define DEVICE_CUDA_OPERAND_BYTES 2

static inline struct device_cuda *device_cuda_of(struct device *device)
{
    return (struct device_cuda *)(void *)device;
}

/* Widths of a row, in elements. */
static inline int64_t device_cuda_query_width(const struct device_cuda *cuda)
{
    return (int64_t)cuda->spec.heads * cuda->spec.head_dim;
}

static inline int64_t device_cuda_key_width(const struct device_cuda *cuda)
{
    return (int64_t)cuda->spec.kv_heads * cuda->spec.head_dim;
}

/* Elements of `expanded`. */
int64_t device_cuda_expanded_elements(const struct device_cuda *cuda);

/* Puts a kernel on the compute stream. */
#define LAUNCH(cuda, kernel, args)                                                                 \
    TRY((cuda)->streams->runtime->launched(                                                        \
        (cuda)->streams->kernels->kernel((args), (cuda)->streams->compute), #kernel))

/* Waits until `event` is reached, calling `drive` (may be NULL) meanwhile. */
MUST_CHECK enum status device_cuda_wait(struct device_cuda *cuda, struct CUevent_st *event,
                                        const struct device_drive *drive);

/* Waits until all that was put on the compute stream so far is done. */
MUST_CHECK enum status device_cuda_settle(struct device_cuda *cuda,
                                          const struct device_drive *drive);

/* What is put on the compute stream from now on is this part's, where parts are timed. */
MUST_CHECK enum status device_cuda_part(struct device_cuda *cuda, enum device_part part);

/* The parts end; where they are timed, waits and counts them. */
MUST_CHECK enum status device_cuda_end_parts(struct device_cuda *cuda,
                                             const struct device_drive *drive);

/* Copies `bytes` on the compute stream. */
MUST_CHECK enum status device_cuda_copy(struct device_cuda *cuda, void *to, const void *from,
                                        size_t bytes);

/* y (+)= x W^T for operand rows, the matrix expanded on the way where it is quantised. */
MUST_CHECK enum status device_cuda_multiply(struct device_cuda *cuda, float *y, int64_t y_stride,
                                            const void *x, const struct kernels_cuda_matrix *matrix,
                                            int64_t rows, bool accumulate);

/* The tables of `rows` tokens: every query frame's, and the keys' last. */
MUST_CHECK enum status device_cuda_tables(struct device_cuda *cuda,
                                          const struct device_method *method, float *tables,
                                          const int64_t *indices, int64_t rows);

/* Rows that attend together. */
struct device_cuda_spans {
    const struct attention_span *spans; /* [count] */
    const int *queries;                 /* [count] which query of the schedule each is part of */
    int count;
};

/* What they attend to, and what each head sees of it. */
struct device_cuda_seen {
    const struct sight *sight;
    int layer;
    const struct device_keys *keys; /* [count] */
    int count;
};

/* By the prefill kernel: `args` lacks its regimes, heads, extents and spans. */
MUST_CHECK enum status device_cuda_attend(struct device_cuda *cuda,
                                          const struct kernels_cuda_prefill *args,
                                          const struct device_cuda_spans *spans,
                                          const struct device_cuda_seen *seen);
