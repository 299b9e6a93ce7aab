/* Every variant of the matrix products over every weight type: exact data bit for bit, float64
 * truth within the budget, canaries around every output, and the same bits however a call is cut.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/kernels/subjects.h"
#include "tests/support/guarded.h"
#include "tests/support/random.h"
#include "tests/support/unit.h"

static const struct kernels_limits limits = {
    .rows = KERNELS_ROWS_MAX, .width_max = 1536, .head_dim = 64, .group = 1};

static const float UNTOUCHED = -77777.0f;

struct product {
    const struct kernels *kernels;
    enum dtype dtype;
    int64_t rows, out, in, x_stride, y_stride;
    bool is_exact; /* all values and sums are whole numbers or halves, within 24 bits */
    uint8_t *file; /* [out] rows as a model file has them */
    float *truth;  /* [out, in] */
    float *x;      /* [rows, x_stride] */
    struct guarded packed, y, scratch;
    struct matmul_weights weights;
};

static void put_half(uint8_t *at, float value)
{
    uint16_t half = dtype_f16_from_f32(value);
    memcpy(at, &half, sizeof half);
}

static float scale_of(struct random *random, bool is_exact)
{
    if (is_exact)
        return random_between(random, 0, 2) ? 1.0f : -0.5f;
    return random_float(random) * 0.05f;
}

/* A quantised block with random quants and sensible scales; with is_exact they are small, so that
 * a weight has at most 8 significant bits and every sum is exact. */
static void fill_block(struct random *random, uint8_t *block, enum dtype dtype, bool is_exact)
{
    size_t bytes = dtype_block_bytes(dtype);
    for (size_t i = 0; i < bytes; i++)
        block[i] = (uint8_t)random_between(random, 0, 256);
    bool has_min =
        dtype == DTYPE_Q4_1 || dtype == DTYPE_Q5_1 || dtype == DTYPE_Q4_K || dtype == DTYPE_Q5_K;
    float min = is_exact ? (float)random_between(random, -3, 4) : random_float(random);
    const int scale_at = dtype == DTYPE_Q6_K ? 208 : dtype == DTYPE_Q3_K ? 108 : 0;
    put_half(block + scale_at, scale_of(random, is_exact));
    if (has_min)
        put_half(block + 2, min);
    if (!is_exact)
        return;
    if (dtype == DTYPE_Q4_K || dtype == DTYPE_Q5_K) {
        for (int i = 0; i < 8; i++)
            block[4 + i] &= 3;
        for (int i = 8; i < 12; i++)
            block[4 + i] &= 0x33;
    }
    if (dtype == DTYPE_Q3_K) /* scales of 1 and 2, 32 above */
        for (int i = 0; i < 12; i++)
            block[96 + i] = (uint8_t)(i >= 8 ? 0xaa : random_between(random, 0, 2) ? 0x12 : 0x21);
    if (dtype == DTYPE_IQ4_XS) /* the same */
        for (int i = 2; i < 8; i++)
            block[i] = (uint8_t)(i < 4 ? 0xaa : 0x11 * random_between(random, 1, 2));
    for (int i = 0; dtype == DTYPE_Q6_K && i < 16; i++)
        block[192 + i] = (uint8_t)(int8_t)random_between(random, -2, 3);
}

static void fill_element(struct random *random, uint8_t *at, enum dtype dtype, bool is_exact)
{
    float value = is_exact ? (float)random_between(random, -9, 10) : random_normal(random);
    uint16_t half = dtype == DTYPE_F16 ? dtype_f16_from_f32(value) : dtype_bf16_from_f32(value);
    if (dtype == DTYPE_F32)
        memcpy(at, &value, sizeof value);
    else
        memcpy(at, &half, sizeof half);
}

static void fill(struct product *p, struct random *random)
{
    size_t row_bytes = dtype_row_bytes(p->dtype, p->in);
    size_t block_bytes = dtype_block_bytes(p->dtype);
    p->file = malloc((size_t)p->out * row_bytes);
    p->truth = malloc((size_t)(p->out * p->in) * sizeof(float));
    p->x = malloc((size_t)(p->rows * p->x_stride + 1) * sizeof(float));
    assert_true(p->file && p->truth && p->x);
    for (uint8_t *at = p->file; at < p->file + (size_t)p->out * row_bytes; at += block_bytes) {
        if (dtype_block_elements(p->dtype) > 1)
            fill_block(random, at, p->dtype, p->is_exact);
        else
            fill_element(random, at, p->dtype, p->is_exact);
    }
    for (int64_t o = 0; o < p->out; o++)
        dtype_dequantize_row(p->truth + o * p->in, p->file + (size_t)o * row_bytes, p->dtype,
                             p->in);
    for (int64_t i = 0; i < p->rows * p->x_stride; i++)
        p->x[i] = p->is_exact ? (float)random_between(random, -3, 4) : random_normal(random);
}

