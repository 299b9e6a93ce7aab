/* "The same bits" (docs/architecture.md): for any number of workers and threads, any partition and
 * any stages with sharded queries; within rounding for ring, replicated queries and decode. And the
 * accounts: bytes and memory as planned. On a small model with random weights, by loopback. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "kernels/kernels.h"
#include "proto/log.h"
#include "tests/support/engine_checks.h"
#include "tests/support/golden_tolerance.h"
#include "tests/support/model_fixture.h"
#include "tests/support/tiny_model.h"
#include "tests/support/unit.h"

enum { TOKENS = 611, ANSWER = 80 };

static struct model_fixture fixture = {
    .shape = {.layers = 3, .hidden = 96, .heads = 6, .kv_heads = 2, .head_dim = 16, .ffn = 160},
    .tokens = TOKENS};

static const char *const methods[] = {
    "rope",
    "string:shift=150,local=20",
    "string:shift=100,local=3,logit_scale=published,logn=150+yarn:factor=2,original=128",
    "lm_infinite:window=130,sinks=4",
    "lm_infinite:window=64,sinks=70,ceiling=90",
    "lm_infinite:window=200,sinks=0",
    "streaming_llm:window=70,sinks=5,logn=90",
    "dca:chunk=200,local=50+ntk:factor=2",
    "rerope:window=70,logn=128",
    "leaky_rerope:window=90,factor=2.5+linear:factor=2",
    "self_extend:window=65,group=7",
    "streaming_heads:heads=1,window=70,sinks=3",
    "lampe:near=70,far=40,mapped=90,length=300",
    "table:sinks=3,keys=plain..70/shift:-20..150/hidden,sink_keys=plain..9/fixed:90..80/anchor:99",
};

enum { METHODS = sizeof methods / sizeof methods[0] };

static struct engine_case score_case(const char *method, int64_t count)
{
    return (struct engine_case){.model_path = fixture.path,
                                .method = method,
                                .kind = ENGINE_SCORE,
                                .ids = fixture.ids,
                                .count = count};
}

static void prefill_is_the_same_for_any_ranks_threads_partition_and_stages(void **state)
{
    (void)state;
    for (int m = 0; m < METHODS; m++) {
        struct engine_case wanted = score_case(methods[m], TOKENS);
        struct engine_outcome one;
        wanted.stage_tokens = TOKENS;
        engine_checks_run(&one, &wanted);
        for (wanted.ranks = 1; wanted.ranks <= 4; wanted.ranks++) {
            wanted.stage_tokens = TOKENS;
            wanted.partition = PARTITION_CONTIGUOUS + 1;
            engine_checks_same_bits(&wanted, &one);
            wanted.partition = PARTITION_ZIGZAG + 1;
            wanted.threads = 2;
            engine_checks_same_bits(&wanted, &one);
            wanted.threads = 1;
            wanted.queries = CHOICE_SHARDED + 1;
            wanted.stage_tokens = 200; /* starts inside a panel */
            engine_checks_same_bits(&wanted, &one);
            wanted.partition = 0;
            wanted.stage_tokens = 128;
            engine_checks_same_bits(&wanted, &one);
            wanted.weighed = true;
            engine_checks_same_bits(&wanted, &one);
            wanted.partition = PARTITION_ZIGZAG + 1;
            wanted.stage_tokens = 200;
            engine_checks_same_bits(&wanted, &one);
            wanted.weighed = false;
            wanted.queries = 0;
        }
        engine_outcome_free(&one);
    }
}

static void so_it_is_over_int8_panels(void **state)
{
    (void)state;
    for (int m = 0; m < METHODS; m++) {
        struct engine_case wanted = score_case(methods[m], TOKENS);
        struct engine_outcome one;
        wanted.kernels = m % 4 == 0 ? "reference" : NULL;
        wanted.int8_cache = true;
        engine_checks_run(&one, &wanted);
        assert_int_equal(one.choice.group.cache, CHOICE_CACHE_INT8);
        for (wanted.ranks = 1; wanted.ranks <= 4; wanted.ranks++) {
            wanted.partition = PARTITION_CONTIGUOUS + 1;
            wanted.threads = 2;
            wanted.stage_tokens = TOKENS;
            engine_checks_same_bits(&wanted, &one);
            wanted.partition = PARTITION_ZIGZAG + 1;
            wanted.threads = 1;
            wanted.queries = CHOICE_SHARDED + 1;
            wanted.stage_tokens = 200;
            engine_checks_same_bits(&wanted, &one);
            wanted.queries = 0;
        }
        engine_outcome_free(&one);
    }
}

