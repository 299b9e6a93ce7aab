/* Simulated stages: bounds that hold for any schedule, and cases that can be worked out by hand. */
#include "tests/support/unit.h"

#include <math.h>

#include "proto/plan/simulate_prompt.h"
#include "tests/support/plan_methods.h"

static const char *const methods[] = {
    "rope",
    "string:shift=7,local=3",
    "lm_infinite:window=9,sinks=0",
    "lm_infinite:window=20,sinks=4",
};

static const struct model_shape small_shape = {
    .layers = 6, .hidden = 16, .heads = 4, .kv_heads = 2, .head_dim = 8, .ffn = 32};

static struct choice small_choice(const char *method, int workers, int64_t tokens)
{
    return (struct choice){.request.method = plan_methods_parse(method),
                           .request.context_tokens = tokens,
                           .group.workers = workers,
                           .group.panel_tokens = 4,
                           .group.block_tokens = 8,
                           .group.receive_slots = workers,
                           .group.kernels = "reference"};
}

static struct simulate_machine small_machine(void)
{
    return (struct simulate_machine){.linear_flops = 1e9,
                                     .attention_flops = 1e9,
                                     .memory_bytes = 1e9,
                                     .links = {.host = {1e8, 1e-6, 1e-7},
                                               .network = {1e7, 1e-5, 1e-6},
                                               .ranks_per_host = 2,
                                               .ranks_per_network_card = 2},
                                     .call_s = 1e-6,
                                     .state_passes = 2,
                                     .pieces = 1};
}

static void assert_near(double found, double expected, double tolerance)
{
    if (!(fabs(found - expected) <= tolerance))
        fail_msg("%.12g s, must be %.12g", found, expected);
}

/* What bounds a stage: no rank is done before it has computed and received all, and where all work
 * and all messages came one after the other it would be over. */
struct bounds {
    double least, most;
};

static struct bounds bounds_of(const struct schedule *schedule, const struct choice *choice,
                               const struct model_shape *shape,
                               const struct simulate_machine *machine)
{
    const struct cost_table table = {.linear_flops = machine->linear_flops,
                                     .attention_flops = machine->attention_flops};
    const double state_seconds =
        machine->state_passes * (double)cost_state_bytes(shape) / machine->memory_bytes;
    struct bounds bounds = {0};
    for (int r = 0; r < schedule->workers; r++) {
        const struct schedule_rank *rank = &schedule->ranks[r];
        struct cost cost;
        cost_rank(&cost, schedule, choice, shape, &table, r);
        const double work = (double)rank->rows * cost_row_flops(shape) / machine->linear_flops +
                            (double)rank->pairs * cost_pair_flops(shape, 1, shape->heads) /
                                machine->attention_flops;
        const double received = (double)cost.received_bytes / machine->links.host.bytes_per_second;
        const double compute = work * (double)shape->layers;
        bounds.least = fmax(bounds.least, fmax(compute, received));
        bounds.most += compute + (double)shape->layers * rank->read_count *
                                     (machine->call_s + (double)rank->rows * state_seconds);
        bounds.most += (double)cost.received_bytes / machine->links.network.bytes_per_second;
        bounds.most += (double)shape->layers * rank->receive_count *
                       (machine->links.network.latency_s + machine->links.network.message_s);
    }
    return bounds;
}

/* The last stage of a prompt. */
static void make(struct schedule *schedule, const struct choice *choice, int64_t tokens)
{
    struct ownership *ownership;
    struct bands bands;
    struct span stage = {0, 0};
    choice_bands(choice, &bands);
    assert_int_equal(choice_check(choice), STATUS_OK);
    assert_int_equal(
        ownership_create(&ownership, choice->group.workers, choice->group.panel_tokens), STATUS_OK);
    while (stage.end < tokens) {
        stage = choice_stage(choice, stage.end, tokens);
        assert_int_equal(choice_deal(choice, ownership, stage), STATUS_OK);
    }
    assert_int_equal(schedule_init(schedule, choice->group.workers), STATUS_OK);
    assert_int_equal(schedule_make(schedule, choice, &bands, ownership, stage), STATUS_OK);
    ownership_destroy(ownership);
}

