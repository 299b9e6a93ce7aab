/* The planner's decisions, its refusals, and its byte formulas against docs/methods.md. */
#include "tests/support/unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/plan/choice.h"
#include "proto/plan/chooser.h"
#include "proto/plan/schedule.h"
#include "proto/plan/tally.h"

/* Llama-3.1-8B. */
static const struct model_shape llama = {.layers = 32,
                                         .hidden = 4096,
                                         .heads = 32,
                                         .kv_heads = 8,
                                         .head_dim = 128,
                                         .ffn = 14336,
                                         .vocab = 128256,
                                         .trained_tokens = 131072,
                                         .weights_bytes = INT64_C(16060522496)};

static struct chooser_request request_for(const char *method, int workers, int64_t context_tokens)
{
    struct chooser_request request = {.workers = workers,
                                      .context_tokens = context_tokens,
                                      .kernels = "avx2",
                                      .cache = CHOICE_CACHE_BF16,
                                      .partition = -1,
                                      .schedule = -1,
                                      .stage_tokens = -1,
                                      .queries = -1,
                                      .decode_split = -1};
    assert_int_equal(method_parse(&request.method, method, 131072), STATUS_OK);
    return request;
}

static struct choice make(const struct chooser_request *request)
{
    struct choice choice;
    const struct cost_table table = cost_table_default();
    if (chooser_choose(&choice, request, &llama, &table) != STATUS_OK)
        fail_msg("%s", status_message());
    assert_int_equal(choice_check(&choice), STATUS_OK);
    return choice;
}

static void a_dense_mask_takes_zigzag_shards_and_gather_in_one_stage(void **state)
{
    (void)state;
    static const char *const methods[] = {"rope", "string", "lm_infinite:window=131072"};
    for (size_t m = 0; m < sizeof methods / sizeof methods[0]; m++) {
        const struct chooser_request request = request_for(methods[m], 4, 131072);
        const struct choice choice = make(&request);
        assert_int_equal(choice.request.partition, PARTITION_ZIGZAG);
        assert_int_equal(choice.request.schedule, CHOICE_GATHER);
        assert_int_equal(choice.request.stage_tokens, 0);
        assert_int_equal(choice.group.panel_tokens, 64);
        assert_int_equal(choice.group.workers, 4);
        assert_int_equal(choice.request.context_tokens, 131072);
        assert_string_equal(choice.group.kernels, "avx2");
        assert_string_equal(choice_schedule_name(choice.request.schedule), "gather");
        assert_string_equal(choice_partition_name(choice.request.partition), "zigzag");
    }
}

static void a_window_takes_contiguous_shards_a_halo_and_cut_stages(void **state)
{
    (void)state;
    struct chooser_request request = request_for("lm_infinite:window=4096", 4, 131072);
    struct choice choice = make(&request);
    assert_int_equal(choice.request.partition, PARTITION_CONTIGUOUS);
    assert_int_equal(choice.request.schedule, CHOICE_HALO);
    assert_int_equal(choice.request.stage_tokens, 4 * 4096);
    request.context_tokens = 4 * 4096;
    assert_int_equal(make(&request).request.stage_tokens, 0);
    request.context_tokens = 4 * 4096 + 1;
    assert_int_equal(make(&request).request.stage_tokens, 4 * 4096);
    request = request_for("lm_infinite:window=100", 2, 131072);
    assert_int_equal(make(&request).request.stage_tokens, 2 * 1024);
    request = request_for("lm_infinite:window=1025", 2, 131072);
    assert_int_equal(make(&request).request.stage_tokens, 2 * 1088);
    for (int workers = 1; workers <= 8; workers++) {
        request = request_for("lm_infinite:window=2048", workers, 131072);
        assert_int_equal(make(&request).request.partition, PARTITION_CONTIGUOUS);
    }
    /* A window that hardly limits anything is nearly causal, and balance counts. */
    struct cost_table table = cost_table_default();
    table.attention_flops /= 100;
    request = request_for("lm_infinite:window=131071", 4, 131072);
    assert_int_equal(chooser_choose(&choice, &request, &llama, &table), STATUS_OK);
    assert_int_equal(choice.request.schedule, CHOICE_HALO);
    assert_int_equal(choice.request.partition, PARTITION_ZIGZAG);
    request = request_for("lm_infinite:window=131071", 1, 131072);
    choice = make(&request);
    assert_int_equal(choice.request.schedule, CHOICE_HALO);
    assert_int_equal(choice.request.stage_tokens, 0);
}

