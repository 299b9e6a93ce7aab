/* The engine on a CUDA device, over the stand-in: the same numbers as on the CPU, within what bf16
 * operands round away, whatever order the streams run in. On a small model with random weights. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "proto/log.h"
#include "tests/support/engine_checks.h"
#include "tests/support/standin.h"
#include "tests/support/model_fixture.h"
#include "tests/support/tiny_model.h"
#include "tests/support/unit.h"

enum {
    TOKENS = 241,
    LONG_TOKENS = 1100,
    ANSWER = 20,
    LAYERS = 3,
    WIDE_VOCAB = 3000,
    SEED = 20261123
};

static struct model_fixture fixture = {
    .shape =
        {.layers = LAYERS, .hidden = 96, .heads = 6, .kv_heads = 2, .head_dim = 16, .ffn = 160},
    .tokens = LONG_TOKENS};

static const char *const methods[] = {
    "rope",
    "string:shift=150,local=20",
    "lm_infinite:window=130,sinks=4",
    "lm_infinite:window=64,sinks=70,ceiling=90",
    "streaming_llm:window=70,sinks=5,logn=90",
    "leaky_rerope:window=90,factor=2.5+linear:factor=2",
    "dca:chunk=200,local=50",
    "streaming_heads:heads=1,window=70,sinks=3",
    "lampe:near=70,far=40,mapped=90,length=300",
    "table:sinks=3,keys=plain..70/shift:-20..150/hidden,sink_keys=plain..9/fixed:90..80/anchor:99",
};

enum { METHODS = sizeof methods / sizeof methods[0] };

/* What bf16 operands and a bf16 cache may move a log-probability, as for the CPU's bf16 kernels. */
static const struct engine_distance BF16 = {.worst = 0.45, .rms = 0.12};

static struct engine_case score_case(const char *method, int64_t count)
{
    return (struct engine_case){.model_path = fixture.path,
                                .method = method,
                                .kind = ENGINE_SCORE,
                                .ids = fixture.ids,
                                .count = count};
}

static void onto_the_device(struct engine_case *wanted)
{
    static struct engine_gpus gpus;
    gpus = (struct engine_gpus){standin_runtime(), standin_kernels(), standin_nccl()};
    wanted->kernels = NULL;
    wanted->gpus = &gpus;
}

static void a_prefill_on_the_device_equals_one_on_the_cpu(void **state)
{
    (void)state;
    for (int m = 0; m < METHODS; m++) {
        struct engine_case wanted = score_case(methods[m], TOKENS);
        struct engine_outcome cpu;
        wanted.kernels = "reference";
        engine_checks_run(&cpu, &wanted);
        onto_the_device(&wanted);
        engine_checks_close(&wanted, &cpu, BF16);
        wanted.stage_tokens = 100; /* starts inside a panel */
        engine_checks_close(&wanted, &cpu, BF16);
        wanted.queries = CHOICE_REPLICATED + 1;
        engine_checks_close(&wanted, &cpu, BF16);
        engine_outcome_free(&cpu);
    }
}

/* The stand-in's kernels keep one order over the keys, so here, unlike on a card, the exchange must
 * not change a bit. */
static void a_prefill_on_several_devices_equals_one_on_one(void **state)
{
    (void)state;
    for (int m = 0; m < METHODS; m++) {
        struct engine_case wanted = score_case(methods[m], TOKENS);
        struct engine_outcome one;
        onto_the_device(&wanted);
        wanted.stage_tokens = TOKENS;
        engine_checks_run(&one, &wanted);
        /* 2 to 4 ranks; each method not on all of them: it is the order of work that matters. */
        for (wanted.ranks = 2 + m % 2; wanted.ranks <= 4; wanted.ranks += 2 - m % 2) {
            wanted.stage_tokens = TOKENS;
            wanted.partition = PARTITION_CONTIGUOUS + 1;
            engine_checks_same_bits(&wanted, &one);
            wanted.partition = PARTITION_ZIGZAG + 1;
            engine_checks_same_bits(&wanted, &one);
            wanted.queries = CHOICE_SHARDED + 1;
            wanted.stage_tokens = 100;
            engine_checks_same_bits(&wanted, &one);
            wanted.queries = 0;
        }
        engine_outcome_free(&one);
    }
}

