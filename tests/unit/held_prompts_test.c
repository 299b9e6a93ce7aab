/* Which panels of prompts a group is thought to hold. */
#include "tests/support/unit.h"

#include <stdlib.h>

#include "coordinator/held_prompts.h"

enum { TOKENS = 40 * PANEL_CHAIN_TOKENS };

static int32_t ids[TOKENS];
static struct held_prompts held;

static struct panel_chain chain_of(const char *root, int32_t begins_with, size_t count)
{
    struct panel_chain chain;
    for (size_t i = 0; i < count; i++)
        ids[i] = begins_with + (int32_t)i;
    assert_int_equal(panel_chain_init(&chain, root, ids, count), STATUS_OK);
    return chain;
}

static int64_t shared(const char *root, int32_t begins_with, size_t count)
{
    struct panel_chain chain = chain_of(root, begins_with, count);
    const int64_t panels = held_prompts_shared(&held, &chain);
    panel_chain_deinit(&chain);
    return panels;
}

static void add(const char *root, int32_t begins_with, size_t count)
{
    struct panel_chain chain = chain_of(root, begins_with, count);
    held_prompts_add(&held, &chain);
    panel_chain_deinit(&chain);
}

static int forget(void **state)
{
    (void)state;
    held = (struct held_prompts){{0}};
    return 0;
}

static void a_prompt_shares_its_whole_panels_but_never_its_last_token(void **state)
{
    (void)state;
    assert_int_equal(shared("rope|", 7, TOKENS), 0);
    add("rope|", 7, 5 * PANEL_CHAIN_TOKENS + 3);
    assert_int_equal(shared("rope|", 7, TOKENS), 5);
    assert_int_equal(shared("rope|", 7, 5 * PANEL_CHAIN_TOKENS), 4);
    assert_int_equal(shared("rope|", 7, 5 * PANEL_CHAIN_TOKENS + 1), 5);
    assert_int_equal(shared("rope|", 7, PANEL_CHAIN_TOKENS), 0);
    assert_int_equal(shared("rope|", 7, 0), 0);
}

static void another_beginning_tenant_or_method_shares_nothing(void **state)
{
    (void)state;
    add("rope|", 7, TOKENS);
    assert_int_equal(shared("rope|", 8, TOKENS), 0);
    assert_int_equal(shared("rope|others", 7, TOKENS), 0);
    assert_int_equal(shared("string|", 7, TOKENS), 0);
    assert_int_equal(shared("rope|", 7, TOKENS), TOKENS / PANEL_CHAIN_TOKENS - 1);
}

/* A hundred times as many panels as there is room for: what came last is known best. */
static void older_panels_give_way(void **state)
{
    (void)state;
    const int prompts = 100 * HELD_PROMPTS_PANELS / (TOKENS / PANEL_CHAIN_TOKENS);
    for (int p = 0; p < prompts; p++)
        add("rope|", p, TOKENS);
    assert_true(shared("rope|", prompts - 1, TOKENS) > 0);
    int known = 0;
    for (int p = 0; p < prompts / 2; p++)
        known += shared("rope|", p, TOKENS) > 0;
    assert_true(known < prompts / 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_prompt_shares_its_whole_panels_but_never_its_last_token, forget),
        cmocka_unit_test_setup(another_beginning_tenant_or_method_shares_nothing, forget),
        cmocka_unit_test_setup(older_panels_give_way, forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
