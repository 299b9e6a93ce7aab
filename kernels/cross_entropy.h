/* Cross-entropy of rows of logits, in place: with p = softmax of row r and t = targets[r],
 *
 *   logits[r][i] becomes (p[i] - [i = t]) * weight          loss = Sum_r -ln p[t]
 *
 * A target of -1 counts nothing: its row becomes 0, and adds nothing to the loss. The loss is
 * summed in float64 and is not weighted: weight is what the mean divides by, or the scale of a part
 * of a batch. A NaN or plus infinity in a row makes its gradient and the loss NaN.
 */
#pragma once

#include <stdint.h>

struct cross_entropy_args {
    float *logits; /* [rows, width] dense */
    const int32_t *targets;
    int64_t rows, width;
    float weight;
};
