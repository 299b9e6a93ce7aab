/* The optimiser over ranks: what it computes, and that it computes the same however many share it.
 *
 * Gradients are whole numbers, so that their sums and the norm are exact whatever the order: then
 * weights must be the same bits over any ranks and threads. */
#include "tests/support/unit.h"

#include <math.h>
#include <stdlib.h>

#include "tests/support/ranks.h"
#include "worker/trainer/optimiser.h"

enum { COUNT = 2 * (1 << 16) + 331, STEPS = 3, SHARES = 12, RANKS_MOST = 4 };

static const struct optimiser_matrix matrices[] = {{0, 70}, {100, 66000}, {66000, 66017}};
static const struct optimiser_settings settings = {0.9f, 0.95f, 1e-8f, 0.125f, 0};
static const double rates[STEPS] = {1e-2, 2e-2, 5e-3};

struct run {
    int threads;
    double clip;
    float *weights; /* [COUNT], of rank 0 when it has ended */
    double norms[STEPS];
};

static bool decays(size_t i)
{
    return i < 70 || (i >= 100 && i < 66017);
}

static float weight_before(size_t i)
{
    return (float)((int)(i * 7919 % 2001) - 1000) / 512.0f;
}

/* What one of SHARES gives; of every third parameter nothing. */
static int gradient_share(size_t i, int share, int step)
{
    return i % 3 == 2 ? 0 : (int)((i * 31 + (size_t)share * 17 + (size_t)step * 5) % 19) - 9;
}

static void fill_gradients(float *gradients, int rank, int size, int step)
{
    for (size_t i = 0; i < COUNT; i++) {
        int sum = 0;
        for (int share = rank; share < SHARES; share += size)
            sum += gradient_share(i, share, step);
        gradients[i] = (float)sum;
    }
}

static enum status take_steps(struct transport *t, struct run *run, struct optimiser *optimiser,
                              float *weights, float *gradients)
{
    for (int step = 0; step < STEPS; step++) {
        double norm;
        fill_gradients(gradients, t->rank, t->size, step);
        TRY(optimiser_step(optimiser, weights, gradients, step + 1, rates[step], &norm));
        if (t->rank == 0)
            run->norms[step] = norm;
    }
    return STATUS_OK;
}

static enum status play(struct transport *t, void *context)
{
    struct run *run = context;
    struct thread_pool *pool;
    struct optimiser *optimiser;
    float *weights = calloc(COUNT, sizeof *weights), *gradients = calloc(COUNT, sizeof *gradients);
    TRY(thread_pool_create(&pool, run->threads, NULL, true));
    struct optimiser_options options = {.transport = t,
                                        .pool = pool,
                                        .kernels = kernels_best(),
                                        .count = COUNT,
                                        .matrices = matrices,
                                        .matrices_count = sizeof matrices / sizeof matrices[0],
                                        .settings = settings};
    options.settings.clip = run->clip;
    TRY(optimiser_create(&optimiser, &options));
    for (size_t i = 0; i < COUNT; i++)
        weights[i] = weight_before(i);
    const enum status status = take_steps(t, run, optimiser, weights, gradients);
    if (status == STATUS_OK && t->rank == 0)
        memcpy(run->weights, weights, COUNT * sizeof *weights);
    bool same = status == STATUS_OK;
    if (same) { /* on all ranks */
        memcpy(gradients, weights, COUNT * sizeof *weights);
        for (size_t at = 0; at < COUNT && transport_broadcast(t, gradients + at, 4) == STATUS_OK;
             at += COUNT / 50)
            same = same && memcmp(gradients + at, weights + at, 4) == 0;
    }
    optimiser_destroy(optimiser);
    thread_pool_destroy(pool);
    free(gradients);
    free(weights);
    TRY(status);
    expect_on_all_ranks(t, same);
    return STATUS_OK;
}

static void run_on(struct run *run, int ranks)
{
    void *contexts[RANKS_MOST] = {run, run, run, run};
    run->weights = calloc(COUNT, sizeof *run->weights);
    assert_int_equal(ranks_run(ranks, NULL, play, contexts), STATUS_OK);
}

