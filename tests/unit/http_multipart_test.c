/* Forms as they are uploaded, cut in every way: the same parts come out. */
#include "tests/support/unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "coordinator/http/http_multipart.h"

/* What was told, as text: "name|filename|data;". */
struct told {
    char text[8192];
    size_t bytes;
    int refuse_at; /* the call that fails; 0: none */
    int calls;
};

static enum status add(struct told *told, const char *text, size_t bytes)
{
    assert_true(told->bytes + bytes < sizeof told->text);
    memcpy(told->text + told->bytes, text, bytes);
    told->bytes += bytes;
    told->text[told->bytes] = 0;
    return ++told->calls == told->refuse_at ? fail(STATUS_UNAVAILABLE, "refused") : STATUS_OK;
}

static enum status begin(void *context, const char *name, const char *filename)
{
    char text[600];
    const int bytes = snprintf(text, sizeof text, "%s|%s|", name, filename);
    return add(context, text, (size_t)bytes);
}

static enum status data(void *context, const char *bytes, size_t count)
{
    return add(context, bytes, count);
}

static enum status end(void *context)
{
    return add(context, ";", 1);
}

static const struct http_multipart_row row = {begin, data, end};
static const char type[] = "multipart/form-data; boundary=xyz";

static enum status read_form(struct told *told, const char *content_type, const char *form,
                             size_t bytes, size_t piece)
{
    struct http_multipart multipart;
    TRY(http_multipart_init(&multipart, &row, told, content_type));
    for (size_t at = 0; at < bytes; at += piece)
        TRY(http_multipart_take(&multipart, form + at, bytes - at < piece ? bytes - at : piece));
    return http_multipart_finish(&multipart);
}

static void expect_form(const char *content_type, const char *form, const char *expected)
{
    for (size_t piece = 1; piece <= strlen(form); piece++) {
        struct told told = {.bytes = 0};
        assert_int_equal(read_form(&told, content_type, form, strlen(form), piece), STATUS_OK);
        assert_string_equal(told.text, expected);
    }
}

static void a_form_is_the_same_however_it_is_cut(void **state)
{
    (void)state;
    expect_form(type,
                "preamble\r\n--xyz\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\n"
                "batch\r\n--xyz \t\r\nContent-Type: text/plain\r\ncontent-disposition: form-data; "
                "filename=\"a \\\"b\\\".txt\"; name=file\r\n\r\none\r\ntwo\r\n--xyz--\r\nepilogue",
                "purpose||batch;file|a \"b\".txt|one\r\ntwo;");
    expect_form("Multipart/Form-Data;charset=utf-8; Boundary=\"a:b\"",
                "--a:b\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\nx\r\n--a:b--", "f||x;");
}

static void parts_keep_what_looks_like_a_boundary(void **state)
{
    (void)state;
    expect_form(type,
                "--xyz\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a\"\r\n\r\n"
                "\r\n--xy\r\r\n-\r\n-- xyz--xyz\r\n\r\n--xyz--",
                "f|a|\r\n--xy\r\r\n-\r\n-- xyz--xyz\r\n;");
    expect_form(type,
                "--xyz\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a\"\r\n\r\n"
                "--xy\r\n--xyz--",
                "f|a|--xy;");
}

static void a_part_may_be_empty(void **state)
{
    (void)state;
    expect_form(type,
                "--xyz\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\n\r\n--xyz\r\n"
                "Content-Disposition: form-data; name=\"g\"\r\n\r\n--xyz--",
                "f||;g||;");
}

static void expect_refused(const char *content_type, const char *form, const char *sentence)
{
    struct told told = {.bytes = 0};
    assert_int_equal(read_form(&told, content_type, form, strlen(form), strlen(form) + 1),
                     STATUS_INVALID_ARGUMENT);
    if (!strstr(status_message(), sentence))
        fail_msg("\"%s\" is not in \"%s\"", sentence, status_message());
}

#define HEAD "--xyz\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\n"

static void what_is_no_form_is_refused(void **state)
{
    (void)state;
    char long_boundary[128], long_head[HTTP_MULTIPART_HEADING_MAX + 64];
    snprintf(long_boundary, sizeof long_boundary, "multipart/form-data; boundary=%071d", 0);
    snprintf(long_head, sizeof long_head, "--xyz\r\nX: %0*d", HTTP_MULTIPART_HEADING_MAX, 0);
    expect_refused("application/json", "{}", "multipart/form-data");
    expect_refused(NULL, "", "multipart/form-data");
    expect_refused("multipart/form-data", "", "boundary");
    expect_refused("multipart/form-data; boundary=", "", "boundary");
    expect_refused("multipart/form-data; boundary=\"a\r\nb\"", "", "boundary");
    expect_refused("multipart/form-data; boundary=\"a", "", "boundary");
    expect_refused("multipart/form-data; charset=\"a; boundary=b", "", "boundary");
    expect_refused(long_boundary, "", "boundary");
    expect_refused(type, "", "ends before");
    expect_refused(type, HEAD "x", "ends before");
    expect_refused(type, HEAD "x\r\n--xyzw\r\n", "other bytes");
    expect_refused(type, "--xyz\r\nContent-Type: a\r\n\r\n", "no name");
    expect_refused(type, "--xyz\r\nContent-Disposition: form-data; name=\"f\r\n\r\n", "no name");
    expect_refused(type, long_head, "longer than");
}

static void parts_are_bounded(void **state)
{
    (void)state;
    char form[(HTTP_MULTIPART_PARTS_MAX + 1) * (sizeof HEAD + 8) + 1];
    size_t bytes = 0;
    for (int i = 0; i <= HTTP_MULTIPART_PARTS_MAX; i++)
        bytes += (size_t)snprintf(form + bytes, sizeof form - bytes, HEAD "x\r\n");
    expect_refused(type, form, "at most 32 parts");
}

static void a_nul_in_a_head_is_refused(void **state)
{
    (void)state;
    static const char form[] = "--xyz\r\nContent-Disposition: form-data; name=\"f\0g\"\r\n\r\n";
    struct told told = {.bytes = 0};
    assert_int_equal(read_form(&told, type, form, sizeof form - 1, 7), STATUS_INVALID_ARGUMENT);
}

static void what_the_reader_says_ends_it(void **state)
{
    (void)state;
    static const char form[] = HEAD "x\r\n--xyz--";
    for (int call = 1; call <= 3; call++) {
        struct told told = {.refuse_at = call};
        assert_int_equal(read_form(&told, type, form, sizeof form - 1, 5), STATUS_UNAVAILABLE);
        assert_int_equal(told.calls, call);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_form_is_the_same_however_it_is_cut),
        cmocka_unit_test(parts_keep_what_looks_like_a_boundary),
        cmocka_unit_test(a_part_may_be_empty),
        cmocka_unit_test(what_is_no_form_is_refused),
        cmocka_unit_test(parts_are_bounded),
        cmocka_unit_test(a_nul_in_a_head_is_refused),
        cmocka_unit_test(what_the_reader_says_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
