/* Training on GPUs, over devices that stand in for them, against the same on CPUs: a pass's
 * gradients, of each part of a model and of several methods, over 1 to 3 ranks.
 *
 * The measure is the CPU's own pass in bf16. Both round the operands of a layer's products; the GPU
 * rounds those of attention as well, at most as many again, so that its distance from float32 is
 * that of the CPU's bf16 twice over, where roundings add up like random numbers; and as random
 * numbers they may fall out differently, so a factor of 2 more is left to each. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/clock.h"
#include "tests/support/random.h"
#include "tests/support/ranks.h"
#include "tests/support/standin.h"
#include "tests/support/trained_model.h"
#include "tests/support/unit.h"
#include "worker/engine/transport/transport_nccl.h"
#include "worker/trainer/pass.h"

enum { TOKENS = 297, RANKS_MOST = 3, SEED = 20261201, PATIENCE_MS = 60000 };

#define BUDGET 4.0

static const float scale = 0.125f; /* of the loss */

struct model_case {
    const char *name, *method;
    struct trained_model model;
    bool recompute;
};

static const struct model_case models[] = {
    {"a Llama, tied", "rope", {.tied = true, .kv_heads = 2}, false},
    {"biases everywhere, a window on a layer",
     "string:shift=90,local=20",
     {.qkv_bias = true, .output_bias = true, .mlp_bias = true, .kv_heads = 4, .window = 100},
     true},
    {"a norm of each head",
     "lm_infinite:window=80,sinks=4",
     {.qk_norm = true, .kv_heads = 1},
     false},
    {"some heads see less",
     "streaming_heads:heads=1,window=64,sinks=4",
     {.tied = true, .kv_heads = 2},
     true},
};

struct text {
    int32_t ids[TOKENS], positions[TOKENS];
    uint8_t counts[TOKENS];
    struct sample sample;
};

static void make_text(struct text *text, struct random *random)
{
    int32_t position = 0;
    for (int t = 0; t < TOKENS; t++) {
        text->ids[t] = (int32_t)random_between(random, 0, TRAINED_MODEL_VOCAB);
        text->counts[t] = t > 0 && random_between(random, 0, 5) > 0;
        position += random_between(random, 0, 9) == 0 ? (int32_t)random_between(random, 0, 40) : 0;
        text->positions[t] = position++;
    }
    text->sample = (struct sample){TOKENS, text->ids, text->positions, text->counts};
}

static bool is_norm(enum model_role role)
{
    return role == MODEL_OUTPUT_NORM || role == MODEL_ATTN_NORM || role == MODEL_FFN_NORM ||
           role == MODEL_ATTN_Q_NORM || role == MODEL_ATTN_K_NORM;
}

/* Biases are small: a part that all keys share would have gradients that cancel but for what is
 * rounded. */
static float *make_weights(const struct parameters *parameters, struct random *random)
{
    float *weights = calloc((size_t)parameters->floats, sizeof *weights);
    assert_non_null(weights);
    for (int p = 0; p < parameters->count; p++) {
        const struct parameters_row *row = &parameters->list[p];
        for (int64_t i = 0; i < row->rows * row->columns; i++)
            weights[row->offset + i] =
                (is_norm(row->role) ? 0.7f : 0) + 0.15f * random_normal(random);
    }
    return weights;
}

/* ---- a pass on some ranks ---- */

struct rank_run {
    const struct model_spec *spec;
    const struct method *method;
    const struct parameters *parameters;
    const struct sample *sample;
    const float *weights;
    float *gradients;
    double loss;
    bool recompute, bf16, on_gpu;
    struct cuda_streams streams;
};

static enum status open_streams(struct transport **t, void *context)
{
    struct rank_run *run = context;
    const struct transport_options options = {.silence_ns = 60000000000};
    struct transport *nccl;
    if (!run->on_gpu)
        return STATUS_OK;
    TRY(cuda_streams_open(&run->streams, standin_runtime(), standin_kernels(), (*t)->local_rank,
                          (*t)->local_size, true));
    TRY(transport_nccl_create(&nccl, *t, &run->streams, standin_nccl(), &options));
    *t = nccl;
    return STATUS_OK;
}

static void close_streams(void *context)
{
    struct rank_run *run = context;
    cuda_streams_close(&run->streams);
}

/* Between the run's arrays and the device, through pinned memory. */
static enum status cross(const struct rank_run *run, void *to, const void *from)
{
    const struct cuda_runtime *runtime = run->streams.runtime;
    const int64_t end_ns = clock_after_ms(PATIENCE_MS);
    struct CUevent_st *event;
    bool done = false;
    TRY(runtime->copy(to, from, (size_t)run->parameters->floats * sizeof(float),
                      run->streams.compute));
    TRY(runtime->event_create(&event));
    TRY(runtime->event_record(event, run->streams.compute));
    while (!done && clock_now_ns() < end_ns)
        TRY(runtime->event_query(event, &done));
    runtime->event_destroy(event);
    return done ? STATUS_OK : fail(STATUS_INTERNAL, "the device does not get on");
}

