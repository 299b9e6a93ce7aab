/* Owns the counting of a tile's pairs. Promises closed forms: nothing here loops over tokens, only
 * over chunks where distances are counted in them. */
#include "proto/plan/tiles.h"

/* Pairs of the tile with i - j >= distance. Query i has min(keys.end, i - distance + 1) -
 * keys.first of them: none, then one more with each query, then all. */
static int64_t pairs_from(struct span queries, struct span keys, int64_t distance)
{
    if (queries.first >= queries.end || keys.first >= keys.end ||
        distance > queries.end - 1 - keys.first)
        return 0;
    const int64_t ramp_first = regimes_larger(queries.first, keys.first + distance);
    const int64_t all_first = regimes_larger(queries.first, keys.end + distance);
    const int64_t ramp_end = regimes_smaller(queries.end, all_first);
    int64_t pairs = 0;
    if (ramp_first < ramp_end) {
        const int64_t least = ramp_first - distance + 1 - keys.first;
        const int64_t most = ramp_end - distance - keys.first;
        pairs = (least + most) * (ramp_end - ramp_first) / 2;
    }
    return pairs + regimes_larger(queries.end - all_first, 0) * (keys.end - keys.first);
}

static int64_t pairs_of_part(const struct regime_part *part, struct span queries, struct span keys)
{
    queries = (struct span){part->query_first, regimes_smaller(queries.end, part->query_end)};
    keys = (struct span){regimes_larger(keys.first, part->key_first),
                         regimes_smaller(keys.end, part->key_end)};
    return pairs_from(queries, keys, part->distance_first) -
           pairs_from(queries, keys, part->distance_end);
}

/* Queries whose key at `distance` is one of `keys`. */
static int64_t queries_at(struct span queries, struct span keys, int64_t distance)
{
    if (keys.first >= keys.end || distance > queries.end - 1 - keys.first)
        return 0;
    return regimes_larger(regimes_smaller(queries.end, keys.end + distance) -
                              regimes_larger(queries.first, keys.first + distance),
                          0);
}

static int64_t edges_of_part(const struct regime_part *part, struct span queries, struct span keys)
{
    queries = (struct span){part->query_first, regimes_smaller(queries.end, part->query_end)};
    keys = (struct span){regimes_larger(keys.first, part->key_first),
                         regimes_smaller(keys.end, part->key_end)};
    if (queries.first >= queries.end)
        return 0;
    const int64_t last = queries_at(queries, keys, part->distance_first);
    /* What begins where the regime's keys begin has no edge of its own. */
    keys.first = regimes_larger(keys.first, part->key_first + 1);
    return last + queries_at(queries, keys, part->distance_end - 1);
}

typedef int64_t count_part(const struct regime_part *part, struct span queries, struct span keys);

static int64_t count_parts(const struct regimes *regimes, struct span queries, struct span keys,
                           enum bands_store store, count_part *count)
{
    int64_t sum = 0;
    for (int r = 0; r < regimes->count; r++) {
        const struct regime *regime = &regimes->list[r];
        const int64_t end = regimes_smaller(queries.end, regime->query_end);
        struct regime_part part = {.query_end = queries.first};
        while ((enum bands_store)regime->store == store && part.query_end < end) {
            regime_part(&part, regime, part.query_end);
            sum += count(&part, queries, keys);
        }
    }
    return sum;
}

int64_t tiles_pairs(const struct regimes *regimes, struct span queries, struct span keys,
                    enum bands_store store)
{
    return count_parts(regimes, queries, keys, store, pairs_of_part);
}

int64_t tiles_edges(const struct regimes *regimes, struct span queries, struct span keys,
                    enum bands_store store)
{
    return count_parts(regimes, queries, keys, store, edges_of_part);
}

bool tiles_read(const struct regimes *regimes, struct span queries, struct span keys,
                enum bands_store store)
{
    const struct regime *regime;
    return regimes_classify(regimes, queries, keys, store, &regime) != REGIMES_SKIP;
}

static bool any_reads(const struct regimes *regimes, const struct span *queries, int count,
                      struct span keys)
{
    for (int q = 0; q < count; q++)
        if (tiles_read(regimes, queries[q], keys, BANDS_PANELS))
            return true;
    return false;
}

struct span tiles_trim(const struct regimes *regimes, const struct span *queries, int count,
                       struct span keys, int panel_tokens)
{
    if (!any_reads(regimes, queries, count, keys))
        return (struct span){keys.first, keys.first};
    for (;;) {
        const int64_t next = keys.first - keys.first % panel_tokens + panel_tokens;
        if (next >= keys.end || any_reads(regimes, queries, count, (struct span){keys.first, next}))
            break;
        keys.first = next;
    }
    for (;;) {
        const int64_t last = keys.end - 1 - (keys.end - 1) % panel_tokens;
        if (last <= keys.first || any_reads(regimes, queries, count, (struct span){last, keys.end}))
            break;
        keys.end = last;
    }
    return keys;
}
