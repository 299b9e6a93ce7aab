/* Owns nothing. Promises that a table has room for what is appended, and each query frame once. */
#include "proto/plan/band_list.h"

#include <assert.h>

const struct bands_frame band_list_index = BANDS_FRAME(1, 0);

static bool is_same(const struct bands_frame *a, const struct bands_frame *b)
{
    return a->scale == b->scale && a->modulo == b->modulo && a->parts == b->parts &&
           a->group == b->group && a->offset == b->offset && a->cap == b->cap;
}

int band_list_keys(struct bands *bands, struct bands_frame keys)
{
    for (int frame = 0; frame < bands->key_frames; frame++)
        if (is_same(&bands->key_frame[frame], &keys))
            return frame;
    assert(bands->key_frames < BANDS_RECORDS_MAX - 1);
    assert(bands->panel_frames == bands->key_frames);
    bands->key_frame[bands->key_frames] = keys;
    bands->panel_frames++;
    return bands->key_frames++;
}

void band_list_begin(struct bands *bands, struct bands_frame keys)
{
    *bands = (struct bands){0};
    band_list_keys(bands, keys);
}

int band_list_sinks(struct bands *bands, struct bands_frame keys, int64_t sinks)
{
    assert(bands->key_frames < BANDS_FRAMES_MAX);
    bands->sinks = sinks;
    bands->key_frame[bands->key_frames] = keys;
    return bands->key_frames++;
}

static int query_frame(struct bands *bands, const struct bands_frame *queries)
{
    int frame = 0;
    while (frame < bands->query_frames && !is_same(&bands->query_frame[frame], queries))
        frame++;
    assert(frame < BANDS_FRAMES_MAX);
    bands->query_frame[frame] = *queries;
    if (frame == bands->query_frames)
        bands->query_frames++;
    return frame;
}

struct band *band_list_hide(struct bands *bands, enum band_class key_class, struct span distances)
{
    assert(bands->count < BANDS_MAX);
    struct band *band = &bands->list[bands->count++];
    *band = (struct band){.key_class = key_class,
                          .query_end = BANDS_OPEN,
                          .unit = 1,
                          .distance_first = distances.first,
                          .distance_end = distances.end,
                          .masked = true};
    return band;
}

struct band *band_list_see(struct bands *bands, enum band_class key_class, struct span distances,
                           struct bands_frame queries)
{
    struct band *band = band_list_hide(bands, key_class, distances);
    band->masked = false;
    band->query_frame = query_frame(bands, &queries);
    return band;
}
