/* What a rank allocates, region by region: exact bytes, known before any work starts. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/plan/choice.h"
#include "proto/plan/model_shape.h"
#include "proto/status.h"

/* Shapes; a panel record is attention.h's: [kv_heads, K and V, panel_tokens, head_dim] in the
 * cache's type. Queries have 2 bytes an element with a bf16 cache, otherwise 4. */
enum memory_region {
    MEMORY_WEIGHTS,        /* as given */
    MEMORY_CACHE,          /* [layers, cache_panels] panel records */
    MEMORY_RECEIVE_SLOTS,  /* [receive_slots, block_tokens / panel_tokens] panel records */
    MEMORY_SINK_CACHE,     /* [layers, 2 key frames, sink_panels] panel records */
    MEMORY_HIDDEN,         /* [rows, hidden] f32 */
    MEMORY_QUERIES,        /* [query frames, rows, heads, head_dim] */
    MEMORY_STATE,          /* [rows, heads, head_dim + 2] f32 */
    MEMORY_ROPE_TABLES,    /* [query frames + 1 for keys, rows, head_dim / 2, 2] f32 */
    MEMORY_THREAD_SCRATCH, /* threads times the caller's bytes */
    MEMORY_LOGITS,         /* [logit_rows, vocab] f32 */
    MEMORY_DECODE, /* every rank's states of a replicated stage, a row of each product, f32 */
    MEMORY_IDS,    /* [context] 4 bytes */
    MEMORY_SCORES, /* [context] 8 bytes, rank 0 */
    MEMORY_REGIONS,
};

/* What only the engine knows. */
struct memory_request {
    int threads;
    int64_t scratch_bytes; /* of one thread */
    int64_t logit_rows;    /* rows whose logits are held at a time */
};

struct memory_plan {
    int rank;
    int64_t rows;         /* most rows the rank has in any stage */
    int64_t cache_panels; /* most panels it keeps at a time, per layer */
    int64_t sink_panels;  /* 0 unless the method keeps sinks */
    int64_t
        replicated_rows; /* most rows of a stage with replicated queries, decode's one included */
    int64_t bytes[MEMORY_REGIONS];
    int64_t total_bytes;
};

MUST_CHECK enum status memory_plan_make(struct memory_plan *plan, const struct model_shape *shape,
                                        const struct choice *choice, int rank,
                                        const struct memory_request *request);

/* Refuses, with the numbers, a plan of more than limit_bytes; 0 is no limit. */
MUST_CHECK enum status memory_plan_fits(const struct memory_plan *plan, int64_t limit_bytes);

/* A table for people, one region a line and the total; always terminated, cut to `bytes`. */
void memory_plan_print(const struct memory_plan *plan, char *text, size_t bytes);

const char *memory_region_name(enum memory_region region);