/* Predicted, of the context's last `tokens` tokens as one stage. */
static double last_stage_seconds(const struct choice *choice, int64_t tokens)
{
    struct ownership *ownership;
    struct tally *tally;
    struct schedule schedule;
    struct cost costs[8];
    const struct cost_table table = cost_table_default();
    const int64_t end = choice->request.context_tokens;
    const struct span stage = {end - tokens, end};
    assert_int_equal(ownership_create(&ownership, choice->group.workers, 64), STATUS_OK);
    assert_int_equal(tally_create(&tally, choice, ownership), STATUS_OK);
    assert_int_equal(schedule_init(&schedule, choice->group.workers), STATUS_OK);
    assert_int_equal(ownership_advance(ownership, stage.first, choice->request.partition,
                                       &choice->request.weights),
                     STATUS_OK);
    assert_int_equal(choice_deal(choice, ownership, stage), STATUS_OK);
    assert_int_equal(tally_stage(tally, &schedule, stage), STATUS_OK);
    cost_stage(costs, &schedule, choice, &llama, &table);
    schedule_deinit(&schedule);
    tally_destroy(tally);
    ownership_destroy(ownership);
    return cost_slowest(costs, choice->group.workers);
}

static void stages_are_as_long_as_others_may_wait(void **state)
{
    (void)state;
    for (int workers = 1; workers <= 4; workers *= 2) {
        struct chooser_request request = request_for("rope", workers, 131072);
        const int64_t least = workers > 1 ? 512 : 128;
        int64_t before = 0;
        for (request.stage_seconds = 1; request.stage_seconds < 100000;
             request.stage_seconds *= 10) {
            struct choice choice = make(&request);
            const int64_t tokens = choice.request.stage_tokens;
            assert_int_equal(tokens & (tokens - 1), 0);
            assert_true(tokens == 0 || tokens >= before);
            before = tokens;
            choice.request.queries = CHOICE_SHARDED;
            if (tokens > least)
                assert_true(last_stage_seconds(&choice, tokens) <= request.stage_seconds);
            else if (tokens > 0)
                assert_int_equal(tokens, least);
            if (tokens > 0)
                assert_true(last_stage_seconds(&choice, 2 * tokens) > request.stage_seconds);
        }
        assert_int_equal(make(&request).request.stage_tokens, 0);
        request.stage_seconds = 1;
        request.stage_tokens = 5000;
        assert_int_equal(make(&request).request.stage_tokens, 5000);
    }
    struct chooser_request windowed = request_for("lm_infinite:window=4096", 4, 131072);
    windowed.stage_seconds = 1e9;
    assert_int_equal(make(&windowed).request.stage_tokens, 4 * 4096);
    windowed.stage_seconds = 1;
    assert_true(make(&windowed).request.stage_tokens < 4 * 4096);
}

/* However short a client asks for them: a plan walks through them. */
static void a_context_of_too_many_chunks_is_refused(void **state)
{
    (void)state;
    const struct cost_table table = cost_table_default();
    struct chooser_request request = request_for("dca:chunk=60,local=58", 2, 1 << 20);
    struct choice choice;
    assert_int_equal(chooser_choose(&choice, &request, &llama, &table), STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(status_message(), "chunks of 2 tokens"));
    request.context_tokens = 2 * CHOICE_CHUNKS_MAX;
    make(&request);
    request.weighed_context_tokens = 1 << 20;
    assert_int_equal(chooser_choose(&choice, &request, &llama, &table), STATUS_INVALID_ARGUMENT);
    request = request_for("dca:chunk=60,local=59", 2, 1 << 20);
    make(&request);
    request = request_for("dca", 2, 1 << 20);
    make(&request);
}

/* Over 512 workers a link bounds a million tokens, by which either partition takes as long; of four
 * million arithmetic does, and contiguous shards would take twice the time. */
static void a_long_prompt_is_weighed_whole(void **state)
{
    (void)state;
    const struct chooser_request request = request_for("rope", 512, 4 << 20);
    struct cost_table table = cost_table_default();
    struct choice choice;
    table.linear_flops = table.attention_flops = 550e12;
    table.within = (struct cost_link){.bytes_per_second = 360e9, .latency_s = 5e-6};
    table.between = (struct cost_link){.bytes_per_second = 48e9, .latency_s = 10e-6};
    table.host_ranks = 8;
    assert_int_equal(chooser_choose(&choice, &request, &llama, &table), STATUS_OK);
    assert_int_equal(choice.request.partition, PARTITION_ZIGZAG);
}

