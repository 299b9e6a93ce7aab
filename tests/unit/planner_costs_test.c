/* What the planner makes of measured rates and links: seconds by part, decisions that turn where
 * the numbers do, and why. */
#include "tests/support/unit.h"

#include <math.h>

#include "coordinator/plan_reasons.h"
#include "coordinator/planner.h"

enum { LONGEST = 32768 };

/* SmolLM2-135M. */
static struct planner planner = {
    .defaults = {.method = "rope", .context_tokens = LONGEST},
    .shape = {.layers = 30,
              .hidden = 576,
              .heads = 9,
              .kv_heads = 3,
              .head_dim = 64,
              .ffn = 1536,
              .vocab = 49152,
              .trained_tokens = 8192},
};

static const struct cost_file measured = {
    .measured = "2026-11-30T19:00:00Z",
    .cpu = "a processor",
    .model = "m.gguf",
    .rates = {.kernels = "avx2",
              .rows = {{1,
                        {.linear_flops = 7e10,
                         .attention_flops = 6e10,
                         .edge_keys = 20,
                         .layer_s = 2e-5,
                         .stage_s = 1e-3,
                         .logits_flops = 1e10,
                         .memory_bytes = 1.2e10,
                         .keys_bytes = 8e9,
                         .token_s = 2e-4,
                         .load_bytes = 1e8}}},
              .count = 1},
};

static struct workers_facts facts_of(int workers)
{
    return (struct workers_facts){
        .size = workers,
        .threads = 1,
        .kernels = "avx2",
        .cache = CHOICE_CACHE_BF16,
        .weights_bytes = 101000000,
        .within = {5e9, 1e-6, 1e-7},
        .host_ranks = workers,
        .places = 1,
        .shared_memory_bus = workers > 1,
    };
}

static struct planner_forecast forecast(const struct workers_facts *facts, const char *method,
                                        int64_t tokens)
{
    const struct planner_request request = {.prompt_tokens = tokens, .max_tokens = 100};
    struct planner_forecast made;
    struct status_details details = {0};
    struct choice choice;
    planner.defaults.method = method;
    if (planner_choose(&planner, &choice, &details, facts, &request) != STATUS_OK ||
        planner_forecast(&planner, &made, &choice, facts, tokens, NULL) != STATUS_OK)
        fail_msg("%s", status_message());
    planner_forecast_deinit(&made);
    planner.defaults.method = "rope";
    return made;
}

static const char *const methods[] = {"rope", "string:shift=2000,local=128",
                                      "lm_infinite:window=2048,sinks=4",
                                      "self_extend:group=4,window=1024"};

static void parts_make_the_whole_and_every_slower_rate_makes_it_longer(void **state)
{
    (void)state;
    struct cost_file slower = measured;
    struct cost_table *table = &slower.rates.rows[0].table;
    double *const rates[] = {&table->linear_flops, &table->attention_flops, &table->logits_flops};
    double *const costs[] = {&table->edge_keys, &table->layer_s, &table->stage_s};
    for (size_t m = 0; m < sizeof methods / sizeof methods[0]; m++)
        for (int workers = 1; workers <= 4; workers *= 2)
            for (int64_t tokens = 512; tokens < LONGEST; tokens *= 8) {
                const struct workers_facts facts = facts_of(workers);
                planner.defaults.costs = &measured;
                const struct planner_forecast before = forecast(&facts, methods[m], tokens);
                double sum = 0;
                for (int p = 0; p < PLANNER_PARTS; p++) {
                    assert_true(before.parts[p] >= -1e-12);
                    sum += before.parts[p];
                }
                assert_float_equal(sum, before.seconds, 1e-9 * before.seconds);
                planner.defaults.costs = &slower;
                for (int r = 0; r < 3; r++) {
                    *rates[r] /= 2;
                    assert_true(forecast(&facts, methods[m], tokens).seconds > before.seconds);
                    *table = measured.rates.rows[0].table;
                    *costs[r] *= 3;
                    assert_true(forecast(&facts, methods[m], tokens).seconds > before.seconds);
                    *table = measured.rates.rows[0].table;
                }
            }
    planner.defaults.costs = NULL;
}

static void a_longer_prompt_takes_longer(void **state)
{
    (void)state;
    planner.defaults.costs = &measured;
    for (size_t m = 0; m < sizeof methods / sizeof methods[0]; m++)
        for (int workers = 1; workers <= 4; workers++) {
            const struct workers_facts facts = facts_of(workers);
            double before = 0, token = 0;
            for (int64_t tokens = 256; tokens < LONGEST; tokens *= 2) {
                const struct planner_forecast made = forecast(&facts, methods[m], tokens);
                if (!(made.seconds > before))
                    fail_msg("%s, %d workers, %lld tokens: %g s after %g s", methods[m], workers,
                             (long long)tokens, made.seconds, before);
                assert_true(made.token_seconds >= token);
                before = made.seconds;
                token = made.token_seconds;
            }
        }
    planner.defaults.costs = NULL;
}

