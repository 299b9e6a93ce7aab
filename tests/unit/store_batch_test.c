/* Batches in the store: made once for a request id, uploaded from any offset, validated, run,
 * cancelled, expired, deleted; and never another tenant's. */
#include "tests/support/unit.h"

#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/store_folder.h"

static struct store_batch get(struct store *store, const char *tenant, const char *id)
{
    struct store_batch batch;
    assert_int_equal(store_batch_get(store, &batch, tenant, id), STATUS_OK);
    return batch;
}

/* Waits until the batch is in this state, at most five seconds. */
static void wait_for_state(struct store *store, const char *tenant, const char *id,
                           enum store_batch_state state)
{
    uint64_t seen = 0;
    for (int i = 0; i < 100; i++) {
        struct store_batch batch = get(store, tenant, id);
        const bool reached = batch.state == state;
        const int64_t number = batch.number;
        store_batch_clear(&batch);
        if (reached)
            return;
        store_wait_batch(store, number, &seen, 50);
    }
    fail_msg("batches/%s did not reach state %d", id, (int)state);
}

static void a_batch_is_made_once_for_its_request_id(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    const struct store_request request = {"r-1", "content", 7}, other = {"r-1", "another", 7};
    struct store_batch_args args = {.tenant = "a",
                                    .request = &request,
                                    .id = "mine",
                                    .endpoint = "/v1/completions",
                                    .metadata = "m\0d",
                                    .metadata_bytes = 3,
                                    .priority = 7,
                                    .expires_after_seconds = 60};
    struct store_batch_answer first, again;
    assert_int_equal(store_batch_create(store, &first, &args), STATUS_OK);
    assert_false(first.repeated);
    assert_string_equal(first.batch.id, "mine");
    assert_int_equal(first.batch.state, STORE_BATCH_UPLOADING);
    assert_int_equal(store_batch_create(store, &again, &args), STATUS_OK);
    assert_true(again.repeated);
    assert_int_equal(again.batch.number, first.batch.number);
    assert_int_equal(again.batch.created_us, first.batch.created_us);
    assert_int_equal(again.batch.priority, 7);
    assert_int_equal(again.batch.metadata_bytes, 3);
    assert_memory_equal(again.batch.metadata, "m\0d", 3);
    store_batch_clear(&first.batch);
    store_batch_clear(&again.batch);
    args.request = &other;
    assert_int_equal(store_batch_create(store, &again, &args), STATUS_ALREADY_EXISTS);
    assert_non_null(strstr(status_message(), "r-1"));
    /* The id is taken, whatever the request id; another tenant has ids of its own. */
    args.request = NULL;
    assert_int_equal(store_batch_create(store, &again, &args), STATUS_ALREADY_EXISTS);
    args.tenant = "b";
    args.request = &other;
    assert_int_equal(store_batch_create(store, &again, &args), STATUS_OK);
    store_batch_clear(&again.batch);
}

/* ---- batches that nobody waits for ---- */

enum { LATER = 300 };

struct later {
    struct store_batch_creation creation;
    enum status status;
    int times;
    sem_t *done;
};

static void note_end(struct store_batch_creation *creation, enum status status)
{
    struct later *later = (struct later *)creation;
    later->status = status;
    later->times++;
    if (status == STATUS_OK)
        store_batch_clear(&creation->answer.batch);
    sem_post(later->done);
}

/* Each is told of once; the third of four has a name that is taken. */
static void batches_are_made_while_nobody_waits(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    static struct later all[LATER];
    sem_t done;
    struct timespec until;
    sem_init(&done, 0, 0);
    for (int i = 0; i < LATER; i++) {
        all[i] = (struct later){.done = &done};
        all[i].creation.args = (struct store_batch_args){
            .tenant = "a", .id = i % 4 == 2 ? "taken" : "", .expires_after_seconds = 60};
        all[i].creation.ended = note_end;
        store_batch_create_later(store, &all[i].creation);
    }
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    for (int i = 0; i < LATER; i++)
        assert_int_equal(sem_timedwait(&done, &until), 0);
    for (int i = 0; i < LATER; i++) {
        const bool again = i % 4 == 2 && i > 2;
        assert_int_equal(all[i].times, 1);
        assert_int_equal(all[i].status, again ? STATUS_ALREADY_EXISTS : STATUS_OK);
        struct store_batch batch = get(store, "a", all[i].creation.id);
        assert_int_equal(batch.state, STORE_BATCH_UPLOADING);
        store_batch_clear(&batch);
    }
    all[0].creation.args.priority = 1000;
    store_batch_create_later(store, &all[0].creation);
    assert_int_equal(sem_timedwait(&done, &until), 0);
    assert_int_equal(all[0].status, STATUS_INVALID_ARGUMENT);
    sem_destroy(&done);
}

