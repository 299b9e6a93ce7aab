/* What a step of training takes. */
#include "tests/support/unit.h"

#include <math.h>

#include "proto/plan/train_plan.h"

static const struct model_shape shape = {
    .layers = 3, .hidden = 10, .heads = 4, .kv_heads = 2, .head_dim = 5, .ffn = 7, .vocab = 100};

static struct train_plan plan_of(struct mesh mesh, int64_t batch, int64_t tokens, bool recompute)
{
    struct train_plan plan;
    train_plan_make(&plan, &(struct train_plan_request){.shape = &shape,
                                                        .parameters = 4000,
                                                        .mesh = mesh,
                                                        .batch = batch,
                                                        .sample_tokens = tokens,
                                                        .recompute = recompute,
                                                        .optimiser_bytes = 30,
                                                        .pass_bytes = 5,
                                                        .product_rate = 1e6});
    return plan;
}

/* Weights of a layer: 10 x (2 x 20 + 2 x 10) + 3 x 10 x 7 = 810; of the output 1000. */
static void operations_are_counted_by_weight_and_by_pair(void **state)
{
    (void)state;
    const struct mesh one = {1, 1, 1};
    struct train_plan plan = plan_of(one, 1, 2, false);
    assert_true(plan.products_flops == 2 * 6 * (3 * 810 + 1000.0));
    assert_true(plan.attention_flops == 3 * 3 * 4 * 5 * 14.0); /* 3 pairs, 3 layers, 4 heads */
    plan = plan_of(one, 1, 2, true);
    assert_true(plan.products_flops == 2 * (8 * 3 * 810 + 6 * 1000.0));
    assert_true(plan.attention_flops == 3 * 3 * 4 * 5 * 18.0);
    plan = plan_of(one, 7, 2, false);
    assert_true(plan.products_flops == 7 * 2 * 6 * (3 * 810 + 1000.0));
}

static void ranks_share_the_arithmetic_and_not_the_weights(void **state)
{
    (void)state;
    const struct train_plan one = plan_of((struct mesh){1, 1, 1}, 6, 8, true);
    const struct train_plan two = plan_of((struct mesh){1, 2, 1}, 6, 8, true);
    const struct train_plan four = plan_of((struct mesh){4, 1, 1}, 6, 8, true);
    assert_int_equal(one.rank_bytes, 2 * 16000 + 35);
    assert_int_equal(two.rank_bytes, one.rank_bytes);
    assert_int_equal(one.exchange_bytes, 0);
    assert_int_equal(two.exchange_bytes, 16000);
    assert_int_equal(four.exchange_bytes, 24000);
    assert_true(one.step_seconds == (one.products_flops + one.attention_flops) / 1e6);
    assert_true(two.step_seconds == one.step_seconds / 2);
    /* The fullest has two of six. */
    assert_true(fabs(four.step_seconds * 3 / one.step_seconds - 1) < 1e-14);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operations_are_counted_by_weight_and_by_pair),
        cmocka_unit_test(ranks_share_the_arithmetic_and_not_the_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