/* Strides are drawn; x beyond `in` is never to be read as data, so it holds numbers too. */
static struct product product_create(struct random *random, const struct kernels *kernels,
                                     enum dtype dtype, int64_t rows, int64_t out, int64_t in,
                                     bool is_exact)
{
    struct product p = {.kernels = kernels,
                        .dtype = dtype,
                        .rows = rows,
                        .out = out,
                        .in = in,
                        .x_stride = in + random_between(random, 0, 9),
                        .y_stride = out + random_between(random, 0, 9),
                        .is_exact = is_exact};
    fill(&p, random);
    p.packed = guarded_create(kernels->matmul_packed_bytes(dtype, out, in), 0xcd);
    kernels->matmul_pack(p.packed.at, p.file, dtype, out, in);
    guarded_check(&p.packed);
    p.y = guarded_create((size_t)(rows * p.y_stride + 1) * sizeof(float), 0);
    /* NaNs: whatever is read before it is written shows. */
    p.scratch = guarded_create(kernels->scratch_bytes(&limits), 0xff);
    p.weights = (struct matmul_weights){p.packed.at, dtype, out, in};
    return p;
}

static void product_destroy(struct product *p)
{
    guarded_destroy(&p->packed);
    guarded_destroy(&p->y);
    guarded_destroy(&p->scratch);
    free(p->file);
    free(p->truth);
    free(p->x);
}

static void reset(struct product *p, float value)
{
    float *y = p->y.at;
    for (int64_t i = 0; i < p->rows * p->y_stride; i++)
        y[i] = value;
}

static void multiply(struct product *p, bool decode, bool accumulate, int64_t row_first,
                     int64_t row_end, int64_t out_first, int64_t out_end)
{
    struct matmul_args args = {.y = (float *)p->y.at + row_first * p->y_stride,
                               .y_stride = p->y_stride,
                               .x = p->x + row_first * p->x_stride,
                               .x_stride = p->x_stride,
                               .rows = row_end - row_first,
                               .weights = &p->weights,
                               .out_first = out_first,
                               .out_end = out_end,
                               .accumulate = accumulate,
                               .scratch = p->scratch.at};
    if (decode)
        p->kernels->matmul_decode(&args);
    else
        p->kernels->matmul_prefill(&args);
    guarded_check(&p->y);
    guarded_check(&p->scratch);
}

/* Float32 sums: no chain of dependent additions is longer than 256 + in / 32 + 8, and where a
 * minimum is split off, the parts of a product are at most four times the block's largest weight.
 * bf16 operands: half a unit in the eighth bit of either, so 2^-7 and a little of their product.
 * Operands as 16-bit integers: half a unit in the fifteenth bit of the block's largest x. The last
 * addition's rounding is counted by the caller, who knows what it is added to. */
static double budget(const struct product *p, bool decode, const float *x, const float *w)
{
    double exact_parts = 0, rounded = 0, counted = 0, largest = 0, largest_x = 0;
    for (int64_t k = 0; k < p->in; k++) {
        if (k % 32 == 0) {
            largest = largest_x = 0;
            for (int64_t i = k; i < k + 32 && i < p->in; i++) {
                const double weight = fabs((double)w[i]), input = fabs((double)x[i]);
                largest = weight > largest ? weight : largest;
                largest_x = input > largest_x ? input : largest_x;
            }
        }
        exact_parts += 4 * largest * fabs((double)x[k]);
        rounded += fabs((double)x[k] * (double)w[k]);
        counted += 4 * largest * largest_x;
    }
    bool bf16 = !decode && strncmp(p->kernels->name, "avx512_bf16", 11) == 0;
    bool integers =
        !bf16 && strcmp(p->kernels->name, "reference") != 0 && dtype_block_elements(p->dtype) > 1;
    double additions = decode ? 16 + (double)p->in / 32 : 264 + (double)p->in / 256;
    if (strcmp(p->kernels->name, "reference") == 0)
        additions = 8 + (double)p->in / 16;
    return additions * 0x1p-24 * exact_parts + (bf16 ? 0x1.01p-7 * rounded : 0) +
           (integers ? 0x1p-15 * counted : 0);
}

