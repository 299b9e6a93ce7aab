/* Owns the random tables of the plan's tests. */
#include "tests/support/plan_cases.h"

#include <string.h>

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

/* Frames: 0 identity, 1 and 2 shifts, 3 clamp. */
static struct band random_band(struct bands *bands, struct cases_random *random,
                               enum band_class key_class)
{
    struct band band = {.key_class = key_class};
    switch (cases_between(random, 0, key_class == BAND_SINK ? 5 : 4)) {
    case 0:
    case 1:
        band.rule = BAND_IDENTITY;
        break;
    case 2:
        band.rule = BAND_SHIFT;
        band.query_frame = (int)cases_between(random, 1, 2);
        band.value = bands->frame[band.query_frame].offset;
        break;
    case 5:
        band.rule = BAND_CLAMP;
        band.query_frame = 3;
        band.key_frame = 1;
        band.value = bands->frame[3].offset;
        break;
    default:
        band.rule = BAND_MASK;
        break;
    }
    return band;
}

void cases_bands(struct bands *bands, struct cases_random *random, int64_t tokens)
{
    memset(bands, 0, sizeof *bands);
    bands->query_frames = 4;
    bands->frame[0] = (struct bands_frame){1, 0};
    bands->frame[1] = (struct bands_frame){1, -cases_between(random, 1, tokens)};
    bands->frame[2] = (struct bands_frame){1, cases_between(random, 1, tokens)};
    bands->frame[3] = (struct bands_frame){0, cases_between(random, 0, tokens)};
    if (cases_between(random, 0, 1))
        bands->sinks = cases_between(random, 1, 6);
    for (int key_class = BAND_ORDINARY; key_class <= (bands->sinks > 0); key_class++) {
        int64_t query = 0;
        while (query != BANDS_OPEN) {
            const bool last = query > 0 || cases_between(random, 0, 2) > 0;
            const int64_t query_end = last ? BANDS_OPEN : query + cases_between(random, 1, tokens);
            int64_t distance = 0;
            for (int part = 0; distance != BANDS_OPEN; part++) {
                struct band band = random_band(bands, random, (enum band_class)key_class);
                band.query_first = query;
                band.query_end = query_end;
                band.distance_first = distance;
                distance = part == 3 || cases_between(random, 0, 2) == 0
                               ? BANDS_OPEN
                               : distance + cases_between(random, 1, tokens / 2 + 1);
                band.distance_end = distance;
                bands->list[bands->count++] = band;
            }
            query = query_end;
        }
    }
}

bool cases_sees(const struct bands *bands, int64_t i, int64_t j, int64_t *distance, int *key_frame)
{
    if (j > i)
        return false;
    for (int b = 0; b < bands->count; b++) {
        const struct band *band = &bands->list[b];
        if ((band->key_class == BAND_SINK) != (j < bands->sinks))
            continue;
        if (i < band->query_first || i >= band->query_end)
            continue;
        if (i - j < band->distance_first || i - j >= band->distance_end)
            continue;
        if (band->rule == BAND_MASK)
            return false;
        *key_frame = band->rule == BAND_CLAMP;
        *distance = band->rule == BAND_IDENTITY ? i - j
                    : band->rule == BAND_SHIFT  ? i - j + band->value
                                                : band->value;
        return true;
    }
    return false;
}
