/* One case of training's attention for the tests: a sample under a method's bands, its float64
 * truth pair by pair with a bound of what float32 may do to each number, and the run of a variant
 * on it between canaries. */
#pragma once

#include "kernels/kernels.h"
#include "tests/support/guarded.h"
#include "tests/support/random.h"

/* u of float32, and what the exponentials of all variants stay below (kernels/exp_avx2.h). */
#define GRADIENT_CASE_ROUNDING 0x1p-24
#define GRADIENT_CASE_EXP2 6e-7

struct gradient_case {
    /* What is asked; fill in, then gradient_case_create(). */
    int64_t tokens;
    int group, head_dim;
    struct bands bands;
    const int32_t *positions;
    float scale_log2;
    int64_t tile;           /* the most queries and keys of a tile */
    double factor_rounding; /* u of what p and ds are rounded to before products; 0: float32 */

    /* Operands in float64, and how far those of float32 may be from them. */
    double *q, *q_error; /* [query_frames][tokens, group, head_dim] */
    double *k, *k_error; /* [key_frames][tokens, head_dim] */
    double *v;           /* [tokens, head_dim] */
    double *dout;        /* [tokens, group, head_dim] */
};

/* Numbers, and the bounds of their errors. */
struct gradient_numbers {
    double *value, *error;
    int64_t count;
};

/* The truth; the backward half with logsumexp and dot rounded to float32. */
struct gradient_truth {
    struct gradient_numbers out, logsumexp, dot; /* [tokens, group, head_dim], [tokens, group] */
    struct gradient_numbers dq, dk, dv;
};

/* What a variant made, dense. */
struct gradient_result {
    float *out, *logsumexp;
    float *dq, *dk, *dv;
};

/* Allocates the operands, zeroed. */
void gradient_case_create(struct gradient_case *c);
void gradient_case_destroy(struct gradient_case *c);

/* Normal operands that float32 holds. */
void gradient_case_randomise(struct gradient_case *c, struct random *random);

/* The band through which query i sees key j, by kernels/bands.h: distances and query ranges of
 * positions, classes of keys by index; NULL: it does not. */
const struct band *gradient_case_find(const struct bands *bands, const int32_t *positions,
                                      int64_t i, int64_t j);

/* Sum of dout * out. */
double gradient_case_loss(const struct gradient_case *c);

void gradient_truth_create(struct gradient_truth *truth, const struct gradient_case *c);
void gradient_truth_destroy(struct gradient_truth *truth);

/* Forward, and backward from the truth's logsumexp and dot, over tiles that `random` cuts and
 * orders. Checks every canary. */
void gradient_result_create(struct gradient_result *result, const struct gradient_case *c,
                            const struct kernels *kernels, const struct gradient_truth *truth,
                            struct random *random);
void gradient_result_destroy(struct gradient_result *result);

/* Every number within its bound. */
void gradient_result_check(const struct gradient_result *result,
                           const struct gradient_truth *truth);