static void short_texts_and_empty_shards_are_ordinary(void **state)
{
    (void)state;
    static const int64_t lengths[] = {2, 63, 65, 129};
    for (size_t l = 0; l < sizeof lengths / sizeof lengths[0]; l++) {
        struct engine_case wanted = score_case(methods[l % METHODS], lengths[l]);
        struct engine_outcome one;
        onto_the_device(&wanted);
        engine_checks_run(&one, &wanted);
        for (wanted.ranks = 2; wanted.ranks <= 4; wanted.ranks++)
            engine_checks_same_bits(&wanted, &one);
        engine_outcome_free(&one);
    }
}

static void ring_and_replicated_queries_agree_within_rounding(void **state)
{
    (void)state;
    for (int m = 0; m < METHODS; m++) {
        struct engine_case wanted = score_case(methods[m], 200);
        struct engine_outcome cpu;
        wanted.kernels = "reference";
        engine_checks_run(&cpu, &wanted);
        onto_the_device(&wanted);
        for (wanted.ranks = 2; wanted.ranks <= 4; wanted.ranks += 2) {
            wanted.schedule = CHOICE_RING + 1;
            wanted.queries = 0;
            wanted.stage_tokens = 0;
            engine_checks_close(&wanted, &cpu, BF16);
            wanted.schedule = 0;
            wanted.queries = CHOICE_REPLICATED + 1;
            wanted.stage_tokens = 16;
            engine_checks_close(&wanted, &cpu, BF16);
        }
        engine_outcome_free(&cpu);
    }
}

/* The first ids, whose margins bf16 does not reach, and all of them for any way to compute them. */
static void answers_agree(struct engine_case wanted)
{
    struct engine_outcome cpu, cuda;
    wanted.kernels = "reference";
    wanted.kind = ENGINE_GENERATE;
    wanted.max_tokens = ANSWER;
    engine_checks_run(&cpu, &wanted);
    onto_the_device(&wanted);
    for (wanted.ranks = 1; wanted.ranks <= 3; wanted.ranks++)
        for (wanted.decode_split = 1; wanted.decode_split <= 1 + DECODE_SPLIT_ALL;
             wanted.decode_split += DECODE_SPLIT_ALL) {
            engine_checks_run(&cuda, &wanted);
            engine_checks_accounts(&cuda);
            assert_int_equal(cuda.id_count, ANSWER);
            assert_memory_equal(cuda.ids, cpu.ids, 3 * sizeof *cpu.ids);
            engine_outcome_free(&cuda);
        }
    engine_outcome_free(&cpu);
}

static void decode_on_devices_follows_the_cpu(void **state)
{
    (void)state;
    for (int m = 0; m < METHODS; m++)
        answers_agree(score_case(methods[m], 150));
}

/* The heads that no kernel is made for alone, every format of weights, and a file's other
 * liberties.
 */
static void models_of_other_shapes_and_formats_agree(void **state)
{
    (void)state;
    static const struct {
        struct tiny_model_shape shape;
        enum dtype dtype;
    } models[] = {
        {{1, 256, 4, 4, 64, 512, .mixed = true}, DTYPE_Q8_0},
        {{2, 160, 4, 2, 80, 96, .untied = true, .rope_factors = true}, DTYPE_F16},
        {{2, 96, 3, 1, 96, 160, .bf16_norms = true}, DTYPE_Q8_0},
        {{1, 128, 2, 1, 128, 96, .context = 1024}, DTYPE_BF16},
        {{1, 64, 2, 2, 256, 96, .context = 1024}, DTYPE_F32},
        {{2, 96, 4, 2, 32, 160, .qkv_bias = true, .output_bias = true, .mlp_bias = true},
         DTYPE_Q8_0},
        {{2, 96, 4, 2, 32, 160, .architecture = "qwen3", .qk_norm = true}, DTYPE_Q8_0},
        {{2, 96, 4, 2, 32, 160, .window = 50}, DTYPE_Q8_0},
        {{3, 96, 4, 2, 32, 160, .window = 70, .window_layers = 5}, DTYPE_Q8_0},
    };
    for (size_t m = 0; m < sizeof models / sizeof models[0]; m++) {
        char path[TINY_MODEL_PATH_BYTES];
        struct engine_case wanted = score_case(methods[m % METHODS], 150);
        struct engine_outcome cpu;
        tiny_model_make(path, &models[m].shape, models[m].dtype);
        wanted.model_path = path;
        wanted.kernels = "reference";
        engine_checks_run(&cpu, &wanted);
        onto_the_device(&wanted);
        wanted.ranks = 1 + (int)m % 2;
        engine_checks_close(&wanted, &cpu, BF16);
        wanted.stage_tokens = 32;
        wanted.queries = CHOICE_REPLICATED + 1;
        engine_checks_close(&wanted, &cpu, BF16);
        engine_outcome_free(&cpu);
        if (models[m].shape.qkv_bias || models[m].shape.qk_norm || models[m].shape.window) {
            wanted.queries = 0;
            answers_agree(wanted);
        }
        unlink(path);
    }
}

