/* What an answer may go on with: against a plain search of the sequence. */
#include "tests/support/unit.h"

#include <stdlib.h>
#include <string.h>

#include "proto/plan/memory_plan.h"
#include "tests/support/random.h"
#include "worker/engine/draft_pace.h"

enum { TOKENS = 400, MOST = 15, SEED = 20261201 };

static struct draft *make(int64_t context)
{
    const int64_t bytes = memory_draft_bytes(context);
    void *memory = aligned_alloc(64, (size_t)bytes);
    assert_non_null(memory);
    memset(memory, 0xff, (size_t)bytes);
    return draft_init(memory, bytes);
}

static void what_followed_the_last_tokens_before_is_proposed(void **state)
{
    (void)state;
    static const int32_t ids[] = {7, 1, 2, 3, 4, 5, 6, 9, 1, 2, 3};
    struct draft *draft = make(64);
    int32_t drafted[MOST];
    draft_see(draft, ids, 10);
    assert_int_equal(draft_propose(draft, drafted, ids, MOST), 0);
    draft_see(draft, ids, 11);
    assert_int_equal(draft_propose(draft, drafted, ids, 0), 0);
    assert_int_equal(draft_propose(draft, drafted, ids, -1), 0);
    assert_int_equal(draft_propose(draft, drafted, ids, 3), 3);
    assert_memory_equal(drafted, ids + 4, 3 * sizeof *ids);
    free(draft);
}

/* The last of two places counts, until the answer leaves it. */
static void the_last_place_is_followed(void **state)
{
    (void)state;
    static const int32_t ids[] = {1, 2, 3, 4, 0, 1, 2, 3, 5, 6, 0, 1, 2, 3, 5, 4};
    struct draft *draft = make(64);
    int32_t drafted[MOST];
    draft_see(draft, ids, 14);
    assert_int_equal(draft_propose(draft, drafted, ids, 2), 2);
    assert_memory_equal(drafted, ids + 8, 2 * sizeof *ids);
    draft_see(draft, ids, 15);
    assert_int_equal(draft_propose(draft, drafted, ids, 1), 1);
    assert_int_equal(drafted[0], 6);
    draft_see(draft, ids, 16);
    assert_int_equal(draft_propose(draft, drafted, ids, 1), 0);
    free(draft);
}

static void what_repeats_itself_is_drafted_for_ever(void **state)
{
    (void)state;
    static const int32_t ids[] = {8, 1, 2, 1, 2, 1, 2};
    struct draft *draft = make(64);
    int32_t drafted[MOST];
    draft_see(draft, ids, 7);
    assert_int_equal(draft_propose(draft, drafted, ids, MOST), MOST);
    for (int d = 0; d < MOST; d++)
        assert_int_equal(drafted[d], 1 + d % 2);
    free(draft);
}

/* The place that the plain search follows: where the tokens before stood last, looked for only
 * where the answer does not follow one. */
static int64_t plain_source(const int32_t *ids, int64_t end, int64_t source)
{
    if (source > 0 && ids[source] == ids[end - 1])
        return source + 1;
    for (int64_t at = end - 1; at >= DRAFT_GRAM; at--)
        if (memcmp(ids + at - DRAFT_GRAM, ids + end - DRAFT_GRAM, DRAFT_GRAM * sizeof *ids) == 0)
            return at;
    return 0;
}

/* A run may push another out of the index, so it proposes nothing where the search would; never
 * anything else. */
static void it_proposes_what_a_search_finds(void **state)
{
    (void)state;
    struct random random = {SEED};
    int64_t proposed = 0, found = 0;
    print_message("seed %d\n", SEED);
    for (int round = 0; round < 100; round++) {
        int32_t ids[TOKENS];
        struct draft *draft = make(TOKENS);
        int64_t source = 0;
        for (int64_t end = 1; end <= TOKENS; end++) {
            int32_t drafted;
            ids[end - 1] = (int32_t)random_between(&random, 0, 6);
            draft_see(draft, ids, end);
            source = plain_source(ids, end, source);
            found += source > 0;
            if (draft_propose(draft, &drafted, ids, 1) == 0) {
                source = 0;
                continue;
            }
            proposed++;
            assert_true(source > 0);
            assert_int_equal(drafted, ids[source]);
        }
        free(draft);
    }
    assert_true(proposed > found * 3 / 4);
}

/* ---- how many ---- */

/* A draft of a sequence that follows an earlier place, after so many guesses that were right, or
 * wrong. */
static struct draft *make_after(int32_t *ids, int64_t tokens, bool right)
{
    struct draft *draft = make(TOKENS);
    for (int64_t t = 0; t < TOKENS; t++)
        ids[t] = right ? (int32_t)(t % 40) : (int32_t)(t % 4 < 3 ? t % 4 : t);
    draft_see(draft, ids, 45);
    draft_begin(draft);
    draft_see(draft, ids, tokens);
    return draft;
}