static void lengths_that_do_not_divide_and_empty_shards_are_ordinary(void **state)
{
    (void)state;
    static const int64_t lengths[] = {2, 3, 63, 64, 65, 129, 200};
    for (size_t l = 0; l < sizeof lengths / sizeof lengths[0]; l++) {
        for (int m = 0; m < METHODS; m++) {
            struct engine_case wanted = score_case(methods[m], lengths[l]);
            struct engine_outcome one;
            engine_checks_run(&one, &wanted);
            for (wanted.ranks = 2; wanted.ranks <= 4; wanted.ranks++)
                engine_checks_same_bits(&wanted, &one);
            engine_outcome_free(&one);
        }
    }
}

/* How far two runs of the tiny models may be apart. With float32 throughout, what the reference
 * values allow a token. With a bf16 cache the same, and with bf16 products four times that and four
 * times their rms: random weights carry rounding on two to four times as far as trained ones (an
 * rms of 0.075 with the cache alone, where the real model's is 0.01 to 0.033). */
static struct engine_distance allowed_apart(const char *name)
{
    const struct kernels *kernels = name ? kernels_find(name) : kernels_best();
    const enum golden_arithmetic arithmetic = golden_arithmetic_of(kernels);
    const struct golden_tolerance *golden = golden_tolerance_of(arithmetic, 0, "");
    if (arithmetic == GOLDEN_BF16_PRODUCTS)
        return (struct engine_distance){4 * golden->token, 4 * golden->rms};
    return (struct engine_distance){golden->token, golden->token};
}

static void ring_and_replicated_queries_agree_within_rounding(void **state)
{
    (void)state;
    for (int m = 0; m < 2 * METHODS; m++) {
        struct engine_case wanted = score_case(methods[m % METHODS], 300);
        wanted.kernels = m < METHODS ? "reference" : NULL;
        const struct engine_distance allowed = allowed_apart(wanted.kernels);
        struct engine_outcome one;
        engine_checks_run(&one, &wanted);
        for (wanted.ranks = 2; wanted.ranks <= 4; wanted.ranks++) {
            wanted.schedule = CHOICE_RING + 1;
            wanted.partition = PARTITION_ZIGZAG + 1;
            engine_checks_close(&wanted, &one, allowed);
            wanted.schedule = 0;
            wanted.partition = 0;
            wanted.queries = CHOICE_REPLICATED + 1;
            wanted.stage_tokens = 97;
            engine_checks_close(&wanted, &one, allowed);
            wanted.queries = 0;
            wanted.stage_tokens = 0;
        }
        engine_outcome_free(&one);
    }
}

/* Generates, and scores the answer afterwards: row i of a prefill is decode step i. */
static void decode_agrees_with_prefill(void **state)
{
    (void)state;
    for (int m = 0; m < METHODS + 3; m++) {
        struct engine_case wanted = score_case(methods[m % METHODS], 100);
        struct engine_outcome one;
        wanted.int8_cache = m >= METHODS;
        wanted.kind = ENGINE_GENERATE;
        wanted.max_tokens = ANSWER;
        engine_checks_run(&one, &wanted);
        assert_int_equal(one.id_count, ANSWER);
        for (wanted.ranks = 1; wanted.ranks <= 4; wanted.ranks++) {
            for (wanted.decode_split = 1; wanted.decode_split <= 1 + DECODE_SPLIT_ALL;
                 wanted.decode_split += DECODE_SPLIT_ALL) {
                struct engine_outcome outcome;
                engine_checks_run(&outcome, &wanted);
                engine_checks_accounts(&outcome);
                assert_int_equal(outcome.id_count, ANSWER);
                assert_int_equal(outcome.ids[0], one.ids[0]);
                engine_outcome_free(&outcome);
            }
        }
        engine_outcome_free(&one);
    }
}

