/* Owns the counting of a tile's pairs. Promises closed forms: nothing here loops over tokens. */
#include "proto/plan/tiles.h"

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Pairs of the tile with i - j >= distance. Query i has min(keys.end, i - distance + 1) -
 * keys.first of them: none, then one more with each query, then all. */
static int64_t pairs_from(struct span queries, struct span keys, int64_t distance)
{
    if (queries.first >= queries.end || keys.first >= keys.end ||
        distance > queries.end - 1 - keys.first)
        return 0;
    const int64_t ramp_first = larger(queries.first, keys.first + distance);
    const int64_t all_first = larger(queries.first, keys.end + distance);
    const int64_t ramp_end = smaller(queries.end, all_first);
    int64_t pairs = 0;
    if (ramp_first < ramp_end) {
        const int64_t least = ramp_first - distance + 1 - keys.first;
        const int64_t most = ramp_end - distance - keys.first;
        pairs = (least + most) * (ramp_end - ramp_first) / 2;
    }
    return pairs + larger(queries.end - all_first, 0) * (keys.end - keys.first);
}

int64_t tiles_pairs(const struct bands *bands, struct span queries, struct span keys, int key_frame)
{
    int64_t pairs = 0;
    for (int b = 0; b < bands->count; b++) {
        const struct band *band = &bands->list[b];
        if (band->masked || band->key_frame != key_frame)
            continue;
        struct span q = {larger(queries.first, band->query_first),
                         smaller(queries.end, band->query_end)};
        struct span k = keys;
        if (band->key_class == BAND_SINK)
            k.end = smaller(k.end, bands->sinks);
        else
            k.first = larger(k.first, bands->sinks);
        pairs += pairs_from(q, k, band->distance_first) - pairs_from(q, k, band->distance_end);
    }
    return pairs;
}

bool tiles_read(const struct bands *bands, struct span queries, struct span keys, int key_frame)
{
    int query_frame;
    return bands_classify(bands, queries, keys, key_frame, &query_frame) != BANDS_SKIP;
}

static bool any_reads(const struct bands *bands, const struct span *queries, int count,
                      struct span keys)
{
    for (int q = 0; q < count; q++)
        if (tiles_read(bands, queries[q], keys, 0))
            return true;
    return false;
}

struct span tiles_trim(const struct bands *bands, const struct span *queries, int count,
                       struct span keys, int panel_tokens)
{
    if (!any_reads(bands, queries, count, keys))
        return (struct span){keys.first, keys.first};
    for (;;) {
        const int64_t next = keys.first - keys.first % panel_tokens + panel_tokens;
        if (next >= keys.end || any_reads(bands, queries, count, (struct span){keys.first, next}))
            break;
        keys.first = next;
    }
    for (;;) {
        const int64_t last = keys.end - 1 - (keys.end - 1) % panel_tokens;
        if (last <= keys.first || any_reads(bands, queries, count, (struct span){last, keys.end}))
            break;
        keys.end = last;
    }
    return keys;
}
