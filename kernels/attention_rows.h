/* The records of attention.h as plain rows, for whoever keeps keys outside a pool: [kv_heads,
 * PANEL_TOKENS, head_dim] of the cache's type, which is how float32 and GPUs have them anyway. A
 * row in 8 bits is its head_dim bytes, keys with their excess, and its scale behind them. Every bit
 * is kept, and the bytes are as many. Neither side may overlap the other.
 */
#pragma once

#include <stdbool.h>

#include "kernels/attention.h"

struct attention_rows_args {
    enum dtype cache; /* DTYPE_F32, DTYPE_BF16 or DTYPE_INT8 */
    int kv_heads, head_dim;
    bool values; /* a record of V; else of K */
};

void attention_rows_take(void *rows, const void *record, const struct attention_rows_args *args);
void attention_rows_put(void *record, const void *rows, const struct attention_rows_args *args);
