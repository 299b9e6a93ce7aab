/* Every variant of attention: exact data bit for bit, float64 truth within the budget, canaries
 * around every output (attention_case.c), and the same bits however a call is cut. */
#include <math.h>
#include <stdio.h>

#include "tests/kernels/attention_case.h"
#include "tests/kernels/subjects.h"
#include "tests/support/unit.h"

/* Whether queries and probabilities are rounded to whole numbers to meet int8 panels. */
static bool rounds_to_whole(const struct kernels *kernels)
{
    return kernels->cache == DTYPE_INT8 && strcmp(kernels->name, "reference") != 0;
}

/* Of a score that is made of a rounded query: four times its deviation, 0.29 steps of 2^-13 of the
 * query's largest element, 16 at the spreads of these tests. */
static const double ROUNDED_BUDGET = 4 * 0.29 * 16 / 8192;

/* Whether prefill is in 16-bit integers, of bf16 panels. */
static bool is_whole_in_prefill(const struct kernels *kernels)
{
    return kernels->cache == DTYPE_BF16 && strncmp(kernels->name, "avx2", 4) == 0;
}

/* Four times the deviation of 64 numbers that are each off by 0.29 of a unit, of which the largest
 * has 2^14 at least. */
static const double INTEGERS_BUDGET = 4 * 0.29 * 8 / 16384;

/* Four times the deviation of a score of a query of four times a key's length, at head_dim 256: of
 * normal elements a tenth is below 2^7 units of 2^-14 lengths and off by 0.29, in both operands. */
static const double INTEGERS_LSE_BUDGET = 4 * 1.414 * 0.29 * 0.316 * 4 * 16 / 16384;

/* What a call may be off by. */
struct budget {
    double rms, lse;
};

/* Sums and operands are exact to float32 but where probabilities are rounded to bf16, or both
 * operands to whole numbers. */
static struct budget budget_of(const struct kernels *kernels, bool decode)
{
    if (rounds_to_whole(kernels))
        return (struct budget){ROUNDED_BUDGET, ROUNDED_BUDGET};
    if (!decode && is_whole_in_prefill(kernels))
        return (struct budget){INTEGERS_BUDGET, INTEGERS_LSE_BUDGET};
    const bool rounds =
        kernels->cache == DTYPE_BF16 && strncmp(kernels->name, "avx512_bf16", 11) == 0;
    return (struct budget){rounds ? 2.5e-3 : 5e-6, 1e-5};
}

static void expect_within_budget(const struct attention_case *c, const struct kernels *kernels,
                                 const struct attention_state *state, bool decode, const char *what)
{
    const struct attention_error error = attention_case_error(c, kernels, state);
    const struct budget budget = budget_of(kernels, decode);
    if (error.rms <= budget.rms && error.lse <= budget.lse)
        return;
    print_error(
        "%s, %s: group %d, head_dim %d, queries %lld + %lld, keys %lld..%lld, store %d: rms "
        "%.3g (budget %.3g), lse %.3g (budget %.3g)\n",
        kernels->name, what, c->group, c->head_dim, (long long)c->query_first, (long long)c->tokens,
        (long long)c->key_first, (long long)c->key_end, (int)c->store, error.rms, budget.rms,
        error.lse, budget.lse);
    assert_true(false);
}

static struct bands random_bands(struct random *random, int64_t reach)
{
    switch (random_between(random, 0, 7)) {
    case 0:
        return attention_case_rope();
    case 1: {
        int64_t shift = random_between(random, 1, reach);
        return attention_case_string(shift, random_between(random, 1, shift + 1));
    }
    case 2:
        return attention_case_lm_infinite(random_between(random, 1, reach), 0, 1);
    case 3:
        return attention_case_rerope(random_between(random, 1, reach));
    case 4:
        return attention_case_dca(random_between(random, 8, reach), 1);
    default: {
        int64_t window = random_between(random, 1, reach);
        return attention_case_lm_infinite(window, random_between(random, 1, 80), window);
    }
    }
}

