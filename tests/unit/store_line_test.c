/* Lines in the store: in which sequence they run, that one lease holds a line and one result comes
 * of it, how results are told, and that damage is named and harms no other. */
#include "tests/support/unit.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/support/store_folder.h"

/* What a walk told, as text: "BATCH:LINE BATCH:LINE ...". */
struct told {
    char text[1024];
    size_t at;
    int64_t count;
};

static enum status note_line(void *context, const struct store_line *line)
{
    struct told *told = context;
    told->at += (size_t)snprintf(told->text + told->at, sizeof told->text - told->at, "%s:%lld ",
                                 line->batch_id, (long long)line->line);
    told->count++;
    return STATUS_OK;
}

/* A batch of lines with these order keys, of one letter each. */
static void add_batch(struct store *store, const char *id, int priority, const char *keys)
{
    struct store_new_line lines[8] = {0};
    char ids[8][24];
    const size_t count = strlen(keys);
    for (size_t i = 0; i < count; i++) {
        snprintf(ids[i], sizeof ids[i], "%zu", i);
        lines[i] = (struct store_new_line){
            .custom_id = ids[i], .order_key = keys + i, .order_key_bytes = 1};
    }
    const struct store_batch_args args = {.tenant = "a",
                                          .id = id,
                                          .priority = priority,
                                          .input = "",
                                          .lines = lines,
                                          .lines_count = count,
                                          .expires_after_seconds = 60,
                                          .retention_seconds = 60};
    struct store_batch_answer answer;
    assert_int_equal(store_batch_create(store, &answer, &args), STATUS_OK);
    store_batch_clear(&answer.batch);
}

static void lines_run_by_priority_then_age_then_prefix(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    struct store_batch_answer answer;
    static const char expected[] = "high:3 high:1 high:2 one:2 one:1 two:1 two:2 low:1 ";
    add_batch(store, "low", -5, "a");
    add_batch(store, "one", 0, "zy");
    add_batch(store, "stopped", 0, "aab");
    add_batch(store, "two", 0, "bb");
    add_batch(store, "high", 9, "cca");
    assert_int_equal(store_batch_cancel(store, &answer, "a", "stopped", NULL), STATUS_OK);
    store_batch_clear(&answer.batch);
    /* All at once, and in pages of every length. */
    for (int64_t page = 1; page <= 9; page++) {
        struct store_line_place place = {0};
        struct told told = {0};
        for (int64_t before = -1; before != told.count;) {
            before = told.count;
            assert_int_equal(store_line_next(store, "a", &place, page, note_line, &told),
                             STATUS_OK);
        }
        assert_string_equal(told.text, expected);
    }
    struct told nothing = {0};
    struct store_line_place place = {0};
    assert_int_equal(store_line_next(store, "b", &place, 9, note_line, &nothing), STATUS_OK);
    assert_int_equal(nothing.count, 0);
}

static void only_the_present_lease_commits_and_once(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    const int64_t number = store_folder_batch(store, "a", "b", 2);
    const int64_t old = store_folder_lease(store, "a", number, 1);
    assert_int_equal(old, 1);
    assert_int_equal(store_folder_lease(store, "a", number, 1), 0);
    assert_int_equal(
        store_line_give_back(store, "a", number, 1, old, STORE_GIVE_BACK_LOST, "rank 2 died"),
        STATUS_OK);
    assert_int_equal(store_folder_commit(store, "a", number, 1, old, "late"),
                     STATUS_FAILED_PRECONDITION);
    const int64_t now = store_folder_lease(store, "a", number, 1);
    assert_int_equal(now, 2);
    assert_int_equal(store_folder_commit(store, "a", number, 1, old, "late"),
                     STATUS_FAILED_PRECONDITION);
    assert_int_equal(store_folder_commit(store, "a", number, 1, now, "right"), STATUS_OK);
    assert_int_equal(store_folder_commit(store, "a", number, 1, now, "again"), STATUS_OK);
    assert_int_equal(store_line_give_back(store, "a", number, 1, now, STORE_GIVE_BACK_LOST, "late"),
                     STATUS_FAILED_PRECONDITION);
    struct store_batch batch;
    assert_int_equal(store_batch_get(store, &batch, "a", "b"), STATUS_OK);
    assert_int_equal(batch.counts.completed, 1);
    assert_int_equal(batch.usage.prompt_tokens, 10);
    assert_int_equal(batch.usage.cached_tokens, 4);
    assert_int_equal(batch.state, STORE_BATCH_RUNNING);
    store_batch_clear(&batch);
}

struct seen_line {
    int64_t attempt, losses, epoch;
    char cause[64];
    enum store_line_state state;
};

