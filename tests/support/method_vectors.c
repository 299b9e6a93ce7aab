/* Owns the vectors, which come from a program that scores pair by pair. */
#include "tests/support/method_vectors.h"

const struct method_vector method_vectors[] = {
    {"rope",
     {3.015002, 1.885108},
     {6.067317, 2.583692},
     {1.847005, 1.896128},
     {4.930595, 2.583859},
     {11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0}},
    {"string:shift=4,local=1",
     {2.979717, 1.938083},
     {5.527919, 2.629888},
     {2.745351, 1.401085},
     {5.082276, 2.396624},
     {8, 7, 6, 5, 4, 3, 2, 1, 3, 2, 1, 0}},
    {"lm_infinite:window=4,sinks=2,ceiling=4",
     {3.312844, 1.790901},
     {8.051964, 1.790901},
     {1.922750, 1.855937},
     {4.719680, 1.855937},
     {4, 4, -1, -1, -1, -1, -1, -1, 3, 2, 1, 0}},
    /* ReRoPE with window 4: every key a sink. */
    {"lm_infinite:window=4,sinks=12,ceiling=4",
     {3.312844, 1.790901},
     {6.678531, 2.279751},
     {1.922750, 1.855937},
     {4.584443, 2.812039},
     {4, 4, 4, 4, 4, 4, 4, 4, 3, 2, 1, 0}},
};
const int method_vectors_count = sizeof method_vectors / sizeof method_vectors[0];