/* Spans of any lengths and places, ends inside panels, the keys before, around or after the
 * queries; far sinks out of their own store. */
static struct attention_case random_case(struct random *random, int group, int head_dim)
{
    struct attention_case c = {.group = group, .head_dim = head_dim};
    c.tokens = random_between(random, 1, 2 + 130 / group);
    c.query_first = random_between(random, 0, 500);
    c.bands = random_bands(random, 400);
    c.key_first = random_between(random, 0, 7) * PANEL_TOKENS;
    c.key_end = c.key_first + random_between(random, 1, 400);
    if (c.bands.sinks > 0 && random_between(random, 0, 2)) {
        c.store = BANDS_SINKS;
        c.key_first = 0;
        c.key_end = c.bands.sinks;
    }
    c.scale_log2 = 1.44269504f / sqrtf((float)head_dim);
    attention_case_create(&c);
    return c;
}

static void keeps_within_budget_of_the_truth(void **unused)
{
    (void)unused;
    static const int head_dims[] = {64, 128, 16, 80, 96, 256};
    static const int groups[] = {1, 2, 3, 4, 5, 7, 8};
    static const float spreads[] = {0.5f, 1, 4};
    for (int n = 0; subjects_attention_at(n); n++) {
        const struct kernels *kernels = subjects_attention_at(n);
        struct random random = {20261122};
        for (int i = 0; i < 84; i++) {
            struct attention_case c = random_case(&random, groups[i % 7], head_dims[i / 7 % 6]);
            attention_case_randomise(&c, kernels, &random, spreads[i % 3]);
            struct attention_state state;
            attention_state_create(&state, &c);
            struct attention_part whole = attention_case_whole(&c);
            attention_case_run(&c, kernels, &whole, &state);
            expect_within_budget(&c, kernels, &state, false, "random case");
            attention_state_destroy(&state);
            attention_case_destroy(&c);
        }
    }
}

static void expect_same_bits(const struct attention_case *c, const struct kernels *kernels,
                             const struct attention_state *a, const struct attention_state *b,
                             const char *what)
{
    if (memcmp(a->acc.at, b->acc.at, a->acc.bytes) == 0 &&
        memcmp(a->max.at, b->max.at, a->max.bytes) == 0 &&
        memcmp(a->sum.at, b->sum.at, a->sum.bytes) == 0)
        return;
    print_error(
        "%s: %s changed bits: group %d, head_dim %d, queries %lld + %lld, keys %lld..%lld\n",
        kernels->name, what, c->group, c->head_dim, (long long)c->query_first, (long long)c->tokens,
        (long long)c->key_first, (long long)c->key_end);
    assert_true(false);
}

/* Queries in random pieces, and for each the keys in random pieces, ascending. */
static void run_in_pieces(const struct attention_case *c, const struct kernels *kernels,
                          struct random *random, bool decode, struct attention_state *state)
{
    for (int64_t first = 0, end; first < c->tokens; first = end) {
        end = decode ? first + 1 : first + random_between(random, 1, c->tokens - first + 1);
        int64_t panels = (c->key_end - c->key_first + PANEL_TOKENS - 1) / PANEL_TOKENS;
        for (int64_t panel = 0, next; panel < panels; panel = next) {
            next = panel + random_between(random, 1, panels - panel + 1);
            int64_t key_end = c->key_first + next * PANEL_TOKENS;
            struct attention_part part = {
                .first = first,
                .end = end,
                .key_first = c->key_first + panel * PANEL_TOKENS,
                .key_end = key_end < c->key_end ? key_end : c->key_end,
                .decode = decode,
            };
            attention_case_run(c, kernels, &part, state);
        }
    }
}

