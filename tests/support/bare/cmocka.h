/* The little of cmocka that the tests of kernels and ranks use, for machines that have a C compiler
 * and nothing else: a failed assertion says where and ends the program. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct CMUnitTest {
    const char *name;
    void (*run)(void **state);
};

#define cmocka_unit_test(function)                                                                 \
    {                                                                                              \
#function, function                                                                        \
    }

#define print_error(...) fprintf(stderr, __VA_ARGS__)
#define print_message(...) printf(__VA_ARGS__)
#define fail() _fail(__FILE__, __LINE__)
#define fail_msg(...) _fail(__FILE__, __LINE__)

static inline void _fail(const char *file, int line)
{
    fprintf(stderr, "%s:%d: failed\n", file, line);
    fflush(NULL);
    abort();
}

#define assert_true(condition)                                                                     \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            print_error("%s\n", #condition);                                                       \
            _fail(__FILE__, __LINE__);                                                             \
        }                                                                                          \
    } while (0)
#define assert_false(condition) assert_true(!(condition))
#define assert_non_null(pointer) assert_true((pointer) != NULL)
#define assert_null(pointer) assert_true((pointer) == NULL)
#define assert_int_equal(a, b) assert_true((long long)(a) == (long long)(b))
#define assert_int_not_equal(a, b) assert_true((long long)(a) != (long long)(b))
#define assert_ptr_equal(a, b) assert_true((const void *)(a) == (const void *)(b))
#define assert_string_equal(a, b) assert_true(strcmp(a, b) == 0)
#define assert_memory_equal(a, b, bytes) assert_true(memcmp(a, b, bytes) == 0)

#define cmocka_run_group_tests(tests, setup, teardown)                                             \
    cmocka_bare_run(tests, (int)(sizeof(tests) / sizeof *(tests)))
#define _cmocka_run_group_tests(name, tests, count, setup, teardown)                               \
    cmocka_bare_run(tests, (int)(count))

static inline int cmocka_bare_run(const struct CMUnitTest *tests, int count)
{
    for (int t = 0; t < count; t++) {
        void *state = NULL;
        printf("[ RUN      ] %s\n", tests[t].name);
        fflush(stdout);
        tests[t].run(&state);
        printf("[       OK ] %s\n", tests[t].name);
    }
    printf("[  PASSED  ] %d test(s).\n", count);
    return 0;
}
