/* Training's attention: every variant against a float64 loop over pairs within the bound of
 * float32, and the whole way from queries and keys before rotation against float64 finite
 * differences, for every method. */
#include <math.h>
#include <stdlib.h>

#include "kernels/rope.h"
#include "tests/kernels/attention_gradient_case.h"
#include "tests/kernels/subjects.h"
#include "tests/support/plan_methods.h"
#include "tests/support/unit.h"

enum { LONGEST = 400 };

static void make_positions(int32_t positions[LONGEST], int64_t jump)
{
    for (int t = 0; t < LONGEST; t++)
        positions[t] = (int32_t)(t + t / 9 * jump);
}

static struct bands bands_of(const char *spelling)
{
    const struct method method = plan_methods_parse(spelling);
    struct bands bands;
    method_bands(&method, &bands);
    return bands;
}

/* All variants but the reference add up alike. */
static void expect_same(const struct gradient_result *a, const struct gradient_result *b,
                        const struct gradient_truth *truth)
{
    const float *const pairs[][2] = {
        {a->out, b->out}, {a->dq, b->dq}, {a->dk, b->dk}, {a->dv, b->dv}};
    const int64_t counts[] = {truth->out.count, truth->dq.count, truth->dk.count, truth->dv.count};
    for (int p = 0; p < 4; p++)
        for (int64_t i = 0; i < counts[p]; i++)
            assert_true(pairs[p][0][i] == pairs[p][1][i]);
}

static void check_case(struct gradient_case *c, uint64_t seed)
{
    struct random random = {seed};
    struct gradient_truth truth;
    struct gradient_result first = {0};
    gradient_case_create(c);
    gradient_case_randomise(c, &random);
    gradient_truth_create(&truth, c);
    for (int n = 0; subjects_at(n); n++) {
        struct random tiles = {seed + 1000};
        struct gradient_result result;
        gradient_result_create(&result, c, subjects_at(n), &truth, &tiles);
        gradient_result_check(&result, &truth);
        if (n <= 1) { /* the reference, and the first that is not */
            gradient_result_destroy(&first);
            first = result;
            continue;
        }
        expect_same(&first, &result, &truth);
        gradient_result_destroy(&result);
    }
    gradient_result_destroy(&first);
    gradient_truth_destroy(&truth);
    gradient_case_destroy(c);
}

static void every_shape_is_within_float32_of_the_truth(void **unused)
{
    (void)unused;
    static const struct {
        const char *spelling;
        int64_t tokens, tile, jump;
        int group, head_dim;
    } cases[] = {
        {"rope", 1, 96, 0, 1, 16},
        {"rope", 250, 96, 0, 1, 64},
        {"rope", 97, 5, 3, 3, 48},
        {"string:shift=60,local=7", 200, 96, 0, 2, 80},
        {"string:shift=60,local=7", 111, 40, 5, 5, 64},
        {"lm_infinite:window=30,sinks=3,ceiling=30", 180, 96, 0, 4, 128},
        {"lm_infinite:window=30,sinks=3,ceiling=30", 150, 33, 4, 1, 256},
        {"streaming_llm:window=20,sinks=4", 160, 96, 2, 3, 64},
        {"dca:chunk=48,local=16", 190, 96, 1, 1, 32},
        {"rerope:window=50", 130, 96, 0, 9, 16},
    };
    int32_t positions[LONGEST];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct gradient_case c = {
            .tokens = cases[i].tokens,
            .group = cases[i].group,
            .head_dim = cases[i].head_dim,
            .bands = bands_of(cases[i].spelling),
            .positions = positions,
            .scale_log2 = 1.442695f / sqrtf((float)cases[i].head_dim),
            .tile = cases[i].tile,
        };
        make_positions(positions, cases[i].jump);
        check_case(&c, i);
    }
}

