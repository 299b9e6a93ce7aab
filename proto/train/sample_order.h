/* Which sample of a file is the next one to train on. Step s of batch b takes the global sample
 * numbers s * b .. (s + 1) * b - 1, whatever ranks there are. The first epoch takes samples as they
 * stand in the file; each later one in an order of its own, which follows from the seed. */
#pragma once

#include <stdint.h>

#include "proto/status.h"

struct sample_order {
    int64_t count; /* samples in the file */
    uint64_t seed;
    int64_t epoch;  /* whose order is at hand */
    int64_t *order; /* [count] */
};

/* count > 0. */
MUST_CHECK enum status sample_order_init(struct sample_order *order, int64_t count, uint64_t seed);

/* Also of {0}. */
void sample_order_deinit(struct sample_order *order);

/* The place in the file of global sample number `number` >= 0. Quick while numbers stay in one
 * epoch. */
int64_t sample_order_place(struct sample_order *order, int64_t number);
