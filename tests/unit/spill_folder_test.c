/* The folder of spilled files: what a coordinator finds of another's, which file goes first, and
 * what it refuses. */
#include "coordinator/spill_folder.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/log.h"
#include "tests/support/cache_example.h"
#include "tests/support/unit.h"

enum { PATH_BYTES = 512, ROOMY = 1 << 24 };

static const char tenant[] = "ada";
static char place_of_tests[PATH_BYTES];

static struct spill_folder *open_it(int64_t bytes_most)
{
    struct spill_folder *folder;
    char model[CACHE_MODEL_BYTES];
    snprintf(model, sizeof model, "%032x", 0x5eed);
    assert_int_equal(spill_folder_open(&folder, place_of_tests, bytes_most, model), STATUS_OK);
    return folder;
}

static void make(struct cache_example *example, int tokens)
{
    cache_example_make(example, "rope", CHOICE_CACHE_BF16, tokens, 0);
}

/* The number of a file of so many tokens. */
static int64_t add(struct spill_folder *folder, int tokens)
{
    struct cache_example example;
    struct spill_place place;
    make(&example, tokens);
    assert_int_equal(spill_folder_begin(folder, &place, tenant, &example.header), STATUS_OK);
    cache_example_write(&example, place.path);
    assert_int_equal(spill_folder_written(folder, &place, true), STATUS_OK);
    assert_true(place.number > 0);
    return place.number;
}

static int64_t find(struct spill_folder *folder, int64_t *tokens, const char *who, int count)
{
    struct cache_example example;
    make(&example, CACHE_EXAMPLE_TOKENS_MAX);
    char method[METHOD_TEXT_BYTES];
    method_print(&example.header.method, method);
    return spill_folder_find(folder, tokens, who, method, example.ids, count);
}

static int count_names(const char *part)
{
    int count = 0;
    DIR *listing = opendir(place_of_tests);
    assert_non_null(listing);
    for (const struct dirent *entry; (entry = readdir(listing)) != NULL;)
        count += strstr(entry->d_name, part) != NULL;
    closedir(listing);
    return count;
}

static int begin(void **state)
{
    (void)state;
    snprintf(place_of_tests, sizeof place_of_tests, "/tmp/longhaul-spill-XXXXXX");
    return mkdtemp(place_of_tests) ? 0 : -1;
}

static int end(void **state)
{
    char command[PATH_BYTES + 16];
    (void)state;
    snprintf(command, sizeof command, "rm -r %s", place_of_tests);
    return system(command);
}

static void the_longest_beginning_of_a_prompt_is_found(void **state)
{
    (void)state;
    struct spill_folder *folder = open_it(ROOMY);
    int64_t tokens;
    const int64_t some = add(folder, 65), more = add(folder, 130);
    assert_int_equal(find(folder, &tokens, tenant, 64), 0);
    assert_int_equal(find(folder, &tokens, tenant, 65), some);
    assert_int_equal(tokens, 65);
    assert_int_equal(find(folder, &tokens, tenant, 700), more);
    assert_int_equal(tokens, 130);
    assert_int_equal(find(folder, &tokens, "bob", 700), 0);
    assert_int_equal(tokens, 0);
    spill_folder_remove(folder, more, NULL);
    assert_int_equal(find(folder, &tokens, tenant, 700), some);
    assert_int_equal(count_names(".keys"), 1);
    spill_folder_close(folder);
}

static void another_coordinator_finds_what_is_whole(void **state)
{
    (void)state;
    struct spill_folder *folder = open_it(ROOMY), *second;
    char path[PATH_MAX], other[PATH_MAX + 16];
    int64_t tokens;
    const int64_t whole = add(folder, 65), cut = add(folder, 130);
    assert_int_equal(spill_folder_open(&second, place_of_tests, ROOMY, ""),
                     STATUS_FAILED_PRECONDITION);
    assert_non_null(strstr(status_message(), "in use by another coordinator"));
    assert_true(spill_folder_path(folder, path, cut));
    assert_int_equal(truncate(path, 1000), 0);
    assert_true(spill_folder_path(folder, path, whole));
    snprintf(other, sizeof other, "%s.unfinished", path);
    assert_int_equal(link(path, other), 0);
    snprintf(other, sizeof other, "%s/notes.keys", place_of_tests);
    assert_int_equal(link(path, other), 0);
    /* Under another file's name. */
    snprintf(other, sizeof other, "%s", path);
    char *digest = strrchr(other, '/') + 1 + 17;
    digest[0] = digest[0] == '0' ? '1' : '0';
    assert_int_equal(link(path, other), 0);
    spill_folder_close(folder);
    folder = open_it(ROOMY);
    assert_int_equal(count_names(".keys"), 2);
    assert_int_equal(count_names("notes.keys"), 1);
    assert_true(find(folder, &tokens, tenant, 700) > 0);
    assert_int_equal(tokens, 65);
    spill_folder_close(folder);
    assert_int_equal(spill_folder_open(&folder, place_of_tests, ROOMY, "another"), STATUS_OK);
    assert_int_equal(count_names(".keys"), 1);
    spill_folder_close(folder);
}

