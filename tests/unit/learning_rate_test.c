/* The learning rate of each step. */
#include "tests/support/unit.h"

#include "worker/trainer/learning_rate.h"

static void expect(const struct learning_rate *schedule, int64_t step, double rate)
{
    const double got = learning_rate_at(schedule, step);
    if (!(got > rate - 1e-15 && got < rate + 1e-15))
        fail_msg("step %lld has %.17g, not %.17g", (long long)step, got, rate);
}

static void it_rises_in_a_line_to_the_rate(void **state)
{
    (void)state;
    const struct learning_rate schedule = {0.5, 0, 4, 100, LEARNING_RATE_COSINE};
    for (int64_t step = 1; step <= 4; step++)
        expect(&schedule, step, 0.125 * (double)step);
}

static void it_falls_as_the_decay_says_to_the_final_part(void **state)
{
    (void)state;
    struct learning_rate schedule = {1, 0.25, 10, 110, LEARNING_RATE_CONSTANT};
    expect(&schedule, 110, 1);
    schedule.decay = LEARNING_RATE_LINEAR;
    expect(&schedule, 60, 0.625);
    expect(&schedule, 110, 0.25);
    expect(&schedule, 500, 0.25);
    schedule.decay = LEARNING_RATE_COSINE;
    expect(&schedule, 10, 1);
    expect(&schedule, 60, 0.625);
    expect(&schedule, 35, 0.25 + 0.75 * (1 + 0.70710678118654752) / 2);
    expect(&schedule, 110, 0.25);
}

static void a_run_may_be_all_warm_up_or_have_none(void **state)
{
    (void)state;
    const struct learning_rate all = {2, 0, 4, 4, LEARNING_RATE_LINEAR};
    const struct learning_rate none = {2, 0.5, 0, 4, LEARNING_RATE_LINEAR};
    expect(&all, 4, 2);
    expect(&all, 5, 0);
    expect(&none, 1, 1.75);
    expect(&none, 4, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_rises_in_a_line_to_the_rate),
        cmocka_unit_test(it_falls_as_the_decay_says_to_the_final_part),
        cmocka_unit_test(a_run_may_be_all_warm_up_or_have_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