static void gives_the_same_bits_however_calls_are_cut(void **unused)
{
    (void)unused;
    static const int groups[] = {1, 2, 3, 4, 8};
    for (int n = 0; subjects_attention_at(n); n++) {
        const struct kernels *kernels = subjects_attention_at(n);
        struct random random = {7};
        for (int i = 0; i < 30; i++) {
            struct attention_case c = random_case(&random, groups[i % 5], i % 2 ? 64 : 80);
            attention_case_randomise(&c, kernels, &random, 2);
            struct attention_state whole, pieces;
            attention_state_create(&whole, &c);
            attention_state_create(&pieces, &c);
            struct attention_part part = attention_case_whole(&c);
            attention_case_run(&c, kernels, &part, &whole);
            run_in_pieces(&c, kernels, &random, false, &pieces);
            expect_same_bits(&c, kernels, &whole, &pieces, "cutting the call");
            attention_state_destroy(&whole);
            attention_state_destroy(&pieces);
            attention_case_destroy(&c);
        }
    }
}

static void decode_agrees_with_prefill(void **unused)
{
    (void)unused;
    for (int n = 0; subjects_attention_at(n); n++) {
        const struct kernels *kernels = subjects_attention_at(n);
        struct random random = {8};
        for (int i = 0; i < 12; i++) {
            struct attention_case c = random_case(&random, 1 + i % 8, i % 2 ? 64 : 128);
            attention_case_randomise(&c, kernels, &random, 1);
            struct attention_state state;
            attention_state_create(&state, &c);
            run_in_pieces(&c, kernels, &random, true, &state);
            expect_within_budget(&c, kernels, &state, true, "decode");
            attention_state_destroy(&state);
            attention_case_destroy(&c);
        }
    }
}

/* The cap brings scores together, so the budget without it holds; a NaN stays one. */
static void capped_scores_keep_within_budget_of_the_truth(void **unused)
{
    (void)unused;
    static const float caps[] = {0.5f, 4, 72};
    for (int n = 0; subjects_attention_at(n); n++) {
        const struct kernels *kernels = subjects_attention_at(n);
        struct random random = {20261201};
        for (int i = 0; i < 24; i++) {
            struct attention_case c = random_case(&random, 1 + i % 5, i % 2 ? 64 : 128);
            c.cap_log2 = caps[i % 3];
            attention_case_randomise(&c, kernels, &random, 4);
            struct attention_state state, plain;
            attention_state_create(&state, &c);
            attention_state_create(&plain, &c);
            struct attention_part whole = attention_case_whole(&c);
            attention_case_run(&c, kernels, &whole, &state);
            expect_within_budget(&c, kernels, &state, false, "capped");
            c.cap_log2 = 0;
            attention_case_run(&c, kernels, &whole, &plain);
            if (i % 3 == 0 && *attention_state_sum(&plain, &c, c.tokens - 1, 0) > 1)
                assert_true(*attention_state_max(&state, &c, c.tokens - 1, 0) <= 0.5f);
            attention_state_destroy(&plain);
            attention_state_destroy(&state);
            attention_case_destroy(&c);
        }
    }
}

/* Keys that no query of the call sees, before and after those that some do, change nothing. */
static void panels_that_are_not_seen_change_nothing(void **unused)
{
    (void)unused;
    for (int n = 0; subjects_attention_at(n); n++) {
        const struct kernels *kernels = subjects_attention_at(n);
        struct random random = {9};
        struct attention_case c = {.group = 3,
                                   .head_dim = 64,
                                   .query_first = 500,
                                   .tokens = 20,
                                   .key_end = 900,
                                   .bands = attention_case_lm_infinite(100, 0, 1),
                                   .scale_log2 = 0.2f};
        attention_case_create(&c);
        attention_case_randomise(&c, kernels, &random, 1);
        struct attention_state all, needed;
        attention_state_create(&all, &c);
        attention_state_create(&needed, &c);
        struct attention_part part = attention_case_whole(&c);
        attention_case_run(&c, kernels, &part, &all);
        part.key_first = 401 / PANEL_TOKENS * PANEL_TOKENS;
        part.key_end = 520;
        attention_case_run(&c, kernels, &part, &needed);
        expect_same_bits(&c, kernels, &all, &needed, "leaving out unseen panels");
        attention_state_destroy(&all);
        attention_state_destroy(&needed);
        attention_case_destroy(&c);
    }
}

enum { MODEL_CASES = 9, MODEL_CASE_KEYS = 404 };

