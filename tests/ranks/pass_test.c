/* A pass of training: its gradients against float64 finite differences of a plain transformer, for
 * each method and each part of a model, and over 1 to 4 ranks. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/support/plain_transformer.h"
#include "tests/support/random.h"
#include "tests/support/ranks.h"
#include "tests/support/trained_model.h"
#include "tests/support/unit.h"
#include "worker/trainer/pass.h"

enum { TOKENS = 297, PLAIN_TOKENS = 40, RANKS_MOST = 4 };

static const float scale = 0.125f; /* of the loss */

struct model_case {
    const char *name;
    struct trained_model model;
};

static const struct model_case models[] = {
    {"a Llama, two query heads to a key head, tied", {.tied = true, .kv_heads = 2}},
    {"biases everywhere, a window on a layer",
     {.qkv_bias = true, .output_bias = true, .mlp_bias = true, .kv_heads = 4, .window = 100}},
    {"a norm of each head, one key head", {.qk_norm = true, .kv_heads = 1}},
};

/* A sample of TOKENS tokens at positions with gaps behind the first PLAIN_TOKENS, so that sinks are
 * the same by position and by index. */
struct text {
    int32_t ids[TOKENS], positions[TOKENS];
    uint8_t counts[TOKENS];
    struct sample sample;
};

static void make_text(struct text *text, uint64_t seed)
{
    struct random random = {seed};
    int32_t position = 0;
    for (int t = 0; t < TOKENS; t++) {
        text->ids[t] = (int32_t)random_between(&random, 0, TRAINED_MODEL_VOCAB);
        text->counts[t] = t > 0 && random_between(&random, 0, 5) > 0;
        if (t >= PLAIN_TOKENS && random_between(&random, 0, 9) == 0)
            position += (int32_t)random_between(&random, 0, 40);
        text->positions[t] = position++;
    }
    text->sample = (struct sample){TOKENS, text->ids, text->positions, text->counts};
}

static float *make_weights(const struct parameters *parameters, uint64_t seed)
{
    struct random random = {seed};
    float *weights = calloc((size_t)parameters->floats, sizeof *weights);
    assert_non_null(weights);
    for (int p = 0; p < parameters->count; p++) {
        const struct parameters_row *row = &parameters->list[p];
        const bool norm = row->is_vector && row->rows * row->columns > 0;
        for (int64_t i = 0; i < row->rows * row->columns; i++)
            weights[row->offset + i] = (norm ? 0.7f : 0) + 0.15f * random_normal(&random);
    }
    return weights;
}

/* ---- a pass on some ranks ---- */

struct rank_run {
    const struct model_spec *spec;
    const struct method *method;
    const struct parameters *parameters;
    const struct sample *sample;
    const struct kernels *kernels;
    const float *weights;
    float *gradients;
    double loss;
    bool recompute;
    int threads;
};

static enum status run_rank(struct transport *t, void *context)
{
    struct rank_run *run = context;
    struct thread_pool *pool = NULL;
    struct pass *pass = NULL;
    enum status status = STATUS_OK;
    TRY(thread_pool_create(&pool, run->threads, NULL, true));
    const struct pass_options options = {
        run->spec,          run->method,    t,     pool, run->kernels, run->parameters,
        run->sample->count, run->recompute, false, NULL};
    TRY_ELSE(pass_create(&pass, &options), end);
    status = pass_gradient(pass, run->weights, run->gradients, run->sample, scale, &run->loss);
    /* A second time the memory is not fresh. */
    memset(run->gradients, 0, (size_t)run->parameters->floats * sizeof(float));
    run->loss = 0;
    if (status == STATUS_OK)
        status = pass_gradient(pass, run->weights, run->gradients, run->sample, scale, &run->loss);
end:
    pass_destroy(pass);
    thread_pool_destroy(pool);
    return status;
}

