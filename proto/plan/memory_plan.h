/* What a rank allocates, region by region: exact bytes, known before any work starts. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/plan/choice.h"
#include "proto/plan/model_shape.h"
#include "proto/status.h"

/* Shapes; `operand` is 2 bytes with a bf16 cache, otherwise 4. Rows are a stage's, frames as many
 * as a method may have. */
enum memory_region {
    MEMORY_WEIGHTS,        /* as given */
    MEMORY_CACHE,          /* [layers, pool_slots, kv_heads, panel, head_dim] cache dtype */
    MEMORY_RECEIVE_SLOTS,  /* [receive_slots] blocks of panels of the most records */
    MEMORY_HIDDEN,         /* [rows, hidden] f32 */
    MEMORY_QUERIES,        /* [query frames, rows, heads, head_dim] operand */
    MEMORY_STATE,          /* [rows, heads, head_dim + 2] f32 */
    MEMORY_ROPE_TABLES,    /* [query frames and key frames, rows, head_dim / 2, 2] f32 */
    MEMORY_THREAD_SCRATCH, /* threads * the caller's bytes */
    /* With a tensor axis: [rows, hidden] f32 of partial sums, and tensor_sums_scratch(). */
    MEMORY_SUMS,
    MEMORY_LOGITS, /* [logit_rows, vocab + hidden] f32 */
    /* A step's buffers (layer_buffers.h), with its state on every rank, and the partial states of
     * its key ranges, f32; every piece rounded up to 64 bytes. */
    MEMORY_DECODE,
    MEMORY_LISTS,    /* the caller's lists of rows and of panels */
    MEMORY_IDS,      /* [sequences, context] 4 bytes */
    MEMORY_SCORES,   /* [rows], and on rank 0 [context], f32 */
    MEMORY_SAMPLERS, /* rank 0: [sequences] of [vocab] 8, 1, 4 and 4 bytes, and what is fixed */
    MEMORY_DRAFTS,   /* rank 0: [sequences] of 4 bytes, [context] and more, and what is fixed */
    MEMORY_REGIONS,
};

/* A key range is of so many tokens at least, times the workers: in decode, and where stages of many
 * rows may see it, each of which has a partial state for every range. */
enum { MEMORY_RANGE_TOKENS = 128, MEMORY_STAGE_RANGE_TOKENS = 1024 };

/* Most tokens that are drafted for a step, all of its sequences together: rows of a step beside one
 * of each sequence. */
enum { MEMORY_DRAFT_ROWS = 15 };

/* Bytes of one sequence's sampler. */
int64_t memory_sampler_bytes(const struct model_shape *shape);

/* Bytes of the index that one sequence's drafts are found in. */
int64_t memory_draft_bytes(int64_t context_tokens);

/* What only the engine knows. */
struct memory_request {
    int threads;
    int64_t scratch_bytes;    /* of one thread */
    int64_t logit_rows;       /* rows whose logits are held at a time */
    int64_t list_row_bytes;   /* of lists, for each row of a stage or a step */
    int64_t list_panel_bytes; /* of lists, for each panel of keys and each range of decode */
};

/* What one request needs at most of one rank. */
struct memory_need {
    int64_t stage_rows;   /* rows of a stage with sharded queries */
    int64_t step_rows;    /* rows of a stage with replicated queries; decode has one */
    int64_t cache_panels; /* panels that it keeps at a time */
    int64_t sink_panels;  /* 0 unless the method keeps sinks */
    /* Records of a panel, K for each key frame that it is kept in and V, and of one of sinks. */
    int64_t panel_slots, sink_slots;
    int64_t slots; /* for all of these */
};

/* For prompts and answers up to the request's context: of the ranks [first, end), in one walk
 * through the stages. */
MUST_CHECK enum status memory_need_make(struct memory_need *needs, const struct choice *choice,
                                        int first, int end);

/* The same of a request that goes on behind the tokens that `before` has dealt. With `shares`,
 * their whole panels lie elsewhere and are not counted. */
MUST_CHECK enum status memory_need_after(struct memory_need *needs, const struct choice *choice,
                                         const struct ownership *before, bool shares, int first,
                                         int end);

/* Refuses a longer context than the group's, which bounds the walk that follows. */
MUST_CHECK enum status memory_context_check(const struct choice *choice);

/* Refuses, with the numbers, what a group will never have room for. */
MUST_CHECK enum status memory_need_check(const struct memory_need *need,
                                         const struct choice *choice);

/* Sizes a group's memory for one request alone; `needs` are those of all ranks. */
void memory_group_fit(struct group_choice *group, const struct memory_need *needs,
                      const struct request_choice *request);

/* Sizes it for `sequences` sequences of up to `context_tokens`, but for its pool. */
void memory_group_size(struct group_choice *group, int sequences, int64_t context_tokens);

/* Slots of a pool in what `limit_bytes` leaves of a rank's memory: for one of the group's sequences
 * by any method where that is there, and for all of them, the others by methods that keep K once,
 * in up to half of what is left then. */
int64_t memory_group_slots(const struct group_choice *group, const struct model_shape *shape,
                           const struct memory_request *request, int64_t limit_bytes);

/* What a rank needs at least: with a pool for one sequence of the group's context, by a method that
 * keeps K once. */
int64_t memory_group_least(const struct group_choice *group, const struct model_shape *shape,
                           const struct memory_request *request);

/* Bytes of a slot, which holds one record, in all layers. */
int64_t memory_slot_bytes(const struct group_choice *group, const struct model_shape *shape);

/* What a rank of a group allocates, once. */
struct memory_plan {
    int rank;
    int64_t bytes[MEMORY_REGIONS];
    int64_t total_bytes;
};

void memory_plan_make(struct memory_plan *plan, const struct model_shape *shape,
                      const struct group_choice *group, int rank,
                      const struct memory_request *request);

/* Refuses, with the numbers, a plan of more than limit_bytes; 0 is no limit. */
MUST_CHECK enum status memory_plan_fits(const struct memory_plan *plan, int64_t limit_bytes);

const char *memory_region_name(enum memory_region region);

/* Tokens of one key range of replicated queries, aligned to the global index: its keys make one
 * partial state of every rank. As long as the context asks for, so that there are enough ranges to
 * share out, and few enough to merge; so another context may round a decoded token's logits in
 * another order. */
int64_t memory_plan_range_tokens(const struct choice *choice);

/* For tests: most key ranges of one request that one rank has, the sinks' own included. */
int64_t memory_plan_ranges(const struct choice *choice);

/* The most that any request's do: drafted tokens may reach into one more. */
enum { MEMORY_RANGES_MOST = 32 + 3 };
