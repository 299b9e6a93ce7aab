/* The attention kernels on a GPU against float64 truth, at the shapes, lengths and bands that the
 * CPU's are checked at (tests/kernels/attention_case.h): whole and cut into calls, spans and
 * extents, carried and finished, split and combined. Data is fresh each time, and its seed is
 * printed; every output is poisoned first and lies between canaries; rows of the cache that are not
 * stored hold NaN. Arguments: a seed, and how many cases; fewer for compute-sanitizer. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "kernels/kernels_cuda.h"
#include "tests/gpu/attention_on_gpu.h"
#include "tests/gpu/gpu_cases.h"
#include "tests/gpu/gpu_memory.h"
#include "tests/support/unit.h"

static struct random seed;
static const struct kernels_cuda *kernels; /* those being tested */
static int cases = GPU_CASES;

static void expect_close(const struct attention_on_gpu *on, const struct attention_case *c,
                         const struct attention_state *state, const char *what)
{
    /* Probabilities are rounded to the operand type; sums and exponents are float32. */
    const double rms_budget = on->operand == DTYPE_BF16 ? 2.5e-3 : 4e-4;
    const double lse_budget = 1e-5;
    const struct kernels unrotated = {.cache = DTYPE_BF16};
    struct attention_error error = attention_case_error(c, &unrotated, state);
    if (error.rms <= rms_budget && error.lse <= lse_budget)
        return;
    fail_msg("%s, %s: group %d, head_dim %d, queries %lld + %lld, keys %lld..%lld, store %d: rms "
             "%.3g (budget %.3g), lse %.3g (budget %.3g)",
             dtype_name(on->operand), what, c->group, c->head_dim, (long long)c->query_first,
             (long long)c->tokens, (long long)c->key_first, (long long)c->key_end, (int)c->store,
             error.rms, rms_budget, error.lse, lse_budget);
}

static struct bands random_bands(int64_t reach)
{
    const int64_t shift = random_between(&seed, 1, reach);
    switch (random_between(&seed, 0, 6)) {
    case 0:
        return attention_case_rope();
    case 1:
        return attention_case_string(shift, random_between(&seed, 1, shift + 1));
    case 2:
        return attention_case_lm_infinite(shift, 0, 1);
    case 3:
        return attention_case_rerope(shift);
    case 4:
        return attention_case_dca(shift + 24, 1);
    default:
        return attention_case_lm_infinite(shift, random_between(&seed, 1, 80), shift);
    }
}

/* As in tests/kernels/attention_test.c. */
static struct attention_case random_case(int group, int head_dim, int64_t tokens_most)
{
    struct attention_case c = {.group = group, .head_dim = head_dim};
    c.tokens = random_between(&seed, 1, tokens_most + 1);
    c.query_first = random_between(&seed, 0, 500);
    c.bands = random_bands(400);
    c.key_first = random_between(&seed, 0, 7) * PANEL_TOKENS;
    c.key_end = c.key_first + random_between(&seed, 1, GPU_CASES_KEYS);
    if (c.bands.sinks > 0 && random_between(&seed, 0, 2)) {
        c.store = BANDS_SINKS;
        c.key_first = 0;
        c.key_end = c.bands.sinks;
    }
    if (c.bands.sinks == 0 && random_between(&seed, 0, 3) == 0) { /* beyond 32 bits */
        const int64_t far = (int64_t)PANEL_TOKENS << 27;
        c.query_first += far;
        c.key_first += far;
        c.key_end += far;
    }
    c.scale_log2 = 1.44269504f / sqrtf((float)head_dim);
    attention_case_create(&c);
    return c;
}

static const int head_dims[] = {64, 128, 16, 80, 96, 256, 112};
static const int groups[] = {1, 2, 3, 4, 5, 7, 8};
static const float spreads[] = {0.5f, 1, 4};

static enum dtype operand_of(int i)
{
    return i % 2 ? DTYPE_F16 : DTYPE_BF16;
}

