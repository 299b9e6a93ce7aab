/* The expansion of every number format against values of an independent implementation (PyPI gguf
 * 0.19's numpy code: there, 4,096 random blocks of every format agreed bit for bit; the table is
 * printed by tests/unit/data/make-block-values), and the rounding of 16-bit floats.
 */
#include "tests/support/unit.h"

#include <math.h>

#include "kernels/dtype.h"

struct point {
    int index;
    float value;
};

/* Byte i of a block is (37 i + 11) mod 256, then its f16 scales are put in. */
struct block_case {
    enum dtype dtype;
    struct {
        int at;
        float value;
    } scales[2];
    struct point points[12];
    double sum;
    double weighted_sum; /* of (index + 1) * value: an exchange of elements shows */
};

static const struct block_case block_cases[] = {
    {DTYPE_Q4_0,
     {{0, 0.25f}, {0, 0.25f}},
     {{0, -0.75f}, {1, 0.5f}, {15, -2.0f}, {16, -0.75f}, {31, 0.0f}},
     -5.25,
     -129.5},
    {DTYPE_Q4_1,
     {{0, 0.25f}, {2, -1.5f}},
     {{0, 2.25f}, {1, -0.5f}, {15, 1.0f}, {16, 0.75f}, {31, 1.5f}},
     13.25,
     203.75},
    {DTYPE_Q5_0,
     {{0, 0.25f}, {0, 0.25f}},
     {{0, 2.25f}, {1, -0.5f}, {15, -3.0f}, {16, 3.5f}, {31, 0.25f}},
     3.75,
     28.0},
    {DTYPE_Q5_1,
     {{0, 0.25f}, {2, -1.5f}},
     {{0, 3.25f}, {1, 4.5f}, {15, 6.0f}, {16, 3.25f}, {31, -0.25f}},
     78.25,
     1183.25},
    {DTYPE_Q8_0,
     {{0, 0.125f}, {0, 0.125f}},
     {{0, 10.625f}, {1, 15.25f}, {15, -16.0f}, {16, -11.375f}, {31, -6.0f}},
     -22.0,
     -1010.0},
    {DTYPE_Q4_K,
     {{0, 0.0625f}, {2, 0.125f}},
     {{0, 14.9375f},
      {31, 5.25f},
      {32, -1.75f},
      {63, 0.25f},
      {64, 20.5625f},
      {100, 2.75f},
      {127, 1.875f},
      {128, 25.3125f},
      {170, -3.75f},
      {191, 0.0f},
      {200, 7.0625f},
      {255, -0.25f}},
     2610.5,
     384106.5},
    {DTYPE_Q5_K,
     {{0, 0.0625f}, {2, 0.125f}},
     {{0, 45.9375f},
      {31, 5.25f},
      {32, 4.75f},
      {63, 2.75f},
      {64, 20.5625f},
      {100, 11.5f},
      {127, -3.375f},
      {128, 64.3125f},
      {170, 33.75f},
      {191, 37.5f},
      {200, 7.0625f},
      {255, 3.5f}},
     6471.5,
     912519.5},
    {DTYPE_Q6_K,
     {{208, 0.03125f}, {208, 0.03125f}},
     {{0, -44.71875f},
      {31, -3.0f},
      {32, 7.21875f},
      {63, -18.125f},
      {64, -95.0f},
      {100, 78.84375f},
      {127, 46.875f},
      {128, -10.96875f},
      {170, 55.28125f},
      {191, -30.625f},
      {200, 34.03125f},
      {255, -1.875f}},
     144.125,
     24513.125},
    {DTYPE_Q3_K,
     {{108, 0.03125f}, {108, 0.03125f}},
     {{0, 2.53125f},
      {31, 2.0f},
      {32, -0.6875f},
      {63, 0.3125f},
      {64, 1.0625f},
      {100, 0.0f},
      {127, 2.25f},
      {128, 0.0625f},
      {170, -1.21875f},
      {191, 2.53125f},
      {200, 0.78125f},
      {255, 1.3125f}},
     29.9375,
     5535.78125},
    {DTYPE_IQ4_NL,
     {{0, 0.0625f}, {0, 0.0625f}},
     {{0, -2.1875f},
      {1, 1.5625f},
      {2, 7.0625f},
      {5, 5.5625f},
      {8, 4.3125f},
      {13, -1.375f},
      {15, -7.9375f},
      {16, -2.1875f},
      {20, 5.5625f},
      {25, 1.5625f},
      {30, -2.1875f},
      {31, 0.0625f}},
     -16.0625,
     -432.4375},
    {DTYPE_IQ4_XS,
     {{0, 0.03125f}, {0, 0.03125f}},
     {{0, 2.03125f},
      {31, 1.09375f},
      {32, 14.21875f},
      {63, -5.46875f},
      {64, 24.375f},
      {100, 1.25f},
      {127, 6.125f},
      {128, -18.28125f},
      {170, -15.3125f},
      {191, 38.9375f},
      {200, 35.625f},
      {255, -0.5f}},
     -343.90625,
     -65347.9375},
    {DTYPE_Q2_K,
     {{80, 0.0625f}, {82, 0.125f}},
     {{0, 2.0625f},
      {31, -0.375f},
      {32, 0.0f},
      {63, -0.25f},
      {64, -0.1875f},
      {100, -0.0625f},
      {127, 2.625f},
      {128, 0.1875f},
      {170, 1.5625f},
      {191, -1.125f},
      {200, -0.625f},
      {255, 0.0f}},
     -28.8125,
     -6495.125},
};

