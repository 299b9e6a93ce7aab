/* The engine, the CUDA device and the CUDA kernels together, without a card: streams by the
 * stand-in, kernels by their emulation. So what the device hands to a kernel and what the kernel
 * takes are one. Few tokens: an emulated thread is slow. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "proto/log.h"
#include "tests/support/engine_checks.h"
#include "tests/support/standin_emulated.h"
#include "tests/support/tiny_model.h"
#include "tests/support/unit.h"

enum { TOKENS = 110, ANSWER = 3 };

static char model_path[TINY_MODEL_PATH_BYTES];
static int32_t ids[TOKENS];

/* Of model_path unless the case names another. */
static void check(struct engine_case wanted)
{
    const struct engine_gpus gpus = {standin_runtime(), standin_emulated_kernels(), standin_nccl()};
    struct engine_outcome cpu, gpu;
    if (!wanted.model_path)
        wanted.model_path = model_path;
    wanted.ids = ids;
    wanted.kernels = "reference";
    const int ranks = wanted.ranks;
    wanted.ranks = 1;
    engine_checks_run(&cpu, &wanted);
    wanted.ranks = ranks;
    wanted.gpus = &gpus;
    engine_checks_run(&gpu, &wanted);
    if (wanted.kind == ENGINE_GENERATE) {
        assert_memory_equal(gpu.ids, cpu.ids, ANSWER * sizeof *cpu.ids);
    } else {
        const double worst = engine_checks_distance(&gpu, &cpu).worst;
        printf("%s, %d ranks: worst %.3f\n", wanted.method, ranks, worst);
        assert_true(worst <= 0.45);
    }
    engine_outcome_free(&cpu);
    engine_outcome_free(&gpu);
}

static void a_prefill_by_the_kernels_themselves_equals_the_cpu(void **state)
{
    (void)state;
    struct engine_case wanted = {.method = "rope", .count = TOKENS, .kind = ENGINE_SCORE};
    wanted.ranks = 1;
    check(wanted);
    wanted.stage_tokens = 70;
    wanted.method = "string:shift=60,local=9";
    check(wanted);
    wanted.method = "lm_infinite:window=50,sinks=70";
    wanted.ranks = 2;
    check(wanted);
    wanted.queries = CHOICE_REPLICATED + 1;
    wanted.method = "rope";
    check(wanted);
}

static void decode_by_the_kernels_themselves_equals_the_cpu(void **state)
{
    (void)state;
    struct engine_case wanted = {.method = "rope", .count = 70, .max_tokens = ANSWER};
    wanted.ranks = 1;
    check(wanted);
    wanted.ranks = 2;
    wanted.decode_split = 1 + DECODE_SPLIT_ALL;
    wanted.method = "lm_infinite:window=50,sinks=4";
    check(wanted);
}

/* Padded in the kernels: a row of a head does not end where their tiles do. */
static void a_head_of_another_width_is_the_kernels_too(void **state)
{
    (void)state;
    const struct tiny_model_shape shape = {
        .layers = 1, .hidden = 64, .heads = 2, .kv_heads = 1, .head_dim = 80, .ffn = 96};
    char path[TINY_MODEL_PATH_BYTES];
    struct engine_case wanted = {.method = "string:shift=40,local=9", .count = 70};
    tiny_model_make(path, &shape, DTYPE_F16);
    wanted.model_path = path;
    wanted.ranks = 1;
    wanted.kind = ENGINE_SCORE;
    check(wanted);
    wanted.kind = ENGINE_GENERATE;
    wanted.max_tokens = ANSWER;
    check(wanted);
    unlink(path);
}

/* One of the two heads' queries has a NaN, which a maximum would swallow: no score comes of it, by
 * the kernels of prefill and by those of decode. */
static void a_nan_in_a_query_is_never_lost(void **state)
{
    (void)state;
    const struct engine_gpus gpus = {standin_runtime(), standin_emulated_kernels(), standin_nccl()};
    const struct tiny_model_shape shape = {.layers = 1,
                                           .hidden = 64,
                                           .heads = 2,
                                           .kv_heads = 1,
                                           .head_dim = 64,
                                           .ffn = 96,
                                           .spoilt = "blk.0.attn_q.weight",
                                           .spoilt_row = 70};
    char path[TINY_MODEL_PATH_BYTES];
    tiny_model_make(path, &shape, DTYPE_F32);
    for (int replicated = 0; replicated < 2; replicated++) {
        const struct engine_case wanted = {.model_path = path,
                                           .kind = ENGINE_SCORE,
                                           .ids = ids,
                                           .count = 70,
                                           .queries = replicated ? CHOICE_REPLICATED + 1 : 0,
                                           .gpus = &gpus};
        struct engine_outcome outcome;
        assert_int_equal(engine_ranks_run(&outcome, &wanted), STATUS_INTERNAL);
        assert_true(outcome.results[0].not_finite);
        assert_int_equal(outcome.logprob_count, 0);
        engine_outcome_free(&outcome);
    }
    unlink(path);
}

static int make_model(void **state)
{
    (void)state;
    const struct tiny_model_shape shape = {
        .layers = 2, .hidden = 64, .heads = 2, .kv_heads = 1, .head_dim = 64, .ffn = 96};
    tiny_model_make(model_path, &shape, DTYPE_Q4_1);
    tiny_model_ids(ids, TOKENS);
    return 0;
}

static int drop_model(void **state)
{
    (void)state;
    return unlink(model_path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_prefill_by_the_kernels_themselves_equals_the_cpu),
        cmocka_unit_test(a_head_of_another_width_is_the_kernels_too),
        cmocka_unit_test(a_nan_in_a_query_is_never_lost),
        cmocka_unit_test(decode_by_the_kernels_themselves_equals_the_cpu),
    };
    log_configure(LOG_ERROR, -1);
    return cmocka_run_group_tests(tests, make_model, drop_model);
}
