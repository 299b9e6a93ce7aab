/* Owns the step from bands to regimes, and the questions that a walk asks of a tile. Promises exact
 * answers without loops over tokens: within a part of a tile the causal distances are a contiguous
 * range of integers, so comparing range ends decides. */
#include "kernels/regimes.h"

#include <stddef.h>

/* Whether b goes on where a ends, along the keys and in nothing else. */
static bool continues(const struct regime *a, const struct regime *b)
{
    return a->key_end == b->key_first && a->query_first == b->query_first &&
           a->query_end == b->query_end && a->unit == b->unit &&
           a->distance_first == b->distance_first && a->distance_end == b->distance_end &&
           a->query_frame == b->query_frame && a->key_frame == b->key_frame;
}

static void add(struct regimes *regimes, struct regime *next)
{
    if (next->unit == 1)
        next->distance_end = regimes_smaller(next->distance_end, next->window);
    if (next->distance_first >= next->distance_end)
        return;
    int32_t like = 0;
    while (like < regimes->count && !continues(&regimes->list[like], next))
        like++;
    if (like < regimes->count)
        regimes->list[like].key_end = next->key_end;
    else
        regimes->list[regimes->count++] = *next;
}

void regimes_make(struct regimes *regimes, const struct bands *bands)
{
    *regimes = (struct regimes){0};
    for (int sink = 1; sink >= 0; sink--) { /* sinks are the lower keys */
        for (int b = 0; b < bands->count; b++) {
            const struct band *band = &bands->list[b];
            if (band->masked || (band->key_class == BAND_SINK) != (sink == 1))
                continue;
            struct regime next = {
                .query_first = band->query_first,
                .query_end = band->query_end,
                .key_first = sink ? 0 : bands->sinks,
                .key_end = sink ? bands->sinks : BANDS_OPEN,
                .unit = band->unit,
                .distance_first = band->distance_first,
                .distance_end = band->distance_end,
                .window = bands->window > 0 ? bands->window : BANDS_OPEN,
                .chunks_a_token = 1 / (double)band->unit,
                .query_frame = band->query_frame,
                .key_frame = band->key_frame,
                .store = bands_store_of(bands, band),
            };
            add(regimes, &next);
        }
    }
}

uint64_t regime_lanes(const struct regime *regime, int64_t i, int64_t first_key, int count)
{
    if (i < regime->query_first || i >= regime->query_end)
        return 0;
    struct regime_part part;
    regime_part(&part, regime, i);
    int64_t first = part.key_first;
    if (part.distance_end != BANDS_OPEN)
        first = regimes_larger(first, i - part.distance_end + 1);
    int64_t end = regimes_smaller(part.key_end, i - part.distance_first + 1);
    first = regimes_larger(first - first_key, 0);
    end = regimes_smaller(end - first_key, count);
    if (first >= end)
        return 0;
    const uint64_t below_end = end == BANDS_LANES ? ~UINT64_C(0) : (UINT64_C(1) << end) - 1;
    return below_end & ~((UINT64_C(1) << first) - 1);
}

/* How the part of a regime that `queries` begin with meets keys. */
static enum regimes_tile meet(const struct regime_part *part, struct span queries, struct span keys)
{
    const struct span q = {part->query_first, regimes_smaller(queries.end, part->query_end)};
    const struct span k = {regimes_larger(keys.first, part->key_first),
                           regimes_smaller(keys.end, part->key_end)};
    if (q.first >= q.end || k.first >= k.end)
        return REGIMES_SKIP;
    const int64_t nearest = q.first - (k.end - 1);
    const int64_t furthest = q.end - 1 - k.first;
    if (nearest >= part->distance_end || furthest < part->distance_first)
        return REGIMES_SKIP;
    return q.first == queries.first && q.end == queries.end && k.first == keys.first &&
                   k.end == keys.end && nearest >= part->distance_first &&
                   furthest < part->distance_end
               ? REGIMES_WHOLE
               : REGIMES_MIXED;
}

enum regimes_tile regimes_classify(const struct regimes *regimes, struct span queries,
                                   struct span keys, enum bands_store store,
                                   const struct regime **regime)
{
    enum regimes_tile all = REGIMES_SKIP;
    if (queries.first >= queries.end || keys.first >= keys.end)
        return REGIMES_SKIP;
    for (int r = 0; r < regimes->count; r++) {
        const struct regime *one = &regimes->list[r];
        const int64_t end = regimes_smaller(queries.end, one->query_end);
        struct regime_part part = {.query_end = queries.first};
        while ((enum bands_store)one->store == store && part.query_end < end) {
            regime_part(&part, one, part.query_end);
            const enum regimes_tile tile = meet(&part, queries, keys);
            if (tile == REGIMES_MIXED)
                all = REGIMES_MIXED; /* no other one can be whole */
            if (tile != REGIMES_WHOLE)
                continue;
            *regime = one;
            return REGIMES_WHOLE;
        }
    }
    return all;
}

bool regimes_far_sinks(const struct regimes *regimes, int64_t tokens)
{
    const struct regime *regime;
    return regimes_classify(regimes, (struct span){0, tokens}, (struct span){0, tokens},
                            BANDS_SINKS, &regime) != REGIMES_SKIP;
}