static void expect_right(struct product *p, bool decode, float before, int64_t out_first,
                         int64_t out_end)
{
    const float *y = p->y.at;
    for (int64_t r = 0; r < p->rows; r++)
        for (int64_t o = 0; o < p->y_stride; o++) {
            float got = y[r * p->y_stride + o];
            if (o < out_first || o >= out_end) {
                assert_true(got == UNTOUCHED || got == before);
                continue;
            }
            const float *x = p->x + r * p->x_stride;
            const float *w = p->truth + o * p->in;
            double sum = before;
            for (int64_t k = 0; k < p->in; k++)
                sum += (double)x[k] * (double)w[k];
            double error = fabs((double)got - sum);
            double allowed = p->is_exact ? 0 : budget(p, decode, x, w) + 0x1p-24 * fabs(sum);
            if (error <= allowed)
                continue;
            print_error("%s %s %s rows %lld out %lld in %lld: y[%lld][%lld] is %.9g, not %.9g "
                        "(allowed %.3g)\n",
                        p->kernels->name, decode ? "decode" : "prefill", dtype_name(p->dtype),
                        (long long)p->rows, (long long)p->out, (long long)p->in, (long long)r,
                        (long long)o, (double)got, sum, allowed);
            assert_true(false);
        }
}

static void check_product(struct product *p, struct random *random)
{
    for (int decode = 0; decode < 2; decode++) {
        int64_t first = random_between(random, 0, (p->out - 1) / MATMUL_SPLIT + 1) * MATMUL_SPLIT;
        reset(p, UNTOUCHED);
        multiply(p, decode, false, 0, p->rows, first, p->out);
        expect_right(p, decode, 0, first, p->out);
        reset(p, 2);
        multiply(p, decode, true, 0, p->rows, 0, p->out);
        expect_right(p, decode, 2, 0, p->out);
    }
}

static int64_t smallest_in(enum dtype dtype)
{
    return dtype_block_elements(dtype) > 32 ? 256 : 32;
}

static const int64_t row_counts[] = {0, 1, 2, 5, 6, 7, 95, 96, 97, 192};
enum { ROW_COUNTS = sizeof row_counts / sizeof row_counts[0] };

static void every_type_is_right_at_every_row_count(bool is_exact, uint64_t seed)
{
    struct random random = {seed};
    for (int s = 0; subjects_at(s); s++)
        for (int d = 0; d < DTYPE_COUNT; d++)
            for (int i = 0; i < ROW_COUNTS; i++) {
                enum dtype dtype = (enum dtype)d;
                int64_t out = random_between(&random, 1, 60);
                int64_t in = smallest_in(dtype) * random_between(&random, 1, 4);
                struct product p = product_create(&random, subjects_at(s), dtype, row_counts[i],
                                                  out, in, is_exact);
                check_product(&p, &random);
                product_destroy(&p);
            }
}

static void exact_data_gives_exact_sums(void **state)
{
    (void)state;
    every_type_is_right_at_every_row_count(true, 1);
}

static void random_data_stays_within_the_budget(void **state)
{
    (void)state;
    every_type_is_right_at_every_row_count(false, 2);
}

static void model_widths_are_right(void **state)
{
    (void)state;
    static const int64_t widths[] = {576, 960, 1536};
    struct random random = {3};
    for (int s = 0; subjects_at(s); s++)
        for (int d = 0; d < DTYPE_COUNT; d++)
            for (int i = 0; i < 6; i++) {
                enum dtype dtype = (enum dtype)d;
                int64_t in = widths[i / 2];
                if (in % dtype_block_elements(dtype) != 0)
                    continue;
                struct product p =
                    product_create(&random, subjects_at(s), dtype, 7, 100, in, i % 2 == 0);
                check_product(&p, &random);
                product_destroy(&p);
            }
}

