/* What each op of the program computes on the CPU, for a block of a stage and for a step alike. */
#pragma once

#include "worker/engine/device/device_cpu_parts.h"

/* Computes an op for rows; of an op whose place is columns, those `columns` of its output. */
void device_cpu_op(const struct device_cpu_rows *rows, const struct layer_op *op, int thread,
                   struct span columns);

/* All columns of an op's output. */
static inline struct span device_cpu_all_of(const struct device_cpu_rows *rows,
                                            const struct layer_op *op)
{
    return (struct span){0, rows->cpu->program->buffers[op->output].width};
}

/* Computes ops [0, count), each of which takes its columns as the one before leaves them, for
 * `columns` of their outputs, which all threads share out. `drive`, unless NULL, is called between
 * work items. Returns whether all was computed, false after a skip. */
bool device_cpu_joined(const struct device_cpu_rows *rows, const struct layer_op *ops, int count,
                       struct span columns, const struct device_drive *drive);
