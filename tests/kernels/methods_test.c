/* Whole methods through rope and attention: the vectors that the definitions of the methods were
 * checked with (tests/support/method_vectors.h). Head_dim 2 in a head_dim of 16: one RoPE pair with
 * inv_freq 1, the rest zero. */
#include <math.h>

#include "tests/kernels/attention_case.h"
#include "tests/kernels/subjects.h"
#include "tests/support/method_vectors.h"
#include "tests/support/plan_methods.h"
#include "tests/support/unit.h"

enum { HEAD_DIM = 16, HALF = HEAD_DIM / 2, TOKENS = METHOD_VECTORS_TOKENS };

static const float LOG2E = 1.44269504f;
static const double LN2 = 0.693147180559945309417;

static struct bands bands_of(const char *spelling)
{
    const struct method method = plan_methods_parse(spelling);
    struct bands bands;
    method_bands(&method, &bands);
    return bands;
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
                       const struct attention_state *state, int64_t row,
                       const struct method_vectors_row *expected, const char *what)
{
    bool exact = kernels->operand == DTYPE_F32;
    double max = (double)*attention_state_max(state, c, row, 0);
    double sum = (double)*attention_state_sum(state, c, row, 0);
    double acc = (double)attention_state_acc(state, c, row, 0)[0];
    expect_near(kernels, what, acc / sum, expected->o, exact ? 2e-6 : 0.03);
    expect_near(kernels, what, max * LN2 + log(sum), expected->lse, exact ? 1e-6 : 0.006);
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
    for (int n = 0; subjects_at(n); n++) {
        for (int v = 0; v < 2 * method_vectors_count; v++) {
            const struct method_vector *vector = &method_vectors[v / 2];
            const struct bands bands = bands_of(vector->spelling);
            const bool test_b = v % 2;
            struct attention_case c = toy_case(subjects_at(n), &bands, 0, test_b);
            struct attention_state state;
            attention_state_create(&state, &c);
            attend_both_stores(subjects_at(n), &bands, test_b, &state);
            expect_row(&c, subjects_at(n), &state, 5, test_b ? &vector->b5 : &vector->a5,
                       vector->spelling);
            expect_row(&c, subjects_at(n), &state, 11, test_b ? &vector->b11 : &vector->a11,
                       vector->spelling);
            attention_state_destroy(&state);
            attention_case_destroy(&c);
        }
    }
}

/* What never leaves its first band is plain RoPE, bit for bit. */
static void methods_that_change_nothing_equal_rope(void **unused)
{
    (void)unused;
    static const char *const same[] = {
        "string:shift=13,local=3",
        "lm_infinite:window=12,sinks=0",
        "lm_infinite:window=12,sinks=3",
        "streaming_llm:window=11,sinks=2",
        "rerope:window=12",
        "leaky_rerope:window=12,factor=3",
        "self_extend:window=12,group=3",
        "dca:chunk=14,local=2",
        "lampe:near=12,far=2,mapped=5,length=23",
    };
    const struct bands rope = bands_of("rope");
    for (int n = 0; subjects_at(n); n++) {
        for (size_t m = 0; m < sizeof same / sizeof same[0]; m++) {
            const struct bands bands = bands_of(same[m]);
            struct attention_case c = toy_case(subjects_at(n), &rope, 0, true);
            struct attention_state plain, other;
            attention_state_create(&plain, &c);
            attention_state_create(&other, &c);
            attend_both_stores(subjects_at(n), &rope, true, &plain);
            attend_both_stores(subjects_at(n), &bands, true, &other);
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