/* Scores hundreds apart: what is far below a row's maximum is nothing, and nothing overflows. */
static void scores_far_apart_are_within_float32_of_the_truth(void **unused)
{
    (void)unused;
    int32_t positions[LONGEST];
    make_positions(positions, 0);
    struct gradient_case c = {
        .tokens = 120,
        .group = 2,
        .head_dim = 64,
        .bands = bands_of("rope"),
        .positions = positions,
        .scale_log2 = 12,
        .tile = 50,
    };
    check_case(&c, 77);
}

/* ---- from before the rotation, against finite differences ---- */

enum { TOKENS = 14, GROUP = 2, WIDTH = 16, HALF = WIDTH / 2 };

/* What is differentiated by: queries, keys before rotation, and values. */
struct chain {
    struct gradient_case *c;
    double q[TOKENS * GROUP * WIDTH], k[TOKENS * WIDTH];
    double logn;
    const double *inv_freq;
};

static struct rope_place place_of(const struct chain *chain, const struct bands_frame *frame,
                                  int64_t t, bool query)
{
    const int64_t position = chain->c->positions[t];
    return (struct rope_place){bands_position(frame, position),
                               query ? rope_logn(chain->logn, position) : 1};
}

/* Rotates rows of a token in float64, and bounds what float32 does to it: tables and products are
 * rounded once each. */
static void rotate(double *out, double *error, const double *x, const struct rope_place *place,
                   const double *inv_freq)
{
    for (int p = 0; p < HALF; p++) {
        const double angle = place->position * inv_freq[p];
        const double cosine = cos(angle) * place->magnitude, sine = sin(angle) * place->magnitude;
        out[p] = x[p] * cosine - x[p + HALF] * sine;
        out[p + HALF] = x[p + HALF] * cosine + x[p] * sine;
        error[p] = error[p + HALF] =
            4 * GRADIENT_CASE_ROUNDING * place->magnitude * (fabs(x[p]) + fabs(x[p + HALF]));
    }
}

static void rotate_all(struct chain *chain)
{
    struct gradient_case *c = chain->c;
    for (int f = 0; f < c->bands.query_frames; f++)
        for (int r = 0; r < TOKENS * GROUP; r++) {
            const int64_t at = ((int64_t)f * TOKENS * GROUP + r) * WIDTH;
            const struct rope_place place =
                place_of(chain, &c->bands.query_frame[f], r / GROUP, true);
            rotate(c->q + at, c->q_error + at, chain->q + (int64_t)r * WIDTH, &place,
                   chain->inv_freq);
        }
    for (int f = 0; f < c->bands.key_frames; f++)
        for (int r = 0; r < TOKENS; r++) {
            const int64_t at = ((int64_t)f * TOKENS + r) * WIDTH;
            const struct rope_place place = place_of(chain, &c->bands.key_frame[f], r, false);
            rotate(c->k + at, c->k_error + at, chain->k + (int64_t)r * WIDTH, &place,
                   chain->inv_freq);
        }
}

static double loss_at(struct chain *chain, double *x, double value)
{
    const double before = *x;
    *x = value;
    rotate_all(chain);
    const double loss = gradient_case_loss(chain->c);
    *x = before;
    return loss;
}

/* The central difference, and in *error what doubling its step changes, and the rounding of losses,
 * which are sums of less than 1,000 terms of about 1. */
static double difference(struct chain *chain, double *x, double *error)
{
    const double step = 0x1p-11;
    const double narrow =
        (loss_at(chain, x, *x + step) - loss_at(chain, x, *x - step)) / (2 * step);
    const double wide =
        (loss_at(chain, x, *x + 2 * step) - loss_at(chain, x, *x - 2 * step)) / (4 * step);
    *error = fabs(wide - narrow) + 1000 * 0x1p-52 / step;
    return narrow;
}

