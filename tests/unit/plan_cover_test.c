/* Every visible pair is computed once, with the right effective distance, over everything small:
 * lengths, workers, panels, stages, schedules, partitions, both ways to hold queries, methods, and
 * decoding with eviction. */
#include "tests/support/unit.h"

#include <stdio.h>

#include "tests/support/plan_methods.h"
#include "tests/support/plan_world.h"

enum { LENGTH_MAX = 21, DECODED = 5, TABLES = 1000, SEED = 411 };

static bool table_sees(const void *definition, int64_t i, int64_t j, double *distance, bool *far)
{
    int key_frame = 0;
    const bool visible = cases_sees(definition, i, j, distance, &key_frame);
    *far = visible && key_frame >= ((const struct bands *)definition)->panel_frames;
    return visible;
}

/* One way to hold and move what a stage needs. */
static const struct way {
    const char *name;
    enum choice_schedule schedule;
    enum partition_kind partition;
    enum choice_queries queries;
    bool weighed; /* later ranks get more */
} ways[] = {
    {"gather zigzag", CHOICE_GATHER, PARTITION_ZIGZAG, CHOICE_SHARDED, false},
    {"gather contiguous", CHOICE_GATHER, PARTITION_CONTIGUOUS, CHOICE_SHARDED, false},
    {"halo zigzag", CHOICE_HALO, PARTITION_ZIGZAG, CHOICE_SHARDED, false},
    {"halo contiguous", CHOICE_HALO, PARTITION_CONTIGUOUS, CHOICE_AUTO, false},
    {"ring zigzag", CHOICE_RING, PARTITION_ZIGZAG, CHOICE_SHARDED, false},
    {"ring contiguous", CHOICE_RING, PARTITION_CONTIGUOUS, CHOICE_AUTO, false},
    {"replicated", CHOICE_GATHER, PARTITION_ZIGZAG, CHOICE_REPLICATED, false},
    {"weighed gather zigzag", CHOICE_GATHER, PARTITION_ZIGZAG, CHOICE_AUTO, true},
    {"weighed halo contiguous", CHOICE_HALO, PARTITION_CONTIGUOUS, CHOICE_SHARDED, true},
    {"weighed ring zigzag", CHOICE_RING, PARTITION_ZIGZAG, CHOICE_SHARDED, true},
};
enum { WAYS = sizeof ways / sizeof ways[0] };

static struct choice small_choice(const struct method *method, const struct way *way, int workers,
                                  int panel_tokens, int64_t context_tokens)
{
    struct choice choice = {
        .request.method = *method,
        .group.workers = workers,
        .request.partition = way->partition,
        .request.schedule = way->schedule,
        .request.context_tokens = context_tokens,
        .group.panel_tokens = panel_tokens,
        .group.block_tokens = panel_tokens * (1 + context_tokens % 3),
        .group.receive_slots = way->schedule == CHOICE_RING && workers > 2 ? workers - 1 : 1,
        .group.cache = (enum choice_cache)(workers % 3),
        .group.kernels = "reference",
        .request.queries = way->queries,
        .request.replicate_tokens = 2,
    };
    choice.request.weights.count = way->weighed ? workers : 0;
    for (int r = 0; r < choice.request.weights.count; r++)
        choice.request.weights.parts[r] = (uint8_t)(2 * r + 1);
    return choice;
}

static void run_method(const struct plan_method *definition, const struct way *way, int workers,
                       int panel_tokens, int64_t tokens, int stages)
{
    char label[200];
    static struct world world;
    const struct method method = plan_methods_parse(definition->spelling);
    snprintf(label, sizeof label, "%s, %s, %d workers, panels of %d, %lld tokens in %d stages",
             definition->spelling, way->name, workers, panel_tokens, (long long)tokens, stages);
    memset(&world, 0, sizeof world);
    world.label = label;
    world.choice = small_choice(&method, way, workers, panel_tokens, tokens + DECODED);
    world.choice.request.stage_tokens = stages == 1 ? 0 : (tokens + stages - 1) / stages;
    world.sees = plan_methods_sees;
    world.definition = definition;
    method_bands(&method, &world.bands);
    cases_seed(&world.random, (uint64_t)(tokens * 100 + workers));
    world_init(&world);
    int64_t done = 0;
    while (done < tokens) {
        const struct span stage = choice_stage(&world.choice, done, tokens);
        if (stage.first != done || stage.end <= done || stage.end > tokens)
            fail_msg("%s: a stage after %lld is [%lld, %lld)", label, (long long)done,
                     (long long)stage.first, (long long)stage.end);
        if (choice_deal(&world.choice, world.ownership, stage) != STATUS_OK)
            fail_msg("%s: %s", label, status_message());
        world_run_stage(&world, stage);
        done = stage.end;
    }
    world_decode(&world, DECODED);
    world_deinit(&world);
}

