/* Every variant of the kernels that treat each row, or each element, by itself: rope, rmsnorm,
 * swiglu, logsumexp, and attention's merge, finish and store. */
#include <float.h>
#include <math.h>

#include "tests/kernels/subjects.h"
#include "tests/support/guarded.h"
#include "tests/support/random.h"
#include "tests/support/unit.h"

static void fill_normal(float *x, int64_t count, struct random *random)
{
    for (int64_t i = 0; i < count; i++)
        x[i] = random_normal(random);
}

static struct guarded floats(int64_t count, struct random *random)
{
    struct guarded memory = guarded_create((size_t)count * sizeof(float), 0);
    fill_normal(memory.at, count, random);
    return memory;
}

static void expect_relative(double got, double want, double scale, double tolerance)
{
    if (fabs(got - want) <= tolerance * scale)
        return;
    print_error("got %.9g, not %.9g (tolerance %.3g of %.3g)\n", got, want, tolerance, scale);
    assert_true(false);
}

static void rope_table_holds_float64_angles(void **unused)
{
    (void)unused;
    const double inv_freq[2] = {1, 0.1};
    const struct rope_place places[3] = {{0, 1.5}, {131071, 1}, {-5.25, 2.25}};
    float table[3][2][2];
    rope_table(&table[0][0][0], places, 3, inv_freq, 2);
    for (int t = 0; t < 3; t++) {
        for (int p = 0; p < 2; p++) {
            double angle = places[t].position * inv_freq[p];
            assert_true(table[t][p][0] == (float)(places[t].magnitude * cos(angle)));
            assert_true(table[t][p][1] == (float)(places[t].magnitude * sin(angle)));
        }
    }
}

static void logn_grows_with_the_index_from_its_length_on(void **unused)
{
    (void)unused;
    for (int64_t index = 0; index < 200; index++) {
        assert_true(rope_logn(0, index) == 1);
        const double expected = index < 60 ? 1 : log((double)index + 1) / log(60);
        assert_true(rope_logn(log(60), index) == expected);
    }
}

/* Rotates 3 tokens of 2 heads inside wider rows; what lies between the rows is not touched. */
static void check_rope(const struct kernels *kernels, int head_dim, bool query)
{
    enum { TOKENS = 3, HEADS = 2 };
    struct random random = {(uint64_t)head_dim};
    int half = head_dim / 2;
    int64_t stride = HEADS * head_dim + 8;
    struct guarded x = floats(TOKENS * stride, &random);
    struct guarded table = floats(TOKENS * head_dim, &random);
    bool narrow = query && kernels->operand == DTYPE_BF16;
    size_t element = narrow ? 2 : 4;
    struct guarded out = guarded_create((size_t)(TOKENS * stride) * element, 0x5a);
    struct rope_args args = {.out = out.at,
                             .out_stride = stride,
                             .x = x.at,
                             .x_stride = stride,
                             .table = table.at,
                             .tokens = TOKENS,
                             .heads = HEADS,
                             .head_dim = head_dim};
    (query ? kernels->rope_queries : kernels->rope_keys)(&args);
    guarded_check(&out);
    for (int64_t i = 0; i < TOKENS * stride; i++) {
        int64_t token = i / stride, place = i % stride;
        if (place >= HEADS * head_dim) {
            assert_int_equal(((unsigned char *)out.at)[(size_t)i * element], 0x5a);
            continue;
        }
        int64_t d = place % head_dim, p = d % half;
        const float *in = (float *)x.at + token * stride + place - d;
        const float *pair = (float *)table.at + (token * half + p) * 2;
        double low = (double)in[p], high = (double)in[p + half];
        double cosine = (double)pair[0], sine = (double)pair[1];
        double want = d < half ? low * cosine - high * sine : high * cosine + low * sine;
        double budget = 0x1p-23 * (fabs(low) + fabs(high)) * (fabs(cosine) + fabs(sine));
        double got = narrow ? (double)dtype_f32_from_bf16(((uint16_t *)out.at)[i])
                            : (double)((float *)out.at)[i];
        expect_relative(got, want, 1, budget + (narrow ? 0x1p-8 * fabs(want) : 0));
    }
    guarded_destroy(&x);
    guarded_destroy(&table);
    guarded_destroy(&out);
}

