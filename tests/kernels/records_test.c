/* Records as plain rows: what a variant stored is found at its place, whatever order the variant
 * keeps, and comes back bit for bit. */
#include <stdlib.h>
#include <string.h>

#include "kernels/attention_rows.h"
#include "kernels/kernels.h"
#include "tests/kernels/subjects.h"
#include "tests/support/guarded.h"
#include "tests/support/random.h"
#include "tests/support/unit.h"

static float element(const void *rows, enum dtype cache, size_t at)
{
    return cache == DTYPE_F32 ? ((const float *)rows)[at]
                              : dtype_f32_from_bf16(((const uint16_t *)rows)[at]);
}

static float as_kept(float value, enum dtype cache)
{
    return cache == DTYPE_F32 ? value : dtype_f32_from_bf16(dtype_bf16_from_f32(value));
}

static void check(const struct kernels *kernels, struct random *random, int kv_heads, int head_dim,
                  bool values)
{
    const size_t width = (size_t)kv_heads * (size_t)head_dim;
    const size_t bytes = attention_record_bytes(kernels->cache, kv_heads, head_dim);
    const struct attention_rows_args args = {kernels->cache, kv_heads, head_dim, values};
    float *stored = malloc(PANEL_TOKENS * width * sizeof *stored);
    void *record = calloc(1, bytes), *again = malloc(bytes);
    struct guarded rows = guarded_create(bytes, 0);
    for (size_t i = 0; i < PANEL_TOKENS * width; i++)
        stored[i] = random_normal(random);
    for (int64_t token = 0; token < PANEL_TOKENS; token++)
        (values ? kernels->attention_store_values : kernels->attention_store_keys)(
            record, token, stored + (size_t)token * width, kv_heads, head_dim);
    attention_rows_take(rows.at, record, &args);
    for (int head = 0; head < kv_heads; head++)
        for (int token = 0; token < PANEL_TOKENS; token++)
            for (int d = 0; d < head_dim; d++) {
                const float wanted = stored[(size_t)token * width + (size_t)(head * head_dim + d)];
                const size_t at = (size_t)((head * PANEL_TOKENS + token) * head_dim + d);
                assert_true(element(rows.at, kernels->cache, at) ==
                            as_kept(wanted, kernels->cache));
            }
    attention_rows_put(again, rows.at, &args);
    assert_memory_equal(again, record, bytes);
    guarded_check(&rows);
    guarded_destroy(&rows);
    free(stored);
    free(record);
    free(again);
}

/* In 8 bits a row is its bytes and its scale, wherever the record has them. */
static void check_bytes(struct random *random, int kv_heads, int head_dim, bool values)
{
    const size_t bytes = attention_record_bytes(DTYPE_INT8, kv_heads, head_dim);
    const struct attention_rows_args args = {DTYPE_INT8, kv_heads, head_dim, values};
    struct guarded rows = guarded_create(bytes, 0), again = guarded_create(bytes, 1);
    char *record = malloc(bytes);
    for (size_t i = 0; i < bytes; i++)
        record[i] = (char)random_between(random, 0, 256);
    attention_rows_take(rows.at, record, &args);
    const char *row = rows.at;
    for (int head = 0; head < kv_heads; head++)
        for (int t = 0; t < PANEL_TOKENS; t++, row += head_dim + 2) {
            const char *at = record + head * PANEL_TOKENS * (head_dim + 2);
            for (int d = 0; d < head_dim; d++)
                assert_int_equal(row[d], values ? at[(t / 4 * head_dim + d) * 4 + t % 4]
                                                : at[(d / 4 * PANEL_TOKENS + t) * 4 + d % 4]);
            assert_memory_equal(row + head_dim, at + PANEL_TOKENS * head_dim + 2 * t, 2);
        }
    attention_rows_put(again.at, rows.at, &args);
    assert_memory_equal(again.at, record, bytes);
    guarded_check(&rows);
    guarded_check(&again);
    guarded_destroy(&rows);
    guarded_destroy(&again);
    free(record);
}

static void rows_are_what_was_stored(void **state)
{
    (void)state;
    struct random random = {20261201};
    const struct kernels *kernels;
    for (int v = 0; (kernels = subjects_at(v)) != NULL; v++)
        for (int values = 0; values < 2; values++) {
            check(kernels, &random, 1, 16, values);
            check(kernels, &random, 3, 64, values);
            check(kernels, &random, 2, 112, values);
        }
}

static void rows_in_8_bits_have_their_scales(void **state)
{
    (void)state;
    struct random random = {20261202};
    for (int values = 0; values < 2; values++) {
        check_bytes(&random, 1, 16, values);
        check_bytes(&random, 3, 64, values);
        check_bytes(&random, 2, 112, values);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(rows_are_what_was_stored),
                                       cmocka_unit_test(rows_in_8_bits_have_their_scales)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
