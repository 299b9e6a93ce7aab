/* Which panel of the sequence lies in which slot of this rank's cache.
 *
 * The memory is [layers][slots] panel records (kernels/attention.h), so panels in consecutive slots
 * are one extent in every layer. The map is the same in all layers. Within a prefill,
 * consecutive panels of this rank are in consecutive slots; decode puts each new panel where a dead
 * one was.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/bands.h"
#include "proto/plan/partition.h"
#include "proto/status.h"

struct device;
struct kv_cache;

/* `device` is borrowed; its memory.cache is [layers, slots]. */
MUST_CHECK enum status kv_cache_create(struct kv_cache **cache, struct device *device,
                                       int64_t slots);

/* Accepts NULL. */
void kv_cache_destroy(struct kv_cache *cache);

/* Makes room for rank's panels of `stage` (the last tokens that `ownership` has dealt): panels
 * before index live_first are dropped, the rest moves together, new panels follow in order and are
 * zero where the stage does not fill them. INTERNAL when the plan gave too few slots. */
MUST_CHECK enum status kv_cache_stage(struct kv_cache *cache, const struct ownership *ownership,
                                      int rank, struct span stage, int64_t live_first);

/* Makes room for one more token, `index`, in a panel of this rank; its panel may be new. Nothing
 * moves. */
MUST_CHECK enum status kv_cache_append(struct kv_cache *cache, int64_t index, int64_t live_first);

/* The record of the panel that holds `index`, in `layer`. The panel is in the cache. */
void *kv_cache_panel(const struct kv_cache *cache, int layer, int64_t index);

/* The longest extent (consecutive panels in consecutive slots) from the panel of *index on, at most
 * to `end`: its first record in `layer`; moves *index to its end. */
void *kv_cache_extent(const struct kv_cache *cache, int layer, int64_t *index, int64_t end);

/* Bytes from layer to layer at one slot. */
size_t kv_cache_layer_bytes(const struct kv_cache *cache);
