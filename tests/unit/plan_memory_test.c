/* The memory plan: enough for every prompt and answer up to the context, exact in bytes, falling
 * with the workers and, under a window, flat in the length. */
#include "tests/support/unit.h"

#include <stdio.h>

#include "proto/plan/chooser.h"
#include "proto/plan/memory_plan.h"
#include "proto/plan/schedule.h"
#include "tests/support/plan_cases.h"
#include "tests/support/plan_methods.h"

enum { CASES = 600, SEED = 77 };

/* SmolLM2-135M. */
static const struct model_shape smol = {.layers = 30,
                                        .hidden = 576,
                                        .heads = 9,
                                        .kv_heads = 3,
                                        .head_dim = 64,
                                        .ffn = 1536,
                                        .vocab = 49152,
                                        .trained_tokens = 8192,
                                        .weights_bytes = 98000000};

static const struct memory_request needs = {.threads = 2,
                                            .scratch_bytes = 1 << 20,
                                            .logit_rows = 4,
                                            .list_row_bytes = 8,
                                            .list_panel_bytes = 16};

/* Of a rank, that stages are chosen for; 0: any. */
static int64_t rows_for_stages;

static struct choice choice_for(const char *method, int workers, int64_t context_tokens)
{
    struct choice choice;
    const struct cost_table table = cost_table_default();
    struct chooser_request request = {.workers = workers,
                                      .context_tokens = context_tokens,
                                      .kernels = "avx2",
                                      .partition = -1,
                                      .schedule = -1,
                                      .stage_tokens = -1,
                                      .stage_rows = rows_for_stages,
                                      .queries = -1,
                                      .decode_split = -1};
    assert_int_equal(method_parse(&request.method, method, smol.trained_tokens), STATUS_OK);
    if (chooser_choose(&choice, &request, &smol, &table) != STATUS_OK)
        fail_msg("%s", status_message());
    return choice;
}

static struct memory_need need_for(const struct choice *choice, int rank)
{
    struct memory_need need;
    if (memory_need_make(&need, choice, rank, rank + 1) != STATUS_OK)
        fail_msg("%s", status_message());
    return need;
}

/* Of a group that has room for this request alone. */
static struct memory_plan plan_for(const struct choice *choice, int rank)
{
    struct memory_need all[5];
    struct memory_plan plan;
    struct group_choice group = choice->group;
    if (memory_need_make(all, choice, 0, group.workers) != STATUS_OK)
        fail_msg("%s", status_message());
    memory_group_fit(&group, all, &choice->request);
    const struct choice fitted = {group, choice->request};
    assert_int_equal(memory_need_check(&all[rank], &fitted), STATUS_OK);
    memory_plan_make(&plan, &smol, &group, rank, &needs);
    assert_int_equal(plan.rank, rank);
    int64_t total = 0;
    for (int region = 0; region < MEMORY_REGIONS; region++) {
        assert_true(plan.bytes[region] >= 0 && plan.bytes[region] % 64 == 0);
        total += plan.bytes[region];
    }
    assert_int_equal(plan.total_bytes, total);
    return plan;
}

/* ---- enough ---- */

static struct choice random_choice(struct cases_random *random)
{
    char method[METHOD_TEXT_BYTES] = "rope";
    struct choice choice = {.group.kernels = "reference", .group.receive_slots = 8};
    if (cases_between(random, 0, 2) > 0) {
        const int window = (int)cases_between(random, 1, 30);
        snprintf(method, sizeof method, "lm_infinite:window=%d,sinks=%d", window,
                 (int)cases_between(random, 0, 9));
        choice.request.schedule = CHOICE_HALO;
    }
    choice.request.method = plan_methods_parse(method);
    choice.group.workers = (int)cases_between(random, 1, 5);
    choice.group.panel_tokens = 1 << cases_between(random, 0, 3);
    choice.group.block_tokens = 2 * choice.group.panel_tokens;
    choice.request.partition = (enum partition_kind)cases_between(random, 0, 1);
    choice.request.context_tokens = cases_between(random, 1, 90);
    if (cases_between(random, 0, 2) > 0)
        choice.request.stage_tokens = cases_between(random, 1, 40);
    choice.request.queries = (enum choice_queries)cases_between(random, 0, 2);
    choice.request.replicate_tokens = cases_between(random, 0, 8);
    if (cases_between(random, 0, 1) > 0) {
        choice.request.weights.count = choice.group.workers;
        for (int r = 0; r < choice.group.workers; r++)
            choice.request.weights.parts[r] = (uint8_t)cases_between(random, 1, 4);
    }
    choice.request.decode_home = cases_between(random, 0, 2) == 0;
    return choice;
}

