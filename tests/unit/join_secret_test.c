/* The join secret: what is drawn, which files are taken, and where the default one lies. */
#include "tests/support/unit.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/join_secret.h"

static char folder[PATH_MAX];

static const char *in_folder(const char *name)
{
    static char paths[4][PATH_MAX];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, PATH_MAX, "%.3000s/%s", folder, name);
    return path;
}

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/join-secret-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder); /* fails when a test has left anything */
}

static const char *write_file(const char *text, mode_t mode)
{
    const char *path = in_folder("named");
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    assert_int_equal(chmod(path, mode), 0);
    return path;
}

static const char GOOD[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

static void a_drawn_secret_is_256_bits_and_never_the_same(void **state)
{
    (void)state;
    char first[JOIN_SECRET_ROOM] = "";
    const struct join_secret_places places = {.runtime = folder};
    for (int i = 0; i < 2; i++) {
        struct join_secret *secret = NULL;
        char text[JOIN_SECRET_ROOM];
        char path[PATH_MAX];
        struct stat about;
        assert_int_equal(join_secret_create(&secret, ""), STATUS_OK);
        assert_int_equal(join_secret_publish(secret, &places, 4711), STATUS_OK);
        assert_int_equal(join_secret_path(path, &places, 4711), STATUS_OK);
        assert_string_equal(path, in_folder("longhaul/4711.secret"));
        assert_string_equal(join_secret_file(secret), path);
        assert_int_equal(stat(path, &about), 0);
        assert_int_equal(about.st_mode & 07777, 0600);
        assert_int_equal(stat(in_folder("longhaul"), &about), 0);
        assert_int_equal(about.st_mode & 07777, 0700);
        assert_int_equal(join_secret_read(text, path), STATUS_OK);
        assert_int_equal(strlen(text), 64);
        assert_int_equal(strspn(text, "0123456789abcdef"), 64);
        assert_string_not_equal(text, first);
        snprintf(first, sizeof first, "%s", text);
        assert_true(join_secret_matches(secret, text, 64));
        join_secret_destroy(secret);
        assert_int_equal(access(path, F_OK), -1);
        assert_int_equal(access(in_folder("longhaul"), F_OK), -1);
    }
}

static void only_the_whole_secret_matches(void **state)
{
    (void)state;
    struct join_secret *secret = NULL;
    char other[JOIN_SECRET_ROOM + 300];
    assert_int_equal(join_secret_create(&secret, write_file(GOOD, 0600)), STATUS_OK);
    assert_true(join_secret_matches(secret, GOOD, 64));
    for (size_t i = 0; i < 64; i++) {
        snprintf(other, sizeof other, "%s", GOOD);
        other[i] ^= 1;
        assert_false(join_secret_matches(secret, other, 64));
        assert_false(join_secret_matches(secret, GOOD, i));
    }
    memset(other, 0, sizeof other);
    snprintf(other, sizeof other, "%s", GOOD);
    other[64] = 'x';
    for (size_t bytes = 65; bytes < sizeof other; bytes++)
        assert_false(join_secret_matches(secret, other, bytes));
    join_secret_destroy(secret);
    assert_int_equal(unlink(in_folder("named")), 0);
}

static void a_file_that_others_can_read_or_write_is_refused(void **state)
{
    (void)state;
    char text[JOIN_SECRET_ROOM];
    struct join_secret *secret = NULL;
    static const mode_t modes[] = {0640, 0604, 0620, 0602, 0610, 0601, 0644, 0666};
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        const char *path = write_file(GOOD, modes[i]);
        assert_int_equal(join_secret_read(text, path), STATUS_FAILED_PRECONDITION);
        assert_non_null(strstr(status_message(), "open to other users"));
        assert_int_equal(join_secret_create(&secret, path), STATUS_FAILED_PRECONDITION);
    }
    assert_int_equal(chmod(in_folder("named"), 0400), 0);
    assert_int_equal(join_secret_read(text, in_folder("named")), STATUS_OK);
    assert_int_equal(unlink(in_folder("named")), 0);
}