static enum status see(void *context, const struct store_line *line)
{
    struct seen_line *seen = context;
    seen->attempt = line->attempt;
    seen->losses = line->losses;
    seen->epoch = line->epoch;
    seen->state = line->state;
    snprintf(seen->cause, sizeof seen->cause, "%s", line->cause);
    return STATUS_OK;
}

static struct seen_line look(struct store *store, int64_t number, int64_t line)
{
    struct seen_line seen = {0};
    assert_int_equal(store_line_list(store, "a", number, ~0U, line, 1, see, &seen), STATUS_OK);
    return seen;
}

static void attempts_and_losses_are_counted(void **state)
{
    struct store_fixture *fixture = *state;
    struct store *store = fixture->store;
    const int64_t number = store_folder_batch(store, "a", "b", 1);
    int64_t epoch = store_folder_lease(store, "a", number, 1);
    assert_int_equal(
        store_line_give_back(store, "a", number, 1, epoch, STORE_GIVE_BACK_LOST, "died"),
        STATUS_OK);
    epoch = store_folder_lease(store, "a", number, 1);
    assert_int_equal(
        store_line_give_back(store, "a", number, 1, epoch, STORE_GIVE_BACK_UNTRIED, NULL),
        STATUS_OK);
    struct seen_line seen = look(store, number, 1);
    assert_int_equal(seen.attempt, 1);
    assert_int_equal(seen.losses, 1);
    assert_string_equal(seen.cause, "died");
    /* A coordinator that goes is not the line's fault either, and its lease is over. */
    epoch = store_folder_lease(store, "a", number, 1);
    store_close(store);
    store = fixture->store = store_folder_open(fixture->folder);
    seen = look(store, number, 1);
    assert_int_equal(seen.attempt, 1);
    assert_int_equal(seen.state, STORE_LINE_WAITING);
    assert_int_equal(store_folder_commit(store, "a", number, 1, epoch, "late"),
                     STATUS_FAILED_PRECONDITION);
    /* A lease with a deadline ends by itself. */
    struct store_lease lease = {.batch = number, .line = 1};
    assert_int_equal(store_line_lease(store, "a", &lease, 1, 300), STATUS_OK);
    assert_true(lease.granted);
    assert_int_equal(look(store, number, 1).state, STORE_LINE_RUNNING);
    for (int i = 0; look(store, number, 1).state == STORE_LINE_RUNNING; i++) {
        assert_true(i < 100);
        usleep(50000);
    }
    assert_int_equal(look(store, number, 1).losses, 2);
}

struct results {
    char text[1024];
    size_t at;
    int64_t count, damaged;
};

static enum status note_result(void *context, const struct store_told_result *result)
{
    struct results *results = context;
    results->count++;
    results->damaged += result->damaged != STATUS_OK;
    results->at += (size_t)snprintf(results->text + results->at, sizeof results->text - results->at,
                                    "%s=%d:%.10s ", result->custom_id, result->status_code,
                                    result->damaged != STATUS_OK ? "DAMAGED"
                                    : result->status_code        ? result->body
                                                                 : "-");
    return STATUS_OK;
}

static bool tell(struct store *store, int64_t number, bool input_order, int64_t page,
                 struct results *results)
{
    struct store_result_walk walk = {
        .tenant = "a", .batch = number, .input_order = input_order, .count = page};
    *results = (struct results){0};
    for (int64_t before = -1; before != results->count && !walk.complete;) {
        before = results->count;
        assert_int_equal(store_line_results(store, &walk, note_result, results), STATUS_OK);
    }
    return walk.complete;
}

static void results_are_told_as_they_end_or_as_lines_stand(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    const int64_t number = store_folder_batch(store, "a", "b", 5);
    struct store_batch_answer answer;
    struct results results;
    int64_t epochs[6];
    for (int64_t line = 1; line <= 4; line++)
        epochs[line] = store_folder_lease(store, "a", number, line);
    assert_int_equal(store_folder_commit(store, "a", number, 3, epochs[3], "three"), STATUS_OK);
    assert_int_equal(store_folder_commit(store, "a", number, 1, epochs[1], "one"), STATUS_OK);
    for (int64_t page = 1; page < 4; page++) {
        assert_false(tell(store, number, false, page, &results));
        assert_string_equal(results.text, "c3=200:three c1=200:one ");
        assert_false(tell(store, number, true, page, &results));
        assert_string_equal(results.text, "c1=200:one ");
    }
    assert_int_equal(store_batch_cancel(store, &answer, "a", "b", NULL), STATUS_OK);
    store_batch_clear(&answer.batch);
    const struct store_result cancelled = {.batch = number,
                                           .line = 2,
                                           .epoch = epochs[2],
                                           .state = STORE_LINE_CANCELLED,
                                           .status_code = 499,
                                           .body = "two",
                                           .body_bytes = 3};
    assert_int_equal(store_line_commit(store, "a", &cancelled), STATUS_OK);
    assert_int_equal(store_folder_commit(store, "a", number, 4, epochs[4], "four"), STATUS_OK);
    for (int i = 0; !tell(store, number, false, 10, &results); i++) {
        assert_true(i < 100);
        usleep(50000);
    }
    for (int64_t page = 1; page < 7; page++) {
        assert_true(tell(store, number, false, page, &results));
        assert_string_equal(results.text, "c3=200:three c1=200:one c2=499:two c4=200:four c5=0:- ");
        assert_true(tell(store, number, true, page, &results));
        assert_string_equal(results.text, "c1=200:one c2=499:two c3=200:three c4=200:four c5=0:- ");
    }
}

