/* Positions that a caller gives: what is the same as what, over ranks, in prefill and decode, and
 * what is refused. On a small model with random weights, by loopback. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "proto/log.h"
#include "proto/plan/given_positions.h"
#include "tests/support/engine_checks.h"
#include "tests/support/golden_tolerance.h"
#include "tests/support/model_fixture.h"
#include "tests/support/unit.h"

enum { TOKENS = 300, ANSWER = 12 };

static struct model_fixture fixture = {
    .shape = {.layers = 3, .hidden = 96, .heads = 6, .kv_heads = 2, .head_dim = 16, .ffn = 160},
    .tokens = TOKENS};

static struct engine_case score_case(const int64_t *positions, const char *method)
{
    return (struct engine_case){.model_path = fixture.path,
                                .method = method,
                                .kind = ENGINE_SCORE,
                                .ids = fixture.ids,
                                .positions = positions,
                                .count = TOKENS};
}

/* Runs of up to 40 tokens with gaps of up to 90 between them. */
static void with_gaps(int64_t positions[TOKENS + ANSWER])
{
    int64_t position = 7;
    for (int i = 0; i < TOKENS + ANSWER; i++) {
        positions[i] = position;
        position += 1;
        if (i < TOKENS - 1 && (i % 41 == 40 || i % 29 == 28))
            position += 90 - i % 50;
    }
}

static void same_over_ranks(struct engine_case *wanted, const struct engine_outcome *one)
{
    for (wanted->ranks = 1; wanted->ranks <= 4; wanted->ranks++) {
        wanted->stage_tokens = 0;
        wanted->partition = PARTITION_CONTIGUOUS + 1;
        engine_checks_same_bits(wanted, one);
        wanted->queries = CHOICE_SHARDED + 1;
        wanted->partition = PARTITION_ZIGZAG + 1;
        wanted->stage_tokens = 130; /* ends inside a panel */
        engine_checks_same_bits(wanted, one);
        wanted->queries = 0;
    }
}

/* Where frequencies are halved exactly, twice the position gives the same angles. */
static void positions_turn_keys_and_queries_and_nothing_else(void **state)
{
    (void)state;
    int64_t indices[TOKENS], doubled[TOKENS], late[TOKENS];
    struct engine_outcome plain;
    struct engine_case wanted = score_case(NULL, "rope");
    engine_checks_run(&plain, &wanted);
    for (int i = 0; i < TOKENS; i++) {
        indices[i] = i;
        doubled[i] = 2 * i;
        late[i] = 1000000 + i;
    }
    wanted = score_case(indices, "rope");
    same_over_ranks(&wanted, &plain);
    wanted = score_case(doubled, "rope+linear:factor=2");
    same_over_ranks(&wanted, &plain);
    /* Distances alone count, but for the rounding of cos and sin. */
    struct engine_outcome moved;
    wanted = score_case(late, "rope");
    wanted.kernels = "reference";
    engine_checks_run(&moved, &wanted);
    struct engine_outcome reference;
    wanted.positions = NULL;
    engine_checks_run(&reference, &wanted);
    const struct golden_tolerance *golden = golden_tolerance_of(GOLDEN_FLOAT32, 0, "");
    const double apart = engine_checks_distance(&moved, &reference).worst;
    if (!(apart <= golden->token))
        fail_msg("positions that begin late are %g apart, allowed %g", apart, golden->token);
    engine_outcome_free(&reference);
    engine_outcome_free(&moved);
    engine_outcome_free(&plain);
}

static void gaps_are_the_same_for_any_ranks(void **state)
{
    (void)state;
    int64_t positions[TOKENS + ANSWER];
    struct engine_outcome plain, one;
    with_gaps(positions);
    struct engine_case wanted = score_case(NULL, "rope:logn=100");
    engine_checks_run(&plain, &wanted);
    wanted.positions = positions;
    engine_checks_run(&one, &wanted);
    assert_true(engine_checks_distance(&one, &plain).worst > 0.01);
    same_over_ranks(&wanted, &one);
    engine_outcome_free(&plain);
    engine_outcome_free(&one);
}

/* An answer's tokens stand behind the last one by ones: the prompt and the answer, scored at these
 * positions, have each token as likely as it was when it was made. */
