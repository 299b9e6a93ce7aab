/* Owns the list of variants under test. */
#include "tests/kernels/subjects.h"

const struct kernels *subjects_at(int index)
{
    for (int i = 0; kernels_at(i); i++)
        if (kernels_runs_here(kernels_at(i)) && index-- == 0)
            return kernels_at(i);
    return NULL;
}
