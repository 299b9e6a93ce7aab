/* Methods for the plan's tests: small ones with their definitions pair by pair, written from
 * docs/methods.md without kernels/bands.c or proto/plan. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/plan/method.h"

struct plan_method {
    const char *spelling;
    /* Whether query i sees key j <= i; then its effective distance, and whether the key is read in
     * a frame that is kept for sinks only. */
    bool (*sees)(const struct plan_method *method, int64_t i, int64_t j, double *distance,
                 bool *far);
    int64_t a, b, c; /* the spelling's whole numbers, in its order */
    bool windowed;   /* a halo schedule suits it */
    double factor;
};

extern const struct plan_method plan_methods[];
extern const int plan_methods_count;

/* The definition as the symbolic cluster asks for it. */
bool plan_methods_sees(const void *method, int64_t i, int64_t j, double *distance, bool *far);

/* Of a spelling that is known to be right, for a model of 8,192 tokens. */
struct method plan_methods_parse(const char *spelling);