static double simulate(const struct choice *choice, int64_t tokens, const struct model_shape *shape,
                       const struct simulate_machine *machine)
{
    struct schedule schedule;
    struct simulate_stage stage;
    make(&schedule, choice, tokens);
    assert_int_equal(simulate_stage(&stage, &schedule, choice, shape, machine), STATUS_OK);
    const struct bounds bounds = bounds_of(&schedule, choice, shape, machine);
    if (stage.seconds < 0.999999 * bounds.least || stage.seconds > 1.000001 * bounds.most)
        fail_msg("%d workers, %lld tokens, %s: %g s, must be between %g and %g",
                 choice->group.workers, (long long)tokens,
                 choice_schedule_name(choice->request.schedule), stage.seconds, bounds.least,
                 bounds.most);
    schedule_deinit(&schedule);
    return stage.seconds;
}

static void run_ways(struct choice choice, int64_t tokens)
{
    const struct simulate_machine machine = small_machine();
    struct bands bands;
    choice_bands(&choice, &bands);
    for (int partition = PARTITION_CONTIGUOUS; partition <= PARTITION_ZIGZAG; partition++)
        for (int schedule = CHOICE_GATHER; schedule <= CHOICE_RING; schedule++)
            for (int slots = 1; slots <= choice.group.workers; slots++) {
                if (schedule == CHOICE_HALO && bands_reach(&bands) == BANDS_OPEN)
                    continue;
                choice.request.partition = (enum partition_kind)partition;
                choice.request.schedule = (enum choice_schedule)schedule;
                choice.group.receive_slots = schedule == CHOICE_RING ? choice.group.workers : slots;
                simulate(&choice, tokens, &small_shape, &machine);
            }
}

static void every_schedule_ends_between_its_bounds(void **state)
{
    (void)state;
    for (size_t m = 0; m < sizeof methods / sizeof methods[0]; m++)
        for (int workers = 1; workers <= 5; workers++)
            for (int64_t tokens = 1; tokens <= 90; tokens += 8)
                for (int64_t stage = 0; stage < tokens; stage = 3 * stage + 10) {
                    struct choice choice = small_choice(methods[m], workers, tokens);
                    choice.request.stage_tokens = stage;
                    run_ways(choice, tokens);
                }
}

static void one_worker_takes_what_it_computes(void **state)
{
    (void)state;
    const struct choice choice = small_choice("rope", 1, 64);
    const struct simulate_machine machine = small_machine();
    const double row = cost_row_flops(&small_shape) / 1e9;
    const double pairs = 64 * 65 / 2 * cost_pair_flops(&small_shape, 1, 4) / 1e9;
    const double call = 1e-6 + 64 * 2 * (double)cost_state_bytes(&small_shape) / 1e9;
    const double layer = 64 * row + pairs + call;
    assert_near(simulate(&choice, 64, &small_shape, &machine), 6 * layer, 1e-9 * layer);
}

/* Arithmetic that takes no time, on one host: 40 tokens in five blocks go from rank 0 to rank 1. */
static void a_slow_link_takes_its_bytes(void **state)
{
    (void)state;
    struct choice choice = small_choice("rope", 2, 80);
    struct simulate_machine machine = small_machine();
    struct model_shape shape = small_shape;
    shape.layers = 1;
    machine.linear_flops = machine.attention_flops = machine.memory_bytes = 1e30;
    machine.call_s = 0;
    choice.group.receive_slots = 5;
    const double bytes = (double)cost_token_bytes(&shape, &choice);
    assert_near(simulate(&choice, 80, &shape, &machine), 40 * bytes / 1e8 + 5 * 1e-7 + 1e-6, 1e-12);
    /* With one slot each block is asked for when the one before it is there. */
    choice.group.receive_slots = 1;
    assert_near(simulate(&choice, 80, &shape, &machine), 40 * bytes / 1e8 + 5 * (1e-7 + 1e-6),
                1e-12);
}