static void another_tenants_batch_is_not_there(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    const int64_t number = store_folder_batch(store, "a", "secret", 2);
    struct store_batch batch;
    struct store_batch_answer answer;
    char *text, buffer[8];
    size_t bytes;
    int64_t committed;
    const struct store_result result = {
        .batch = number, .line = 1, .epoch = 1, .state = STORE_LINE_COMPLETED, .status_code = 200};
    struct store_lease lease = {.batch = number, .line = 1};
    struct store_result_walk walk = {.tenant = "b", .batch = number, .count = 10};
    assert_int_equal(store_batch_get(store, &batch, "b", "secret"), STATUS_NOT_FOUND);
    store_folder_batch(store, "b", "own", 1);
    assert_int_equal(store_batch_get(store, &batch, "b", "secret"), STATUS_NOT_FOUND);
    assert_int_equal(store_batch_cancel(store, &answer, "b", "secret", NULL), STATUS_NOT_FOUND);
    assert_int_equal(store_batch_delete(store, "b", "secret", NULL), STATUS_NOT_FOUND);
    assert_int_equal(store_batch_append(store, &committed, "b", "secret", 0, "x", 1, NULL),
                     STATUS_NOT_FOUND);
    assert_int_equal(store_batch_read_input(store, "b", number, 0, buffer, 8, &bytes),
                     STATUS_NOT_FOUND);
    assert_int_equal(store_line_read_text(store, "b", number, 1, &text, &bytes), STATUS_NOT_FOUND);
    assert_int_equal(store_line_results(store, &walk, NULL, NULL), STATUS_NOT_FOUND);
    assert_int_equal(store_line_lease(store, "b", &lease, 1, 0), STATUS_OK);
    assert_false(lease.granted);
    assert_int_equal(store_folder_lease(store, "a", number, 1), 1);
    assert_int_equal(store_line_commit(store, "b", &result), STATUS_NOT_FOUND);
}

struct told {
    int count;
    char ids[16][STORE_ID_BYTES];
    int64_t numbers[16];
};

static enum status note(void *context, const struct store_batch *batch)
{
    struct told *told = context;
    assert_true(told->count < 16);
    memcpy(told->ids[told->count], batch->id, STORE_ID_BYTES);
    told->numbers[told->count++] = batch->number;
    return STATUS_OK;
}

static void batches_are_listed_newest_first_in_pages(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    struct told told = {0};
    for (int i = 0; i < 5; i++) {
        char id[16];
        snprintf(id, sizeof id, "b%d", i);
        store_folder_batch(store, "a", id, i == 2 ? 0 : 1);
    }
    store_folder_batch(store, "other", "x", 1);
    assert_int_equal(store_batch_list(store, "a", 0, 0, 3, note, &told), STATUS_OK);
    assert_int_equal(told.count, 3);
    assert_string_equal(told.ids[0], "b4");
    assert_int_equal(store_batch_list(store, "a", 0, told.numbers[2], 3, note, &told), STATUS_OK);
    assert_int_equal(told.count, 5);
    assert_string_equal(told.ids[4], "b0");
    told.count = 0;
    assert_int_equal(store_batch_list(store, "a", STORE_BATCH_SUCCEEDED, 0, 9, note, &told),
                     STATUS_OK);
    assert_int_equal(told.count, 1);
    assert_string_equal(told.ids[0], "b2");
    told.count = 0;
    assert_int_equal(store_batch_list(store, "nobody", 0, 0, 9, note, &told), STATUS_OK);
    assert_int_equal(told.count, 0);
}