/* Plain types have no blocks, so `in` need not be a multiple of anything. */
static void plain_types_take_any_width(void **state)
{
    (void)state;
    struct random random = {4};
    for (int s = 0; subjects_at(s); s++)
        for (int d = 0; d < DTYPE_COUNT; d++)
            for (int i = 0; i < 12 && dtype_block_elements((enum dtype)d) == 1; i++) {
                struct product p = product_create(&random, subjects_at(s), (enum dtype)d, 3, 20,
                                                  random_between(&random, 1, 300), i % 2 == 0);
                check_product(&p, &random);
                product_destroy(&p);
            }
}

static void cuts_of_rows_and_outputs_do_not_change_a_bit(void **state)
{
    (void)state;
    struct random random = {5};
    for (int s = 0; subjects_at(s); s++)
        for (int d = 0; d < DTYPE_COUNT; d++)
            for (int decode = 0; decode < 2; decode++) {
                int64_t rows = decode ? 11 : 40, out = 150;
                struct product p =
                    product_create(&random, subjects_at(s), (enum dtype)d, rows, out, 512, false);
                size_t bytes = (size_t)(rows * p.y_stride) * sizeof(float);
                float *whole = malloc(bytes);
                assert_non_null(whole);
                reset(&p, UNTOUCHED);
                multiply(&p, decode, false, 0, rows, 0, out);
                memcpy(whole, p.y.at, bytes);
                reset(&p, UNTOUCHED);
                for (int64_t r = 0, r_end; r < rows; r = r_end) {
                    r_end = r + random_between(&random, 1, rows - r + 1);
                    for (int64_t o = 0, o_end; o < out; o = o_end) {
                        o_end = o + random_between(&random, 1, 4) * MATMUL_SPLIT;
                        o_end = o_end < out ? o_end : out;
                        multiply(&p, decode, false, r, r_end, o, o_end);
                    }
                }
                assert_memory_equal(whole, p.y.at, bytes);
                free(whole);
                product_destroy(&p);
            }
}

/* A step's rows have the arithmetic of a row alone, whatever their number: below, at and above the
 * sizes of passes and tiles. */
static void a_decode_row_has_the_same_bits_in_any_step(void **state)
{
    (void)state;
    enum { MOST = 40, OUT = 50 };
    struct random random = {9};
    for (int s = 0; subjects_at(s); s++)
        for (int d = 0; d < DTYPE_COUNT; d++) {
            enum dtype dtype = (enum dtype)d;
            int64_t in = dtype_block_elements(dtype) == 1 ? 77 : smallest_in(dtype) * 2;
            struct product p = product_create(&random, subjects_at(s), dtype, MOST, OUT, in, false);
            float *y = p.y.at;
            static float alone[MOST][OUT];
            for (int64_t r = 0; r < MOST; r++) {
                multiply(&p, true, false, r, r + 1, 0, OUT);
                memcpy(alone[r], y + r * p.y_stride, sizeof alone[r]);
            }
            for (int64_t rows = 2; rows <= MOST; rows++) {
                int64_t first = random_between(&random, 0, MOST - rows + 1);
                int64_t cut = random_between(&random, 0, OUT / MATMUL_SPLIT + 1) * MATMUL_SPLIT;
                reset(&p, UNTOUCHED);
                multiply(&p, true, false, first, first + rows, 0, cut);
                multiply(&p, true, false, first, first + rows, cut, OUT);
                for (int64_t r = first; r < first + rows; r++)
                    assert_memory_equal(alone[r], y + r * p.y_stride, sizeof alone[r]);
            }
            product_destroy(&p);
        }
}

/* With and without VNNI, in 512 bits and in plain C the integers are the same, and so are their
 * scales' order and roundings. */
static void integer_products_have_the_same_bits_in_every_form(void **state)
{
    (void)state;
    enum { ROWS = 11, OUT = 50 };
    for (int d = 0; d < DTYPE_COUNT; d++) {
        float first[ROWS][OUT];
        bool is_known = false;
        if (dtype_block_elements((enum dtype)d) == 1)
            continue;
        for (int s = 0; subjects_at(s); s++) {
            struct random random = {10};
            struct product p =
                product_create(&random, subjects_at(s), (enum dtype)d, ROWS, OUT, 512, false);
            multiply(&p, true, false, 0, ROWS, 0, OUT);
            for (int64_t r = 0; r < ROWS && strcmp(p.kernels->name, "reference") != 0; r++) {
                const float *y = (float *)p.y.at + r * p.y_stride;
                if (is_known)
                    assert_memory_equal(first[r], y, sizeof first[r]);
                else
                    memcpy(first[r], y, sizeof first[r]);
                is_known = is_known || r + 1 == ROWS;
            }
            product_destroy(&p);
        }
    }
}

