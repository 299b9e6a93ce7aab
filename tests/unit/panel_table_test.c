/* The map from panels to slots, against a memory that it moves about: after every stage and token
 * each live panel is where the table says, with what was put there, and no slot is another's. */
#include "tests/support/unit.h"

#include <string.h>

#include "worker/engine/cache/panel_table.h"

enum { PANEL = BANDS_LANES, SLOTS_MOST = 160, FIRST = 3, SHARED_AT = 120, CLEAR = -1 };

struct scene {
    struct ownership *ownership;
    struct panel_table *table;
    int64_t slots, panel_slots;
    int64_t memory[SLOTS_MOST]; /* which panel's keys a slot has */
    int workers, rank;
    int64_t reach;
};

static void apply(struct scene *scene, const struct panel_moves *moves)
{
    for (int64_t m = 0; m < moves->count; m++) {
        const struct panel_move *move = &moves->list[m];
        assert_true(move->to >= FIRST && move->to < FIRST + scene->slots);
        assert_true(move->from < 0 || move->from > move->to);
        for (int64_t s = 0; s < moves->slots; s++)
            scene->memory[move->to + s] = move->from < 0 ? CLEAR : scene->memory[move->from + s];
    }
}

/* A record says which panel it is of, and which of its slots. */
static int64_t record(int64_t panel, int64_t slot)
{
    return 8 * panel + slot;
}

/* What a stage writes: every panel that it touches, where this rank owns it. */
static void write(struct scene *scene, struct span stage)
{
    for (int64_t index = stage.first; index < stage.end; index++)
        if (ownership_owner(scene->ownership, index) == scene->rank)
            for (int64_t s = 0; s < scene->panel_slots; s++)
                scene->memory[panel_table_slot(scene->table, index) + s] = record(index / PANEL, s);
}

static void check(const struct scene *scene, int64_t live_first, int64_t end)
{
    for (int64_t index = live_first; index < end;) {
        const int64_t panel = index / PANEL;
        if (ownership_owner(scene->ownership, index) != scene->rank) {
            index = (panel + 1) * PANEL;
            continue;
        }
        const int64_t slot = panel_table_slot(scene->table, index);
        for (int64_t s = 0; s < scene->panel_slots; s++)
            assert_int_equal(scene->memory[slot + s], record(panel, s));
        int64_t extent_end = index;
        int64_t owned_end = index;
        struct owned_span owned;
        ownership_next(scene->ownership, &owned_end, end, &owned);
        assert_int_equal(panel_table_extent(scene->table, &extent_end, owned.span.end), slot);
        assert_true(extent_end > index && extent_end <= owned.span.end);
        for (int64_t i = index; i < extent_end; i++)
            assert_int_equal(panel_table_slot(scene->table, i),
                             slot + (i / PANEL - panel) * scene->panel_slots);
        index = extent_end;
    }
}

static void run_stage(struct scene *scene, struct span stage, enum partition_kind kind)
{
    struct panel_moves moves;
    const int64_t live = ownership_live_first(scene->ownership, stage.first, scene->reach);
    assert_int_equal(ownership_advance(scene->ownership, stage.end - stage.first, kind, NULL),
                     STATUS_OK);
    assert_int_equal(
        panel_table_stage(scene->table, &moves, scene->ownership, scene->rank, stage, live),
        STATUS_OK);
    apply(scene, &moves);
    check(scene, live, stage.first);
    write(scene, stage);
    check(scene, live, stage.end);
}

static void run_token(struct scene *scene, int64_t index)
{
    struct panel_moves moves = {0};
    const int64_t live = ownership_live_first(scene->ownership, index, scene->reach);
    assert_int_equal(ownership_advance(scene->ownership, 1, PARTITION_ROUND_ROBIN, NULL),
                     STATUS_OK);
    if (ownership_owner(scene->ownership, index) == scene->rank)
        assert_int_equal(panel_table_append(scene->table, &moves, index, live), STATUS_OK);
    apply(scene, &moves);
    write(scene, (struct span){index, index + 1});
    check(scene, live, index + 1);
}