struct fitting {
    const struct choice *choice;
    struct memory_need needs[5];
    struct bands bands;
    struct ownership *ownership;
    struct schedule schedule;
};

static void check_keys(const struct fitting *fitting, struct span stage)
{
    const struct choice *choice = fitting->choice;
    const int64_t range_tokens = memory_plan_range_tokens(choice);
    const int64_t live =
        ownership_live_first(fitting->ownership, stage.first, bands_reach(&fitting->bands));
    const struct span present = {live, stage.end};
    for (int r = 0; r < choice->group.workers; r++)
        if (ownership_panels(fitting->ownership, r, present) > fitting->needs[r].cache_panels)
            fail_msg("rank %d has %lld panels, planned %lld", r,
                     (long long)ownership_panels(fitting->ownership, r, present),
                     (long long)fitting->needs[r].cache_panels);
    assert_true((stage.end - 1) / range_tokens - live / range_tokens + 2 <=
                memory_plan_ranges(choice));
}

/* A step passes the tokens from `first` on: the answer's next one, and as many drafted ones, up to
 * `most`, as begin one more panel at most. Returns where they end. */
static int64_t deal_tokens(struct fitting *fitting, int64_t first, int64_t most)
{
    const struct choice *choice = fitting->choice;
    const int panel = choice->group.panel_tokens;
    const int64_t drafted = panel < MEMORY_DRAFT_ROWS ? panel : MEMORY_DRAFT_ROWS;
    const struct span stage = {first, first + 1 + drafted < most ? first + 1 + drafted : most};
    const struct owned_span home = {stage, 0};
    assert_int_equal(choice_is_home(choice)
                         ? ownership_deal(fitting->ownership, &home, 1)
                         : ownership_advance(fitting->ownership, stage.end - stage.first,
                                             PARTITION_ROUND_ROBIN, NULL),
                     STATUS_OK);
    check_keys(fitting, stage);
    return stage.end;
}

static void run_prompt(struct fitting *fitting, int64_t prompt_tokens)
{
    const struct choice *choice = fitting->choice;
    struct span stage = {0, 0};
    ownership_clear(fitting->ownership);
    while (stage.end < prompt_tokens) {
        stage = choice_stage(choice, stage.end, prompt_tokens);
        assert_int_equal(choice_deal(choice, fitting->ownership, stage), STATUS_OK);
        assert_int_equal(
            schedule_make(&fitting->schedule, choice, &fitting->bands, fitting->ownership, stage),
            STATUS_OK);
        check_keys(fitting, stage);
        for (int r = 0; r < choice->group.workers; r++) {
            const struct memory_need *need = &fitting->needs[r];
            const struct schedule_rank *rank = &fitting->schedule.ranks[r];
            assert_true(rank->rows <=
                        (fitting->schedule.replicated ? need->step_rows : need->stage_rows));
            for (int s = 0; s < rank->read_count; s++)
                if (rank->reads[s].source <= SCHEDULE_SINKS_NEAR)
                    assert_true(rank->reads[s].keys.end <=
                                need->sink_panels * choice->group.panel_tokens);
        }
    }
    if (choice_is_home(choice))
        assert_int_equal(ownership_give(fitting->ownership, 0), STATUS_OK);
    while (stage.end < choice->request.context_tokens) {
        stage.first = stage.end;
        deal_tokens(fitting, stage.first, choice->request.context_tokens);
        ownership_retreat(fitting->ownership, stage.first);
        stage.end = deal_tokens(fitting, stage.first, stage.first + 1);
    }
}