static void a_line_that_is_wrong_has_its_result_at_once(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    const struct store_new_line lines[] = {
        {.custom_id = "good", .bytes = 2},
        {.failed_code = 400, .failed_body = "no json", .failed_body_bytes = 7, .bytes = 1},
        {.failed_code = 400, .failed_body = "no json", .failed_body_bytes = 7, .bytes = 1}};
    const struct store_batch_args args = {.tenant = "a",
                                          .id = "b",
                                          .input = "{}",
                                          .input_bytes = 2,
                                          .lines = lines,
                                          .lines_count = 3,
                                          .expires_after_seconds = 60,
                                          .retention_seconds = 60};
    struct store_batch_answer answer;
    struct results results;
    assert_int_equal(store_batch_create(store, &answer, &args), STATUS_OK);
    const int64_t number = answer.batch.number;
    assert_int_equal(answer.batch.counts.failed, 2);
    assert_int_equal(answer.batch.state, STORE_BATCH_QUEUED);
    store_batch_clear(&answer.batch);
    assert_false(tell(store, number, false, 10, &results));
    assert_string_equal(results.text, "=400:no json =400:no json ");
    const int64_t epoch = store_folder_lease(store, "a", number, 1);
    assert_int_equal(store_folder_commit(store, "a", number, 1, epoch, "yes"), STATUS_OK);
    assert_true(tell(store, number, true, 10, &results));
    struct store_batch batch;
    assert_int_equal(store_batch_get(store, &batch, "a", "b"), STATUS_OK);
    assert_int_equal(batch.state, STORE_BATCH_SUCCEEDED);
    assert_true(batch.ended_us >= batch.started_us && batch.started_us > 0);
    store_batch_clear(&batch);
}

static void long_bodies_come_back_as_they_were(void **state)
{
    struct store_fixture *fixture = *state;
    enum { LONG = 300 * 1000 };
    const int64_t number = store_folder_batch(fixture->store, "a", "b", 1);
    const int64_t epoch = store_folder_lease(fixture->store, "a", number, 1);
    char *body = malloc(LONG + 1);
    for (int i = 0; i < LONG; i++)
        body[i] = (char)('a' + i % 25);
    body[LONG] = '\0';
    assert_int_equal(store_folder_commit(fixture->store, "a", number, 1, epoch, body), STATUS_OK);
    free(body);
    for (int opened = 0; opened < 2; opened++) {
        struct results results;
        assert_true(tell(fixture->store, number, false, 1, &results));
        assert_string_equal(results.text, "c1=200:abcdefghij ");
        assert_int_equal(results.damaged, 0);
        store_close(fixture->store);
        fixture->store = store_folder_open(fixture->folder);
    }
    char path[STORE_FOLDER_BYTES + 32], *text;
    size_t bytes;
    snprintf(path, sizeof path, "%s/segments/1", fixture->folder);
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(store_line_read_text(fixture->store, "a", number, 1, &text, &bytes),
                     STATUS_OK);
    assert_string_equal(text, "{\"n\": 1}");
    free(text);
    /* The segment goes with the batch. */
    assert_int_equal(store_batch_delete(fixture->store, "a", "b", NULL), STATUS_OK);
    for (int i = 0; access(path, F_OK) == 0; i++) {
        assert_true(i < 100);
        usleep(50000);
    }
}

