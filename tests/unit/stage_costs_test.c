/* FLOPs and bytes of a prompt's stages, held against a count pair by pair: layers with a window,
 * heads with one, and both. */
#include "tests/support/unit.h"

#include "proto/plan/sight.h"
#include "proto/plan/stage_costs.h"
#include "tests/support/plan_methods.h"

enum { WORKERS_MOST = 3, TOKENS = 45 };

static const struct model_shape shape = {.layers = 5,
                                         .hidden = 12,
                                         .heads = 8,
                                         .kv_heads = 4,
                                         .head_dim = 6,
                                         .ffn = 20,
                                         .window = {.tokens = 9, .layers = {0x0b}}};

struct counted {
    double flops;
    int64_t received_bytes;
};

/* By definition: streaming heads are the last ones. */
static bool head_sees(int64_t i, int64_t j, int layer, int head, int streaming)
{
    enum { NEAR = 5, SINKS = 2 };
    const bool within = !(shape.window.layers[0] >> layer & 1) || i - j < shape.window.tokens;
    return j <= i && within && (head < shape.kv_heads - streaming || i - j < NEAR || j < SINKS);
}

/* Of the whole prompt, on all workers. */
static double flops_by_definition(int streaming)
{
    const double products = 2.0 * 5 * ((12 * (8 + 2 * 4) * 6) + 8 * 6 * 12 + 3 * 12 * 20) * TOKENS;
    int64_t pairs = 0; /* of query heads */
    for (int layer = 0; layer < shape.layers; layer++)
        for (int head = 0; head < shape.kv_heads; head++)
            for (int64_t i = 0; i < TOKENS; i++)
                for (int64_t j = 0; j <= i; j++)
                    pairs += 2 * head_sees(i, j, layer, head, streaming);
    return products + (double)pairs * 4 * 6;
}

static struct counted count(const char *method, int workers, int64_t stage_tokens,
                            enum choice_queries queries)
{
    const struct choice choice = {.request.method = plan_methods_parse(method),
                                  .request.context_tokens = TOKENS,
                                  .request.stage_tokens = stage_tokens,
                                  .request.queries = queries,
                                  .group.workers = workers,
                                  .group.panel_tokens = 4,
                                  .group.block_tokens = 8,
                                  .group.receive_slots = 1,
                                  .group.kernels = "reference"};
    const struct cost_table table = cost_table_default();
    struct stage_costs *stages;
    struct counted sum = {0};
    assert_int_equal(stage_costs_create(&stages, &choice, &shape, &table), STATUS_OK);
    for (int64_t done = 0; done < TOKENS;) {
        const struct span stage = choice_stage(&choice, done, TOKENS);
        const struct cost *costs;
        assert_int_equal(stage_costs_next(stages, &costs, stage), STATUS_OK);
        for (int r = 0; r < workers; r++) {
            sum.flops += costs[r].flops;
            sum.received_bytes += costs[r].received_bytes;
        }
        done = stage.end;
    }
    stage_costs_destroy(stages);
    return sum;
}

static void every_pair_is_counted_for_the_heads_and_layers_that_see_it(void **state)
{
    (void)state;
    static const char *const methods[] = {"rope", "streaming_heads:heads=1,window=5,sinks=2",
                                          "streaming_heads:heads=2,window=5,sinks=2",
                                          "streaming_heads:heads=3,window=5,sinks=2",
                                          "streaming_heads:heads=4,window=5,sinks=2"};
    for (int streaming = 0; streaming <= shape.kv_heads; streaming++)
        for (int workers = 1; workers <= WORKERS_MOST; workers++)
            for (int64_t stage = 0; stage <= TOKENS; stage += 7)
                assert_float_equal(count(methods[streaming], workers, stage, CHOICE_SHARDED).flops,
                                   flops_by_definition(streaming), 1e-6);
}

/* Where queries are replicated every worker computes the products of all rows, and each pair is
 * still computed once. */
static void replicated_queries_share_out_their_pairs(void **state)
{
    (void)state;
    const char *const method = "streaming_heads:heads=3,window=5,sinks=2";
    const double alone = count(method, 1, 7, CHOICE_REPLICATED).flops;
    const double products = 2.0 * 5 * ((12 * (8 + 2 * 4) * 6) + 8 * 6 * 12 + 3 * 12 * 20) * TOKENS;
    assert_float_equal(alone, flops_by_definition(3), 1e-6);
    for (int workers = 2; workers <= WORKERS_MOST; workers++)
        assert_float_equal(count(method, workers, 7, CHOICE_REPLICATED).flops,
                           alone + (workers - 1) * products, 1e-6);
}

/* All heads of a panel travel together. */
static void what_travels_does_not_depend_on_the_heads(void **state)
{
    (void)state;
    for (int workers = 2; workers <= WORKERS_MOST; workers++)
        assert_int_equal(
            count("streaming_heads:heads=3,window=5", workers, 7, CHOICE_SHARDED).received_bytes,
            count("rope", workers, 7, CHOICE_SHARDED).received_bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pair_is_counted_for_the_heads_and_layers_that_see_it),
        cmocka_unit_test(replicated_queries_share_out_their_pairs),
        cmocka_unit_test(what_travels_does_not_depend_on_the_heads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
