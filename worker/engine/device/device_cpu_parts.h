/* What the files of the CPU device share: its state, and what stages and steps both compute.
 * For device_cpu.c (memory, stages with sharded queries) and device_cpu_step.c (replicated queries,
 * decode) only. */
#pragma once

#include <stdatomic.h>

#include "kernels/kernels.h"
#include "proto/model/spec.h"
#include "worker/engine/device/arena.h"
#include "worker/engine/device/binding.h"
#include "worker/engine/device/device.h"
#include "worker/engine/device/thread_pool.h"
#include "worker/engine/weights.h"

/* Rows that are turned into logits at a time by Score. */
enum { DEVICE_CPU_LOGIT_ROWS = 96 };

/* Buffers of a step; float32 but `queries`. */
struct device_cpu_step {
    struct device_step given;
    bool ended;                  /* the last layer is added, and normed is the final norm */
    float *hidden;               /* [rows, hidden] */
    float *normed;               /* [rows, hidden] */
    void *queries;               /* [frames, rows, heads * head_dim] operand */
    float *mixed;                /* [rows, heads * head_dim] */
    float *up;                   /* [rows, ffn] */
    float *tables;               /* [frames + 1, rows, head_dim / 2, 2] */
    float *partial_acc;          /* [ranges, rows, heads, head_dim] */
    float *partial_max;          /* [ranges, rows, heads] */
    float *partial_sum;          /* [ranges, rows, heads] */
    struct device_keys *extents; /* [extent_capacity] */
    int extent_capacity;
    int *range_first; /* [ranges + 1]: range r has extents range_first[r] .. range_first[r + 1] */
    int ranges;
};

struct device_cpu {
    struct device device;
    const struct kernels *kernels;
    struct model_spec spec;
    struct spec_rotation rotation; /* of the prepared choice */
    struct weights *weights;
    struct thread_pool *pool;
    struct binding binding;
    atomic_bool skipping;

    struct choice choice;
    struct memory_plan plan;
    struct arena *arenas[MEMORY_REGIONS];
    size_t scratch_bytes; /* of one thread: rows first, then the kernels' own */
    size_t row_bytes;     /* of the rows' part */
    float *hidden;        /* [rows, hidden] */
    char *queries;        /* [frames, rows, heads, head_dim] operand */
    float *acc;           /* [rows, heads, head_dim] */
    float *max;           /* [rows, heads] */
    float *sum;           /* [rows, heads] */
    float *tables;        /* [frames + 1, rows, head_dim / 2, 2]; the last one is the keys' */
    char *scratch;        /* [threads] */
    float *logit_rows;    /* [DEVICE_CPU_LOGIT_ROWS, vocab] */
    float *logit_normed;  /* [DEVICE_CPU_LOGIT_ROWS, hidden] */
    char *sinks;          /* [layers, 2, sink_panels] panel records: unrotated, rotated */

    struct device_stage stage;
    int64_t reach; /* bands_reach of the stage or step */
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
    return cpu->scratch + (size_t)thread * cpu->scratch_bytes + cpu->row_bytes;
}

/* Records of the sinks' keys of `layer`: unrotated, or near: rotated at their index. */
void *device_cpu_sinks(const struct device_cpu *cpu, int layer, bool near);

/* Notes the first of rows x [rows, width] that is not finite; the first row is token `index`. */
static inline void device_cpu_look(struct device_cpu *cpu, const float *x, int64_t rows,
                                   int64_t width, int64_t layer, enum non_finite_part part,
                                   int64_t index)
{
    const int64_t row = cpu->kernels->finite_rows(x, rows, width);
    if (row < rows)
        non_finite_note(&cpu->device.non_finite, non_finite_place(layer, part, index + row));
}

/* Stores one token: `keys` are unrotated on entry and rotated on return. `owned` says that it goes
 * into the cache too. */
struct device_cpu_token {
    float *keys;         /* [kv_heads, head_dim] */
    const float *values; /* [kv_heads, head_dim] */
    const float *table;  /* [head_dim / 2, 2] */
    int64_t index;
    bool owned;
    bool sink;
};
void device_cpu_store(struct device_cpu *cpu, const struct kv_cache *cache, int layer,
                      const struct device_cpu_token *token);

/* cos and sin of `count` tokens from `index` on, for every query frame and for the keys: frame f at
 * tables + f * frame_stride. */
void device_cpu_tables(const struct device_cpu *cpu, const struct bands *bands, float *tables,
                       int64_t frame_stride, int64_t index, int64_t count);
