/* Owns the map from panels to slots. Promises that a live panel never changes its bytes but by a
 * store of its owner. */
#include "worker/engine/kv_cache.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/attention.h"
#include "worker/engine/device/device.h"

struct entry {
    int64_t panel; /* index / PANEL_TOKENS */
    int64_t slot;
};

struct kv_cache {
    struct device *device;
    char *memory; /* [layers][slots] panel records */
    int layers;
    int64_t slots;
    size_t panel_bytes;
    int64_t count;
    struct entry *entries; /* [slots], `count` used, ascending by panel */
    bool *taken;           /* [slots] */
};

enum status kv_cache_create(struct kv_cache **out, struct device *device, int64_t slots)
{
    struct kv_cache *cache = calloc(1, sizeof *cache);
    struct entry *entries = calloc((size_t)slots + 1, sizeof *entries);
    bool *taken = calloc((size_t)slots + 1, sizeof *taken);
    if (!cache || !entries || !taken) {
        free(cache);
        free(entries);
        free(taken);
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the map of %lld cache slots",
                    (long long)slots);
    }
    *cache = (struct kv_cache){
        .device = device,
        .memory = device->memory.cache,
        .layers = (int)device->shape.layers,
        .slots = slots,
        .panel_bytes = device->panel_bytes,
        .entries = entries,
        .taken = taken,
    };
    *out = cache;
    return STATUS_OK;
}

void kv_cache_destroy(struct kv_cache *cache)
{
    if (!cache)
        return;
    free(cache->entries);
    free(cache->taken);
    free(cache);
}

static char *record(const struct kv_cache *cache, int layer, int64_t slot)
{
    return cache->memory +
           ((size_t)layer * (size_t)cache->slots + (size_t)slot) * cache->panel_bytes;
}

static void drop_before(struct kv_cache *cache, int64_t live_first)
{
    int64_t dead = 0;
    while (dead < cache->count && (cache->entries[dead].panel + 1) * PANEL_TOKENS <= live_first)
        cache->taken[cache->entries[dead++].slot] = false;
    cache->count -= dead;
    memmove(cache->entries, cache->entries + dead, (size_t)cache->count * sizeof *cache->entries);
}

/* Moves panel e to slot e for every entry. Slots ascend with panels until decode starts, so each
 * move goes down. */
static enum status close_ranks(struct kv_cache *cache)
{
    for (int64_t e = 0; e < cache->count; e++) {
        int64_t from = cache->entries[e].slot;
        assert(from >= e);
        if (from == e)
            continue;
        for (int layer = 0; layer < cache->layers; layer++)
            TRY(device_move(cache->device, record(cache, layer, e), record(cache, layer, from),
                            cache->panel_bytes));
        cache->taken[from] = false;
        cache->taken[e] = true;
        cache->entries[e].slot = e;
    }
    return STATUS_OK;
}

static enum status add(struct kv_cache *cache, int64_t panel, bool clear)
{
    int64_t slot = 0;
    while (slot < cache->slots && cache->taken[slot])
        slot++;
    if (slot == cache->slots)
        return fail(STATUS_INTERNAL,
                    "the plan gave the cache %lld panels, and panel %lld finds none free",
                    (long long)cache->slots, (long long)panel);
    cache->taken[slot] = true;
    cache->entries[cache->count++] = (struct entry){panel, slot};
    if (clear)
        for (int layer = 0; layer < cache->layers; layer++)
            TRY(device_clear(cache->device, record(cache, layer, slot), cache->panel_bytes));
    return STATUS_OK;
}

static bool holds_last(const struct kv_cache *cache, int64_t panel)
{
    return cache->count > 0 && cache->entries[cache->count - 1].panel == panel;
}

enum status kv_cache_stage(struct kv_cache *cache, const struct ownership *ownership, int rank,
                           struct span stage, int64_t live_first)
{
    drop_before(cache, live_first);
    TRY(close_ranks(cache));
    struct owned_span owned;
    for (int64_t index = stage.first; ownership_next(ownership, &index, stage.end, &owned);) {
        if (owned.owner != rank || owned.span.first == owned.span.end)
            continue;
        int64_t last = (owned.span.end - 1) / PANEL_TOKENS;
        for (int64_t panel = owned.span.first / PANEL_TOKENS; panel <= last; panel++) {
            bool filled = panel * PANEL_TOKENS >= owned.span.first &&
                          (panel + 1) * PANEL_TOKENS <= owned.span.end;
            if (!holds_last(cache, panel))
                TRY(add(cache, panel, !filled));
        }
    }
    return STATUS_OK;
}

enum status kv_cache_append(struct kv_cache *cache, int64_t index, int64_t live_first)
{
    if (holds_last(cache, index / PANEL_TOKENS))
        return STATUS_OK;
    drop_before(cache, live_first);
    return add(cache, index / PANEL_TOKENS, true);
}

static int64_t find(const struct kv_cache *cache, int64_t panel)
{
    int64_t low = 0;
    int64_t high = cache->count;
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (cache->entries[middle].panel < panel)
            low = middle + 1;
        else
            high = middle;
    }
    assert(low < cache->count && cache->entries[low].panel == panel);
    return low;
}

void *kv_cache_panel(const struct kv_cache *cache, int layer, int64_t index)
{
    return record(cache, layer, cache->entries[find(cache, index / PANEL_TOKENS)].slot);
}

void *kv_cache_extent(const struct kv_cache *cache, int layer, int64_t *index, int64_t end)
{
    int64_t e = find(cache, *index / PANEL_TOKENS);
    void *first = record(cache, layer, cache->entries[e].slot);
    while (e + 1 < cache->count && (cache->entries[e].panel + 1) * PANEL_TOKENS < end &&
           cache->entries[e + 1].panel == cache->entries[e].panel + 1 &&
           cache->entries[e + 1].slot == cache->entries[e].slot + 1)
        e++;
    int64_t extent_end = (cache->entries[e].panel + 1) * PANEL_TOKENS;
    *index = extent_end < end ? extent_end : end;
    return first;
}

size_t kv_cache_layer_bytes(const struct kv_cache *cache)
{
    return (size_t)cache->slots * cache->panel_bytes;
}