static void what_a_caller_asks_for_is_kept(void **state)
{
    (void)state;
    struct chooser_request request = request_for("rope", 8, 131072);
    request.partition = PARTITION_CONTIGUOUS;
    request.schedule = CHOICE_RING;
    request.stage_tokens = 1000;
    request.queries = CHOICE_SHARDED;
    request.decode_split = DECODE_SPLIT_ALL;
    request.cache = CHOICE_CACHE_F32;
    struct choice choice = make(&request);
    assert_int_equal(choice.request.partition, PARTITION_CONTIGUOUS);
    assert_int_equal(choice.request.schedule, CHOICE_RING);
    assert_int_equal(choice.request.stage_tokens, 1000);
    assert_int_equal(choice.request.queries, CHOICE_SHARDED);
    assert_int_equal(choice.request.replicate_tokens, 0);
    assert_int_equal(choice.request.decode_split, DECODE_SPLIT_ALL);
    assert_int_equal(choice_cache_bytes(choice.group.cache, 64), 256);
    assert_true(choice.group.receive_slots >= 7);
    request.decode_split = 0;
    request.shared_memory_bus = true;
    assert_false(make(&request).request.decode_split);
    request.decode_split = -1;
    assert_int_equal(make(&request).request.decode_split, DECODE_SPLIT_ALL);
    request.workers = 1;
    choice = make(&request);
    assert_false(choice.request.decode_split);
    assert_int_equal(choice_cache_bytes(choice.group.cache, 64), 256);
    request.cache = CHOICE_CACHE_BF16;
    choice = make(&request);
    assert_int_equal(choice_cache_bytes(choice.group.cache, 64), 128);
    request.cache = CHOICE_CACHE_INT8;
    choice = make(&request);
    assert_int_equal(choice_cache_bytes(choice.group.cache, 64), 66);
}

static void decode_is_split_where_the_network_is_worth_it(void **state)
{
    (void)state;
    struct choice choice;
    const struct chooser_request request = request_for("rope", 4, 8192);
    struct cost_table table = cost_table_default();
    table.within.latency_s = 1e-6;
    assert_int_equal(chooser_choose(&choice, &request, &llama, &table), STATUS_OK);
    assert_int_equal(choice.request.decode_split, DECODE_SPLIT_ALL);
    table.within.latency_s = 0.1;
    assert_int_equal(chooser_choose(&choice, &request, &llama, &table), STATUS_OK);
    assert_int_equal(choice.request.decode_split, 0);
    /* In between only the products with the most weights for an exchange. */
    table.within.latency_s = 1.5e-3;
    assert_int_equal(chooser_choose(&choice, &request, &llama, &table), STATUS_OK);
    assert_int_equal(choice.request.decode_split, DECODE_SPLIT_ALL & ~DECODE_SPLIT_OUTPUT);
}

/* Two workers' halves of the keys against a delay for each layer; and what the keys take to go. */
static void rank_0_decodes_alone_where_a_delay_costs_more_than_half_of_the_keys(void **state)
{
    (void)state;
    struct choice choice;
    struct chooser_request request = request_for("rope", 2, 8192);
    struct cost_table table = cost_table_default();
    request.decode_home = -1;
    request.answer_tokens = 200;
    table.within.latency_s = 500e-6;
    assert_int_equal(chooser_choose(&choice, &request, &llama, &table), STATUS_OK);
    assert_false(choice.request.decode_home);
    table.within.latency_s = 50e-3;
    assert_int_equal(chooser_choose(&choice, &request, &llama, &table), STATUS_OK);
    assert_true(choice.request.decode_home);
    assert_int_equal(choice.request.decode_split, 0);
    struct chooser_request other = request;
    other.answer_tokens = 1; /* the prompt's own */
    assert_int_equal(chooser_choose(&choice, &other, &llama, &table), STATUS_OK);
    assert_false(choice.request.decode_home);
    other = request;
    other.pool_slots = 8192 / 64; /* of twice as many records */
    assert_int_equal(chooser_choose(&choice, &other, &llama, &table), STATUS_OK);
    assert_false(choice.request.decode_home);
    other = request;
    other.shared_memory_bus = true;
    assert_int_equal(chooser_choose(&choice, &other, &llama, &table), STATUS_OK);
    assert_false(choice.request.decode_home);
    other = request;
    other.decode_home = 0;
    assert_int_equal(chooser_choose(&choice, &other, &llama, &table), STATUS_OK);
    assert_false(choice.request.decode_home);
    table.within.bytes_per_second = 1e5; /* the keys of the others take minutes */
    assert_int_equal(chooser_choose(&choice, &request, &llama, &table), STATUS_OK);
    assert_false(choice.request.decode_home);
}

