/* Owns the arithmetic of bands. Promises exact answers: within a tile the causal distances are a
 * contiguous range of integers, so comparing range ends decides every question, and nothing here
 * loops over tokens. */
#include "kernels/bands.h"

#include <stddef.h>

/* Indices and values stay below it, so that no sum here overflows. */
#define LARGEST_VALUE ((int64_t)1 << 40)

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static bool frame_is(const struct bands *bands, int frame, int scale, int64_t offset)
{
    return frame >= 0 && frame < bands->query_frames && bands->frame[frame].scale == scale &&
           bands->frame[frame].offset == offset;
}

static const char *check_band(const struct bands *bands, const struct band *band)
{
    if (band->query_first < 0 || band->query_first >= band->query_end)
        return "a band's query range is empty or negative";
    if (band->distance_first < 0 || band->distance_first >= band->distance_end)
        return "a band's distance range is empty or negative";
    if (band->value < -LARGEST_VALUE || band->value > LARGEST_VALUE)
        return "a band's value is too large";
    if (band->key_class != BAND_ORDINARY && band->key_class != BAND_SINK)
        return "a band has no key class";
    switch (band->rule) {
    case BAND_MASK:
        return NULL;
    case BAND_IDENTITY:
        return frame_is(bands, band->query_frame, 1, 0) && band->key_frame == 0
                   ? NULL
                   : "an identity band needs query frame {1, 0} and key frame 0";
    case BAND_SHIFT:
        return frame_is(bands, band->query_frame, 1, band->value) && band->key_frame == 0
                   ? NULL
                   : "a shift band needs query frame {1, value} and key frame 0";
    case BAND_CLAMP:
        if (band->key_class != BAND_SINK)
            return "only sinks can be clamped: other keys are not kept unrotated";
        return frame_is(bands, band->query_frame, 0, band->value) && band->key_frame == 1
                   ? NULL
                   : "a clamp band needs query frame {0, value} and key frame 1";
    }
    return "a band has no rule";
}

/* Whether the bands of a class that apply to query i cover every distance once. */
static bool covers(const struct bands *bands, enum band_class key_class, int64_t i)
{
    int64_t covered = 0;
    int used = 0;
    int applicable = 0;
    for (int round = 0; round < bands->count && covered != BANDS_OPEN; round++) {
        for (int b = 0; b < bands->count; b++) {
            const struct band *band = &bands->list[b];
            if (band->key_class == key_class && i >= band->query_first && i < band->query_end &&
                band->distance_first == covered) {
                covered = band->distance_end;
                used++;
                break;
            }
        }
    }
    for (int b = 0; b < bands->count; b++) {
        const struct band *band = &bands->list[b];
        applicable += band->key_class == key_class && i >= band->query_first && i < band->query_end;
    }
    return covered == BANDS_OPEN && used == applicable;
}

bool bands_check(const struct bands *bands, const char **reason)
{
    *reason = "the number of bands, sinks or frames is out of range";
    if (bands->count < 1 || bands->count > BANDS_MAX || bands->sinks < 0 ||
        bands->sinks > LARGEST_VALUE || bands->query_frames < 1 ||
        bands->query_frames > BANDS_FRAMES_MAX)
        return false;
    for (int b = 0; b < bands->count; b++) {
        *reason = check_band(bands, &bands->list[b]);
        if (*reason)
            return false;
        *reason = "bands for sinks in a table without sinks";
        if (bands->list[b].key_class == BAND_SINK && bands->sinks == 0)
            return false;
    }
    /* Which bands apply changes only where a query range begins or ends. */
    *reason = "bands overlap or leave a distance uncovered";
    for (int key_class = BAND_ORDINARY; key_class <= (bands->sinks > 0 ? BAND_SINK : BAND_ORDINARY);
         key_class++) {
        if (!covers(bands, (enum band_class)key_class, 0))
            return false;
        for (int b = 0; b < bands->count; b++) {
            if (!covers(bands, (enum band_class)key_class, bands->list[b].query_first))
                return false;
            if (bands->list[b].query_end != BANDS_OPEN &&
                !covers(bands, (enum band_class)key_class, bands->list[b].query_end))
                return false;
        }
    }
    *reason = NULL;
    return true;
}

