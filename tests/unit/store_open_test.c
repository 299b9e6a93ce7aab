/* How a store is opened: what it refuses by name, and that a copy and a check of it are right. */
#include "tests/support/unit.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "coordinator/batch/store_place.h"
#include "tests/support/store_folder.h"

enum { PATH_BYTES = 2 * STORE_FOLDER_BYTES };

static int set_up(void **state)
{
    char *folder = malloc(STORE_FOLDER_BYTES);
    store_folder_make(folder);
    *state = folder;
    return 0;
}

static int tear_down(void **state)
{
    store_folder_remove(*state);
    free(*state);
    return 0;
}

static enum status try_open(const char *folder, bool accept_lost_log)
{
    const struct store_options options = {.folder = folder, .accept_lost_log = accept_lost_log};
    struct store *store;
    const enum status status = store_open(&store, &options);
    if (status == STATUS_OK)
        store_close(store);
    return status;
}

static void path_of(char path[PATH_BYTES], const char *folder, const char *name)
{
    const int bytes = snprintf(path, PATH_BYTES, "%s/%s", folder, name);
    assert_true(bytes < PATH_BYTES);
}

/* Changes the database of a store that is closed. */
static void change(const char *folder, const char *sql)
{
    char path[PATH_BYTES];
    sqlite3 *database;
    path_of(path, folder, "store.db");
    assert_int_equal(sqlite3_open(path, &database), SQLITE_OK);
    assert_int_equal(sqlite3_exec(database, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(database);
}

/* A process that makes a batch in the store and ends without closing it. */
static void leave_unclean(const char *folder, const char *id)
{
    const pid_t child = fork();
    if (child == 0) {
        (void)store_folder_batch(store_folder_open(folder), "a", id, 1);
        _exit(0);
    }
    int code;
    assert_int_equal(waitpid(child, &code, 0), child);
    assert_int_equal(code, 0);
}

static bool has(const char *folder, const char *id)
{
    struct store *store = store_folder_open(folder);
    struct store_batch batch;
    const enum status status = store_batch_get(store, &batch, "a", id);
    if (status == STATUS_OK)
        store_batch_clear(&batch);
    store_close(store);
    return status == STATUS_OK;
}

static void a_second_process_is_refused_with_the_holder(void **state)
{
    const char *folder = *state;
    char holder[64];
    struct store *store = store_folder_open(folder);
    snprintf(holder, sizeof holder, "process %lld", (long long)getpid());
    assert_int_equal(try_open(folder, false), STATUS_FAILED_PRECONDITION);
    assert_non_null(strstr(status_message(), holder));
    store_close(store);
    assert_int_equal(try_open(folder, false), STATUS_OK);
}

static void network_file_systems_are_refused_by_name(void **state)
{
    (void)state;
    assert_int_equal(store_place_check_kind("/x", 0x6969), STATUS_FAILED_PRECONDITION);
    assert_non_null(strstr(status_message(), "NFS"));
    assert_int_equal(store_place_check_kind("/x", 0x0bd00bd0), STATUS_FAILED_PRECONDITION);
    assert_non_null(strstr(status_message(), "Lustre"));
    assert_int_equal(store_place_check_kind("/x", 0xef53), STATUS_OK);     /* ext4 */
    assert_int_equal(store_place_check_kind("/x", 0x01021994), STATUS_OK); /* tmpfs */
}

static void an_unclean_end_without_its_log_is_refused(void **state)
{
    const char *folder = *state;
    char log[PATH_BYTES], kept[PATH_BYTES];
    leave_unclean(folder, "one");
    path_of(log, folder, "store.db-wal");
    path_of(kept, folder, "kept");
    assert_int_equal(rename(log, kept), 0);
    assert_int_equal(try_open(folder, false), STATUS_FAILED_PRECONDITION);
    assert_non_null(strstr(status_message(), "store.db-wal is gone"));
    /* An empty one is none. */
    fclose(fopen(log, "w"));
    assert_int_equal(try_open(folder, false), STATUS_FAILED_PRECONDITION);
    /* Refusing has changed nothing: with its log it opens, and all is there. */
    assert_int_equal(rename(kept, log), 0);
    assert_true(has(folder, "one"));
    /* After a clean end there is nothing in the log. */
    assert_int_equal(unlink(log), 0);
    assert_true(has(folder, "one"));
}

static void a_database_that_is_older_than_its_mark_is_refused(void **state)
{
    const char *folder = *state;
    char older[PATH_BYTES], path[PATH_BYTES];
    path_of(older, folder, "older");
    assert_int_equal(try_open(folder, false), STATUS_OK);
    path_of(path, folder, "store.db");
    store_folder_copy(path, older);
    store_close(store_folder_open(folder));
    assert_int_equal(rename(older, path), 0);
    assert_int_equal(try_open(folder, false), STATUS_FAILED_PRECONDITION);
    assert_non_null(strstr(status_message(), "older than the store was"));
    assert_int_equal(try_open(folder, true), STATUS_OK);
}

static void a_lost_log_can_be_accepted(void **state)
{
    const char *folder = *state;
    char log[PATH_BYTES];
    assert_int_equal(try_open(folder, false), STATUS_OK);
    leave_unclean(folder, "one");
    path_of(log, folder, "store.db-wal");
    assert_int_equal(unlink(log), 0);
    assert_int_equal(try_open(folder, true), STATUS_OK);
    assert_false(has(folder, "one"));
}

static void a_newer_version_is_refused_and_not_touched(void **state)
{
    const char *folder = *state;
    char path[PATH_BYTES];
    struct stat before, after;
    assert_int_equal(try_open(folder, false), STATUS_OK);
    path_of(path, folder, "store.db");
    change(folder, "PRAGMA user_version = 99");
    assert_int_equal(stat(path, &before), 0);
    assert_int_equal(try_open(folder, false), STATUS_FAILED_PRECONDITION);
    assert_non_null(strstr(status_message(), "version 99"));
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
    assert_int_equal(before.st_size, after.st_size);
    /* The mark alone says it too. */
    path_of(path, folder, "state");
    FILE *mark = fopen(path, "w");
    fprintf(mark, "longhaul-store closed schema 77 opened 1\n");
    fclose(mark);
    assert_int_equal(try_open(folder, false), STATUS_FAILED_PRECONDITION);
    assert_non_null(strstr(status_message(), "version 77"));
    mark = fopen(path, "w");
    fprintf(mark, "longhaul-store closed\n");
    fclose(mark);
    assert_int_equal(try_open(folder, false), STATUS_DATA_LOSS);
}

static void another_programs_database_is_refused(void **state)
{
    const char *folder = *state;
    char path[PATH_BYTES];
    path_of(path, folder, "store.db");
    change(folder, "CREATE TABLE t(a)");
    assert_int_equal(try_open(folder, false), STATUS_FAILED_PRECONDITION);
    assert_non_null(strstr(status_message(), "`state`"));
    char state_path[PATH_BYTES];
    path_of(state_path, folder, "state");
    FILE *mark = fopen(state_path, "w");
    fprintf(mark, "longhaul-store closed schema 1 opened 1\n");
    fclose(mark);
    assert_int_equal(try_open(folder, false), STATUS_DATA_LOSS);
    assert_non_null(strstr(status_message(), "another program's"));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(try_open(folder, false), STATUS_FAILED_PRECONDITION);
    assert_non_null(strstr(status_message(), "is gone"));
}

static void complain(void *context, const char *sentence)
{
    (void)sentence;
    ++*(int *)context;
}

static void a_copy_made_while_it_serves_opens(void **state)
{
    const char *folder = *state;
    char copy[PATH_BYTES];
    struct store *store = store_folder_open(folder);
    struct store_document_upload *upload;
    struct store_document_answer document;
    const struct store_document_args args = {.id = "d", .expires_after_seconds = 600};
    char *body = calloc(1, 100001);
    memset(body, 'x', 100000);
    int wrong = 0;
    const int64_t number = store_folder_batch(store, "a", "one", 3);
    const int64_t epoch = store_folder_lease(store, "a", number, 1);
    assert_int_equal(store_folder_commit(store, "a", number, 1, epoch, body), STATUS_OK);
    assert_int_equal(store_document_begin(&upload, store, "a", NULL), STATUS_OK);
    assert_int_equal(store_document_write(upload, "text", 4), STATUS_OK);
    assert_int_equal(store_document_finish(upload, &document, &args), STATUS_OK);
    store_document_abandon(upload);
    assert_int_equal(store_verify(store, complain, &wrong), STATUS_OK);
    path_of(copy, folder, "copy");
    assert_int_equal(store_backup(store, copy), STATUS_OK);
    assert_int_equal(store_backup(store, copy), STATUS_ALREADY_EXISTS);
    assert_int_equal(store_batch_cancel(store, &(struct store_batch_answer){0}, "a", "one", NULL),
                     STATUS_OK);
    assert_int_equal(store_document_delete(store, "a", "d", NULL), STATUS_OK);
    struct store *copied = store_folder_open(copy);
    struct store_batch batch;
    char *text;
    size_t bytes;
    assert_int_equal(store_verify(copied, complain, &wrong), STATUS_OK);
    assert_int_equal(store_batch_get(copied, &batch, "a", "one"), STATUS_OK);
    assert_int_equal(batch.state, STORE_BATCH_RUNNING);
    assert_int_equal(batch.counts.completed, 1);
    store_batch_clear(&batch);
    assert_int_equal(store_document_read(copied, "a", "d", &text, &bytes), STATUS_OK);
    free(text);
    free(body);
    /* A check finds what is wrong. */
    store_close(copied);
    char path[PATH_BYTES];
    path_of(path, copy, "segments/1");
    assert_int_equal(unlink(path), 0);
    change(copy, "UPDATE lines SET bytes = 3 WHERE custom_id = 'c2'");
    copied = store_folder_open(copy);
    assert_int_equal(store_verify(copied, complain, &wrong), STATUS_DATA_LOSS);
    assert_int_equal(wrong, 2);
    store_close(copied);
    store_close(store);
}

static void ids_grow_and_differ(void **state)
{
    struct store *store = store_folder_open(*state);
    char first[STORE_ID_BYTES], second[STORE_ID_BYTES];
    store_make_id(store, first);
    usleep(2000);
    store_make_id(store, second);
    assert_int_equal(strlen(first), 26);
    assert_true(strcmp(first, second) < 0);
    store_close(store);
}

/* Batches of 60,000 lines in all, over 5 MiB of pages, in a store that may keep 1 MiB; and what
 * its statements and SQLite itself take. */
static void pages_in_memory_keep_to_their_limit(void **state)
{
    enum { BATCHES = 60, LINES = 1000, MIB = 1 << 20 };
    const struct store_options options = {.folder = *state, .cache_bytes = MIB};
    struct store_facts before, after;
    struct store *store;
    struct stat database;
    char path[PATH_BYTES];
    assert_int_equal(store_open(&store, &options), STATUS_OK);
    store_read_facts(store, &before);
    for (int b = 0; b < BATCHES; b++) {
        char id[STORE_ID_BYTES];
        snprintf(id, sizeof id, "batch-%d", b);
        store_folder_batch(store, "a", id, LINES);
    }
    store_read_facts(store, &after);
    assert_true(before.memory_bytes > 0);
    assert_true(after.memory_bytes < before.memory_bytes + 2 * MIB);
    store_close(store);
    path_of(path, *state, "store.db");
    assert_int_equal(stat(path, &database), 0);
    assert_true(database.st_size > 4 * MIB);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_second_process_is_refused_with_the_holder, set_up,
                                        tear_down),
        cmocka_unit_test(network_file_systems_are_refused_by_name),
        cmocka_unit_test_setup_teardown(an_unclean_end_without_its_log_is_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_database_that_is_older_than_its_mark_is_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_lost_log_can_be_accepted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_newer_version_is_refused_and_not_touched, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(another_programs_database_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_copy_made_while_it_serves_opens, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ids_grow_and_differ, set_up, tear_down),
        cmocka_unit_test_setup_teardown(pages_in_memory_keep_to_their_limit, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
