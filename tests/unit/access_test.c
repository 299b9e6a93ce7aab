/* Tenants and tokens: what a file may say, who is known by it, and what becomes of one that
 * changes. */
#include "tests/support/unit.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "coordinator/access/access.h"
#include "coordinator/access/access_file.h"

#define SECRET "alpha-secret-alpha-secret-alpha-secret"
#define OTHER "beta-secret-beta-secret-beta-secret-beta"

static char path[PATH_MAX];

static int make_path(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "/tmp/access-test-XXXXXX");
    int descriptor = mkstemp(path);
    return descriptor < 0 ? -1 : close(descriptor);
}

static int remove_path(void **state)
{
    (void)state;
    return unlink(path);
}

static void write_file(const char *text, mode_t mode)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, mode), 0);
}

/* "tenant alpha ..." with its token, and beta with another one. */
static const char *two_tenants(const char *alpha_words)
{
    static char text[1024];
    char alpha[2 * ACCESS_DIGEST_BYTES + 1], beta[2 * ACCESS_DIGEST_BYTES + 1];
    access_digest(alpha, SECRET, strlen(SECRET));
    access_digest(beta, OTHER, strlen(OTHER));
    snprintf(text, sizeof text,
             "# who may ask\n\ntenant alpha weight=3 queued-requests=7 queued-tokens=100000 "
             "running-requests=2 stored-bytes=1099511627776 session-tokens=40000 # ours\n"
             "token alpha sha256=%s%s\ntenant beta\r\ntoken beta scopes=metrics,admin sha256=%s",
             alpha, alpha_words, beta);
    return text;
}

static struct access *open_good(void)
{
    struct access *access = NULL;
    write_file(two_tenants(""), 0600);
    assert_int_equal(access_open(&access, path), STATUS_OK);
    return access;
}

static enum status check(struct access *access, struct access_caller *caller, const char *said,
                         unsigned scopes)
{
    struct status_details details = {0};
    enum status status =
        access_check(access, caller, &details, said, said ? strlen(said) : 0, scopes);
    if (status != STATUS_OK)
        assert_non_null(details.reason);
    return status;
}

