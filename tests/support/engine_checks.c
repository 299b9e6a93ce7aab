#include "tests/support/engine_checks.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/support/unit.h"

static void print_case(const struct engine_case *wanted)
{
    printf("%s: tensor %d ranks %d threads %d count %lld stage %lld partition %d schedule %d "
           "queries %d: ",
           wanted->method, wanted->tensor, wanted->ranks, wanted->threads, (long long)wanted->count,
           (long long)wanted->stage_tokens, wanted->partition, wanted->schedule, wanted->queries);
}

void engine_checks_run(struct engine_outcome *outcome, const struct engine_case *wanted)
{
    if (engine_ranks_run(outcome, wanted) != STATUS_OK) {
        print_case(wanted);
        printf("%s\n", status_message());
    }
    assert_int_equal(outcome->status, STATUS_OK);
}

void engine_checks_accounts(const struct engine_outcome *outcome)
{
    for (int rank = 0; rank < group_choice_ranks(&outcome->choice.group); rank++) {
        const struct engine_result *result = &outcome->results[rank];
        assert_int_equal(result->sent_bytes, result->predicted_sent_bytes);
        assert_int_equal(result->received_bytes, result->predicted_received_bytes);
        assert_int_equal(result->sent_messages, result->predicted_sent_messages);
        assert_int_equal(result->memory_bytes, outcome->planned_bytes[rank]);
    }
}

/* A score of the case, to compare with one of as many tokens. */
static void score(struct engine_outcome *outcome, const struct engine_case *wanted,
                  const struct engine_outcome *expected)
{
    engine_checks_run(outcome, wanted);
    engine_checks_accounts(outcome);
    assert_int_equal(outcome->logprob_count, wanted->count - 1);
    assert_int_equal(outcome->logprob_count, expected->logprob_count);
}

void engine_checks_same_bits(const struct engine_case *wanted,
                             const struct engine_outcome *expected)
{
    struct engine_outcome outcome;
    score(&outcome, wanted, expected);
    for (int64_t t = 0; t < outcome.logprob_count; t++)
        if (memcmp(&outcome.logprobs[t], &expected->logprobs[t], sizeof(float)) != 0) {
            print_case(wanted);
            printf("token %lld %.9g is not %.9g\n", (long long)t, (double)outcome.logprobs[t],
                   (double)expected->logprobs[t]);
            fail_msg("bits differ");
        }
    engine_outcome_free(&outcome);
}

struct engine_distance engine_checks_distance(const struct engine_outcome *a,
                                              const struct engine_outcome *b)
{
    struct engine_distance distance = {0, 0};
    assert_int_equal(a->logprob_count, b->logprob_count);
    for (int64_t t = 0; t < a->logprob_count; t++) {
        const double off = fabs((double)a->logprobs[t] - (double)b->logprobs[t]);
        if (isnan(off))
            return (struct engine_distance){INFINITY, INFINITY};
        distance.worst = fmax(distance.worst, off);
        distance.rms += off * off;
    }
    distance.rms = sqrt(distance.rms / (double)a->logprob_count);
    return distance;
}

void engine_checks_close(const struct engine_case *wanted, const struct engine_outcome *expected,
                         struct engine_distance allowed)
{
    struct engine_outcome outcome;
    score(&outcome, wanted, expected);
    const struct engine_distance distance = engine_checks_distance(&outcome, expected);
    if (!(distance.worst <= allowed.worst) || !(distance.rms <= allowed.rms)) {
        print_case(wanted);
        printf("worst %g rms %g, allowed %g and %g\n", distance.worst, distance.rms, allowed.worst,
               allowed.rms);
        fail_msg("log-probabilities differ");
    }
    engine_outcome_free(&outcome);
}
