/* Whole methods through rope and attention: the vectors that the definitions of the methods were
 * checked with. Head_dim 2 in a head_dim of 16: one RoPE pair with inv_freq 1, the rest zero;
 * values V_j = j; score scale 1 / sqrt(2); 12 tokens. In test A q = k = (1, 0), in test B q = (0,
 * 1) and k = (1, 0), which catches a wrong sign or direction. */
#include <math.h>

#include "tests/kernels/attention_case.h"
#include "tests/kernels/subjects.h"
#include "tests/support/unit.h"

enum { HEAD_DIM = 16, HALF = HEAD_DIM / 2, TOKENS = 12 };

static const float LOG2E = 1.44269504f;
static const double LN2 = 0.693147180559945309417;

struct vector {
    const char *method;
    struct bands bands;
    double o5_a, lse5_a, o11_a, lse11_a, o5_b, lse5_b, o11_b, lse11_b;
};

enum { VECTORS = 6 };

/* ReRoPE is LM-Infinite with every key a sink and window = ceiling, too. */
static void vectors(struct vector list[VECTORS])
{
    list[0] = (struct vector){"rope",   attention_case_rope(),
                              3.015002, 1.885108,
                              6.067317, 2.583692,
                              1.847005, 1.896128,
                              4.930595, 2.583859};
    list[1] = (struct vector){"string S4 W1", attention_case_string(4, 1),
                              2.979717,       1.938083,
                              5.527919,       2.629888,
                              2.745351,       1.401085,
                              5.082276,       2.396624};
    list[2] = (struct vector){"lm_infinite G2 B4 c4",
                              attention_case_lm_infinite(4, 2, 4),
                              3.312844,
                              1.790901,
                              8.051964,
                              1.790901,
                              1.922750,
                              1.855937,
                              4.719680,
                              1.855937};
    const struct vector rerope = {"rerope w4", attention_case_rerope(4),
                                  3.312844,    1.790901,
                                  6.678531,    2.279751,
                                  1.922750,    1.855937,
                                  4.584443,    2.812039};
    list[3] = list[4] = rerope;
    list[4].bands = attention_case_lm_infinite(4, 12, 4);
    list[5] = (struct vector){"dca chunk 6 local 2",
                              attention_case_dca(6, 2),
                              3.015002,
                              1.885108,
                              5.447538,
                              2.593447,
                              1.847005,
                              1.896128,
                              4.655086,
                              2.679977};
}

/* Rotates one head of HEAD_DIM at a position, through the variant, back to float32. */
static void rotated(const struct kernels *kernels, float *out, const float *x, double position,
                    bool query)
{
    double inv_freq[HALF] = {1};
    float table[HALF * 2];
    uint16_t narrow[HEAD_DIM];
    const struct rope_place place = {position, 1};
    rope_table(table, &place, 1, inv_freq, HALF);
    bool half = query && kernels->operand == DTYPE_BF16;
    struct rope_args args = {.out = half ? (void *)narrow : (void *)out,
                             .out_stride = HEAD_DIM,
                             .x = x,
                             .x_stride = HEAD_DIM,
                             .table = table,
                             .tokens = 1,
                             .heads = 1,
                             .head_dim = HEAD_DIM};
    (query ? kernels->rope_queries : kernels->rope_keys)(&args);
    for (int d = 0; half && d < HEAD_DIM; d++)
        out[d] = dtype_f32_from_bf16(narrow[d]);
}

static struct attention_case toy_case(const struct kernels *kernels, const struct bands *bands,
                                      enum bands_store store, bool test_b)
{
    struct attention_case c = {.group = 1,
                               .head_dim = HEAD_DIM,
                               .tokens = TOKENS,
                               .key_end = TOKENS,
                               .store = store,
                               .bands = *bands,
                               .scale_log2 = LOG2E / sqrtf(2)};
    attention_case_create(&c);
    float q[HEAD_DIM] = {0}, k[HEAD_DIM] = {1};
    q[test_b ? HALF : 0] = 1;
    for (int64_t t = 0; t < TOKENS; t++) {
        for (int f = 0; f < bands->query_frames; f++)
            rotated(kernels, attention_case_query(&c, f, t, 0), q,
                    bands_position(&bands->query_frame[f], t), true);
        for (int f = 0; f < bands->key_frames; f++)
            rotated(kernels, attention_case_key(&c, f, t), k,
                    bands_position(&bands->key_frame[f], t), false);
        c.values[t * HEAD_DIM] = (float)t;
    }
    return c;
}

