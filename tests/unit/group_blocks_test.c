/* Blocks between a run's ranks and a client: neither side has more of them than it asked for. */
#include "tests/support/unit.h"

#include <stdlib.h>

#include "coordinator/group_blocks.h"
#include "proto/cache_file/cache_block.h"

static bool add(struct group_blocks *blocks, int rank, int64_t number)
{
    uint8_t bytes[3] = {1, 2, (uint8_t)number};
    Longhaul__Control__V1__RunBlock message = LONGHAUL__CONTROL__V1__RUN_BLOCK__INIT;
    message.number = number;
    message.digest = (uint64_t)number + 7;
    message.stored.len = sizeof bytes;
    message.stored.data = bytes;
    return group_blocks_add(blocks, rank, &message);
}

static void blocks_come_out_as_they_came_in(void **state)
{
    (void)state;
    struct group_blocks blocks;
    int64_t taken;
    assert_int_equal(group_blocks_init(&blocks, 2), STATUS_OK);
    assert_null(group_blocks_pop(&blocks, &taken));
    for (int64_t n = 0; n < 2; n++)
        assert_true(add(&blocks, 1 - (int)n, n));
    for (int64_t n = 0; n < 2; n++) {
        struct group_block *block = group_blocks_pop(&blocks, &taken);
        assert_int_equal(block->number, n);
        assert_int_equal(block->rank, 1 - n);
        assert_int_equal(block->digest, n + 7);
        assert_int_equal(block->count, 3);
        assert_int_equal(block->bytes[2], n);
        assert_int_equal(taken, 0);
        free(block);
    }
    assert_true(add(&blocks, 0, 5));
    group_blocks_deinit(&blocks);
}

/* A rank that sends on without being told that its blocks are taken is refused; one that is told
 * goes on for ever. */
static void a_rank_sends_no_more_than_was_taken(void **state)
{
    (void)state;
    struct group_blocks blocks;
    int64_t room = CACHE_BLOCKS_AHEAD, taken;
    assert_int_equal(group_blocks_init(&blocks, 2), STATUS_OK);
    for (int64_t n = 0; n < 10 * CACHE_BLOCKS_AHEAD; n++) {
        for (; room > 0; room--)
            assert_true(add(&blocks, 1, n));
        assert_false(add(&blocks, 1, n));
        free(group_blocks_pop(&blocks, &taken));
        room += taken;
    }
    assert_true(add(&blocks, 0, 0)); /* its own room */
    group_blocks_deinit(&blocks);
}

static void a_rank_is_sent_no_more_than_it_took(void **state)
{
    (void)state;
    struct group_blocks blocks;
    assert_int_equal(group_blocks_init(&blocks, 2), STATUS_OK);
    for (int n = 0; n < CACHE_BLOCKS_AHEAD; n++)
        assert_true(group_blocks_reserve(&blocks, 1));
    assert_false(group_blocks_reserve(&blocks, 1));
    assert_true(group_blocks_reserve(&blocks, 0));
    group_blocks_taken(&blocks, 1, 2);
    assert_true(group_blocks_reserve(&blocks, 1));
    assert_true(group_blocks_reserve(&blocks, 1));
    assert_false(group_blocks_reserve(&blocks, 1));
    group_blocks_deinit(&blocks);
}

static void a_run_without_blocks_takes_none(void **state)
{
    (void)state;
    struct group_blocks blocks = {0};
    assert_false(add(&blocks, 0, 0));
    group_blocks_taken(&blocks, 0, 1);
    group_blocks_deinit(&blocks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_come_out_as_they_came_in),
        cmocka_unit_test(a_rank_sends_no_more_than_was_taken),
        cmocka_unit_test(a_rank_is_sent_no_more_than_it_took),
        cmocka_unit_test(a_run_without_blocks_takes_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
