/* What the files of the CPU device share: its state, and the rows that its ops work on. For
 * device_cpu.c (memory, the device itself), device_cpu_stage.c (stages with sharded queries),
 * device_cpu_step.c (replicated queries, decode), device_cpu_ops.c (the ops), device_cpu_rope.c
 * (rotation, and what is stored) and device_cpu_share.c (how threads share out both) only. */
#pragma once

#include <stdatomic.h>

#include "kernels/kernels.h"
#include "proto/model/spec.h"
#include "worker/engine/device/arena.h"
#include "worker/engine/device/binding.h"
#include "worker/engine/device/device.h"
#include "worker/engine/device/thread_pool.h"
#include "worker/engine/layer_program.h"
#include "worker/engine/weights.h"

/* Rows that are turned into logits at a time by Score; a step's are all at hand. */
enum { DEVICE_CPU_LOGIT_ROWS = 96 };
_Static_assert(CHOICE_SEQUENCES_MAX + MEMORY_DRAFT_ROWS <= DEVICE_CPU_LOGIT_ROWS, "a step's rows");

struct device_cpu;

/* Rows that ops are computed for: a block of a stage, or a step's. */
struct device_cpu_rows {
    struct device_cpu *cpu;
    int64_t rows;
    int64_t row;   /* the first one, of those of the stage or step */
    int64_t index; /* of the first one; they are consecutive */
    const struct device_sequence *sequence;
    bool recomputed;                   /* another rank owns them */
    const struct ownership *ownership; /* says who owns each; NULL: `recomputed` says it of all */
    int rank;

    float *at[LAYER_BUFFERS]; /* [rows, width]; of queries, operand; of the state, acc */
    float *sum;               /* [rows, heads], the state's */
    int64_t frame_rows;       /* from one frame of queries and tables to the next */
    void (*multiply)(const struct matmul_args *args);
    void (*merge)(const struct device_cpu_rows *rows); /* leaves the state; NULL: it is there */
    bool adds_at_once; /* LAYER_DELTA is LAYER_HIDDEN: products accumulate there */
};

/* An aligned range of keys, and the tokens that see it. */
struct device_cpu_range {
    const struct device_tokens *tokens;
    int64_t row;   /* the first of them in the step */
    int64_t state; /* their partial states: of the first row's first head */
    int extent_first, extent_end;
};

/* A step; its buffers are device_memory's. */
struct device_cpu_step {
    struct device_step given;
    struct device_cpu_rows parts[CHOICE_SEQUENCES_MAX]; /* each of one sequence */
    float *partial_acc;          /* [range's rows, heads, head_dim], range by range */
    float *partial_max;          /* [range's rows, heads] */
    float *partial_sum;          /* [range's rows, heads] */
    struct device_keys *extents; /* [extent_capacity] */
    int extent_capacity;
    struct device_cpu_range *ranges; /* [range_count], in the sequence of tokens */
    int range_count, range_capacity;
    int range_ends[CHOICE_SEQUENCES_MAX]; /* of each sequence's */
    bool by_head;                         /* a work item is a range and a KV head, not a range */
};

struct device_cpu {
    struct device device;
    const struct kernels *kernels;
    struct tensor_slice slice; /* what it has of the model */
    struct model_spec spec;    /* of the slice */
    struct layer_program *program;
    struct weights *weights;
    struct thread_pool *pool;
    struct binding binding;
    atomic_bool skipping;

    struct memory_plan plan;
    struct arena *arenas[MEMORY_REGIONS];
    struct layer_layout layout; /* of a block's buffers */
    size_t scratch_bytes;       /* of one thread: a block's buffers first, then the kernels' own */
    size_t block_bytes;         /* of the block's part */
    float *hidden;              /* [rows, hidden] */
    char *queries;              /* [frames, rows, heads, head_dim] operand */
    float *acc;                 /* [rows, heads, head_dim] */
    float *max;                 /* [rows, heads] */
    float *sum;                 /* [rows, heads] */
    float *tables;              /* [frames + 1, rows, head_dim / 2, 2]; the last one is the keys' */
    float *other_tables;        /* the same of layers that rotate otherwise */
    char *scratch;              /* [threads] */
    float *logit_rows;          /* [DEVICE_CPU_LOGIT_ROWS, vocab] */
    float *logit_normed;        /* [DEVICE_CPU_LOGIT_ROWS, hidden] */

    bool in_step; /* what was begun last is a step */
    struct device_stage stage;
    struct device_cpu_rows stage_parts[CHOICE_SEQUENCES_MAX]; /* of blocks that go together */
    struct device_cpu_step step;
};

static inline struct device_cpu *device_cpu_of(struct device *device)
{
    return (struct device_cpu *)(void *)device;
}

/* Widths of a row, in elements. */
static inline int64_t device_cpu_query_width(const struct device_cpu *cpu)
{
    return (int64_t)cpu->spec.heads * cpu->spec.head_dim;
}

static inline int64_t device_cpu_key_width(const struct device_cpu *cpu)
{
    return (int64_t)cpu->spec.kv_heads * cpu->spec.head_dim;
}

static inline size_t device_cpu_operand_bytes(const struct device_cpu *cpu)
{
    return cpu->kernels->operand == DTYPE_F32 ? 4 : 2;
}

/* The kernels' scratch of a thread. */
static inline void *device_cpu_kernel_scratch(const struct device_cpu *cpu, int thread)
{
    return cpu->scratch + (size_t)thread * cpu->scratch_bytes + cpu->block_bytes;
}

/* q of LAYER_QKV in every query frame, as the layer rotates. */
void device_cpu_rotate(const struct device_cpu_rows *rows, int layer);

/* Rotates k of LAYER_QKV in place; k and v go to the cache where this rank owns the row, and among
 * the sinks. */
void device_cpu_store(const struct device_cpu_rows *rows, int layer);

/* cos and sin of `count` tokens of a sequence from `index` on, for every query frame and for the
 * keys: frame f at tables + f * frame_stride. */
void device_cpu_tables(const struct device_cpu *cpu, const struct device_sequence *sequence,
                       const struct spec_rotation *rotation, float *tables, int64_t frame_stride,
                       int64_t index, int64_t count);