/* Cuts the queries in two spans and the keys in calls of a few extents. */
static void prefill_in_pieces(struct attention_on_gpu *on, struct attention_state *state)
{
    const struct attention_case *c = on->c;
    struct attention_on_gpu_call call = {.first = true};
    const int64_t cut = random_between(&seed, 0, c->tokens + 1);
    call.spans[call.span_count++] = (struct attention_span){0, c->query_first, cut};
    call.spans[call.span_count++] =
        (struct attention_span){cut, c->query_first + cut, c->tokens - cut};
    for (int64_t key = c->key_first; key < c->key_end;) {
        call.extent_count = 0;
        while (call.extent_count < 2 && key < c->key_end) {
            int64_t end = key + random_between(&seed, 1, 3) * PANEL_TOKENS;
            end = end < c->key_end ? end : c->key_end;
            call.extents[call.extent_count++] = attention_on_gpu_extent(on, key, end);
            key = end;
        }
        attention_on_gpu_prefill(on, &call);
        call.first = false;
    }
    attention_on_gpu_state(on, state);
}

static void prefill_is_close_to_the_truth(void **unused)
{
    (void)unused;
    for (int i = 0; i < cases; i++) {
        struct attention_case c =
            random_case(groups[i % 7], head_dims[i / 2 % 7], GPU_CASES_QUERIES);
        struct attention_on_gpu on =
            attention_on_gpu_create(kernels, &c, operand_of(i), &seed, spreads[i % 3]);
        struct attention_state state;
        attention_state_create(&state, &c);
        struct attention_on_gpu_call whole = attention_on_gpu_whole(&on);
        attention_on_gpu_prefill(&on, &whole);
        attention_on_gpu_state(&on, &state);
        expect_close(&on, &c, &state, "prefill");
        prefill_in_pieces(&on, &state);
        expect_close(&on, &c, &state, "prefill in pieces");
        attention_state_destroy(&state);
        attention_on_gpu_destroy(&on);
        attention_case_destroy(&c);
    }
}

/* The last call leaves finished rows: the state's own, divided and rounded once. */
static void finished_rows_are_the_state_divided(void **unused)
{
    (void)unused;
    for (int i = 0; i < cases / 4; i++) {
        struct attention_case c = random_case(groups[i % 7], head_dims[i % 7], GPU_CASES_QUERIES);
        struct attention_on_gpu on = attention_on_gpu_create(kernels, &c, operand_of(i), &seed, 1);
        struct attention_state state;
        attention_state_create(&state, &c);
        struct attention_on_gpu_call whole = attention_on_gpu_whole(&on);
        attention_on_gpu_prefill(&on, &whole);
        attention_on_gpu_state(&on, &state);
        whole.last = true;
        attention_on_gpu_prefill(&on, &whole);
        attention_on_gpu_expect_finished(&on, &state);
        attention_state_destroy(&state);
        attention_on_gpu_destroy(&on);
        attention_case_destroy(&c);
    }
}

static void decode_is_close_to_the_truth(void **unused)
{
    (void)unused;
    for (int i = 0; i < cases; i++) {
        struct attention_case c = random_case(groups[i % 7], head_dims[i / 2 % 7], 1 + i % 5);
        if (i % 3 && c.key_end > c.tokens) /* the newest keys are the queries' own */
            c.query_first = c.key_end - c.tokens;
        struct attention_on_gpu on =
            attention_on_gpu_create(kernels, &c, operand_of(i), &seed, spreads[i % 3]);
        struct attention_state state;
        attention_state_create(&state, &c);
        attention_on_gpu_decode(&on, 1 + i % 9);
        attention_on_gpu_state(&on, &state);
        expect_close(&on, &c, &state, "decode");
        attention_state_destroy(&state);
        attention_on_gpu_destroy(&on);
        attention_case_destroy(&c);
    }
}

/* Every key scores the number of its query frame and its value is a unit vector: acc shows pair by
 * pair which band was used, around the seams of both methods. */