static void rope_turns_pairs_half_a_head_apart(void **unused)
{
    (void)unused;
    static const int head_dims[] = {16, 64, 80, 96, 128, 256};
    for (int n = 0; subjects_at(n); n++)
        for (int d = 0; d < 6; d++)
            for (int query = 0; query < 2; query++)
                check_rope(subjects_at(n), head_dims[d], query);
}

static void rope_turns_keys_in_place(void **unused)
{
    (void)unused;
    for (int n = 0; subjects_at(n); n++) {
        struct random random = {3};
        struct guarded x = floats(64, &random), table = floats(64, &random);
        struct guarded out = guarded_create(64 * sizeof(float), 0);
        struct rope_args args = {.out = out.at,
                                 .out_stride = 64,
                                 .x = x.at,
                                 .x_stride = 64,
                                 .table = table.at,
                                 .tokens = 1,
                                 .heads = 1,
                                 .head_dim = 64};
        subjects_at(n)->rope_keys(&args);
        args.out = x.at;
        subjects_at(n)->rope_keys(&args);
        assert_memory_equal(x.at, out.at, out.bytes);
        guarded_destroy(&x);
        guarded_destroy(&table);
        guarded_destroy(&out);
    }
}

static void rmsnorm_is_within_float32_of_the_truth(void **unused)
{
    (void)unused;
    static const int64_t widths[] = {1, 7, 64, 576, 1001};
    enum { ROWS = 3 };
    for (int n = 0; subjects_at(n); n++) {
        for (int w = 0; w < 5; w++) {
            int64_t width = widths[w];
            struct random random = {(uint64_t)w};
            struct guarded x = floats(ROWS * width, &random), weight = floats(width, &random);
            struct guarded y = guarded_create((size_t)(ROWS * width) * sizeof(float), 0);
            subjects_at(n)->rmsnorm(y.at, x.at, weight.at, ROWS, width, 1e-5f);
            guarded_check(&y);
            for (int64_t r = 0; r < ROWS; r++) {
                const float *in = (float *)x.at + r * width, *out = (float *)y.at + r * width;
                double squares = 0;
                for (int64_t i = 0; i < width; i++)
                    squares += (double)in[i] * in[i];
                double root = sqrt(squares / (double)width + (double)1e-5f);
                for (int64_t i = 0; i < width; i++) {
                    double want = (double)in[i] / root * (double)((float *)weight.at)[i];
                    expect_relative((double)out[i], want, fabs(want), 0x1p-22);
                }
            }
            subjects_at(n)->rmsnorm(x.at, x.at, weight.at, ROWS, width, 1e-5f);
            assert_memory_equal(x.at, y.at, y.bytes);
            guarded_destroy(&x);
            guarded_destroy(&weight);
            guarded_destroy(&y);
        }
    }
}

static void rmsnorm_is_exact_on_exact_data(void **unused)
{
    (void)unused;
    for (int n = 0; subjects_at(n); n++) {
        /* Squares average 16; 1 / 4 is exact. */
        float x[20], weight[20], y[20];
        for (int i = 0; i < 20; i++) {
            x[i] = i % 2 ? 4 : -4;
            weight[i] = (float)(i - 7);
        }
        subjects_at(n)->rmsnorm(y, x, weight, 1, 20, 0);
        for (int i = 0; i < 20; i++)
            assert_true(y[i] == (i % 2 ? weight[i] : -weight[i]));
    }
}

