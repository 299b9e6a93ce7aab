/* step_bench CONFIG [TOKENS [THREADS [VARIANT [F32|BF16 [recompute|keep]]]]]
 *
 * One training step after the other of a model of the shape of CONFIG (config.json), from scratch,
 * on one sample of random tokens: forward, backward, clipping and AdamW. It prints a line that says
 * what it is, and then answers each line of standard input with a line of JSON:
 *
 *   step   makes a step: its seconds and those of its parts, loss, norm of gradients
 *   ops    makes one with a clock in every op: calls, processor seconds and operations of each
 *   peak   probes what all threads can do at most, in GFLOP/s
 *
 * train_step.py alternates with it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/log.h"
#include "proto/model/model_new.h"
#include "tests/bench/bench_memory.h"
#include "tests/bench/op_clock.h"
#include "tests/bench/peak.h"
#include "worker/engine/transport/transport_loopback.h"
#include "worker/trainer/optimiser.h"
#include "worker/trainer/parameters.h"
#include "worker/trainer/pass.h"

enum { THREADS_MAX = 64 };

struct bench {
    struct kernels kernels; /* what the pass uses now: plain, or timed */
    const struct kernels *plain;
    struct kernels timed;
    int threads;
    int64_t tokens, step;
    bool bf16, recompute;
    struct model_spec spec;
    struct method method;
    struct thread_pool *pool;
    struct transport *transport;
    struct parameters *parameters;
    struct pass *pass;
    struct optimiser *optimiser;
    struct sample sample;
    int32_t *ids, *positions;
    uint8_t *counts;
    float *weights, *gradients;
    double peaks[THREADS_MAX];
};

static void need(enum status status)
{
    if (status == STATUS_OK)
        return;
    fprintf(stderr, "step_bench: %s\n", status_message());
    exit(1);
}

static void *numbers(int64_t count, size_t bytes)
{
    return bench_memory((size_t)count * bytes);
}

/* Random tokens, each of which but the first is counted. */
static void draw(struct bench *bench)
{
    bench->ids = numbers(bench->tokens, sizeof *bench->ids);
    bench->positions = numbers(bench->tokens, sizeof *bench->positions);
    bench->counts = numbers(bench->tokens, 1);
    uint32_t state = 1;
    for (int64_t t = 0; t < bench->tokens; t++) {
        state = state * 1664525u + 1013904223u;
        bench->ids[t] = (int32_t)((state >> 8) % (uint32_t)bench->spec.vocab);
        bench->positions[t] = (int32_t)t;
        bench->counts[t] = t > 0;
    }
    bench->sample = (struct sample){bench->tokens, bench->ids, bench->positions, bench->counts};
}

static void prepare_optimiser(struct bench *bench)
{
    const struct parameters *parameters = bench->parameters;
    struct optimiser_matrix *matrices = numbers(parameters->count, sizeof *matrices);
    size_t count = 0;
    for (int i = 0; i < parameters->count; i++) {
        const struct parameters_row *row = &parameters->list[i];
        size_t first = (size_t)row->offset;
        if (!row->is_vector)
            matrices[count++] =
                (struct optimiser_matrix){first, first + (size_t)(row->rows * row->columns)};
    }
    const struct optimiser_options options = {
        .transport = bench->transport,
        .pool = bench->pool,
        .kernels = &bench->kernels,
        .count = (size_t)parameters->floats,
        .matrices = matrices,
        .matrices_count = count,
        .settings = {
            .beta1 = 0.9f, .beta2 = 0.95f, .epsilon = 1e-8f, .weight_decay = 0.1f, .clip = 1}};
    need(optimiser_create(&bench->optimiser, &options));
    free(matrices);
}

static void prepare(struct bench *bench, const char *config)
{
    need(model_new_read_spec(&bench->spec, config));
    need(method_parse(&bench->method, "rope", 0));
    need(thread_pool_create(&bench->pool, bench->threads, NULL, false));
    need(transport_loopback_create_group(&bench->transport, 1, NULL));
    need(parameters_create(&bench->parameters, &bench->spec));
    bench->kernels = *bench->plain;
    op_clock_wrap(&bench->timed, bench->plain, bench->spec.vocab);
    const struct pass_options options = {.spec = &bench->spec,
                                         .method = &bench->method,
                                         .transport = bench->transport,
                                         .pool = bench->pool,
                                         .kernels = &bench->kernels,
                                         .parameters = bench->parameters,
                                         .tokens = bench->tokens,
                                         .recompute = bench->recompute,
                                         .bf16 = bench->bf16};
    need(pass_create(&bench->pass, &options));
    bench->weights = numbers(bench->parameters->floats, sizeof(float));
    bench->gradients = numbers(bench->parameters->floats, sizeof(float));
    parameters_initialise(bench->weights, bench->parameters, 1);
    prepare_optimiser(bench);
    draw(bench);
}