/* The sum over ranks of the gradients, and of the loss. */
static float *run_ranks(const struct rank_run *run, int ranks, double *loss)
{
    struct rank_run each[RANKS_MOST];
    void *contexts[RANKS_MOST];
    for (int r = 0; r < ranks; r++) {
        each[r] = *run;
        each[r].gradients = calloc((size_t)run->parameters->floats, sizeof(float));
        assert_non_null(each[r].gradients);
        contexts[r] = &each[r];
    }
    assert_int_equal(ranks_run(ranks, NULL, run_rank, contexts), STATUS_OK);
    *loss = each[0].loss;
    for (int r = 1; r < ranks; r++) {
        *loss += each[r].loss;
        for (int64_t i = 0; i < run->parameters->floats; i++)
            each[0].gradients[i] += each[r].gradients[i];
        free(each[r].gradients);
    }
    return each[0].gradients;
}

/* ---- against finite differences ---- */

struct truth {
    const struct model_spec *spec;
    const struct plan_method *method;
    const struct parameters *parameters;
    const struct sample *sample;
    double *weights, *moved;
    double whole; /* length of all gradients together */
};

/* The loss's derivative along `direction` [of the row], and |direction|. */
static double derivative(const struct truth *truth, const struct parameters_row *row,
                         const double *direction)
{
    const double step = 1e-4;
    double loss[2];
    for (int side = 0; side < 2; side++) {
        memcpy(truth->moved, truth->weights, (size_t)truth->parameters->floats * sizeof(double));
        for (int64_t i = 0; i < row->rows * row->columns; i++)
            truth->moved[row->offset + i] += (side ? step : -step) * direction[i];
        loss[side] = plain_transformer_loss(truth->spec, truth->method, truth->parameters,
                                            truth->moved, truth->sample);
    }
    return (loss[1] - loss[0]) / (2 * step);
}

/* Along the gradient itself, of length 1: the derivative is then the gradient's length, and a wrong
 * direction or length shows alike. */
static void check_row(const struct truth *truth, const float *gradients,
                      const struct parameters_row *row, const char *name)
{
    const int64_t count = row->rows * row->columns;
    const float *gradient = gradients + row->offset;
    double *direction = calloc((size_t)count, sizeof *direction), squares = 0;
    assert_non_null(direction);
    for (int64_t i = 0; i < count; i++)
        squares += (double)gradient[i] * (double)gradient[i];
    const double length = sqrt(squares);
    assert_true(length > 0);
    for (int64_t i = 0; i < count; i++)
        direction[i] = (double)gradient[i] / length;
    const double expected = derivative(truth, row, direction) * (double)scale;
    /* Where a query sees one key only, its own gradient is the rounding of what should be 0. */
    if (!(fabs(length - expected) <= 1e-4 * fabs(expected) + 1e-6 * truth->whole))
        fail_msg("%s, %s: role %d of layer %d: %.9g, by differences %.9g", name,
                 truth->method->spelling, (int)row->role, row->layer, length, expected);
    free(direction);
}

