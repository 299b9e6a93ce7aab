/* Frequencies that a method asks for in place of the model's own: what follows a plus in its
 * spelling (docs/methods.md). proto/model makes them, proto/plan only carries them. */
#pragma once

#include <stdint.h>

enum frequencies_kind {
    FREQUENCIES_OF_MODEL, /* the file's own; the numbers below are 0 */
    FREQUENCIES_LINEAR,   /* f / factor */
    FREQUENCIES_NTK,      /* base * factor^(head_dim / (head_dim - 2)) */
    FREQUENCIES_YARN,     /* a ramp over dimensions from f to f / factor */
    FREQUENCIES_LONG,     /* the file's own for texts beyond the original length: longrope */
};

struct frequencies {
    enum frequencies_kind kind;
    double factor;           /* at least 1 */
    int64_t original_tokens; /* yarn: the length that is stretched */
    double attention;        /* yarn: multiplies cos and sin, of queries and keys */
};