/* A prefix of `shared` full panels, all rank 0's, in slots of others. */
static void open(struct scene *scene, int64_t sink_panels, int64_t shared)
{
    int64_t panels[SLOTS_MOST], slots[SLOTS_MOST];
    const struct owned_span prefix = {{0, shared * PANEL}, 0};
    const int64_t mine = scene->rank == 0 ? shared : 0;
    memset(scene->memory, 0xff, sizeof scene->memory);
    for (int64_t p = 0; p < mine; p++) {
        panels[p] = p;
        slots[p] = SHARED_AT + (p * 5) % 7 * scene->panel_slots; /* not in a row */
        for (int64_t s = 0; s < scene->panel_slots; s++)
            scene->memory[slots[p] + s] = record(p, s);
    }
    const struct panel_table_place place = {
        .first = FIRST,
        .slots = scene->slots,
        .panel_slots = scene->panel_slots,
        .sink_panels = sink_panels,
        .sink_slots = 2,
        .shared_panels = panels,
        .shared_slots = slots,
        .shared = mine,
    };
    assert_int_equal(ownership_create(&scene->ownership, scene->workers, PANEL), STATUS_OK);
    assert_int_equal(ownership_deal(scene->ownership, &prefix, shared > 0), STATUS_OK);
    assert_int_equal(panel_table_create(&scene->table, &place), STATUS_OK);
}

static void run(struct scene *scene, int64_t stage_tokens, enum partition_kind kind,
                int64_t sink_panels, int64_t shared)
{
    enum { STAGES = 5, ANSWER = 3 * PANEL };
    open(scene, sink_panels, shared);
    int64_t end = shared * PANEL;
    for (int s = 0; s < STAGES; s++, end += stage_tokens)
        run_stage(scene, (struct span){end, end + stage_tokens},
                  s == 2 ? PARTITION_ROUND_ROBIN : kind);
    for (int64_t t = 0; t < ANSWER; t++)
        run_token(scene, end + t);
    for (int64_t slot = FIRST; slot < FIRST + 2 * sink_panels; slot++)
        assert_int_equal(scene->memory[slot], CLEAR); /* never a panel's */
    panel_table_destroy(scene->table);
    ownership_destroy(scene->ownership);
}

static void every_live_panel_is_where_the_table_says(void **state)
{
    (void)state;
    static const int64_t stages[] = {1, 63, 64, 65, 200, 320};
    static const int64_t reaches[] = {1, 64, 100, 300, BANDS_OPEN};
    for (int workers = 1; workers <= 3; workers++)
        for (int rank = 0; rank < workers; rank++)
            for (size_t s = 0; s < sizeof stages / sizeof stages[0]; s++)
                for (size_t r = 0; r < sizeof reaches / sizeof reaches[0]; r++)
                    for (int kind = PARTITION_CONTIGUOUS; kind <= PARTITION_ZIGZAG; kind++)
                        for (int64_t shared = 0; shared <= 3; shared++) {
                            struct scene scene = {.workers = workers,
                                                  .rank = rank,
                                                  .slots = 38 * (1 + shared % 3),
                                                  .panel_slots = 1 + shared % 3,
                                                  .reach = reaches[r]};
                            run(&scene, stages[s], (enum partition_kind)kind, shared % 3, shared);
                        }
}

/* Under a window a prompt of any length needs no more slots than what is in sight. */
static void dead_panels_make_room(void **state)
{
    (void)state;
    struct scene scene = {.workers = 1, .slots = 4, .panel_slots = 1, .reach = 100};
    open(&scene, 0, 0);
    for (int64_t index = 0; index < 40 * PANEL; index++)
        run_token(&scene, index);
    panel_table_destroy(scene.table);
    ownership_destroy(scene.ownership);
}

static void too_few_slots_are_told(void **state)
{
    (void)state;
    struct scene scene = {.workers = 1, .slots = 5, .panel_slots = 2, .reach = BANDS_OPEN};
    struct panel_moves moves;
    open(&scene, 0, 0);
    assert_int_equal(ownership_advance(scene.ownership, 3 * PANEL, PARTITION_CONTIGUOUS, NULL),
                     STATUS_OK);
    assert_int_equal(
        panel_table_stage(scene.table, &moves, scene.ownership, 0, (struct span){0, 3 * PANEL}, 0),
        STATUS_INTERNAL);
    panel_table_destroy(scene.table);
    ownership_destroy(scene.ownership);
}

static void a_table_lets_go_of_what_it_was_given(void **state)
{
    (void)state;
    struct panel_pool *pool;
    struct panel_table *table;
    int64_t to[8], lent, own, index = 0;
    assert_int_equal(panel_pool_create(&pool, 8), STATUS_OK);
    assert_true(panel_pool_take(pool, &lent, 2));
    assert_true(panel_pool_take(pool, &own, 3));
    panel_pool_hold(pool, 1, 1);
    panel_pool_release(pool, 0, 2); /* slot 1 has the table alone */
    const struct panel_table_place place = {.first = own,
                                            .slots = 3,
                                            .panel_slots = 1,
                                            .shared_panels = (int64_t[]){0},
                                            .shared_slots = (int64_t[]){1},
                                            .shared = 1};
    assert_int_equal(panel_table_create(&table, &place), STATUS_OK);
    panel_pool_close_up(pool, panel_pool_free(pool), to);
    panel_table_renumber(table, to);
    assert_int_equal(panel_table_slot(table, 0), 0);
    assert_int_equal(panel_table_extent(table, &index, 64), 0);
    assert_int_equal(panel_table_sinks(table), 1);
    panel_table_release(table, pool);
    assert_int_equal(panel_pool_free(pool), 8);
    panel_table_destroy(table);
    panel_pool_destroy(pool);
}

