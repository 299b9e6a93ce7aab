/* The table of angles, shared by all variants. */
#include "kernels/rope.h"

#include <math.h>

void rope_table(float *table, const struct rope_place *places, int64_t count,
                const double *inv_freq, int half)
{
    for (int64_t t = 0; t < count; t++) {
        for (int p = 0; p < half; p++) {
            double angle = places[t].position * inv_freq[p];
            float *pair = table + (t * half + p) * 2;
            pair[0] = (float)(cos(angle) * places[t].magnitude);
            pair[1] = (float)(sin(angle) * places[t].magnitude);
        }
    }
}
