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

static int64_t windowed_layers(const struct model_shape *shape)
{
    int64_t layers = 0;
    for (int64_t layer = 0; layer < shape->layers; layer++)
        layers += model_window_covers(&shape->window, layer);
    return layers;
}

int64_t sight_window_of_all(const struct model_shape *shape)
{
    return windowed_layers(shape) == shape->layers ? shape->window.tokens : 0;
}

enum status sight_check_window(const struct method *method)
{
    struct bands bands;
    char text[METHOD_TEXT_BYTES];
    method_bands(method, &bands);
    for (int band = 0; band < bands.count; band++)
        if (bands.list[band].unit != 1) {
            method_print(method, text);
            return fail(STATUS_UNIMPLEMENTED,
                        "%s counts distances in chunks, which is not supported for a model with a "
                        "sliding window",
                        text);
        }
    return STATUS_OK;
}

void sight_limit(struct bands *bands, int64_t window)
{
    const int count = bands->count;
    for (int band = 0; band < count; band++) {
        assert(bands->list[band].unit == 1);
        hide_beyond(bands, band, window);
    }
}

enum status sight_check(const struct method *method, const struct model_shape *shape)
{
    return windowed_layers(shape) > 0 ? sight_check_window(method) : STATUS_OK;
}

static void add(struct sight *sight, const struct method *method, int64_t window)
{
    struct sight_table *table = &sight->tables[sight->count++];
    method_bands(method, &table->bands);
    if (window > 0)
        sight_limit(&table->bands, window);
    table->reach = bands_reach(&table->bands);
    regimes_make(&table->regimes, &table->bands);
}

void sight_make(struct sight *sight, const struct method *method, const struct model_shape *shape)
{
    const int64_t windowed = windowed_layers(shape);
    memset(sight, 0, sizeof *sight);
    sight->window = shape->window;
    add(sight, method, sight_window_of_all(shape));
    if (windowed > 0 && windowed < shape->layers)
        add(sight, method, shape->window.tokens);
}
