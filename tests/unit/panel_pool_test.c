/* The pool's slots against a plain list of holders: what is taken was free and in a row, a run that
 * exists is found, and closing up moves every record down, once. */
#include "tests/support/unit.h"

#include "tests/support/random.h"
#include "worker/engine/cache/panel_pool.h"

enum { SLOTS = 23, STEPS = 20000, RUNS = 8 };

struct run {
    int64_t first, count; /* count 0: none */
};

static int64_t longest_free_run(const struct panel_pool *pool)
{
    int64_t longest = 0, run = 0;
    for (int64_t slot = 0; slot < panel_pool_slots(pool); slot++) {
        run = panel_pool_holders(pool, slot) == 0 ? run + 1 : 0;
        longest = run > longest ? run : longest;
    }
    return longest;
}

static void check_count(const struct panel_pool *pool, const struct run runs[RUNS],
                        const int extra[SLOTS])
{
    int64_t free_slots = 0;
    for (int64_t slot = 0; slot < SLOTS; slot++) {
        int holders = extra[slot];
        for (int r = 0; r < RUNS; r++)
            holders += slot >= runs[r].first && slot < runs[r].first + runs[r].count;
        assert_int_equal(panel_pool_holders(pool, slot), holders);
        free_slots += holders == 0;
    }
    assert_int_equal(panel_pool_free(pool), free_slots);
}

/* The fewest slots that may move: held ones of any range with so many free ones. */
static int64_t fewest_moves(const struct panel_pool *pool, int64_t count)
{
    int64_t fewest = SLOTS;
    for (int64_t first = 0; first < SLOTS; first++) {
        int64_t free_slots = 0, held = 0;
        for (int64_t slot = first; slot < SLOTS && free_slots < count; slot++) {
            free_slots += panel_pool_holders(pool, slot) == 0;
            held += panel_pool_holders(pool, slot) > 0;
        }
        if (free_slots == count && held < fewest)
            fewest = held;
    }
    return fewest;
}

static void close_up(struct panel_pool *pool, struct run runs[RUNS], int extra[SLOTS],
                     int64_t count)
{
    int64_t to[SLOTS];
    int moved[SLOTS] = {0};
    const int64_t fewest = fewest_moves(pool, count);
    int64_t moves = 0;
    int64_t last = -1;
    panel_pool_close_up(pool, count, to);
    for (int64_t slot = 0; slot < SLOTS; slot++) {
        if (to[slot] < 0)
            continue;
        assert_true(to[slot] > last && to[slot] <= slot);
        last = to[slot];
        moves += to[slot] != slot;
        moved[to[slot]] = extra[slot];
    }
    assert_true(moves <= fewest);
    assert_true(longest_free_run(pool) >= count);
    for (int64_t slot = 0; slot < SLOTS; slot++)
        extra[slot] = moved[slot];
    for (int r = 0; r < RUNS; r++) {
        if (runs[r].count > 0)
            assert_int_equal(to[runs[r].first + runs[r].count - 1],
                             to[runs[r].first] + runs[r].count - 1);
        runs[r].first = runs[r].count > 0 ? to[runs[r].first] : 0;
    }
}

static void slots_are_counted_through_any_sequence_of_calls(void **state)
{
    (void)state;
    struct panel_pool *pool;
    struct run runs[RUNS] = {0};
    int extra[SLOTS] = {0}; /* holders of single slots */
    struct random random = {.state = 4};
    assert_int_equal(panel_pool_create(&pool, SLOTS), STATUS_OK);
    for (int step = 0; step < STEPS; step++) {
        struct run *run = &runs[random_between(&random, 0, RUNS)];
        const int64_t slot = random_between(&random, 0, SLOTS);
        if (run->count > 0) {
            panel_pool_release(pool, run->first, run->count);
            *run = (struct run){0};
        } else {
            const int64_t wanted = random_between(&random, 0, 10);
            const bool fits = longest_free_run(pool) >= wanted;
            assert_int_equal(panel_pool_take(pool, &run->first, wanted), fits);
            run->count = fits ? wanted : 0;
        }
        if (panel_pool_holders(pool, slot) > 0 && random_between(&random, 0, 2) == 0) {
            panel_pool_hold(pool, slot, 1);
            extra[slot]++;
        } else if (extra[slot] > 0) {
            panel_pool_release(pool, slot, 1);
            extra[slot]--;
        }
        if (panel_pool_free(pool) > 0 && random_between(&random, 0, 10) == 0)
            close_up(pool, runs, extra, random_between(&random, 1, panel_pool_free(pool) + 1));
        check_count(pool, runs, extra);
    }
    panel_pool_destroy(pool);
}

static void an_empty_pool_gives_nothing_but_an_empty_run(void **state)
{
    (void)state;
    struct panel_pool *pool;
    int64_t first;
    assert_int_equal(panel_pool_create(&pool, 0), STATUS_OK);
    assert_true(panel_pool_take(pool, &first, 0));
    assert_false(panel_pool_take(pool, &first, 1));
    panel_pool_destroy(pool);
    panel_pool_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_are_counted_through_any_sequence_of_calls),
        cmocka_unit_test(an_empty_pool_gives_nothing_but_an_empty_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
