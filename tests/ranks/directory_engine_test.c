/* The same weights as a GGUF file, as a directory and as a sharded directory give the same bits. */
#include "tests/support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels/kernels.h"
#include "tests/support/engine_ranks.h"
#include "tests/support/tiny_directory.h"

enum { TOKENS = 150, ANSWER = 12 };

static const struct tiny_model_shape tied = {
    .layers = 2, .hidden = 64, .heads = 4, .kv_heads = 2, .head_dim = 32, .ffn = 96};
static const struct tiny_model_shape untied = {.layers = 2,
                                               .hidden = 64,
                                               .heads = 3,
                                               .kv_heads = 1,
                                               .head_dim = 16,
                                               .ffn = 96,
                                               .untied = true,
                                               .bf16_norms = true};

static void run(struct engine_outcome *outcome, const char *path, const char *kernels,
                enum engine_kind kind)
{
    int32_t ids[TOKENS];
    for (int i = 0; i < TOKENS; i++)
        ids[i] = TINY_MODEL_BYTE_0 + (i * 37 + i * i % 11) % 256;
    const struct engine_case wanted = {
        .model_path = path,
        .kernels = kernels,
        .ranks = 2,
        .kind = kind,
        .ids = ids,
        .count = TOKENS,
        .max_tokens = kind == ENGINE_GENERATE ? ANSWER : 0,
    };
    if (engine_ranks_run(outcome, &wanted) != STATUS_OK)
        fail_msg("%s: %s", path, status_message());
}

static void expect_same(const char *gguf, const char *folder, const char *kernels)
{
    for (int k = 0; k < 2; k++) {
        struct engine_outcome a;
        struct engine_outcome b;
        enum engine_kind kind = k == 0 ? ENGINE_SCORE : ENGINE_GENERATE;
        run(&a, gguf, kernels, kind);
        run(&b, folder, kernels, kind);
        assert_int_equal(a.logprob_count, b.logprob_count);
        assert_int_equal(a.id_count, b.id_count);
        assert_int_equal(kind == ENGINE_SCORE ? a.logprob_count : a.id_count,
                         kind == ENGINE_SCORE ? TOKENS - 1 : ANSWER);
        for (int64_t t = 0; t < a.logprob_count; t++)
            assert_memory_equal(&a.logprobs[t], &b.logprobs[t], sizeof(float));
        for (int64_t t = 0; t < a.id_count; t++)
            assert_int_equal(a.ids[t], b.ids[t]);
        engine_outcome_free(&a);
        engine_outcome_free(&b);
    }
}

static void compare(const struct tiny_model_shape *shape, enum dtype dtype, int shards)
{
    char folder[] = "/tmp/longhaul-directory-XXXXXX";
    char gguf[64];
    assert_non_null(mkdtemp(folder));
    snprintf(gguf, sizeof gguf, "%s.gguf", folder);
    tiny_model_write(gguf, shape, 3, dtype);
    tiny_directory_write(folder, shape, 3, dtype, shards);
    expect_same(gguf, folder, "reference");
    if (kernels_best() != kernels_find("reference"))
        expect_same(gguf, folder, NULL);
    tiny_directory_remove(folder);
    unlink(gguf);
}

static void a_directory_gives_the_bits_of_the_gguf_file(void **state)
{
    (void)state;
    static const enum dtype dtypes[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16};
    for (int i = 0; i < 3; i++) {
        compare(&tied, dtypes[i], 1);
        compare(&untied, dtypes[i], 1);
    }
}

static void shards_give_the_bits_of_one_file(void **state)
{
    (void)state;
    compare(&tied, DTYPE_F32, 3);
    compare(&untied, DTYPE_BF16, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_directory_gives_the_bits_of_the_gguf_file),
        cmocka_unit_test(shards_give_the_bits_of_one_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