/* A link of 10 Mbit/s with 50 ms: what travels takes its time, whatever the arithmetic. */
static void a_slow_link_is_foretold(void **state)
{
    (void)state;
    planner.defaults.costs = &measured;
    struct workers_facts facts = facts_of(2);
    const double quick = forecast(&facts, "rope", 8000).seconds;
    facts.host_ranks = 1;
    facts.shared_memory_bus = false;
    facts.between = (struct cost_link){1.25e6, 50e-3, 1e-3};
    const struct planner_forecast slow = forecast(&facts, "rope", 8000);
    assert_true(slow.seconds > 90e6 / 1.25e6); /* 91 MB to the worker that receives most */
    /* Arithmetic hides no more of it than it takes itself. */
    const double computed = slow.seconds - slow.parts[PLANNER_EXCHANGE];
    assert_true(computed >= quick * 0.99 && computed < 2 * quick);
    assert_true(slow.parts[PLANNER_EXCHANGE] > 90e6 / 1.25e6 - computed);
    /* Its ranks on one host use the other link. */
    facts.host_ranks = 2;
    assert_float_equal(forecast(&facts, "rope", 8000).seconds, quick, 1e-9);
    planner.defaults.costs = NULL;
}

static unsigned split_of(const struct workers_facts *facts)
{
    const struct planner_request request = {.prompt_tokens = 4000, .max_tokens = 100};
    struct planner_weighed weighed;
    struct status_details details = {0};
    assert_int_equal(planner_weigh(&planner, &weighed, &details, facts, &request), STATUS_OK);
    return weighed.choice.request.decode_split;
}

static void products_of_an_answer_are_split_where_the_link_is_quick(void **state)
{
    (void)state;
    planner.defaults.costs = &measured;
    struct workers_facts facts = facts_of(2);
    assert_int_not_equal(split_of(&facts), 0); /* one host, one memory */
    facts.host_ranks = 1;
    facts.between = (struct cost_link){1e9, 1e-6, 0};
    assert_int_not_equal(split_of(&facts), 0);
    facts.between.latency_s = 5e-3;
    assert_int_equal(split_of(&facts), 0);
    /* Also where each host has several. */
    facts.size = 4;
    facts.host_ranks = 2;
    assert_int_equal(split_of(&facts), 0);
    planner.defaults.costs = NULL;
}

static struct plan_reasons reasons_of(const struct workers_facts *facts, const char *method)
{
    const struct planner_request request = {.prompt_tokens = 4000, .max_tokens = 100};
    struct planner_weighed weighed;
    struct status_details details = {0};
    struct plan_reasons reasons;
    planner.defaults.method = method;
    assert_int_equal(planner_weigh(&planner, &weighed, &details, facts, &request), STATUS_OK);
    plan_reasons_tell(&reasons, &weighed, planner.defaults.costs);
    planner.defaults.method = "rope";
    return reasons;
}

static void told(const struct plan_reasons *reasons, int line, const char *words)
{
    assert_true(line < reasons->count);
    if (!strstr(reasons->lines[line], words))
        fail_msg("\"%s\" does not say \"%s\"", reasons->lines[line], words);
}

static void a_plan_says_why_with_the_seconds_it_weighed(void **state)
{
    (void)state;
    struct workers_facts facts = facts_of(2);
    struct plan_reasons reasons = reasons_of(&facts, "rope");
    told(&reasons, 0, "zigzag shards because they are faster: ");
    told(&reasons, 0, " s against ");
    told(&reasons, 1, "gather schedule because");
    told(&reasons, 2, "one stage because no other answer waits");
    told(&reasons, 3, "split because workers share a host's memory");
    told(&reasons, 4, "by estimates of the kernels avx2");
    planner.defaults.costs = &measured;
    reasons = reasons_of(&facts, "lm_infinite:window=1024,sinks=4");
    told(&reasons, 0, "contiguous shards");
    told(&reasons, 1, "halo schedule because keys are seen from a limited distance");
    told(&reasons, 4, "measured 2026-11-30T19:00:00Z on a processor with m.gguf");
    facts = facts_of(1);
    reasons = reasons_of(&facts, "rope");
    assert_int_equal(reasons.count, 2);
    told(&reasons, 0, "one stage");
    planner.defaults.costs = NULL;
}

/* Rates of other kernels are no rates of these. */
static void rates_of_other_kernels_are_left_alone(void **state)
{
    (void)state;
    struct workers_facts facts = facts_of(1);
    const double estimated = forecast(&facts, "rope", 4000).seconds;
    planner.defaults.costs = &measured;
    assert_true(forecast(&facts, "rope", 4000).seconds != estimated);
    struct cost_file other = measured;
    snprintf(other.rates.kernels, sizeof other.rates.kernels, "avx512");
    planner.defaults.costs = &other;
    assert_true(forecast(&facts, "rope", 4000).seconds == estimated);
    const struct plan_reasons reasons = reasons_of(&facts, "rope");
    told(&reasons, 1, "by estimates of the kernels avx2");
    planner.defaults.costs = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_make_the_whole_and_every_slower_rate_makes_it_longer),
        cmocka_unit_test(a_longer_prompt_takes_longer),
        cmocka_unit_test(a_slow_link_is_foretold),
        cmocka_unit_test(products_of_an_answer_are_split_where_the_link_is_quick),
        cmocka_unit_test(a_plan_says_why_with_the_seconds_it_weighed),
        cmocka_unit_test(rates_of_other_kernels_are_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
