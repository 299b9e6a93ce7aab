/* Owns the random tables of the plan's tests. */
#include "tests/support/plan_cases.h"

#include <math.h>

void cases_seed(struct cases_random *random, uint64_t seed)
{
    random->state = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
    for (int k = 0; k < 4; k++)
        cases_between(random, 0, 1);
}

int64_t cases_between(struct cases_random *random, int64_t first, int64_t last)
{
    random->state ^= random->state >> 12;
    random->state ^= random->state << 25;
    random->state ^= random->state >> 27;
    const uint64_t bits = (random->state * UINT64_C(0x2545F4914F6CDD1D)) >> 16;
    return first + (int64_t)(bits % (uint64_t)(last - first + 1));
}

static struct bands_frame random_frame(struct cases_random *random, int64_t tokens)
{
    struct bands_frame frame = BANDS_FRAME(1, (double)cases_between(random, -tokens, tokens));
    switch (cases_between(random, 0, 5)) {
    case 0:
        frame.scale = 0;
        break;
    case 1:
        frame.scale = 0.25;
        frame.group = cases_between(random, 1, 5);
        break;
    case 2:
        frame.modulo = cases_between(random, 1, tokens + 1);
        frame.cap = (double)cases_between(random, 0, tokens);
        break;
    case 3:
        frame.parts = cases_between(random, 1, 7);
        frame.group = cases_between(random, 1, 9);
        break;
    default:
        break;
    }
    return frame;
}

static struct band random_band(const struct bands *bands, struct cases_random *random,
                               enum band_class key_class)
{
    const int key_frames = key_class == BAND_SINK ? bands->key_frames : bands->panel_frames;
    return (struct band){
        .key_class = key_class,
        .masked = cases_between(random, 0, 3) == 0,
        .query_frame = (int)cases_between(random, 0, bands->query_frames - 1),
        .key_frame = (int)cases_between(random, 0, key_frames - 1),
    };
}

/* Bands over every distance for queries [first, end) of a class. */
static void add_bands(struct bands *bands, struct cases_random *random, enum band_class key_class,
                      struct span queries, int64_t unit, int64_t tokens)
{
    int64_t distance = 0;
    for (int part = 0; distance != BANDS_OPEN; part++) {
        struct band *band = &bands->list[bands->count++];
        *band = random_band(bands, random, key_class);
        band->query_first = queries.first;
        band->query_end = queries.end;
        band->unit = unit;
        band->distance_first = distance;
        distance = part == 3 || cases_between(random, 0, 2) == 0
                       ? BANDS_OPEN
                       : distance + cases_between(random, 1, tokens / 2 / unit + 1);
        band->distance_end = distance;
    }
}

/* Both classes, each for one or two ranges of queries. */
static void add_classes(struct bands *bands, struct cases_random *random, const int64_t units[2],
                        int64_t tokens)
{
    for (int key_class = BAND_ORDINARY; key_class <= (bands->sinks > 0); key_class++) {
        struct span queries = {0, BANDS_OPEN};
        if (cases_between(random, 0, 2) == 0)
            queries.end = cases_between(random, 1, tokens);
        add_bands(bands, random, (enum band_class)key_class, queries, units[key_class], tokens);
        if (queries.end == BANDS_OPEN)
            continue;
        queries = (struct span){queries.end, BANDS_OPEN};
        add_bands(bands, random, (enum band_class)key_class, queries, units[key_class], tokens);
    }
}

static void random_frames(struct bands *bands, struct cases_random *random, int64_t tokens)
{
    for (int f = 0; f < bands->query_frames; f++)
        bands->query_frame[f] = random_frame(random, tokens);
    for (int f = 0; f < bands->key_frames; f++)
        bands->key_frame[f] = random_frame(random, tokens);
    if (cases_between(random, 0, 1))
        bands->sinks = cases_between(random, 1, 6);
    if (cases_between(random, 0, 3) == 0)
        bands->window = cases_between(random, 1, tokens);
}

void cases_bands(struct bands *bands, struct cases_random *random, int64_t tokens)
{
    *bands = (struct bands){.query_frames = 4, .key_frames = 2, .panel_frames = 1};
    random_frames(bands, random, tokens);
    add_classes(bands, random, (int64_t[]){1, 1}, tokens);
}

void cases_wide_bands(struct bands *bands, struct cases_random *random, int64_t tokens)
{
    *bands = (struct bands){.query_frames = (int)cases_between(random, 1, BANDS_FRAMES_MAX),
                            .key_frames = (int)cases_between(random, 1, BANDS_FRAMES_MAX)};
    bands->panel_frames = (int)cases_between(
        random, 1,
        bands->key_frames < BANDS_RECORDS_MAX ? bands->key_frames : BANDS_RECORDS_MAX - 1);
    random_frames(bands, random, tokens);
    const int64_t units[] = {cases_between(random, 0, 1) ? cases_between(random, 1, tokens) : 1,
                             cases_between(random, 0, 1) ? cases_between(random, 1, tokens) : 1};
    add_classes(bands, random, units, tokens);
}

static double stands_at(const struct bands_frame *frame, int64_t index)
{
    if (frame->modulo > 0)
        index %= frame->modulo;
    return fmin(frame->cap,
                frame->scale * floor((double)(frame->parts * index) / (double)frame->group) +
                    frame->offset);
}

bool cases_sees(const struct bands *bands, int64_t i, int64_t j, double *distance, int *key_frame)
{
    if (j > i || (bands->window > 0 && i >= j + bands->window))
        return false;
    for (int b = 0; b < bands->count; b++) {
        const struct band *band = &bands->list[b];
        if ((band->key_class == BAND_SINK) != (j < bands->sinks))
            continue;
        if (i < band->query_first || i >= band->query_end)
            continue;
        const int64_t apart = i / band->unit - j / band->unit;
        if (apart < band->distance_first || apart >= band->distance_end)
            continue;
        if (band->masked)
            return false;
        *key_frame = band->key_frame;
        *distance = stands_at(&bands->query_frame[band->query_frame], i) -
                    stands_at(&bands->key_frame[band->key_frame], j);
        return true;
    }
    return false;
}