/* Of one tensor of each role where `every`, else of the first layer's queries and keys. */
static void check_gradients(const struct model_case *model, const struct plan_method *method,
                            const struct kernels *kernels, bool every)
{
    static struct text text;
    struct parameters *parameters;
    const struct model_spec spec = trained_model_spec(&model->model);
    const struct method parsed = plan_methods_parse(method->spelling);
    make_text(&text, 11);
    assert_int_equal(parameters_create(&parameters, &spec), STATUS_OK);
    float *weights = make_weights(parameters, 5);
    double loss;
    const struct rank_run run = {&spec,   &parsed, parameters, &text.sample, kernels,
                                 weights, NULL,    0,          false,        2};
    float *gradients = run_ranks(&run, 3, &loss);
    struct truth truth = {&spec,
                          method,
                          parameters,
                          &text.sample,
                          calloc((size_t)parameters->floats, sizeof(double)),
                          calloc((size_t)parameters->floats, sizeof(double)),
                          0};
    assert_non_null(truth.weights);
    assert_non_null(truth.moved);
    for (int64_t i = 0; i < parameters->floats; i++) {
        truth.weights[i] = (double)weights[i];
        truth.whole += (double)gradients[i] * (double)gradients[i];
    }
    truth.whole = sqrt(truth.whole);
    const double plain =
        plain_transformer_loss(&spec, method, parameters, truth.weights, &text.sample);
    if (!(fabs(loss - plain) <= 1e-5 * plain))
        fail_msg("%s, %s: loss %.9g, plainly %.9g", model->name, method->spelling, loss, plain);
    for (int p = 0; p < parameters->count; p++) {
        const struct parameters_row *row = &parameters->list[p];
        const bool early = row->role == MODEL_ATTN_Q || row->role == MODEL_ATTN_K;
        if (every ? row->layer == 0 || row->role == MODEL_ATTN_K : early && row->layer == 0)
            check_row(&truth, gradients, row, model->name);
    }
    free(truth.weights);
    free(truth.moved);
    free(gradients);
    free(weights);
    parameters_destroy(parameters);
}

static void every_part_of_a_model(void **state)
{
    (void)state;
    for (size_t m = 0; m < sizeof models / sizeof models[0]; m++)
        check_gradients(&models[m], &plan_methods[0], kernels_find("reference"), true);
}

static void every_method(void **state)
{
    (void)state;
    for (int m = 0; m < plan_methods_count; m++)
        check_gradients(&models[0], &plan_methods[m], kernels_best(), false);
}

/* ---- over ranks ---- */

static double distance(const float *a, const float *b, int64_t count, double *length)
{
    double squares = 0, off = 0;
    for (int64_t i = 0; i < count; i++) {
        squares += (double)a[i] * (double)a[i];
        off += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    }
    *length = sqrt(squares);
    return sqrt(off);
}

static void the_same_over_ranks(void **state)
{
    static struct text text;
    struct parameters *parameters;
    const struct model_spec spec = trained_model_spec(&models[0].model);
    (void)state;
    make_text(&text, 12);
    assert_int_equal(parameters_create(&parameters, &spec), STATUS_OK);
    float *weights = make_weights(parameters, 6);
    for (int m = 0; m < plan_methods_count; m++) {
        const struct method parsed = plan_methods_parse(plan_methods[m].spelling);
        double loss, alone_loss;
        struct rank_run run = {&spec,   &parsed, parameters, &text.sample, kernels_best(),
                               weights, NULL,    0,          false,        1};
        float *alone = run_ranks(&run, 1, &alone_loss);
        /* One method on all numbers of ranks, each other one on one of them. */
        const int least = m == 0 ? 1 : 2 + m % (RANKS_MOST - 1);
        for (int ranks = least; ranks <= (m == 0 ? RANKS_MOST : least); ranks++) {
            run.threads = ranks == 2 ? 2 : 1;
            run.recompute = ranks % 2 == 0;
            double length;
            float *shared = run_ranks(&run, ranks, &loss);
            const double off = distance(alone, shared, parameters->floats, &length);
            /* The rows' numbers are the same bits; only sums over rows are cut otherwise. */
            if (off > 3e-6 * length || fabs(loss - alone_loss) > 1e-9 * alone_loss)
                fail_msg("%s on %d ranks: off by %.3g of %.3g, loss by %.3g",
                         plan_methods[m].spelling, ranks, off, length, loss - alone_loss);
            free(shared);
        }
        free(alone);
    }
    free(weights);
    parameters_destroy(parameters);
}

