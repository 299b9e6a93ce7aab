/* Files of facts: what is read, and what is refused with its line. */
#include "tests/support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/fact_file.h"

struct facts {
    char name[FACT_TEXT_BYTES];
    double rate;
    int64_t tokens;
    struct fact_integers workers;
};

static enum status read_text(struct facts *facts, const char *text)
{
    char path[] = "/tmp/longhaul-facts-XXXXXX";
    const struct fact_row rows[] = {
        {"cluster.name", FACT_TEXT, facts->name, 0, 0, false},
        {"link.rate", FACT_REAL, &facts->rate, 0.5, 100, false},
        {"sweep.tokens", FACT_INTEGER, &facts->tokens, 1, 1 << 24, true},
        {"sweep.workers", FACT_INTEGERS, &facts->workers, 1, 1024, true},
    };
    const int file = mkstemp(path);
    assert_true(file >= 0);
    assert_int_equal(write(file, text, strlen(text)), (ssize_t)strlen(text));
    close(file);
    const enum status status = fact_file_read(path, rows, sizeof rows / sizeof rows[0]);
    unlink(path);
    return status;
}

static void every_type_is_read(void **state)
{
    (void)state;
    struct facts facts = {.tokens = 7};
    assert_int_equal(read_text(&facts, "cluster:\n  name: eight of a kind\nlink:\n  rate: 2.5\n"
                                       "sweep:\n  tokens: 128k\n  workers: 1 8, 1024\n"),
                     STATUS_OK);
    assert_string_equal(facts.name, "eight of a kind");
    assert_true(facts.rate == 2.5);
    assert_int_equal(facts.tokens, 131072);
    assert_int_equal(facts.workers.count, 3);
    assert_int_equal(facts.workers.list[0], 1);
    assert_int_equal(facts.workers.list[1], 8);
    assert_int_equal(facts.workers.list[2], 1024);
}

static void what_is_optional_keeps_its_value(void **state)
{
    (void)state;
    struct facts facts = {.tokens = 7, .workers = {.list = {5}, .count = 1}};
    assert_int_equal(read_text(&facts, "cluster: {name: a}\nlink: {rate: 1}\n"), STATUS_OK);
    assert_int_equal(facts.tokens, 7);
    assert_int_equal(facts.workers.list[0], 5);
}

static void what_is_wrong_is_named_with_its_line(void **state)
{
    (void)state;
    static const struct wrong {
        const char *text, *words;
    } wrongs[] = {
        {"link:\n  rate: 1\n", "cluster.name is missing"},
        {"cluster:\n  name: a\n", "link.rate is missing"},
        {"cluster:\n  name: a\nlink:\n  rate: 1\n  pace: 2\n",
         ":5: nothing is called \"link.pace\" here"},
        {"cluster:\n  name: a\nlinks:\n  rate: 1\n", ":3: there is no section \"links\""},
        {"cluster:\n  name: a\nlink:\n  rate: 0.1\n",
         ":4: link.rate is \"0.1\", must be a number from 0.5 to 100"},
        {"cluster:\n  name: a\nlink:\n  rate: fast\n", ":4: link.rate is \"fast\""},
        {"cluster:\n  name: a\nlink:\n  rate: nan\n", ":4: link.rate is \"nan\""},
        {"cluster:\n  name: a\nlink:\n  rate: 1\n  rate: 1\n", ":5: link.rate is there twice"},
        {"cluster:\n  name: a\nlink:\n  rate: 1\nsweep:\n  tokens: 128q\n",
         ":6: sweep.tokens is \"128q\""},
        {"cluster:\n  name: a\nlink:\n  rate: 1\nsweep:\n  tokens: 99999999999999999999\n",
         ":6: sweep.tokens"},
        {"cluster:\n  name: a\nlink:\n  rate: 1\nsweep:\n  tokens: 9223372036854775807M\n",
         ":6: sweep.tokens"},
        {"cluster:\n  name: a\nlink:\n  rate: 1\nsweep:\n  workers: 8 0\n",
         ":6: sweep.workers is \"8 0\", must be up to 16 whole numbers from 1 to 1024"},
        {"cluster:\n  name: a\nlink:\n  rate: 1\nsweep:\n  workers: 1 2 3 4 5 6 7 8 9 10 11 12 13 "
         "14 15 16 17\n",
         ":6: sweep.workers"},
        {"cluster:\n  name: a\nlink:\n  rate: 1\nsweep:\n  workers: [1, 2]\n", ":6: "},
        {"cluster: {\n", "not YAML"},
    };
    for (size_t w = 0; w < sizeof wrongs / sizeof wrongs[0]; w++) {
        struct facts facts = {.tokens = 0};
        const enum status status = read_text(&facts, wrongs[w].text);
        if (status != STATUS_INVALID_ARGUMENT || !strstr(status_message(), wrongs[w].words))
            fail_msg("%s\n%d: %s, must say %s", wrongs[w].text, status, status_message(),
                     wrongs[w].words);
    }
}

static void a_file_that_is_not_there_is_named(void **state)
{
    (void)state;
    assert_int_equal(fact_file_read("/no/such/cluster.yaml", NULL, 0), STATUS_NOT_FOUND);
    assert_non_null(strstr(status_message(), "/no/such/cluster.yaml"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_is_read),
        cmocka_unit_test(what_is_optional_keeps_its_value),
        cmocka_unit_test(what_is_wrong_is_named_with_its_line),
        cmocka_unit_test(a_file_that_is_not_there_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
