/* Owns the step from bands to regimes, which a launcher takes once a call. */
#include "kernels/attention_segments.h"

/* Whether b goes on where a ends, along the keys and in nothing else. */
static bool continues(const struct attention_regime *a, const struct attention_regime *b)
{
    return a->key_end == b->key_first && a->query_first == b->query_first &&
           a->query_end == b->query_end && a->distance_first == b->distance_first &&
           a->distance_end == b->distance_end && a->query_frame == b->query_frame &&
           a->key_frame == b->key_frame;
}

void attention_regimes_make(struct attention_regimes *regimes, const struct bands *bands)
{
    *regimes = (struct attention_regimes){0};
    for (int sink = 1; sink >= 0; sink--) { /* sinks are the lower keys */
        for (int b = 0; b < bands->count; b++) {
            const struct band *band = &bands->list[b];
            if (band->masked || (band->key_class == BAND_SINK) != (sink == 1))
                continue;
            const struct attention_regime next = {
                .query_first = band->query_first,
                .query_end = band->query_end,
                .key_first = sink ? 0 : bands->sinks,
                .key_end = sink ? bands->sinks : BANDS_OPEN,
                .distance_first = band->distance_first,
                .distance_end = band->distance_end,
                .query_frame = band->query_frame,
                .key_frame = band->key_frame,
            };
            int32_t like = 0;
            while (like < regimes->count && !continues(&regimes->list[like], &next))
                like++;
            if (like < regimes->count)
                regimes->list[like].key_end = next.key_end;
            else
                regimes->list[regimes->count++] = next;
        }
    }
}