static void destroy(struct bench *bench)
{
    optimiser_destroy(bench->optimiser);
    pass_destroy(bench->pass);
    parameters_destroy(bench->parameters);
    transport_destroy(bench->transport);
    thread_pool_destroy(bench->pool);
    free(bench->weights);
    free(bench->gradients);
    free(bench->ids);
    free(bench->positions);
    free(bench->counts);
}

/* Ends inside its line, so that more can be added. */
static void make_step(struct bench *bench)
{
    const double counted = (double)(bench->tokens - 1);
    double loss = 0, norm = 0, start = peak_seconds();
    memset(bench->gradients, 0, (size_t)bench->parameters->floats * sizeof(float));
    need(pass_gradient(bench->pass, bench->weights, bench->gradients, &bench->sample,
                       (float)(1 / counted), &loss));
    double middle = peak_seconds();
    need(optimiser_step(bench->optimiser, bench->weights, bench->gradients, ++bench->step, 1e-4,
                        &norm));
    double end = peak_seconds();
    printf(
        "{\"step\": %d, \"seconds\": %.6f, \"gradient\": %.6f, \"update\": %.6f, \"loss\": %.6f, "
        "\"grad_norm\": %.6f",
        (int)bench->step, end - start, middle - start, end - middle, loss / counted, norm);
}

static void make_timed_step(struct bench *bench)
{
    int count;
    bench->kernels = bench->timed;
    make_step(bench);
    bench->kernels = *bench->plain;
    const struct op_clock_row *rows = op_clock_take(&count);
    printf(", \"ops\": [");
    for (int i = 0; i < count; i++)
        printf("%s{\"op\": \"%s\", \"calls\": %d, \"thread_seconds\": %.6f, \"gflop\": %.3f}",
               i > 0 ? ", " : "", rows[i].name, (int)rows[i].calls, rows[i].seconds, rows[i].gflop);
    printf("]");
}

static void probe(void *context, int thread, size_t item)
{
    (void)thread;
    struct bench *bench = context;
    bench->peaks[item] = peak_gflops(bench->bf16 ? bench->plain->name : "reference");
}

static void probe_peak(struct bench *bench)
{
    double sum = 0;
    thread_pool_run(bench->pool, (size_t)bench->threads, probe, NULL, bench);
    for (int t = 0; t < bench->threads; t++)
        sum += bench->peaks[t];
    printf("{\"peak_gflops\": %.1f", sum);
}

static void take_turns(struct bench *bench)
{
    char line[32];
    printf("{\"engine\": \"longhaul\", \"kernels\": \"%s\", \"operand\": \"%s\", \"threads\": %d, "
           "\"tokens\": %d, \"recompute\": %s, \"parameters\": %lld, \"pass_bytes\": %lld}\n",
           bench->plain->name, bench->bf16 ? "BF16" : "F32", bench->threads, (int)bench->tokens,
           bench->recompute ? "true" : "false", (long long)bench->parameters->floats,
           (long long)pass_bytes(bench->pass));
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        if (strcmp(line, "peak\n") == 0)
            probe_peak(bench);
        else if (strcmp(line, "ops\n") == 0)
            make_timed_step(bench);
        else
            make_step(bench);
        printf("}\n");
        fflush(stdout);
    }
}

int main(int argc, char **argv)
{
    static struct bench bench;
    bench.tokens = argc > 2 ? atoi(argv[2]) : 1024;
    bench.threads = argc > 3 ? atoi(argv[3]) : 1;
    bench.plain = argc > 4 ? kernels_find(argv[4]) : kernels_best();
    bench.bf16 = argc > 5 && strcmp(argv[5], "BF16") == 0;
    bench.recompute = argc > 6 && strcmp(argv[6], "recompute") == 0;
    if (argc < 2 || bench.tokens < 2 || bench.threads < 1 || bench.threads > THREADS_MAX ||
        !bench.plain || !kernels_runs_here(bench.plain)) {
        fprintf(stderr, "usage: step_bench CONFIG [TOKENS [THREADS [VARIANT [F32|BF16 "
                        "[recompute|keep]]]]]\n");
        return 2;
    }
    prepare(&bench, argv[1]);
    take_turns(&bench);
    destroy(&bench);
    return 0;
}