static void a_short_question_on_a_filled_cache_replicates_its_queries(void **state)
{
    (void)state;
    struct chooser_request request = request_for("rope", 4, 131072);
    struct choice choice = make(&request);
    assert_int_equal(choice.request.queries, CHOICE_AUTO);
    assert_true(choice.request.replicate_tokens >= 1);
    const int64_t most = choice.request.replicate_tokens;
    assert_int_equal(choice_stage_queries(&choice, (struct span){0, 1}), CHOICE_SHARDED);
    assert_int_equal(choice_stage_queries(&choice, (struct span){1, 1 + most}), CHOICE_REPLICATED);
    assert_int_equal(choice_stage_queries(&choice, (struct span){1, 2 + most}), CHOICE_SHARDED);
    choice.request.queries = CHOICE_REPLICATED;
    assert_int_equal(choice_stage_queries(&choice, (struct span){0, 999}), CHOICE_REPLICATED);
    choice.request.queries = CHOICE_SHARDED;
    assert_int_equal(choice_stage_queries(&choice, (struct span){1, 2}), CHOICE_SHARDED);
    request.workers = 1;
    choice = make(&request);
    choice.request.replicate_tokens = 5;
    assert_int_equal(choice_stage_queries(&choice, (struct span){1, 2}), CHOICE_SHARDED);
    /* Where states are dear and keys are cheap it never does. */
    struct cost_table table = cost_table_default();
    table.linear_flops = 1;
    request = request_for("lm_infinite:window=64", 4, 131072);
    assert_int_equal(chooser_choose(&choice, &request, &llama, &table), STATUS_OK);
    assert_true(choice.request.replicate_tokens <= 1);
}

static void costs_are_weighed_at_the_length_of_the_context(void **state)
{
    (void)state;
    struct chooser_request request = request_for("rope", 4, 5);
    assert_true(make(&request).request.replicate_tokens <= 2);
    request.context_tokens = 1;
    assert_int_equal(make(&request).request.replicate_tokens, 0);
    /* And at a million tokens where it is longer: a plan for 2^40 is made in no time too. */
    request.context_tokens = INT64_C(1) << 40;
    assert_int_equal(make(&request).request.partition, PARTITION_ZIGZAG);
}

static void stages_follow_each_other_to_the_end_of_the_prompt(void **state)
{
    (void)state;
    struct choice choice = {.request.stage_tokens = 100};
    struct span stage = choice_stage(&choice, 0, 250);
    assert_int_equal(stage.end, 100);
    stage = choice_stage(&choice, 200, 250);
    assert_int_equal(stage.first, 200);
    assert_int_equal(stage.end, 250);
    stage = choice_stage(&choice, 150, 250);
    assert_int_equal(stage.end, 250);
    choice.request.stage_tokens = 0;
    stage = choice_stage(&choice, 100, 250);
    assert_int_equal(stage.first, 100);
    assert_int_equal(stage.end, 250);
}

static void refused(const struct choice *choice, const char *named)
{
    assert_int_not_equal(choice_check(choice), STATUS_OK);
    if (!strstr(status_message(), named))
        fail_msg("\"%s\" does not name %s", status_message(), named);
}

