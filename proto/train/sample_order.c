/* Owns the permutation of one epoch at a time. Promises that it depends on seed and epoch alone. */
#include "proto/train/sample_order.h"

#include <stdlib.h>

#include "proto/train/chance.h"

enum status sample_order_init(struct sample_order *order, int64_t count, uint64_t seed)
{
    int64_t *places = malloc((size_t)count * sizeof *places);
    if (!places)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the order of %lld samples",
                    (long long)count);
    for (int64_t i = 0; i < count; i++)
        places[i] = i;
    *order = (struct sample_order){.count = count, .seed = seed, .order = places};
    return STATUS_OK;
}

void sample_order_deinit(struct sample_order *order)
{
    free(order->order);
    *order = (struct sample_order){0};
}

static void enter_epoch(struct sample_order *order, int64_t epoch)
{
    struct chance chance = chance_begin(order->seed, CHANCE_ORDER, (uint64_t)epoch);
    order->epoch = epoch;
    if (epoch > 0) {
        chance_shuffle(&chance, order->order, order->count);
        return;
    }
    for (int64_t i = 0; i < order->count; i++)
        order->order[i] = i;
}

int64_t sample_order_place(struct sample_order *order, int64_t number)
{
    const int64_t epoch = number / order->count;
    if (epoch != order->epoch)
        enter_epoch(order, epoch);
    return order->order[number % order->count];
}
