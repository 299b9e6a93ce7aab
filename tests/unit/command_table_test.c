/* A rank's commands from Run to RunDone: begun as they came, each found by its own number. */
#include "tests/support/unit.h"

#include "worker/command_table.h"

enum { ROOM = 3 };

static struct command *numbered(uint64_t number)
{
    Longhaul__Control__V1__Run run = LONGHAUL__CONTROL__V1__RUN__INIT;
    struct command *command = NULL;
    run.number = number;
    assert_int_equal(command_create(&command, &run), STATUS_OK);
    return command;
}

static void add(struct command_table *table, uint64_t number)
{
    assert_int_equal(command_table_add(table, numbered(number)), STATUS_OK);
}

static void commands_are_begun_in_the_sequence_in_which_they_came(void **state)
{
    (void)state;
    struct command_table table;
    assert_int_equal(command_table_init(&table, ROOM), STATUS_OK);
    assert_null(command_table_begin(&table));
    add(&table, 5);
    add(&table, 7);
    assert_int_equal(command_table_begin(&table)->number, 5);
    add(&table, 9);
    command_destroy(command_table_remove(&table, 5));
    assert_int_equal(command_table_begin(&table)->number, 7);
    assert_int_equal(command_table_begin(&table)->number, 9);
    assert_null(command_table_begin(&table));
    command_table_deinit(&table);
}

static void an_ended_command_is_not_found_and_the_others_stay(void **state)
{
    (void)state;
    struct command_table table;
    assert_int_equal(command_table_init(&table, ROOM), STATUS_OK);
    add(&table, 1);
    add(&table, 2);
    add(&table, 3);
    const struct command *last = command_table_find(&table, 3)->command;
    command_table_find(&table, 3)->cut_short = STATUS_CANCELLED;
    command_destroy(command_table_remove(&table, 2));
    assert_null(command_table_find(&table, 2));
    assert_null(command_table_find(&table, 4));
    assert_ptr_equal(command_table_find(&table, 3)->command, last);
    assert_int_equal(command_table_find(&table, 3)->cut_short, STATUS_CANCELLED);
    assert_int_equal(command_table_find(&table, 1)->cut_short, STATUS_OK);
    command_table_deinit(&table);
}

static void what_is_to_go_is_told_once(void **state)
{
    (void)state;
    enum { GOERS = 20 };
    struct command_table table;
    uint64_t number, sum = 0;
    assert_int_equal(command_table_init(&table, ROOM), STATUS_OK);
    assert_false(command_table_goer(&table, &number));
    for (uint64_t n = 1; n <= GOERS; n++)
        assert_int_equal(command_table_let_go(&table, n), STATUS_OK);
    while (command_table_goer(&table, &number))
        sum += number;
    assert_int_equal(sum, GOERS * (GOERS + 1) / 2);
    command_table_deinit(&table);
}

static void expect_refused(struct command_table *table, uint64_t number)
{
    struct command *command = numbered(number);
    assert_int_equal(command_table_add(table, command), STATUS_INTERNAL);
    command_destroy(command);
}

static void numbers_grow_and_no_more_come_than_the_rank_can_hold(void **state)
{
    (void)state;
    struct command_table table;
    assert_int_equal(command_table_init(&table, ROOM), STATUS_OK);
    expect_refused(&table, 0);
    add(&table, 10);
    expect_refused(&table, 10);
    expect_refused(&table, 9);
    add(&table, 11);
    add(&table, UINT64_MAX - 1);
    expect_refused(&table, UINT64_MAX);
    command_destroy(command_table_remove(&table, 11));
    expect_refused(&table, 11);
    add(&table, UINT64_MAX);
    assert_int_equal(table.count, ROOM);
    command_table_deinit(&table);
}

/* The other ranks must hear of it, so it is a command all the same. */
static void a_command_that_cannot_be_taken_says_why(void **state)
{
    (void)state;
    struct command *command = numbered(1);
    assert_int_equal(command->refused, STATUS_INTERNAL);
    assert_string_equal(command->refusal, "the coordinator sent a request without a choice");
    command_destroy(command);

    int32_t stop_ids[COMMAND_STOP_IDS_MAX + 1] = {0};
    Longhaul__Control__V1__Choice choice = LONGHAUL__CONTROL__V1__CHOICE__INIT;
    Longhaul__Control__V1__RunSampling sampling = LONGHAUL__CONTROL__V1__RUN_SAMPLING__INIT;
    Longhaul__Control__V1__Run run = LONGHAUL__CONTROL__V1__RUN__INIT;
    run.choice = &choice;
    run.sampling = &sampling;
    run.stop_ids = stop_ids;
    run.n_stop_ids = COMMAND_STOP_IDS_MAX + 1;
    assert_int_equal(command_create(&command, &run), STATUS_OK);
    assert_int_equal(command->refused, STATUS_INVALID_ARGUMENT);
    command_destroy(command);

    char name[COMMAND_NAME_BYTES + 1];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    run.request_id = name;
    assert_int_equal(command_create(&command, &run), STATUS_INTERNAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_are_begun_in_the_sequence_in_which_they_came),
        cmocka_unit_test(an_ended_command_is_not_found_and_the_others_stay),
        cmocka_unit_test(what_is_to_go_is_told_once),
        cmocka_unit_test(numbers_grow_and_no_more_come_than_the_rank_can_hold),
        cmocka_unit_test(a_command_that_cannot_be_taken_says_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