static void a_choice_that_no_plan_can_follow_is_refused(void **state)
{
    (void)state;
    const struct chooser_request request = request_for("lm_infinite:window=128", 4, 1000);
    const struct choice good = make(&request);
    struct choice choice;
#define REFUSED_WITH(change, named)                                                                \
    do {                                                                                           \
        choice = good;                                                                             \
        change;                                                                                    \
        refused(&choice, named);                                                                   \
    } while (0)
    REFUSED_WITH(choice.group.workers = 0, "workers");
    REFUSED_WITH(choice.group.workers = 4097, "workers");
    REFUSED_WITH(choice.request.partition = PARTITION_ROUND_ROBIN, "partition");
    REFUSED_WITH(choice.request.schedule = (enum choice_schedule)3, "schedule");
    REFUSED_WITH(choice.request.context_tokens = 0, "context_tokens");
    REFUSED_WITH(choice.request.context_tokens = INT64_MAX, "context_tokens");
    REFUSED_WITH(choice.request.stage_tokens = -1, "stage_tokens");
    REFUSED_WITH(choice.group.panel_tokens = 0, "panel_tokens");
    REFUSED_WITH(choice.group.panel_tokens = 65, "panel_tokens");
    REFUSED_WITH(choice.group.block_tokens = 63, "block_tokens");
    REFUSED_WITH(choice.group.block_tokens = 65, "block_tokens");
    REFUSED_WITH(choice.group.cache = (enum choice_cache)3, "cache");
    REFUSED_WITH(choice.request.queries = (enum choice_queries)3, "queries");
    REFUSED_WITH(choice.request.replicate_tokens = -1, "replicate_tokens");
    REFUSED_WITH(choice.group.receive_slots = 0, "receive_slots");
    REFUSED_WITH(choice.request.schedule = CHOICE_RING;
                 choice.group.receive_slots = 2, "receive_slots");
    REFUSED_WITH(choice.group.kernels[0] = '\0', "kernel");
    REFUSED_WITH(memset(choice.group.kernels, 'x', sizeof choice.group.kernels), "kernel");
    REFUSED_WITH(choice.request.method.numbers[0].tokens = 0, "window");
    REFUSED_WITH(choice.request.method = request_for("rope", 1, 1).method, "halo");
    REFUSED_WITH(choice.request.method = (struct method){0}, "no method");
#undef REFUSED_WITH
    choice = good;
    choice.request.schedule = CHOICE_RING;
    choice.group.receive_slots = 3;
    assert_int_equal(choice_check(&choice), STATUS_OK);
    choice.group.workers = 2;
    choice.group.receive_slots = 1;
    assert_int_equal(choice_check(&choice), STATUS_OK);
    choice.group.panel_tokens = 1;
    choice.group.block_tokens = 1;
    assert_int_equal(choice_check(&choice), STATUS_OK);
    choice.group.panel_tokens = choice.group.block_tokens = 64;
    assert_int_equal(choice_check(&choice), STATUS_OK);
    choice.group.workers = 4096;
    choice.request.schedule = CHOICE_HALO;
    assert_int_equal(choice_check(&choice), STATUS_OK);
}

static void a_request_out_of_range_is_refused(void **state)
{
    (void)state;
    struct choice choice;
    const struct cost_table table = cost_table_default();
    struct chooser_request request = request_for("rope", 0, 1000);
    assert_int_equal(chooser_choose(&choice, &request, &llama, &table), STATUS_INVALID_ARGUMENT);
    request = request_for("rope", 1, 0);
    assert_int_equal(chooser_choose(&choice, &request, &llama, &table), STATUS_INVALID_ARGUMENT);
    request = request_for("rope", 1, 10);
    request.schedule = CHOICE_HALO;
    assert_int_equal(chooser_choose(&choice, &request, &llama, &table), STATUS_INVALID_ARGUMENT);
    request = request_for("string", 1, 10);
    request.method.numbers[2].real = 0; /* logit_scale */
    assert_int_equal(chooser_choose(&choice, &request, &llama, &table), STATUS_INVALID_ARGUMENT);
}

/* Costs of a one-stage prompt of 128k tokens on eight workers. */
static void cost_of(struct cost costs[8], const char *method, enum choice_schedule schedule,
                    enum partition_kind partition)
{
    struct chooser_request request = request_for(method, 8, 131072);
    request.schedule = schedule;
    request.partition = partition;
    request.stage_tokens = 0;
    const struct choice choice = make(&request);
    struct bands bands;
    struct ownership *ownership;
    struct schedule made;
    const struct cost_table table = cost_table_default();
    const struct span stage = {0, 131072};
    method_bands(&choice.request.method, &bands);
    assert_int_equal(ownership_create(&ownership, 8, choice.group.panel_tokens), STATUS_OK);
    assert_int_equal(schedule_init(&made, 8), STATUS_OK);
    assert_int_equal(choice_deal(&choice, ownership, stage), STATUS_OK);
    assert_int_equal(schedule_make(&made, &choice, &bands, ownership, stage), STATUS_OK);
    cost_stage(costs, &made, &choice, &llama, &table);
    schedule_deinit(&made);
    ownership_destroy(ownership);
}

static double mean_received_mb(const struct cost costs[8])
{
    double bytes = 0;
    int64_t sent = 0;
    int64_t received = 0;
    for (int r = 0; r < 8; r++) {
        bytes += (double)costs[r].received_bytes / 32 / 8;
        sent += costs[r].sent_bytes;
        received += costs[r].received_bytes;
    }
    assert_int_equal(sent, received);
    return bytes / 1e6;
}

