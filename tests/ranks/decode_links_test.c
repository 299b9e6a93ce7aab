/* What ranks exchange in decode: the bits do not depend on it, and bytes and messages are as
 * planned. On a small model with random weights, by loopback. */
#include <string.h>

#include "proto/log.h"
#include "tests/support/engine_checks.h"
#include "tests/support/model_fixture.h"
#include "tests/support/unit.h"

enum { TOKENS = 200, ANSWER = 9, LONG_ANSWER = 75, LAYERS = 3 };

static struct model_fixture fixture = {
    .shape =
        {.layers = LAYERS, .hidden = 96, .heads = 6, .kv_heads = 2, .head_dim = 16, .ffn = 160},
    .tokens = TOKENS};

static struct engine_case answer_case(const char *method)
{
    return (struct engine_case){.model_path = fixture.path,
                                .method = method,
                                .kind = ENGINE_GENERATE,
                                .ids = fixture.ids,
                                .count = TOKENS,
                                .max_tokens = ANSWER,
                                .logprobs = true};
}

static void same_answer(const struct engine_outcome *one, const struct engine_outcome *other)
{
    assert_int_equal(one->id_count, other->id_count);
    for (int64_t t = 0; t < one->id_count; t++) {
        assert_int_equal(one->ids[t], other->ids[t]);
        assert_memory_equal(&one->token_logprobs[t].chosen, &other->token_logprobs[t].chosen,
                            sizeof(float));
    }
}

/* A product's columns are what they are, whoever computes them. */
static void an_answer_has_the_same_bits_whatever_decode_splits(void **state)
{
    (void)state;
    struct engine_case wanted = answer_case("rope");
    for (wanted.ranks = 2; wanted.ranks <= 4; wanted.ranks++) {
        struct engine_outcome whole;
        wanted.decode_split = 1;
        engine_checks_run(&whole, &wanted);
        for (unsigned set = 1; set <= DECODE_SPLIT_ALL; set = 2 * set + (set >= 4)) {
            struct engine_outcome split;
            wanted.decode_split = 1 + (int)set;
            engine_checks_run(&split, &wanted);
            engine_checks_accounts(&split);
            assert_int_equal(split.choice.request.decode_split, set);
            same_answer(&split, &whole);
            engine_outcome_free(&split);
        }
        engine_outcome_free(&whole);
    }
}

/* Counted by hand: an answer's first token comes of its prompt, the others of a step each. */
static void a_token_takes_an_exchange_a_layer_and_one_for_each_split_product(void **state)
{
    (void)state;
    static const struct {
        unsigned split;
        int layer, token; /* messages of rank 1 to each peer, or of logits to rank 0 */
    } rows[] = {
        {0, 1, 0},
        {DECODE_SPLIT_QKV, 2, 0},
        {DECODE_SPLIT_GATE | DECODE_SPLIT_LOGITS, 2, 1},
        {DECODE_SPLIT_ALL, 5, 1},
    };
    for (int ranks = 2; ranks <= 4; ranks++) {
        struct engine_case wanted = answer_case("rope");
        wanted.ranks = ranks;
        wanted.decode_split = 1;
        wanted.max_tokens = 1;
        struct engine_outcome prompt;
        engine_checks_run(&prompt, &wanted);
        wanted.max_tokens = ANSWER;
        for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
            struct engine_outcome outcome;
            wanted.decode_split = 1 + (int)rows[r].split;
            engine_checks_run(&outcome, &wanted);
            engine_checks_accounts(&outcome);
            assert_int_equal(outcome.results[1].sent_messages - prompt.results[1].sent_messages,
                             (ANSWER - 1) * (LAYERS * rows[r].layer * (ranks - 1) + rows[r].token));
            engine_outcome_free(&outcome);
        }
        engine_outcome_free(&prompt);
    }
}

/* Rank 0 has all keys once an answer has begun: it says what one worker says. With reference
 * kernels nothing is rounded to bf16, so answers agree token for token. */
static void an_answer_at_home_is_that_of_one_worker_and_takes_no_exchange(void **state)
{
    (void)state;
    static const char *const methods[] = {"rope",
                                          "string:shift=50,local=20",
                                          "lm_infinite:window=70,sinks=4",
                                          "lm_infinite:window=40,sinks=70,ceiling=60",
                                          "streaming_llm:window=130,sinks=5",
                                          "dca:chunk=90,local=30"};
    for (size_t m = 0; m < sizeof methods / sizeof methods[0]; m++) {
        struct engine_case wanted = answer_case(methods[m]);
        struct engine_outcome one;
        wanted.kernels = "reference";
        wanted.max_tokens = LONG_ANSWER;
        engine_checks_run(&one, &wanted);
        wanted.decode_home = true;
        for (wanted.ranks = 2; wanted.ranks <= 4; wanted.ranks++) {
            struct engine_outcome home, first;
            wanted.partition = wanted.ranks % 2 ? PARTITION_CONTIGUOUS + 1 : PARTITION_ZIGZAG + 1;
            wanted.stage_tokens = wanted.ranks == 3 ? 90 : 0; /* begins inside a panel */
            wanted.max_tokens = 2;
            engine_checks_run(&first, &wanted);
            wanted.max_tokens = LONG_ANSWER;
            engine_checks_run(&home, &wanted);
            engine_checks_accounts(&home);
            assert_true(home.choice.request.decode_home);
            assert_int_equal(home.id_count, LONG_ANSWER);
            assert_memory_equal(home.ids, one.ids, LONG_ANSWER * sizeof *one.ids);
            for (int rank = 0; rank < wanted.ranks; rank++)
                assert_int_equal(home.results[rank].sent_messages,
                                 first.results[rank].sent_messages);
            assert_true(home.results[1].sent_messages > 0);
            engine_outcome_free(&first);
            engine_outcome_free(&home);
        }
        engine_outcome_free(&one);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_has_the_same_bits_whatever_decode_splits),
        cmocka_unit_test(an_answer_at_home_is_that_of_one_worker_and_takes_no_exchange),
        cmocka_unit_test(a_token_takes_an_exchange_a_layer_and_one_for_each_split_product),
    };
    log_configure(LOG_ERROR, -1); /* more ranks than cores is what these tests are about */
    model_fixture_make(&fixture);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    model_fixture_drop(&fixture);
    return failed;
}
