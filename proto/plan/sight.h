/* What a query sees, layer by layer: the method's table of bands, and where a model has a sliding
 * window on some of its layers, the same table within that window.
 *
 * The tables differ in what they hide alone: frames are the method's in all of them, so that
 * queries and keys are rotated once for all layers.
 */
#pragma once

#include "kernels/bands.h"
#include "kernels/regimes.h"
#include "proto/plan/method.h"
#include "proto/plan/model_shape.h"

enum { SIGHT_TABLES_MAX = 2 };

struct sight_table {
    struct bands bands;
    struct regimes regimes;
    int64_t reach; /* bands_reach */
};

struct sight {
    int count;
    /* The first one shows all that any layer sees: schedules, the cache and what travels follow
     * from it for all layers (choice_bands). */
    struct sight_table tables[SIGHT_TABLES_MAX];
    struct model_window window;
};

/* The window where all layers have it; 0 where some or none do. */
int64_t sight_window_of_all(const struct model_shape *shape);

/* Of a method that passed method_check. */
void sight_make(struct sight *sight, const struct method *method, const struct model_shape *shape);

static inline const struct sight_table *sight_of_layer(const struct sight *sight, int64_t layer)
{
    return &sight->tables[model_window_covers(&sight->window, layer) ? sight->count - 1 : 0];
}