static void each_key_is_seen_through_its_own_band(void **unused)
{
    (void)unused;
    enum { SEAM = 70, TOKENS = 128 };
    for (int i = 0; i < 4; i++) {
        struct attention_case c = {.group = 3, .head_dim = TOKENS, .key_end = TOKENS};
        c.tokens = TOKENS;
        c.bands =
            i / 2 ? attention_case_lm_infinite(SEAM, 4, SEAM) : attention_case_string(SEAM, 9);
        c.scale_log2 = 1;
        attention_case_create(&c);
        struct attention_on_gpu on = attention_on_gpu_create(kernels, &c, operand_of(i), &seed, 0);
        memset(c.keys, 0, (size_t)(TOKENS * TOKENS) * sizeof *c.keys);
        memset(c.values, 0, (size_t)(TOKENS * TOKENS) * sizeof *c.values);
        for (int64_t j = 0; j < TOKENS; j++) {
            c.keys[j * TOKENS] = 1;
            c.values[j * TOKENS + j] = 1;
            for (int h = 0; h < c.group; h++)
                attention_case_query(&c, 1, j, h)[0] = 1;
        }
        attention_on_gpu_upload(&on);
        struct attention_on_gpu_call whole = attention_on_gpu_whole(&on);
        attention_on_gpu_prefill(&on, &whole);
        struct attention_state state;
        attention_state_create(&state, &c);
        attention_on_gpu_state(&on, &state);
        for (int64_t q = 0; q < TOKENS; q++) {
            float max = i / 2 == 0 && q >= SEAM ? 1 : 0;
            for (int64_t j = 0; j < TOKENS; j++) {
                float far = i / 2 ? 0 : exp2f(1 - max);
                float want = j > q ? 0 : q - j >= SEAM ? far : exp2f(-max);
                for (int h = 0; h < c.group; h++)
                    assert_true(attention_state_acc(&state, &c, q, h)[j] == want);
            }
            assert_true(*attention_state_max(&state, &c, q, 1) == max);
        }
        attention_state_destroy(&state);
        attention_on_gpu_destroy(&on);
        attention_case_destroy(&c);
    }
}

/* A row's numbers do not depend on which rows share its tile: one call, other spans. */
static void queries_may_be_cut_anywhere(void **unused)
{
    (void)unused;
    for (int i = 0; i < cases / 4; i++) {
        struct attention_case c = random_case(groups[i % 7], head_dims[i % 7], GPU_CASES_QUERIES);
        struct attention_on_gpu on = attention_on_gpu_create(kernels, &c, operand_of(i), &seed, 1);
        struct attention_state whole, cut;
        attention_state_create(&whole, &c);
        attention_state_create(&cut, &c);
        struct attention_on_gpu_call call = attention_on_gpu_whole(&on);
        attention_on_gpu_prefill(&on, &call);
        attention_on_gpu_state(&on, &whole);
        call.span_count = 0;
        for (int64_t row = 0; row < c.tokens && call.span_count < ATTENTION_SPANS_MAX;) {
            const bool last = call.span_count + 1 == ATTENTION_SPANS_MAX;
            const int64_t tokens =
                last ? c.tokens - row : random_between(&seed, 1, c.tokens - row + 1);
            call.spans[call.span_count++] =
                (struct attention_span){row, c.query_first + row, tokens};
            row += tokens;
        }
        attention_on_gpu_prefill(&on, &call);
        attention_on_gpu_state(&on, &cut);
        assert_memory_equal(whole.acc.at, cut.acc.at, whole.acc.bytes);
        assert_memory_equal(whole.max.at, cut.max.at, whole.max.bytes);
        assert_memory_equal(whole.sum.at, cut.sum.at, whole.sum.bytes);
        attention_state_destroy(&whole);
        attention_state_destroy(&cut);
        attention_on_gpu_destroy(&on);
        attention_case_destroy(&c);
    }
}

