/* The seam between the engine and what computes: the CPU, or a CUDA device.
 *
 * A device holds one rank's weights, cache and activations and does the arithmetic of whole layers
 * on them; it knows the shapes, the kernels and the memory, and nothing of peers. forward.c says in
 * which order.
 *
 * Contract:
 * - device_prepare makes memory for a group's choice, once; its bytes are those of the memory plan,
 *   region by region.
 * - What is computed is the program's: device_run computes the ops [first, end) for all rows of the
 *   stage or step that was begun last. forward.c cuts the program into runs, and says what happens
 *   between them; LAYER_ATTEND is in none.
 * - Stages with sharded queries: device_begin, then for each layer a run up to its attention and
 *   device_attend (in the schedule's order), then a run up to the program's head, then device_score
 *   or device_logits. A run that stores keys marks each block of the shard done as soon as its keys
 *   and values are in the cache.
 * - Stages with replicated queries and decode: device_step_begin, then runs, device_attend where
 *   they are cut for attention, a run up to the program's logits, then device_logits. Where the
 *   step splits its product, an op whose place is columns computes this rank's span of its output
 *   (device_outputs); whoever calls fills in the other ranks' before the op that awaits them.
 * - Logits are at hand of the rows of the last device_logits, until device_score: one, or on the
 *   host several. They stay with the device until somebody asks: device_read_logits for all of the
 *   first, device_logprob and device_survey, which need all its outputs, for a few numbers.
 * - `drive` is called between work items, on the calling thread, and drives the exchange.
 *   device_skip, from any thread, lets the running call return early with its arithmetic undone;
 *   blocks count as done.
 * - Calls come from one thread. Memory that peers read or write through `memory` is not touched but
 *   as said.
 * - Where on_host is false, `memory` but for `logits` lies on the device: only a transport that
 *   shares its streams may be given it. Calls return with work still to come, in order; what a
 *   transport is given then, it takes when the work before it is done. Calls that leave numbers on
 *   the host wait.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/bands.h"
#include "kernels/logits_survey.h"
#include "kernels/matmul.h"
#include "proto/clock.h"
#include "proto/plan/choice.h"
#include "proto/plan/layer_buffers.h"
#include "proto/plan/memory_plan.h"
#include "proto/status.h"
#include "worker/engine/cache/panel_table.h"
#include "worker/engine/device/device_method.h"
#include "worker/engine/device/device_part.h"
#include "worker/engine/device/trace.h"
#include "worker/engine/non_finite.h"
#include "worker/engine/shard.h"

struct device;
struct layer_program;

struct device_drive {
    void (*call)(void *context);
    void *context;
};

/* Keys to attend to: panels with all KV heads, in a row. */
struct device_keys {
    const void *records;
    int64_t first; /* index of the first panel's first key: a multiple of the panel */
    int64_t end;   /* keys at and beyond it are not there */
    enum bands_store store;
    int panel_records; /* of each panel: K in the frames that it is kept in, and V */
    /* The query spans of the stage's schedules that it applies to; a step is one span. */
    int query_first, query_end;
};

/* What a device knows of a sequence. */
struct device_sequence {
    const struct device_method *method;
    const struct panel_table *panels;
    const int32_t *ids;       /* of the whole sequence, by index */
    const int64_t *positions; /* [positioned] of its first tokens; NULL: their indices */
    int64_t positioned;
    int64_t sinks;                /* keys of indices below it are also kept as sinks; 0: none are */
    _Atomic uint64_t *non_finite; /* the first place at which the sequence's numbers are not finite,
                                   * as far as the device looks: calls lower it */
};

/* A stage with sharded queries. All is borrowed until its last call. */
struct device_stage {
    struct shard_rows *shard;
    /* [count] the shard's members: 1, or up to the device's stage_sequences, whose rows are
     * block_rows at most, and whose last rows' logits are asked for. */
    const struct device_sequence *sequences;
    int count;
};

/* Consecutive tokens of one sequence in a step: [first, first + rows). */
struct device_tokens {
    int64_t first;
    int64_t rows;
    struct device_sequence sequence;
    const struct ownership *ownership;
    int key_first, key_end; /* of the step's keys, those that they attend to */
};

/* A stage with replicated queries, or decoded tokens, one of a sequence. All is borrowed until the
 * last call. */
struct device_step {
    int64_t rows;                       /* of all tokens; <= the group's step_rows */
    const struct device_tokens *tokens; /* [count], row by row */
    int count;                          /* 1, or up to the device's step_sequences */
    int rank;
    int ranks; /* [0, ranks) have states of the rows: all, or 1 where rank 0 computes alone */
    const struct device_keys *keys; /* [key_count] that it attends to, as they lie in layer 0 */
    int key_count;
    int logit_places, logit_place; /* of its logits, which of so many shares it computes */
    bool token;     /* decoded ones: every layer and its logits are asked for, whatever it says */
    unsigned split; /* the products that ranks share out, not computed by each: decode_split.h */
};

