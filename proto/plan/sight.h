/* What a query sees, by layer and KV head: the method's table of bands; where a model has a sliding
 * window on some of its layers, the same table within that window; and where a method shows less to
 * some heads, their table, with or without the window.
 *
 * The tables differ in what they hide alone: frames are the method's in all of them, so that
 * queries and keys are rotated once for all layers and heads.
 */
#pragma once

#include "kernels/bands.h"
#include "kernels/regimes.h"
#include "proto/plan/method.h"
#include "proto/plan/model_shape.h"

enum { SIGHT_TABLES_MAX = 4 };

struct sight_table {
    struct bands bands;
    struct regimes regimes;
    int64_t reach; /* bands_reach */
    /* Who sees by it: the KV heads [head_first, head_end) of so many layers. */
    int64_t layers;
    int head_first, head_end;
    bool local; /* heads to which the method shows less than another table shows their layers */
};

struct sight {
    int count;
    /* The first one shows all that any layer and head sees: schedules, the cache and what travels
     * follow from it for all of them (choice_bands). */
    struct sight_table tables[SIGHT_TABLES_MAX];
    struct model_window window;
    int of[2][2]; /* the table by: the layer has the window, the head is a local one */
};

/* The window where all layers have it; 0 where some or none do. */
int64_t sight_window_of_all(const struct model_shape *shape);

/* Of a method that passed method_check. */
void sight_make(struct sight *sight, const struct method *method, const struct model_shape *shape);

/* What KV head `head` of a layer sees; the heads up to the table's last one see alike. */
static inline const struct sight_table *sight_of(const struct sight *sight, int64_t layer, int head)
{
    const int *of = sight->of[model_window_covers(&sight->window, layer)];
    const struct sight_table *table = &sight->tables[of[0]];
    return head < table->head_end ? table : &sight->tables[of[1]];
}
