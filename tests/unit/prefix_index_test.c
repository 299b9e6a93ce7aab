/* The index of prefixes against a plain list of prompts: what is found is what was added, no more;
 * users keep what they use; what goes first was unused longest, and leaves no hole. */
#include "tests/support/unit.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/random.h"
#include "worker/engine/cache/prefix_index.h"

enum { PANEL = BANDS_LANES, PANELS_MOST = 6, PROMPTS = 12, RANKS = 3, STEPS = 4000 };

struct prompt {
    const char *root;
    int32_t ids[PANELS_MOST * PANEL];
    int entries[PANELS_MOST];
    int64_t panels; /* in use; 0: not there */
};

/* Prompts that share beginnings of any length. */
static void draw(struct prompt *prompt, struct random *random)
{
    static const char *const roots[] = {"|rope", "a|rope", "|string:shift=4,local=2"};
    prompt->root = roots[random_between(random, 0, 3)];
    for (int p = 0; p < PANELS_MOST; p++) {
        const int32_t letter = (int32_t)random_between(random, 0, 2);
        for (int t = 0; t < PANEL; t++)
            prompt->ids[p * PANEL + t] = letter * (t + 1);
    }
}

static void begin(struct prefix_index *index, struct prompt *prompt, struct random *random,
                  int64_t *next_slot)
{
    const int64_t panels = random_between(random, 1, PANELS_MOST + 1);
    const int64_t found =
        prefix_index_find(index, prompt->root, prompt->ids,
                          panels * PANEL + random_between(random, 0, PANEL), prompt->entries);
    assert_true(found <= panels);
    for (int64_t p = 0; p < panels; p++) {
        bool added;
        const struct prefix_panel panel = {(int)(p % RANKS), (*next_slot)++, 2};
        const int parent = p > 0 ? prompt->entries[p - 1] : -1;
        int entry;
        assert_int_equal(prefix_index_add(index, &entry, &added, prompt->root, parent,
                                          prompt->ids + p * PANEL, &panel),
                         STATUS_OK);
        assert_int_equal(added, p >= found);
        if (!added)
            assert_int_equal(entry, prompt->entries[p]);
        else
            assert_int_equal(prefix_index_panel(index, entry).slot, panel.slot);
        if (added)
            prefix_index_let_out(index, entry);
        prompt->entries[p] = entry;
    }
    prefix_index_use(index, prompt->entries, panels);
    prompt->panels = panels;
}

static void end(struct prefix_index *index, struct prompt *prompt)
{
    int entries[PANELS_MOST];
    assert_int_equal(
        prefix_index_find(index, prompt->root, prompt->ids, prompt->panels * PANEL, entries),
        prompt->panels);
    assert_memory_equal(entries, prompt->entries, (size_t)prompt->panels * sizeof *entries);
    prefix_index_leave(index, prompt->entries, prompt->panels);
    prompt->panels = 0;
}

static void prompts_find_what_others_have_left(void **state)
{
    (void)state;
    struct prefix_index *index;
    struct prompt *prompts = calloc(PROMPTS, sizeof *prompts);
    struct random random = {.state = 11};
    int64_t next_slot = 0;
    assert_non_null(prompts);
    assert_int_equal(prefix_index_create(&index, RANKS), STATUS_OK);
    for (int step = 0; step < STEPS; step++) {
        struct prompt *prompt = &prompts[random_between(&random, 0, PROMPTS)];
        struct prefix_panel panel;
        if (prompt->panels > 0) {
            end(index, prompt);
        } else {
            draw(prompt, &random);
            begin(index, prompt, &random, &next_slot);
        }
        if (random_between(&random, 0, 3) == 0 && prefix_index_evict(index, &panel))
            assert_true(panel.slot >= 0 && panel.slot < next_slot);
        assert_true(prefix_index_slots(index, true) <= prefix_index_slots(index, false));
    }
    for (int p = 0; p < PROMPTS; p++)
        if (prompts[p].panels > 0)
            end(index, &prompts[p]);
    assert_int_equal(prefix_index_slots(index, true), 0);
    struct prefix_panel panel;
    while (prefix_index_evict(index, &panel))
        ;
    assert_int_equal(prefix_index_slots(index, false), 0);
    prefix_index_destroy(index);
    free(prompts);
}

/* Of two prompts the one that was used first goes first, from its end; none while it is used. */
static void what_was_unused_longest_goes_first(void **state)
{
    (void)state;
    struct prefix_index *index;
    struct prefix_panel panel;
    struct random random = {.state = 3};
    struct prompt old = {.root = "|rope"}, fresh = {.root = "|rope"};
    int64_t slots = 0;
    fresh.ids[PANEL - 1] = 1;
    assert_int_equal(prefix_index_create(&index, RANKS), STATUS_OK);
    begin(index, &old, &random, &slots);
    const int64_t old_slots = slots;
    begin(index, &fresh, &random, &slots);
    assert_false(prefix_index_evict(index, &panel));
    end(index, &old);
    end(index, &fresh);
    for (int64_t slot = old_slots - 1; slot >= 0; slot--) {
        assert_true(prefix_index_evict(index, &panel));
        assert_int_equal(panel.slot, slot);
    }
    for (int64_t slot = slots - 1; slot >= old_slots; slot--) {
        assert_true(prefix_index_evict(index, &panel));
        assert_int_equal(panel.slot, slot);
    }
    assert_false(prefix_index_evict(index, &panel));
    prefix_index_destroy(index);
    prefix_index_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prompts_find_what_others_have_left),
        cmocka_unit_test(what_was_unused_longest_goes_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
