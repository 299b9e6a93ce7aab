/* Drafted tokens change no id and no bit of an answer: on random prompts that repeat themselves, by
 * every method, over 1 to 4 ranks, greedy and sampled, with drafts of random lengths. On a small
 * model with random weights, by loopback. */
#include <stdio.h>
#include <string.h>

#include "kernels/kernels.h"
#include "proto/log.h"
#include "proto/plan/memory_plan.h"
#include "tests/support/engine_checks.h"
#include "tests/support/model_fixture.h"
#include "tests/support/random.h"
#include "tests/support/unit.h"

enum { CONTEXT = 260, ANSWER_MOST = 150, PROMPTS = 200, RANKS_MOST = 4, SEED = 20261201 };

static struct model_fixture fixture = {
    .shape = {.layers = 2, .hidden = 32, .heads = 4, .kv_heads = 2, .head_dim = 16, .ffn = 64},
    .tokens = CONTEXT};

static const char *const methods[] = {
    "rope",
    "string:shift=40,local=8",
    "lm_infinite:window=70,sinks=5",
    "lm_infinite:window=3,sinks=0",
    "lm_infinite:window=40,sinks=70,ceiling=60",
    "streaming_llm:window=63,sinks=4",
    "streaming_heads:heads=1,window=64,sinks=3",
    "dca:chunk=90,local=30",
    "rerope:window=40",
    "leaky_rerope:window=40,factor=8",
    "self_extend:window=40,group=4",
    "rope+yarn:factor=2",
};

/* A few runs of tokens, again and again, with others between them. */
static void make_prompt(int32_t *ids, int64_t count, struct random *random)
{
    int64_t t = 0;
    while (t < count) {
        const int64_t first = random_between(random, 0, 3) * 50;
        const int64_t length = random_between(random, 1, 40);
        const bool repeats = random_between(random, 0, 4) > 0;
        for (int64_t i = 0; i < length && t < count; i++)
            ids[t++] = repeats ? fixture.ids[first + i] : (int32_t)random_between(random, 3, 250);
    }
}

/* Any case of any method; `which` counts them. */
static struct engine_case make_case(int32_t *ids, int which, struct random *random)
{
    const int64_t answer = random_between(random, 1, ANSWER_MOST + 1);
    struct engine_case wanted = {
        .model_path = fixture.path,
        .method = methods[(size_t)which % (sizeof methods / sizeof methods[0])],
        .ranks = 1 + which % RANKS_MOST,
        .kind = ENGINE_GENERATE,
        .ids = ids,
        .count = random_between(random, 1, CONTEXT - answer),
        .max_tokens = answer,
        .stage_tokens = random_between(random, 0, 3) * 45,
        .partition = (int)random_between(random, 0, 3),
        .decode_home = random_between(random, 0, 4) == 0,
        .decode_split = (int)random_between(random, 0, DECODE_SPLIT_ALL + 2),
        .queries = (int)random_between(random, 0, 3),
        .logprobs = true,
    };
    if (wanted.queries == CHOICE_REPLICATED + 1 || wanted.ranks == 1)
        wanted.decode_home = false;
    if (random_between(random, 0, 2))
        wanted.sampling = (struct sampling){
            .temperature = random_between(random, 0, 2) ? 0.3f : 0.05f,
            .top_p = 1,
            .repetition_penalty = random_between(random, 0, 2) ? 1 : 1.05f,
            .seed = (uint64_t)which,
        };
    make_prompt(ids, wanted.count, random);
    return wanted;
}

static void same_answer(const struct engine_outcome *drafted, const struct engine_outcome *plain)
{
    assert_int_equal(drafted->id_count, plain->id_count);
    assert_memory_equal(drafted->ids, plain->ids, (size_t)plain->id_count * sizeof *plain->ids);
    for (int64_t t = 0; t < plain->id_count; t++)
        assert_memory_equal(&drafted->token_logprobs[t].chosen, &plain->token_logprobs[t].chosen,
                            sizeof(float));
}

struct tally {
    int64_t drafted, accepted;
};