static void what_a_gpu_does_not_compute_is_refused_by_name(void **state)
{
    (void)state;
    static const struct tiny_model_shape shape = {1, 96, 4, 2, 32, 160, .architecture = "gemma2"};
    char path[TINY_MODEL_PATH_BYTES];
    struct engine_case wanted = score_case("rope", 70);
    struct engine_outcome outcome;
    tiny_model_make(path, &shape, DTYPE_F32);
    wanted.model_path = path;
    onto_the_device(&wanted);
    assert_int_equal(engine_ranks_run(&outcome, &wanted), STATUS_UNIMPLEMENTED);
    assert_non_null(strstr(status_message(), "the GPU does not compute norms behind attention"));
    unlink(path);
}

static void a_weight_type_that_a_gpu_does_not_read_is_refused_by_name(void **state)
{
    (void)state;
    static const struct tiny_model_shape shape = {
        .layers = 1, .hidden = 96, .heads = 4, .kv_heads = 2, .head_dim = 32, .ffn = 160};
    char path[TINY_MODEL_PATH_BYTES];
    struct engine_case wanted = score_case("rope", 70);
    struct engine_outcome outcome;
    tiny_model_make(path, &shape, DTYPE_IQ4_NL);
    wanted.model_path = path;
    onto_the_device(&wanted);
    assert_int_equal(engine_ranks_run(&outcome, &wanted), STATUS_UNIMPLEMENTED);
    assert_non_null(strstr(status_message(), "the GPU does not multiply with weights of IQ4_NL"));
    unlink(path);
}

/* A window that lies across the boundary of two ranges: each is a piece of work of its own. */
static void keys_of_two_ranges_are_cut_at_their_boundary(void **state)
{
    (void)state;
    struct engine_case wanted = score_case("lm_infinite:window=60,sinks=4", LONG_TOKENS);
    struct engine_outcome cpu;
    wanted.kernels = "reference";
    engine_checks_run(&cpu, &wanted);
    onto_the_device(&wanted);
    wanted.queries = CHOICE_REPLICATED + 1;
    wanted.stage_tokens = 16;
    engine_checks_close(&wanted, &cpu, BF16);
    engine_outcome_free(&cpu);
}

/* One rank records a token once and replays it; several record it between their exchanges. */
static void a_token_is_recorded_once_and_replayed(void **state)
{
    (void)state;
    struct engine_case wanted = score_case("rope", 100);
    struct engine_outcome outcome;
    onto_the_device(&wanted);
    wanted.kind = ENGINE_GENERATE;
    wanted.max_tokens = ANSWER;
    standin_seed(SEED + 1);
    engine_checks_run(&outcome, &wanted);
    assert_int_equal(standin_counts().captures, 1);
    assert_int_equal(standin_counts().graph_launches, ANSWER - 1);
    engine_outcome_free(&outcome);
    wanted.ranks = 2;
    wanted.decode_split = 1;
    standin_seed(SEED + 2);
    engine_checks_run(&outcome, &wanted);
    assert_int_equal(standin_counts().captures, 2 * (LAYERS + 1));
    assert_int_equal(standin_counts().graph_launches, 2 * (LAYERS + 1) * (ANSWER - 1));
    engine_outcome_free(&outcome);
    assert_int_equal(standin_counts().allocated_bytes, 0);
    assert_int_equal(standin_counts().pinned_bytes, 0);
}

/* ---- at the start ---- */

static char seen_facts[448];