/* The table of bytes in docs/methods.md: 128k tokens, N = 8, per layer; the diagonal panels are the
 * difference. */
static void predicted_bytes_are_those_of_the_formulas(void **state)
{
    (void)state;
    struct cost costs[8];
    cost_of(costs, "rope", CHOICE_GATHER, PARTITION_ZIGZAG);
    assert_float_equal(mean_received_mb(costs), 352, 1);
    /* Who has the last chunk reads everything: (N - 1) / N of the layer's keys and values. */
    assert_int_equal(costs[0].received_bytes / 32, INT64_C(131072) / 8 * 7 * 4096);
    double most = 0;
    double mean = 0;
    for (int r = 0; r < 8; r++) {
        most = costs[r].flops > most ? costs[r].flops : most;
        mean += costs[r].flops / 8;
    }
    assert_true(most <= 1.001 * mean);
    cost_of(costs, "rope", CHOICE_GATHER, PARTITION_CONTIGUOUS);
    assert_float_equal(mean_received_mb(costs), 235, 1);
    assert_int_equal(costs[0].received_bytes, 0);
    cost_of(costs, "string", CHOICE_GATHER, PARTITION_ZIGZAG);
    assert_float_equal(mean_received_mb(costs), 352, 1);
    cost_of(costs, "rope", CHOICE_RING, PARTITION_ZIGZAG);
    assert_float_equal(mean_received_mb(costs), 352, 1);
    cost_of(costs, "lm_infinite:window=4096", CHOICE_HALO, PARTITION_CONTIGUOUS);
    assert_int_equal(costs[0].received_bytes, 0);
    for (int r = 1; r < 8; r++)
        assert_int_equal(costs[r].received_bytes / 32, 4096 * 4096);
    cost_of(costs, "lm_infinite:window=4097", CHOICE_HALO, PARTITION_CONTIGUOUS);
    assert_int_equal(costs[3].received_bytes / 32, 4096 * 4096);
    cost_of(costs, "lm_infinite:window=4098", CHOICE_HALO, PARTITION_CONTIGUOUS);
    assert_int_equal(costs[3].received_bytes / 32, (4096 + 64) * 4096);
}

static void decode_gathers_states_and_split_rows(void **state)
{
    (void)state;
    struct chooser_request request = request_for("rope", 8, 131072);
    request.decode_split = 0;
    struct choice choice = make(&request);
    struct cost cost;
    struct cost alone;
    const struct cost_table table = cost_table_default();
    cost_decode(&cost, &choice, &llama, &table, 0, 1000);
    assert_int_equal(cost.received_bytes, INT64_C(32) * 7 * 32 * (128 + 2) * 4);
    assert_int_equal(cost.sent_bytes, cost.received_bytes);
    alone = cost;
    choice.request.decode_split = DECODE_SPLIT_ALL;
    int64_t sent = 0;
    int64_t received = 0;
    for (int r = 0; r < 8; r++) {
        cost_decode(&cost, &choice, &llama, &table, r, 1000);
        assert_true(cost.flops < alone.flops);
        sent += cost.sent_bytes;
        received += cost.received_bytes;
    }
    assert_int_equal(sent, received);
    cost_decode(&cost, &choice, &llama, &table, 0, 1000);
    const int64_t rows = 32 * (6144 + 4096 + 14336 + 4096) + 128256;
    assert_int_equal(cost.received_bytes - alone.received_bytes, rows / 8 * 7 * 4);
    cost_decode(&cost, &choice, &llama, &table, 1, 1000);
    assert_int_equal(cost.received_bytes - alone.received_bytes, (rows - 128256) / 8 * 7 * 4);
    choice.group.workers = 1;
    cost_decode(&cost, &choice, &llama, &table, 0, 1000);
    assert_int_equal(cost.received_bytes, 0);
    assert_int_equal(cost.sent_bytes, 0);
}

