/* Plans of 1,024 workers are made in under a second of processor time: chosen and forecast, on a
 * group that cuts prompts into stages for the sake of others, which takes most of it. */
#include "tests/support/unit.h"

#include <time.h>

#include "coordinator/planner.h"
#include "proto/plan/memory_plan.h"

enum { WORKERS = 1024, TOKENS = 10000000, ANSWER = 256 };

static const char *const methods[] = {"rope", "string:shift=43253,local=128", "lm_infinite", "dca"};

static double processor_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static struct workers_facts facts_of(void)
{
    struct group_choice group = group_choice_usual(WORKERS);
    memory_group_size(&group, 32, TOKENS + ANSWER);
    return (struct workers_facts){
        .size = WORKERS,
        .threads = 64,
        .kernels = "avx512_bf16",
        .cache = CHOICE_CACHE_BF16,
        .weights_bytes = INT64_C(16060522496),
        .longest_tokens = TOKENS + ANSWER,
        .stage_rows = group.stage_rows,
        .step_rows = group.step_rows,
        .pool_slots = 1 << 20,
        .places = group.sequences,
    };
}

static void a_plan_of_1024_workers_takes_less_than_a_second(void **state)
{
    (void)state;
    const struct workers_facts facts = facts_of();
    for (size_t m = 0; m < sizeof methods / sizeof methods[0]; m++) {
        const struct planner planner = {
            .defaults = {.method = methods[m], .context_tokens = TOKENS + ANSWER},
            .shape = {.layers = 32,
                      .hidden = 4096,
                      .heads = 32,
                      .kv_heads = 8,
                      .head_dim = 128,
                      .ffn = 14336,
                      .vocab = 128256,
                      .trained_tokens = 131072},
        };
        const struct planner_request request = {.prompt_tokens = TOKENS, .max_tokens = ANSWER};
        struct status_details details = {0};
        struct planner_forecast forecast;
        struct choice choice;
        const double begun = processor_seconds();
        assert_int_equal(planner_choose(&planner, &choice, &details, &facts, &request), STATUS_OK);
        assert_int_equal(planner_forecast(&planner, &forecast, &choice, &facts, TOKENS, NULL),
                         STATUS_OK);
        const double seconds = processor_seconds() - begun;
        print_message("%s: %.3f s, %d stages\n", methods[m], seconds, forecast.stages);
        assert_true(forecast.stages >= 16); /* in one stage it takes less */
        assert_true(seconds < 1.0);
        planner_forecast_deinit(&forecast);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plan_of_1024_workers_takes_less_than_a_second),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
