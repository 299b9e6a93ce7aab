/* matmul_bench [VARIANT [DTYPE [THREADS [decode]]]]
 *
 * Times the matrix products at the shapes of a small model (hidden 576, feed-forward 1536, 49,152
 * words, 30 layers), each thread with its own range of outputs, and prints one JSON line for each,
 * beside the probes of peak.h taken in the same run on as many threads. Prefill repeats one matrix;
 * decode walks through a whole model's matrices, which no cache holds. `best` is by the clock on
 * the wall, `best_cpu` by the threads' own time: on a machine that others use too, only that is
 * fair. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/kernels.h"
#include "tests/bench/bench_memory.h"
#include "tests/bench/peak.h"

enum { THREADS_MAX = 64, MATRICES = 30 * 7 + 1, DECODE_ROWS = 32 };

struct shape {
    int64_t out, in;
};

static const struct shape layer[7] = {{576, 576},  {192, 576},  {192, 576}, {576, 576},
                                      {1536, 576}, {1536, 576}, {576, 1536}};
static const struct shape words = {49152, 576};
static const struct kernels_limits limits = {
    .rows = KERNELS_ROWS_MAX, .width_max = 1536, .head_dim = 64, .group = 3};

struct bench {
    const struct kernels *kernels;
    int threads;
    struct matmul_weights weights[MATRICES];
    const void *packed;
    size_t packed_bytes;
    float *x, *y;
    void *scratch[THREADS_MAX];
    /* what the threads run now */
    int first, end; /* matrices */
    int repeats;
    int64_t rows;
    bool decode;
};

/* Rows whose bytes are noise, but for the scales: every block's d and m are 0.03 or so. */
static void fill_rows(uint8_t *rows, enum dtype dtype, size_t bytes)
{
    size_t block = dtype_block_bytes(dtype);
    uint32_t state = 1;
    for (size_t i = 0; i < bytes; i++) {
        state = state * 1664525u + 1013904223u;
        rows[i] = (uint8_t)(state >> 24);
        bool is_exponent = block <= 4 ? i % block == block - 1
                                      : i % block == 1 || i % block == 3 || i % block == block - 1;
        if (is_exponent)
            rows[i] = block == 4 ? 0x3c : 0x27;
    }
}

static struct shape shape_at(int matrix)
{
    return matrix < 7 * 30 ? layer[matrix % 7] : words;
}

static void load(struct bench *bench, enum dtype dtype)
{
    for (int m = 0; m < MATRICES; m++)
        bench->packed_bytes +=
            bench->kernels->matmul_packed_bytes(dtype, shape_at(m).out, shape_at(m).in);
    char *packed = bench_memory(bench->packed_bytes);
    bench->packed = packed;
    size_t largest = (size_t)words.out * dtype_row_bytes(dtype, words.in);
    uint8_t *rows = bench_memory(largest);
    fill_rows(rows, dtype, largest);
    for (int m = 0; m < MATRICES; m++) {
        struct shape shape = shape_at(m);
        bench->weights[m] = (struct matmul_weights){packed, dtype, shape.out, shape.in};
        bench->kernels->matmul_pack(packed, rows, dtype, shape.out, shape.in);
        packed += bench->kernels->matmul_packed_bytes(dtype, shape.out, shape.in);
    }
    free(rows);
    bench->x = bench_memory(KERNELS_ROWS_MAX * 1536 * sizeof(float));
    bench->y = bench_memory((size_t)DECODE_ROWS * (size_t)words.out * sizeof(float));
    for (int i = 0; i < KERNELS_ROWS_MAX * 1536; i++)
        bench->x[i] = (float)(i % 61 - 30) / 30;
    for (int t = 0; t < bench->threads; t++)
        bench->scratch[t] = bench_memory(bench->kernels->scratch_bytes(&limits));
}

struct thread {
    struct bench *bench;
    int index;
    double rate;
};