static void keep_facts(struct engine *engine, struct transport *transport, int64_t tokens_done)
{
    (void)transport;
    (void)tokens_done;
    snprintf(seen_facts, sizeof seen_facts, "%s", engine_facts(engine));
}

static void the_start_line_tells_of_the_gpus_of_the_host(void **state)
{
    (void)state;
    struct engine_case wanted = score_case("rope", 20);
    struct engine_outcome outcome;
    onto_the_device(&wanted);
    wanted.progress = keep_facts;
    standin_device_count(3);
    engine_checks_run(&outcome, &wanted);
    standin_device_count(64);
    assert_non_null(strstr(seen_facts, " gpu=0 gpus=3 ranks_on_gpu=1 "));
    assert_non_null(strstr(seen_facts, " numa=-1 links=self,nvlink,pcie "));
    engine_outcome_free(&outcome);
}

/* ---- time by parts ---- */

static bool has_time(const struct engine_result *result, enum device_part first,
                     enum device_part end)
{
    for (int part = first; part < (int)end; part++)
        if (!(result->part_seconds[part] > 0))
            return false;
    return true;
}

static double sum_of_parts(const struct engine_result *result)
{
    double sum = 0;
    for (int part = 0; part < DEVICE_PARTS; part++)
        sum += result->part_seconds[part];
    return sum;
}

static void parts_are_timed_where_that_is_asked_for(void **state)
{
    (void)state;
    struct engine_case wanted = score_case("rope", 100);
    struct engine_outcome outcome;
    onto_the_device(&wanted);
    wanted.kind = ENGINE_GENERATE;
    wanted.max_tokens = ANSWER;
    engine_checks_run(&outcome, &wanted);
    assert_true(sum_of_parts(outcome.results) == 0);
    engine_outcome_free(&outcome);
    wanted.times_parts = true;
    for (wanted.ranks = 1; wanted.ranks <= 2; wanted.ranks++) {
        standin_seed(SEED + 4);
        engine_checks_run(&outcome, &wanted);
        for (int rank = 0; rank < wanted.ranks; rank++) {
            const struct engine_result *result = &outcome.results[rank];
            assert_true(has_time(result, DEVICE_PART_ROWS, DEVICE_PART_HEAD));
            assert_true(has_time(result, DEVICE_PART_STEP_QKV, DEVICE_PARTS));
            assert_true(sum_of_parts(result) <= result->prefill_seconds + result->decode_seconds);
        }
        assert_true(has_time(&outcome.results[0], DEVICE_PART_HEAD, DEVICE_PART_STEP_QKV) ||
                    wanted.ranks > 1); /* rank 0 has the last token, or another one does */
        assert_int_equal(standin_counts().captures, 0);
        engine_outcome_free(&outcome);
    }
    wanted = score_case("rope", 100);
    onto_the_device(&wanted);
    wanted.times_parts = true;
    engine_checks_run(&outcome, &wanted);
    assert_true(has_time(outcome.results, DEVICE_PART_ROWS, DEVICE_PART_STEP_QKV));
    engine_outcome_free(&outcome);
}

/* ---- choosing the next token ---- */

/* A vocabulary that is much larger than a survey. */
static void make_wide_model(char path[TINY_MODEL_PATH_BYTES])
{
    const struct tiny_model_shape shape = {.layers = 1,
                                           .hidden = 64,
                                           .heads = 2,
                                           .kv_heads = 1,
                                           .head_dim = 32,
                                           .ffn = 64,
                                           .vocab = WIDE_VOCAB};
    tiny_model_make(path, &shape, DTYPE_BF16);
}

static struct engine_case answer_case(const char *path, struct sampling sampling)
{
    struct engine_case wanted = score_case("rope", 60);
    wanted.model_path = path;
    wanted.kind = ENGINE_GENERATE;
    wanted.max_tokens = ANSWER;
    wanted.sampling = sampling;
    onto_the_device(&wanted);
    return wanted;
}

/* Bytes that the devices sent to the host for an answer. */
static int64_t bytes_for(const struct engine_case *wanted)
{
    struct engine_outcome outcome;
    standin_seed(SEED + 3);
    engine_checks_run(&outcome, wanted);
    assert_int_equal(outcome.id_count, ANSWER);
    engine_outcome_free(&outcome);
    return standin_counts().bytes_to_host;
}