/* dx of rows before rotation, from all frames: the variant's, and the bound of its error. */
static void rotate_back(const struct chain *chain, const struct kernels *kernels, float *dx,
                        double *bound, const float *rotated, const struct gradient_numbers *truth,
                        bool query)
{
    const struct bands *bands = &chain->c->bands;
    const int heads = query ? GROUP : 1, frames = query ? bands->query_frames : bands->key_frames;
    const int64_t count = (int64_t)TOKENS * heads * WIDTH;
    for (int f = 0; f < frames; f++) {
        struct rope_place places[TOKENS];
        float table[TOKENS * WIDTH];
        for (int t = 0; t < TOKENS; t++)
            places[t] =
                place_of(chain, query ? &bands->query_frame[f] : &bands->key_frame[f], t, query);
        rope_table(table, places, TOKENS, chain->inv_freq, HALF);
        const struct rope_args args = {.out = dx,
                                       .out_stride = (int64_t)heads * WIDTH,
                                       .x = rotated + f * count,
                                       .x_stride = (int64_t)heads * WIDTH,
                                       .table = table,
                                       .tokens = TOKENS,
                                       .heads = heads,
                                       .head_dim = WIDTH};
        kernels->rope_gradient(&args, f > 0);
        for (int64_t i = 0; i < count; i++) {
            const int64_t other = i % WIDTH < HALF ? i + HALF : i - HALF;
            const double *value = truth->value + f * count, *error = truth->error + f * count;
            bound[i] += places[i / (heads * WIDTH)].magnitude *
                        (error[i] + error[other] +
                         8 * GRADIENT_CASE_ROUNDING * (fabs(value[i]) + fabs(value[other])));
        }
    }
}

struct wanted {
    const char *what;
    double *x;
    const float *got;
    const double *bound;
    int64_t count;
};

static void expect_differences(struct chain *chain, const struct wanted *wanted, int64_t first)
{
    for (int64_t i = first; i < wanted->count; i += 11) {
        double error;
        const double want = difference(chain, &wanted->x[i], &error);
        if (fabs((double)wanted->got[i] - want) <= 1.01 * wanted->bound[i] + error)
            continue;
        print_error("%s[%lld]: got %.9g, not %.9g within %.3g + %.3g\n", wanted->what, (long long)i,
                    (double)wanted->got[i], want, wanted->bound[i], error);
        assert_true(false);
    }
}

static void check_chain(struct chain *chain, const struct kernels *kernels, struct random *random)
{
    struct gradient_truth truth;
    struct gradient_result result;
    float dq[TOKENS * GROUP * WIDTH], dk[TOKENS * WIDTH];
    double q_bound[TOKENS * GROUP * WIDTH] = {0}, k_bound[TOKENS * WIDTH] = {0};
    rotate_all(chain);
    gradient_truth_create(&truth, chain->c);
    gradient_result_create(&result, chain->c, kernels, &truth, random);
    gradient_result_check(&result, &truth);
    rotate_back(chain, kernels, dq, q_bound, result.dq, &truth.dq, true);
    rotate_back(chain, kernels, dk, k_bound, result.dk, &truth.dk, false);
    const struct wanted all[] = {
        {"dq", chain->q, dq, q_bound, TOKENS * GROUP * WIDTH},
        {"dk", chain->k, dk, k_bound, TOKENS * WIDTH},
        {"dv", chain->c->v, result.dv, truth.dv.error, TOKENS * WIDTH},
    };
    for (int w = 0; w < 3; w++)
        expect_differences(chain, &all[w], random_between(random, 0, 11));
    gradient_result_destroy(&result);
    gradient_truth_destroy(&truth);
}

