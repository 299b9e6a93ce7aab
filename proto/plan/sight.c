/* Owns the step from a method's bands to those of a model's layers. */
#include "proto/plan/sight.h"

#include <string.h>

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

static void add(struct sight *sight, const struct method *method, int64_t window)
{
    struct sight_table *table = &sight->tables[sight->count++];
    method_bands(method, &table->bands);
    table->bands.window = window;
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
