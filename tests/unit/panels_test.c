/* Panels that prompts share: hashes against a comparison of ids, the tally against a group that
 * remembers all, and the gate that lets a leader read before its followers. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "coordinator/batch/panel_chain.h"
#include "coordinator/batch/panel_tally.h"
#include "coordinator/batch/reading_gate.h"
#include "tests/support/random.h"
#include "tests/support/unit.h"

enum {
    PROMPTS = 60,
    TOKENS_MAX = 12 * PANEL_CHAIN_TOKENS,
    ROUNDS = 40,
    PANEL = PANEL_CHAIN_TOKENS
};

struct prompt {
    int32_t ids[TOKENS_MAX];
    size_t count;
    struct panel_chain chain;
    uint8_t key[PANEL_CHAIN_KEY_BYTES];
    size_t key_bytes;
};

static struct prompt prompts[PROMPTS];

/* Prompts that fork off each other in the middle of a panel or at its end, many of a whole number
 * of panels, some twice. */
static void make_prompts(struct random *random)
{
    for (int i = 0; i < PROMPTS; i++) {
        struct prompt *prompt = &prompts[i];
        const struct prompt *from = &prompts[i ? random_between(random, 0, i) : 0];
        int64_t kept = i ? random_between(random, 0, (int64_t)from->count + 1) : 0;
        if (random_between(random, 0, 2))
            kept -= kept % PANEL;
        prompt->count = (size_t)kept;
        if (kept)
            memmove(prompt->ids, from->ids, (size_t)kept * sizeof *prompt->ids);
        int64_t more = random_between(random, 0, 3 * PANEL);
        if (random_between(random, 0, 2))
            more -= (kept + more) % PANEL;
        for (; (more > 0 || prompt->count == 0) && prompt->count < TOKENS_MAX; more--)
            prompt->ids[prompt->count++] = (int32_t)random_between(random, 0, 3);
        assert_int_equal(panel_chain_init(&prompt->chain, "", prompt->ids, prompt->count),
                         STATUS_OK);
        prompt->key_bytes = panel_chain_key(&prompt->chain, prompt->key);
    }
}

static void drop_prompts(void)
{
    for (int i = 0; i < PROMPTS; i++)
        panel_chain_deinit(&prompts[i].chain);
}

static int64_t equal_panels(const struct prompt *a, const struct prompt *b)
{
    size_t equal = 0;
    while (equal < a->count && equal < b->count && a->ids[equal] == b->ids[equal])
        equal++;
    return (int64_t)equal / PANEL;
}

static int in_order(const void *left, const void *right)
{
    const struct prompt *a = left, *b = right;
    const size_t bytes = a->key_bytes < b->key_bytes ? a->key_bytes : b->key_bytes;
    return memcmp(a->key, b->key, bytes); /* no key begins another one */
}

static void chains_share_what_the_ids_share(void **state)
{
    (void)state;
    struct random random = {7};
    for (int round = 0; round < ROUNDS; round++) {
        make_prompts(&random);
        for (int i = 0; i < PROMPTS; i++)
            for (int j = 0; j < PROMPTS; j++)
                assert_int_equal(panel_chain_shared(&prompts[i].chain, &prompts[j].chain),
                                 equal_panels(&prompts[i], &prompts[j]));
        drop_prompts();
    }
}

static void another_root_shares_nothing(void **state)
{
    (void)state;
    struct random random = {9};
    make_prompts(&random);
    for (int i = 0; i < PROMPTS; i++) {
        struct panel_chain other;
        assert_int_equal(panel_chain_init(&other, "rope", prompts[i].ids, prompts[i].count),
                         STATUS_OK);
        assert_int_equal(panel_chain_shared(&prompts[i].chain, &other), 0);
        panel_chain_deinit(&other);
    }
    drop_prompts();
}

/* A group that keeps all panels, asked for the prompts in the order of their keys. */
static int64_t computed_tokens(void)
{
    static struct prompt sorted[PROMPTS];
    int64_t computed = 0;
    memcpy(sorted, prompts, sizeof sorted);
    qsort(sorted, PROMPTS, sizeof *sorted, in_order);
    for (int i = 0; i < PROMPTS; i++) {
        int64_t cached = 0;
        for (int j = 0; j < i; j++) {
            const int64_t equal = equal_panels(&sorted[i], &sorted[j]);
            cached = equal > cached ? equal : cached;
        }
        const int64_t reusable = panel_chain_reusable(&sorted[i].chain);
        computed += (int64_t)sorted[i].count - PANEL * (cached < reusable ? cached : reusable);
    }
    return computed;
}

