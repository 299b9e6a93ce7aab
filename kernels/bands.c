/* Owns the definition of bands: what a table must be, and what it says of one pair. */
#include "kernels/bands.h"

#include <math.h>
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

static bool frame_fits(const struct bands_frame *frame)
{
    return isfinite(frame->scale) && isfinite(frame->offset) && !isnan(frame->cap) &&
           fabs(frame->scale) <= (double)LARGEST_VALUE &&
           fabs(frame->offset) <= (double)LARGEST_VALUE && frame->modulo >= 0 &&
           frame->modulo <= LARGEST_VALUE && frame->parts >= 1 && frame->parts <= BANDS_PARTS_MAX &&
           frame->group >= 1 && frame->group <= LARGEST_VALUE;
}

static const char *check_frames(const struct bands *bands)
{
    if (bands->query_frames < 1 || bands->query_frames > BANDS_FRAMES_MAX ||
        bands->panel_frames < 1 || bands->panel_frames >= BANDS_RECORDS_MAX ||
        bands->panel_frames > bands->key_frames || bands->key_frames > BANDS_FRAMES_MAX)
        return "the number of frames is out of range";
    for (int f = 0; f < bands->query_frames; f++)
        if (!frame_fits(&bands->query_frame[f]))
            return "a query frame's numbers are out of range";
    for (int f = 0; f < bands->key_frames; f++)
        if (!frame_fits(&bands->key_frame[f]))
            return "a key frame's numbers are out of range";
    return NULL;
}

static const char *check_band(const struct bands *bands, const struct band *band)
{
    if (band->query_first < 0 || band->query_first >= band->query_end)
        return "a band's query range is empty or negative";
    if (band->distance_first < 0 || band->distance_first >= band->distance_end)
        return "a band's distance range is empty or negative";
    if (band->unit < 1 || band->unit > LARGEST_VALUE)
        return "a band's unit is out of range";
    if (band->key_class != BAND_ORDINARY && band->key_class != BAND_SINK)
        return "a band has no key class";
    if (band->key_class == BAND_SINK && bands->sinks == 0)
        return "a band for sinks in a table without sinks";
    for (int b = 0; b < bands->count; b++)
        if (bands->list[b].key_class == band->key_class && bands->list[b].unit != band->unit)
            return "bands of one class count distances in different units";
    if (band->masked)
        return NULL;
    if (band->query_frame < 0 || band->query_frame >= bands->query_frames)
        return "a band has no query frame";
    if (band->key_frame < 0 || band->key_frame >= bands->key_frames)
        return "a band has no key frame";
    if (band->key_frame >= bands->panel_frames && band->key_class != BAND_SINK)
        return "a band for ordinary keys in a frame that is kept for sinks only";
    return NULL;
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
    *reason = "the number of bands or sinks, or the window, is out of range";
    if (bands->count < 1 || bands->count > BANDS_MAX || bands->sinks < 0 ||
        bands->sinks > LARGEST_VALUE || bands->window < 0 || bands->window > LARGEST_VALUE)
        return false;
    *reason = check_frames(bands);
    for (int b = 0; b < bands->count && !*reason; b++)
        *reason = check_band(bands, &bands->list[b]);
    if (*reason)
        return false;
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

const struct band *bands_find(const struct bands *bands, int64_t i, int64_t j)
{
    const enum band_class key_class = j < bands->sinks ? BAND_SINK : BAND_ORDINARY;
    if (j > i || (bands->window > 0 && i - j >= bands->window))
        return NULL;
    for (int b = 0; b < bands->count; b++) {
        const struct band *band = &bands->list[b];
        const int64_t distance = i / band->unit - j / band->unit;
        if (band->key_class == key_class && i >= band->query_first && i < band->query_end &&
            distance >= band->distance_first && distance < band->distance_end)
            return band->masked ? NULL : band;
    }
    return NULL;
}

/* The distance in tokens from which on a band shows nothing. A query sees no further than its own
 * index. */
static int64_t reach_of(const struct band *band)
{
    const int64_t tokens = band->distance_end > LARGEST_VALUE / band->unit
                               ? BANDS_OPEN
                               : band->distance_end * band->unit;
    return smaller(tokens, band->query_end);
}

int64_t bands_reach(const struct bands *bands)
{
    int64_t reach = 0;
    for (int b = 0; b < bands->count; b++) {
        const struct band *band = &bands->list[b];
        if (!band->masked && bands_store_of(bands, band) == BANDS_PANELS)
            reach = larger(reach, reach_of(band));
    }
    return bands->window > 0 ? smaller(reach, bands->window) : reach;
}