static void logits_cross_only_where_a_choice_needs_them(void **state)
{
    (void)state;
    const int64_t survey = (int64_t)sizeof(struct logits_survey);
    const int64_t logits = WIDE_VOCAB * (int64_t)sizeof(float);
    char path[TINY_MODEL_PATH_BYTES];
    make_wide_model(path);
    struct engine_case wanted =
        answer_case(path, (struct sampling){.top_p = 1, .repetition_penalty = 1, .seed = 3});
    assert_int_equal(bytes_for(&wanted), ANSWER * survey);
    wanted.sampling = (struct sampling){
        .temperature = 0.7f, .top_k = 40, .top_p = 0.9f, .repetition_penalty = 1.1f, .seed = 3};
    assert_int_equal(bytes_for(&wanted), ANSWER * survey);
    wanted.sampling = (struct sampling){
        .temperature = 1, .top_k = 2000, .top_p = 1, .repetition_penalty = 1, .seed = 3};
    assert_int_equal(bytes_for(&wanted), ANSWER * (survey + logits));
    unlink(path);
}

/* Split products leave the logits on the host of rank 0, who draws from all of them. */
static void a_survey_draws_what_the_logits_on_the_host_would(void **state)
{
    (void)state;
    static const struct sampling settings[] = {
        {.top_p = 1, .repetition_penalty = 1, .seed = 3},
        {.temperature = 0.8f, .top_p = 0.9f, .repetition_penalty = 1.2f, .seed = 4},
        {.temperature = 1,
         .top_k = 50,
         .top_p = 1,
         .min_p = 0.05f,
         .repetition_penalty = 1,
         .seed = 5},
        {.temperature = 3, .top_p = 1, .repetition_penalty = 1, .seed = 6},
        {.temperature = 0.9f, .top_p = 0.95f, .repetition_penalty = 0.9f, .seed = 7},
        {.top_p = 1, .repetition_penalty = 1, .presence_penalty = 1, .frequency_penalty = 0.5f},
        {.temperature = 1, .top_p = 1, .repetition_penalty = 1, .seed = 8, .presence_penalty = -1}};
    char path[TINY_MODEL_PATH_BYTES];
    make_wide_model(path);
    for (size_t s = 0; s < sizeof settings / sizeof settings[0]; s++) {
        struct engine_case wanted = answer_case(path, settings[s]);
        struct engine_outcome surveyed, gathered;
        wanted.ranks = 2;
        wanted.decode_split = 1;
        engine_checks_run(&surveyed, &wanted);
        wanted.decode_split = 1 + DECODE_SPLIT_ALL;
        engine_checks_run(&gathered, &wanted);
        assert_memory_equal(surveyed.ids, gathered.ids, ANSWER * sizeof *gathered.ids);
        engine_outcome_free(&surveyed);
        engine_outcome_free(&gathered);
    }
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_prefill_on_the_device_equals_one_on_the_cpu),
        cmocka_unit_test(a_prefill_on_several_devices_equals_one_on_one),
        cmocka_unit_test(short_texts_and_empty_shards_are_ordinary),
        cmocka_unit_test(ring_and_replicated_queries_agree_within_rounding),
        cmocka_unit_test(models_of_other_shapes_and_formats_agree),
        cmocka_unit_test(what_a_gpu_does_not_compute_is_refused_by_name),
        cmocka_unit_test(a_weight_type_that_a_gpu_does_not_read_is_refused_by_name),
        cmocka_unit_test(keys_of_two_ranges_are_cut_at_their_boundary),
        cmocka_unit_test(a_token_is_recorded_once_and_replayed),
        cmocka_unit_test(decode_on_devices_follows_the_cpu),
        cmocka_unit_test(the_start_line_tells_of_the_gpus_of_the_host),
        cmocka_unit_test(parts_are_timed_where_that_is_asked_for),
        cmocka_unit_test(logits_cross_only_where_a_choice_needs_them),
        cmocka_unit_test(a_survey_draws_what_the_logits_on_the_host_would),
    };
    log_configure(LOG_ERROR, -1);
    printf("seed %d\n", SEED);
    standin_seed(SEED);
    model_fixture_make(&fixture);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    model_fixture_drop(&fixture);
    return failed;
}