static void an_upload_goes_on_at_any_offset(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    enum { LONG = 200 * 1000 };
    const struct store_batch_args args = {
        .tenant = "a", .id = "up", .expires_after_seconds = 60, .retention_seconds = 60};
    struct store_batch_answer answer;
    int64_t committed;
    assert_int_equal(store_batch_create(store, &answer, &args), STATUS_OK);
    const int64_t number = answer.batch.number;
    store_batch_clear(&answer.batch);
    char *longer = malloc(LONG), *read = malloc(LONG + 20);
    for (int i = 0; i < LONG; i++)
        longer[i] = (char)('a' + i % 23);
    assert_int_equal(store_batch_append(store, &committed, "a", "up", 0, "0123456789", 10, NULL),
                     STATUS_OK);
    assert_int_equal(committed, 10);
    assert_int_equal(store_batch_append(store, &committed, "a", "up", 11, "x", 1, NULL),
                     STATUS_OUT_OF_RANGE);
    assert_int_equal(store_batch_append(store, &committed, "a", "up", 5, "56789abcde", 10, NULL),
                     STATUS_OK);
    assert_int_equal(committed, 15);
    assert_int_equal(store_batch_append(store, &committed, "a", "up", 5, "56X", 3, NULL),
                     STATUS_INVALID_ARGUMENT);
    assert_int_equal(store_batch_append(store, &committed, "a", "up", 15, longer, LONG, NULL),
                     STATUS_OK);
    assert_int_equal(committed, 15 + LONG);
    size_t bytes;
    assert_int_equal(store_batch_read_input(store, "a", number, 3, read, LONG + 20, &bytes),
                     STATUS_OK);
    assert_int_equal(bytes, LONG + 12);
    assert_memory_equal(read, "3456789abcde", 12);
    assert_memory_equal(read + 12, longer, LONG);
    assert_int_equal(store_batch_seal(store, "a", "up"), STATUS_OK);
    assert_int_equal(store_batch_seal(store, "a", "up"), STATUS_OK);
    assert_int_equal(store_batch_append(store, &committed, "a", "up", 15 + LONG, "x", 1, NULL),
                     STATUS_FAILED_PRECONDITION);
    free(longer);
    free(read);
}

static void a_custom_id_of_two_lines_is_refused_with_both(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    const struct store_batch_args args = {.tenant = "a",
                                          .id = "twice",
                                          .input = "abc",
                                          .input_bytes = 3,
                                          .retention_seconds = 60,
                                          .expires_after_seconds = 60};
    struct store_batch_answer answer;
    assert_int_equal(store_batch_create(store, &answer, &args), STATUS_OK);
    assert_int_equal(answer.batch.state, STORE_BATCH_VALIDATING);
    const int64_t number = answer.batch.number;
    store_batch_clear(&answer.batch);
    const struct store_new_line first[] = {{.custom_id = "x", .bytes = 1, .queued_tokens = 5},
                                           {.custom_id = "y", .offset = 1, .bytes = 1}};
    const struct store_new_line second[] = {{.custom_id = "z", .offset = 2, .bytes = 1},
                                            {.custom_id = "x", .offset = 2, .bytes = 1}};
    assert_int_equal(store_batch_add_lines(store, "a", number, 1, first, 2, NULL), STATUS_OK);
    assert_int_equal(store_batch_add_lines(store, "a", number, 3, second, 2, NULL),
                     STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(status_message(), "lines 1 and 4"));
    struct store_batch batch = get(store, "a", "twice");
    assert_int_equal(batch.counts.total, 2);
    store_batch_clear(&batch);
    assert_int_equal(store_batch_add_lines(store, "a", number, 4, second, 1, NULL),
                     STATUS_FAILED_PRECONDITION);
    assert_int_equal(store_batch_add_lines(store, "a", number, 3, second, 1, NULL), STATUS_OK);
    /* It fails: its lines and what they counted are gone. */
    assert_int_equal(store_batch_fail(store, "a", number, "line 4: no"), STATUS_OK);
    for (int i = 0; i < 100; i++) {
        struct store_tenant tenant;
        assert_int_equal(store_read_tenant(store, "a", &tenant), STATUS_OK);
        if (tenant.queued_lines == 0 && tenant.stored_bytes == 0 && tenant.queued_tokens == 0)
            break;
        assert_true(i < 99);
        usleep(50000);
    }
    batch = get(store, "a", "twice");
    assert_int_equal(batch.state, STORE_BATCH_FAILED);
    assert_string_equal(batch.error, "line 4: no");
    store_batch_clear(&batch);
    /* The same within a batch that comes whole: nothing of it is there. */
    const struct store_new_line both[] = {first[0], first[1], first[0]};
    const struct store_batch_args whole = {.tenant = "a",
                                           .id = "whole",
                                           .input = "abc",
                                           .input_bytes = 3,
                                           .lines = both,
                                           .lines_count = 3};
    assert_int_equal(store_batch_create(store, &answer, &whole), STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(status_message(), "lines 1 and 3"));
    assert_int_equal(store_batch_get(store, &batch, "a", "whole"), STATUS_NOT_FOUND);
}

