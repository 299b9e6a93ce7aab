/* How answers are judged, by vectors, how sure means are, and records of files. */
#include "tests/support/unit.h"

#include <math.h>
#include <stdlib.h>

#include "coordinator/eval/eval_interval.h"
#include "coordinator/eval/eval_record.h"
#include "coordinator/eval/eval_score.h"

static void expect(enum eval_metric metric, const char *answer, const char *a, const char *b,
                   double expected)
{
    const char *references[] = {a, b};
    const double score = eval_score(metric, answer, references, b ? 2 : 1);
    if (fabs(score - expected) > 1e-12)
        fail_msg("%s of \"%s\": %g, and not %g", eval_metric_name(metric), answer, score, expected);
}

static void ruler_counts_references_that_stand_in_the_answer(void **state)
{
    (void)state;
    expect(EVAL_MATCH_ALL, "They are 1234567 and 89.", "1234567", "7654321", 0.5);
    expect(EVAL_MATCH_ALL, "They are 1234567 and 7654321", "1234567", "7654321", 1);
    expect(EVAL_MATCH_ALL, "VAR abcde, XYZZY", "ABCDE", "xyzzy", 1);
    expect(EVAL_MATCH_ALL, "", "a", NULL, 0);
    expect(EVAL_MATCH_PART, "It is Paris.", "London", "paris", 1);
    expect(EVAL_MATCH_PART, "It is Rome.", "London", "paris", 0);
}

static void a_pass_key_is_the_first_integer(void **state)
{
    (void)state;
    expect(EVAL_FIRST_INTEGER, " 12345. Remember it. 9", "12345", NULL, 1);
    expect(EVAL_FIRST_INTEGER, "is 123456", "12345", NULL, 0);
    expect(EVAL_FIRST_INTEGER, "7 or 12345", "12345", NULL, 0);
    expect(EVAL_FIRST_INTEGER, "none", "12345", NULL, 0);
}

static void nodes_are_a_set(void **state)
{
    (void)state;
    expect(EVAL_NODES_F1, " n10000 and n20000.", "n10000", "n20000", 1);
    expect(EVAL_NODES_F1, "n10000, n10000, n10000", "n10000", "n20000", 2.0 / 3);
    expect(EVAL_NODES_F1, "n10000 n30000", "n10000", "n20000", 0.5);
    expect(EVAL_NODES_F1, "n100001 xn10000 n1000", "n10000", "n20000", 0);
    expect(EVAL_NODES_F1, "N20000\n", "n10000", "n20000", 2.0 / 3);
}

/* As a file's answers may be: an empty one ends where memory does. */
static void what_is_no_node_is_never_named(void **state)
{
    char *empty = calloc(1, 1);
    (void)state;
    assert_non_null(empty);
    expect(EVAL_NODES_F1, "n10000", empty, NULL, 0);
    expect(EVAL_NODES_F1, "n10000", empty, "n10000", 2.0 / 3);
    expect(EVAL_NODES_F1, "n10000", "x10000", NULL, 0);
    free(empty);
}

/* As SQuAD's own script has them. */
static void words_are_made_alike(void **state)
{
    (void)state;
    expect(EVAL_WORDS_F1, "The Cat, sat!", "a cat sat", NULL, 1);
    expect(EVAL_WORDS_F1, "the cat", "cat sat down", NULL, 0.5);
    expect(EVAL_WORDS_F1, "cat cat", "cat", NULL, 2.0 / 3);
    expect(EVAL_WORDS_F1, "dog", "cat", "a dog", 1);
    expect(EVAL_WORDS_F1, "", "cat", NULL, 0);
    expect(EVAL_EXACT, " The cat. ", "cat", NULL, 1);
    expect(EVAL_EXACT, "The cat sat", "cat", NULL, 0);
}

static void a_choice_is_the_first_single_letter(void **state)
{
    (void)state;
    expect(EVAL_CHOICE, "The correct answer is (B).", "B", NULL, 1);
    expect(EVAL_CHOICE, "C", "C", NULL, 1);
    expect(EVAL_CHOICE, "DAB or A", "D", NULL, 0);
    expect(EVAL_CHOICE, "", "A", NULL, 0);
}

static void metrics_have_names(void **state)
{
    enum eval_metric metric;
    (void)state;
    for (int i = EVAL_MATCH_ALL; i <= EVAL_CHOICE; i++) {
        assert_true(eval_metric_named(&metric, eval_metric_name((enum eval_metric)i)));
        assert_int_equal(metric, i);
    }
    assert_false(eval_metric_named(&metric, "rouge"));
}