/* A case in a model's shapes. */
static struct attention_case model_case(int number, const struct kernels *kernels,
                                        struct random *random)
{
    static const int head_dims[] = {64, 128, 80};
    struct attention_case c = {.group = 3,
                               .head_dim = head_dims[number % 3],
                               .query_first = MODEL_CASE_KEYS - 4,
                               .tokens = 4,
                               .key_end = MODEL_CASE_KEYS,
                               .bands = attention_case_rope()};
    c.scale_log2 = 1.44269504f / sqrtf((float)c.head_dim);
    attention_case_create(&c);
    attention_case_randomise(&c, kernels, random, (float)(1 << number / 3 % 3));
    return c;
}

static double error_of_run(const struct attention_case *c, const struct kernels *kernels)
{
    struct attention_state state;
    attention_state_create(&state, c);
    const struct attention_part whole = attention_case_whole(c);
    attention_case_run(c, kernels, &whole, &state);
    const double rms = attention_case_error(c, kernels, &state).rms;
    attention_state_destroy(&state);
    return rms;
}

/* out [head_dim], in float64 but for probabilities, which are rounded to bf16 once their sum is
 * taken. */
static void attend_in_bf16(double *out, const struct attention_case *c, int64_t token, int head)
{
    double scores[MODEL_CASE_KEYS], max = -INFINITY, sum = 0;
    const int64_t seen = c->query_first + token + 1;
    const float *q = attention_case_query(c, 0, token, head);
    for (int64_t j = 0; j < seen; j++) {
        const float *k = attention_case_key(c, 0, j);
        scores[j] = 0;
        for (int d = 0; d < c->head_dim; d++)
            scores[j] += (double)q[d] * (double)k[d] * (double)c->scale_log2;
        max = fmax(max, scores[j]);
    }
    memset(out, 0, (size_t)c->head_dim * sizeof out[0]);
    for (int64_t j = 0; j < seen; j++) {
        const double p = exp2(scores[j] - max);
        const double rounded = (double)dtype_f32_from_bf16(dtype_bf16_from_f32((float)p));
        sum += p;
        for (int d = 0; d < c->head_dim; d++)
            out[d] += rounded * (double)c->values[j * c->head_dim + d];
    }
    for (int d = 0; d < c->head_dim; d++)
        out[d] /= sum;
}

/* What bf16 costs by itself, whatever this machine has. Operands are bf16 numbers already. */
static double error_of_bf16(const struct attention_case *c)
{
    double difference = 0, squares = 0, lse;
    double out[ATTENTION_HEAD_DIM_MAX], truth[ATTENTION_HEAD_DIM_MAX];
    for (int64_t t = 0; t < c->tokens; t++)
        for (int h = 0; h < c->group; h++) {
            attention_case_truth(c, t, h, truth, &lse);
            attend_in_bf16(out, c, t, h);
            for (int d = 0; d < c->head_dim; d++) {
                difference += (out[d] - truth[d]) * (out[d] - truth[d]);
                squares += truth[d] * truth[d];
            }
        }
    return sqrt(difference / squares);
}

/* Both have the same operands. */
static void integers_are_closer_to_the_truth_than_bf16_is(void **unused)
{
    (void)unused;
    for (int n = 0; subjects_at(n); n++) {
        const struct kernels *kernels = subjects_at(n);
        struct random random = {20261202};
        double integers = 0, rounded = 0;
        if (!is_whole_in_prefill(kernels))
            continue;
        for (int i = 0; i < MODEL_CASES; i++) {
            struct attention_case c = model_case(i, kernels, &random);
            integers += error_of_run(&c, kernels) / MODEL_CASES;
            rounded += error_of_bf16(&c) / MODEL_CASES;
            attention_case_destroy(&c);
        }
        print_message("error of %s %.2e, of bf16 %.2e\n", kernels->name, integers, rounded);
        assert_true(integers > 0 && integers < rounded / 5);
    }
}

