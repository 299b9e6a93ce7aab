/* Options that take several values. */
#include "tests/support/unit.h"

#include <stdio.h>

#include "coordinator/cli/method_list.h"
#include "coordinator/cli/number_list.h"

static void numbers_come_apart_at_commas(void **state)
{
    (void)state;
    struct number_list list;
    assert_int_equal(number_list_parse(&list, "workers", "1,2,4,1073741824", 1, 1 << 30),
                     STATUS_OK);
    assert_int_equal(list.count, 4);
    assert_int_equal(list.values[2], 4);
    assert_int_equal(number_list_most(&list), 1 << 30);
    assert_int_equal(number_list_parse(&list, "workers", "7", 1, 8), STATUS_OK);
    assert_int_equal(list.count, 1);
}

static void what_is_no_list_of_numbers_is_refused_by_the_options_name(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",  ",",   "1,",  ",1",  "1,,2", "1;2",
                                        "a", "1.5", "-1",  "+1",  " 1",   "1 ",
                                        "0", "9",   "1,9", "0x1", "1e1",  "99999999999999999999"};
    struct number_list list = {.count = 0};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(number_list_parse(&list, "depth", wrong[i], 1, 8),
                         STATUS_INVALID_ARGUMENT);
        assert_non_null(strstr(status_message(), "--depth"));
    }
    char many[256] = "1";
    for (int i = 1; i <= NUMBER_LIST_MAX; i++)
        snprintf(many + strlen(many), sizeof many - strlen(many), ",1");
    assert_int_equal(number_list_parse(&list, "depth", many, 1, 8), STATUS_INVALID_ARGUMENT);
    assert_int_equal(list.count, 0);
}

static void expect_methods(const char *text, size_t count, const char *const *expected)
{
    struct method_list list;
    assert_int_equal(method_list_parse(&list, text, 8192), STATUS_OK);
    assert_int_equal(list.count, count);
    for (size_t i = 0; i < count; i++)
        assert_string_equal(list.spellings[i], expected[i]);
}

static void methods_keep_their_parameters(void **state)
{
    (void)state;
    expect_methods("rope", 1, (const char *const[]){"rope"});
    expect_methods("rope,string,lm_infinite", 3,
                   (const char *const[]){"rope", "string", "lm_infinite"});
    expect_methods("string:shift=4096,local=128,rope+yarn:factor=2,original=2048,lm_infinite", 3,
                   (const char *const[]){"string:shift=4096,local=128",
                                         "rope+yarn:factor=2,original=2048", "lm_infinite"});
    expect_methods("lm_infinite:window=64,sinks=4,rope", 2,
                   (const char *const[]){"lm_infinite:window=64,sinks=4", "rope"});
}

static void what_is_no_method_is_refused(void **state)
{
    (void)state;
    struct method_list list;
    static const char *const wrong[] = {
        "", "rope,", ",rope", "rope,,string", "ropes", "rope,string:shift=x", "local=128,rope"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(method_list_parse(&list, wrong[i], 8192), STATUS_INVALID_ARGUMENT);
        assert_non_null(strstr(status_message(), "--method"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_come_apart_at_commas),
        cmocka_unit_test(what_is_no_list_of_numbers_is_refused_by_the_options_name),
        cmocka_unit_test(methods_keep_their_parameters),
        cmocka_unit_test(what_is_no_method_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