static void recomputed_is_bit_for_bit(void **state)
{
    static struct text text;
    struct parameters *parameters;
    (void)state;
    make_text(&text, 13);
    for (size_t m = 0; m < sizeof models / sizeof models[0]; m++) {
        const struct model_spec spec = trained_model_spec(&models[m].model);
        const struct method method = plan_methods_parse(plan_methods[1].spelling);
        assert_int_equal(parameters_create(&parameters, &spec), STATUS_OK);
        float *weights = make_weights(parameters, 7);
        double loss[2];
        float *gradients[2];
        for (int again = 0; again < 2; again++) {
            const struct rank_run run = {&spec,   &method, parameters, &text.sample, kernels_best(),
                                         weights, NULL,    0,          again == 1,   2};
            gradients[again] = run_ranks(&run, 2, &loss[again]);
        }
        assert_true(loss[0] == loss[1]);
        assert_memory_equal(gradients[0], gradients[1], (size_t)parameters->floats * sizeof(float));
        free(gradients[0]);
        free(gradients[1]);
        free(weights);
        parameters_destroy(parameters);
    }
}

/* ---- one pass, samples of many lengths ---- */

enum { LENGTHS = 5 };

struct lengths_run {
    const struct model_spec *spec;
    const struct method *method;
    const struct parameters *parameters;
    const float *weights;
    const struct text *text;
    float *gradients[LENGTHS]; /* of a pass for all */
    float *alone[LENGTHS];     /* of a pass of its own */
};

/* Shorter than a panel, fewer panels than ranks, and none of the tokens counted. */
static const int64_t lengths[LENGTHS] = {TOKENS, 2, 97, 57, 200};

static enum status run_lengths(struct transport *t, void *context)
{
    struct lengths_run *run = context;
    struct thread_pool *pool = NULL;
    struct pass *passes[1 + LENGTHS] = {NULL};
    enum status status = STATUS_OK;
    double loss;
    TRY(thread_pool_create(&pool, 1, NULL, true));
    for (int p = 0; p <= LENGTHS && status == STATUS_OK; p++) {
        const struct pass_options options = {run->spec,
                                             run->method,
                                             t,
                                             pool,
                                             kernels_best(),
                                             run->parameters,
                                             p ? lengths[p - 1] : TOKENS,
                                             true,
                                             false,
                                             NULL};
        status = pass_create(&passes[p], &options);
    }
    for (int n = 0; n < LENGTHS && status == STATUS_OK; n++) {
        struct sample sample = run->text->sample;
        sample.count = lengths[n];
        status = pass_gradient(passes[0], run->weights, run->gradients[n], &sample, scale, &loss);
        if (status == STATUS_OK)
            status =
                pass_gradient(passes[1 + n], run->weights, run->alone[n], &sample, scale, &loss);
    }
    for (int p = 0; p <= LENGTHS; p++)
        pass_destroy(passes[p]);
    thread_pool_destroy(pool);
    return status;
}

static void a_pass_takes_samples_of_other_lengths(void **state)
{
    static struct text text;
    const struct model_spec spec = trained_model_spec(&models[1].model);
    struct parameters *parameters;
    struct lengths_run runs[RANKS_MOST];
    void *contexts[RANKS_MOST];
    (void)state;
    make_text(&text, 14);
    memset(text.counts, 0, 97);
    const struct method method = plan_methods_parse("rope");
    assert_int_equal(parameters_create(&parameters, &spec), STATUS_OK);
    float *weights = make_weights(parameters, 8);
    const size_t floats = (size_t)parameters->floats;
    for (int r = 0; r < RANKS_MOST; r++) {
        runs[r] = (struct lengths_run){&spec, &method, parameters, weights, &text, {0}, {0}};
        for (int n = 0; n < LENGTHS; n++) {
            runs[r].gradients[n] = calloc(floats, sizeof(float));
            runs[r].alone[n] = calloc(floats, sizeof(float));
            assert_true(runs[r].gradients[n] && runs[r].alone[n]);
        }
        contexts[r] = &runs[r];
    }
    assert_int_equal(ranks_run(RANKS_MOST, NULL, run_lengths, contexts), STATUS_OK);
    for (int r = 0; r < RANKS_MOST; r++)
        for (int n = 0; n < LENGTHS; n++) {
            assert_memory_equal(runs[r].gradients[n], runs[r].alone[n], floats * sizeof(float));
            for (size_t i = 0; lengths[n] <= 97 && i < floats; i++)
                assert_true(runs[r].gradients[n][i] == 0);
            free(runs[r].gradients[n]);
            free(runs[r].alone[n]);
        }
    free(weights);
    parameters_destroy(parameters);
}