static void swiglu_is_within_float32_of_the_truth(void **unused)
{
    (void)unused;
    static const int64_t counts[] = {0, 1, 8, 13, 1536};
    for (int n = 0; subjects_at(n); n++) {
        for (int c = 0; c < 5; c++) {
            struct random random = {(uint64_t)c};
            int64_t count = counts[c];
            struct guarded gate = floats(count, &random), up = floats(count, &random);
            float *g = gate.at;
            for (int64_t i = 0; i < count; i++)
                g[i] *= i % 5 ? 3 : 30;
            struct guarded before = guarded_create(gate.bytes, 0);
            memcpy(before.at, g, gate.bytes);
            subjects_at(n)->swiglu(g, up.at, count);
            guarded_check(&gate);
            for (int64_t i = 0; i < count; i++) {
                double x = (double)((float *)before.at)[i];
                double want = x / (1 + exp(-x)) * (double)((float *)up.at)[i];
                expect_relative((double)g[i], want, fabs(want) + 1e-30, 0x1p-21);
            }
            guarded_destroy(&gate);
            guarded_destroy(&up);
            guarded_destroy(&before);
        }
        float gate[4] = {-1000, 1000, 0, -88}, up[4] = {1, 2, 3, 1};
        subjects_at(n)->swiglu(gate, up, 4);
        assert_true(fabsf(gate[0]) < 1e-30f && gate[1] == 2000 && gate[2] == 0);
        assert_true(fabsf(gate[3]) < 1e-30f);
    }
}

/* The error of the exponential grows with its argument; far below 0, what is added to 1 is nearly
 * taken from it. */
static void geglu_is_within_float32_of_the_truth(void **unused)
{
    (void)unused;
    static const int64_t counts[] = {0, 1, 8, 13, 1536};
    for (int n = 0; subjects_at(n); n++) {
        for (int c = 0; c < 5; c++) {
            struct random random = {(uint64_t)c};
            int64_t count = counts[c];
            struct guarded gate = floats(count, &random), up = floats(count, &random);
            float *g = gate.at;
            for (int64_t i = 0; i < count; i++)
                g[i] *= i % 5 ? 3 : 30;
            struct guarded before = guarded_create(gate.bytes, 0);
            memcpy(before.at, g, gate.bytes);
            subjects_at(n)->geglu(g, up.at, count);
            guarded_check(&gate);
            for (int64_t i = 0; i < count; i++) {
                double x = (double)((float *)before.at)[i], u = (double)((float *)up.at)[i];
                double inner = sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x);
                double want = x / 2 * (1 + tanh(inner)) * u;
                double scale = fabs(want) * (1 + fmin(fabs(inner), 20)) + fabs(x * u) / 4;
                expect_relative((double)g[i], want, scale + 1e-30, 0x1p-21);
            }
            guarded_destroy(&gate);
            guarded_destroy(&up);
            guarded_destroy(&before);
        }
        float gate[4] = {-1000, 1000, 0, NAN}, up[4] = {1, 2, 3, 1};
        subjects_at(n)->geglu(gate, up, 4);
        assert_true(fabsf(gate[0]) < 1e-30f && gate[1] == 2000 && gate[2] == 0 && isnan(gate[3]));
    }
}

static void logsumexp_is_exact_to_float64(void **unused)
{
    (void)unused;
    for (int n = 0; subjects_at(n); n++) {
        struct random random = {5};
        struct guarded x = floats(49152, &random);
        double sum = 0;
        for (int i = 0; i < 49152; i++)
            sum += exp((double)((float *)x.at)[i]);
        assert_true(fabs(subjects_at(n)->logsumexp(x.at, 49152) - log(sum)) < 1e-12);
        const float huge[3] = {1000, 1000, -1000};
        assert_true(fabs(subjects_at(n)->logsumexp(huge, 3) - (1000 + log(2))) < 1e-12);
        assert_true(subjects_at(n)->logsumexp(huge, 1) == 1000);
        guarded_destroy(&x);
    }
}

/* Quiet and signalling ones, with the bits that rounding to bf16 carries over or cuts off. */
static const uint32_t not_numbers[] = {0x7fc00000, 0xffc00000, 0x7fffffff,
                                       0xffffffff, 0x7f800001, 0xff80ffff};
enum { NOT_NUMBERS = sizeof not_numbers / sizeof not_numbers[0] };

static void a_logit_that_is_not_finite_is_never_lost(void **unused)
{
    (void)unused;
    for (int n = 0; subjects_at(n); n++)
        for (int i = 0; i < 3 * (NOT_NUMBERS + 2); i++) {
            float x[3] = {1, 2, 3};
            const int which = i / 3;
            x[i % 3] = which < NOT_NUMBERS ? dtype_f32_from_bits(not_numbers[which])
                                           : (float)(2 * which - 2 * NOT_NUMBERS - 1) * INFINITY;
            assert_true(isnan(subjects_at(n)->logsumexp(x, 3)));
        }
}