static void every_method_equals_its_finite_differences(void **unused)
{
    (void)unused;
    static const double inv_freq[HALF] = {1, 0.7, 0.5, 0.3, 0.2, 0.1, 0.03, 0.01};
    struct random random = {5};
    int32_t positions[LONGEST];
    for (int m = 0; m < plan_methods_count; m++) {
        /* With jumps, and with queries that grow with their position, for every other method. */
        make_positions(positions, m % 2 ? 3 : 0);
        struct gradient_case c = {
            .tokens = TOKENS,
            .group = GROUP,
            .head_dim = WIDTH,
            .bands = bands_of(plan_methods[m].spelling),
            .positions = positions,
            .scale_log2 = 1.442695f / 4,
            .tile = 6,
        };
        struct chain chain = {.c = &c, .logn = m % 4 < 2 ? log(6) : 0, .inv_freq = inv_freq};
        gradient_case_create(&c);
        gradient_case_randomise(&c, &random);
        for (int i = 0; i < TOKENS * GROUP * WIDTH; i++)
            chain.q[i] = (double)random_normal(&random);
        for (int i = 0; i < TOKENS * WIDTH; i++)
            chain.k[i] = (double)random_normal(&random);
        for (int n = 0; subjects_at(n); n++)
            check_chain(&chain, subjects_at(n), &random);
        gradient_case_destroy(&c);
    }
}

/* A NaN in a query reaches its own row alone; one in a key or a value, all rows that see it. */
static void what_is_not_a_number_is_never_lost(void **unused)
{
    (void)unused;
    enum { ROWS = 13, BAD = 5 };
    static const uint32_t bad[] = {0x7fc00000, 0xffc00000, 0x7fffffff, 0xffffffff, 0x7f800001};
    for (int n = 0; subjects_at(n); n++)
        for (int i = 0; i < 3 * 5; i++) {
            float q[ROWS][WIDTH] = {0}, k[ROWS][WIDTH] = {0}, v[ROWS][WIDTH] = {0};
            float acc[ROWS][WIDTH] = {0}, max[ROWS], sum[ROWS] = {0};
            int32_t positions[LONGEST];
            struct regimes regimes;
            struct attention_spans spans;
            const struct bands bands = bands_of("rope");
            struct guarded scratch = guarded_create(attention_gradient_scratch_bytes(WIDTH), 0);
            make_positions(positions, 0);
            regimes_make(&regimes, &bands);
            attention_spans_make(&spans, &regimes, positions, (struct span){0, ROWS},
                                 (struct span){0, ROWS});
            float(*const where[])[WIDTH] = {q, k, v};
            where[i % 3][BAD][3] = dtype_f32_from_bits(bad[i / 3]);
            for (int r = 0; r < ROWS; r++)
                max[r] = -INFINITY;
            const struct attention_gradient_tile tile = {.spans = &spans,
                                                         .tokens = ROWS,
                                                         .keys = ROWS,
                                                         .group = 1,
                                                         .head_dim = WIDTH,
                                                         .scale_log2 = 1,
                                                         .q = &q[0][0],
                                                         .q_stride = WIDTH,
                                                         .k = &k[0][0],
                                                         .k_stride = WIDTH,
                                                         .v = &v[0][0],
                                                         .v_stride = WIDTH,
                                                         .scratch = scratch.at};
            const struct attention_gradient_state state = {
                .acc = &acc[0][0], .acc_stride = WIDTH, .max = max, .sum = sum, .row_stride = 1};
            subjects_at(n)->attention_gradient_forward(&tile, &state);
            subjects_at(n)->attention_gradient_finish(&acc[0][0], max, sum, ROWS, WIDTH);
            for (int r = 0; r < ROWS; r++)
                if (i % 3 == 0 || r >= BAD) /* a value's may reach rows beside them */
                    assert_int_equal(isnan(acc[r][3]) != 0, i % 3 != 0 || r == BAD);
            guarded_destroy(&scratch);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_shape_is_within_float32_of_the_truth),
        cmocka_unit_test(scores_far_apart_are_within_float32_of_the_truth),
        cmocka_unit_test(every_method_equals_its_finite_differences),
        cmocka_unit_test(what_is_not_a_number_is_never_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
