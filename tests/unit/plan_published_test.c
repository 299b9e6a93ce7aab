/* The simulation against what others measured (spec: distribution.md 6): attention alone, causal,
 * head_dim 128, 8,192 tokens a GPU, zigzag shards whose halves are one block each.
 *
 * As published: FlashAttention 3 runs at 620 TFLOP/s on an H100 (pytorch/benchmark pull request
 * 2391, 16,384 tokens); memory 3.35 TB/s and NVLink 450 GB/s a direction (data sheet), of which
 * collectives reach 360; a card of 400 Gb/s carries 48 GB/s. On an H800 FlashAttention 2 runs at
 * 325 TFLOP/s (the ideal of ring-flash-attention's table), and NVLink has 200 GB/s, taken as 160.
 * Latencies and what a launch costs are taken as a few microseconds: without them no row that is
 * checked moves by 1 %, which is checked too.
 *
 * Fitted: one number, how often a ring's step moves its states through memory in that library,
 * which merges normalised outputs by separate kernels: 6.3, so that its zigzag ring on 8 H800 gets
 * the 85.2 % of ideal that its README gives. Rows that are checked have no part in it.
 *
 * Left out: Meta's 405B rows (with tensor parallelism), and the columns of schedules that we do not
 * have (Ulysses, USP, group casts).
 */
#include "tests/support/unit.h"

#include "proto/plan/simulate.h"
#include "tests/support/plan_methods.h"

#define MERGE_PASSES 6.3
#define TOLERANCE 0.15

enum { HEAD_DIM = 128, KV_HEADS = 8, GPU_TOKENS = 8192 };

static const struct simulate_machine h100 = {
    .linear_flops = 1,
    .attention_flops = 620e12,
    .memory_bytes = 3.35e12,
    .links = {.host = {360e9, 5e-6, 0},
              .network = {48e9, 10e-6, 0},
              .ranks_per_host = 8,
              .ranks_per_network_card = 1},
    .call_s = 5e-6,
    .state_passes = 2,
    .pieces = 1,
};

/* A step of the ring is a call of its own, with its merge. */
static struct simulate_machine ring_on(struct simulate_machine machine)
{
    machine.call_reads = 1;
    machine.state_passes = MERGE_PASSES;
    return machine;
}

static struct simulate_machine h800(void)
{
    struct simulate_machine machine = h100;
    machine.attention_flops = 325e12;
    machine.links.host.bytes_per_second = 160e9;
    return machine;
}

/* FLOP/s a GPU. */
static double rate(int gpus, int heads, enum choice_schedule way, enum partition_kind partition,
                   const struct simulate_machine *machine)
{
    const int64_t tokens = (int64_t)gpus * GPU_TOKENS;
    const struct model_shape shape = {
        .layers = 1, .heads = heads, .kv_heads = KV_HEADS, .head_dim = HEAD_DIM};
    struct choice choice = {.group = group_choice_usual(gpus),
                            .request.method = plan_methods_parse("rope"),
                            .request.context_tokens = tokens,
                            .request.partition = partition,
                            .request.schedule = way};
    struct ownership *ownership;
    struct schedule schedule;
    struct bands bands;
    struct simulate_stage stage;
    choice.group.block_tokens = partition == PARTITION_ZIGZAG ? GPU_TOKENS / 2 : GPU_TOKENS;
    choice_bands(&choice, &bands);
    assert_int_equal(ownership_create(&ownership, gpus, choice.group.panel_tokens), STATUS_OK);
    assert_int_equal(choice_deal(&choice, ownership, (struct span){0, tokens}), STATUS_OK);
    assert_int_equal(schedule_init(&schedule, gpus), STATUS_OK);
    assert_int_equal(schedule_make(&schedule, &choice, &bands, ownership, (struct span){0, tokens}),
                     STATUS_OK);
    assert_int_equal(simulate_stage(&stage, &schedule, &choice, &shape, machine), STATUS_OK);
    schedule_deinit(&schedule);
    ownership_destroy(ownership);
    return 2.0 * (double)tokens * (double)tokens * heads * HEAD_DIM / stage.seconds / gpus;
}

/* Their difference over what was measured. */
static double compare(const char *what, int gpus, double simulated, double measured)
{
    const double off = simulated / measured - 1;
    print_message("%s, %d GPUs: %.0f TFLOP/s a GPU simulated, %.0f measured, %+.1f %%\n", what,
                  gpus, simulated / 1e12, measured / 1e12, 100 * off);
    return off;
}