static void a_refused_batch_leaves_no_segment_behind(void **state)
{
    struct store_fixture *fixture = *state;
    enum { LONG = 100 * 1000 };
    char *body = malloc(LONG + 1);
    memset(body, 'x', LONG);
    body[LONG] = '\0';
    const struct store_new_line twice[] = {{.custom_id = "x", .bytes = LONG}, {.custom_id = "x"}};
    const struct store_batch_args args = {
        .tenant = "a", .input = body, .input_bytes = LONG, .lines = twice, .lines_count = 2};
    struct store_batch_answer answer;
    struct results results;
    assert_int_equal(store_batch_create(fixture->store, &answer, &args), STATUS_INVALID_ARGUMENT);
    const int64_t number = store_folder_batch(fixture->store, "a", "b", 1);
    const int64_t epoch = store_folder_lease(fixture->store, "a", number, 1);
    assert_int_equal(store_folder_commit(fixture->store, "a", number, 1, epoch, body), STATUS_OK);
    free(body);
    store_close(fixture->store);
    fixture->store = store_folder_open(fixture->folder);
    assert_true(tell(fixture->store, number, false, 1, &results));
    assert_int_equal(results.damaged, 0);
}

/* Changes a row behind the store's back, as a damaged disk would. */
static void damage(struct store_fixture *fixture, const char *sql)
{
    char path[STORE_FOLDER_BYTES + 16];
    sqlite3 *database;
    snprintf(path, sizeof path, "%s/store.db", fixture->folder);
    assert_int_equal(sqlite3_open(path, &database), SQLITE_OK);
    sqlite3_busy_timeout(database, 5000);
    sqlite3_db_config(database, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    assert_int_equal(sqlite3_exec(database, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_true(sqlite3_changes(database) > 0);
    sqlite3_close(database);
}

static void a_damaged_row_is_named_and_the_others_go_on(void **state)
{
    struct store_fixture *fixture = *state;
    struct store *store = fixture->store;
    const int64_t number = store_folder_batch(store, "a", "b", 4);
    struct results results;
    char *text;
    size_t bytes;
    for (int64_t line = 1; line <= 3; line++) {
        const int64_t epoch = store_folder_lease(store, "a", number, line);
        assert_int_equal(store_folder_commit(store, "a", number, line, epoch, "body"), STATUS_OK);
    }
    damage(fixture, "UPDATE results SET body = CAST('bodY' AS BLOB) WHERE line = 2");
    damage(fixture, "UPDATE results SET status_code = 201 WHERE line = 3");
    assert_false(tell(store, number, false, 10, &results));
    assert_string_equal(results.text, "c1=200:body c2=200:DAMAGED c3=201:DAMAGED ");
    assert_false(tell(store, number, true, 10, &results));
    assert_int_equal(results.damaged, 2);
    damage(fixture, "UPDATE lines SET prompt_tokens = 11 WHERE custom_id = 'c4'");
    assert_int_equal(store_line_read_text(store, "a", number, 4, &text, &bytes), STATUS_DATA_LOSS);
    assert_non_null(strstr(status_message(), "batches/b: line 4"));
    damage(fixture, "UPDATE chunks SET body = CAST(replace(CAST(body AS TEXT), '3', '7') AS BLOB)");
    assert_int_equal(store_line_read_text(store, "a", number, 3, &text, &bytes), STATUS_DATA_LOSS);
    assert_int_equal(store_line_read_text(store, "a", number, 1, &text, &bytes), STATUS_OK);
    free(text);
    const int64_t epoch = store_folder_lease(store, "a", number, 4);
    assert_int_equal(store_folder_commit(store, "a", number, 4, epoch, "body"), STATUS_OK);
    char reason[8];
    assert_true(store_is_serving(store, reason, sizeof reason));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lines_run_by_priority_then_age_then_prefix,
                                        store_fixture_set_up, store_fixture_tear_down),
        cmocka_unit_test_setup_teardown(only_the_present_lease_commits_and_once,
                                        store_fixture_set_up, store_fixture_tear_down),
        cmocka_unit_test_setup_teardown(attempts_and_losses_are_counted, store_fixture_set_up,
                                        store_fixture_tear_down),
        cmocka_unit_test_setup_teardown(results_are_told_as_they_end_or_as_lines_stand,
                                        store_fixture_set_up, store_fixture_tear_down),
        cmocka_unit_test_setup_teardown(a_line_that_is_wrong_has_its_result_at_once,
                                        store_fixture_set_up, store_fixture_tear_down),
        cmocka_unit_test_setup_teardown(long_bodies_come_back_as_they_were, store_fixture_set_up,
                                        store_fixture_tear_down),
        cmocka_unit_test_setup_teardown(a_refused_batch_leaves_no_segment_behind,
                                        store_fixture_set_up, store_fixture_tear_down),
        cmocka_unit_test_setup_teardown(a_damaged_row_is_named_and_the_others_go_on,
                                        store_fixture_set_up, store_fixture_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
