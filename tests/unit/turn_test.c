/* Who is next: stages and steps alternate, prompts share by tokens, answers by steps. */
#include "tests/support/unit.h"

#include <string.h>

#include "worker/engine/turn.h"

static const struct turn_room room = {.step_rows = 4, .stage_tokens = 100};

static void nothing_is_done_where_nothing_is_there(void **state)
{
    (void)state;
    struct turn turn;
    struct turn_memory memory = {0};
    turn_choose(&turn, &memory, NULL, 0, &room);
    assert_int_equal(turn.kind, TURN_NONE);
    assert_int_equal(turn.row_count, 0);
    assert_int_equal(turn_clock(NULL, 0), 0);
}

static void stages_and_steps_alternate(void **state)
{
    (void)state;
    struct turn turn;
    struct turn_memory memory = {0};
    struct turn_candidate live[] = {{.number = 1, .next_tokens = 100},
                                    {.number = 2, .decodes = true},
                                    {.number = 3, .decodes = true}};
    for (int n = 0; n < 10; n++) {
        turn_choose(&turn, &memory, live, 3, &room);
        assert_int_equal(turn.kind, n % 2 == 0 ? TURN_STEP : TURN_STAGE);
        assert_int_equal(turn.row_count, n % 2 == 0 ? 2 : 1);
    }
    live[0].decodes = true;
    for (int n = 0; n < 3; n++) {
        turn_choose(&turn, &memory, live, 3, &room);
        assert_int_equal(turn.kind, TURN_STEP);
        assert_int_equal(turn.row_count, 3);
    }
}

/* A long prompt gets its share while short ones come and go, and they theirs. */
static void prompts_share_by_tokens(void **state)
{
    (void)state;
    struct turn turn;
    struct turn_memory memory = {0};
    struct turn_candidate live[2] = {{.number = 1, .next_tokens = 100}};
    int64_t long_tokens = 0, short_tokens = 0;
    for (uint64_t number = 2; number < 200; number++) {
        live[1] = (struct turn_candidate){
            .number = number, .next_tokens = 30, .served = turn_clock(live, 1)};
        do {
            turn_choose(&turn, &memory, live, 2, &room);
            assert_int_equal(turn.kind, TURN_STAGE);
            *(turn.rows[0] == 1 ? &long_tokens : &short_tokens) += turn.rows[0] == 1 ? 100 : 30;
        } while (turn.rows[0] == 1);
    }
    assert_true(long_tokens > short_tokens / 2 && short_tokens > long_tokens / 8);
}

/* An answer that came first, with a short prompt, does not put all later prompts first. */
static void a_long_answer_leaves_a_long_prompt_its_share(void **state)
{
    (void)state;
    struct turn turn;
    struct turn_memory memory = {0};
    struct turn_candidate live[3] = {{.number = 1, .decodes = true, .served = 10},
                                     {.number = 2, .next_tokens = 100, .served = 100000}};
    int64_t long_stages = 0;
    for (uint64_t number = 3; number < 100; number++) {
        live[2] = (struct turn_candidate){
            .number = number, .next_tokens = 30, .served = turn_clock(live, 2)};
        do {
            turn_choose(&turn, &memory, live, 3, &room);
            long_stages += turn.kind == TURN_STAGE && turn.rows[0] == 2;
        } while (turn.kind != TURN_STAGE || turn.rows[0] == 2);
    }
    assert_true(long_stages > 20);
}

/* Rows beyond a step's room, and those whose products are split otherwise, go in the next. */
static void answers_that_do_not_fit_take_turns(void **state)
{
    (void)state;
    struct turn turn;
    struct turn_memory memory = {0};
    struct turn_candidate live[7] = {0};
    int counts[7] = {0};
    for (int c = 0; c < 7; c++)
        live[c] = (struct turn_candidate){.number = (uint64_t)c, .decodes = true, .split = c >= 5};
    for (int n = 0; n < 30; n++) {
        turn_choose(&turn, &memory, live, 7, &(struct turn_room){.step_rows = 3});
        assert_int_equal(turn.kind, TURN_STEP);
        assert_true(turn.row_count >= 1 && turn.row_count <= 3);
        for (int r = 0; r < turn.row_count; r++) {
            assert_int_equal(turn.rows[r] >= 5, turn.rows[0] >= 5);
            for (int other = 0; other < r; other++)
                assert_true(turn.rows[other] != turn.rows[r]);
            counts[turn.rows[r]]++;
        }
    }
    for (int c = 0; c < 7; c++)
        assert_true(counts[c] >= 9);
}

/* In the order in which they are next, as many as there is room for; a long one goes alone. */
static void short_prompts_share_a_stage(void **state)
{
    (void)state;
    struct turn turn;
    struct turn_memory memory = {0};
    struct turn_candidate live[] = {
        {.number = 1, .next_tokens = 40, .joins = true, .served = 3},
        {.number = 2, .next_tokens = 200, .joins = true, .served = 2},
        {.number = 3, .next_tokens = 50, .joins = true},
        {.number = 4, .next_tokens = 30},
        {.number = 5, .next_tokens = 30, .joins = true, .served = 1},
        {.number = 6, .next_tokens = 20, .joins = true, .served = 4},
        {.number = 7, .next_tokens = 1, .joins = true, .decodes = true},
    };
    memory.last = TURN_STEP;
    turn_choose(&turn, &memory, live, 7, &room);
    assert_int_equal(turn.kind, TURN_STAGE);
    assert_int_equal(turn.row_count, 3);
    assert_int_equal(turn.rows[0], 3);
    assert_int_equal(turn.rows[1], 5);
    assert_int_equal(turn.rows[2], 6);
    assert_int_equal(live[2].served, 50);
    assert_int_equal(live[4].served, 31);
    assert_int_equal(live[5].served, 24);
    for (int c = 0; c < 2; c++) { /* 4 is next, which joins nobody, then 2, which leaves no room */
        memory.last = TURN_STEP;
        live[3].decodes = c == 1;
        turn_choose(&turn, &memory, live, 7, &room);
        assert_int_equal(turn.kind, TURN_STAGE);
        assert_int_equal(turn.row_count, 1);
        assert_int_equal(turn.rows[0], c == 0 ? 4 : 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_done_where_nothing_is_there),
        cmocka_unit_test(stages_and_steps_alternate),
        cmocka_unit_test(prompts_share_by_tokens),
        cmocka_unit_test(a_long_answer_leaves_a_long_prompt_its_share),
        cmocka_unit_test(answers_that_do_not_fit_take_turns),
        cmocka_unit_test(short_prompts_share_a_stage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