/* More tiles than a device works on at a time, against as many rows a call as it does. */
static void a_long_call_is_many_short_ones(void **unused)
{
    (void)unused;
    for (int i = 0; i < 4; i++) {
        struct attention_case c = random_case(8, 64 << i / 2, 1);
        attention_case_destroy(&c);
        c.tokens = c.key_end = GPU_CASES_LONG;
        c.query_first = c.key_first = 0;
        c.store = BANDS_PANELS;
        c.bands = i % 2 ? attention_case_string(GPU_CASES_LONG / 3, 9) : attention_case_rope();
        attention_case_create(&c);
        struct attention_on_gpu on = attention_on_gpu_create(kernels, &c, operand_of(i), &seed, 1);
        struct attention_state whole, piece;
        attention_state_create(&whole, &c);
        attention_state_create(&piece, &c);
        struct attention_on_gpu_call call = attention_on_gpu_whole(&on);
        attention_on_gpu_prefill(&on, &call);
        attention_on_gpu_state(&on, &whole);
        for (int64_t row = 0, tokens; row < c.tokens; row += tokens) {
            tokens = random_between(&seed, 1, GPU_CASES_LONG / 4);
            tokens = tokens < c.tokens - row ? tokens : c.tokens - row;
            call.spans[0] = (struct attention_span){row, row, tokens};
            attention_on_gpu_prefill(&on, &call);
            attention_on_gpu_state(&on, &piece);
            assert_memory_equal(attention_state_acc(&whole, &c, row, 0),
                                attention_state_acc(&piece, &c, row, 0),
                                (size_t)(tokens * c.group * c.head_dim) * sizeof(float));
            assert_memory_equal(attention_state_sum(&whole, &c, row, 0),
                                attention_state_sum(&piece, &c, row, 0),
                                (size_t)(tokens * c.group) * sizeof(float));
        }
        attention_state_destroy(&whole);
        attention_state_destroy(&piece);
        attention_on_gpu_destroy(&on);
        attention_case_destroy(&c);
    }
}

/* Before anything is put on a stream; empty calls are no mistake. */
static void refuses_what_it_has_no_kernel_for(void **unused)
{
    (void)unused;
    const struct regimes regimes = {0};
    struct kernels_cuda_prefill prefill = {
        .regimes = &regimes, .heads = 4, .kv_heads = 2, .head_dim = 64, .operand = DTYPE_BF16};
    assert_int_equal(kernels->attention_prefill(&prefill, NULL), 0);
    prefill.head_dim = 72;
    assert_int_equal(kernels->attention_prefill(&prefill, NULL), 1);
    prefill.head_dim = 272;
    assert_int_equal(kernels->attention_prefill(&prefill, NULL), 1);
    prefill.head_dim = 64;
    prefill.kv_heads = 3;
    assert_int_equal(kernels->attention_prefill(&prefill, NULL), 1);
    prefill.kv_heads = 2;
    prefill.operand = DTYPE_F32;
    assert_int_equal(kernels->attention_prefill(&prefill, NULL), 1);
    prefill.operand = DTYPE_BF16;
    prefill.extent_count = ATTENTION_EXTENTS_MAX + 1;
    assert_int_equal(kernels->attention_prefill(&prefill, NULL), 1);
    struct kernels_cuda_decode decode = {
        .regimes = &regimes, .heads = 4, .kv_heads = 2, .head_dim = 64, .splits = 1};
    assert_int_equal(kernels->attention_decode(&decode, NULL), 0);
    decode.rows = 1; /* of operands in float32 */
    assert_int_equal(kernels->attention_decode(&decode, NULL), 1);
    decode.operand = DTYPE_F16;
    decode.splits = 0;
    assert_int_equal(kernels->attention_decode(&decode, NULL), 1);
}

/* States of random rows, every third one empty in every other row. */
static float *random_states(int count, int64_t rows, int head_dim)
{
    const int64_t floats = rows * (head_dim + 2);
    float *states = malloc((size_t)(count * floats) * sizeof *states);
    assert_non_null(states);
    for (int s = 0; s < count; s++) {
        float *acc = states + s * floats, *max = acc + rows * head_dim, *sum = max + rows;
        for (int64_t r = 0; r < rows; r++) {
            const bool empty = s % 3 == 1 && r % 2;
            max[r] = empty ? -INFINITY : 20 * random_normal(&seed);
            sum[r] = empty ? 0 : 1 + fabsf(random_normal(&seed));
            for (int d = 0; d < head_dim; d++)
                acc[r * head_dim + d] = empty ? 0 : random_normal(&seed);
        }
    }
    return states;
}