static void an_answer_follows_by_ones(void **state)
{
    (void)state;
    int64_t positions[TOKENS + ANSWER];
    int32_t ids[TOKENS + ANSWER];
    const struct golden_tolerance *golden = golden_tolerance_of(GOLDEN_FLOAT32, 0, "");
    with_gaps(positions);
    for (int ranks = 1; ranks <= 3; ranks += 2) {
        struct engine_outcome made, scored;
        struct engine_case wanted = score_case(positions, "rope");
        wanted.kernels = "reference";
        wanted.ranks = ranks;
        wanted.kind = ENGINE_GENERATE;
        wanted.max_tokens = ANSWER;
        wanted.logprobs = true;
        engine_checks_run(&made, &wanted);
        engine_checks_accounts(&made);
        assert_int_equal(made.id_count, ANSWER);
        memcpy(ids, fixture.ids, TOKENS * sizeof *ids);
        memcpy(ids + TOKENS, made.ids, ANSWER * sizeof *ids);
        wanted = score_case(positions, "rope");
        wanted.kernels = "reference";
        wanted.ids = ids;
        wanted.count = TOKENS + ANSWER;
        engine_checks_run(&scored, &wanted);
        for (int k = 0; k < ANSWER; k++) {
            const double apart = fabs((double)scored.logprobs[TOKENS + k - 1] -
                                      (double)made.token_logprobs[k].chosen);
            if (!(apart <= golden->token))
                fail_msg("token %d of the answer is %g apart, allowed %g", k, apart, golden->token);
        }
        engine_outcome_free(&made);
        engine_outcome_free(&scored);
    }
}

static void refused(const struct engine_case *wanted, enum status status)
{
    struct engine_outcome outcome;
    assert_int_equal(engine_ranks_run(&outcome, wanted), status);
    engine_outcome_free(&outcome);
}

static void what_is_out_of_order_or_of_another_method_is_refused(void **state)
{
    (void)state;
    int64_t positions[TOKENS + ANSWER];
    with_gaps(positions);
    struct engine_case wanted = score_case(positions, "rope");
    wanted.ranks = 2;
    const int64_t kept = positions[9];
    positions[9] = positions[8];
    refused(&wanted, STATUS_INVALID_ARGUMENT);
    positions[9] = -1;
    refused(&wanted, STATUS_INVALID_ARGUMENT);
    positions[9] = GIVEN_POSITIONS_END;
    refused(&wanted, STATUS_INVALID_ARGUMENT);
    positions[9] = kept;
    wanted.method = "string:shift=40,local=8";
    refused(&wanted, STATUS_INVALID_ARGUMENT);
    wanted = score_case(positions, "rope");
    wanted.kind = ENGINE_GENERATE;
    wanted.max_tokens = 2;
    wanted.reuse_prefix = true;
    refused(&wanted, STATUS_INVALID_ARGUMENT);
}

static void a_refusal_names_the_token_and_the_range(void **state)
{
    (void)state;
    struct method rope, string;
    int64_t positions[] = {0, 5, 6};
    assert_int_equal(method_parse(&rope, "rope:logn=9+linear:factor=2", 0), STATUS_OK);
    assert_int_equal(method_parse(&string, "string:shift=4", 0), STATUS_OK);
    assert_int_equal(given_positions_check(positions, 3, 3, &rope), STATUS_OK);
    assert_int_equal(given_positions_check(positions, 3, 4, &rope), STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(status_message(), "3 are given, and the prompt has 4 tokens"));
    assert_int_equal(given_positions_check(positions, 3, 3, &string), STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(status_message(), "the bands of string go by indices"));
    positions[2] = 5;
    assert_int_equal(given_positions_check(positions, 3, 3, &rope), STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(status_message(), "that of token 2 is 5, must be above 5"));
    positions[0] = -1;
    assert_int_equal(given_positions_check(positions, 3, 3, &rope), STATUS_INVALID_ARGUMENT);
    assert_non_null(
        strstr(status_message(), "that of token 0 is -1, must be between 0 and 1099511627775"));
    positions[0] = 4;
    assert_int_equal(given_positions_at(positions, 3, 1), 5);
    assert_int_equal(given_positions_at(positions, 3, 5), 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(positions_turn_keys_and_queries_and_nothing_else),
        cmocka_unit_test(gaps_are_the_same_for_any_ranks),
        cmocka_unit_test(an_answer_follows_by_ones),
        cmocka_unit_test(what_is_out_of_order_or_of_another_method_is_refused),
        cmocka_unit_test(a_refusal_names_the_token_and_the_range),
    };
    log_configure(LOG_ERROR, -1);
    model_fixture_make(&fixture);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    model_fixture_drop(&fixture);
    return failed;
}