/* With reference kernels nothing is rounded to bf16, so greedy answers agree token for token, and
 * each token is the one that a prefill of everything before it finds most likely. */
static void greedy_answers_are_the_same_for_any_ranks(void **state)
{
    (void)state;
    for (int m = 0; m < METHODS; m++) {
        struct engine_case wanted = score_case(methods[m], 100);
        struct engine_outcome one;
        wanted.kernels = "reference";
        wanted.kind = ENGINE_GENERATE;
        wanted.max_tokens = ANSWER;
        engine_checks_run(&one, &wanted);
        for (int step = 7; step < ANSWER; step += 24) {
            int32_t all[TOKENS];
            memcpy(all, fixture.ids, 100 * sizeof *fixture.ids);
            memcpy(all + 100, one.ids, (size_t)step * sizeof *all);
            struct engine_case again = wanted;
            again.ids = all;
            again.count = 100 + step;
            again.max_tokens = 1;
            struct engine_outcome outcome;
            engine_checks_run(&outcome, &again);
            assert_int_equal(outcome.ids[0], one.ids[step]);
            engine_outcome_free(&outcome);
        }
        for (wanted.ranks = 2; wanted.ranks <= 4; wanted.ranks++) {
            struct engine_outcome outcome;
            engine_checks_run(&outcome, &wanted);
            assert_memory_equal(outcome.ids, one.ids, ANSWER * sizeof *one.ids);
            engine_outcome_free(&outcome);
        }
        engine_outcome_free(&one);
    }
}

/* Bit for bit where the frames are the same or positions are whole, which rope's table gives the
 * same angles for. */
static void methods_that_are_the_same_score_the_same(void **state)
{
    (void)state;
    static const struct {
        const char *one, *other;
    } pairs[] = {
        {"rope", "string:shift=90,local=90"},
        {"rope", "string:shift=300,local=3"},
        {"rope", "lm_infinite:window=300,sinks=3,ceiling=2"},
        {"rope", "streaming_llm:window=300,sinks=4"},
        {"rope", "dca:chunk=310,local=10"},
        {"rope", "rerope:window=300"},
        {"rope", "leaky_rerope:window=40,factor=1"},
        {"rope", "self_extend:window=40,group=1"},
        {"rope", "self_extend:window=300,group=7"},
        {"rope", "lampe:near=200,length=300"},
        {"rope", "lampe:mapped=299,length=300"},
        {"rope", "table:keys=plain"},
        {"rope", "rope:logn=300"},
        {"rope", "rope+linear:factor=1"},
        {"rope", "rope+ntk:factor=1"},
        {"rope", "rope+yarn:factor=1"},
        {"rope", "streaming_heads:heads=1,window=300,sinks=0"},
        {"string:shift=90,local=20", "table:keys=plain..90/shift:-70"},
        {"lm_infinite:window=40,sinks=5,ceiling=60",
         "table:sinks=5,keys=plain..40/hidden,sink_keys=plain..40/fixed:60"},
        {"rerope:window=40", "table:keys=plain..40/fixed:40"},
        {"self_extend:window=40,group=7", "table:keys=plain..40/group:7:35"},
        {"lm_infinite:window=40,sinks=0", "streaming_heads:heads=2,window=40,sinks=0"},
        {"streaming_heads:heads=2,window=40,sinks=5", "streaming_heads:heads=9,window=40,sinks=5"},
    };
    for (size_t p = 0; p < sizeof pairs / sizeof pairs[0]; p++) {
        struct engine_case wanted = score_case(pairs[p].one, 300);
        struct engine_outcome one;
        engine_checks_run(&one, &wanted);
        wanted.method = pairs[p].other;
        for (wanted.ranks = 1; wanted.ranks <= 3; wanted.ranks += 2)
            engine_checks_same_bits(&wanted, &one);
        engine_outcome_free(&one);
    }
}