/* Queries and keys in one direction, values of the largest bf16 below a power of two, and every
 * probability is 1: rows that see all but one key of a panel come closest to 2^31. */
static void the_largest_sums_fit(void **unused)
{
    (void)unused;
    static const int head_dims[] = {16, 64, 128, 256};
    for (int n = 0; subjects_at(n); n++)
        for (int i = 0; i < 8; i++) {
            struct attention_case c = {.group = 1,
                                       .head_dim = head_dims[i / 2],
                                       .tokens = 70,
                                       .key_end = 70,
                                       .bands = attention_case_rope(),
                                       .scale_log2 = 0x1p-16f};
            attention_case_create(&c);
            for (int64_t x = 0; x < c.key_end * c.head_dim; x++) {
                c.keys[x] = i % 2 ? -255 : 255;
                c.values[x] = x % 3 ? 255 : -255;
            }
            for (int64_t x = 0; x < c.tokens * c.group * c.head_dim; x++)
                c.queries[x] = 255;
            struct attention_state state;
            attention_state_create(&state, &c);
            const struct attention_part whole = attention_case_whole(&c);
            attention_case_run(&c, subjects_at(n), &whole, &state);
            const float score = (i % 2 ? -65025.0f : 65025.0f) * 0x1p-16f * (float)c.head_dim;
            for (int64_t t = 0; t < c.tokens; t++) {
                const float *acc = attention_state_acc(&state, &c, t, 0);
                assert_true(*attention_state_max(&state, &c, t, 0) == score);
                assert_true(*attention_state_sum(&state, &c, t, 0) == (float)(t + 1));
                for (int d = 0; d < c.head_dim; d++) {
                    float want = 0;
                    for (int64_t j = 0; j <= t; j++)
                        want += c.values[j * c.head_dim + d];
                    assert_true(acc[d] == want);
                }
            }
            attention_state_destroy(&state);
            attention_case_destroy(&c);
        }
}

static void rows_that_see_nothing_stay_empty(void **unused)
{
    (void)unused;
    for (int n = 0; subjects_attention_at(n); n++) {
        const struct kernels *kernels = subjects_attention_at(n);
        struct random random = {10};
        /* The first 28 queries come before every key. */
        struct attention_case c = {.group = 3,
                                   .head_dim = 64,
                                   .query_first = 100,
                                   .tokens = 40,
                                   .key_first = 128,
                                   .key_end = 200,
                                   .bands = attention_case_string(5, 3),
                                   .scale_log2 = 0.2f};
        attention_case_create(&c);
        attention_case_randomise(&c, kernels, &random, 1);
        struct attention_state state;
        attention_state_create(&state, &c);
        struct attention_part part = attention_case_whole(&c);
        attention_case_run(&c, kernels, &part, &state);
        assert_true(*attention_state_sum(&state, &c, 27, 2) == 0);
        assert_true(*attention_state_sum(&state, &c, 28, 0) == 1);
        expect_within_budget(&c, kernels, &state, false, "empty rows");
        attention_state_destroy(&state);
        attention_case_destroy(&c);
    }
}

/* Scores are whole numbers in [-4, 4] and values small whole numbers, so that every probability is
 * a power of two and every sum exact, in any order. */
