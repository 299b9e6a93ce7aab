/* Weights shared out over a tensor axis, beside the sequence's: the sums of a given number of
 * places have the same bits over any workers, partition and stages; logits are those of one worker
 * within rounding; and bytes and memory are as planned on every rank. On small models, by loopback.
 */
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "kernels/kernels.h"
#include "proto/log.h"
#include "tests/support/engine_checks.h"
#include "tests/support/golden_tolerance.h"
#include "tests/support/tiny_model.h"
#include "tests/support/unit.h"

enum { TOKENS = 300, ANSWER = 24, PLACES_MOST = 3 };

/* Float32 sums in another order. */
static const struct engine_distance rounding = {1e-4, 1e-4};

static int32_t ids[TOKENS];

/* KV heads that divide by the places and do not, fewer than places too; uneven query heads. */
static const struct tiny_model_shape shapes[] = {
    {.layers = 3, .hidden = 96, .heads = 6, .kv_heads = 1, .head_dim = 16, .ffn = 160},
    {.layers = 2,
     .hidden = 64,
     .heads = 8,
     .kv_heads = 2,
     .head_dim = 32,
     .ffn = 224,
     .untied = true,
     .qkv_bias = true,
     .output_bias = true,
     .mlp_bias = true},
    {.layers = 3,
     .hidden = 96,
     .heads = 9,
     .kv_heads = 3,
     .head_dim = 32,
     .ffn = 128,
     .architecture = "qwen3",
     .qk_norm = true},
};

enum { SHAPES = sizeof shapes / sizeof shapes[0] };

static struct engine_case case_of(const char *path, int tensor, int workers)
{
    return (struct engine_case){.model_path = path,
                                .kernels = "reference",
                                .method = "rope",
                                .kind = ENGINE_SCORE,
                                .ids = ids,
                                .count = TOKENS,
                                .tensor = tensor,
                                .ranks = tensor * workers};
}

/* Over every number of workers that fits, in either partition and several stages. */
static void look_at_workers(struct engine_case wanted, const struct engine_outcome *one)
{
    for (int workers = 1; workers <= 3; workers++) {
        wanted.ranks = workers * wanted.tensor;
        wanted.stage_tokens = TOKENS;
        wanted.partition = PARTITION_CONTIGUOUS + 1;
        engine_checks_same_bits(&wanted, one);
        wanted.partition = PARTITION_ZIGZAG + 1;
        wanted.threads = 2;
        wanted.queries = CHOICE_SHARDED + 1;
        wanted.stage_tokens = 128;
        engine_checks_same_bits(&wanted, one);
        wanted.partition = 0;
        wanted.threads = wanted.queries = 0;
    }
}

static void look_at_model(const char *path, const char *kernels, struct engine_distance allowed)
{
    struct engine_case wanted = case_of(path, 1, 1);
    struct engine_outcome whole;
    wanted.kernels = kernels;
    engine_checks_run(&whole, &wanted);
    for (wanted.tensor = 2; wanted.tensor <= PLACES_MOST; wanted.tensor++) {
        struct engine_outcome one;
        wanted.ranks = wanted.tensor;
        engine_checks_run(&one, &wanted);
        const struct engine_distance apart = engine_checks_distance(&one, &whole);
        if (!(apart.worst <= allowed.worst && apart.rms <= allowed.rms))
            fail_msg("%d places: worst %g rms %g", wanted.tensor, apart.worst, apart.rms);
        look_at_workers(wanted, &one);
        engine_outcome_free(&one);
    }
    engine_outcome_free(&whole);
}

static void scores_are_those_of_one_worker(void **state)
{
    (void)state;
    for (int s = 0; s < SHAPES; s++) {
        char path[TINY_MODEL_PATH_BYTES];
        tiny_model_make(path, &shapes[s], DTYPE_F32);
        look_at_model(path, "reference", rounding);
        unlink(path);
    }
}

/* Quantised weights, cut where their blocks end and where they do not; what the reference values
 * allow a token of the best kernels, four times over as random weights do (sameness_test.c). */
static void so_they_are_of_quantised_weights(void **state)
{
    (void)state;
    const enum golden_arithmetic arithmetic = golden_arithmetic_of(kernels_best());
    const struct golden_tolerance *golden = golden_tolerance_of(arithmetic, 0, "");
    const struct engine_distance best = {4 * golden->token, 4 * golden->rms};
    const struct tiny_model_shape mixed = {.layers = 3,
                                           .hidden = 256,
                                           .heads = 8,
                                           .kv_heads = 2,
                                           .head_dim = 32,
                                           .ffn = 768,
                                           .mixed = true};
    char path[TINY_MODEL_PATH_BYTES];
    for (int s = 1; s < SHAPES; s++) {
        tiny_model_make(path, &shapes[s], DTYPE_Q4_1);
        look_at_model(path, "reference", rounding);
        look_at_model(path, NULL, best);
        unlink(path);
    }
    tiny_model_make(path, &mixed, DTYPE_Q4_1);
    look_at_model(path, "reference", rounding);
    look_at_model(path, NULL, best);
    unlink(path);
}