static double own_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Its rate is its own seconds, one share of the whole. */
static void *multiply(void *context)
{
    struct thread *thread = context;
    const struct bench *bench = thread->bench;
    double start = own_seconds();
    for (int i = 0; i < bench->repeats; i++)
        for (int m = bench->first; m < bench->end; m++) {
            const struct matmul_weights *weights = &bench->weights[m];
            int64_t panels = weights->out / MATMUL_SPLIT;
            struct matmul_args args = {
                .y = bench->y,
                .y_stride = weights->out,
                .x = bench->x,
                .x_stride = weights->in,
                .rows = bench->rows,
                .weights = weights,
                .out_first = panels * thread->index / bench->threads * MATMUL_SPLIT,
                .out_end = panels * (thread->index + 1) / bench->threads * MATMUL_SPLIT,
                .scratch = bench->scratch[thread->index],
            };
            if (bench->decode)
                bench->kernels->matmul_decode(&args);
            else
                bench->kernels->matmul_prefill(&args);
        }
    thread->rate = (own_seconds() - start) / bench->threads;
    return NULL;
}

static void *probe_peak(void *context)
{
    struct thread *thread = context;
    thread->rate = peak_gflops(thread->bench->kernels->name);
    return NULL;
}

static void *probe_read(void *context)
{
    struct thread *thread = context;
    const struct bench *bench = thread->bench;
    size_t part = bench->packed_bytes / (size_t)bench->threads / 64 * 64;
    thread->rate =
        peak_read_gbytes((const char *)bench->packed + (size_t)thread->index * part, part);
    return NULL;
}

/* Runs `body` on all threads; seconds taken. The rates that the threads measured are added up. */
static double on_threads(struct bench *bench, void *(*body)(void *), double *rate)
{
    pthread_t handles[THREADS_MAX];
    struct thread threads[THREADS_MAX];
    double start = peak_seconds();
    for (int t = 0; t < bench->threads; t++) {
        threads[t] = (struct thread){.bench = bench, .index = t};
        if (pthread_create(&handles[t], NULL, body, &threads[t]) != 0)
            exit(1);
    }
    *rate = 0;
    for (int t = 0; t < bench->threads; t++) {
        pthread_join(handles[t], NULL);
        *rate += threads[t].rate;
    }
    return peak_seconds() - start;
}

static void run_prefill(struct bench *bench, int matrix, int64_t rows)
{
    enum { REPEATS = 30 };
    double peak, cpu, best = 1e9, best_cpu = 1e9;
    double gflop = 2e-9 * (double)rows * (double)(shape_at(matrix).out * shape_at(matrix).in);
    bench->decode = false;
    bench->first = matrix;
    bench->end = matrix + 1;
    bench->rows = rows;
    bench->repeats = (int)(0.4 / gflop) + 1;
    for (int i = 0; i < REPEATS; i++) {
        double seconds = on_threads(bench, multiply, &cpu) / bench->repeats;
        best = seconds < best ? seconds : best;
        best_cpu = cpu / bench->repeats < best_cpu ? cpu / bench->repeats : best_cpu;
    }
    on_threads(bench, probe_peak, &peak);
    printf("{\"bench\": \"matmul_prefill\", \"kernels\": \"%s\", \"dtype\": \"%s\", \"rows\": %d, "
           "\"out\": %d, \"in\": %d, \"threads\": %d, \"gflops_best\": %.1f, \"gflops_best_cpu\": "
           "%.1f, "
           "\"peak_gflops\": %.1f, \"share\": %.3f}\n",
           bench->kernels->name, dtype_name(bench->weights[0].dtype), (int)rows,
           (int)shape_at(matrix).out, (int)shape_at(matrix).in, bench->threads, gflop / best,
           gflop / best_cpu, peak, gflop / best_cpu / peak);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

enum { ROUNDS = 25, ROW_COUNTS = 6 };

struct decode_rounds {
    double seconds[ROW_COUNTS][ROUNDS]; /* by the threads' own time */
    double read_gbytes[ROUNDS], gops[ROUNDS];
};

static void *probe_decode(void *context)
{
    struct thread *thread = context;
    const struct bench *bench = thread->bench;
    thread->rate =
        peak_decode_gops(bench->kernels->name, dtype_block_elements(bench->weights[0].dtype) > 1);
    return NULL;
}

/* Row counts and probes take turns, so that what else the machine does meets all of them. */
static void measure_decode(struct bench *bench, struct decode_rounds *rounds)
{
    bench->decode = true;
    bench->first = 0;
    bench->end = MATRICES;
    bench->repeats = 1;
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < ROW_COUNTS; i++) {
            bench->rows = 1 << i;
            on_threads(bench, multiply, &rounds->seconds[i][round]);
        }
        on_threads(bench, probe_read, &rounds->read_gbytes[round]);
        on_threads(bench, probe_decode, &rounds->gops[round]);
    }
    for (int i = 0; i < ROW_COUNTS; i++)
        qsort(rounds->seconds[i], ROUNDS, sizeof(double), by_value);
    qsort(rounds->read_gbytes, ROUNDS, sizeof(double), by_value);
    qsort(rounds->gops, ROUNDS, sizeof(double), by_value);
}

