/* The search for a method's parameters: candidates that the method takes, the best one found,
 * budgets kept. */
#include "tests/support/unit.h"

#include <math.h>
#include <stdio.h>

#include "coordinator/cli/tune_search.h"

static void every_candidate_is_a_method(void **state)
{
    static const int64_t lengths[] = {512, 1024, 4096, 16384, 131072};
    (void)state;
    for (int method = TUNE_STRING; method <= TUNE_LM_INFINITE; method++)
        for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
            static struct tune_candidates candidates;
            tune_search_candidates(&candidates, (enum tune_method)method, lengths[i], 8192);
            assert_true(candidates.count >= 4 && candidates.count <= TUNE_CANDIDATES_MAX);
            assert_string_equal(candidates.list[0].spelling, "rope");
            for (size_t c = 1; c < candidates.count; c++) {
                const struct tune_candidate *each = &candidates.list[c];
                struct method parsed;
                assert_int_equal(method_parse(&parsed, each->spelling, 8192), STATUS_OK);
                assert_int_equal(each->first % 64, 0);
                assert_true(each->first <= lengths[i]);
                assert_true(method == TUNE_LM_INFINITE || each->second <= each->first);
            }
        }
}

/* A text that is read best with a shift of 1024 and a local of 128; samples differ, all alike. */
struct reader {
    size_t calls, most;
};

static enum status read_text(void *context, struct tune_loss *loss, bool *over,
                             const char *spelling, size_t round)
{
    struct reader *reader = context;
    long long shift = 0, local = 0;
    *over = reader->calls == reader->most;
    if (*over)
        return STATUS_OK;
    reader->calls++;
    loss->text = 3 + 0.1 * (double)round;
    loss->answer = 2;
    if (sscanf(spelling, "string:shift=%lld,local=%lld", &shift, &local) == 2)
        loss->answer = 1 + fabs(log((double)shift / 1024)) + 0.1 * fabs(log((double)local / 128));
    return STATUS_OK;
}

static void the_best_candidate_is_found(void **state)
{
    static struct tune_candidates candidates;
    struct reader reader = {.most = SIZE_MAX};
    (void)state;
    tune_search_candidates(&candidates, TUNE_STRING, 4096, 8192);
    assert_int_equal(tune_search_run(&candidates, read_text, &reader), STATUS_OK);
    const struct tune_candidate *best = tune_search_best(&candidates);
    assert_string_equal(best->spelling, "string:shift=1024,local=128");
    assert_int_equal(best->rounds, TUNE_ROUNDS_MAX);
    assert_int_equal(candidates.list[0].rounds, TUNE_ROUNDS_MAX);
    assert_true(reader.calls < candidates.count * TUNE_ROUNDS_MAX / 3);
    assert_true(fabs(tune_search_mean(best).text - 3.75) < 1e-12);
}

static void what_is_left_of_a_round_does_not_count(void **state)
{
    static struct tune_candidates candidates;
    (void)state;
    tune_search_candidates(&candidates, TUNE_STRING, 4096, 8192);
    for (size_t most = 0; most < 60; most++) {
        struct reader reader = {.most = most};
        tune_search_candidates(&candidates, TUNE_STRING, 4096, 8192);
        const enum status status = tune_search_run(&candidates, read_text, &reader);
        assert_int_equal(reader.calls, most);
        if (most < candidates.count) {
            assert_int_equal(status, STATUS_FAILED_PRECONDITION);
            assert_non_null(strstr(status_message(), "--seconds"));
            continue;
        }
        assert_int_equal(status, STATUS_OK);
        assert_string_equal(tune_search_best(&candidates)->spelling, "string:shift=1024,local=128");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_candidate_is_a_method),
        cmocka_unit_test(the_best_candidate_is_found),
        cmocka_unit_test(what_is_left_of_a_round_does_not_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