static void streams_as(const char *path, const char *method, bool same)
{
    struct engine_case wanted = score_case("streaming_heads:heads=1,window=40,sinks=5", 300);
    struct engine_outcome one;
    wanted.model_path = path;
    engine_checks_run(&one, &wanted);
    wanted.method = method;
    if (same) {
        for (wanted.ranks = 1; wanted.ranks <= 3; wanted.ranks++)
            engine_checks_same_bits(&wanted, &one);
    } else {
        struct engine_outcome other;
        engine_checks_run(&other, &wanted);
        assert_true(engine_checks_distance(&one, &other).worst > 0.01);
        engine_outcome_free(&other);
    }
    engine_outcome_free(&one);
}

/* A head whose values are 0 says nothing of what it sees: what is left is the other one's. */
static void the_last_heads_stream_and_the_others_see_all(void **state)
{
    (void)state;
    for (unsigned silent = 0; silent <= 2; silent++) {
        struct tiny_model_shape shape = fixture.shape;
        char path[TINY_MODEL_PATH_BYTES];
        shape.silent_heads = silent;
        tiny_model_make(path, &shape, DTYPE_F32);
        streams_as(path, "rope", silent == 2);
        streams_as(path, "streaming_heads:heads=2,window=40,sinks=5", silent == 1);
        unlink(path);
    }
}

/* ReRoPE is LM-Infinite with every key a sink, whatever turns queries and keys, and what Leaky
 * ReRoPE becomes as its factor grows: a million moves keys by up to 3e-4 here. */
static void rerope_is_what_comes_near_it(void **state)
{
    (void)state;
    static const struct {
        const char *one, *other;
        struct engine_distance apart;
    } pairs[] = {
        {"rerope:window=40", "lm_infinite:window=40,sinks=300,ceiling=40", {3e-4, 5e-5}},
        {"rerope:window=40,logn=70+yarn:factor=2,original=128,attention=1.3",
         "lm_infinite:window=40,sinks=300,ceiling=40,logn=70+yarn:factor=2,original=128,"
         "attention=1.3",
         {3e-4, 5e-5}},
        {"rerope:window=40", "leaky_rerope:window=40,factor=1e6", {5e-3, 1e-3}},
    };
    for (size_t p = 0; p < sizeof pairs / sizeof pairs[0]; p++) {
        struct engine_case wanted = score_case(pairs[p].one, 300);
        struct engine_outcome one;
        wanted.kernels = "reference";
        engine_checks_run(&one, &wanted);
        wanted.method = pairs[p].other;
        for (wanted.ranks = 1; wanted.ranks <= 3; wanted.ranks += 2)
            engine_checks_close(&wanted, &one, pairs[p].apart);
        engine_outcome_free(&one);
    }
}

/* A file as "Q4_K_M" names it: five block formats in one model. Scored at the same bits, answered
 * with the same tokens, whatever the workers; and fast kernels agree with the reference. */
static void a_model_of_mixed_block_formats_is_the_same_for_any_ranks(void **state)
{
    (void)state;
    const struct tiny_model_shape mixed = {.layers = 3,
                                           .hidden = 256,
                                           .heads = 4,
                                           .kv_heads = 4,
                                           .head_dim = 64,
                                           .ffn = 512,
                                           .mixed = true};
    char path[TINY_MODEL_PATH_BYTES];
    tiny_model_make(path, &mixed, DTYPE_Q8_0);
    struct engine_case wanted = score_case("rope", 150);
    struct engine_outcome one, reference, answer;
    wanted.model_path = path;
    engine_checks_run(&one, &wanted);
    for (wanted.ranks = 1; wanted.ranks <= 2; wanted.ranks++)
        engine_checks_same_bits(&wanted, &one);
    wanted.ranks = 1;
    wanted.kernels = "reference";
    engine_checks_run(&reference, &wanted);
    wanted.kernels = NULL;
    engine_checks_close(&wanted, &reference, allowed_apart(NULL));
    wanted.kernels = "reference";
    wanted.kind = ENGINE_GENERATE;
    wanted.max_tokens = 20;
    engine_checks_run(&answer, &wanted);
    for (wanted.decode_split = 1, wanted.ranks = 2; wanted.decode_split <= 1 + DECODE_SPLIT_ALL;
         wanted.decode_split += DECODE_SPLIT_ALL) {
        struct engine_outcome outcome;
        engine_checks_run(&outcome, &wanted);
        engine_checks_accounts(&outcome);
        assert_memory_equal(outcome.ids, answer.ids, 20 * sizeof *answer.ids);
        engine_outcome_free(&outcome);
    }
    engine_outcome_free(&answer);
    engine_outcome_free(&reference);
    engine_outcome_free(&one);
    unlink(path);
}