static void log_probabilities_and_logits_go_to_rank_0(void **state)
{
    (void)state;
    struct span rows[3] = {{0, 10}, {64, 128}, {192, 200}};
    struct schedule_rank ranks[3] = {{.queries = &rows[1], .query_count = 1},
                                     {.queries = rows, .query_count = 3, .recomputed_count = 1},
                                     {.query_count = 0}};
    const struct schedule schedule = {.workers = 3, .ranks = ranks};
    struct cost cost;
    cost_scores(&cost, &schedule, 0);
    assert_int_equal(cost.received_bytes, 4 * (64 + 8));
    assert_int_equal(cost.sent_bytes, 0);
    cost_scores(&cost, &schedule, 1);
    assert_int_equal(cost.received_bytes, 0);
    assert_int_equal(cost.sent_bytes, 4 * (64 + 8));
    cost_scores(&cost, &schedule, 2);
    assert_int_equal(cost.received_bytes + cost.sent_bytes, 0);
    for (int owner = 0; owner < 3; owner++) {
        for (int rank = 0; rank < 3; rank++) {
            cost_logits(&cost, &llama, owner, rank);
            assert_int_equal(cost.received_bytes, owner > 0 && rank == 0 ? 4 * 128256 : 0);
            assert_int_equal(cost.sent_bytes, owner > 0 && rank == owner ? 4 * 128256 : 0);
        }
    }
}

/* By hand: a rank with one row, ten pairs and one block of 64 tokens each way. */
static void estimates_know_kernels_and_threads(void **state)
{
    (void)state;
    const struct cost_table unknown = cost_table_estimate("of another build", 8);
    const struct cost_table one = cost_table_estimate("avx2", 1),
                            four = cost_table_estimate("avx2", 4);
    assert_true(unknown.linear_flops == cost_table_default().linear_flops);
    assert_true(four.linear_flops == 4 * one.linear_flops);
    assert_true(four.attention_flops == 4 * one.attention_flops);
    assert_true(cost_table_estimate("avx2", 0).linear_flops == one.linear_flops);
    assert_true(cost_table_estimate("reference", 4).linear_flops < one.linear_flops);
}

/* What a group waits for is its slowest link; what one host has within is no longer of interest. */
static void a_group_of_several_hosts_waits_for_the_link_between_them(void **state)
{
    (void)state;
    struct chooser_request request = request_for("rope", 4, 8192);
    request.decode_split = 0;
    const struct choice choice = make(&request);
    struct cost_table table = cost_table_default();
    struct cost one, two;
    cost_decode(&one, &choice, &llama, &table, 0, 0);
    table.between =
        (struct cost_link){.bytes_per_second = 1e6, .latency_s = 0.25, .message_s = 0.5};
    cost_decode(&two, &choice, &llama, &table, 0, 0);
    assert_true(one.seconds == two.seconds); /* all ranks are on one host */
    table.host_ranks = 4;
    cost_decode(&two, &choice, &llama, &table, 0, 0);
    assert_true(one.seconds == two.seconds);
    table.host_ranks = 2;
    assert_ptr_equal(cost_link_of(&table, 0, 1), &table.within);
    assert_ptr_equal(cost_link_of(&table, 1, 2), &table.between);
    assert_ptr_equal(cost_link_of(&table, 3, 2), &table.within);
    cost_decode(&two, &choice, &llama, &table, 0, 0);
    const double bytes = (double)one.received_bytes;
    assert_float_equal(two.seconds - one.seconds,
                       bytes / 1e6 - bytes / 2e9 + llama.layers * (0.25 + 3 * 0.5 - 10e-6), 1e-9);
}

