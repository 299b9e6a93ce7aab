/* From what prompts show of workers to the weights of their shards, and to who is named as slow. */
#include "tests/support/unit.h"

#include <math.h>
#include <string.h>

#include "coordinator/worker_speeds.h"

enum { WORKERS = 3 };

struct group {
    struct worker_speed speeds[WORKERS];
    struct partition_weights weights;
};

/* FLOPs of the worker that gets most. */
static double work = 8e9;

/* A prompt shared out by the group's weights, on workers of these speeds. */
static void run(struct group *group, const double speeds[WORKERS], double slowness[WORKERS])
{
    double flops[WORKERS], seconds[WORKERS];
    const struct worker_speeds_run shown = {flops, seconds, WORKERS, 1};
    for (int r = 0; r < WORKERS; r++) {
        flops[r] = work * partition_weights_share(&group->weights, r);
        seconds[r] = speeds[r] > 0 ? flops[r] / speeds[r] : 0;
    }
    worker_speeds_slowness(slowness, &shown, &group->weights);
    worker_speeds_note(group->speeds, &shown);
    worker_speeds_weigh(&group->weights, group->speeds, WORKERS);
}

/* As many prompts as it takes until weights follow them. */
static void run_all(struct group *group, const double speeds[WORKERS], double slowness[WORKERS])
{
    for (int p = 0; p < WORKER_SPEEDS_PROMPTS; p++)
        run(group, speeds, slowness);
}

static void expect(const struct group *group, int first, int second, int third)
{
    const int wanted[] = {first, second, third};
    if (first == second && second == third) {
        assert_int_equal(group->weights.count, 0);
        return;
    }
    assert_int_equal(group->weights.count, WORKERS);
    for (int r = 0; r < WORKERS; r++)
        assert_int_equal(group->weights.parts[r], wanted[r]);
}

static void a_worker_half_as_fast_gets_half(void **state)
{
    (void)state;
    const double speeds[] = {2e9, 1e9, 2e9};
    struct group group = {.weights.count = 0};
    double slowness[WORKERS];
    for (int p = 1; p < WORKER_SPEEDS_PROMPTS; p++) {
        run(&group, speeds, slowness);
        expect(&group, 16, 16, 16);
        assert_true(fabs(slowness[1] - 2) < 1e-9 && fabs(slowness[0] - 1) < 0.51);
    }
    run(&group, speeds, slowness);
    expect(&group, 16, 8, 16);
    /* Shared out so, it is no straggler any more. */
    for (int n = 0; n < 3; n++) {
        run(&group, speeds, slowness);
        expect(&group, 16, 8, 16);
        for (int r = 0; r < WORKERS; r++)
            assert_true(fabs(slowness[r] - 1) < 1e-9);
    }
}

static void noise_and_slow_prompts_between_others_change_nothing(void **state)
{
    (void)state;
    struct group group = {.weights.count = 0};
    double slowness[WORKERS];
    for (int n = 0; n < 20; n++) {
        const double speeds[] = {2e9 * (1 - 0.01 * (n % 7)), 2e9 * (1 - 0.02 * (n % 5)), 2e9};
        run(&group, speeds, slowness);
        expect(&group, 16, 16, 16);
    }
    const double hiccup[] = {2e9, 0.5e9, 2e9}, usual[] = {2e9, 2e9, 2e9};
    for (int n = 0; n < 5; n++) {
        for (int p = 1; p < WORKER_SPEEDS_PROMPTS; p++) {
            run(&group, hiccup, slowness);
            assert_true(slowness[1] >= WORKER_SPEEDS_SLOW); /* it is named all the same */
            assert_true(slowness[0] < WORKER_SPEEDS_SLOW && slowness[2] < WORKER_SPEEDS_SLOW);
            expect(&group, 16, 16, 16);
        }
        run(&group, usual, slowness);
        expect(&group, 16, 16, 16);
    }
}

static void a_worker_is_weighed_from_where_it_is_called_slow(void **state)
{
    (void)state;
    const double nearly[] = {2e9, 2e9 / (WORKER_SPEEDS_SLOW - 0.01), 2e9},
                 slow[] = {2e9, 2e9 / (WORKER_SPEEDS_SLOW + 0.01), 2e9};
    struct group group = {.weights.count = 0};
    double slowness[WORKERS];
    run_all(&group, nearly, slowness);
    expect(&group, 16, 16, 16);
    run_all(&group, slow, slowness);
    expect(&group, 16, 12, 16);
}