static void check(const char *what, int gpus, double simulated, double measured)
{
    const double off = compare(what, gpus, simulated, measured);
    assert_true(off > -TOLERANCE && off < TOLERANCE);
}

static const struct row {
    int gpus;
    double ring, gather;
} h100_rows[] = {
    {8, 420e12, 602e12}, {16, 455e12, 592e12}, {32, 450e12, 592e12}, {64, 447e12, 580e12}};
enum { H100_ROWS = sizeof h100_rows / sizeof h100_rows[0] };

static void the_fitted_row_is_met(void **state)
{
    (void)state;
    const struct simulate_machine machine = ring_on(h800());
    const double off =
        compare("fitted: zigzag ring on H800", 8,
                rate(8, 32, CHOICE_RING, PARTITION_ZIGZAG, &machine), 0.852 * 325e12);
    assert_true(off > -0.01 && off < 0.01);
}

static void a_contiguous_ring_is_as_measured(void **state)
{
    (void)state;
    const struct simulate_machine machine = ring_on(h800());
    check("contiguous ring on H800", 8, rate(8, 32, CHOICE_RING, PARTITION_CONTIGUOUS, &machine),
          0.521 * 325e12);
}

static void rings_are_as_measured(void **state)
{
    (void)state;
    const struct simulate_machine machine = ring_on(h100);
    for (int r = 0; r < H100_ROWS; r++)
        check("zigzag ring on H100", h100_rows[r].gpus,
              rate(h100_rows[r].gpus, 64, CHOICE_RING, PARTITION_ZIGZAG, &machine),
              h100_rows[r].ring);
}

/* One call takes what is there, as after an all-gather. */
static void all_gathers_are_as_measured(void **state)
{
    (void)state;
    for (int r = 0; r < H100_ROWS; r++)
        check("all-gather on H100", h100_rows[r].gpus,
              rate(h100_rows[r].gpus, 64, CHOICE_GATHER, PARTITION_ZIGZAG, &h100),
              h100_rows[r].gather);
}

static void latencies_decide_nothing(void **state)
{
    (void)state;
    struct simulate_machine machine = h100;
    machine.call_s = machine.links.host.latency_s = machine.links.network.latency_s = 0;
    const struct simulate_machine ring = ring_on(h100), ring_without = ring_on(machine);
    for (int r = 0; r < H100_ROWS; r++) {
        const int gpus = h100_rows[r].gpus;
        const double rings = rate(gpus, 64, CHOICE_RING, PARTITION_ZIGZAG, &ring_without) /
                             rate(gpus, 64, CHOICE_RING, PARTITION_ZIGZAG, &ring);
        const double gathers = rate(gpus, 64, CHOICE_GATHER, PARTITION_ZIGZAG, &machine) /
                               rate(gpus, 64, CHOICE_GATHER, PARTITION_ZIGZAG, &h100);
        assert_true(rings > 0.99 && rings < 1.01 && gathers > 0.99 && gathers < 1.01);
    }
}

/* What the rows are checked with can be missed: without the cost of merging every ring is too fast
 * by far, and through one card for eight GPUs a gather is too slow. */
static void the_rows_can_be_missed(void **state)
{
    (void)state;
    struct simulate_machine machine = ring_on(h100);
    machine.state_passes = 0;
    for (int r = 0; r < H100_ROWS; r++)
        assert_true(compare("ring without merging", h100_rows[r].gpus,
                            rate(h100_rows[r].gpus, 64, CHOICE_RING, PARTITION_ZIGZAG, &machine),
                            h100_rows[r].ring) > TOLERANCE);
    machine = h100;
    machine.links.ranks_per_network_card = 8;
    assert_true(compare("all-gather through one card", 64,
                        rate(64, 64, CHOICE_GATHER, PARTITION_ZIGZAG, &machine),
                        580e12) < -TOLERANCE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_fitted_row_is_met),
        cmocka_unit_test(a_contiguous_ring_is_as_measured),
        cmocka_unit_test(rings_are_as_measured),
        cmocka_unit_test(all_gathers_are_as_measured),
        cmocka_unit_test(latencies_decide_nothing),
        cmocka_unit_test(the_rows_can_be_missed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