static void what_came_as_expected_is_expected_again(void **state)
{
    (void)state;
    int32_t ids[TOKENS];
    struct draft *good = make_after(ids, 300, true);
    assert_true(draft_chance(good, 1) > 0.95 && draft_chance(good, MOST) > 0.95);
    free(good);
    struct draft *bad = make_after(ids, 303, false); /* behind 0 1 2, which are always there */
    assert_true(draft_chance(bad, 1) > 0 && draft_chance(bad, 1) < 0.05);
    draft_see(bad, ids, 304);
    assert_true(draft_chance(bad, 1) == 0);
    free(bad);
}

/* What the answer says counts, not what its prompt said. */
static void a_prompt_tells_nothing_of_guesses(void **state)
{
    (void)state;
    int32_t ids[TOKENS];
    struct draft *draft = make(TOKENS), *fresh = make_after(ids, 45, true);
    draft_see(draft, ids, 45);
    assert_true(draft_chance(draft, 1) == draft_chance(fresh, 1));
    draft_see(draft, ids, 300);
    assert_true(draft_chance(draft, MOST) == draft_chance(fresh, MOST));
    free(draft);
    free(fresh);
}

/* Steps as they are: one row takes `base`, each further one `share` of it. */
static void measure(struct draft_pace *pace, double base, double share, int steps)
{
    for (int n = 0; n < steps; n++) {
        const int64_t drafted = n % 3;
        draft_pace_note(pace, 1 + drafted, drafted, base * (1 + share * (double)drafted));
    }
}

static void as_many_are_drafted_as_pay(void **state)
{
    (void)state;
    int32_t ids[TOKENS];
    struct draft *good = make_after(ids, 300, true);
    struct draft *bad = make_after(ids, 303, false);
    struct draft_pace cheap = {0}, dear = {0}, unknown = {0};
    measure(&cheap, 1e-3, 0.1, 200);
    measure(&dear, 1e-3, 1.2, 200);
    assert_int_equal(draft_pace_length(&unknown, good, 1, MOST), 0);
    assert_int_equal(draft_pace_length(&cheap, good, 1, MOST), MOST);
    assert_int_equal(draft_pace_length(&cheap, good, 1, 4), 4);
    assert_int_equal(draft_pace_length(&cheap, good, 1, 0), 0);
    assert_int_equal(draft_pace_length(&cheap, bad, 1, MOST), 0);
    assert_int_equal(draft_pace_length(&dear, good, 1, MOST), 0);
    free(good);
    free(bad);
}

/* Else nobody would know that steps have become slower. */
static void now_and_then_nothing_is_drafted(void **state)
{
    (void)state;
    int32_t ids[TOKENS];
    struct draft *good = make_after(ids, 300, true);
    struct draft_pace pace = {0};
    int without = 0;
    for (int step = 0; step < 200; step++) {
        const int64_t drafted = draft_pace_length(&pace, good, 1, MOST);
        without += drafted == 0;
        draft_pace_note(&pace, 1 + drafted, drafted, 1e-3 * (1 + 0.1 * (double)drafted));
    }
    assert_true(without >= 6 && without <= 9);
    free(good);
}

/* Short answers behind long ones, whose steps took five times as long: what a row costs is known
 * again soon, and guesses that seldom come true are left. */
static void a_pace_of_other_answers_is_soon_forgotten(void **state)
{
    (void)state;
    int32_t ids[TOKENS];
    struct draft *good = make_after(ids, 300, true);
    struct draft_pace pace = {0};
    measure(&pace, 5e-3, 0.1, 200);
    for (int step = 0; step < 200; step++) {
        const int64_t drafted = draft_pace_length(&pace, good, 1, MOST);
        draft_pace_note(&pace, 1 + drafted, drafted, 1e-3 * (1 + 0.5 * (double)drafted));
    }
    assert_true(pace.base_seconds < 1.2e-3 && pace.row_share > 0.4);
    free(good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_followed_the_last_tokens_before_is_proposed),
        cmocka_unit_test(the_last_place_is_followed),
        cmocka_unit_test(what_repeats_itself_is_drafted_for_ever),
        cmocka_unit_test(it_proposes_what_a_search_finds),
        cmocka_unit_test(what_came_as_expected_is_expected_again),
        cmocka_unit_test(a_prompt_tells_nothing_of_guesses),
        cmocka_unit_test(as_many_are_drafted_as_pay),
        cmocka_unit_test(now_and_then_nothing_is_drafted),
        cmocka_unit_test(a_pace_of_other_answers_is_soon_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
