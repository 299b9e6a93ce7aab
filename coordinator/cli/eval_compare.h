/* Two evaluations, sample by sample. */
#pragma once

#include "coordinator/cli/eval_rows.h"

/* Pairs of one task, methods and length. */
struct eval_compare_group {
    const struct eval_row *before, *after; /* the first pair */
    size_t pairs, better, worse;           /* of the second */
    double before_sum, after_sum;
    double chance; /* of such a split or a more uneven one, where neither is better */
};

struct eval_compare {
    struct eval_compare_group *groups; /* in the order of the first rows */
    size_t count;
    size_t unpaired; /* rows of either that the other has not, or that failed */
};

/* Pairs rows of one task, length, depth, sample and prompt. Methods are paired by their spelling;
 * where the two have no method in common and each has one, those two. FAILED_PRECONDITION where a
 * sample has another prompt in each, and where there are no pairs. Borrows the rows. */
MUST_CHECK enum status eval_compare_make(struct eval_compare *compare,
                                         const struct eval_rows *before,
                                         const struct eval_rows *after);
void eval_compare_deinit(struct eval_compare *compare);