static void a_sample_that_is_too_long(void **state)
{
    static struct text text;
    struct parameters *parameters;
    const struct model_spec spec = trained_model_spec(&models[0].model);
    const struct method method = plan_methods_parse("rope");
    struct thread_pool *pool;
    (void)state;
    make_text(&text, 1);
    assert_int_equal(parameters_create(&parameters, &spec), STATUS_OK);
    assert_int_equal(thread_pool_create(&pool, 1, NULL, false), STATUS_OK);
    struct transport alone = {.size = 1};
    const struct pass_options options = {&spec,      &method,    &alone, pool,  kernels_best(),
                                         parameters, TOKENS - 1, false,  false, NULL};
    struct pass *pass;
    double loss = 0;
    assert_int_equal(pass_create(&pass, &options), STATUS_OK);
    assert_int_equal(pass_gradient(pass, NULL, NULL, &text.sample, 1, &loss),
                     STATUS_INVALID_ARGUMENT);
    assert_string_equal(status_message(), "a sample has 297 tokens, and memory was taken for 296");
    pass_destroy(pass);
    thread_pool_destroy(pool);
    parameters_destroy(parameters);
}

static void what_has_no_gradient_is_refused_by_name(void **state)
{
    struct model_spec spec = trained_model_spec(&models[0].model);
    const struct pass_options options = {.spec = &spec};
    struct pass *pass;
    (void)state;
    spec.attention_cap = 50;
    assert_int_equal(pass_create(&pass, &options), STATUS_UNIMPLEMENTED);
    assert_string_equal(status_message(), "training does not know capped attention scores; this "
                                          "model cannot be trained");
}

/* Rows of a product have the deviation 1 for inputs of it, whatever the width; what adds to the
 * residual stream has less. */
static void from_scratch_by_width(void **state)
{
    (void)state;
    for (size_t m = 0; m < sizeof models / sizeof models[0]; m++) {
        const struct model_spec spec = trained_model_spec(&models[m].model);
        struct parameters *parameters;
        assert_int_equal(parameters_create(&parameters, &spec), STATUS_OK);
        float *weights = calloc((size_t)parameters->floats, sizeof *weights);
        assert_non_null(weights);
        parameters_initialise(weights, parameters, 3);
        for (int p = 0; p < parameters->count; p++) {
            const struct parameters_row *row = &parameters->list[p];
            const bool adds = row->role == MODEL_ATTN_OUTPUT || row->role == MODEL_FFN_DOWN;
            const int64_t count = row->rows * row->columns;
            double squares = 0;
            for (int64_t i = 0; i < count; i++)
                squares += (double)weights[row->offset + i] * (double)weights[row->offset + i];
            const double wanted = (adds ? 0.5 / spec.layers : 1) / (double)row->columns;
            /* The square of n normal numbers has the deviation sqrt(2 / n) of its mean. */
            if (!row->is_vector)
                assert_true(fabs(squares / (double)count / wanted - 1) <=
                            5 * sqrt(2 / (double)count));
        }
        free(weights);
        parameters_destroy(parameters);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_part_of_a_model),
        cmocka_unit_test(every_method),
        cmocka_unit_test(the_same_over_ranks),
        cmocka_unit_test(recomputed_is_bit_for_bit),
        cmocka_unit_test(a_pass_takes_samples_of_other_lengths),
        cmocka_unit_test(a_sample_that_is_too_long),
        cmocka_unit_test(what_has_no_gradient_is_refused_by_name),
        cmocka_unit_test(from_scratch_by_width),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