static void is_exact_on_exact_data(void **unused)
{
    (void)unused;
    for (int n = 0; subjects_at(n); n++) {
        const struct kernels *kernels = subjects_at(n);
        struct random random = {11};
        for (int i = 0; i < 24; i++) {
            struct attention_case c = random_case(&random, 1 + i % 8, i % 3 ? 64 : 96);
            c.scale_log2 = 0.5f;
            for (int64_t x = 0; x < (c.key_end - c.key_first) * c.head_dim; x++) {
                c.keys[x] = (float)random_between(&random, -2, 3);
                c.values[x] = (float)random_between(&random, -8, 9);
            }
            for (int64_t row = 0; row < c.bands.query_frames * c.tokens * c.group; row++) {
                float *q = c.queries + row * c.head_dim;
                q[random_between(&random, 0, c.head_dim)] = 2;
                q[random_between(&random, 0, c.head_dim)] = -2;
            }
            struct attention_state state;
            attention_state_create(&state, &c);
            struct attention_part part = attention_case_whole(&c);
            attention_case_run(&c, kernels, &part, &state);
            double o[ATTENTION_HEAD_DIM_MAX], lse;
            for (int64_t t = 0; t < c.tokens; t++) {
                for (int h = 0; h < c.group; h++) {
                    attention_case_truth(&c, t, h, o, &lse);
                    double sum = (double)*attention_state_sum(&state, &c, t, h);
                    const float *acc = attention_state_acc(&state, &c, t, h);
                    for (int d = 0; d < c.head_dim; d++)
                        assert_true(acc[d] == (float)nearbyint(o[d] * sum * 256) / 256);
                    double max = (double)*attention_state_max(&state, &c, t, h);
                    if (sum > 0)
                        assert_true(sum == nearbyint(exp(lse) * exp2(-max) * 256) / 256);
                }
            }
            attention_state_destroy(&state);
            attention_case_destroy(&c);
        }
    }
}

/* Every key scores the number of the query frame it is seen through, and its value is a unit
 * vector: so acc shows key by key which band was used, here around the seams of both methods. */
static void each_key_is_seen_through_its_own_band(void **unused)
{
    (void)unused;
    enum { SEAM = 70 };
    for (int n = 0; subjects_at(n); n++) {
        const struct kernels *kernels = subjects_at(n);
        for (int method = 0; method < 2; method++) {
            struct attention_case c = {.group = 3, .head_dim = 128, .key_end = 128, .tokens = 128};
            c.bands =
                method ? attention_case_lm_infinite(SEAM, 4, SEAM) : attention_case_string(SEAM, 9);
            c.scale_log2 = 1;
            attention_case_create(&c);
            for (int64_t j = 0; j < c.key_end; j++) {
                c.keys[j * c.head_dim] = 1;
                c.values[j * c.head_dim + j] = 1;
            }
            for (int64_t t = 0; t < c.tokens; t++)
                for (int h = 0; h < c.group; h++)
                    attention_case_query(&c, 1, t, h)[0] = 1;
            struct attention_state state;
            attention_state_create(&state, &c);
            struct attention_part part = attention_case_whole(&c);
            attention_case_run(&c, kernels, &part, &state);
            for (int64_t i = 0; i < c.tokens; i++) {
                float max = method == 0 && i >= SEAM ? 1 : 0;
                for (int64_t j = 0; j < c.key_end; j++) {
                    float far = method ? 0 : exp2f(1 - max);
                    float want = j > i ? 0 : i - j >= SEAM ? far : exp2f(-max);
                    for (int h = 0; h < c.group; h++)
                        assert_true(attention_state_acc(&state, &c, i, h)[j] == want);
                }
                assert_true(*attention_state_max(&state, &c, i, 1) == max);
            }
            attention_state_destroy(&state);
            attention_case_destroy(&c);
        }
    }
}

/* Which operand of a case is spoilt, and how. */
enum spoilt { QUERY, KEY, VALUE };

static bool sees(const struct attention_case *c, int64_t token, int64_t key)
{
    const struct band *band = bands_find(&c->bands, c->query_first + token, c->key_first + key);
    return band && bands_store_of(&c->bands, band) == c->store;
}

/* Every row that what is spoilt has a part in ends without a finite number; the rows that a query
 * or a key has no part in have the bits that they have without it. A value may reach the other rows
 * of its panel. */
