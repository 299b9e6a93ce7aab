/* Where a request's numbers stop being finite: the first place, layer by layer, and in a layer
 * token by token, as one number. What is not finite spreads to later tokens and layers, and is
 * never an answer. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "proto/status.h"

/* A layer's queries, keys and values; what it leaves; after the last layer the logits. */
enum non_finite_part { NON_FINITE_INSIDE, NON_FINITE_OUTPUT };

#define NON_FINITE_NONE UINT64_MAX
enum { NON_FINITE_INDEX_BITS = 40 };

/* `index` counts the sequence's tokens. `layer` is the number of layers for the logits. */
static inline uint64_t non_finite_place(int64_t layer, enum non_finite_part part, int64_t index)
{
    return (uint64_t)(2 * layer + part) << NON_FINITE_INDEX_BITS | (uint64_t)index;
}

/* Keeps the earlier place of the two; from any thread. */
static inline void non_finite_note(_Atomic uint64_t *first, uint64_t place)
{
    uint64_t known = atomic_load(first);
    while (place < known && !atomic_compare_exchange_weak(first, &known, place))
        ;
}

/* INTERNAL, in words: the token, and the layer of so many. */
MUST_CHECK enum status non_finite_fail(uint64_t place, int64_t layers);