static void the_longest_unused_goes_and_those_last_that_are_needed(void **state)
{
    (void)state;
    struct spill_folder *folder = open_it(ROOMY);
    struct spill_facts facts;
    struct cache_example example;
    struct spill_place place;
    char path[PATH_MAX];
    add(folder, 130);
    spill_folder_facts(folder, &facts);
    make(&example, 130);
    assert_int_equal(spill_folder_begin(folder, &place, tenant, &example.header), STATUS_OK);
    assert_int_equal(spill_folder_written(folder, &place, false), STATUS_OK);
    spill_folder_close(folder);

    folder = open_it(2 * facts.bytes + place.bytes); /* room for two, and one that is written */
    int64_t files[4];
    for (int f = 0; f < 2; f++)
        files[f] = add(folder, 131 + f);
    spill_folder_need(folder, files[0], true);
    for (int f = 2; f < 4; f++)
        files[f] = add(folder, 131 + f);
    assert_true(spill_folder_path(folder, path, files[0]));
    assert_false(spill_folder_has(folder, files[1]));
    spill_folder_facts(folder, &facts);
    assert_true(facts.bytes <= 2 * facts.bytes / facts.files + place.bytes);
    for (int f = 4; f < 8; f++)
        spill_folder_need(folder, add(folder, 131 + f), true);
    assert_false(spill_folder_has(folder, files[0]));
    spill_folder_close(folder);

    folder = open_it(1 << 12);
    assert_int_equal(count_names(".keys"), 0);
    assert_int_equal(spill_folder_begin(folder, &place, tenant, &example.header),
                     STATUS_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(status_message(), "--spill-bytes"));
    spill_folder_close(folder);
}

/* Those that are there stay, and the limit is what it was. */
static void a_file_that_is_refused_changes_nothing(void **state)
{
    (void)state;
    struct spill_folder *folder = open_it(ROOMY);
    struct cache_example example, large;
    struct spill_place writing, refused;
    struct spill_facts before, facts;
    make(&example, 130);
    make(&large, CACHE_EXAMPLE_TOKENS_MAX);
    assert_int_equal(spill_folder_begin(folder, &writing, tenant, &large.header), STATUS_OK);
    assert_int_equal(spill_folder_written(folder, &writing, false), STATUS_OK);
    spill_folder_close(folder);

    folder = open_it(writing.bytes + writing.bytes / 2);
    const int64_t listed = add(folder, 65);
    assert_int_equal(spill_folder_begin(folder, &writing, tenant, &large.header), STATUS_OK);
    spill_folder_facts(folder, &before);
    assert_int_equal(spill_folder_begin(folder, &refused, tenant, &large.header),
                     STATUS_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(status_message(), "being written"));
    assert_int_equal(refused.bytes, 0);
    assert_true(spill_folder_has(folder, listed));
    spill_folder_facts(folder, &facts);
    assert_int_equal(facts.bytes, before.bytes);
    assert_int_equal(facts.removed, 0);
    assert_int_equal(spill_folder_written(folder, &writing, false), STATUS_OK);
    spill_folder_close(folder);

    folder = open_it(1 << 12);
    assert_int_equal(spill_folder_begin(folder, &refused, tenant, &example.header),
                     STATUS_RESOURCE_EXHAUSTED);
    assert_int_equal(refused.bytes, 0);
    spill_folder_close(folder);
}

static void nothing_stays_of_a_file_that_a_reader_refuses(void **state)
{
    (void)state;
    struct spill_folder *folder = open_it(ROOMY);
    struct cache_example example;
    struct spill_place place;
    struct spill_facts facts;
    make(&example, 130);
    assert_int_equal(spill_folder_begin(folder, &place, tenant, &example.header), STATUS_OK);
    cache_example_write(&example, place.path);
    assert_int_equal(truncate(place.path, 1000), 0);
    assert_int_equal(spill_folder_written(folder, &place, true), STATUS_DATA_LOSS);
    assert_int_equal(count_names(".keys"), 0);

    assert_int_equal(place.number, 0);
    assert_false(spill_folder_need(folder, 1, true));
    assert_true(spill_folder_need(folder, add(folder, 65), true));
    spill_folder_remove(folder, 1, NULL);
    spill_folder_facts(folder, &facts);
    assert_int_equal(facts.bytes, 0);
    spill_folder_close(folder);
}

/* Here by a link to a disk that is not mounted. */
static void what_cannot_be_read_for_now_is_left_alone(void **state)
{
    (void)state;
    struct spill_folder *folder = open_it(ROOMY);
    struct spill_facts facts;
    char path[PATH_MAX];
    const int64_t number = add(folder, 65);
    assert_true(spill_folder_path(folder, path, number));
    spill_folder_close(folder);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/longhaul-disk-that-is-not-mounted/keys", path), 0);
    folder = open_it(ROOMY);
    spill_folder_facts(folder, &facts);
    assert_int_equal(facts.files, 0);
    spill_folder_close(folder);
    assert_int_equal(count_names(".keys"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_longest_beginning_of_a_prompt_is_found, begin, end),
        cmocka_unit_test_setup_teardown(another_coordinator_finds_what_is_whole, begin, end),
        cmocka_unit_test_setup_teardown(the_longest_unused_goes_and_those_last_that_are_needed,
                                        begin, end),
        cmocka_unit_test_setup_teardown(a_file_that_is_refused_changes_nothing, begin, end),
        cmocka_unit_test_setup_teardown(nothing_stays_of_a_file_that_a_reader_refuses, begin, end),
        cmocka_unit_test_setup_teardown(what_cannot_be_read_for_now_is_left_alone, begin, end),
    };
    log_configure(LOG_ERROR, -1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