static void every_prompt_and_answer_up_to_the_context_fits(void **state)
{
    (void)state;
    struct cases_random random;
    cases_seed(&random, SEED);
    print_message("seed %d\n", SEED);
    for (int n = 0; n < CASES; n++) {
        const struct choice choice = random_choice(&random);
        struct fitting fitting = {.choice = &choice};
        if (choice_check(&choice) != STATUS_OK)
            fail_msg("%s", status_message());
        method_bands(&choice.request.method, &fitting.bands);
        for (int r = 0; r < choice.group.workers; r++)
            fitting.needs[r] = need_for(&choice, r);
        assert_int_equal(
            ownership_create(&fitting.ownership, choice.group.workers, choice.group.panel_tokens),
            STATUS_OK);
        assert_int_equal(schedule_init(&fitting.schedule, choice.group.workers), STATUS_OK);
        for (int64_t prompt = 1; prompt <= choice.request.context_tokens; prompt += 3)
            run_prompt(&fitting, prompt);
        run_prompt(&fitting, choice.request.context_tokens);
        schedule_deinit(&fitting.schedule);
        ownership_destroy(fitting.ownership);
    }
}

/* ---- exact ---- */

static int64_t up(int64_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static void bytes_are_those_of_the_shapes(void **state)
{
    (void)state;
    struct choice choice = choice_for("string:shift=4096,local=128", 2, 6400);
    choice.request.stage_tokens = 0;
    const struct memory_plan plan = plan_for(&choice, 0);
    const struct memory_need need = need_for(&choice, 0);
    /* 100 panels, zigzag over four chunks of 25; spare panels for answers of any length. */
    assert_int_equal(need.stage_rows, 50 * 64);
    assert_int_equal(need.cache_panels, 55);
    assert_int_equal(need.sink_panels, 0);
    assert_int_equal(need.step_rows, 1);
    const int64_t panel_bytes = 64 * 2 * 3 * 64 * 2;
    const int64_t *bytes = plan.bytes;
    assert_int_equal(bytes[MEMORY_WEIGHTS], up(98000000));
    assert_int_equal(bytes[MEMORY_CACHE], 30 * 55 * panel_bytes);
    assert_int_equal(bytes[MEMORY_RECEIVE_SLOTS],
                     choice.group.receive_slots * 8 * panel_bytes / 2 * 3);
    assert_int_equal(need.slots, 2 * need.cache_panels);
    assert_int_equal(bytes[MEMORY_HIDDEN], 3200 * 576 * 4);
    assert_int_equal(bytes[MEMORY_QUERIES], BANDS_FRAMES_MAX * 3200 * 9 * 64 * 2);
    assert_int_equal(bytes[MEMORY_STATE], 3200 * 9 * 66 * 4);
    assert_int_equal(bytes[MEMORY_ROPE_TABLES], 2 * BANDS_FRAMES_MAX * 3200 * 64 * 4);
    assert_int_equal(bytes[MEMORY_THREAD_SCRATCH], 2 << 20);
    assert_int_equal(bytes[MEMORY_LOGITS], 4 * (49152 + 576) * 4);
    assert_int_equal(bytes[MEMORY_IDS], 6400 * 4);
    assert_int_equal(bytes[MEMORY_SCORES], (3200 + 6400) * 4);
    assert_int_equal(bytes[MEMORY_SAMPLERS], 17 * 49152 + 512);
    assert_int_equal(bytes[MEMORY_DRAFTS], 8192 * 4 + 128);
    const struct memory_plan other = plan_for(&choice, 1);
    assert_int_equal(other.bytes[MEMORY_SCORES], 3200 * 4);
    assert_int_equal(other.bytes[MEMORY_SAMPLERS], 0);
    assert_int_equal(other.bytes[MEMORY_DRAFTS], 0);
    assert_int_equal(other.bytes[MEMORY_CACHE], bytes[MEMORY_CACHE]);
}

static void a_window_keeps_two_frames_of_its_sinks(void **state)
{
    (void)state;
    struct choice choice = choice_for("lm_infinite:window=1024,sinks=70", 2, 20000);
    const int64_t panel_bytes = 64 * 2 * 3 * 64 * 2;
    const struct memory_plan plan = plan_for(&choice, 1);
    const struct memory_need need = need_for(&choice, 1);
    assert_int_equal(need.sink_panels, 2);
    assert_int_equal(need.slots, 2 * need.cache_panels + 2 * 3);
    assert_true(plan.bytes[MEMORY_CACHE] >= 30 * need.slots * panel_bytes / 2);
    assert_int_equal(need.stage_rows, 1024 + 70);
    choice.request.context_tokens = 1024;
    assert_int_equal(need_for(&choice, 1).sink_panels, 0);
}

/* ---- how it grows ---- */

static const enum memory_region growing[] = {MEMORY_CACHE, MEMORY_HIDDEN, MEMORY_QUERIES,
                                             MEMORY_STATE, MEMORY_ROPE_TABLES};

static void what_grows_with_the_sequence_falls_with_the_workers(void **state)
{
    (void)state;
    const struct choice one = choice_for("rope", 1, 32768);
    const struct memory_plan alone = plan_for(&one, 0);
    for (int workers = 2; workers <= 4; workers++) {
        const struct choice choice = choice_for("rope", workers, 32768);
        for (int r = 0; r < workers; r++) {
            const struct memory_plan plan = plan_for(&choice, r);
            for (size_t g = 0; g < sizeof growing / sizeof growing[0]; g++)
                assert_true((double)plan.bytes[growing[g]] <
                            1.05 / workers * (double)alone.bytes[growing[g]]);
        }
    }
    assert_int_equal(alone.bytes[MEMORY_RECEIVE_SLOTS], 0);
}

static void under_a_window_memory_is_flat_in_the_length(void **state)
{
    (void)state;
    for (int workers = 1; workers <= 3; workers++) {
        const struct choice short_choice = choice_for("lm_infinite:window=2048", workers, 32768);
        const struct choice long_choice = choice_for("lm_infinite:window=2048", workers, 1 << 20);
        for (int r = 0; r < workers; r++) {
            const struct memory_plan small = plan_for(&short_choice, r);
            const struct memory_plan large = plan_for(&long_choice, r);
            for (int region = 0; region < MEMORY_REGIONS; region++)
                if (region != MEMORY_IDS && region != MEMORY_SCORES && region != MEMORY_DRAFTS)
                    assert_int_equal(small.bytes[region], large.bytes[region]);
            /* The window and the stage, shared out; the last rank has the window's most of both. */
            assert_true(need_for(&long_choice, r).cache_panels <= (2048 + 2048) / 64 + 6);
        }
    }
}

/* ---- a group's sizes ---- */

static void a_group_of_any_size_has_room_for_a_longest_request_in_stages(void **state)
{
    (void)state;
    static const char *const methods[] = {"rope", "string:shift=4096,local=128",
                                          "lm_infinite:window=1024,sinks=70"};
    for (int workers = 1; workers <= 4; workers++)
        for (int64_t context = 64; context <= 1 << 20; context *= 7)
            for (size_t m = 0; m < sizeof methods / sizeof methods[0]; m++) {
                struct group_choice group = group_choice_usual(workers);
                memory_group_size(&group, 8, context);
                rows_for_stages = group.stage_rows;
                struct choice choice = choice_for(methods[m], workers, context);
                rows_for_stages = 0;
                choice.group = group;
                choice.group.pool_slots =
                    memory_group_slots(&choice.group, &smol, &needs, INT64_C(1) << 50);
                for (int r = 0; r < workers; r++) {
                    const struct memory_need need = need_for(&choice, r);
                    if (memory_need_check(&need, &choice) != STATUS_OK)
                        fail_msg("%s", status_message());
                    assert_true(8 * need.slots <= choice.group.pool_slots);
                }
            }
}

static void a_pool_takes_what_the_limit_leaves(void **state)
{
    (void)state;
    struct group_choice group = group_choice_usual(1);
    struct memory_plan plan;
    memory_group_size(&group, 4, 6400);
    int64_t before = 0;
    /* One with K in two frames, and three with K in one; with V, and two panels of sinks. */
    const int64_t most = 100 * 3 + 2 * 4 + 3 * (100 * 2 + 2 * 3);
    for (int64_t limit = 1 << 20; limit < INT64_C(1) << 40; limit *= 2) {
        group.pool_slots = memory_group_slots(&group, &smol, &needs, limit);
        assert_true(group.pool_slots >= before && group.pool_slots <= most);
        before = group.pool_slots;
        memory_plan_make(&plan, &smol, &group, 0, &needs);
        if (group.pool_slots > 0)
            assert_true(plan.total_bytes <= limit + 64);
    }
    assert_int_equal(before, most);
}

static void what_a_group_has_no_room_for_is_refused_with_the_numbers(void **state)
{
    (void)state;
    struct choice choice = choice_for("rope", 2, 6400);
    struct memory_need all[2];
    assert_int_equal(memory_need_make(all, &choice, 0, 2), STATUS_OK);
    memory_group_fit(&choice.group, all, &choice.request);
    const struct group_choice fitted = choice.group;
    assert_int_equal(memory_need_check(&all[0], &choice), STATUS_OK);
    choice.group.pool_slots--;
    assert_int_equal(memory_need_check(&all[0], &choice), STATUS_OUT_OF_RANGE);
    assert_non_null(strstr(status_message(), "needs 110 records"));
    assert_non_null(strstr(status_message(), "room for 109"));
    choice.group = fitted;
    choice.group.stage_rows--;
    assert_int_equal(memory_need_check(&all[0], &choice), STATUS_OUT_OF_RANGE);
    choice.group = fitted;
    choice.group.step_rows--;
    assert_int_equal(memory_need_check(&all[0], &choice), STATUS_OUT_OF_RANGE);
    choice.group = fitted;
    choice.group.context_tokens--;
    assert_int_equal(memory_need_check(&all[0], &choice), STATUS_OUT_OF_RANGE);
}

/* ---- saying it ---- */

/* Ranges are aligned, so a window may touch one more than it is long, drafted tokens
 * another, and sinks have their own. */
static void decode_has_enough_ranges_and_never_many(void **state)
{
    (void)state;
    static const struct {
        const char *method;
        int workers;
        int64_t context, range, ranges;
    } rows[] = {
        {"rope", 1, 90, 128, 1 + 3},
        {"rope", 1, 2048, 128, 16 + 3},
        {"rope", 1, 4096, 128, 32 + 3},
        {"rope", 1, 4097, 256, 17 + 3},
        {"rope", 1, 131072, 4096, 32 + 3},
        {"rope", 4, 131072, 4096, 32 + 3},
        {"rope", 4, 2048, 512, 4 + 3},
        {"lm_infinite:window=2048", 1, 131072, 128, 17 + 3},
        {"lm_infinite:window=2048", 1, 1 << 20, 128, 17 + 3},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct choice choice = choice_for(rows[i].method, rows[i].workers, rows[i].context);
        assert_int_equal(memory_plan_range_tokens(&choice), rows[i].range);
        assert_int_equal(memory_plan_ranges(&choice), rows[i].ranges);
    }
    struct choice staged = choice_for("rope", 2, 8192);
    staged.request.queries = CHOICE_REPLICATED;
    staged.request.stage_tokens = 256;
    assert_int_equal(memory_plan_range_tokens(&staged), 2048);
}

static void a_plan_that_does_not_fit_is_refused_with_the_numbers(void **state)
{
    (void)state;
    struct memory_plan plan = {.rank = 3, .total_bytes = INT64_C(5) << 30};
    plan.bytes[MEMORY_WEIGHTS] = INT64_C(1) << 30;
    plan.bytes[MEMORY_CACHE] = INT64_C(3) << 30;
    assert_int_equal(memory_plan_fits(&plan, 0), STATUS_OK);
    assert_int_equal(memory_plan_fits(&plan, plan.total_bytes), STATUS_OK);
    assert_int_equal(memory_plan_fits(&plan, plan.total_bytes - 1), STATUS_OUT_OF_RANGE);
    assert_int_equal(memory_plan_fits(&plan, INT64_C(2) << 30), STATUS_OUT_OF_RANGE);
    assert_non_null(strstr(status_message(), "5.00 GiB on rank 3"));
    assert_non_null(strstr(status_message(), "cache 3.00"));
    assert_non_null(strstr(status_message(), "2.00 GiB are there"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_prompt_and_answer_up_to_the_context_fits),
        cmocka_unit_test(bytes_are_those_of_the_shapes),
        cmocka_unit_test(a_window_keeps_two_frames_of_its_sinks),
        cmocka_unit_test(what_grows_with_the_sequence_falls_with_the_workers),
        cmocka_unit_test(under_a_window_memory_is_flat_in_the_length),
        cmocka_unit_test(a_group_of_any_size_has_room_for_a_longest_request_in_stages),
        cmocka_unit_test(a_pool_takes_what_the_limit_leaves),
        cmocka_unit_test(what_a_group_has_no_room_for_is_refused_with_the_numbers),
        cmocka_unit_test(decode_has_enough_ranges_and_never_many),
        cmocka_unit_test(a_plan_that_does_not_fit_is_refused_with_the_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
