/* The failure sentence. */
#include "tests/support/unit.h"

#include "proto/status.h"

static void a_sentence_may_quote_the_one_before(void **state)
{
    (void)state;
    assert_int_equal(fail(STATUS_IO, "open %s", "x"), STATUS_IO);
    assert_int_equal(fail(STATUS_INTERNAL, "load: %s", status_message()), STATUS_INTERNAL);
    assert_string_equal(status_message(), "load: open x");
}

static enum status passes_on(enum status status)
{
    TRY(status);
    return STATUS_OK;
}

static void try_hands_the_code_on(void **state)
{
    (void)state;
    assert_int_equal(passes_on(STATUS_UNAVAILABLE), STATUS_UNAVAILABLE);
    assert_int_equal(passes_on(STATUS_OK), STATUS_OK);
}

static void codes_have_names_and_exit_codes(void **state)
{
    (void)state;
    assert_string_equal(status_name(STATUS_OUT_OF_RANGE), "OUT_OF_RANGE");
    assert_int_equal(status_exit_code(STATUS_OK), 0);
    assert_int_equal(status_exit_code(STATUS_NOT_FOUND), 66);
    assert_int_equal(status_exit_code(STATUS_RESOURCE_EXHAUSTED), 69);
    assert_int_equal(status_exit_code(STATUS_FAILED_PRECONDITION), 78);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sentence_may_quote_the_one_before),
        cmocka_unit_test(try_hands_the_code_on),
        cmocka_unit_test(codes_have_names_and_exit_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