static void check_block(const struct block_case *c)
{
    uint8_t block[256];
    float out[256];
    size_t bytes = dtype_block_bytes(c->dtype);
    int elements = dtype_block_elements(c->dtype);
    for (size_t i = 0; i < bytes; i++)
        block[i] = (uint8_t)(i * 37 + 11);
    for (int i = 0; i < 2; i++) {
        uint16_t half = dtype_f16_from_f32(c->scales[i].value);
        block[c->scales[i].at] = (uint8_t)half;
        block[c->scales[i].at + 1] = (uint8_t)(half >> 8);
    }
    dtype_dequantize_row(out, block, c->dtype, elements);
    for (int i = 0; i < 12 && (i == 0 || c->points[i].index > 0); i++)
        assert_float_equal(out[c->points[i].index], c->points[i].value, 0);
    double sum = 0;
    double weighted_sum = 0;
    for (int i = 0; i < elements; i++) {
        sum += (double)out[i];
        weighted_sum += (double)out[i] * (i + 1);
    }
    assert_true(sum == c->sum);
    assert_true(weighted_sum == c->weighted_sum);
}

static void every_block_expands_to_its_reference_values(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof block_cases / sizeof block_cases[0]; i++)
        check_block(&block_cases[i]);
}

static void a_row_is_its_blocks_one_after_the_other(void **state)
{
    (void)state;
    uint8_t row[3 * 20];
    float whole[96];
    float part[32];
    for (size_t i = 0; i < sizeof row; i++)
        row[i] = (uint8_t)(i % 20 < 4 ? 0x30 : i * 29);
    dtype_dequantize_row(whole, row, DTYPE_Q4_1, 96);
    for (int i = 0; i < 3; i++) {
        dtype_dequantize_row(part, row + 20 * i, DTYPE_Q4_1, 32);
        assert_memory_equal(part, whole + 32 * i, sizeof part);
    }
}

static void row_bytes_refuse_what_does_not_fill_blocks(void **state)
{
    (void)state;
    assert_int_equal(dtype_row_bytes(DTYPE_Q4_1, 576), 360);
    assert_int_equal(dtype_row_bytes(DTYPE_Q6_K, 512), 420);
    assert_int_equal(dtype_row_bytes(DTYPE_F32, 3), 12);
    assert_int_equal(dtype_row_bytes(DTYPE_Q4_1, 33), 0);
    assert_int_equal(dtype_row_bytes(DTYPE_Q4_K, 576), 0);
    assert_int_equal(dtype_row_bytes(DTYPE_Q8_0, -32), 0);
    assert_int_equal(dtype_row_bytes(DTYPE_F32, INT64_MAX), 0);
}

static void every_f16_survives_the_way_there_and_back(void **state)
{
    (void)state;
    for (uint32_t half = 0; half < 65536; half++) {
        float value = dtype_f32_from_f16((uint16_t)half);
        if (isnan(value))
            assert_true(isnan(dtype_f32_from_f16(dtype_f16_from_f32(value))));
        else
            assert_int_equal(dtype_f16_from_f32(value), half);
    }
    assert_true(dtype_f32_from_f16(0x0001) == 0x1p-24f);
    assert_true(dtype_f32_from_f16(0x7bff) == 65504.0f);
    assert_true(dtype_f32_from_f16(0xfc00) == -INFINITY);
}

static void rounding_to_16_bits_goes_to_the_nearest_and_ties_to_even(void **state)
{
    (void)state;
    assert_int_equal(dtype_bf16_from_f32(1.0f), 0x3f80);
    assert_int_equal(dtype_bf16_from_f32(dtype_f32_from_bits(0x3f808000)), 0x3f80);
    assert_int_equal(dtype_bf16_from_f32(dtype_f32_from_bits(0x3f818000)), 0x3f82);
    assert_int_equal(dtype_bf16_from_f32(dtype_f32_from_bits(0x3f808001)), 0x3f81);
    assert_int_equal(dtype_bf16_from_f32(dtype_f32_from_bits(0x7f7fffff)), 0x7f80);
    assert_true(isnan(dtype_f32_from_bf16(dtype_bf16_from_f32(dtype_f32_from_bits(0x7f800001)))));
    assert_int_equal(dtype_f16_from_f32(1.0f + 0x1p-11f), 0x3c00);
    assert_int_equal(dtype_f16_from_f32(1.0f + 3 * 0x1p-11f), 0x3c02);
    assert_int_equal(dtype_f16_from_f32(65519.0f), 0x7bff);
    assert_int_equal(dtype_f16_from_f32(65520.0f), 0x7c00);
    assert_int_equal(dtype_f16_from_f32(0x1p-25f), 0);
    assert_int_equal(dtype_f16_from_f32(0x1.8p-24f), 2);
    assert_int_equal(dtype_f16_from_f32(-0.0f), 0x8000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_block_expands_to_its_reference_values),
        cmocka_unit_test(a_row_is_its_blocks_one_after_the_other),
        cmocka_unit_test(row_bytes_refuse_what_does_not_fill_blocks),
        cmocka_unit_test(every_f16_survives_the_way_there_and_back),
        cmocka_unit_test(rounding_to_16_bits_goes_to_the_nearest_and_ties_to_even),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
