/* The engine, the CUDA device and the CUDA kernels together, without a card: streams by the
 * stand-in, kernels by their emulation. So what the device hands to a kernel and what the kernel
 * takes are one. Few tokens: an emulated thread is slow. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "proto/log.h"
#include "tests/support/engine_ranks.h"
#include "tests/support/standin_emulated.h"
#include "tests/support/tiny_model.h"
#include "tests/support/unit.h"

enum { TOKENS = 110, ANSWER = 3 };

static char model_path[] = "/tmp/longhaul-emulated-XXXXXX";
static int32_t ids[TOKENS];

static void check(struct engine_case wanted)
{
    const struct engine_gpus gpus = {standin_runtime(), standin_emulated_kernels(), standin_nccl()};
    struct engine_outcome cpu, gpu;
    double worst = 0;
    wanted.model_path = model_path;
    wanted.ids = ids;
    wanted.kernels = "reference";
    const int ranks = wanted.ranks;
    wanted.ranks = 1;
    assert_int_equal(engine_ranks_run(&cpu, &wanted), STATUS_OK);
    wanted.ranks = ranks;
    wanted.gpus = &gpus;
    assert_int_equal(engine_ranks_run(&gpu, &wanted), STATUS_OK);
    for (int64_t t = 0; wanted.kind == ENGINE_SCORE && t + 1 < wanted.count; t++) {
        const double off = fabs((double)gpu.logprobs[t] - (double)cpu.logprobs[t]);
        worst = off <= worst ? worst : off; /* a NaN is worst */
    }
    printf("%s, %d ranks: worst %.3f\n", wanted.method, ranks, worst);
    assert_true(worst <= 0.45);
    if (wanted.kind == ENGINE_GENERATE)
        assert_memory_equal(gpu.ids, cpu.ids, ANSWER * sizeof *cpu.ids);
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
    wanted.decode_split = 2;
    wanted.method = "lm_infinite:window=50,sinks=4";
    check(wanted);
}

static int make_model(void **state)
{
    (void)state;
    const struct tiny_model_shape shape = {
        .layers = 2, .hidden = 64, .heads = 2, .kv_heads = 1, .head_dim = 64, .ffn = 96};
    int file = mkstemp(model_path);
    uint32_t random = 12345;
    if (file < 0)
        return -1;
    close(file);
    tiny_model_write(model_path, &shape, 7, DTYPE_Q4_1);
    for (int i = 0; i < TOKENS; i++) {
        random = random * 1664525u + 1013904223u;
        ids[i] = TINY_MODEL_BYTE_0 + (int32_t)(random >> 24);
    }
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
        cmocka_unit_test(decode_by_the_kernels_themselves_equals_the_cpu),
    };
    log_configure(LOG_ERROR, -1);
    return cmocka_run_group_tests(tests, make_model, drop_model);
}
