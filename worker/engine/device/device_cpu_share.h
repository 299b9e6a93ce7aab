/* Rows that all threads of the CPU device work on together: of an op whose place is columns they
 * share out the columns, of the others the rows. */
#pragma once

#include "worker/engine/device/device_cpu_parts.h"

struct device_cpu_share {
    struct device_cpu_rows all;
    const struct device_cpu_rows *parts; /* [count] of one sequence each; they make up all rows */
    int count;
};

/* Where the ops end that threads do without waiting for each other, of those from `first` on. */
int device_cpu_share_end(const struct layer_program *program, int first, int end);

/* Computes ops [first, end), of which the call above said so; of those whose place is columns, the
 * `columns` of their outputs. `drive`, unless NULL, is called between work items. Returns whether
 * all was computed, false after a skip. */
bool device_cpu_share_ops(const struct device_cpu_share *share, int first, int end,
                          struct span columns, const struct device_drive *drive);

/* Some of a part's rows, from its `first` on. */
struct device_cpu_rows device_cpu_share_slice(const struct device_cpu_rows *part, int64_t first,
                                              int64_t rows);