/* Every rank counts alike; what was drafted and did not come is no token of the answer. */
static void add_drafts(struct tally *tally, const struct engine_outcome *outcome)
{
    const struct engine_result *first = &outcome->results[0];
    for (int rank = 0; rank < outcome->choice.group.workers; rank++) {
        const struct engine_result *result = &outcome->results[rank];
        assert_int_equal(result->drafted_tokens, first->drafted_tokens);
        assert_int_equal(result->accepted_tokens, first->accepted_tokens);
    }
    assert_true(first->accepted_tokens <= first->drafted_tokens);
    assert_true(first->accepted_tokens < first->completion_tokens);
    tally->drafted += first->drafted_tokens;
    tally->accepted += first->accepted_tokens;
}

static void an_answer_is_the_same_whatever_is_drafted(void **state)
{
    (void)state;
    struct tally tallies[2] = {0};
    struct random random = {SEED};
    print_message("seed %d\n", SEED);
    for (int which = 0; which < PROMPTS; which++) {
        int32_t ids[CONTEXT];
        struct engine_outcome plain, drafted;
        struct engine_case wanted = make_case(ids, which, &random);
        engine_checks_run(&plain, &wanted);
        assert_int_equal(plain.results[0].drafted_tokens, 0);
        if (plain.id_count > 20 && random_between(&random, 0, 3) == 0)
            wanted.stop_id = plain.ids[plain.id_count / 2];
        wanted.draft_tokens = (int)random_between(&random, 1, MEMORY_DRAFT_ROWS + 1);
        engine_checks_run(&drafted, &wanted);
        engine_checks_accounts(&drafted);
        for (int64_t t = 0; wanted.stop_id && t < plain.id_count; t++)
            if (plain.ids[t] == wanted.stop_id)
                plain.id_count = t + 1;
        same_answer(&drafted, &plain);
        add_drafts(&tallies[wanted.sampling.temperature > 0], &drafted);
        engine_outcome_free(&plain);
        engine_outcome_free(&drafted);
    }
    for (int sampled = 0; sampled < 2; sampled++) {
        print_message("%s: %lld drafted, %lld accepted\n", sampled ? "sampled" : "greedy",
                      (long long)tallies[sampled].drafted, (long long)tallies[sampled].accepted);
        assert_true(tallies[sampled].accepted > 100);
        assert_true(tallies[sampled].drafted > tallies[sampled].accepted + 100);
    }
}

/* The arithmetic of every variant leaves a row its bits among those of its own sequence. */
static void over_all_kernels(bool int8_cache)
{
    struct random random = {SEED};
    for (int n = 0; kernels_at(n); n++) {
        int32_t ids[CONTEXT];
        struct engine_outcome plain, drafted;
        struct engine_case wanted = make_case(ids, 0, &random);
        if (!kernels_runs_here(kernels_at(n)))
            continue;
        wanted.kernels = kernels_at(n)->name;
        wanted.int8_cache = int8_cache;
        wanted.threads = 2;
        wanted.count = CONTEXT - ANSWER_MOST;
        wanted.max_tokens = ANSWER_MOST;
        make_prompt(ids, wanted.count, &random);
        wanted.sampling = (struct sampling){0};
        engine_checks_run(&plain, &wanted);
        wanted.draft_tokens = MEMORY_DRAFT_ROWS;
        engine_checks_run(&drafted, &wanted);
        same_answer(&drafted, &plain);
        assert_true(drafted.results[0].accepted_tokens > 0);
        engine_outcome_free(&plain);
        engine_outcome_free(&drafted);
    }
}

static void whatever_the_kernels(void **state)
{
    (void)state;
    over_all_kernels(false);
}

static void and_over_int8_panels(void **state)
{
    (void)state;
    over_all_kernels(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_the_same_whatever_is_drafted),
        cmocka_unit_test(whatever_the_kernels),
        cmocka_unit_test(and_over_int8_panels),
    };
    log_configure(LOG_ERROR, -1); /* more ranks than cores is what these tests are about */
    model_fixture_make(&fixture);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    model_fixture_drop(&fixture);
    return failed;
}