/* The formula of adamw.h in float64. */
static void the_formula(double *weights, double norms[STEPS], double clip)
{
    double *m = calloc(COUNT, sizeof *m), *v = calloc(COUNT, sizeof *v);
    for (size_t i = 0; i < COUNT; i++)
        weights[i] = (double)weight_before(i);
    for (int step = 0; step < STEPS; step++) {
        float *gradients = calloc(COUNT, sizeof *gradients);
        double sum = 0;
        fill_gradients(gradients, 0, 1, step);
        for (size_t i = 0; i < COUNT; i++)
            sum += (double)gradients[i] * (double)gradients[i];
        norms[step] = sqrt(sum);
        const double scale = clip > 0 && norms[step] > clip ? clip / norms[step] : 1;
        for (size_t i = 0; i < COUNT; i++) {
            const double g = scale * (double)gradients[i];
            m[i] = (double)settings.beta1 * m[i] + (1 - (double)settings.beta1) * g;
            v[i] = (double)settings.beta2 * v[i] + (1 - (double)settings.beta2) * g * g;
            const double decay = decays(i) ? rates[step] * (double)settings.weight_decay : 0;
            const double root = sqrt(v[i] / (1 - pow((double)settings.beta2, step + 1)));
            weights[i] -= decay * weights[i];
            weights[i] -= rates[step] / (1 - pow((double)settings.beta1, step + 1)) * m[i] /
                          (root + (double)settings.epsilon);
        }
        free(gradients);
    }
    free(m);
    free(v);
}

/* Each of a step's roundings is at most 2^-24 of a value of at most 2; twenty of them and the next
 * steps' share stay within 2^-18. */
static void expect_formula(double clip)
{
    struct run run = {.threads = 2, .clip = clip};
    double *truth = calloc(COUNT, sizeof *truth), norms[STEPS];
    run_on(&run, 2);
    the_formula(truth, norms, clip);
    for (int step = 0; step < STEPS; step++)
        assert_true(run.norms[step] == norms[step]);
    for (size_t i = 0; i < COUNT; i++)
        if (!(fabs((double)run.weights[i] - truth[i]) <= 0x1p-18))
            fail_msg("parameter %zu is %.9g, not %.9g", i, (double)run.weights[i], truth[i]);
    free(truth);
    free(run.weights);
}

static void a_step_is_adamw_and_vectors_do_not_decay(void **state)
{
    (void)state;
    expect_formula(0);
}

static void a_long_gradient_is_scaled_to_the_norm_asked_for(void **state)
{
    (void)state;
    expect_formula(1000);
}

static void the_bits_do_not_depend_on_ranks_and_threads(void **state)
{
    (void)state;
    struct run one = {.threads = 1, .clip = 1000};
    run_on(&one, 1);
    for (int ranks = 2; ranks <= RANKS_MOST; ranks++) {
        struct run other = {.threads = 1 + ranks % 2, .clip = 1000};
        run_on(&other, ranks);
        assert_memory_equal(other.weights, one.weights, COUNT * sizeof *one.weights);
        free(other.weights);
    }
    free(one.weights);
}

static void every_parameter_is_in_one_slice(void **state)
{
    (void)state;
    for (size_t count = 1; count < 200; count += 3)
        for (int size = 1; size <= 5; size++) {
            size_t end = 0;
            for (int rank = 0; rank < size; rank++) {
                assert_int_equal(optimiser_first(count, rank, size), end);
                assert_int_equal(end % 16 * (end < count), 0);
                end = optimiser_first(count, rank + 1, size);
            }
            assert_int_equal(end, count);
        }
}

static enum status diverge(struct transport *t, void *context)
{
    (void)context;
    enum { FEW = 100 };
    struct thread_pool *pool;
    struct optimiser *optimiser;
    float weights[FEW] = {1}, gradients[FEW] = {0}, before[FEW] = {1};
    double norm = -1;
    TRY(thread_pool_create(&pool, 1, NULL, true));
    TRY(optimiser_create(&optimiser, &(struct optimiser_options){.transport = t,
                                                                 .pool = pool,
                                                                 .kernels = kernels_best(),
                                                                 .count = FEW,
                                                                 .settings = settings}));
    if (t->rank == 1)
        gradients[3] = NAN;
    const enum status status = optimiser_step(optimiser, weights, gradients, 7, 0.1, &norm);
    const bool refused = status == STATUS_OUT_OF_RANGE && strstr(status_message(), "step 7");
    optimiser_destroy(optimiser);
    thread_pool_destroy(pool);
    expect_on_all_ranks(t, refused && norm == -1);
    expect_on_all_ranks(t, memcmp(weights, before, sizeof weights) == 0);
    return STATUS_OK;
}

static void a_gradient_that_is_not_finite_changes_nothing(void **state)
{
    (void)state;
    assert_int_equal(ranks_run(2, NULL, diverge, NULL), STATUS_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_parameter_is_in_one_slice),
        cmocka_unit_test(a_step_is_adamw_and_vectors_do_not_decay),
        cmocka_unit_test(a_long_gradient_is_scaled_to_the_norm_asked_for),
        cmocka_unit_test(the_bits_do_not_depend_on_ranks_and_threads),
        cmocka_unit_test(a_gradient_that_is_not_finite_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