static void the_first_row_that_is_not_finite_is_found(void **unused)
{
    (void)unused;
    enum { ROWS = 4, WIDEST = 41 };
    for (int n = 0; subjects_at(n); n++)
        for (int64_t width = 1; width <= WIDEST; width++)
            for (int i = 0; i < ROWS * (NOT_NUMBERS + 2); i++) {
                const int row = i % ROWS, which = i / ROWS;
                float x[ROWS * WIDEST];
                for (int d = 0; d < ROWS * WIDEST; d++)
                    x[d] = d % 2 ? FLT_MAX : -FLT_MAX;
                assert_int_equal(subjects_at(n)->finite_rows(x, ROWS, width), ROWS);
                const float bad = which < NOT_NUMBERS
                                      ? dtype_f32_from_bits(not_numbers[which])
                                      : (float)(2 * which - 2 * NOT_NUMBERS - 1) * INFINITY;
                x[row * width + (7 * i) % width] = bad;
                x[ROWS * width - 1] = bad;
                assert_int_equal(subjects_at(n)->finite_rows(x, ROWS, width), row);
                assert_int_equal(subjects_at(n)->finite_rows(x, row, width), row);
            }
}

static void the_first_of_the_largest_is_found(void **unused)
{
    (void)unused;
    enum { WIDEST = 200 };
    static const float peaks[] = {FLT_MAX, 1, 0, -0.0f, -1, -1e30f};
    for (int n = 0; subjects_at(n); n++)
        for (int64_t count = 1; count <= WIDEST; count++)
            for (int i = 0; i < 7 * (int)(sizeof peaks / sizeof peaks[0]); i++) {
                const float peak = peaks[i / 7];
                const int64_t at = (int64_t)i * 29 % count;
                float x[WIDEST + 1]; /* the last one is not looked at */
                for (int d = 0; d <= WIDEST; d++)
                    x[d] = d > at && d < count && d % 5 == 0 ? peak : peak - fabsf(peak) - 1;
                x[count] = INFINITY;
                x[at] = peak == 0 && i % 2 ? -peak : peak;
                assert_int_equal(subjects_at(n)->largest(x, count), at);
            }
}

static void rope_keeps_what_is_not_a_number(void **unused)
{
    (void)unused;
    enum { WIDE = 32 };
    for (int n = 0; subjects_at(n); n++)
        for (int i = 0; i < WIDE * NOT_NUMBERS; i++) {
            const struct kernels *kernels = subjects_at(n);
            const int bad = i % WIDE, pair = bad % (WIDE / 2);
            float x[WIDE] = {0}, table[WIDE], keys[WIDE], queries[WIDE];
            for (int p = 0; p < WIDE / 2; p++) {
                table[2 * p] = 1;
                table[2 * p + 1] = 0;
            }
            x[bad] = dtype_f32_from_bits(not_numbers[i / WIDE]);
            struct rope_args args = {.out = keys,
                                     .out_stride = WIDE,
                                     .x = x,
                                     .x_stride = WIDE,
                                     .table = table,
                                     .tokens = 1,
                                     .heads = 1,
                                     .head_dim = WIDE};
            kernels->rope_keys(&args);
            args.out = queries;
            kernels->rope_queries(&args);
            for (int d = 0; d < WIDE; d++) {
                const float query = kernels->operand == DTYPE_F32
                                        ? queries[d]
                                        : dtype_f32_from_bf16(((uint16_t *)(void *)queries)[d]);
                assert_int_equal(isnan(keys[d]) != 0, d % (WIDE / 2) == pair);
                assert_int_equal(isnan(query) != 0, d % (WIDE / 2) == pair);
            }
        }
}