/* After a prompt rank 0 takes the live panels of the others, among its own; and answers. */
static void panels_of_other_ranks_are_taken_in_among_those_that_are_there(void **state)
{
    (void)state;
    enum { WORKERS = 3, PROMPT = 17 * PANEL + 20, ANSWER = 3 * PANEL };
    static const int64_t reaches[] = {BANDS_OPEN, 5 * PANEL + 3};
    for (size_t r = 0; r < sizeof reaches / sizeof reaches[0]; r++) {
        struct scene scene = {
            .slots = 80, .panel_slots = 2, .workers = WORKERS, .reach = reaches[r]};
        open(&scene, 0, 0);
        run_stage(&scene, (struct span){0, 9 * PANEL + 7}, PARTITION_ZIGZAG);
        run_stage(&scene, (struct span){9 * PANEL + 7, PROMPT}, PARTITION_CONTIGUOUS);
        const int64_t live = ownership_live_first(scene.ownership, PROMPT, scene.reach);
        struct owned_span owned;
        panel_table_drop(scene.table, live);
        for (int64_t index = live; ownership_next(scene.ownership, &index, PROMPT, &owned);)
            for (int64_t panel = owned.span.first / PANEL;
                 owned.owner != 0 && panel * PANEL < owned.span.end; panel++)
                assert_int_equal(panel_table_take(scene.table, panel), STATUS_OK);
        assert_int_equal(ownership_give(scene.ownership, 0), STATUS_OK);
        write(&scene, (struct span){live, PROMPT});
        check(&scene, live, PROMPT);
        for (int64_t t = PROMPT; t < PROMPT + ANSWER; t++) {
            struct panel_moves moves = {0};
            const struct owned_span next = {{t, t + 1}, 0};
            const int64_t alive = ownership_live_first(scene.ownership, t, scene.reach);
            assert_int_equal(ownership_deal(scene.ownership, &next, 1), STATUS_OK);
            assert_int_equal(panel_table_append(scene.table, &moves, t, alive), STATUS_OK);
            apply(&scene, &moves);
            write(&scene, (struct span){t, t + 1});
            check(&scene, alive, t + 1);
        }
        panel_table_destroy(scene.table);
        ownership_destroy(scene.ownership);
    }
}

/* Tokens that were guessed go across a panel's boundary and back; nothing that lives is dropped for
 * them, and their panel's slots are the next one's. */
static void panels_of_forgotten_tokens_are_free_again(void **state)
{
    (void)state;
    enum { PROMPT = 2 * PANEL + 50, ANSWER = 6 * PANEL, GUESSED = 15 };
    struct scene scene = {.slots = 5 * 2, .panel_slots = 2, .workers = 1, .reach = 2 * PANEL};
    open(&scene, 0, 0);
    run_stage(&scene, (struct span){0, PROMPT}, PARTITION_CONTIGUOUS);
    for (int64_t t = PROMPT; t < PROMPT + ANSWER; t += 1 + t % 3) {
        struct panel_moves moves = {0};
        const int64_t live = ownership_live_first(scene.ownership, t, scene.reach);
        for (int64_t index = t; index < t + GUESSED; index++) {
            assert_int_equal(ownership_advance(scene.ownership, 1, PARTITION_ROUND_ROBIN, NULL),
                             STATUS_OK);
            assert_int_equal(panel_table_append(scene.table, &moves, index, live), STATUS_OK);
            apply(&scene, &moves);
            write(&scene, (struct span){index, index + 1});
        }
        check(&scene, live, t + GUESSED);
        ownership_retreat(scene.ownership, t + 1 + t % 3);
        panel_table_retreat(scene.table, t + 1 + t % 3);
        check(&scene, live, t + 1 + t % 3);
    }
    panel_table_destroy(scene.table);
    ownership_destroy(scene.ownership);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_live_panel_is_where_the_table_says),
        cmocka_unit_test(dead_panels_make_room),
        cmocka_unit_test(too_few_slots_are_told),
        cmocka_unit_test(a_table_lets_go_of_what_it_was_given),
        cmocka_unit_test(panels_of_other_ranks_are_taken_in_among_those_that_are_there),
        cmocka_unit_test(panels_of_forgotten_tokens_are_free_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