static void the_tally_is_what_a_group_computes(void **state)
{
    (void)state;
    struct random random = {11};
    for (int round = 0; round < ROUNDS; round++) {
        struct panel_tally *tally = NULL;
        int64_t prompt_tokens = 0, cached = 0;
        make_prompts(&random);
        assert_int_equal(panel_tally_create(&tally, 1 << 20), STATUS_OK);
        for (int i = 0; i < PROMPTS; i++) {
            assert_int_equal(panel_tally_add(tally, &cached, &prompts[i].chain), STATUS_OK);
            prompt_tokens += (int64_t)prompts[i].count;
        }
        assert_int_equal(panel_tally_prompt_tokens(tally), prompt_tokens);
        assert_int_equal(panel_tally_unique_tokens(tally), computed_tokens());
        assert_false(panel_tally_is_full(tally));
        panel_tally_destroy(tally);
        drop_prompts();
    }
}

static void a_full_tally_says_so_and_counts_upwards(void **state)
{
    (void)state;
    struct random random = {13};
    struct panel_tally *tally = NULL;
    int64_t cached = 0;
    make_prompts(&random);
    assert_int_equal(panel_tally_create(&tally, 5), STATUS_OK);
    for (int i = 0; i < PROMPTS; i++)
        assert_int_equal(panel_tally_add(tally, &cached, &prompts[i].chain), STATUS_OK);
    assert_true(panel_tally_is_full(tally));
    assert_true(panel_tally_unique_tokens(tally) > computed_tokens());
    assert_true(panel_tally_unique_tokens(tally) <= panel_tally_prompt_tokens(tally));
    panel_tally_destroy(tally);
    drop_prompts();
}

/* ---- the gate ---- */

static struct panel_chain chain_of(const char *document, int question, size_t count)
{
    int32_t ids[TOKENS_MAX];
    for (size_t i = 0; i < count; i++)
        ids[i] = i < 4 * PANEL ? document[i % strlen(document)] : question;
    struct panel_chain chain;
    assert_int_equal(panel_chain_init(&chain, "", ids, count), STATUS_OK);
    return chain;
}

static void followers_wait_for_their_leader_and_then_go_side_by_side(void **state)
{
    (void)state;
    struct reading_gate *gate = NULL;
    struct reading_line leader, first, other;
    struct panel_chain one = chain_of("one", 1, 5 * PANEL), two = chain_of("one", 2, 5 * PANEL),
                       three = chain_of("one", 3, 5 * PANEL), else_ = chain_of("two", 1, 5 * PANEL);
    assert_int_equal(reading_gate_create(&gate), STATUS_OK);
    assert_int_equal(reading_gate_awaited(gate, &one), 0);
    reading_gate_begin(gate, &leader, &one);
    assert_int_equal(reading_gate_awaited(gate, &two), 4);
    assert_int_equal(reading_gate_awaited(gate, &else_), 0);
    reading_gate_begin(gate, &other, &else_);
    reading_gate_end(gate, &leader, true);
    reading_gate_end(gate, &leader, true); /* the second says nothing */
    assert_int_equal(reading_gate_awaited(gate, &two), 0);
    reading_gate_begin(gate, &first, &two);
    assert_int_equal(reading_gate_awaited(gate, &three), 0);
    /* The same prompt as one that reads: its last whole panel but one is not there yet. */
    struct panel_chain again = chain_of("one", 2, 6 * PANEL + 1);
    assert_int_equal(reading_gate_awaited(gate, &again), 5);
    reading_gate_end(gate, &first, true);
    assert_int_equal(reading_gate_awaited(gate, &again), 0);
    reading_gate_end(gate, &other, false);
    reading_gate_forget(gate);
    reading_gate_begin(gate, &leader, &one);
    assert_int_equal(reading_gate_awaited(gate, &two), 4);
    reading_gate_end(gate, &leader, false); /* it gave up: somebody else leads */
    assert_int_equal(reading_gate_awaited(gate, &two), 0);
    reading_gate_begin(gate, &first, &two);
    assert_int_equal(reading_gate_awaited(gate, &three), 4);
    reading_gate_end(gate, &first, true);
    struct panel_chain *const all[] = {&one, &two, &three, &else_, &again};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        panel_chain_deinit(all[i]);
    reading_gate_destroy(gate);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chains_share_what_the_ids_share),
        cmocka_unit_test(another_root_shares_nothing),
        cmocka_unit_test(the_tally_is_what_a_group_computes),
        cmocka_unit_test(a_full_tally_says_so_and_counts_upwards),
        cmocka_unit_test(followers_wait_for_their_leader_and_then_go_side_by_side),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