static enum status run_on_gpu(struct pass *pass, struct rank_run *run)
{
    const struct cuda_runtime *runtime = run->streams.runtime;
    const size_t bytes = (size_t)run->parameters->floats * sizeof(float);
    void *pinned, *weights, *gradients;
    TRY(runtime->host_allocate(&pinned, bytes));
    TRY(runtime->allocate(&weights, bytes));
    TRY(runtime->allocate(&gradients, bytes));
    memcpy(pinned, run->weights, bytes);
    TRY(cross(run, weights, pinned));
    for (int repeat = 0; repeat < 2; repeat++) { /* a second time the memory is not fresh */
        run->loss = 0;
        TRY(runtime->fill(gradients, 0, bytes, run->streams.compute));
        TRY(pass_gradient(pass, weights, gradients, run->sample, scale, &run->loss));
    }
    TRY(cross(run, pinned, gradients));
    memcpy(run->gradients, pinned, bytes);
    runtime->release(gradients);
    runtime->release(weights);
    runtime->host_release(pinned);
    return STATUS_OK;
}

static enum status run_rank(struct transport *t, void *context)
{
    struct rank_run *run = context;
    struct thread_pool *pool = NULL;
    struct pass *pass = NULL;
    TRY(thread_pool_create(&pool, 1, NULL, true));
    enum status status =
        pass_create(&pass, &(struct pass_options){.spec = run->spec,
                                                  .method = run->method,
                                                  .transport = t,
                                                  .pool = pool,
                                                  .kernels = kernels_best(),
                                                  .parameters = run->parameters,
                                                  .tokens = run->sample->count,
                                                  .recompute = run->recompute,
                                                  .bf16 = run->bf16,
                                                  .streams = run->on_gpu ? &run->streams : NULL});
    if (status == STATUS_OK && run->on_gpu)
        status = run_on_gpu(pass, run);
    else if (status == STATUS_OK)
        status = pass_gradient(pass, run->weights, run->gradients, run->sample, scale, &run->loss);
    pass_destroy(pass);
    thread_pool_destroy(pool);
    return status;
}

/* The sum over ranks of the gradients, and of the loss. */
static float *run_ranks(const struct rank_run *run, int ranks, double *loss)
{
    static const struct ranks_setting setting = {open_streams, close_streams};
    struct rank_run each[RANKS_MOST];
    void *contexts[RANKS_MOST];
    for (int r = 0; r < ranks; r++) {
        each[r] = *run;
        each[r].gradients = calloc((size_t)run->parameters->floats, sizeof(float));
        assert_non_null(each[r].gradients);
        contexts[r] = &each[r];
    }
    assert_int_equal(ranks_run_in(ranks, NULL, &setting, run_rank, contexts), STATUS_OK);
    *loss = each[0].loss;
    for (int r = 1; r < ranks; r++) {
        *loss += each[r].loss;
        for (int64_t i = 0; i < run->parameters->floats; i++)
            each[0].gradients[i] += each[r].gradients[i];
        free(each[r].gradients);
    }
    return each[0].gradients;
}

/* ---- how far apart ---- */

/* |a - b| / |b| of one tensor. */
static double distance(const float *a, const float *b, const struct parameters_row *row)
{
    double apart = 0, size = 0;
    for (int64_t i = row->offset; i < row->offset + row->rows * row->columns; i++) {
        apart += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        size += (double)b[i] * (double)b[i];
    }
    return sqrt(apart / size);
}

static void expect_near(const struct parameters *parameters, const float *gpu, const float *bf16,
                        const float *exact)
{
    for (int p = 0; p < parameters->count; p++) {
        const struct parameters_row *row = &parameters->list[p];
        const double got = distance(gpu, exact, row), measure = distance(bf16, exact, row);
        if (!(got <= BUDGET * measure))
            fail_msg("role %d of layer %d: %.3g from float32, and the CPU's bf16 %.3g",
                     (int)row->role, row->layer, got, measure);
    }
}

static void a_gpu_gives_the_gradients_of_the_cpu(void **state)
{
    const struct model_case *model = *state;
    const struct model_spec spec = trained_model_spec(&model->model);
    struct random random = {SEED};
    struct parameters *parameters;
    struct method method;
    struct text text;
    double exact_loss, bf16_loss;
    assert_int_equal(parameters_create(&parameters, &spec), STATUS_OK);
    assert_int_equal(method_parse(&method, model->method, spec.trained_tokens), STATUS_OK);
    make_text(&text, &random);
    float *weights = make_weights(parameters, &random);
    struct rank_run run = {.spec = &spec,
                           .method = &method,
                           .parameters = parameters,
                           .sample = &text.sample,
                           .weights = weights,
                           .recompute = model->recompute};
    float *exact = run_ranks(&run, 1, &exact_loss);
    run.bf16 = true;
    float *bf16 = run_ranks(&run, 1, &bf16_loss);
    run.on_gpu = true;
    for (int ranks = 1; ranks <= RANKS_MOST; ranks++) {
        double loss;
        float *gpu = run_ranks(&run, ranks, &loss);
        printf("%s, %d ranks: loss %.6f, in bf16 %.6f, exactly %.6f\n", model->name, ranks, loss,
               bf16_loss, exact_loss);
        expect_near(parameters, gpu, bf16, exact);
        free(gpu);
    }
    free(exact);
    free(bf16);
    free(weights);
    parameters_destroy(parameters);
}

int main(void)
{
    enum { CASES = sizeof models / sizeof models[0] };
    struct CMUnitTest tests[CASES];
    for (int m = 0; m < CASES; m++)
        tests[m] = (struct CMUnitTest){.name = models[m].name,
                                       .test_func = a_gpu_gives_the_gradients_of_the_cpu,
                                       .initial_state = (void *)&models[m]};
    printf("seed %d\n", SEED);
    standin_seed(SEED);
    return _cmocka_run_group_tests("pass_cuda", tests, CASES, NULL, NULL);
}
