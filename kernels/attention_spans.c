/* Owns the step from regimes, which speak of indices, to tokens at positions of their own. */
#include "kernels/attention_spans.h"

#include <assert.h>

/* Positions [first, end) of the keys that a query at `position` sees through a regime. */
static struct span visible_positions(const struct regime *regime, int64_t position)
{
    if (position < regime->query_first || position >= regime->query_end)
        return (struct span){0, 0};
    struct span keys = {0, BANDS_OPEN};
    const int64_t unit = regime->unit, chunk = position / unit;
    if (regime->distance_end <= chunk)
        keys.first = (chunk - regime->distance_end + 1) * unit;
    keys.end = regime->distance_first <= chunk ? (chunk - regime->distance_first + 1) * unit : 0;
    if (regime->window <= position) /* in tokens, whatever the unit */
        keys.first = regimes_larger(keys.first, position - regime->window + 1);
    return keys;
}

/* Both ends of the ranges grow with the query, so each is looked for from where the query before it
 * left off. */
bool attention_spans_ranges(int32_t *firsts, int32_t *ends, const struct regime *regime,
                            const int32_t *positions, struct span queries, struct span keys)
{
    const struct span held = {regimes_larger(keys.first, regime->key_first),
                              regimes_smaller(keys.end, regime->key_end)};
    int64_t first = held.first, end = held.first;
    bool any = false;
    for (int64_t i = queries.first; i < queries.end; i++) {
        const struct span visible = visible_positions(regime, positions[i]);
        const int64_t last = regimes_smaller(held.end, i + 1);
        while (first < last && positions[first] < visible.first)
            first++;
        while (end < last && positions[end] < visible.end)
            end++;
        const bool sees = first < end && visible.first < visible.end;
        firsts[i - queries.first] = sees ? (int32_t)(first - keys.first) : 0;
        ends[i - queries.first] = sees ? (int32_t)(end - keys.first) : 0;
        any = any || sees;
    }
    return any;
}

void attention_spans_make(struct attention_spans *spans, const struct regimes *regimes,
                          const int32_t *positions, struct span queries, struct span keys)
{
    assert(queries.end - queries.first <= ATTENTION_SPANS_TOKENS);
    assert(keys.end - keys.first <= ATTENTION_SPANS_TOKENS);
    spans->count = 0;
    for (int32_t r = 0; r < regimes->count; r++) {
        struct attention_spans_regime *span = &spans->list[spans->count];
        span->query_frame = regimes->list[r].query_frame;
        span->key_frame = regimes->list[r].key_frame;
        spans->count += attention_spans_ranges(span->first, span->end, &regimes->list[r], positions,
                                               queries, keys);
    }
}

/* Whether a query at `position` sees one of the keys [first, end). */
static bool sees(const struct regime *regime, const int32_t *positions, int64_t position,
                 int64_t first, int64_t end)
{
    const struct span visible = visible_positions(regime, position);
    if (first >= end || positions[first] >= visible.end || positions[end - 1] < visible.first)
        return false;
    while (positions[first] < visible.first)
        first++;
    return positions[first] < visible.end;
}

bool attention_spans_meet(const struct regimes *regimes, const int32_t *positions,
                          struct span queries, struct span keys)
{
    for (int32_t r = 0; r < regimes->count; r++) {
        const struct regime *regime = &regimes->list[r];
        const int64_t first = regimes_larger(keys.first, regime->key_first);
        const int64_t end = regimes_smaller(keys.end, regime->key_end);
        for (int64_t i = regimes_larger(queries.first, first); i < queries.end; i++)
            if (sees(regime, positions, positions[i], first, regimes_smaller(end, i + 1)))
                return true;
    }
    return false;
}