static void another_users_file_is_refused(void **state)
{
    (void)state;
    char text[JOIN_SECRET_ROOM];
    const char *path = write_file(GOOD, 0600);
    if (geteuid() == 0) {
        assert_int_equal(chown(path, 12345, (gid_t)-1), 0);
        assert_int_equal(join_secret_read(text, path), STATUS_FAILED_PRECONDITION);
        assert_non_null(strstr(status_message(), "belongs to user 12345"));
    }
    assert_int_equal(unlink(path), 0);
}

static void what_is_no_secret_is_refused(void **state)
{
    (void)state;
    char text[JOIN_SECRET_ROOM];
    char longest[SECRET_MOST + 2];
    memset(longest, 'x', sizeof longest);
    longest[SECRET_MOST + 1] = 0;
    const char *const bad[] = {"short", "0123456789abcdef0123456789abcde",
                               "0123456789abcdef 123456789abcdef",
                               "0123456789abcdef\x80 123456789abcdef", longest};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(join_secret_read(text, write_file(bad[i], 0600)), STATUS_INVALID_ARGUMENT);
    longest[SECRET_MOST] = 0;
    assert_int_equal(join_secret_read(text, write_file(longest, 0600)), STATUS_OK);
    assert_string_equal(text, longest);
    assert_int_equal(
        join_secret_read(text, write_file("0123456789abcdef0123456789abcdef \r\n", 0600)),
        STATUS_OK);
    assert_string_equal(text, "0123456789abcdef0123456789abcdef");
    assert_int_equal(join_secret_read(text, write_file("\n", 0600)), STATUS_UNAVAILABLE);
    assert_int_equal(unlink(in_folder("named")), 0);
    assert_int_equal(join_secret_read(text, in_folder("named")), STATUS_NOT_FOUND);
    assert_int_equal(join_secret_read(text, folder), STATUS_FAILED_PRECONDITION);
    assert_int_equal(mkfifo(in_folder("named"), 0600), 0);
    assert_int_equal(join_secret_read(text, in_folder("named")), STATUS_FAILED_PRECONDITION);
    assert_int_equal(unlink(in_folder("named")), 0);
}

static void a_named_file_is_made_when_it_is_missing_and_kept_when_not(void **state)
{
    (void)state;
    struct join_secret *secret = NULL;
    char text[JOIN_SECRET_ROOM];
    const struct join_secret_places places = {.temporary = "/nowhere"};
    const char *path = in_folder("named");
    assert_int_equal(join_secret_create(&secret, path), STATUS_OK);
    assert_int_equal(join_secret_publish(secret, &places, 1), STATUS_OK);
    assert_int_equal(join_secret_read(text, path), STATUS_OK);
    join_secret_destroy(secret);
    assert_int_equal(access(path, F_OK), -1);
    path = write_file(GOOD, 0600);
    assert_int_equal(join_secret_create(&secret, path), STATUS_OK);
    assert_int_equal(join_secret_publish(secret, &places, 1), STATUS_OK);
    assert_true(join_secret_matches(secret, GOOD, 64));
    join_secret_destroy(secret);
    assert_int_equal(unlink(path), 0);
}

static void a_running_coordinators_file_is_not_written_over_and_a_dead_ones_is(void **state)
{
    (void)state;
    struct join_secret *first = NULL, *second = NULL;
    const struct join_secret_places places = {.runtime = folder};
    char before[JOIN_SECRET_ROOM], after[JOIN_SECRET_ROOM];
    assert_int_equal(join_secret_create(&first, ""), STATUS_OK);
    assert_int_equal(join_secret_create(&second, ""), STATUS_OK);
    assert_int_equal(join_secret_publish(first, &places, 4711), STATUS_OK);
    assert_int_equal(join_secret_read(before, join_secret_file(first)), STATUS_OK);
    assert_int_equal(join_secret_publish(second, &places, 4711), STATUS_UNAVAILABLE);
    join_secret_destroy(second);
    assert_int_equal(join_secret_read(after, join_secret_file(first)), STATUS_OK);
    assert_string_equal(before, after);
    /* What a coordinator that was killed leaves. */
    const char *path = in_folder("longhaul/4712.secret");
    FILE *left = fopen(path, "w");
    assert_non_null(left);
    fputs("left behind and longer than any secret that is drawn, so that it must be cut", left);
    fclose(left);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(join_secret_create(&second, ""), STATUS_OK);
    assert_int_equal(join_secret_publish(second, &places, 4712), STATUS_OK);
    assert_int_equal(join_secret_read(after, path), STATUS_OK);
    assert_true(join_secret_matches(second, after, strlen(after)));
    join_secret_destroy(second);
    join_secret_destroy(first);
}