static void the_digest_is_sha256(void **state)
{
    (void)state;
    char hex[2 * ACCESS_DIGEST_BYTES + 1];
    access_digest(hex, "abc", 3); /* FIPS 180-2, appendix B.1 */
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void without_a_file_everybody_is_the_one_tenant(void **state)
{
    (void)state;
    struct access *access = NULL;
    struct access_caller caller;
    assert_int_equal(access_open(&access, ""), STATUS_OK);
    assert_false(access_has_tenants(access));
    assert_int_equal(check(access, &caller, NULL, ACCESS_ADMIN | ACCESS_INFERENCE), STATUS_OK);
    assert_string_equal(caller.tenant.name, "");
    assert_int_equal(caller.tenant.weight, 1);
    assert_int_equal(caller.tenant.quotas.queued_requests, 0);
    access_close(access);
}

static void a_token_tells_its_tenant_and_its_scopes(void **state)
{
    (void)state;
    struct access *access = open_good();
    struct access_caller caller;
    assert_true(access_has_tenants(access));
    assert_int_equal(check(access, &caller, "Bearer " SECRET, ACCESS_INFERENCE), STATUS_OK);
    assert_string_equal(caller.tenant.name, "alpha");
    assert_int_equal(caller.tenant.weight, 3);
    assert_int_equal(caller.tenant.quotas.queued_requests, 7);
    assert_int_equal(caller.tenant.quotas.queued_tokens, 100000);
    assert_int_equal(caller.tenant.quotas.running_requests, 2);
    assert_true(caller.tenant.quotas.stored_bytes == INT64_C(1) << 40);
    assert_int_equal(caller.tenant.quotas.session_tokens, 40000);
    assert_int_equal(check(access, &caller, "bearer   " OTHER, ACCESS_METRICS | ACCESS_ADMIN),
                     STATUS_OK);
    assert_string_equal(caller.tenant.name, "beta");
    assert_int_equal(caller.tenant.weight, 1);
    access_close(access);
}

static void strangers_are_refused_without_a_hint(void **state)
{
    (void)state;
    static const char *const said[] = {
        NULL,
        "",
        "Bearer",
        "Bearer ",
        SECRET,
        "Basic " SECRET,
        "Bearer " SECRET "x",
        "Bearer alpha-secret-alpha-secret-alpha-secre",
        "Bearer short",
        "Bearer " SECRET " ",
    };
    struct access *access = open_good();
    struct access_caller caller;
    for (size_t i = 0; i < sizeof said / sizeof said[0]; i++) {
        assert_int_equal(check(access, &caller, said[i], 0), STATUS_UNAUTHENTICATED);
        assert_null(strstr(status_message(), "alpha"));
    }
    char *longest = calloc(1, 9000);
    memset(longest, 'x', 8999);
    memcpy(longest, "Bearer ", 7);
    assert_int_equal(check(access, &caller, longest, 0), STATUS_UNAUTHENTICATED);
    free(longest);
    access_close(access);
}

static void a_scope_that_is_missing_is_told_as_such(void **state)
{
    (void)state;
    struct access *access = open_good();
    struct access_caller caller;
    assert_int_equal(check(access, &caller, "Bearer " SECRET, ACCESS_ADMIN),
                     STATUS_PERMISSION_DENIED);
    assert_int_equal(check(access, &caller, "Bearer " SECRET, ACCESS_INFERENCE | ACCESS_METRICS),
                     STATUS_PERMISSION_DENIED);
    assert_int_equal(check(access, &caller, "Bearer " OTHER, ACCESS_INFERENCE),
                     STATUS_PERMISSION_DENIED);
    access_close(access);
}

static void wrong_files_are_refused_with_line_and_cause(void **state)
{
    (void)state;
#define DIGEST "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    static const struct {
        const char *text, *cause;
    } rows[] = {
        {"user alpha", "F:1: \"user\" begins no line"},
        {"\n\ntenant", "F:3: a tenant's name must follow"},
        {"tenant Alpha", "a tenant's name must follow"},
        {"tenant a-", "a tenant's name must follow"},
        {"tenant 1a", "a tenant's name must follow"},
        {"tenant aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
         "at most 63"},
        {"tenant a\ntenant a", "F:2: tenant a stands above already"},
        {"tenant a wieght=2", "unknown key \"wieght\"; did you mean weight?"},
        {"tenant a weight", "\"weight\" is not KEY=VALUE"},
        {"tenant a weight=0", "weight is \"0\"; must be a number from 1 to 1000"},
        {"tenant a weight=1001", "from 1 to 1000"},
        {"tenant a weight=2 weight=2", "weight is given twice"},
        {"tenant a queued-tokens=99999999999999999999", "queued-tokens is \"999"},
        {"tenant a queued-tokens=-1", "queued-tokens is \"-1\""},
        {"tenant a stored-bytes=", "stored-bytes is \"\""},
        {"token a sha256=" DIGEST, "no line \"tenant a\" stands above"},
        {"tenant a\ntoken a", "the token has no sha256=HEX"},
        {"tenant a\ntoken a sha256=" SECRET, "sha256 is no digest"},
        {"tenant a\ntoken a sha256=" DIGEST "0", "sha256 is no digest"},
        {"tenant a\ntoken a sha256=" DIGEST " scopes=inference,root", "\"root\" is no scope"},
        {"tenant a\ntoken a sha256=" DIGEST " scopes=", "\"\" is no scope"},
        {"tenant a\ntoken a sha256=" DIGEST " name=x", "unknown key \"name\""},
        {"tenant a\ntoken a sha256=" DIGEST "\ntenant b\ntoken b sha256=" DIGEST,
         "F:4: the token stands above already"},
        {"tenant a b c d e f g h i j k l m n o p q", "more than 16 words"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct access_list list;
        assert_int_equal(access_file_parse(&list, "F", rows[i].text, strlen(rows[i].text)),
                         STATUS_INVALID_ARGUMENT);
        access_list_deinit(&list);
        if (!strstr(status_message(), rows[i].cause))
            fail_msg("\"%s\": \"%s\" does not say \"%s\"", rows[i].text, status_message(),
                     rows[i].cause);
        assert_null(strstr(status_message(), SECRET));
    }
}

static void a_zero_byte_and_a_flood_of_lines_are_refused(void **state)
{
    (void)state;
    struct access_list list;
    assert_int_equal(access_file_parse(&list, "F", "tenant a\0b", 10), STATUS_INVALID_ARGUMENT);
    access_list_deinit(&list);
    const size_t room = 32 * (ACCESS_TENANTS_MAX + 1);
    char *many = calloc(1, room);
    size_t bytes = 0;
    for (int i = 0; i <= ACCESS_TENANTS_MAX; i++)
        bytes += (size_t)snprintf(many + bytes, room - bytes, "tenant t%d\n", i);
    assert_int_equal(access_file_parse(&list, "F", many, bytes), STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(status_message(), "F:1025: more than 1024 tenants"));
    access_list_deinit(&list);
    free(many);
}

static void a_file_that_others_can_write_is_refused(void **state)
{
    (void)state;
    struct access *access = NULL;
    write_file(two_tenants(""), 0620);
    assert_int_equal(access_open(&access, path), STATUS_FAILED_PRECONDITION);
    write_file(two_tenants(""), 0602);
    assert_int_equal(access_open(&access, path), STATUS_FAILED_PRECONDITION);
    assert_int_equal(access_open(&access, "/tmp"), STATUS_FAILED_PRECONDITION);
    assert_int_equal(access_open(&access, "/tmp/no-such-access-file"), STATUS_NOT_FOUND);
    assert_null(access);
}

static void pass_a_look(void)
{
    const struct timespec pause = {.tv_sec = 1, .tv_nsec = 50000000};
    nanosleep(&pause, NULL);
}

static void a_changed_file_counts_and_a_wrong_one_leaves_the_last_in_force(void **state)
{
    (void)state;
    struct access *access = open_good();
    struct access_caller caller;
    struct access_tenant tenant;
    pass_a_look();
    write_file(two_tenants(" scopes=admin"), 0600);
    assert_int_equal(check(access, &caller, "Bearer " SECRET, ACCESS_ADMIN), STATUS_OK);
    pass_a_look();
    write_file("tenant alpha\ntoken alpha sha256=oops", 0600);
    assert_int_equal(check(access, &caller, "Bearer " SECRET, ACCESS_ADMIN), STATUS_OK);
    pass_a_look();
    write_file("tenant gamma weight=5\n", 0600);
    assert_int_equal(check(access, &caller, "Bearer " SECRET, 0), STATUS_UNAUTHENTICATED);
    access_tenant(access, &tenant, "gamma");
    assert_int_equal(tenant.weight, 5);
    access_tenant(access, &tenant, "alpha");
    assert_int_equal(tenant.weight, 1);
    assert_int_equal(tenant.quotas.queued_requests, 0);
    assert_string_equal(tenant.name, "alpha");
    access_close(access);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_digest_is_sha256),
        cmocka_unit_test(without_a_file_everybody_is_the_one_tenant),
        cmocka_unit_test(a_token_tells_its_tenant_and_its_scopes),
        cmocka_unit_test(strangers_are_refused_without_a_hint),
        cmocka_unit_test(a_scope_that_is_missing_is_told_as_such),
        cmocka_unit_test(wrong_files_are_refused_with_line_and_cause),
        cmocka_unit_test(a_zero_byte_and_a_flood_of_lines_are_refused),
        cmocka_unit_test(a_file_that_others_can_write_is_refused),
        cmocka_unit_test(a_changed_file_counts_and_a_wrong_one_leaves_the_last_in_force),
    };
    return cmocka_run_group_tests_name("access", tests, make_path, remove_path);
}
