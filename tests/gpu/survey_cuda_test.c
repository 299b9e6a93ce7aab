/* The survey of logits on a GPU: candidates and ids exactly those of the plain reference, the total
 * within its slack, ties by the lower id, what is not finite named. Argument: a seed. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "kernels/kernels_cuda.h"
#include "tests/gpu/gpu_cases.h"
#include "tests/gpu/gpu_memory.h"
#include "tests/support/plain_survey.h"
#include "tests/support/random.h"
#include "tests/support/unit.h"

enum { POISON = 0xff, VOCAB_MOST = 128256 };

/* On both sides of a block's share, of the candidates' number, and of what is folded at once. */
static const int64_t vocabs[] = {1, 2, 127, 128, 129, 1023, 1024, 1025, 9000, 49152, VOCAB_MOST};

enum { VOCABS = sizeof vocabs / sizeof vocabs[0] };

static struct random seed;
static float logits[VOCAB_MOST];

static struct logits_survey survey_on_gpu(int64_t vocab, double temperature)
{
    const size_t blocks = (size_t)kernels_cuda_survey_blocks(vocab);
    struct gpu_memory in = gpu_memory_create((size_t)vocab * sizeof *logits, logits, POISON);
    struct gpu_memory out = gpu_memory_create(sizeof(struct logits_survey), NULL, POISON);
    struct gpu_memory work =
        gpu_memory_create(blocks * sizeof(struct kernels_cuda_surveyed), NULL, POISON);
    const struct kernels_cuda_survey args = {.out = out.at,
                                             .work = work.at,
                                             .logits = in.at,
                                             .vocab = vocab,
                                             .temperature = temperature};
    struct logits_survey got;
    gpu_memory_settle("survey", kernels_cuda_find()->survey(&args, NULL));
    gpu_memory_read(&out, &got);
    gpu_memory_check(&out);
    gpu_memory_check(&work);
    gpu_memory_check(&in);
    gpu_memory_destroy(&in);
    gpu_memory_destroy(&out);
    gpu_memory_destroy(&work);
    return got;
}

static void check(int64_t vocab, double temperature)
{
    struct logits_survey want;
    const struct logits_survey got = survey_on_gpu(vocab, temperature);
    plain_survey(&want, logits, vocab, temperature);
    assert_int_equal(got.non_finite, -1);
    assert_int_equal(got.count, want.count);
    for (int c = 0; c < want.count; c++) {
        assert_int_equal(got.candidates[c].id, want.candidates[c].id);
        assert_true(got.candidates[c].logit == want.candidates[c].logit);
    }
    if (!(fabs(got.total - want.total) <= LOGITS_TOTAL_SLACK / 2 * want.total))
        fail_msg("the total of %lld logits is %.17g where %.17g is due", (long long)vocab,
                 got.total, want.total);
}

static void the_first_candidates_are_those_of_the_reference(void **unused)
{
    (void)unused;
    static const double temperatures[] = {1, 0.7, 2.5, 0.01};
    for (int n = 0; n < VOCABS; n++) {
        for (int64_t i = 0; i < vocabs[n]; i++)
            logits[i] = 5 * random_normal(&seed) - 8;
        check(vocabs[n], temperatures[n % 4]);
    }
}

static void equal_logits_go_by_the_lower_id(void **unused)
{
    (void)unused;
    for (int n = 0; n < VOCABS; n++) {
        for (int64_t i = 0; i < vocabs[n]; i++)
            logits[i] = roundf(2 * random_normal(&seed));
        check(vocabs[n], 1);
        for (int64_t i = 0; i < vocabs[n]; i++)
            logits[i] = -3;
        check(vocabs[n], 1);
        for (int64_t i = 0; i < vocabs[n]; i++)
            logits[i] = i % 3 ? 0.0f : -0.0f; /* no logit goes before the other */
        check(vocabs[n], 1);
    }
}

static void the_largest_may_lie_anywhere(void **unused)
{
    (void)unused;
    for (int64_t i = 0; i < 9000; i++)
        logits[i] = (float)i;
    check(9000, 20);
    for (int64_t i = 0; i < 9000; i++)
        logits[i] = (float)-i;
    check(9000, 20);
    for (int64_t i = 0; i < 9000; i++) /* as large as floats get, and one block holds them all */
        logits[i] = i / 1024 == 4 ? 3e38f - (float)i * 1e33f : -3e38f;
    check(9000, 1);
}

static void what_is_not_finite_is_named(void **unused)
{
    (void)unused;
    static const int64_t places[] = {0, 511, 1023, 1024, 8999};
    const float bad[] = {NAN, -NAN, INFINITY, -INFINITY};
    for (int p = 0; p < 5; p++)
        for (int b = 0; b < 4; b++) {
            for (int64_t i = 0; i < 9000; i++)
                logits[i] = random_normal(&seed);
            logits[8999] = NAN;
            logits[places[p]] = bad[b];
            assert_int_equal(survey_on_gpu(9000, 1).non_finite, places[p]);
        }
}

static void refuses_what_has_no_survey(void **unused)
{
    (void)unused;
    struct kernels_cuda_survey args = {.vocab = 0, .temperature = 1};
    assert_int_equal(kernels_cuda_find()->survey(&args, NULL), 1);
    args = (struct kernels_cuda_survey){.vocab = 8, .temperature = 0};
    assert_int_equal(kernels_cuda_find()->survey(&args, NULL), 1);
}

int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_candidates_are_those_of_the_reference),
        cmocka_unit_test(equal_logits_go_by_the_lower_id),
        cmocka_unit_test(the_largest_may_lie_anywhere),
        cmocka_unit_test(what_is_not_finite_is_named),
        cmocka_unit_test(refuses_what_has_no_survey),
    };
    if (!gpu_memory_present())
        return GPU_ABSENT;
    seed.state = count > 1 ? strtoull(arguments[1], NULL, 0) : GPU_CASES_SEED;
    printf("seed %llu\n", (unsigned long long)seed.state);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