static void limits_hold_in_the_transaction(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    const struct store_limits lines = {.queued_lines = 2}, tokens = {.queued_tokens = 19},
                              bytes = {.stored_bytes = 10};
    const struct store_limits *const limits[] = {&lines, &tokens, &bytes};
    const struct store_new_line three[] = {
        {.custom_id = "1", .bytes = 4, .queued_tokens = 10},
        {.custom_id = "2", .offset = 4, .bytes = 4, .queued_tokens = 10},
        {.custom_id = "3", .offset = 8, .bytes = 4, .queued_tokens = 10}};
    struct store_batch_args args = {.tenant = "a",
                                    .input = "aaaabbbbcccc",
                                    .input_bytes = 12,
                                    .lines = three,
                                    .lines_count = 3,
                                    .expires_after_seconds = 60};
    struct store_batch_answer answer;
    struct store_tenant tenant;
    for (int i = 0; i < 3; i++) {
        args.limits = limits[i];
        assert_int_equal(store_batch_create(store, &answer, &args), STATUS_RESOURCE_EXHAUSTED);
    }
    assert_int_equal(store_read_tenant(store, "a", &tenant), STATUS_OK);
    assert_int_equal(tenant.queued_lines + tenant.queued_tokens + tenant.stored_bytes, 0);
    args.limits = &lines;
    args.lines_count = 2;
    assert_int_equal(store_batch_create(store, &answer, &args), STATUS_OK);
    store_batch_clear(&answer.batch);
    args.lines_count = 1;
    assert_int_equal(store_batch_create(store, &answer, &args), STATUS_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(status_message(), "waiting lines"));
}

static void a_cancelled_batch_ends_with_its_last_running_line(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    const int64_t number = store_folder_batch(store, "a", "c", 2500);
    const int64_t first = store_folder_lease(store, "a", number, 1);
    const int64_t second = store_folder_lease(store, "a", number, 2);
    const struct store_request request = {"cancel", "c", 1};
    struct store_batch_answer answer;
    assert_int_equal(store_batch_cancel(store, &answer, "a", "c", &request), STATUS_OK);
    assert_int_equal(answer.batch.state, STORE_BATCH_CANCELLING);
    assert_int_equal(answer.batch.counts.running, 2);
    store_batch_clear(&answer.batch);
    /* No line of it runs any more; one that is given back ends as cancelled. */
    assert_int_equal(store_folder_lease(store, "a", number, 3), 0);
    assert_int_equal(
        store_line_give_back(store, "a", number, 2, second, STORE_GIVE_BACK_LOST, "gone"),
        STATUS_OK);
    assert_int_equal(store_folder_commit(store, "a", number, 1, first, "r1"), STATUS_OK);
    wait_for_state(store, "a", "c", STORE_BATCH_CANCELLED);
    struct store_batch batch = get(store, "a", "c");
    assert_int_equal(batch.counts.completed, 1);
    assert_int_equal(batch.counts.cancelled, 2499);
    assert_int_equal(batch.counts.running, 0);
    store_batch_clear(&batch);
    assert_int_equal(store_batch_cancel(store, &answer, "a", "c", NULL),
                     STATUS_FAILED_PRECONDITION);
    assert_int_equal(store_batch_cancel(store, &answer, "a", "c", &request), STATUS_OK);
    assert_true(answer.repeated);
    assert_int_equal(answer.batch.state, STORE_BATCH_CANCELLING);
    store_batch_clear(&answer.batch);
}