static void weights_in_use_stay_until_they_are_far_off(void **state)
{
    (void)state;
    const double half[] = {2e9, 1e9, 2e9}, nearly[] = {2e9, 1.1e9, 1.95e9},
                 well[] = {2e9, 2e9, 2e9};
    struct group group = {.weights.count = 0};
    double slowness[WORKERS];
    run_all(&group, half, slowness);
    run_all(&group, nearly, slowness);
    expect(&group, 16, 8, 16);
    /* One prompt shows that it can be as fast as others. */
    run(&group, well, slowness);
    expect(&group, 16, 16, 16);
}

static void a_straggler_is_measured_against_its_share(void **state)
{
    (void)state;
    const double speeds[] = {2e9, 0.5e9, 2e9};
    struct group group = {.weights = {WORKERS, {16, 8, 16}}};
    double slowness[WORKERS];
    run(&group, speeds, slowness);
    assert_true(fabs(slowness[1] - 2) < 1e-9);
    assert_true(slowness[0] <= 1 && slowness[2] <= 1);
}

static void what_was_not_measured_says_nothing(void **state)
{
    (void)state;
    const double speeds[] = {2e9, 0, 2e9}; /* as on GPUs */
    struct group group = {.weights.count = 0};
    double slowness[WORKERS] = {7, 7, 7};
    run_all(&group, speeds, slowness);
    expect(&group, 16, 16, 16);
    for (int r = 0; r < WORKERS; r++)
        assert_true(slowness[r] == 0);
}

static void short_prompts_say_nothing(void **state)
{
    (void)state;
    const double speeds[] = {2e9, 1e9, 2e9};
    struct group group = {.weights.count = 0};
    double slowness[WORKERS];
    const double usual = work;
    work = 0.95 * WORKER_SPEEDS_MEASURED_S * speeds[1];
    run_all(&group, speeds, slowness);
    expect(&group, 16, 16, 16);
    assert_true(slowness[1] == 0);
    work = usual;
    run_all(&group, speeds, slowness);
    expect(&group, 16, 8, 16);
}

static void given_weights_are_read(void **state)
{
    (void)state;
    struct partition_weights weights = {WORKERS, {16, 8, 16}};
    assert_int_equal(worker_speeds_read(&weights, "auto", WORKERS), STATUS_OK);
    assert_int_equal(weights.parts[1], 8);
    assert_int_equal(worker_speeds_read(&weights, "2,1,255", WORKERS), STATUS_OK);
    assert_int_equal(weights.count, 3);
    assert_int_equal(weights.parts[0], 2);
    assert_int_equal(weights.parts[1], 1);
    assert_int_equal(weights.parts[2], 255);
    static const char *const wrong[] = {"",        "2,1",   "2,1,1,1", "2,0,1",
                                        "2,1,256", "2,1,x", "2,,1",    "2,1,1,"};
    for (size_t w = 0; w < sizeof wrong / sizeof wrong[0]; w++)
        assert_int_equal(worker_speeds_read(&weights, wrong[w], WORKERS), STATUS_INVALID_ARGUMENT);
    assert_int_equal(weights.parts[0], 2);
    /* Before it is known how many there will be. */
    assert_int_equal(worker_speeds_read(&weights, "7,1", 0), STATUS_OK);
    assert_int_equal(weights.count, 2);
    assert_int_equal(worker_speeds_read(&weights, "2,x", 0), STATUS_INVALID_ARGUMENT);
    assert_int_equal(worker_speeds_read(&weights, "even", WORKERS), STATUS_OK);
    assert_int_equal(weights.count, 0);
}

/* Of four ranks each two are one worker, whose part they have. */
static void the_places_of_a_tensor_axis_have_one_part(void **state)
{
    (void)state;
    const struct partition_weights weights = {2, {16, 8}};
    const double flops[] = {8e9, 8e9, 4e9, 4e9}, seconds[] = {4, 4, 4, 4};
    const struct worker_speeds_run shown = {flops, seconds, 4, 2};
    double slowness[4];
    worker_speeds_slowness(slowness, &shown, &weights);
    for (int r = 0; r < 4; r++)
        assert_true(fabs(slowness[r] - 1) < 1e-9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_worker_half_as_fast_gets_half),
        cmocka_unit_test(the_places_of_a_tensor_axis_have_one_part),
        cmocka_unit_test(noise_and_slow_prompts_between_others_change_nothing),
        cmocka_unit_test(a_worker_is_weighed_from_where_it_is_called_slow),
        cmocka_unit_test(weights_in_use_stay_until_they_are_far_off),
        cmocka_unit_test(a_straggler_is_measured_against_its_share),
        cmocka_unit_test(what_was_not_measured_says_nothing),
        cmocka_unit_test(short_prompts_say_nothing),
        cmocka_unit_test(given_weights_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
