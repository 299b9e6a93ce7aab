/* Documents in the store: kept once for each tenant, by their bytes, for as long as somebody needs
 * them. */
#include "tests/support/unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/support/store_folder.h"

static enum status put(struct store *store, struct store_document_answer *answer,
                       const char *tenant, const char *text, const struct store_document_args *args)
{
    struct store_document_upload *upload;
    const size_t half = strlen(text) / 2;
    assert_int_equal(store_document_begin(&upload, store, tenant, NULL), STATUS_OK);
    assert_int_equal(store_document_write(upload, text, half), STATUS_OK);
    assert_int_equal(store_document_write(upload, text + half, strlen(text) - half), STATUS_OK);
    const enum status status = store_document_finish(upload, answer, args);
    store_document_abandon(upload);
    return status;
}

/* Files in FOLDER/documents. */
static int files(const struct store_fixture *fixture)
{
    char path[STORE_FOLDER_BYTES + 16];
    snprintf(path, sizeof path, "%s/documents", fixture->folder);
    DIR *folder = opendir(path);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(folder));)
        count += entry->d_name[0] != '.' && strcmp(entry->d_name, "new") != 0;
    closedir(folder);
    return count;
}

static void the_same_bytes_are_one_document_of_each_tenant(void **state)
{
    struct store_fixture *fixture = *state;
    struct store *store = fixture->store;
    const struct store_document_args args = {
        .title = "t", .tokens = 7, .expires_after_seconds = 60};
    struct store_document_answer first, second, third;
    assert_int_equal(put(store, &first, "a", "some text", &args), STATUS_OK);
    assert_false(first.known);
    assert_string_equal(first.document.digest,
                        "sha256:b94f6f125c79e3a5ffaa826f584c10d52ada669e6762051b826b55776d05aed2");
    assert_int_equal(put(store, &second, "a", "some text", &args), STATUS_OK);
    assert_true(second.known);
    assert_string_equal(first.document.id, second.document.id);
    assert_int_equal(files(fixture), 1);
    assert_int_equal(put(store, &third, "b", "some text", &args), STATUS_OK);
    assert_false(third.known);
    assert_int_equal(files(fixture), 2);
    struct store_document document;
    assert_int_equal(store_document_get(store, &document, "a", third.document.id),
                     STATUS_NOT_FOUND);
    assert_int_equal(store_document_get(store, &document, "c", first.document.digest),
                     STATUS_NOT_FOUND);
    assert_int_equal(store_document_get(store, &document, "a", first.document.digest), STATUS_OK);
    assert_int_equal(document.tokens, 7);
    char *text;
    size_t bytes;
    assert_int_equal(store_document_read(store, "b", first.document.digest, &text, &bytes),
                     STATUS_OK);
    assert_int_equal(bytes, 9);
    assert_string_equal(text, "some text");
    free(text);
    assert_int_equal(store_document_read(store, "b", first.document.id, &text, &bytes),
                     STATUS_NOT_FOUND);
}

static void a_chosen_id_names_one_text(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    const struct store_request request = {"r", "one", 3};
    const struct store_document_args args = {.id = "mine", .expires_after_seconds = 60},
                                     other = {.id = "other", .expires_after_seconds = 60},
                                     asked = {.request = &request, .expires_after_seconds = 60};
    struct store_document_answer answer, again;
    assert_int_equal(put(store, &answer, "a", "one", &args), STATUS_OK);
    assert_int_equal(put(store, &answer, "a", "one", &args), STATUS_OK);
    assert_int_equal(put(store, &answer, "a", "two", &args), STATUS_ALREADY_EXISTS);
    assert_int_equal(put(store, &answer, "a", "one", &other), STATUS_ALREADY_EXISTS);
    assert_non_null(strstr(status_message(), "documents/mine"));
    assert_int_equal(put(store, &answer, "a", "three", &asked), STATUS_OK);
    assert_int_equal(put(store, &again, "a", "three", &asked), STATUS_OK);
    assert_true(again.repeated);
    assert_string_equal(again.document.id, answer.document.id);
}

static void a_tenants_bytes_are_limited(void **state)
{
    struct store_fixture *fixture = *state;
    const struct store_limits limits = {.stored_bytes = 10};
    const struct store_document_args args = {.limits = &limits, .expires_after_seconds = 60};
    struct store_document_answer answer;
    assert_int_equal(put(fixture->store, &answer, "a", "12345678", &args), STATUS_OK);
    assert_int_equal(put(fixture->store, &answer, "a", "abc", &args), STATUS_RESOURCE_EXHAUSTED);
    assert_int_equal(put(fixture->store, &answer, "a", "12345678", &args), STATUS_OK);
    assert_int_equal(put(fixture->store, &answer, "b", "abc", &args), STATUS_OK);
    assert_int_equal(files(fixture), 2);
}

static int64_t batch_with(struct store *store, const char *document)
{
    const struct store_new_line line = {.custom_id = "x", .document = document, .queued_tokens = 1};
    const struct store_batch_args args = {.tenant = "a",
                                          .id = "b",
                                          .input = "",
                                          .lines = &line,
                                          .lines_count = 1,
                                          .expires_after_seconds = 600,
                                          .retention_seconds = 600};
    struct store_batch_answer answer;
    assert_int_equal(store_batch_create(store, &answer, &args), STATUS_OK);
    store_batch_clear(&answer.batch);
    return answer.batch.number;
}