/* The fold in float64: acc [head_dim] and the sum, of the largest maximum. */
static double fold(double *acc, double *top, const float *states, int count, int64_t rows,
                   int64_t r, int head_dim)
{
    const int64_t floats = rows * (head_dim + 2);
    double sum = 0;
    *top = -INFINITY;
    memset(acc, 0, (size_t)head_dim * sizeof *acc);
    for (int s = 0; s < count; s++)
        *top = fmax(*top, (double)states[s * floats + rows * head_dim + r]);
    for (int s = 0; s < count; s++) {
        const float *state = states + s * floats;
        const double weight = exp2((double)state[rows * head_dim + r] - *top);
        sum += weight * (double)state[rows * (head_dim + 1) + r];
        for (int d = 0; d < head_dim; d++)
            acc[d] += weight * (double)state[r * head_dim + d];
    }
    return sum;
}

static void many_states_become_one(void **unused)
{
    (void)unused;
    enum { HEADS = 3 };
    static const int counts[] = {1, 2, 128, 129, 300};
    for (int n = 0; n < 5; n++) {
        const int count = counts[n], head_dim = head_dims[n];
        const int64_t rows = 2 * HEADS, floats = rows * (head_dim + 2);
        float *states = random_states(count, rows, head_dim);
        float *got = malloc((size_t)floats * sizeof *got);
        float *finished = malloc((size_t)(rows * head_dim) * sizeof *finished);
        assert_true(got && finished);
        struct gpu_memory in = gpu_memory_create((size_t)(count * floats) * 4, states, 0);
        struct gpu_memory state = gpu_memory_create((size_t)floats * 4, NULL, 0xff);
        struct gpu_memory out = gpu_memory_create((size_t)(rows * head_dim) * 4, NULL, 0xff);
        const struct kernels_cuda_combine args = {.states = in.at,
                                                  .count = count,
                                                  .state = state.at,
                                                  .rows = 2,
                                                  .heads = HEADS,
                                                  .head_dim = head_dim};
        gpu_memory_settle("combine", kernels->attention_combine(&args, NULL));
        const struct kernels_cuda_finish finish = {.out = out.at,
                                                   .out_dtype = DTYPE_F32,
                                                   .acc = state.at,
                                                   .sum = (float *)state.at + rows * (head_dim + 1),
                                                   .rows = rows,
                                                   .head_dim = head_dim};
        gpu_memory_settle("finish", kernels->attention_finish(&finish, NULL));
        gpu_memory_read(&state, got);
        gpu_memory_read(&out, finished);
        for (int64_t r = 0; r < rows; r++) {
            double acc[ATTENTION_HEAD_DIM_MAX], top;
            const double sum = fold(acc, &top, states, count, rows, r, head_dim);
            if (count == 1 || sum == 0)
                assert_true(got[rows * head_dim + r] == states[rows * head_dim + r]);
            assert_true((double)got[rows * head_dim + r] == top);
            assert_true(fabs((double)got[rows * (head_dim + 1) + r] - sum) <= 1e-5 * sum);
            for (int d = 0; d < head_dim; d++) {
                const double want = sum == 0 ? 0 : acc[d] / sum;
                assert_true(fabs((double)finished[r * head_dim + d] - want) <= 1e-5);
            }
        }
        free(states);
        free(got);
        free(finished);
        gpu_memory_destroy(&in);
        gpu_memory_destroy(&state);
        gpu_memory_destroy(&out);
    }
}

int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prefill_is_close_to_the_truth),
        cmocka_unit_test(finished_rows_are_the_state_divided),
        cmocka_unit_test(decode_is_close_to_the_truth),
        cmocka_unit_test(each_key_is_seen_through_its_own_band),
        cmocka_unit_test(many_states_become_one),
        cmocka_unit_test(queries_may_be_cut_anywhere),
        cmocka_unit_test(a_long_call_is_many_short_ones),
        cmocka_unit_test(refuses_what_it_has_no_kernel_for),
    };
    if (!gpu_memory_present())
        return GPU_ABSENT;
    seed.state = count > 1 ? strtoull(arguments[1], NULL, 0) : GPU_CASES_SEED;
    cases = count > 2 ? atoi(arguments[2]) : GPU_CASES;
    printf("seed %llu\n", (unsigned long long)seed.state);
    kernels = kernels_cuda_find_portable();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    kernels = kernels_cuda_find();
    if (kernels->attention_prefill != kernels_cuda_find_portable()->attention_prefill) {
        printf("and with the kernels for this device's architecture\n");
        failed += cmocka_run_group_tests(tests, NULL, NULL);
    }
    return failed;
}