static void a_batch_expires_and_then_is_forgotten(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    struct store_batch_answer answer;
    const struct store_new_line line = {.custom_id = "x", .bytes = 3, .queued_tokens = 5};
    const struct store_batch_args args = {.tenant = "a",
                                          .id = "short",
                                          .input = "abc",
                                          .input_bytes = 3,
                                          .lines = &line,
                                          .lines_count = 1,
                                          .expires_after_seconds = 1,
                                          .retention_seconds = 1};
    assert_int_equal(store_batch_create(store, &answer, &args), STATUS_OK);
    store_batch_clear(&answer.batch);
    wait_for_state(store, "a", "short", STORE_BATCH_EXPIRED);
    struct store_batch batch = get(store, "a", "short");
    assert_int_equal(batch.counts.expired, 1);
    store_batch_clear(&batch);
    for (int i = 0; store_batch_get(store, &batch, "a", "short") == STATUS_OK; i++) {
        store_batch_clear(&batch);
        assert_true(i < 100);
        usleep(50000);
    }
    struct store_tenant tenant;
    for (int i = 0;; i++) {
        assert_int_equal(store_read_tenant(store, "a", &tenant), STATUS_OK);
        if (tenant.queued_lines + tenant.queued_tokens + tenant.stored_bytes == 0)
            break;
        assert_true(i < 100);
        usleep(50000);
    }
}

static void a_deleted_batch_is_gone_at_once_and_answered_again(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    const struct store_request request = {"del", "c", 1};
    const int64_t number = store_folder_batch(store, "a", "d", 1);
    struct store_batch batch;
    assert_int_equal(store_batch_delete(store, "a", "d", &request), STATUS_FAILED_PRECONDITION);
    const int64_t epoch = store_folder_lease(store, "a", number, 1);
    assert_int_equal(store_folder_commit(store, "a", number, 1, epoch, "r"), STATUS_OK);
    assert_int_equal(store_batch_delete(store, "a", "d", &request), STATUS_OK);
    assert_int_equal(store_batch_get(store, &batch, "a", "d"), STATUS_NOT_FOUND);
    assert_int_equal(store_batch_delete(store, "a", "d", &request), STATUS_OK);
    assert_int_equal(store_batch_delete(store, "a", "d", NULL), STATUS_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_batch_is_made_once_for_its_request_id,
                                        store_fixture_set_up, store_fixture_tear_down),
        cmocka_unit_test_setup_teardown(batches_are_made_while_nobody_waits, store_fixture_set_up,
                                        store_fixture_tear_down),
        cmocka_unit_test_setup_teardown(another_tenants_batch_is_not_there, store_fixture_set_up,
                                        store_fixture_tear_down),
        cmocka_unit_test_setup_teardown(batches_are_listed_newest_first_in_pages,
                                        store_fixture_set_up, store_fixture_tear_down),
        cmocka_unit_test_setup_teardown(an_upload_goes_on_at_any_offset, store_fixture_set_up,
                                        store_fixture_tear_down),
        cmocka_unit_test_setup_teardown(a_custom_id_of_two_lines_is_refused_with_both,
                                        store_fixture_set_up, store_fixture_tear_down),
        cmocka_unit_test_setup_teardown(limits_hold_in_the_transaction, store_fixture_set_up,
                                        store_fixture_tear_down),
        cmocka_unit_test_setup_teardown(a_cancelled_batch_ends_with_its_last_running_line,
                                        store_fixture_set_up, store_fixture_tear_down),
        cmocka_unit_test_setup_teardown(a_batch_expires_and_then_is_forgotten, store_fixture_set_up,
                                        store_fixture_tear_down),
        cmocka_unit_test_setup_teardown(a_deleted_batch_is_gone_at_once_and_answered_again,
                                        store_fixture_set_up, store_fixture_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
