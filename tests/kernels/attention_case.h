/* One case of attention for the tests: random sizes, bands and operands, its float64 truth, and the
 * run of a variant on it between canaries. */
#pragma once

#include "kernels/kernels.h"
#include "tests/support/guarded.h"
#include "tests/support/random.h"

struct attention_case {
    /* What is asked; fill in, then attention_case_create(). */
    int group, head_dim;
    int64_t query_first, tokens;
    int64_t key_first, key_end; /* key_first a multiple of PANEL_TOKENS */
    enum bands_store store;
    struct bands bands;
    float scale_log2;
    float cap_log2; /* 0: none */

    /* Operands, float32 whatever the variant takes: already rounded to its types. */
    float *queries; /* [frames][tokens, group, head_dim] */
    float *keys;    /* [key_frames][key_end - key_first, head_dim] */
    float *values;  /* [key_end - key_first, head_dim] */
};

/* States between canaries: heads = group + 2, and the first and the last belong to nobody. */
struct attention_state {
    struct guarded acc, max, sum;
};

struct bands attention_case_rope(void);
struct bands attention_case_string(int64_t shift, int64_t local);
struct bands attention_case_lm_infinite(int64_t window, int64_t sinks, int64_t ceiling);

/* Keys at `window` and further in a key frame of their own, met by a query frame of its own. */
struct bands attention_case_rerope(int64_t window);

/* Dual chunk attention: distances in strides of `chunk - local`. */
struct bands attention_case_dca(int64_t chunk, int64_t local);

/* Allocates the operands, zeroed. */
void attention_case_create(struct attention_case *c);
void attention_case_destroy(struct attention_case *c);

/* Normal operands, rounded as the variant'"'"'s types round them; scores have the given spread. */
void attention_case_randomise(struct attention_case *c, const struct kernels *kernels,
                              struct random *random, float spread);

/* out = H in, of attention_int8.h, by its definition; [head_dim]. */
void attention_case_rotate(double *out, const double *in, int head_dim);

/* Rounds a row of keys or values to what an int8 record holds of it, in float64. */
void attention_case_round_int8(float *row, int head_dim);

/* Records of a panel of the case's store. */
int attention_case_records(const struct attention_case *c);

/* A key's operands in a key frame; `key` counts from key_first. */
float *attention_case_key(const struct attention_case *c, int frame, int64_t key);
float *attention_case_query(const struct attention_case *c, int frame, int64_t token, int head);

void attention_state_create(struct attention_state *state, const struct attention_case *c);
void attention_state_destroy(struct attention_state *state);

/* The places of a row in the state. */
float *attention_state_acc(const struct attention_state *state, const struct attention_case *c,
                           int64_t token, int head);
float *attention_state_max(const struct attention_state *state, const struct attention_case *c,
                           int64_t token, int head);
float *attention_state_sum(const struct attention_state *state, const struct attention_case *c,
                           int64_t token, int head);

/* Continues `state` with queries [first, end) of the case and keys [key_first, key_end): a global
 * range inside the case'"'"'s, the first a multiple of PANEL_TOKENS. Checks every canary. */
struct attention_part {
    int64_t first, end;
    int64_t key_first, key_end;
    bool decode;
};
void attention_case_run(const struct attention_case *c, const struct kernels *kernels,
                        const struct attention_part *part, struct attention_state *state);

/* The whole case in one call. */
struct attention_part attention_case_whole(const struct attention_case *c);

/* float64: o [head_dim] and the natural log-sum-exp of one row; lse is -inf where nothing is
 * visible. */
void attention_case_truth(const struct attention_case *c, int64_t token, int head, double *o,
                          double *lse);

/* Compares all rows with the truth; the relative rms error over the case, and the largest error of
 * lse as a multiple of max(1, |lse|). Rows that see nothing must be empty. */
struct attention_error {
    double rms, lse;
};
struct attention_error attention_case_error(const struct attention_case *c,
                                            const struct kernels *kernels,
                                            const struct attention_state *state);
