/* The transport's contract between threads, and what only loopback has: injected delay. */
#include "tests/support/unit.h"

#include "proto/clock.h"
#include "tests/ranks/transport_contract.h"
#include "worker/engine/transport/transport_loopback.h"

#include <stdio.h>
#include <time.h>

static void the_contract_holds(void **state)
{
    const struct transport_case *one = *state;
    const struct transport_options options = transport_contract_options();
    for (int size = one->least_ranks; size <= 4; size++) {
        printf("%s, %d ranks\n", one->name, size);
        assert_int_equal(ranks_run(size, &options, one->function, NULL), STATUS_OK);
    }
}

/* Rank 0's blocks are under way for DELAY_NS while rank 1 works as long: then no block is waited
 * for but the first. */
static enum status delays_are_hidden_by_work(struct transport *t, void *context)
{
    (void)context;
    enum { BLOCKS = 20, DELAY_NS = 20000000 };
    static const struct timespec work = {0, DELAY_NS};
    static _Thread_local int blocks[BLOCKS];
    struct transport_request *requests[BLOCKS];
    transport_loopback_delay(t, DELAY_NS);
    TRY(transport_barrier(t));
    const int64_t begun_ns = clock_now_ns();
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = i + t->rank * 1000;
        if (t->rank == 0)
            TRY(transport_send(t, 1, TRANSPORT_KEYS, &blocks[i], sizeof(int), &requests[i]));
        else
            TRY(transport_receive(t, 0, TRANSPORT_KEYS, &blocks[i], sizeof(int), &requests[i]));
    }
    TRY(transport_wait(t, requests[0]));
    const int64_t first_ns = clock_now_ns() - begun_ns;
    TRY(transport_barrier(t));
    int waits = 0;
    for (int i = 1; i < BLOCKS; i++) {
        nanosleep(&work, NULL);
        bool done = false;
        TRY(transport_test(t, requests[i], &done));
        waits += !done;
        if (!done)
            TRY(transport_wait(t, requests[i]));
    }
    expect_on_all_ranks(t, t->rank != 0 || first_ns >= DELAY_NS);
    expect_on_all_ranks(t, waits == 0);
    expect_on_all_ranks(t, blocks[BLOCKS - 1] == BLOCKS - 1);
    return STATUS_OK;
}

static void a_delayed_block_arrives_late_and_work_hides_it(void **state)
{
    (void)state;
    assert_int_equal(ranks_run(2, NULL, delays_are_hidden_by_work, NULL), STATUS_OK);
}

/* A receive is left behind: the abort must free its memory for the caller, whatever the peer still
 * does. */
static enum status leave_receives_behind(struct transport *t, void *context)
{
    (void)context;
    static _Thread_local char block[4096];
    memset(block, 1, sizeof block);
    struct transport_request *request;
    const int peer = 1 - t->rank;
    TRY(transport_receive(t, peer, TRANSPORT_KEYS, context, 4096, &request));
    (void)!transport_barrier(t); /* fails where the peer is already past it and has aborted */
    if (t->rank == 0)
        transport_abort(t, "leaving");
    else
        (void)!transport_send(t, peer, TRANSPORT_KEYS, block, sizeof block, &request);
    return STATUS_OK;
}

static void an_abort_leaves_no_request_behind(void **state)
{
    (void)state;
    static char memory[2][4096];
    void *contexts[] = {memory[0], memory[1]};
    for (int repeat = 0; repeat < 50; repeat++)
        assert_int_equal(ranks_run(2, NULL, leave_receives_behind, contexts), STATUS_OK);
}

static enum status rank_one_disagrees(struct transport *t, void *context)
{
    (void)context;
    expect_on_all_ranks(t, t->rank != 1);
    return STATUS_OK;
}

static void one_ranks_failure_is_every_ranks_failure(void **state)
{
    (void)state;
    assert_int_equal(ranks_run(3, NULL, rank_one_disagrees, NULL), STATUS_INTERNAL);
    assert_non_null(strstr(status_message(), "on rank 1 of 3"));
}

int main(void)
{
    enum { MOST = 64, OWN = 3 };
    struct CMUnitTest tests[MOST] = {
        cmocka_unit_test(a_delayed_block_arrives_late_and_work_hides_it),
        cmocka_unit_test(an_abort_leaves_no_request_behind),
        cmocka_unit_test(one_ranks_failure_is_every_ranks_failure),
    };
    for (size_t i = 0; i < transport_contract_count; i++)
        tests[OWN + i] = (struct CMUnitTest){
            .name = transport_contract_cases[i].name,
            .test_func = the_contract_holds,
            .initial_state = (void *)&transport_contract_cases[i],
        };
    const size_t count = OWN + transport_contract_count;
    return _cmocka_run_group_tests("transport_loopback", tests, count, NULL, NULL);
}