/* One element that is not finite in a row of 13 or 20; other rows are as before. */
static void norms_and_gates_keep_what_is_not_finite(void **unused)
{
    (void)unused;
    enum { WIDE = 20 };
    for (int n = 0; subjects_at(n); n++)
        for (int i = 0; i < WIDE * (NOT_NUMBERS + 2); i++) {
            const int which = i / WIDE, at = i % WIDE;
            const float bad = which < NOT_NUMBERS
                                  ? dtype_f32_from_bits(not_numbers[which])
                                  : (float)(2 * which - 2 * NOT_NUMBERS - 1) * INFINITY;
            float x[2 * WIDE], weight[WIDE], y[2 * WIDE], gate[WIDE], up[WIDE];
            for (int d = 0; d < WIDE; d++)
                x[d] = x[WIDE + d] = weight[d] = gate[d] = up[d] = 1;
            x[WIDE + at] = bad;
            subjects_at(n)->rmsnorm(y, x, weight, 2, WIDE, 1e-5f);
            assert_true(isfinite(y[at]) && !isfinite(y[WIDE + at]));
            gate[at] = bad;
            subjects_at(n)->swiglu(gate, up, WIDE);
            assert_true(isfinite(gate[(at + 1) % WIDE]));
            assert_true(!isfinite(gate[at]) || bad == -INFINITY);
            gate[at] = 1;
            up[at] = bad;
            subjects_at(n)->swiglu(gate, up, WIDE);
            assert_false(isfinite(gate[at]));
        }
}

/* Rows: both full, ours empty, theirs empty, both empty, again and again, but each eight of them
 * begins with another kind: kernels take eight at a time. All sums are exact. */
static void merge_folds_states_and_ignores_empty_ones(void **unused)
{
    (void)unused;
    enum { KINDS = 4, ROWS = 19, WIDTH = 16 };
    static const float maxima[KINDS] = {3, -INFINITY, 2, -INFINITY}, sums[KINDS] = {1.5f, 0, 2, 0};
    static const float other_maxima[KINDS] = {5, 1, -INFINITY, -INFINITY};
    static const float other_sums[KINDS] = {2, 1.25f, 0, 0};
    static const float max_after[KINDS] = {5, 1, 2, -INFINITY};
    static const float sum_after[KINDS] = {2.375f, 1.25f, 2, 0};
    for (int n = 0; subjects_at(n); n++) {
        float acc[ROWS][WIDTH], max[ROWS], sum[ROWS];
        float other_acc[ROWS][WIDTH], other_max[ROWS], other_sum[ROWS];
        for (int r = 0; r < ROWS; r++) {
            const int kind = (r + r / 8) % KINDS;
            max[r] = maxima[kind];
            sum[r] = sums[kind];
            other_max[r] = other_maxima[kind];
            other_sum[r] = other_sums[kind];
            for (int d = 0; d < WIDTH; d++) {
                acc[r][d] = sum[r] != 0 ? (float)(d + r) : 0;
                other_acc[r][d] = other_sum[r] != 0 ? (float)(100 - d) : 0;
            }
        }
        struct attention_merge_args args = {.acc = &acc[0][0],
                                            .max = max,
                                            .sum = sum,
                                            .other_acc = &other_acc[0][0],
                                            .other_max = other_max,
                                            .other_sum = other_sum,
                                            .rows = ROWS,
                                            .head_dim = WIDTH};
        subjects_at(n)->attention_merge(&args);
        for (int r = 0; r < ROWS; r++) {
            const int kind = (r + r / 8) % KINDS;
            assert_true(max[r] == max_after[kind] && sum[r] == sum_after[kind]);
            for (int d = 0; d < WIDTH; d++) {
                const float ours = (float)(d + r), theirs = (float)(100 - d);
                const float after[KINDS] = {ours / 4 + theirs, theirs, ours, 0};
                assert_true(acc[r][d] == after[kind]);
            }
        }
    }
}

static void finish_divides_and_leaves_empty_rows_zero(void **unused)
{
    (void)unused;
    static const int head_dims[] = {16, 64, 80, 256};
    enum { ROWS = 3 };
    for (int n = 0; subjects_at(n); n++) {
        for (int h = 0; h < 4; h++) {
            int head_dim = head_dims[h];
            struct random random = {(uint64_t)h};
            struct guarded acc = floats(ROWS * head_dim, &random);
            struct guarded out = guarded_create(acc.bytes, 0x5a);
            const float sum[ROWS] = {3, 0, 0.25f};
            memset((float *)acc.at + head_dim, 0, (size_t)head_dim * sizeof(float));
            subjects_at(n)->attention_finish(out.at, acc.at, sum, ROWS, head_dim);
            guarded_check(&out);
            for (int i = 0; i < ROWS * head_dim; i++) {
                float s = sum[i / head_dim];
                float want = s == 0 ? 0 : ((float *)acc.at)[i] / s;
                assert_true(((float *)out.at)[i] == want);
            }
            subjects_at(n)->attention_finish(acc.at, acc.at, sum, ROWS, head_dim);
            assert_memory_equal(acc.at, out.at, out.bytes);
            guarded_destroy(&acc);
            guarded_destroy(&out);
        }
    }
}

