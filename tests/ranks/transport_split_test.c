/* The transport's contract on a part of a group's ranks, and what only a split has: other ranks
 * beside it, and its whole in use between its calls. */
#include "tests/support/unit.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tests/ranks/transport_contract.h"
#include "worker/engine/transport/transport_split.h"

enum { MOST = 64, OWN = 4, SIZE_MOST = 3 };

/* Every `parts`-th rank is in one part with rank r; with `aside`, the whole's last rank in none. */
struct layout {
    const struct transport_case *one;
    int parts;
    bool aside;
};

static enum status play_on_split(struct transport *whole, void *context)
{
    const struct layout *layout = context;
    const bool aside = layout->aside && whole->rank == whole->size - 1;
    struct transport *split;
    TRY(transport_split(&split, whole, aside ? -1 : whole->rank % layout->parts));
    TRY(transport_barrier(whole)); /* no case ends the group before all are there */
    if (aside)
        return split ? fail(STATUS_INTERNAL, "a rank that named no part is in one") : STATUS_OK;
    const enum status status = layout->one->function(split, NULL);
    transport_destroy(split);
    return status;
}

static void play(const struct layout *layout, int size)
{
    const struct transport_options options = transport_contract_options();
    void *contexts[2 * SIZE_MOST];
    for (int rank = 0; rank < 2 * SIZE_MOST; rank++)
        contexts[rank] = (void *)layout;
    const int whole = size * layout->parts + layout->aside;
    printf("%s, %d of %d ranks\n", layout->one->name, size, whole);
    assert_int_equal(ranks_run(whole, &options, play_on_split, contexts), STATUS_OK);
}

/* What ends a group ends all of it, and a hint is everybody's: there the split has the whole's
 * ranks, but for one. */
static void the_contract_holds(void **state)
{
    const struct transport_case *one = *state;
    const bool alone = one->ends_group || strstr(one->name, "hint");
    for (int size = one->least_ranks; size <= SIZE_MOST; size++)
        play(&(struct layout){one, alone ? 1 : 2, alone}, size);
}

/* A mesh of two by two: rows, columns and the whole in turn, with messages of one under way during
 * the others' collectives. */
static enum status use_in_turn(struct transport *whole, void *context)
{
    (void)context;
    struct transport *row, *column;
    TRY(transport_split(&row, whole, whole->rank / 2));
    TRY(transport_split(&column, whole, whole->rank % 2));
    int got = -1, all[4], rows[2], columns[2];
    const int mine = 10 + whole->rank;
    struct transport_request *receive, *send;
    TRY(transport_receive(row, 1 - row->rank, TRANSPORT_KEYS, &got, sizeof got, &receive));
    TRY(transport_gather_each(column, &mine, columns, sizeof mine));
    TRY(transport_gather_each(whole, &mine, all, sizeof mine));
    TRY(transport_send(row, 1 - row->rank, TRANSPORT_KEYS, &mine, sizeof mine, &send));
    TRY(transport_gather_each(row, &mine, rows, sizeof mine));
    TRY(transport_wait(row, receive));
    TRY(transport_wait(row, send));
    const int first = whole->rank / 2 * 2;
    const bool right = row->rank == whole->rank % 2 && column->rank == whole->rank / 2 &&
                       got == 10 + first + (1 - row->rank) && rows[0] == 10 + first &&
                       rows[1] == 11 + first && columns[0] == 10 + whole->rank % 2 &&
                       columns[1] == 12 + whole->rank % 2 && all[3] == 13;
    transport_destroy(column);
    transport_destroy(row);
    expect_on_all_ranks(whole, right);
    return STATUS_OK;
}

static void rows_columns_and_the_whole_are_used_in_turn(void **state)
{
    (void)state;
    assert_int_equal(ranks_run(4, NULL, use_in_turn, NULL), STATUS_OK);
}