static void what_is_not_finite_stays_so(void **state)
{
    (void)state;
    struct random random = {8};
    for (int s = 0; subjects_at(s); s++)
        for (int d = 0; d < DTYPE_COUNT; d++)
            for (int i = 0; i < 4; i++) {
                struct product p =
                    product_create(&random, subjects_at(s), (enum dtype)d, 2, 20, 512, false);
                p.x[p.x_stride + 300] = i / 2 ? NAN : -INFINITY;
                reset(&p, 0);
                multiply(&p, i % 2, false, 0, 2, 0, 20);
                for (int64_t o = 0; o < 20; o++) {
                    assert_true(isfinite(((float *)p.y.at)[o]));
                    assert_false(isfinite(((float *)p.y.at)[p.y_stride + o]));
                }
                product_destroy(&p);
            }
}

static void empty_calls_do_nothing(void **state)
{
    (void)state;
    struct random random = {6};
    for (int s = 0; subjects_at(s); s++) {
        struct product p = product_create(&random, subjects_at(s), DTYPE_Q8_0, 3, 40, 64, false);
        reset(&p, UNTOUCHED);
        for (int decode = 0; decode < 2; decode++) {
            multiply(&p, decode, false, 0, 0, 0, 40);
            multiply(&p, decode, false, 0, 3, 16, 16);
            multiply(&p, decode, true, 0, 3, 32, 32);
        }
        for (int64_t i = 0; i < p.rows * p.y_stride; i++)
            assert_true(((float *)p.y.at)[i] == UNTOUCHED);
        product_destroy(&p);
    }
}

static void a_row_comes_back_as_the_file_has_it(void **state)
{
    (void)state;
    struct random random = {7};
    for (int s = 0; subjects_at(s); s++)
        for (int d = 0; d < DTYPE_COUNT; d++) {
            struct product p =
                product_create(&random, subjects_at(s), (enum dtype)d, 0, 37, 768, false);
            struct guarded row = guarded_create((size_t)p.in * sizeof(float), 0);
            for (int64_t o = 0; o < p.out; o++) {
                p.kernels->matmul_row(row.at, &p.weights, o);
                guarded_check(&row);
                for (int64_t k = 0; k < p.in; k++)
                    assert_true(((float *)row.at)[k] == p.truth[o * p.in + k]);
            }
            guarded_destroy(&row);
            product_destroy(&p);
        }
}

/* The types that small models are made of cost what the file costs. */
static void packed_bytes_are_about_the_files_bytes(void **state)
{
    (void)state;
    for (int s = 0; subjects_at(s); s++)
        for (int d = 0; d < DTYPE_COUNT; d++) {
            enum dtype dtype = (enum dtype)d;
            size_t file = 512 * dtype_row_bytes(dtype, 768);
            size_t packed = subjects_at(s)->matmul_packed_bytes(dtype, 512, 768);
            static const double wider[DTYPE_COUNT] = {
                [DTYPE_Q5_0] = 2.01, [DTYPE_Q5_1] = 2.01,  [DTYPE_Q4_K] = 2.01,
                [DTYPE_Q5_K] = 2.01, [DTYPE_Q6_K] = 2.01,  [DTYPE_IQ4_NL] = 2.01,
                [DTYPE_Q3_K] = 3.21, [DTYPE_IQ4_XS] = 2.6,
            };
            assert_true(packed >= file);
            assert_true((double)packed <= (double)file * (wider[d] > 0 ? wider[d] : 1.0) + 64);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_data_gives_exact_sums),
        cmocka_unit_test(random_data_stays_within_the_budget),
        cmocka_unit_test(model_widths_are_right),
        cmocka_unit_test(plain_types_take_any_width),
        cmocka_unit_test(cuts_of_rows_and_outputs_do_not_change_a_bit),
        cmocka_unit_test(a_decode_row_has_the_same_bits_in_any_step),
        cmocka_unit_test(integer_products_have_the_same_bits_in_every_form),
        cmocka_unit_test(what_is_not_finite_stays_so),
        cmocka_unit_test(empty_calls_do_nothing),
        cmocka_unit_test(a_row_comes_back_as_the_file_has_it),
        cmocka_unit_test(packed_bytes_are_about_the_files_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