/* Every value lands at the place that attention.h names, and nothing else is written. */
static void store_writes_one_row_where_the_layout_says(void **unused)
{
    (void)unused;
    enum { HEADS = 2, HEAD_DIM = 80, ROW = 37 };
    for (int n = 0; subjects_at(n); n++) {
        const struct kernels *kernels = subjects_at(n);
        bool narrow = kernels->cache == DTYPE_BF16;
        float keys[HEADS * HEAD_DIM], values[HEADS * HEAD_DIM];
        for (int i = 0; i < HEADS * HEAD_DIM; i++) {
            keys[i] = (float)(i + 1);
            values[i] = (float)-(i + 1);
        }
        size_t bytes = attention_record_bytes(kernels->cache, HEADS, HEAD_DIM);
        struct guarded panel = guarded_create(2 * bytes, 0);
        kernels->attention_store_keys(panel.at, ROW, keys, HEADS, HEAD_DIM);
        kernels->attention_store_values((char *)panel.at + bytes, ROW, values, HEADS, HEAD_DIM);
        guarded_check(&panel);
        int64_t head = PANEL_TOKENS * HEAD_DIM, written = 0;
        for (int64_t i = 0; i < 2 * HEADS * head; i++)
            written += narrow ? ((uint16_t *)panel.at)[i] != 0 : ((float *)panel.at)[i] != 0;
        assert_int_equal(written, 2 * HEADS * HEAD_DIM);
        for (int64_t h = 0; h < HEADS; h++) {
            for (int64_t d = 0; d < HEAD_DIM; d++) {
                int64_t k = h * head, v = (HEADS + h) * head;
                k += narrow ? (d / 2 * PANEL_TOKENS + ROW) * 2 + d % 2 : ROW * HEAD_DIM + d;
                v += narrow ? (ROW / 2 * HEAD_DIM + d) * 2 + ROW % 2 : ROW * HEAD_DIM + d;
                float key = narrow ? dtype_f32_from_bf16(((uint16_t *)panel.at)[k])
                                   : ((float *)panel.at)[k];
                float value = narrow ? dtype_f32_from_bf16(((uint16_t *)panel.at)[v])
                                     : ((float *)panel.at)[v];
                assert_true(key == keys[h * HEAD_DIM + d]);
                assert_true(value == values[h * HEAD_DIM + d]);
            }
        }
        guarded_destroy(&panel);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rope_table_holds_float64_angles),
        cmocka_unit_test(logn_grows_with_the_index_from_its_length_on),
        cmocka_unit_test(rope_turns_pairs_half_a_head_apart),
        cmocka_unit_test(rope_turns_keys_in_place),
        cmocka_unit_test(rmsnorm_is_within_float32_of_the_truth),
        cmocka_unit_test(rmsnorm_is_exact_on_exact_data),
        cmocka_unit_test(swiglu_is_within_float32_of_the_truth),
        cmocka_unit_test(geglu_is_within_float32_of_the_truth),
        cmocka_unit_test(logsumexp_is_exact_to_float64),
        cmocka_unit_test(a_logit_that_is_not_finite_is_never_lost),
        cmocka_unit_test(the_first_row_that_is_not_finite_is_found),
        cmocka_unit_test(the_first_of_the_largest_is_found),
        cmocka_unit_test(rope_keeps_what_is_not_a_number),
        cmocka_unit_test(norms_and_gates_keep_what_is_not_finite),
        cmocka_unit_test(merge_folds_states_and_ignores_empty_ones),
        cmocka_unit_test(finish_divides_and_leaves_empty_rows_zero),
        cmocka_unit_test(store_writes_one_row_where_the_layout_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
