/* The sums that a tally counts are those of the lists that a schedule makes: stage by stage, for
 * everything small, and for prompts of many stages. */
#include "tests/support/unit.h"

#include "proto/plan/tally.h"
#include "tests/support/plan_methods.h"

enum { LENGTH_MAX = 40, LONG_TOKENS = 1500, MANY_TOKENS = 331 };

static const char *const methods[] = {
    "rope",
    "string:shift=7,local=3",
    "lm_infinite:window=3,sinks=5,ceiling=2",
    "lm_infinite:window=9,sinks=0",
    "lm_infinite:window=20,sinks=4",
    "lm_infinite:window=200,sinks=70,ceiling=90",
    "dca:chunk=32,local=8",
};

static struct choice make_choice(const char *method, int workers, int panel_tokens,
                                 int64_t context_tokens)
{
    return (struct choice){.request.method = plan_methods_parse(method),
                           .group.workers = workers,
                           .request.context_tokens = context_tokens,
                           .group.panel_tokens = panel_tokens,
                           .group.block_tokens = 3 * panel_tokens,
                           .group.receive_slots = workers,
                           .group.kernels = "reference",
                           .request.replicate_tokens = 2};
}

static void compare(const struct schedule *counted, const struct schedule *made)
{
    assert_int_equal(counted->stage.first, made->stage.first);
    assert_int_equal(counted->stage.end, made->stage.end);
    assert_int_equal(counted->replicated, made->replicated);
    for (int r = 0; r < made->workers; r++) {
        const struct schedule_rank *left = &counted->ranks[r], *right = &made->ranks[r];
        if (left->rows != right->rows || left->pairs != right->pairs ||
            left->edges != right->edges || left->receive_count != right->receive_count ||
            left->receive_tokens != right->receive_tokens ||
            left->send_tokens != right->send_tokens)
            fail_msg("stage [%lld, %lld), rank %d of %d: rows %lld %lld, pairs %lld %lld, edges "
                     "%lld %lld, receives "
                     "%d %d, received %lld %lld, sent %lld %lld",
                     (long long)made->stage.first, (long long)made->stage.end, r, made->workers,
                     (long long)left->rows, (long long)right->rows, (long long)left->pairs,
                     (long long)right->pairs, (long long)left->edges, (long long)right->edges,
                     left->receive_count, right->receive_count, (long long)left->receive_tokens,
                     (long long)right->receive_tokens, (long long)left->send_tokens,
                     (long long)right->send_tokens);
    }
}

static void run(const struct choice *choice, int64_t tokens)
{
    struct bands bands;
    struct ownership *ownership = NULL;
    struct tally *tally = NULL;
    struct schedule counted, made;
    method_bands(&choice->request.method, &bands);
    assert_int_equal(choice_check(choice), STATUS_OK);
    assert_int_equal(
        ownership_create(&ownership, choice->group.workers, choice->group.panel_tokens), STATUS_OK);
    assert_int_equal(tally_create(&tally, choice, ownership), STATUS_OK);
    assert_int_equal(schedule_init(&counted, choice->group.workers), STATUS_OK);
    assert_int_equal(schedule_init(&made, choice->group.workers), STATUS_OK);
    for (int64_t done = 0; done < tokens;) {
        const struct span stage = choice_stage(choice, done, tokens);
        assert_int_equal(choice_deal(choice, ownership, stage), STATUS_OK);
        assert_int_equal(tally_stage(tally, &counted, stage), STATUS_OK);
        assert_int_equal(schedule_make(&made, choice, &bands, ownership, stage), STATUS_OK);
        compare(&counted, &made);
        done = stage.end;
    }
    schedule_deinit(&made);
    schedule_deinit(&counted);
    tally_destroy(tally);
    ownership_destroy(ownership);
}

/* Every way to deal, to move keys and to hold queries. */
static void run_ways(struct choice choice, int64_t tokens)
{
    struct bands bands;
    method_bands(&choice.request.method, &bands);
    const bool limited = bands_reach(&bands) != BANDS_OPEN;
    for (int partition = PARTITION_CONTIGUOUS; partition <= PARTITION_ZIGZAG; partition++) {
        for (int schedule = CHOICE_GATHER; schedule <= CHOICE_RING; schedule++) {
            if (schedule == CHOICE_HALO && !limited)
                continue;
            for (int queries = CHOICE_SHARDED; queries <= CHOICE_AUTO; queries++) {
                choice.request.partition = (enum partition_kind)partition;
                choice.request.schedule = (enum choice_schedule)schedule;
                choice.request.queries = (enum choice_queries)queries;
                choice.request.weights.count = 0;
                run(&choice, tokens);
                choice.request.weights.count = choice.group.workers;
                for (int r = 0; r < choice.group.workers; r++)
                    choice.request.weights.parts[r] = (uint8_t)(1 + 5 * r % 3);
                run(&choice, tokens);
            }
        }
    }
}

static void small_prompts_are_counted_as_they_are_scheduled(void **state)
{
    (void)state;
    for (size_t m = 0; m < sizeof methods / sizeof methods[0]; m++)
        for (int workers = 1; workers <= 5; workers++)
            for (int panel_tokens = 1; panel_tokens <= 4; panel_tokens *= 2)
                for (int64_t tokens = 1; tokens <= LENGTH_MAX; tokens += 3)
                    for (int64_t stage = 0; stage <= tokens; stage = 2 * stage + 1) {
                        struct choice choice =
                            make_choice(methods[m], workers, panel_tokens, tokens + 3);
                        choice.request.stage_tokens = stage;
                        run_ways(choice, tokens);
                    }
}

static void many_stages_are_counted_as_they_are_scheduled(void **state)
{
    (void)state;
    for (size_t m = 0; m < sizeof methods / sizeof methods[0]; m++)
        for (int64_t stage = 1; stage <= 64; stage *= 4) {
            struct choice choice = make_choice(methods[m], 3, 4, LONG_TOKENS);
            choice.request.stage_tokens = stage;
            run_ways(choice, LONG_TOKENS);
        }
}

/* Shards of a few panels: blocks that many ranks read, some of them in part. */
static void many_workers_are_counted_as_they_are_scheduled(void **state)
{
    (void)state;
    for (size_t m = 0; m < sizeof methods / sizeof methods[0]; m++)
        for (int workers = 6; workers <= 24; workers += 9)
            for (int64_t stage = 0; stage <= 300; stage += 100) {
                struct choice choice = make_choice(methods[m], workers, 2, MANY_TOKENS);
                choice.request.stage_tokens = stage;
                run_ways(choice, MANY_TOKENS);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_prompts_are_counted_as_they_are_scheduled),
        cmocka_unit_test(many_stages_are_counted_as_they_are_scheduled),
        cmocka_unit_test(many_workers_are_counted_as_they_are_scheduled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
