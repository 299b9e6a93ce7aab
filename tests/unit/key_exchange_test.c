/* Which keys travel for a training sample, pair by pair, and what the list costs of many ranks. */
#include "tests/support/unit.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/bands.h"
#include "proto/plan/key_exchange.h"
#include "proto/plan/method.h"
#include "proto/plan/sight.h"

enum { PANEL = 4, TOKENS = 61 };

static void see(struct sight *sight, const char *spelling)
{
    struct method method;
    const struct model_shape shape = {.layers = 1, .kv_heads = 1};
    assert_int_equal(method_parse(&method, spelling, 0), STATUS_OK);
    sight_make(sight, &method, &shape);
}

static struct ownership *deal(int ranks, int panel, int64_t tokens)
{
    struct ownership *ownership;
    assert_int_equal(ownership_create(&ownership, ranks, panel), STATUS_OK);
    assert_int_equal(ownership_advance(ownership, tokens, PARTITION_ZIGZAG, NULL), STATUS_OK);
    return ownership;
}

/* Whether a query of `rank` sees a key of the panel; query ranges and distances go by position. */
static bool panel_is_seen(const struct bands *bands, const struct ownership *ownership,
                          const int32_t *positions, int rank, int64_t panel)
{
    for (int64_t q = 0; q < TOKENS; q++)
        for (int64_t k = panel * PANEL; k <= q && k < (panel + 1) * PANEL; k++)
            if (ownership_owner(ownership, q) == rank &&
                bands_find(bands, positions[q], positions[k]))
                return true;
    return false;
}

static void check_list(const struct key_exchange *exchange, const struct bands *bands,
                       const struct ownership *ownership, const int32_t *positions, int ranks)
{
    enum { PANELS = (TOKENS + PANEL - 1) / PANEL };
    for (int to = 0; to < ranks; to++) {
        int sent[PANELS] = {0};
        for (int m = 0; m < exchange->count; m++) {
            const struct key_message *message = &exchange->list[m];
            if (message->to != to)
                continue;
            for (int64_t k = message->keys.first; k < message->keys.end; k++)
                assert_int_equal(ownership_owner(ownership, k), message->from);
            for (int64_t k = message->keys.first; k < message->keys.end; k += PANEL)
                sent[k / PANEL]++;
        }
        for (int p = 0; p < PANELS; p++)
            assert_int_equal(sent[p], ownership_owner(ownership, p * PANEL) != to &&
                                          panel_is_seen(bands, ownership, positions, to, p));
    }
}

static void a_rank_gets_the_panels_in_which_it_sees_a_key(void **state)
{
    (void)state;
    static const char *const methods[] = {"rope", "string:shift=12,local=3",
                                          "lm_infinite:window=10,sinks=0"};
    for (size_t m = 0; m < sizeof methods / sizeof methods[0]; m++)
        for (int gap = 0; gap < 12; gap += 5)
            for (int ranks = 1; ranks <= 5; ranks++) {
                struct key_exchange exchange = {0};
                struct sight sight;
                int32_t positions[TOKENS];
                for (int t = 0; t < TOKENS; t++)
                    positions[t] = t + t / 9 * gap;
                see(&sight, methods[m]);
                struct ownership *ownership = deal(ranks, PANEL, TOKENS);
                assert_int_equal(
                    key_exchange_make(&exchange, ownership, &sight.tables[0].regimes, positions),
                    STATUS_OK);
                check_list(&exchange, &sight.tables[0].bands, ownership, positions, ranks);
                key_exchange_deinit(&exchange);
                ownership_destroy(ownership);
            }
}

/* A window of two panels: a rank's queries see little of others, however many these are. */
static void the_list_of_a_thousand_ranks_is_made_in_a_second(void **state)
{
    (void)state;
    enum { RANKS = 1024, LONG = 131072, WIDE = 96 };
    int32_t *positions = malloc(LONG * sizeof *positions);
    struct key_exchange exchange = {0};
    struct sight sight;
    assert_non_null(positions);
    for (int t = 0; t < LONG; t++)
        positions[t] = t;
    see(&sight, "lm_infinite:window=192,sinks=0");
    struct ownership *ownership = deal(RANKS, WIDE, LONG);
    const clock_t begun = clock();
    assert_int_equal(key_exchange_make(&exchange, ownership, &sight.tables[0].regimes, positions),
                     STATUS_OK);
    assert_true(clock() - begun < CLOCKS_PER_SEC);
    assert_true(exchange.count > RANKS);
    print_message("%d messages in %.2f s\n", exchange.count,
                  (double)(clock() - begun) / CLOCKS_PER_SEC);
    key_exchange_deinit(&exchange);
    ownership_destroy(ownership);
    free(positions);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rank_gets_the_panels_in_which_it_sees_a_key),
        cmocka_unit_test(the_list_of_a_thousand_ranks_is_made_in_a_second),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