/* A product's bound is the longer of reading all weights and of its operations, at the rates of the
 * same run: medians beside medians, and the best beside the best. */
static void run_decode(struct bench *bench)
{
    static struct decode_rounds rounds;
    const int middle = ROUNDS / 2, last = ROUNDS - 1;
    double elements = 0;
    measure_decode(bench, &rounds);
    for (int m = 0; m < MATRICES; m++)
        elements += (double)(shape_at(m).out * shape_at(m).in);
    for (int i = 0; i < ROW_COUNTS; i++) {
        double gbytes = (double)bench->packed_bytes * 1e-9, gop = 2e-9 * (1 << i) * elements;
        double bound = fmax(gbytes / rounds.read_gbytes[middle], gop / rounds.gops[middle]);
        double least = fmax(gbytes / rounds.read_gbytes[last], gop / rounds.gops[last]);
        printf("{\"bench\": \"matmul_decode\", \"kernels\": \"%s\", \"dtype\": \"%s\", \"rows\": "
               "%d, \"threads\": %d, \"ms\": %.2f, \"bound_ms\": %.2f, \"ratio\": %.2f, "
               "\"ms_best\": %.2f, \"ratio_best\": %.2f, \"read_gbytes\": %.1f, "
               "\"peak_gops\": %.0f}\n",
               bench->kernels->name, dtype_name(bench->weights[0].dtype), 1 << i, bench->threads,
               rounds.seconds[i][middle] * 1e3, bound * 1e3, rounds.seconds[i][middle] / bound,
               rounds.seconds[i][0] * 1e3, rounds.seconds[i][0] / least, rounds.read_gbytes[middle],
               rounds.gops[middle]);
    }
}

static enum dtype dtype_named(const char *name)
{
    int dtype = 0;
    while (dtype < DTYPE_COUNT && strcmp(dtype_name((enum dtype)dtype), name) != 0)
        dtype++;
    return (enum dtype)dtype;
}

int main(int argc, char **argv)
{
    static struct bench bench;
    bench.kernels = argc > 1 ? kernels_find(argv[1]) : kernels_best();
    enum dtype dtype = argc > 2 ? dtype_named(argv[2]) : DTYPE_Q4_1;
    bench.threads = argc > 3 ? atoi(argv[3]) : 2;
    const bool decode_only = argc > 4 && strcmp(argv[4], "decode") == 0;
    if (!bench.kernels || !kernels_runs_here(bench.kernels) || dtype == DTYPE_COUNT ||
        dtype_block_elements(dtype) > 32 || bench.threads < 1 || bench.threads > THREADS_MAX) {
        fprintf(stderr, "usage: matmul_bench [VARIANT [DTYPE [THREADS [decode]]]]: a variant "
                        "that runs here, a type with blocks of at most 32\n");
        return 64;
    }
    load(&bench, dtype);
    static const int matrices[] = {0, 1, 4, 6};
    for (int i = 0; i < 4 && !decode_only; i++) {
        run_prefill(&bench, matrices[i], 96);
        run_prefill(&bench, matrices[i], KERNELS_ROWS_MAX);
    }
    run_decode(&bench);
    return 0;
}