/* Ranks 1 and 3 of the whole; the second falls silent, and is named by its number there. */
static enum status fall_silent(struct transport *whole, void *context)
{
    (void)context;
    struct transport *odd;
    TRY(transport_split(&odd, whole, whole->rank % 2 ? 0 : -1));
    if (!odd)
        return STATUS_OK;
    transport_set_silence(odd, 50000000);
    enum status status = STATUS_OK;
    if (odd->rank == 0) {
        int words[2] = {0};
        status = transport_gather_each(odd, words, words, sizeof words[0]);
        if (status != STATUS_UNAVAILABLE || !strstr(status_message(), "rank 1 waited for rank 3,"))
            status = fail(STATUS_INTERNAL, "not found: %s", status_message());
        else
            status = STATUS_OK;
        transport_abort(odd, "rank 3 is silent");
    }
    while (!transport_aborted(whole))
        sched_yield();
    transport_destroy(odd);
    return status;
}

static void a_silent_rank_is_named_by_its_number_in_the_whole(void **state)
{
    (void)state;
    assert_int_equal(ranks_run(4, NULL, fall_silent, NULL), STATUS_OK);
}

/* Rank 0 waits for the other in a split of a split. */
static enum status wait_in_a_split(struct transport *whole, void *context)
{
    (void)context;
    struct transport *split, *inner;
    const struct timespec pause = {.tv_nsec = 20000000};
    TRY(transport_split(&split, whole, 0));
    TRY(transport_split(&inner, split, 0));
    TRY(transport_barrier(whole));
    const int64_t before = whole->counters.waited_ns;
    if (whole->rank == 1)
        nanosleep(&pause, NULL);
    TRY(transport_barrier(inner));
    const int64_t counted = whole->counters.waited_ns - before;
    const bool right = split->counters.waited_ns >= inner->counters.waited_ns &&
                       counted == inner->counters.waited_ns &&
                       (whole->rank == 1 || counted >= 10000000);
    transport_destroy(inner);
    transport_destroy(split);
    expect_on_all_ranks(whole, right);
    return STATUS_OK;
}

static void a_wait_in_a_split_is_its_wholes_too(void **state)
{
    (void)state;
    assert_int_equal(ranks_run(2, NULL, wait_in_a_split, NULL), STATUS_OK);
}

struct kept {
    struct transport_keepsake keepsake;
    char bytes[64];
};

/* The split is gone before the receive that points into what was left to it. */
static enum status leave_a_keepsake(struct transport *whole, void *context)
{
    (void)context;
    struct transport *split;
    TRY(transport_split(&split, whole, 0));
    struct kept *kept = calloc(1, sizeof *kept);
    struct transport_request *request;
    TRY(transport_receive(split, 1 - split->rank, TRANSPORT_KEYS, kept->bytes, sizeof kept->bytes,
                          &request));
    transport_keep(split, &kept->keepsake);
    transport_destroy(split);
    static _Thread_local char sent[64];
    TRY(transport_send(whole, 1 - whole->rank, TRANSPORT_KEYS, sent, sizeof sent, &request));
    return transport_wait(whole, request);
}

static void what_is_left_to_a_split_outlives_it(void **state)
{
    (void)state;
    assert_int_equal(ranks_run(2, NULL, leave_a_keepsake, NULL), STATUS_OK);
}

int main(void)
{
    struct CMUnitTest tests[MOST] = {
        cmocka_unit_test(rows_columns_and_the_whole_are_used_in_turn),
        cmocka_unit_test(a_silent_rank_is_named_by_its_number_in_the_whole),
        cmocka_unit_test(a_wait_in_a_split_is_its_wholes_too),
        cmocka_unit_test(what_is_left_to_a_split_outlives_it),
    };
    size_t count = OWN;
    for (size_t i = 0; i < transport_contract_count; i++) {
        /* There is nothing left for this case's barrier, which is messages here. */
        if (strcmp(transport_contract_cases[i].name, "requests_run_out_with_a_cause") == 0)
            continue;
        tests[count++] = (struct CMUnitTest){
            .name = transport_contract_cases[i].name,
            .test_func = the_contract_holds,
            .initial_state = (void *)&transport_contract_cases[i],
        };
    }
    return _cmocka_run_group_tests("transport_split", tests, count, NULL, NULL);
}
