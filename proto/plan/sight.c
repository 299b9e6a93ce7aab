/* Owns the step from a method's bands to those of a model's layers and heads. */
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

/* Fills in what `table` does not say yet: its layers, its heads and its bands are there. */
static int add(struct sight *sight, const struct sight_table *table, int64_t window)
{
    struct sight_table *added = &sight->tables[sight->count];
    *added = *table;
    added->bands.window = window;
    added->reach = bands_reach(&added->bands);
    regimes_make(&added->regimes, &added->bands);
    return sight->count++;
}

/* Of the model's last KV heads, which are the local ones, those that are here: always the last. */
static int local_heads(const struct method *method, const struct model_shape *shape)
{
    const int64_t all = shape->kv_all > 0 ? shape->kv_all : shape->kv_heads;
    const int64_t elsewhere = all - shape->kv_first - shape->kv_heads; /* behind those here */
    const int64_t local = method_local_heads(method) - elsewhere;
    if (local <= 0)
        return 0;
    return (int)(local < shape->kv_heads ? local : shape->kv_heads);
}

/* The tables of layers that are alike: of the heads that see what the method shows, and of those
 * that see less. */
static void add_layers(struct sight *sight, const struct method *method, int of[2], int64_t window,
                       int64_t layers, const struct model_shape *shape)
{
    const int kv_heads = (int)shape->kv_heads;
    const int local = local_heads(method, shape);
    struct sight_table table = {.layers = layers, .head_end = kv_heads - local};
    method_bands(method, &table.bands);
    of[0] = of[1] = add(sight, &table, window);
    if (local == 0)
        return;
    table.local = true;
    table.head_first = table.head_end;
    table.head_end = kv_heads;
    method_local_bands(method, &table.bands);
    of[1] = add(sight, &table, window);
}

void sight_make(struct sight *sight, const struct method *method, const struct model_shape *shape)
{
    const int64_t windowed = windowed_layers(shape);
    memset(sight, 0, sizeof *sight);
    sight->window = shape->window;
    if (windowed == 0 || windowed < shape->layers)
        add_layers(sight, method, sight->of[0], 0, shape->layers - windowed, shape);
    if (windowed > 0)
        add_layers(sight, method, sight->of[1], shape->window.tokens, windowed, shape);
}
