/* What int8 panels alone promise, of every variant: what is stored of a row, and exact sums where
 * all scales are powers of two. The rest is attention_test.c's. */
#include <math.h>

#include "kernels/attention_int8.h"
#include "tests/kernels/attention_case.h"
#include "tests/kernels/subjects.h"
#include "tests/support/unit.h"

enum { HEADS = 3 };

/* The next subject with int8 panels from *n on; NULL past the end. */
static const struct kernels *next_subject(int *n)
{
    const struct kernels *kernels = subjects_attention_at((*n)++);
    while (kernels && kernels->cache != DTYPE_INT8)
        kernels = subjects_attention_at((*n)++);
    return kernels;
}

/* Whether head `head` of a record holds `row` at t, as the contract says. */
static void expect_stored(const void *record, int head, int t, const float *row, int head_dim,
                          bool keys)
{
    const char *at =
        (const char *)record + (size_t)head * attention_head_bytes(DTYPE_INT8, head_dim);
    double x[ATTENTION_HEAD_DIM_MAX] = {0}, y[ATTENTION_HEAD_DIM_MAX], most = 0;
    for (int d = 0; d < head_dim; d++)
        x[d] = (double)row[d];
    attention_case_rotate(y, x, head_dim);
    for (int d = 0; d < head_dim; d++)
        most = fmax(most, fabs(y[d]));
    uint16_t half;
    memcpy(&half, at + PANEL_TOKENS * head_dim + 2 * t, sizeof half);
    const double scale = (double)dtype_f32_from_bf16(half);
    assert_true(fabs(scale - most / 127) <= most / 127 * 0x1.01p-8);
    for (int d = 0; d < head_dim; d++) {
        const int n = keys ? (unsigned char)at[(d / 4 * PANEL_TOKENS + t) * 4 + d % 4] - 128
                           : (signed char)at[(t / 4 * head_dim + d) * 4 + t % 4];
        assert_true(n >= -127 && n <= 127);
        assert_true(fabs(scale * n - y[d]) <= scale * 0.501);
    }
}

static void expect_stores(const struct kernels *kernels, struct random *random, int head_dim)
{
    const size_t bytes = attention_record_bytes(DTYPE_INT8, HEADS, head_dim);
    assert_int_equal(bytes, HEADS * PANEL_TOKENS * (head_dim + 2));
    struct guarded k = guarded_create(bytes, 0), v = guarded_create(bytes, 0);
    static float rows[PANEL_TOKENS][HEADS * ATTENTION_HEAD_DIM_MAX];
    for (int t = 0; t < PANEL_TOKENS; t++) {
        for (int d = 0; d < HEADS * head_dim; d++)
            rows[t][d] = t == 5 ? 0 : ldexpf(random_normal(random), t - 32);
        kernels->attention_store_keys(k.at, t, rows[t], HEADS, head_dim);
        kernels->attention_store_values(v.at, t, rows[t], HEADS, head_dim);
    }
    guarded_check(&k);
    guarded_check(&v);
    for (int t = 0; t < PANEL_TOKENS; t++)
        for (int h = 0; h < HEADS; h++) {
            expect_stored(k.at, h, t, rows[t] + h * head_dim, head_dim, true);
            expect_stored(v.at, h, t, rows[t] + h * head_dim, head_dim, false);
        }
    guarded_destroy(&k);
    guarded_destroy(&v);
}

static void stores_rows_as_the_contract_says(void **unused)
{
    (void)unused;
    static const int head_dims[] = {16, 64, 80, 96, 112, 128, 256};
    const struct kernels *kernels;
    for (int n = 0; (kernels = next_subject(&n));) {
        struct random random = {20261201};
        for (size_t i = 0; i < sizeof head_dims / sizeof *head_dims; i++)
            expect_stores(kernels, &random, head_dims[i]);
    }
}

/* row = H y: y[0] is 127, which makes the scale 1, the others whole and up to `most`. */
static void put_row(float *row, int head_dim, struct random *random, int most)
{
    double y[ATTENTION_HEAD_DIM_MAX] = {127}, x[ATTENTION_HEAD_DIM_MAX];
    for (int d = 1; d < head_dim; d++)
        y[d] = (double)random_between(random, -most, most + 1);
    attention_case_rotate(x, y, head_dim);
    for (int d = 0; d < head_dim; d++)
        row[d] = (float)x[d];
}

/* Rotated, one element of 2 and one of -2. */
static void put_query(float *query, int head_dim, struct random *random)
{
    double y[ATTENTION_HEAD_DIM_MAX] = {0}, x[ATTENTION_HEAD_DIM_MAX];
    y[random_between(random, 1, head_dim)] = 2;
    y[random_between(random, 1, head_dim)] = -2;
    attention_case_rotate(x, y, head_dim);
    for (int d = 0; d < head_dim; d++)
        query[d] = (float)x[d];
}

static void put_operands(struct attention_case *c, struct random *random)
{
    for (int64_t j = 0; j < c->key_end; j++) {
        put_row(c->keys + j * c->head_dim, c->head_dim, random, 2);
        put_row(c->values + j * c->head_dim, c->head_dim, random, 8);
    }
    for (int64_t row = 0; row < c->bands.query_frames * c->tokens * c->group; row++)
        put_query(c->queries + row * c->head_dim, c->head_dim, random);
}

static void expect_exact(const struct attention_case *c, const struct attention_state *state)
{
    double o[ATTENTION_HEAD_DIM_MAX] = {0}, rotated[ATTENTION_HEAD_DIM_MAX], lse;
    for (int64_t t = 0; t < c->tokens; t++)
        for (int h = 0; h < c->group; h++) {
            attention_case_truth(c, t, h, o, &lse);
            attention_case_rotate(rotated, o, c->head_dim);
            const double sum = (double)*attention_state_sum(state, c, t, h);
            const float *acc = attention_state_acc(state, c, t, h);
            for (int d = 0; d < c->head_dim; d++)
                assert_true(acc[d] == (float)nearbyint(rotated[d] * sum * 256) / 256);
            const double max = (double)*attention_state_max(state, c, t, h);
            if (sum > 0)
                assert_true(sum == nearbyint(exp(lse) * exp2(-max) * 256) / 256);
        }
}

/* Scores are whole numbers in [-4, 4], and so are all values of what is stored. */
static void is_exact_where_scales_are_powers_of_two(void **unused)
{
    (void)unused;
    const struct kernels *kernels;
    for (int n = 0; (kernels = next_subject(&n));) {
        struct random random = {12};
        for (int i = 0; i < 24; i++) {
            struct attention_case c = {.group = 1 + i % 8,
                                       .head_dim = i % 3 ? 64 : 80,
                                       .query_first = 60 * (i % 5),
                                       .tokens = 50,
                                       .key_end = 70 + 40 * (i % 7),
                                       .bands = i % 2 ? attention_case_string(90, 7)
                                                      : attention_case_lm_infinite(80, 0, 1),
                                       .scale_log2 = 0.5f};
            attention_case_create(&c);
            put_operands(&c, &random);
            struct attention_state state;
            attention_state_create(&state, &c);
            const struct attention_part part = attention_case_whole(&c);
            attention_case_run(&c, kernels, &part, &state);
            expect_exact(&c, &state);
            attention_state_destroy(&state);
            attention_case_destroy(&c);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stores_rows_as_the_contract_says),
        cmocka_unit_test(is_exact_where_scales_are_powers_of_two),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