static void expect_near(const struct kernels *kernels, const char *what, double got, double want,
                        double tolerance)
{
    if (fabs(got - want) <= tolerance)
        return;
    print_error("%s, %s: got %.7f, not %.6f\n", kernels->name, what, got, want);
    assert_true(false);
}

static void expect_row(const struct attention_case *c, const struct kernels *kernels,
                       const struct attention_state *state, int64_t row, double o, double lse,
                       const char *what)
{
    bool exact = kernels->operand == DTYPE_F32;
    double max = (double)*attention_state_max(state, c, row, 0);
    double sum = (double)*attention_state_sum(state, c, row, 0);
    double acc = (double)attention_state_acc(state, c, row, 0)[0];
    expect_near(kernels, what, acc / sum, o, exact ? 2e-6 : 0.03);
    expect_near(kernels, what, max * LN2 + log(sum), lse, exact ? 1e-6 : 0.006);
}

/* Far sinks first, then the ordinary panels, into one state. */
static void attend_both_stores(const struct kernels *kernels, const struct bands *bands,
                               bool test_b, struct attention_state *state)
{
    for (int store = BANDS_SINKS; store >= BANDS_PANELS; store--) {
        struct attention_case c = toy_case(kernels, bands, (enum bands_store)store, test_b);
        struct attention_part whole = attention_case_whole(&c);
        attention_case_run(&c, kernels, &whole, state);
        attention_case_destroy(&c);
    }
}

static void agrees_with_the_vectors_of_the_methods(void **unused)
{
    (void)unused;
    struct vector list[VECTORS];
    vectors(list);
    for (int n = 0; subjects_at(n); n++) {
        for (int v = 0; v < 2 * VECTORS; v++) {
            const struct vector *vector = &list[v / 2];
            bool test_b = v % 2;
            struct attention_case c = toy_case(subjects_at(n), &vector->bands, 0, test_b);
            struct attention_state state;
            attention_state_create(&state, &c);
            attend_both_stores(subjects_at(n), &vector->bands, test_b, &state);
            expect_row(&c, subjects_at(n), &state, 5, test_b ? vector->o5_b : vector->o5_a,
                       test_b ? vector->lse5_b : vector->lse5_a, vector->method);
            expect_row(&c, subjects_at(n), &state, 11, test_b ? vector->o11_b : vector->o11_a,
                       test_b ? vector->lse11_b : vector->lse11_a, vector->method);
            attention_state_destroy(&state);
            attention_case_destroy(&c);
        }
    }
}

/* S or B beyond the text is plain RoPE, bit for bit. */
static void methods_that_change_nothing_equal_rope(void **unused)
{
    (void)unused;
    const struct bands rope = attention_case_rope();
    const struct bands same[] = {attention_case_string(TOKENS + 1, 3),
                                 attention_case_lm_infinite(TOKENS, 0, TOKENS),
                                 attention_case_lm_infinite(TOKENS, 3, TOKENS)};
    for (int n = 0; subjects_at(n); n++) {
        for (size_t m = 0; m < sizeof same / sizeof same[0]; m++) {
            struct attention_case c = toy_case(subjects_at(n), &rope, 0, true);
            struct attention_state plain, other;
            attention_state_create(&plain, &c);
            attention_state_create(&other, &c);
            attend_both_stores(subjects_at(n), &rope, true, &plain);
            attend_both_stores(subjects_at(n), &same[m], true, &other);
            assert_memory_equal(plain.acc.at, other.acc.at, plain.acc.bytes);
            assert_memory_equal(plain.max.at, other.max.at, plain.max.bytes);
            assert_memory_equal(plain.sum.at, other.sum.at, plain.sum.bytes);
            attention_state_destroy(&plain);
            attention_state_destroy(&other);
            attention_case_destroy(&c);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_the_vectors_of_the_methods),
        cmocka_unit_test(methods_that_change_nothing_equal_rope),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