const struct band *bands_find(const struct bands *bands, int64_t i, int64_t j, int key_frame)
{
    const enum band_class key_class = j < bands->sinks ? BAND_SINK : BAND_ORDINARY;
    const int64_t distance = i - j;
    for (int b = 0; b < bands->count; b++) {
        const struct band *band = &bands->list[b];
        if (band->key_class == key_class && i >= band->query_first && i < band->query_end &&
            distance >= band->distance_first && distance < band->distance_end)
            return band->rule != BAND_MASK && band->key_frame == key_frame ? band : NULL;
    }
    return NULL; /* j > i */
}

uint64_t bands_lanes(const struct bands *bands, const struct band *band, int64_t i,
                     int64_t first_key, int count)
{
    if (band->rule == BAND_MASK || i < band->query_first || i >= band->query_end)
        return 0;
    int64_t first = band->distance_end == BANDS_OPEN ? 0 : i - band->distance_end + 1;
    int64_t end = i - band->distance_first + 1;
    if (band->key_class == BAND_SINK)
        end = smaller(end, bands->sinks);
    else
        first = larger(first, bands->sinks);
    first = larger(first - first_key, 0);
    end = smaller(end - first_key, count);
    if (first >= end)
        return 0;
    const uint64_t below_end = end == BANDS_LANES ? ~UINT64_C(0) : (UINT64_C(1) << end) - 1;
    return below_end & ~((UINT64_C(1) << first) - 1);
}

/* Whether the band holds some causal pair of the tile. */
static bool meets(const struct bands *bands, const struct band *band, struct span queries,
                  struct span keys)
{
    queries.first = larger(queries.first, band->query_first);
    queries.end = smaller(queries.end, band->query_end);
    if (band->key_class == BAND_SINK)
        keys.end = smaller(keys.end, bands->sinks);
    else
        keys.first = larger(keys.first, bands->sinks);
    if (queries.first >= queries.end || keys.first >= keys.end)
        return false;
    const int64_t nearest = queries.first - (keys.end - 1);
    const int64_t furthest = queries.end - 1 - keys.first;
    return nearest < band->distance_end && furthest >= band->distance_first;
}

enum bands_tile bands_classify(const struct bands *bands, struct span queries, struct span keys,
                               int key_frame, int *query_frame)
{
    int frame = -1;
    bool full = queries.first >= keys.end - 1;
    for (int b = 0; b < bands->count; b++) {
        const struct band *band = &bands->list[b];
        if (!meets(bands, band, queries, keys))
            continue;
        if (band->rule == BAND_MASK || band->key_frame != key_frame) {
            full = false;
            continue;
        }
        if (frame >= 0 && frame != band->query_frame)
            full = false;
        frame = band->query_frame;
    }
    if (frame < 0)
        return BANDS_SKIP;
    if (!full)
        return BANDS_MIXED;
    *query_frame = frame;
    return BANDS_FULL;
}

int64_t bands_reach(const struct bands *bands)
{
    int64_t reach = 0;
    for (int b = 0; b < bands->count; b++) {
        const struct band *band = &bands->list[b];
        if (band->rule != BAND_MASK && band->key_frame == 0)
            reach = larger(reach, band->distance_end);
    }
    return reach;
}

bool bands_far_sinks(const struct bands *bands, int64_t tokens)
{
    const struct span queries = {0, tokens};
    const struct span keys = {0, bands->sinks};
    int query_frame;
    return bands_classify(bands, queries, keys, 1, &query_frame) != BANDS_SKIP;
}