static void seconds_follow_the_table(void **state)
{
    (void)state;
    const struct model_shape shape = {.layers = 2,
                                      .hidden = 8,
                                      .heads = 2,
                                      .kv_heads = 1,
                                      .head_dim = 4,
                                      .ffn = 16,
                                      .vocab = 32,
                                      .weights_bytes = 1000};
    struct schedule_rank rank = {
        .rows = 1, .pairs = 10, .receive_count = 1, .receive_tokens = 64, .send_tokens = 128};
    struct schedule schedule = {.workers = 1, .ranks = &rank, .stage = {64, 65}};
    struct choice choice = {.group.workers = 2,
                            .group.cache = CHOICE_CACHE_F32,
                            .group.block_tokens = 64,
                            .group.receive_slots = 4,
                            .request.decode_split = DECODE_SPLIT_ALL};
    assert_int_equal(method_parse(&choice.request.method, "rope", 0), STATUS_OK);
    struct cost_table table = {.linear_flops = 10,
                               .attention_flops = 100,
                               .memory_bytes = 50,
                               .keys_bytes = 25,
                               .within = {.bytes_per_second = 1e12}};
    const double linear = 2 * 2 * (8 * (4 * 4) + 8 * 8 + 3 * 8 * 16);
    const double pair = 4 * 2 * 4 * 2;
    struct cost cost;
    cost_stage(&cost, &schedule, &choice, &shape, &table);
    assert_float_equal(cost.flops, linear + 10 * pair, 1e-9);
    assert_float_equal(cost.seconds, linear / 10 + 10 * pair / 100, 1e-6);
    /* Edges are no arithmetic that was asked for, but take their time; so do layers and stages. */
    rank.edges = 3;
    table.edge_keys = 7;
    table.layer_s = 5;
    table.stage_s = 2;
    cost_stage(&cost, &schedule, &choice, &shape, &table);
    assert_float_equal(cost.flops, linear + 10 * pair, 1e-9);
    assert_float_equal(cost.attention_seconds, (10 + 3 * 7) * pair / 100, 1e-9);
    assert_float_equal(cost.seconds, linear / 10 + 31 * pair / 100 + 2 + 2 * 5, 1e-6);
    table.edge_keys = table.layer_s = table.stage_s = 0;
    /* By the wire's busier direction, beside the products; then a half of the attention is left, to
     * the keys that came. In a first stage nothing comes before a block of rows is computed. */
    table.within.bytes_per_second = 0.5;
    table.within.latency_s = 3;
    table.within.message_s = 0.25;
    const double sent = 128 * 2 * (2 * 4 * 4) / 0.5 + 2 * (3 + 0.25);
    cost_stage(&cost, &schedule, &choice, &shape, &table);
    assert_float_equal(cost.link_seconds, sent, 1e-9);
    assert_float_equal(cost.seconds, sent + 10 * pair / 100 / 2, 1e-3);
    schedule.stage = (struct span){0, 1};
    cost_stage(&cost, &schedule, &choice, &shape, &table);
    assert_float_equal(cost.seconds, linear / 10 + sent + 10 * pair / 100 / 2, 1e-3);
    schedule.stage = (struct span){64, 65};
    rank.send_tokens = 32;
    cost_stage(&cost, &schedule, &choice, &shape, &table);
    assert_float_equal(cost.link_seconds, 64 * 2 * (2 * 4 * 4) / 0.5 + 2 * (3 + 0.25), 1e-9);
    table.within.message_s = 0;
    /* Half of the weights and three tokens' keys; five gathers a layer and the logits'. Products of
     * at most 16 rows are one group, which the last rank computes. */
    cost_decode(&cost, &choice, &shape, &table, 0, 3);
    assert_int_equal(cost.received_bytes, 2 * (2 * 6 * 4 + (16 + 8 + 16 + 8) * 4) + 16 * 4);
    assert_int_equal(cost.sent_bytes, 2 * (2 * 6 * 4));
    assert_float_equal(cost.flops, linear / 2 + 3 * 4 * 2 * 4 * 2, 1e-9);
    assert_float_equal(cost.seconds,
                       500 / 50.0 + 3 * 2 * 2 * 4 * 4 / 25.0 + (double)cost.received_bytes / 0.5 +
                           (2 * 5 + 1) * 3,
                       1e-9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dense_mask_takes_zigzag_shards_and_gather_in_one_stage),
        cmocka_unit_test(a_window_takes_contiguous_shards_a_halo_and_cut_stages),
        cmocka_unit_test(stages_are_as_long_as_others_may_wait),
        cmocka_unit_test(a_context_of_too_many_chunks_is_refused),
        cmocka_unit_test(a_long_prompt_is_weighed_whole),
        cmocka_unit_test(what_a_caller_asks_for_is_kept),
        cmocka_unit_test(decode_is_split_where_the_network_is_worth_it),
        cmocka_unit_test(rank_0_decodes_alone_where_a_delay_costs_more_than_half_of_the_keys),
        cmocka_unit_test(a_short_question_on_a_filled_cache_replicates_its_queries),
        cmocka_unit_test(costs_are_weighed_at_the_length_of_the_context),
        cmocka_unit_test(stages_follow_each_other_to_the_end_of_the_prompt),
        cmocka_unit_test(a_choice_that_no_plan_can_follow_is_refused),
        cmocka_unit_test(a_request_out_of_range_is_refused),
        cmocka_unit_test(predicted_bytes_are_those_of_the_formulas),
        cmocka_unit_test(decode_gathers_states_and_split_rows),
        cmocka_unit_test(log_probabilities_and_logits_go_to_rank_0),
        cmocka_unit_test(estimates_know_kernels_and_threads),
        cmocka_unit_test(a_group_of_several_hosts_waits_for_the_link_between_them),
        cmocka_unit_test(seconds_follow_the_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