static void a_document_stays_while_a_batch_needs_it(void **state)
{
    struct store_fixture *fixture = *state;
    struct store *store = fixture->store;
    const struct store_document_args args = {.id = "d", .expires_after_seconds = 0};
    struct store_document_answer answer;
    struct store_document document;
    const struct store_document_args kept = {.id = "d", .expires_after_seconds = 3600};
    assert_int_equal(put(store, &answer, "a", "text", &kept), STATUS_OK);
    const int64_t number = batch_with(store, "d");
    assert_int_equal(store_document_delete(store, "a", "d", NULL), STATUS_FAILED_PRECONDITION);
    const int64_t epoch = store_folder_lease(store, "a", number, 1);
    assert_int_equal(store_folder_commit(store, "a", number, 1, epoch, "r"), STATUS_OK);
    const struct store_request request = {"del", "d", 1};
    assert_int_equal(store_document_delete(store, "a", "d", &request), STATUS_OK);
    assert_int_equal(store_document_delete(store, "a", "d", &request), STATUS_OK);
    assert_int_equal(store_document_get(store, &document, "a", "d"), STATUS_NOT_FOUND);
    assert_int_equal(files(fixture), 0);
    /* One that has expired goes by itself. */
    assert_int_equal(put(store, &answer, "a", "text", &args), STATUS_OK);
    for (int i = 0; store_document_get(store, &document, "a", "d") == STATUS_OK; i++) {
        assert_true(i < 100);
        usleep(50000);
    }
    for (int i = 0; files(fixture) > 0; i++) {
        assert_true(i < 100);
        usleep(50000);
    }
    struct store_batch_answer refused;
    const struct store_new_line line = {.custom_id = "x", .document = "d"};
    const struct store_batch_args batch = {
        .tenant = "a", .input = "", .lines = &line, .lines_count = 1};
    assert_int_equal(store_batch_create(store, &refused, &batch), STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(status_message(), "documents/d"));
}

static enum status name(void *context, const struct store_document *document)
{
    char *names = context;
    snprintf(names + strlen(names), 64 - strlen(names), "%s ", document->id);
    return STATUS_OK;
}

static void documents_are_listed_newest_first(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    static const char *const ids[] = {"one", "two", "three"};
    struct store_document_answer answer = {0};
    char names[64] = "";
    for (int i = 0; i < 3; i++) {
        const struct store_document_args args = {.id = ids[i], .expires_after_seconds = 60};
        assert_int_equal(put(store, &answer, "a", ids[i], &args), STATUS_OK);
    }
    assert_int_equal(store_document_list(store, "a", 0, 9, name, names), STATUS_OK);
    assert_string_equal(names, "three two one ");
    names[0] = '\0';
    assert_int_equal(store_document_list(store, "a", answer.document.number, 1, name, names),
                     STATUS_OK);
    assert_string_equal(names, "two ");
    assert_int_equal(store_document_set_tokens(store, "a", "two", 5), STATUS_OK);
    assert_int_equal(store_document_get(store, &answer.document, "a", "two"), STATUS_OK);
    assert_int_equal(answer.document.tokens, 5);
}

static void a_damaged_file_is_named(void **state)
{
    struct store_fixture *fixture = *state;
    const struct store_document_args args = {.id = "d", .expires_after_seconds = 60};
    struct store_document_answer answer;
    char command[STORE_FOLDER_BYTES + 64], *text;
    size_t bytes;
    assert_int_equal(put(fixture->store, &answer, "a", "text", &args), STATUS_OK);
    snprintf(command, sizeof command, "for f in %s/documents/982*; do printf tExt >$f; done",
             fixture->folder);
    assert_int_equal(system(command), 0);
    assert_int_equal(store_document_read(fixture->store, "a", "d", &text, &bytes),
                     STATUS_DATA_LOSS);
    assert_non_null(strstr(status_message(), "documents/d"));
    snprintf(command, sizeof command, "rm %s/documents/982*", fixture->folder);
    assert_int_equal(system(command), 0);
    assert_int_equal(store_document_read(fixture->store, "a", "d", &text, &bytes),
                     STATUS_DATA_LOSS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_same_bytes_are_one_document_of_each_tenant,
                                        store_fixture_set_up, store_fixture_tear_down),
        cmocka_unit_test_setup_teardown(a_chosen_id_names_one_text, store_fixture_set_up,
                                        store_fixture_tear_down),
        cmocka_unit_test_setup_teardown(a_tenants_bytes_are_limited, store_fixture_set_up,
                                        store_fixture_tear_down),
        cmocka_unit_test_setup_teardown(a_document_stays_while_a_batch_needs_it,
                                        store_fixture_set_up, store_fixture_tear_down),
        cmocka_unit_test_setup_teardown(documents_are_listed_newest_first, store_fixture_set_up,
                                        store_fixture_tear_down),
        cmocka_unit_test_setup_teardown(a_damaged_file_is_named, store_fixture_set_up,
                                        store_fixture_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