/* What peers and the engine reach into. Sizes: memory_plan.h. */
struct device_memory {
    void *cache; /* [layers, pool_slots] records */
    void *slots; /* [receive_slots] blocks */
    /* A step's buffers (layer_buffers.h), float32 but for queries: [rows, width], and [workers] of
     * states. LAYER_ACTIVE is LAYER_GATE; LAYER_LOGITS is not here. */
    float *step[LAYER_BUFFERS];
    /* Of a stage on a tensor axis: what its rows add to the residual stream, as partial sums until
     * the caller has summed them; and room for others'. NULL elsewhere. */
    float *sums;        /* [rows, hidden] */
    float *sum_scratch; /* [tensor_sums_scratch] */
    float *logits;      /* [rows at hand, vocab], the host's; device_read_logits fills it */
};

struct device_ops {
    void (*destroy)(struct device *device);
    enum status (*prepare)(struct device *device, const struct group_choice *group,
                           const struct memory_plan *plan);
    enum status (*begin)(struct device *device, const struct device_stage *stage);
    enum status (*run)(struct device *device, int first, int end, const struct device_drive *drive);
    enum status (*attend)(struct device *device, int layer, const struct device_keys *keys,
                          int count, const struct device_drive *drive);
    enum status (*score)(struct device *device, float *logprobs, int64_t tokens,
                         const struct device_drive *drive);
    enum status (*logits)(struct device *device, int64_t row, int64_t count);
    enum status (*read_logits)(struct device *device, struct span outputs);
    enum status (*logprob)(struct device *device, float *logprob, int32_t id);
    enum status (*survey)(struct device *device, struct logits_survey *survey, double temperature);
    enum status (*step_begin)(struct device *device, const struct device_step *step);
    enum status (*move)(struct device *device, void *to, const void *from, size_t bytes);
    enum status (*clear)(struct device *device, void *memory, size_t bytes);
    enum status (*take_out)(struct device *device, void *rows, const void *panel, int records);
    enum status (*put_in)(struct device *device, void *panel, const void *rows, int records);
    void (*skip)(struct device *device);
    int64_t (*last_active_ns)(const struct device *device);
};

/* What each implementation puts at its start; read-only for others. */
struct device {
    const struct device_ops *ops;
    const char *name; /* "cpu", "cuda" */
    bool on_host;     /* memory is the host's */
    char facts[448];  /* one line for start-up and doctor */
    const struct model_spec *spec;
    struct model_shape shape;
    const struct layer_program *program;
    struct memory_request needs; /* what memory_plan_make must be told */
    enum choice_cache cache;     /* type of the cached keys and values */
    const char *kernels;         /* the variant's name */
    size_t record_bytes;         /* K or V of a panel's tokens, all KV heads */
    struct group_choice group;   /* as prepared */
    int threads;                 /* that share the blocks and tiles of a call */
    int64_t blocks;              /* of a stage, about, even out its work */
    int64_t block_rows;          /* most rows of a block, and best where there is work enough */
    int64_t block_step;          /* a block's rows are a multiple: products of fewer are slow */
    int64_t tile_tokens;         /* of a tile */
    int step_sequences;          /* whose tokens may go in one step */
    int stage_sequences;         /* whose prompts may go in one stage, on one rank */
    int attend_most;             /* extents of keys of one device_attend where some were received */
    int64_t memory_bytes;        /* that a plan may take; 0: the host's rules */
    struct device_memory memory;
    /* Called while a call waits that has no drive of its own; may be NULL. */
    struct device_drive waiting;
    /* Set between requests: tell part_seconds where parts run asynchronously too. Then each stage
     * and step ends with a wait, and a token's calls are not recorded. */
    bool times_parts;
    struct trace *trace;    /* of the turn at hand; NULL: nobody asked. Borrowed */
    double compute_seconds; /* spent in calls, waiting for peers excluded */
    /* Of it. Where parts run asynchronously: of the device's own time, and 0 unless times_parts. */
    double part_seconds[DEVICE_PARTS];
};

/* The record in a slot. */
static inline void *device_record(const struct device *device, int layer, int64_t slot)
{
    return (char *)device->memory.cache +
           (size_t)(layer * device->group.pool_slots + slot) * device->record_bytes;
}

/* Rows of a block where a rank has `rows` of a stage. One that has no step for every thread is as
 * few blocks as can be: threads share out their columns. */
static inline int64_t device_block_rows(const struct device *device, int64_t rows)
{
    const int64_t step = device->block_step;
    const bool is_short = rows < device->threads * step;
    int64_t even = ((is_short ? rows : rows / device->blocks) + step - 1) / step * step;
    if (even > device->block_rows)
        even = device->block_rows;
    return even < step ? step : even;
}

