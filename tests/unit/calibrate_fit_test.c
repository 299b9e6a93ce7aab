/* Rates that follow from reports: those that made the reports come out again, none is below 0, and
 * what was not reported is named. */
#include "tests/support/unit.h"

#include "coordinator/cli/calibrate_fit.h"

enum { PREFILLS = 5, DECODES = 3 };

static const struct cost_table truth = {.linear_flops = 7e10,
                                        .attention_flops = 6e10,
                                        .edge_keys = 21,
                                        .layer_s = 3e-5,
                                        .stage_s = 2e-3,
                                        .logits_flops = 1e10,
                                        .memory_bytes = 1.2e10,
                                        .keys_bytes = 8e9,
                                        .token_s = 4e-4};

struct reports {
    struct calibrate_prefill prefills[PREFILLS];
    struct calibrate_decode decodes[DECODES];
};

static struct reports reports_of(const struct cost_table *table)
{
    struct reports made = {.prefills = {{0}}};
    double tokens = 256;
    for (int p = 0; p < PREFILLS; p++, tokens *= 2) {
        const double pair = 4 * 576 * 30, row = 2.1e8;
        made.prefills[p] = (struct calibrate_prefill){
            .rows_flops = tokens * row,
            .pair_flops = tokens * tokens / 2 * pair,
            .edge_flops = (p == 2 ? 3 : 1) * tokens * pair,
            .layers = 30,
            .stages = 1,
            .logits_flops = p == 1 ? 0 : 5.6e7,
        };
        struct calibrate_prefill *one = &made.prefills[p];
        one->rows_s = one->rows_flops / table->linear_flops + 30 * table->layer_s;
        one->attend_s =
            (one->pair_flops + table->edge_keys * one->edge_flops) / table->attention_flops;
        one->logits_s = one->logits_flops / table->logits_flops;
        one->beside_s = table->stage_s;
    }
    for (int d = 0; d < DECODES; d++) {
        made.decodes[d] =
            (struct calibrate_decode){.weights_bytes = 9e7, .keys_bytes = 1e6 * (1 + 7 * d)};
        struct calibrate_decode *one = &made.decodes[d];
        one->weights_s = one->weights_bytes / table->memory_bytes;
        one->keys_s = one->keys_bytes / table->keys_bytes + 1e-5;
        one->token_s = one->weights_s + one->keys_bytes / table->keys_bytes + table->token_s;
    }
    return made;
}

static void rates_that_made_the_reports_come_out_again(void **state)
{
    (void)state;
    const struct reports made = reports_of(&truth);
    struct cost_table table = {.load_bytes = 5, .within = {1, 2, 3}};
    assert_int_equal(calibrate_fit(&table, made.prefills, PREFILLS, made.decodes, DECODES),
                     STATUS_OK);
    const double got[] = {table.linear_flops, table.attention_flops, table.edge_keys,
                          table.layer_s,      table.stage_s,         table.logits_flops,
                          table.memory_bytes, table.keys_bytes,      table.token_s};
    const double wanted[] = {truth.linear_flops, truth.attention_flops, truth.edge_keys,
                             truth.layer_s,      truth.stage_s,         truth.logits_flops,
                             truth.memory_bytes, truth.keys_bytes,      truth.token_s};
    for (size_t i = 0; i < sizeof got / sizeof got[0]; i++)
        if (!(got[i] > wanted[i] * (1 - 1e-6) && got[i] < wanted[i] * (1 + 1e-6)))
            fail_msg("rate %zu: %.17g, and %.17g was meant", i, got[i], wanted[i]);
    assert_true(table.load_bytes == 5 && table.within.latency_s == 2);
}

/* Short prompts that took less than their share: what is left over would be below 0. */
static void no_rate_is_below_0(void **state)
{
    (void)state;
    struct cost_table odd = truth, table = {.load_bytes = 1};
    odd.layer_s = -2e-5;
    odd.edge_keys = -3;
    odd.stage_s = odd.token_s = -1e-4;
    const struct reports made = reports_of(&odd);
    assert_int_equal(calibrate_fit(&table, made.prefills, PREFILLS, made.decodes, DECODES),
                     STATUS_OK);
    assert_true(table.layer_s == 0 && table.edge_keys == 0);
    assert_true(table.stage_s == 0 && table.token_s == 0);
    assert_true(table.linear_flops > truth.linear_flops && table.attention_flops > 0);
}

/* As of GPUs, where parts run asynchronously. */
static void what_was_not_reported_is_named(void **state)
{
    (void)state;
    static const char *const names[] = {"products", "attention", "logits", "decoded tokens"};
    for (int missing = 0; missing < 4; missing++) {
        struct reports made = reports_of(&truth);
        struct cost_table table = {.load_bytes = 7};
        for (int p = 0; p < PREFILLS; p++) {
            made.prefills[p].rows_s *= missing != 0;
            made.prefills[p].attend_s *= missing != 1;
            made.prefills[p].logits_s *= missing != 2;
        }
        for (int d = 0; d < DECODES; d++)
            made.decodes[d].weights_s *= missing != 3;
        assert_int_equal(calibrate_fit(&table, made.prefills, PREFILLS, made.decodes, DECODES),
                         STATUS_INVALID_ARGUMENT);
        assert_non_null(strstr(status_message(), names[missing]));
        assert_true(table.load_bytes == 7 && table.linear_flops == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_that_made_the_reports_come_out_again),
        cmocka_unit_test(no_rate_is_below_0),
        cmocka_unit_test(what_was_not_reported_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
