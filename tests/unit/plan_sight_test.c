/* What each layer of a model sees, pair by pair. */
#include "tests/support/unit.h"

#include <stdio.h>
#include <string.h>

#include "proto/plan/sight.h"

enum { TOKENS = 48, LAYERS = 5, KV_HEADS = 4 };

static const char *const methods[] = {
    "rope",
    "string:shift=12,local=3",
    "lm_infinite:window=10,sinks=3",
    "lm_infinite:window=30,sinks=0",
    "dca:chunk=12,local=3",
};

enum { METHODS = sizeof methods / sizeof methods[0] };

static struct model_shape shape_with(int64_t window, uint64_t layers)
{
    return (struct model_shape){
        .layers = LAYERS, .kv_heads = KV_HEADS, .window = {.tokens = window, .layers = {layers}}};
}

/* The table shows what the method shows at distances below the window, through the same frames. */
static void check_pairs(const struct bands *table, const struct bands *plain, int64_t window)
{
    const char *reason;
    if (!bands_check(table, &reason))
        fail_msg("%s", reason);
    for (int64_t i = 0; i < TOKENS; i++)
        for (int64_t j = 0; j <= i; j++) {
            const struct band *expected = i - j < window ? bands_find(plain, i, j) : NULL;
            const struct band *band = bands_find(table, i, j);
            assert_int_equal(band != NULL, expected != NULL);
            if (!band)
                continue;
            assert_int_equal(band->query_frame, expected->query_frame);
            assert_int_equal(band->key_frame, expected->key_frame);
        }
    assert_memory_equal(table->query_frame, plain->query_frame, sizeof plain->query_frame);
    assert_memory_equal(table->key_frame, plain->key_frame, sizeof plain->key_frame);
}

static void layers_see_what_the_method_shows_within_their_window(void **state)
{
    (void)state;
    static const uint64_t layers[] = {0, 1, 0x10, 0x0a, 0x1f};
    for (int m = 0; m < METHODS; m++) {
        struct method method;
        struct bands plain;
        assert_int_equal(method_parse(&method, methods[m], 0), STATUS_OK);
        method_bands(&method, &plain);
        for (size_t l = 0; l < sizeof layers / sizeof layers[0]; l++)
            for (int64_t window = 1; window <= TOKENS + 1; window++) {
                const struct model_shape shape = shape_with(window, layers[l]);
                struct sight sight;
                sight_make(&sight, &method, &shape);
                assert_int_equal(sight.count, layers[l] == 0 || layers[l] == 0x1f ? 1 : 2);
                for (int layer = 0; layer < LAYERS; layer++)
                    for (int head = 0; head < KV_HEADS; head++)
                        check_pairs(&sight_of(&sight, layer, head)->bands, &plain,
                                    layers[l] >> layer & 1 ? window : BANDS_OPEN);
            }
    }
}

/* What is sent and kept is asked of the first table. */
static void the_first_table_shows_all_that_any_layer_sees(void **state)
{
    (void)state;
    struct method method;
    struct sight sight;
    assert_int_equal(method_parse(&method, "rope", 0), STATUS_OK);
    struct model_shape shape = shape_with(9, 0x1f);
    sight_make(&sight, &method, &shape);
    assert_int_equal(sight_window_of_all(&shape), 9);
    assert_int_equal(sight.tables[0].reach, 9);
    shape = shape_with(9, 0x0f);
    sight_make(&sight, &method, &shape);
    assert_int_equal(sight_window_of_all(&shape), 0);
    assert_int_equal(sight.tables[0].reach, BANDS_OPEN);
    assert_int_equal(sight.tables[1].reach, 9);
}

/* Pair by pair: a streaming head sees the sinks and the window, any other head everything, all of
 * it at its true distance, and on layers with a window of the model's only what lies within. */
static void check_heads(const struct sight *sight, int64_t window, uint64_t layers, int streaming)
{
    enum { NEAR = 6, SINKS = 3 }; /* of the spelling */
    for (int layer = 0; layer < LAYERS; layer++)
        for (int head = 0; head < KV_HEADS; head++) {
            const struct bands *table = &sight_of(sight, layer, head)->bands;
            const bool streams = head >= KV_HEADS - streaming;
            const char *reason;
            if (!bands_check(table, &reason))
                fail_msg("%s", reason);
            for (int64_t i = 0; i < TOKENS; i++)
                for (int64_t j = 0; j < TOKENS; j++) {
                    const bool within = !(layers >> layer & 1) || i - j < window;
                    const bool seen = j <= i && within && (!streams || i - j < NEAR || j < SINKS);
                    const struct band *band = bands_find(table, i, j);
                    assert_int_equal(band != NULL, seen);
                    if (band)
                        assert_true(bands_position(&table->query_frame[band->query_frame], i) -
                                        bands_position(&table->key_frame[band->key_frame], j) ==
                                    (double)(i - j));
                }
        }
}

static void some_heads_see_less_than_the_others(void **state)
{
    (void)state;
    static const uint64_t layers[] = {0, 0x12, 0x1f};
    for (int streaming = 1; streaming <= KV_HEADS + 1; streaming++)
        for (size_t l = 0; l < sizeof layers / sizeof layers[0]; l++)
            for (int64_t window = 1; window <= 20; window++) {
                char spelling[64];
                struct method method;
                struct sight sight;
                const struct model_shape shape = shape_with(window, layers[l]);
                snprintf(spelling, sizeof spelling, "streaming_heads:heads=%d,window=6,sinks=3",
                         streaming);
                assert_int_equal(method_parse(&method, spelling, 0), STATUS_OK);
                sight_make(&sight, &method, &shape);
                check_heads(&sight, window, layers[l], streaming < KV_HEADS ? streaming : KV_HEADS);
            }
}

/* Heads that see alike are met together, and every head of every layer once. */
static void tables_tell_their_layers_and_heads(void **state)
{
    (void)state;
    struct method method;
    struct sight sight;
    assert_int_equal(method_parse(&method, "streaming_heads:heads=3,window=6", 0), STATUS_OK);
    const struct model_shape shape = shape_with(9, 0x0a);
    int64_t seen = 0;
    sight_make(&sight, &method, &shape);
    assert_int_equal(sight.count, 4);
    for (int t = 0; t < sight.count; t++)
        seen += sight.tables[t].layers * (sight.tables[t].head_end - sight.tables[t].head_first);
    assert_int_equal(seen, LAYERS * KV_HEADS);
    for (int layer = 0; layer < LAYERS; layer++) {
        int runs = 0;
        for (int head = 0; head < KV_HEADS; head = sight_of(&sight, layer, head)->head_end) {
            assert_int_equal(sight_of(&sight, layer, head)->head_first, head);
            runs++;
        }
        assert_int_equal(runs, 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_see_what_the_method_shows_within_their_window),
        cmocka_unit_test(the_first_table_shows_all_that_any_layer_sees),
        cmocka_unit_test(some_heads_see_less_than_the_others),
        cmocka_unit_test(tables_tell_their_layers_and_heads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
