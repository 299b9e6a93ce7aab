/* What the definitions of the methods give for a toy: one RoPE pair of frequency 1, values V_j = j,
 * scores divided by sqrt(2), 12 tokens. In test A q = k = (1, 0), in test B q = (0, 1) and k = (1,
 * 0), which catches a wrong sign or direction. */
#pragma once

enum { METHOD_VECTORS_TOKENS = 12 };

/* Output and natural log-sum-exp of a row. */
struct method_vectors_row {
    double o, lse;
};

struct method_vector {
    const char *spelling;
    struct method_vectors_row a5, a11, b5, b11; /* tests A and B, rows 5 and 11 */
    double last[METHOD_VECTORS_TOKENS];         /* row 11's effective distances; -1: not visible */
};

extern const struct method_vector method_vectors[];
extern const int method_vectors_count;
