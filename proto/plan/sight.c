/* Owns the step from a method's bands to those of a model's layers. */
#include "proto/plan/sight.h"

#include <assert.h>
#include <string.h>

/* Hides the pairs of a band whose distance is `window` and more. */
static void hide_beyond(struct bands *bands, int band, int64_t window)
{
    struct band *near = &bands->list[band];
    if (near->masked || near->distance_end <= window)
        return;
    if (near->distance_first < window) {
        assert(bands->count < BANDS_MAX);
        struct band *far = &bands->list[bands->count++];
        *far = *near;
        near->distance_end = window;
        far->distance_first = window;
        near = far;
    }
    near->masked = true;
}

static bool has_window(const struct model_shape *shape)
{
    bool has = false;
    for (int64_t layer = 0; layer < shape->layers; layer++)
        has |= model_window_covers(&shape->window, layer);
    return has;
}

enum status sight_check(const struct method *method, const struct model_shape *shape)
{
    struct bands bands;
    char text[METHOD_TEXT_BYTES];
    method_bands(method, &bands);
    for (int band = 0; band < bands.count && has_window(shape); band++)
        if (bands.list[band].unit != 1) {
            method_print(method, text);
            return fail(STATUS_UNIMPLEMENTED,
                        "%s counts distances in chunks, which is not supported for a model with a "
                        "sliding window",
                        text);
        }
    return STATUS_OK;
}

static void complete(struct sight_table *table)
{
    table->reach = bands_reach(&table->bands);
    regimes_make(&table->regimes, &table->bands);
}

void sight_make(struct sight *sight, const struct method *method, const struct model_shape *shape)
{
    memset(sight, 0, sizeof *sight);
    sight->window = shape->window;
    sight->count = has_window(shape) ? 2 : 1;
    method_bands(method, &sight->tables[0].bands);
    complete(&sight->tables[0]);
    if (sight->count == 1)
        return;
    struct bands *bands = &sight->tables[1].bands;
    *bands = sight->tables[0].bands;
    for (int band = 0; band < sight->tables[0].bands.count; band++) {
        assert(bands->list[band].unit == 1);
        hide_beyond(bands, band, shape->window.tokens);
    }
    complete(&sight->tables[1]);
}
