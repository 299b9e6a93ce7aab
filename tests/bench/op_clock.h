/* A table of kernels with a clock in every op of training: where a step's time goes. One at a time
 * in a process. */
#pragma once

#include <stdint.h>

#include "kernels/kernels.h"

struct op_clock_row {
    const char *name;
    int64_t calls;
    double seconds; /* of processor time, all threads together */
    double gflop;   /* multiplications and additions; 0 for what is bound by memory */
};

/* `timed` becomes `kernels`, but that its ops are counted. Products whose logits or
 * their gradients have `vocab` columns are those of the head. */
void op_clock_wrap(struct kernels *timed, const struct kernels *kernels, int64_t vocab);

/* What was counted since the last call; [*count] rows, valid until the next one. */
const struct op_clock_row *op_clock_take(int *count);