static void what_dead_coordinators_left_beside_it_is_removed(void **state)
{
    (void)state;
    struct join_secret *living = NULL, *next = NULL;
    const struct join_secret_places places = {.runtime = folder};
    assert_int_equal(join_secret_create(&living, ""), STATUS_OK);
    assert_int_equal(join_secret_publish(living, &places, 4711), STATUS_OK);
    static const char *const names[] = {"longhaul/4712.secret", "longhaul/notes.secret"};
    for (int i = 0; i < 2; i++) {
        FILE *left = fopen(in_folder(names[i]), "w");
        assert_non_null(left);
        fclose(left);
    }
    assert_int_equal(join_secret_create(&next, ""), STATUS_OK);
    assert_int_equal(join_secret_publish(next, &places, 4713), STATUS_OK);
    assert_int_equal(access(in_folder(names[0]), F_OK), -1);
    assert_int_equal(access(join_secret_file(living), F_OK), 0);
    assert_int_equal(access(join_secret_file(next), F_OK), 0);
    assert_int_equal(unlink(in_folder(names[1])), 0); /* it is nobody's of ours */
    join_secret_destroy(next);
    join_secret_destroy(living);
}

static void a_default_folder_that_is_open_to_others_is_refused(void **state)
{
    (void)state;
    struct join_secret *secret = NULL;
    const struct join_secret_places places = {.runtime = folder};
    const char *path = in_folder("longhaul");
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(chmod(path, 0755), 0);
    assert_int_equal(join_secret_create(&secret, ""), STATUS_OK);
    assert_int_equal(join_secret_publish(secret, &places, 4711), STATUS_FAILED_PRECONDITION);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(symlink("/tmp", path), 0);
    assert_int_equal(join_secret_publish(secret, &places, 4711), STATUS_FAILED_PRECONDITION);
    assert_int_equal(unlink(path), 0);
    join_secret_destroy(secret);
}

static void the_jobs_folder_comes_before_the_users_and_that_before_tmp(void **state)
{
    (void)state;
    char path[PATH_MAX], wanted[PATH_MAX];
    struct join_secret_places places = {
        .job = "4711", .job_folder = folder, .runtime = folder, .temporary = folder};
    assert_int_equal(join_secret_path(path, &places, 7712), STATUS_OK);
    assert_string_equal(path, in_folder("longhaul-4711/7712.secret"));
    places.job_folder = "/nowhere";
    assert_int_equal(join_secret_path(path, &places, 7712), STATUS_OK);
    assert_string_equal(path, in_folder("longhaul/7712.secret"));
    places.runtime = "/nowhere"; /* as on a compute node that no session has been opened on */
    snprintf(wanted, sizeof wanted, "%.3000s/longhaul-%u/7712.secret", folder, (unsigned)geteuid());
    assert_int_equal(join_secret_path(path, &places, 7712), STATUS_OK);
    assert_string_equal(path, wanted);
    const struct join_secret_places none = {0};
    snprintf(wanted, sizeof wanted, "/tmp/longhaul-%u/7712.secret", (unsigned)geteuid());
    assert_int_equal(join_secret_path(path, &none, 7712), STATUS_OK);
    assert_string_equal(path, wanted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_drawn_secret_is_256_bits_and_never_the_same),
        cmocka_unit_test(only_the_whole_secret_matches),
        cmocka_unit_test(a_file_that_others_can_read_or_write_is_refused),
        cmocka_unit_test(another_users_file_is_refused),
        cmocka_unit_test(what_is_no_secret_is_refused),
        cmocka_unit_test(a_named_file_is_made_when_it_is_missing_and_kept_when_not),
        cmocka_unit_test(a_running_coordinators_file_is_not_written_over_and_a_dead_ones_is),
        cmocka_unit_test(what_dead_coordinators_left_beside_it_is_removed),
        cmocka_unit_test(a_default_folder_that_is_open_to_others_is_refused),
        cmocka_unit_test(the_jobs_folder_comes_before_the_users_and_that_before_tmp),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
