/* Log-probabilities beside sums in long double, and the order of the likeliest. */
#include "tests/support/unit.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>

#include "tests/support/random.h"
#include "worker/engine/logprobs.h"

enum { VOCAB = 500 };

/* One rounding to float, and a few to float64 of numbers up to 400. */
static bool is_near(float given, long double right)
{
    return fabsl((long double)given - right) <= 0x1p-23L * fabsl(right) + 1e-12L;
}

static void values_are_those_of_a_softmax(void **state)
{
    (void)state;
    float logits[VOCAB];
    struct random random = {7};
    for (int scale = 1; scale <= 100; scale *= 10) {
        for (int i = 0; i < VOCAB; i++)
            logits[i] = (float)(scale * random_normal(&random)) + 30;
        long double sum = 0;
        for (int i = 0; i < VOCAB; i++)
            sum += expl((long double)logits[i]);
        for (int32_t chosen = 0; chosen < VOCAB; chosen += 71) {
            struct logprobs given;
            logprobs_make(&given, logits, VOCAB, chosen, SAMPLING_LIKELIEST_MAX);
            assert_true(is_near(given.chosen, (long double)logits[chosen] - logl(sum)));
            assert_int_equal(given.count, SAMPLING_LIKELIEST_MAX);
            for (int n = 0; n < given.count; n++) {
                int before = 0; /* tokens that go first */
                const int32_t id = given.ids[n];
                for (int i = 0; i < VOCAB; i++)
                    before += logits[i] > logits[id] || (logits[i] == logits[id] && i < id);
                assert_int_equal(before, n);
                assert_true(is_near(given.likeliest[n], (long double)logits[id] - logl(sum)));
            }
        }
    }
}

static void of_tokens_alike_the_lower_id_comes_first(void **state)
{
    (void)state;
    const float logits[] = {1, 3, 3, 0, 3, 1};
    const int32_t right[] = {1, 2, 4, 0, 5, 3};
    struct logprobs given;
    for (int count = 0; count <= 6; count++) {
        logprobs_make(&given, logits, 6, 3, count);
        assert_int_equal(given.count, count);
        assert_memory_equal(given.ids, right, (size_t)count * sizeof *right);
    }
    double sum = 0;
    for (int n = 0; n < 6; n++)
        sum += exp((double)given.likeliest[n]);
    assert_true(fabs(sum - 1) < 1e-6);
}

static void logits_far_apart_give_numbers(void **state)
{
    (void)state;
    const float logits[] = {3e38f, -3e38f};
    struct logprobs given;
    logprobs_make(&given, logits, 2, 1, 2);
    assert_true(given.chosen == -FLT_MAX);
    assert_true(given.likeliest[0] == 0 && given.likeliest[1] == -FLT_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_those_of_a_softmax),
        cmocka_unit_test(of_tokens_alike_the_lower_id_comes_first),
        cmocka_unit_test(logits_far_apart_give_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
