/* The reference values' own tolerances, and the few that bf16 products need wider. */
#include "tests/support/golden_tolerance.h"

#include <stddef.h>
#include <string.h>

#include "kernels/kernels.h"

static const struct golden_tolerance exact = {3e-4, 5e-5, 0, 3e-4, 5e-3};
static const struct golden_tolerance rounded = {0.40, 0.06, 0.15, 0.005, 0.5};

/* Where the arithmetic's own rounding takes log-probabilities farther than that: the largest of 32
 * runs of tests/bench/rounding.py that differ in the order of their float32 sums
 * (tests/bench/results/rounding.jsonl and rounding_methods.jsonl, docs/decisions/rounding.md). */
static const struct {
    enum golden_arithmetic arithmetic;
    int64_t tokens;
    const char *method;
    struct golden_tolerance tolerance;
} unstable[] = {
    {GOLDEN_BF16_PRODUCTS, 27, "lm_infinite:window=4,sinks=10", {0.40, 0.0611, 0.15, 0.005, 0.5}},
    {GOLDEN_BF16_PRODUCTS,
     44,
     "string:shift=14,local=1,logit_scale=1.143434",
     {0.40, 0.0652, 0.15, 0.005, 0.5}},
    {GOLDEN_BF16_PRODUCTS, 44, "lm_infinite:sinks=0,window=11", {1.50, 0.27, 0.15, 0.036, 0.5}},
    {GOLDEN_BF16_PRODUCTS, 27, "rerope:window=4,logn=9", {0.40, 0.0624, 0.15, 0.005, 0.5}},
    {GOLDEN_BF16_PRODUCTS, 44, "self_extend:window=11,group=2", {0.40, 0.0604, 0.15, 0.005, 0.5}},
    {GOLDEN_BF16_PRODUCTS, 44, "dca:chunk=15,local=3", {0.40, 0.0611, 0.15, 0.005, 0.5}},
    {GOLDEN_BF16_PRODUCTS, 44, "rope+ntk:factor=4", {0.40, 0.0738, 0.15, 0.005, 0.5}},
    {GOLDEN_BF16_PRODUCTS, 44, "rope+yarn:factor=4", {0.40, 0.0890, 0.15, 0.0113, 0.5}},
    {GOLDEN_BF16_PRODUCTS,
     44,
     "string:shift=15,local=2+yarn:factor=2.68,original=2048",
     {0.40, 0.0656, 0.15, 0.005, 0.5}},
    {GOLDEN_BF16_CACHE, 44, "lm_infinite:sinks=0,window=11", {0.402, 0.0883, 0.15, 0.0065, 0.5}},
};

enum golden_arithmetic golden_arithmetic_of(const struct kernels *kernels)
{
    if (kernels->cache == DTYPE_F32)
        return GOLDEN_FLOAT32;
    return strcmp(kernels->name, "avx512_bf16") == 0 ? GOLDEN_BF16_PRODUCTS : GOLDEN_BF16_CACHE;
}

const struct golden_tolerance *golden_tolerance_of(enum golden_arithmetic arithmetic,
                                                   int64_t tokens, const char *method)
{
    if (arithmetic == GOLDEN_FLOAT32)
        return &exact;
    for (size_t i = 0; i < sizeof unstable / sizeof *unstable; i++)
        if (unstable[i].arithmetic == arithmetic && unstable[i].tokens == tokens &&
            strcmp(unstable[i].method, method) == 0)
            return &unstable[i].tolerance;
    return &rounded;
}