static void expect_spoilt(const struct attention_case *c, const struct kernels *kernels,
                          const struct attention_state *clean, const struct attention_state *got,
                          enum spoilt what, int64_t token, int head, int64_t key)
{
    float out[ATTENTION_HEAD_DIM_MAX];
    for (int64_t t = 0; t < c->tokens; t++)
        for (int h = 0; h < c->group; h++) {
            const float *acc = attention_state_acc(got, c, t, h);
            const float sum = *attention_state_sum(got, c, t, h);
            const bool empty = *attention_state_sum(clean, c, t, h) == 0;
            const bool spoils = what == QUERY ? t == token && h == head && !empty : sees(c, t, key);
            if (spoils) {
                kernels->attention_finish(out, acc, &sum, 1, c->head_dim);
                bool any = false;
                for (int d = 0; d < c->head_dim; d++)
                    any |= isnan(out[d]);
                assert_true(any);
            } else if (what != VALUE) {
                assert_true(sum == *attention_state_sum(clean, c, t, h));
                assert_memory_equal(acc, attention_state_acc(clean, c, t, h),
                                    (size_t)c->head_dim * sizeof *acc);
            }
        }
}

static void check_spoilt(struct attention_case *c, const struct kernels *kernels,
                         struct random *random, enum spoilt what, float bad)
{
    const int64_t token = random_between(random, 0, c->tokens);
    const int head = (int)random_between(random, 0, c->group);
    const int64_t key = random_between(random, 0, c->key_end - c->key_first);
    const int64_t d = random_between(random, 0, c->head_dim);
    /* Of prefill, and of decode where that has bits of its own. */
    struct attention_state clean[2];
    const int kinds = is_whole_in_prefill(kernels) ? 2 : 1;
    for (int decode = 0; decode < kinds; decode++) {
        attention_state_create(&clean[decode], c);
        struct attention_part whole = attention_case_whole(c);
        whole.decode = decode;
        attention_case_run(c, kernels, &whole, &clean[decode]);
    }
    if (what == QUERY)
        for (int frame = 0; frame < c->bands.query_frames; frame++)
            attention_case_query(c, frame, token, head)[d] = bad;
    else if (what == VALUE)
        c->values[key * c->head_dim + d] = bad;
    else
        for (int frame = 0; frame < c->bands.key_frames; frame++)
            attention_case_key(c, frame, key)[d] = bad;
    for (int decode = 0; decode < 2; decode++) {
        struct attention_state got;
        attention_state_create(&got, c);
        run_in_pieces(c, kernels, random, decode, &got);
        expect_spoilt(c, kernels, &clean[decode % kinds], &got, what, token, head, key);
        attention_state_destroy(&got);
    }
    for (int decode = 0; decode < kinds; decode++)
        attention_state_destroy(&clean[decode]);
}

/* The larger of two numbers is often the one that is one: a NaN must come out all the same, of
 * masked panels and of whole ones, in whatever lane it is. */
static void what_is_not_finite_is_never_lost(void **unused)
{
    (void)unused;
    const float bad[] = {NAN,
                         -NAN,
                         dtype_f32_from_bits(0x7fffffff),
                         dtype_f32_from_bits(0xffffffff),
                         dtype_f32_from_bits(0x7f8fffff),
                         INFINITY,
                         -INFINITY};
    for (int n = 0; subjects_attention_at(n); n++) {
        struct random random = {12};
        for (int i = 0; i < 210; i++) {
            struct attention_case c = random_case(&random, 1 + i % 8, i % 3 ? 64 : 16);
            attention_case_randomise(&c, subjects_attention_at(n), &random, 1);
            const enum spoilt what = (enum spoilt)(i % 3);
            check_spoilt(&c, subjects_attention_at(n), &random, what,
                         bad[what == QUERY ? i % 7 : i % 5]);
            attention_case_destroy(&c);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_within_budget_of_the_truth),
        cmocka_unit_test(capped_scores_keep_within_budget_of_the_truth),
        cmocka_unit_test(integers_are_closer_to_the_truth_than_bf16_is),
        cmocka_unit_test(the_largest_sums_fit),
        cmocka_unit_test(gives_the_same_bits_however_calls_are_cut),
        cmocka_unit_test(decode_agrees_with_prefill),
        cmocka_unit_test(panels_that_are_not_seen_change_nothing),
        cmocka_unit_test(rows_that_see_nothing_stay_empty),
        cmocka_unit_test(is_exact_on_exact_data),
        cmocka_unit_test(what_is_not_finite_is_never_lost),
        cmocka_unit_test(each_key_is_seen_through_its_own_band),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
