/* How attention on a GPU walks a tile of queries through its keys: exact integer arithmetic, the
 * same code in the kernels, in their launchers and in the tests that replay it on the host.
 *
 * A band that is visible in a key frame is a regime: a range of query indices, a range of key
 * indices, a range of distances and one query frame. For a tile of queries and a run of keys each
 * regime is a segment: panels [first, end), of which [full_first, full_end) need no mask. A panel
 * that several regimes share is walked once for each, with masks that complement each other, and
 * the online softmax merges them. So every visible pair is met exactly once.
 *
 * Indices stay below 2^40, so that no sum here overflows.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/attention.h"
#include "kernels/bands.h"

/* Both compilers see the same functions. */
#ifdef __CUDACC__
#define ATTENTION_SEGMENTS_CALL static inline __host__ __device__
#else
#define ATTENTION_SEGMENTS_CALL static inline
#endif

enum {
    ATTENTION_RUNS_MAX = 24,    /* runs of keys in one call */
    ATTENTION_SPANS_MAX = 8,    /* spans of queries in one call */
    ATTENTION_QUERY_TILE = 128, /* most queries of a tile */
};

struct attention_regime {
    int64_t query_first, query_end;
    int64_t key_first, key_end;
    int64_t distance_first, distance_end;
    int32_t query_frame;
    int32_t key_frame;
};

struct attention_regimes {
    int32_t count;
    struct attention_regime list[BANDS_MAX];
};

/* Queries that are contiguous both in rows and in indices. */
struct attention_span {
    int64_t row;
    int64_t index;
    int64_t tokens;
};

/* Keys to attend to: panel records with all KV heads, one behind the other. */
struct attention_run {
    const void *records;
    int64_t first; /* index of the first record's first key: a multiple of PANEL_TOKENS */
    int64_t end;   /* keys at and beyond it are not there; their rows are not read */
    int32_t key_frame;
    int32_t span_first, span_end; /* the spans of queries that it applies to */
};

/* The visible bands; two that differ only in neighbouring key ranges become one. */
void attention_regimes_make(struct attention_regimes *regimes, const struct bands *bands);