/* Ranks 2 and 3 take the keys of ranks 0 and 1 from the other host: through one card, or two. */
static void ranks_of_a_host_share_its_card(void **state)
{
    (void)state;
    struct choice choice = small_choice("rope", 4, 128);
    struct simulate_machine machine = small_machine();
    struct model_shape shape = small_shape;
    shape.layers = 1;
    machine.linear_flops = machine.attention_flops = machine.memory_bytes = 1e30;
    machine.call_s = 0;
    machine.links.host.bytes_per_second = 1e30;
    machine.links.network.message_s = machine.links.network.latency_s = 0;
    machine.links.host.message_s = machine.links.host.latency_s = 0;
    choice.group.receive_slots = 16;
    const double block = 32 * (double)cost_token_bytes(&shape, &choice) / 1e7;
    assert_near(simulate(&choice, 128, &shape, &machine), 4 * block, 1e-3 * block);
    machine.links.ranks_per_network_card = 1;
    /* The first messages of ranks 0 and 1 both go to rank 2, whose card takes one at a time. */
    assert_near(simulate(&choice, 128, &shape, &machine), 2.25 * block, 1e-3 * block);
}

static void layers_that_are_not_played_take_as_long_as_those_that_are(void **state)
{
    (void)state;
    struct choice choice = small_choice("rope", 3, 96);
    struct simulate_machine machine = small_machine();
    struct model_shape shape = small_shape;
    shape.layers = 20;
    const double twenty = simulate(&choice, 96, &shape, &machine);
    shape.layers = 40;
    const double forty = simulate(&choice, 96, &shape, &machine);
    shape.layers = 60;
    assert_near(simulate(&choice, 96, &shape, &machine) - forty, forty - twenty, 1e-9 * twenty);
    assert_true(forty - twenty > 0.5 * twenty);
}

/* Every stage played, against the few that are. */
static void stages_that_are_not_played_lie_between_those_that_are(void **state)
{
    (void)state;
    const struct simulate_machine machine = small_machine();
    for (size_t m = 0; m < sizeof methods / sizeof methods[0]; m++)
        for (int stages = 1; stages <= 12; stages++) {
            const int64_t tokens = 48 * stages;
            struct choice choice = small_choice(methods[m], 3, tokens);
            struct simulate_prompt prompt;
            double seconds = 0;
            choice.request.stage_tokens = 48;
            for (int64_t done = 48; done <= tokens; done += 48)
                seconds += simulate(&choice, done, &small_shape, &machine);
            assert_int_equal(simulate_prompt(&prompt, &choice, &small_shape, &machine, tokens),
                             STATUS_OK);
            assert_int_equal(prompt.stages, stages);
            assert_int_equal(prompt.played, stages < 5 ? stages : 5);
            assert_near(prompt.seconds, seconds, (stages <= 5 ? 1e-9 : 0.02) * seconds);
        }
}

/* Blocks of one panel for very many workers: fewer and longer ones are played, and pay for all. */
static void long_blocks_pay_for_those_they_stand_for(void **state)
{
    (void)state;
    struct simulate_machine machine = small_machine();
    struct choice choice = small_choice("rope", 2, 4 << 20);
    struct model_shape shape = small_shape;
    struct simulate_prompt prompt;
    machine.linear_flops = machine.attention_flops = machine.memory_bytes = 1e30;
    machine.call_s = 0;
    shape.layers = 1;
    choice.group.panel_tokens = 1;
    choice.group.block_tokens = 1;
    choice.group.receive_slots = 4;
    choice.request.partition = PARTITION_CONTIGUOUS;
    assert_int_equal(simulate_prompt(&prompt, &choice, &shape, &machine, 4 << 20), STATUS_OK);
    assert_true(prompt.block_tokens > 1);
    const double bytes = (double)cost_token_bytes(&shape, &choice);
    const double tokens = 2 << 20;
    assert_near(prompt.seconds, tokens * (bytes / 1e8 + 1e-7), 1e-3 * tokens * 1e-7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_schedule_ends_between_its_bounds),
        cmocka_unit_test(one_worker_takes_what_it_computes),
        cmocka_unit_test(a_slow_link_takes_its_bytes),
        cmocka_unit_test(ranks_of_a_host_share_its_card),
        cmocka_unit_test(layers_that_are_not_played_take_as_long_as_those_that_are),
        cmocka_unit_test(stages_that_are_not_played_lie_between_those_that_are),
        cmocka_unit_test(long_blocks_pay_for_those_they_stand_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