/* The types of small files: a model in one of them is the float32 model of the same values, and so
 * it is with fast kernels and on two workers. */
static void small_types_score_as_float32_of_their_values(void **state)
{
    (void)state;
    static const enum dtype small[] = {DTYPE_Q3_K, DTYPE_IQ4_NL, DTYPE_IQ4_XS};
    struct tiny_model_shape shape = {
        .layers = 2, .hidden = 256, .heads = 4, .kv_heads = 2, .head_dim = 64, .ffn = 512};
    for (size_t s = 0; s < sizeof small / sizeof small[0]; s++) {
        char path[TINY_MODEL_PATH_BYTES], twin_path[TINY_MODEL_PATH_BYTES];
        struct engine_case wanted = score_case("rope", 150);
        struct engine_outcome twin, one;
        shape.values_of = DTYPE_F32;
        tiny_model_make(path, &shape, small[s]);
        shape.values_of = small[s];
        tiny_model_make(twin_path, &shape, DTYPE_F32);
        wanted.model_path = twin_path;
        wanted.kernels = "reference";
        engine_checks_run(&twin, &wanted);
        wanted.model_path = path;
        engine_checks_close(&wanted, &twin, allowed_apart("reference"));
        wanted.kernels = NULL;
        engine_checks_close(&wanted, &twin, allowed_apart(NULL));
        engine_checks_run(&one, &wanted);
        wanted.ranks = 2;
        engine_checks_same_bits(&wanted, &one);
        engine_outcome_free(&one);
        engine_outcome_free(&twin);
        unlink(twin_path);
        unlink(path);
    }
}

static void memory_falls_with_the_number_of_workers(void **state)
{
    (void)state;
    struct engine_case wanted = score_case("rope", TOKENS);
    struct engine_outcome one, four;
    wanted.context_tokens = 65536;
    wanted.ranks = 1;
    engine_checks_run(&one, &wanted);
    wanted.ranks = 4;
    engine_checks_run(&four, &wanted);
    assert_true(four.planned_bytes[3] < one.planned_bytes[0] * 2 / 5);
    engine_outcome_free(&one);
    engine_outcome_free(&four);
}

static void a_prompt_beyond_the_context_is_refused_with_the_numbers(void **state)
{
    (void)state;
    struct engine_case wanted = score_case("rope", TOKENS);
    struct engine_outcome outcome;
    wanted.context_tokens = 600;
    wanted.ranks = 2;
    assert_int_equal(engine_ranks_run(&outcome, &wanted), STATUS_OUT_OF_RANGE);
    engine_outcome_free(&outcome);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prefill_is_the_same_for_any_ranks_threads_partition_and_stages),
        cmocka_unit_test(so_it_is_over_int8_panels),
        cmocka_unit_test(lengths_that_do_not_divide_and_empty_shards_are_ordinary),
        cmocka_unit_test(ring_and_replicated_queries_agree_within_rounding),
        cmocka_unit_test(decode_agrees_with_prefill),
        cmocka_unit_test(greedy_answers_are_the_same_for_any_ranks),
        cmocka_unit_test(methods_that_are_the_same_score_the_same),
        cmocka_unit_test(the_last_heads_stream_and_the_others_see_all),
        cmocka_unit_test(rerope_is_what_comes_near_it),
        cmocka_unit_test(a_model_of_mixed_block_formats_is_the_same_for_any_ranks),
        cmocka_unit_test(small_types_score_as_float32_of_their_values),
        cmocka_unit_test(memory_falls_with_the_number_of_workers),
        cmocka_unit_test(a_prompt_beyond_the_context_is_refused_with_the_numbers),
    };
    log_configure(LOG_ERROR, -1); /* more ranks than cores is what these tests are about */
    model_fixture_make(&fixture);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    model_fixture_drop(&fixture);
    return failed;
}