static void run_methods(int workers)
{
    for (int m = 0; m < plan_methods_count; m++) {
        for (int w = 0; w < WAYS; w++) {
            if (ways[w].schedule == CHOICE_HALO && !plan_methods[m].windowed)
                continue;
            for (int panel_tokens = 1; panel_tokens <= 4; panel_tokens *= 2)
                for (int64_t tokens = 1; tokens <= LENGTH_MAX; tokens++)
                    for (int stages = 1; stages <= 3; stages++)
                        run_method(&plan_methods[m], &ways[w], workers, panel_tokens, tokens,
                                   stages);
        }
    }
}

static void one_worker_computes_every_visible_pair_once(void **state)
{
    (void)state;
    run_methods(1);
}

static void two_workers_compute_every_visible_pair_once(void **state)
{
    (void)state;
    run_methods(2);
}

static void three_workers_compute_every_visible_pair_once(void **state)
{
    (void)state;
    run_methods(3);
}

static void four_workers_compute_every_visible_pair_once(void **state)
{
    (void)state;
    run_methods(4);
}

/* Random owned spans of one stage, cut at panels; some of them empty. */
static void deal_randomly(struct world *world, struct span stage)
{
    struct owned_span spans[2 * WORLD_TOKENS + 2];
    const int64_t panel = world->choice.group.panel_tokens;
    int count = 0;
    int64_t next = stage.first;
    if (next % panel != 0) {
        const int64_t end = next - next % panel + panel;
        spans[count++] = (struct owned_span){.span = {next, end < stage.end ? end : stage.end},
                                             .owner = ownership_owner(world->ownership, next - 1)};
        next = spans[0].span.end;
    }
    while (next < stage.end) {
        const int64_t end = next + panel * cases_between(&world->random, 0, 3);
        spans[count++] = (struct owned_span){
            .span = {next, end < stage.end ? end : stage.end},
            .owner = (int)cases_between(&world->random, 0, world->choice.group.workers - 1)};
        next = spans[count - 1].span.end;
        if (count > 2 * WORLD_TOKENS)
            spans[count - 1].span.end = next = stage.end;
    }
    if (ownership_deal(world->ownership, spans, count) != STATUS_OK)
        fail_msg("%s: %s", world->label, status_message());
}

static void run_table(uint64_t seed)
{
    char label[64];
    static struct world world;
    struct bands table;
    snprintf(label, sizeof label, "random table, seed %llu", (unsigned long long)seed);
    memset(&world, 0, sizeof world);
    world.label = label;
    cases_seed(&world.random, seed);
    const int64_t tokens = cases_between(&world.random, 1, WORLD_TOKENS - DECODED);
    const int workers = (int)cases_between(&world.random, 1, WORLD_RANKS);
    const int panel_tokens = 1 << cases_between(&world.random, 0, 2);
    const struct method rope = plan_methods_parse("rope");
    struct way way = {.schedule = cases_between(&world.random, 0, 1) ? CHOICE_RING : CHOICE_GATHER,
                      .queries = CHOICE_AUTO};
    world.choice = small_choice(&rope, &way, workers, panel_tokens, tokens + DECODED);
    cases_wide_bands(&table, &world.random, tokens);
    world.bands = table;
    world.sees = table_sees;
    world.definition = &table;
    world_init(&world);
    int64_t done = 0;
    while (done < tokens) {
        const struct span stage = {done, cases_between(&world.random, done + 1, tokens)};
        deal_randomly(&world, stage);
        world_run_stage(&world, stage);
        done = stage.end;
    }
    world_decode(&world, DECODED);
    world_deinit(&world);
}

static void random_tables_over_random_shards_compute_every_visible_pair_once(void **state)
{
    (void)state;
    print_message("seeds %d to %d\n", SEED, SEED + TABLES - 1);
    for (int n = 0; n < TABLES; n++)
        run_table(SEED + (uint64_t)n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_worker_computes_every_visible_pair_once),
        cmocka_unit_test(two_workers_compute_every_visible_pair_once),
        cmocka_unit_test(three_workers_compute_every_visible_pair_once),
        cmocka_unit_test(four_workers_compute_every_visible_pair_once),
        cmocka_unit_test(random_tables_over_random_shards_compute_every_visible_pair_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
