/* Rows in written number formats: byte for byte what PyPI gguf makes of the same numbers. */
#include "kernels/dtype_encode.h"

#include <math.h>

#include "tests/support/unit.h"

enum { ELEMENTS = 256, ROWS = 4, ROW_BYTES = ELEMENTS * 4 };

struct encoded_case {
    enum dtype dtype;
    uint64_t digests[ROWS];
};

/* tests/unit/data/make-encoded-blocks */
static const struct encoded_case encoded_cases[] = {
    {DTYPE_F16, {0xf6e46344080303b3, 0x11e960ab8dced8f2, 0x9e95619111d7f046, 0x70ae3aeec61c79a5}},
    {DTYPE_BF16, {0x19102351c60e1c8b, 0x2627aa65cd6b055b, 0x5a298365c175909a, 0xe7ac5de6688a46f0}},
    {DTYPE_Q8_0, {0x373baff83cf5f286, 0xb43197357d27ab2c, 0xb9b6296c0fd6b36a, 0xcef1fc08ea3eacd2}},
    {DTYPE_Q4_0, {0xf8bd82066f5b42ee, 0x3498bb81c9de7663, 0xd7be1086bc845159, 0x96ec632852b53bbd}},
    {DTYPE_Q4_1, {0x5cbe00cd6716df25, 0x924770792c31aa14, 0xb6f4183444d2909e, 0xf4f9c25883c9c51c}},
    {DTYPE_Q5_0, {0xde51fe61f5452c53, 0x1ffd1921f19757c3, 0x172184f29b04a43b, 0xfbffcfcc3707ffa5}},
    {DTYPE_Q5_1, {0x6c35eeae6bd0bcbb, 0x9934d3c4c7a58da2, 0x7d14d3eca5485a26, 0x79b98ee83c6eeb90}},
};

static void make_row(float *row, int r)
{
    for (int i = 0; i < ELEMENTS; i++) {
        const int number = (i * i * 37 + i * 11 + r * 101) % 257 - 128 + 8 * r;
        row[i] = r == 3 ? 0 : ldexpf((float)number, -(9 + r));
    }
    if (r == 3)
        row[5] = -1e-30f;
}

static uint64_t digest_of(const uint8_t *data, size_t bytes)
{
    uint64_t value = 0xcbf29ce484222325;
    for (size_t i = 0; i < bytes; i++)
        value = (value ^ data[i]) * 0x100000001b3;
    return value;
}

static void rows_are_encoded_as_the_public_package_does(void **state)
{
    (void)state;
    for (size_t c = 0; c < sizeof encoded_cases / sizeof encoded_cases[0]; c++)
        for (int r = 0; r < ROWS; r++) {
            const enum dtype dtype = encoded_cases[c].dtype;
            const size_t bytes = dtype_row_bytes(dtype, ELEMENTS);
            float row[ELEMENTS];
            uint8_t encoded[ROW_BYTES + 1];
            make_row(row, r);
            memset(encoded, 0xa5, sizeof encoded);
            dtype_encode_row(encoded, row, dtype, ELEMENTS);
            assert_int_equal(encoded[bytes], 0xa5);
            if (digest_of(encoded, bytes) != encoded_cases[c].digests[r])
                fail_msg("%s, row %d", dtype_name(dtype), r);
        }
}

/* What has been rounded once is not moved by rounding it again. */
static void plain_formats_come_back_as_they_were(void **state)
{
    (void)state;
    static const enum dtype plain[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16};
    for (size_t p = 0; p < sizeof plain / sizeof plain[0]; p++) {
        float row[ELEMENTS], back[ELEMENTS];
        uint8_t first[ROW_BYTES], second[ROW_BYTES];
        make_row(row, 1);
        dtype_encode_row(first, row, plain[p], ELEMENTS);
        dtype_dequantize_row(back, first, plain[p], ELEMENTS);
        dtype_encode_row(second, back, plain[p], ELEMENTS);
        assert_memory_equal(first, second, dtype_row_bytes(plain[p], ELEMENTS));
    }
}

static void numbers_up_to_the_limit_have_finite_scales(void **state)
{
    (void)state;
    for (int d = 0; d < DTYPE_COUNT; d++) {
        const enum dtype dtype = (enum dtype)d;
        if (!dtype_encode_knows(dtype) || isinf(dtype_encode_most(dtype)))
            continue;
        float row[ELEMENTS], back[ELEMENTS];
        uint8_t encoded[ROW_BYTES];
        for (int i = 0; i < ELEMENTS; i++)
            row[i] = i % 3 == 0 ? -dtype_encode_most(dtype) : dtype_encode_most(dtype);
        dtype_encode_row(encoded, row, dtype, ELEMENTS);
        dtype_dequantize_row(back, encoded, dtype, ELEMENTS);
        for (int i = 0; i < ELEMENTS; i++)
            assert_true(isfinite(back[i]));
    }
    const float beyond = nextafterf(dtype_encode_most(DTYPE_BF16), INFINITY);
    assert_true(isinf(dtype_f32_from_bf16(dtype_bf16_from_f32(beyond))));
    assert_false(dtype_encode_knows(DTYPE_Q4_K));
    assert_false(dtype_encode_knows(DTYPE_COUNT));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_encoded_as_the_public_package_does),
        cmocka_unit_test(plain_formats_come_back_as_they_were),
        cmocka_unit_test(numbers_up_to_the_limit_have_finite_scales),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