static void expect_interval(double sum, size_t count, double low, double high)
{
    const struct eval_interval interval = eval_interval_of(sum, count);
    assert_true(fabs(interval.low - low) < 5e-5 && fabs(interval.high - high) < 5e-5);
    assert_true(interval.low <= interval.mean && interval.mean <= interval.high);
}

/* Of statsmodels: proportion_confint(8, 10, method="wilson") and so on. */
static void wilsons_intervals_are_the_published_ones(void **state)
{
    (void)state;
    expect_interval(8, 10, 0.49016, 0.94332);
    expect_interval(0, 10, 0, 0.27753);
    expect_interval(10, 10, 0.72247, 1);
    expect_interval(250, 500, 0.45634, 0.54366);
    expect_interval(0, 0, 0, 0);
}

static void the_sign_test_is_exact(void **state)
{
    (void)state;
    assert_true(fabs(eval_interval_sign_test(0, 5) - 0.0625) < 1e-12);
    assert_true(fabs(eval_interval_sign_test(8, 2) - 0.109375) < 1e-12);
    assert_true(eval_interval_sign_test(3, 3) == 1 && eval_interval_sign_test(0, 0) == 1);
}

/* ---- records of files ---- */

static enum status count_bytes(void *context, int64_t *tokens, const char *text, size_t bytes)
{
    (void)context;
    (void)text;
    *tokens = (int64_t)bytes;
    return STATUS_OK;
}

static void expect_prompt(const char *line, const char *form, int64_t tokens, const char *expected)
{
    struct eval_record record;
    struct eval_prompt prompt = {.text = NULL};
    int64_t counted = 0;
    assert_int_equal(eval_record_parse(&record, line, strlen(line)), STATUS_OK);
    const struct eval_record_args args = {&record, form, tokens, count_bytes, NULL};
    assert_int_equal(eval_record_fit(&prompt, &counted, &args), STATUS_OK);
    assert_string_equal(prompt.text, expected);
    assert_int_equal(counted, strlen(expected));
    eval_prompt_deinit(&prompt);
    eval_record_deinit(&record);
}

static void records_of_three_kinds_become_prompts(void **state)
{
    static const char longbench[] =
        "{\"input\": \"Q?\", \"context\": \"0123456789\", \"answers\": [\"a\"], \"length\": 3}";
    (void)state;
    expect_prompt(longbench, NULL, 100, "0123456789\n\nQ?");
    expect_prompt(longbench, NULL, 10, "012789\n\nQ?"); /* without its middle */
    expect_prompt(longbench, NULL, 4, "\n\nQ?");
    expect_prompt(longbench, "[{context}] {input} A:", 100, "[0123456789] Q? A:");
    expect_prompt("{\"input\": \"P\", \"outputs\": [\"a\", \"b\"], \"answer_prefix\": \" is\"}",
                  NULL, 100, "P is");
    expect_prompt("{\"question\": \"Q?\", \"choice_A\": \"x\", \"choice_B\": \"y\", \"answer\": "
                  "\"A\"}",
                  NULL, 100, "Q?\nA. x\nB. y");
    expect_prompt("{\"input\": \"Q\", \"context\": \"\\u00e4\\u00f6\\u00fc\", \"answers\": \"a\"}",
                  NULL, 6, "\n\nQ"); /* no half characters */
}

static void expect_refusal(const char *line, const char *said)
{
    struct eval_record record;
    assert_int_not_equal(eval_record_parse(&record, line, strlen(line)), STATUS_OK);
    assert_non_null(strstr(status_message(), said));
}

static void records_that_are_none_are_refused_by_field(void **state)
{
    (void)state;
    expect_refusal("[1]", "no JSON object");
    expect_refusal("{\"input\": ", "no JSON");
    expect_refusal("{\"input\": \"Q\"}", "\"answers\"");
    expect_refusal("{\"answers\": [\"a\"]}", "\"input\"");
    expect_refusal("{\"input\": \"Q\", \"answers\": [1]}", "no text");
    expect_refusal("{\"input\": \"Q\", \"input\": \"R\", \"answers\": [\"a\"]}", "no JSON");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ruler_counts_references_that_stand_in_the_answer),
        cmocka_unit_test(a_pass_key_is_the_first_integer),
        cmocka_unit_test(nodes_are_a_set),
        cmocka_unit_test(what_is_no_node_is_never_named),
        cmocka_unit_test(words_are_made_alike),
        cmocka_unit_test(a_choice_is_the_first_single_letter),
        cmocka_unit_test(metrics_have_names),
        cmocka_unit_test(wilsons_intervals_are_the_published_ones),
        cmocka_unit_test(the_sign_test_is_exact),
        cmocka_unit_test(records_of_three_kinds_become_prompts),
        cmocka_unit_test(records_that_are_none_are_refused_by_field),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
