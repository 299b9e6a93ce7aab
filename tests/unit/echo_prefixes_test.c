/* The panels that an echo worker holds, against a plain list of prompts. */
#include "tests/support/unit.h"

#include "tests/support/echo_prefixes.h"
#include "tests/support/random.h"

enum {
    PANEL = ECHO_PREFIXES_PANEL,
    PANELS = 6,
    TOKENS = PANELS * PANEL + PANEL / 2,
    PROMPTS = 200
};

/* Panel p of a prompt is one of two, so that beginnings are shared. */
static void draw_prompt(int32_t ids[TOKENS], struct random *random)
{
    for (int p = 0; p <= PANELS; p++) {
        const int32_t which = (int32_t)random_between(random, 0, 2);
        for (int i = p * PANEL; i < (p + 1) * PANEL && i < TOKENS; i++)
            ids[i] = 1000 * which + i;
    }
}

static int64_t shared(const int32_t *a, const int32_t *b)
{
    int64_t panels = 0;
    while (panels < PANELS && memcmp(a, b, (size_t)(panels + 1) * PANEL * sizeof *a) == 0)
        panels++;
    return panels;
}

static void what_was_read_before_is_found_and_nothing_else(void **state)
{
    (void)state;
    static int32_t prompts[PROMPTS][TOKENS];
    struct random random = {5};
    struct echo_prefixes *prefixes;
    assert_int_equal(echo_prefixes_create(&prefixes, 0), STATUS_OK);
    for (int n = 0; n < PROMPTS; n++) {
        uint64_t names[PANELS];
        int64_t expected = 0, added;
        draw_prompt(prompts[n], &random);
        for (int m = 0; m < n; m++)
            if (shared(prompts[m], prompts[n]) > expected)
                expected = shared(prompts[m], prompts[n]);
        assert_int_equal(echo_prefixes_name(names, "", prompts[n], TOKENS), PANELS);
        const int64_t found = echo_prefixes_find(prefixes, names, PANELS);
        assert_int_equal(found, expected);
        assert_int_equal(echo_prefixes_add(prefixes, &added, names + found, PANELS - found),
                         STATUS_OK);
        assert_int_equal(added, PANELS - found);
        echo_prefixes_leave(prefixes, names, PANELS);
    }
    echo_prefixes_destroy(prefixes);
}

static void tenants_share_nothing(void **state)
{
    (void)state;
    int32_t ids[TOKENS] = {0};
    uint64_t one[PANELS], other[PANELS];
    (void)echo_prefixes_name(one, "one", ids, TOKENS);
    (void)echo_prefixes_name(other, "other", ids, TOKENS);
    for (int p = 0; p < PANELS; p++)
        assert_true(one[p] != other[p]);
}

static int64_t read_prompt(struct echo_prefixes *prefixes, uint64_t names[PANELS], int first)
{
    int64_t added;
    for (int p = 0; p < PANELS; p++)
        names[p] = (uint64_t)(first + p);
    const int64_t found = echo_prefixes_find(prefixes, names, PANELS);
    assert_int_equal(echo_prefixes_add(prefixes, &added, names + found, PANELS - found), STATUS_OK);
    return found + added;
}

static void where_room_is_short_the_longest_unused_goes_its_end_first(void **state)
{
    (void)state;
    uint64_t names[3][PANELS];
    struct echo_prefixes *prefixes;
    assert_int_equal(echo_prefixes_create(&prefixes, 2 * PANELS), STATUS_OK);
    for (int n = 0; n < 2; n++) {
        assert_int_equal(read_prompt(prefixes, names[n], 100 * n), PANELS);
        echo_prefixes_leave(prefixes, names[n], PANELS);
    }
    const uint64_t new_names[2] = {900, 901};
    int64_t added;
    assert_int_equal(echo_prefixes_add(prefixes, &added, new_names, 2), STATUS_OK);
    assert_int_equal(added, 2);
    assert_int_equal(echo_prefixes_count(prefixes), 2 * PANELS);
    assert_int_equal(echo_prefixes_find(prefixes, names[0], PANELS), PANELS - 2);
    assert_int_equal(echo_prefixes_find(prefixes, names[1], PANELS), PANELS);
    /* All is in use now: there is room for no other. */
    const uint64_t more[1] = {950};
    assert_int_equal(echo_prefixes_add(prefixes, &added, more, 1), STATUS_OK);
    assert_int_equal(added, 0);
    echo_prefixes_leave(prefixes, new_names, 2);
    assert_int_equal(echo_prefixes_add(prefixes, &added, more, 1), STATUS_OK);
    assert_int_equal(added, 1);
    assert_int_equal(echo_prefixes_find(prefixes, new_names, 2), 1);
    echo_prefixes_destroy(prefixes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_read_before_is_found_and_nothing_else),
        cmocka_unit_test(tenants_share_nothing),
        cmocka_unit_test(where_room_is_short_the_longest_unused_goes_its_end_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
