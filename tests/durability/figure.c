/* Owns the form of a figure. */
#include "tests/durability/figure.h"

#include <stdio.h>

static bool print(const char *name, double figure, double gate, bool passes, uint64_t seed)
{
    printf("%s %.6g %.6g %s %llu\n", name, figure, gate, passes ? "PASS" : "FAIL",
           (unsigned long long)seed);
    fflush(stdout);
    return passes;
}

bool figure_at_most(const char *name, double figure, double gate, uint64_t seed)
{
    return print(name, figure, gate, figure <= gate, seed);
}

bool figure_at_least(const char *name, double figure, double gate, uint64_t seed)
{
    return print(name, figure, gate, figure >= gate, seed);
}