/* The span of `width` outputs that a rank computes of a product that is split. */
static inline struct span device_outputs(int64_t width, int workers, int rank)
{
    return partition_rows(width, MATMUL_SPLIT, workers, rank);
}

/* Counts the time since start_ns for a part. */
static inline void device_spent(struct device *device, enum device_part part, int64_t start_ns)
{
    double seconds = clock_seconds_since(start_ns);
    device->compute_seconds += seconds;
    device->part_seconds[part] += seconds;
}

static inline void device_destroy(struct device *device)
{
    if (device)
        device->ops->destroy(device);
}

/* RESOURCE_EXHAUSTED where the memory is not to be had. */
static inline MUST_CHECK enum status device_prepare(struct device *device,
                                                    const struct group_choice *group,
                                                    const struct memory_plan *plan)
{
    return device->ops->prepare(device, group, plan);
}

static inline MUST_CHECK enum status device_begin(struct device *device,
                                                  const struct device_stage *stage)
{
    return device->ops->begin(device, stage);
}

/* Ops [first, end) of the program; see the contract. `drive` may be NULL in a step. */
static inline MUST_CHECK enum status device_run(struct device *device, int first, int end,
                                                const struct device_drive *drive)
{
    return device->ops->run(device, first, end, drive);
}

/* Attends every row of the stage or step to `count` extents of keys, in order. A step's are all of
 * a layer's; this rank's state is left at its place among those of all ranks. `drive` may be NULL
 * in a step. */
static inline MUST_CHECK enum status device_attend(struct device *device, int layer,
                                                   const struct device_keys *keys, int count,
                                                   const struct device_drive *drive)
{
    const int64_t begin_ns = trace_now(device->trace);
    const enum status status = device->ops->attend(device, layer, keys, count, drive);
    trace_span(device->trace, TRACE_ATTEND, layer, begin_ns, count);
    return status;
}

/* logprobs [rows of the shard]: natural-log probability of token index + 1 after the row's own, 0
 * where index + 1 == tokens and on recomputed rows. After the last run. */
static inline MUST_CHECK enum status device_score(struct device *device, float *logprobs,
                                                  int64_t tokens, const struct device_drive *drive)
{
    return device->ops->score(device, logprobs, tokens, drive);
}

/* Makes the logits of one row of the shard, after the last run; or of `count` rows from `row` on of
 * the step (1 where step_sequences is), of this rank's span where they are split. Of a stage of
 * several sequences a row stands for the sequence, and its last row. */
static inline MUST_CHECK enum status device_logits(struct device *device, int64_t row,
                                                   int64_t count)
{
    return device->ops->logits(device, row, count);
}

/* Those `outputs` of the logits at hand into memory.logits. */
static inline MUST_CHECK enum status device_read_logits(struct device *device, struct span outputs)
{
    return device->ops->read_logits(device, outputs);
}

/* Natural-log probability of `id` under the logits at hand. */
static inline MUST_CHECK enum status device_logprob(struct device *device, float *logprob,
                                                    int32_t id)
{
    return device->ops->logprob(device, logprob, id);
}

/* What a choice needs of the logits at hand (logits_survey.h), at a temperature above 0. A device
 * whose logits are the host's anyway leaves count 0 instead: they cost nothing to read. */
static inline MUST_CHECK enum status device_survey(struct device *device,
                                                   struct logits_survey *survey, double temperature)
{
    return device->ops->survey(device, survey, temperature);
}

static inline MUST_CHECK enum status device_step_begin(struct device *device,
                                                       const struct device_step *step)
{
    return device->ops->step_begin(device, step);
}

/* Within memory.cache. */
static inline MUST_CHECK enum status device_move(struct device *device, void *to, const void *from,
                                                 size_t bytes)
{
    return device->ops->move(device, to, from, bytes);
}

static inline MUST_CHECK enum status device_clear(struct device *device, void *memory, size_t bytes)
{
    return device->ops->clear(device, memory, bytes);
}

/* The records of a panel in memory.cache, K and V last, as plain rows in the host's memory:
 * [records] as kernels/attention_rows.h says, alike on every device. Done when they return. Between
 * turns: logits are at hand no more. */
static inline MUST_CHECK enum status device_take_out(struct device *device, void *rows,
                                                     const void *panel, int records)
{
    return device->ops->take_out(device, rows, panel, records);
}

static inline MUST_CHECK enum status device_put_in(struct device *device, void *panel,
                                                   const void *rows, int records)
{
    return device->ops->put_in(device, panel, rows, records);
}

static inline void device_skip(struct device *device)
{
    device->ops->skip(device);
}

/* Monotonic ns at which a work item was last finished, the present when idle; from any thread. */
static inline int64_t device_last_active_ns(const struct device *device)
{
    return device->ops->last_active_ns(device);
}
