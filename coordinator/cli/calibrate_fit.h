/* From what workers report to rates: what each part of a prompt and of a token took, and how much
 * work the plan says that it was. Pure. */
#pragma once

#include <stddef.h>

#include "proto/plan/cost.h"
#include "proto/status.h"

/* One rank's part of one prompt. Work is counted as a table whose rates are 1 tells it. */
struct calibrate_prefill {
    double rows_flops, pair_flops, edge_flops; /* edge_flops: of one key at each edge */
    double layers, stages;                     /* layers: of all stages */
    double rows_s, attend_s;                   /* measured */
    double beside_s;                           /* neither arithmetic nor waiting for keys */
    double logits_flops, logits_s;             /* 0 where another rank has them */
};

/* One rank's part of a token behind one prompt, a mean. */
struct calibrate_decode {
    double weights_bytes, keys_bytes; /* read */
    double weights_s, keys_s;         /* measured, in products and in attention */
    double token_s;                   /* of the whole, what messages should take left out */
};

/* Sets all rates of `table` but its links and load_bytes: those that make the sum of the squared
 * relative errors least, none below 0. INVALID_ARGUMENT, with what is missing, where a rate does
 * not follow from the samples. */
MUST_CHECK enum status calibrate_fit(struct cost_table *table,
                                     const struct calibrate_prefill *prefills, size_t prefill_count,
                                     const struct calibrate_decode *decodes, size_t decode_count);