/* Those of small files: blocks of 256 that places cut through, and that only CPUs multiply with. */
static void so_they_are_of_types_of_small_files(void **state)
{
    (void)state;
    static const enum dtype small[] = {DTYPE_Q3_K, DTYPE_IQ4_NL, DTYPE_IQ4_XS, DTYPE_Q2_K};
    const struct tiny_model_shape shape = {
        .layers = 1, .hidden = 256, .heads = 4, .kv_heads = 2, .head_dim = 64, .ffn = 256};
    for (size_t i = 0; i < sizeof small / sizeof small[0]; i++) {
        char path[TINY_MODEL_PATH_BYTES];
        tiny_model_make(path, &shape, small[i]);
        struct engine_case wanted = case_of(path, 1, 1);
        struct engine_outcome whole, one;
        engine_checks_run(&whole, &wanted);
        wanted.tensor = wanted.ranks = 2;
        engine_checks_close(&wanted, &whole, rounding);
        engine_checks_run(&one, &wanted);
        wanted.ranks = 4;
        engine_checks_same_bits(&wanted, &one);
        engine_outcome_free(&one);
        engine_outcome_free(&whole);
        unlink(path);
    }
}

/* Which heads see less is counted over the whole model. */
static void methods_see_what_they_saw(void **state)
{
    (void)state;
    static const char *const methods[] = {
        "string:shift=100,local=20", "lm_infinite:window=64,sinks=70,ceiling=90",
        "lm_infinite:window=80,sinks=4", "streaming_heads:heads=1,window=40,sinks=3",
        "streaming_heads:heads=2,window=40,sinks=3"};
    char path[TINY_MODEL_PATH_BYTES];
    tiny_model_make(path, &shapes[2], DTYPE_F32);
    for (size_t m = 0; m < sizeof methods / sizeof methods[0]; m++) {
        struct engine_case wanted = case_of(path, 1, 1);
        struct engine_outcome whole;
        wanted.method = methods[m];
        engine_checks_run(&whole, &wanted);
        for (wanted.tensor = 2; wanted.tensor <= PLACES_MOST; wanted.tensor++) {
            wanted.ranks = 2 * wanted.tensor;
            engine_checks_close(&wanted, &whole, rounding);
        }
        engine_outcome_free(&whole);
    }
    unlink(path);
}

/* ---- answers ---- */

/* The answer of `whole`, whatever the ranks do for it: split products in any set, keys at home,
 * prompts in short replicated stages, drafted tokens, keys in 8 bits. */
static void look_at_answers(struct engine_case wanted, const struct engine_outcome *whole)
{
    for (int workers = 1; workers <= 3; workers++) {
        wanted.ranks = workers * wanted.tensor;
        for (int form = 0; form < 6; form++) {
            struct engine_case one = wanted;
            struct engine_outcome outcome;
            one.decode_split = form == 1 ? 1 : form == 2 ? 1 + DECODE_SPLIT_ALL : 0;
            one.decode_home = form == 3;
            one.draft_tokens = form == 4 ? 4 : 0;
            if (form == 5 && workers > 1) {
                one.queries = CHOICE_REPLICATED + 1;
                one.stage_tokens = 97;
            }
            engine_checks_run(&outcome, &one);
            engine_checks_accounts(&outcome);
            assert_int_equal(outcome.id_count, whole->id_count);
            assert_memory_equal(outcome.ids, whole->ids, (size_t)whole->id_count * sizeof(int32_t));
            engine_outcome_free(&outcome);
        }
    }
}

/* Of reference kernels: greedy answers of these models have no ties within rounding. */
static void answers_are_those_of_one_worker(void **state)
{
    (void)state;
    for (int s = 0; s < SHAPES; s++) {
        char path[TINY_MODEL_PATH_BYTES];
        tiny_model_make(path, &shapes[s], DTYPE_F32);
        for (int int8 = 0; int8 <= (s == 2); int8++) {
            struct engine_case wanted = case_of(path, 1, 1);
            struct engine_outcome whole;
            wanted.kind = ENGINE_GENERATE;
            wanted.count = 150;
            wanted.max_tokens = ANSWER;
            wanted.int8_cache = int8 == 1;
            engine_checks_run(&whole, &wanted);
            for (wanted.tensor = 2; wanted.tensor <= PLACES_MOST; wanted.tensor++)
                look_at_answers(wanted, &whole);
            engine_outcome_free(&whole);
        }
        unlink(path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_are_those_of_one_worker),
        cmocka_unit_test(so_they_are_of_quantised_weights),
        cmocka_unit_test(so_they_are_of_types_of_small_files),
        cmocka_unit_test(methods_see_what_they_saw),
        cmocka_unit_test(answers_are_those_of_one_worker),
    };
    log_configure(LOG_ERROR, -1);
    tiny_model_ids(ids, TOKENS);
    return cmocka_run_group_tests_name("tensor", tests, NULL, NULL);
}
