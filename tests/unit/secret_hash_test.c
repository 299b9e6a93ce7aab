/* The published values of the hash of texts; and numbers that were made to collide do not, under
 * any key. */
#include "tests/support/unit.h"

#include "coordinator/text/number_map.h"
#include "coordinator/text/secret_hash.h"

static void texts_hash_as_published(void **state)
{
    (void)state;
    const struct secret_hash_key key = {{0x0706050403020100u, 0x0f0e0d0c0b0a0908u}};
    char text[16];
    for (int i = 0; i < 16; i++)
        text[i] = (char)i;
    assert_true(secret_hash_text(&key, text, 0, "", 0) == 0x726fdb47dd0e0e31u);
    /* 15 bytes are the paper's own example; wherever they are cut in two. */
    for (size_t cut = 0; cut <= 15; cut++)
        assert_true(secret_hash_text(&key, text, cut, text + cut, 15 - cut) == 0xa129ca6149be45e5u);
}

static void every_table_has_another_key(void **state)
{
    (void)state;
    const struct secret_hash_key one = secret_hash_draw(), other = secret_hash_draw();
    assert_memory_not_equal(&one, &other, sizeof one);
    assert_true(secret_hash_text(&one, "a", 1, "b", 1) != secret_hash_text(&other, "a", 1, "b", 1));
}

/* The number that two multiplications by known constants take to `hash`. */
static uint64_t made_for(uint64_t hash)
{
    uint64_t inverses[2] = {0x9E3779B97F4A7C15u, 0xBF58476D1CE4E5B9u};
    const uint64_t factors[2] = {inverses[0], inverses[1]};
    for (int i = 0; i < 2; i++)
        for (int step = 0; step < 6; step++) /* Newton's, from 3 right bits on */
            inverses[i] *= 2 - factors[i] * inverses[i];
    uint64_t key = hash ^ hash >> 32;
    key *= inverses[1];
    key = key ^ key >> 29 ^ key >> 58;
    key *= inverses[0];
    return key ^ key >> 32;
}

static uint64_t without_a_key(uint64_t key)
{
    key = (key ^ key >> 32) * 0x9E3779B97F4A7C15u;
    key = (key ^ key >> 29) * 0xBF58476D1CE4E5B9u;
    return key ^ key >> 32;
}

static void numbers_that_were_made_to_collide_do_not(void **state)
{
    (void)state;
    enum { BITS = 12, COUNT = 1 << BITS, MOST = 16 };
    for (uint64_t k = 1; k <= 20; k++) {
        const struct secret_hash_key key = {
            {k * 0xD1342543DE82EF95u, (k + 7) * 0x2545F4914F6CDD1Du}};
        int loads[COUNT] = {0}, most = 0;
        for (uint64_t i = 0; i < COUNT; i++) {
            const uint64_t number = made_for(i << BITS);
            assert_int_equal(without_a_key(number) % COUNT, 0);
            const int load = ++loads[secret_hash_number(&key, number) % COUNT];
            most = load > most ? load : most;
        }
        assert_true(most <= MOST);
    }
}

static void a_map_has_what_was_put_in(void **state)
{
    (void)state;
    struct number_map map = {0};
    assert_int_equal(number_map_find(&map, 5), -1);
    for (int i = 0; i < 5000; i++)
        assert_int_equal(number_map_set(&map, made_for((uint64_t)i << 20), i), STATUS_OK);
    for (int i = 0; i < 5000; i++)
        assert_int_equal(number_map_find(&map, made_for((uint64_t)i << 20)), i);
    assert_int_equal(number_map_find(&map, 12345), -1);
    number_map_deinit(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_hash_as_published),
        cmocka_unit_test(every_table_has_another_key),
        cmocka_unit_test(numbers_that_were_made_to_collide_do_not),
        cmocka_unit_test(a_map_has_what_was_put_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
