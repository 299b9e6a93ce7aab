/* Owns the step from a method's bands to those of a model's layers. */
#include "proto/plan/sight.h"

#include <string.h>

static bool has_window(const struct model_shape *shape)
{
    bool has = false;
    for (int64_t layer = 0; layer < shape->layers; layer++)
        has |= model_window_covers(&shape->window, layer);
    return has;
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
    sight->tables[1].bands = sight->tables[0].bands;
    sight->tables[1].bands.window = shape->window.tokens;
    complete(&sight->tables[1]);
}
