/* product_bench [VARIANT [THREADS [F32|BF16 [--turns]]]]
 *
 * Times the products of a training step at the shapes of a model of 124 million weights (hidden
 * 768, feed-forward 2048 or 3072, 50,257 words) over 1,024 tokens: y = x w^T, dx = dy w and
 * dw += dy^T x, cut over a pool of threads as a trainer cuts them, and prints one JSON line for
 * each: medians of ROUNDS rounds in which shapes and the probe of the peak alternate. `share` is of
 * the peak by the clock on the wall; `share_cpu` by the processor time of all threads, which on a
 * machine that others use too is the fair one: it counts what waiting threads spin, too.
 *
 * With --turns it prints how many shapes it has and which, and then runs, for each line of standard
 * input, the shape of that number and prints its seconds by the wall and the processor time of its
 * threads, or, for the line `peak`, probes the peak and prints it: product_torch.py alternates with
 * it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/bench/bench_memory.h"
#include "tests/bench/peak.h"
#include "worker/trainer/products.h"

enum { THREADS_MAX = 64, ROUNDS = 11, WORDS = 50257, WIDEST = 3072, TOKENS = 1024 };

struct shape {
    int64_t tokens, in, out;
};

static const struct shape shapes[] = {
    {TOKENS, 768, 768},  {TOKENS, 768, 2048},  {TOKENS, 2048, 768}, {TOKENS, 768, 3072},
    {TOKENS, 3072, 768}, {TOKENS, 768, WORDS}, {256, 768, WORDS},
};

enum { FORWARD, DX, DW, FORMS };
static const char *const forms[FORMS] = {[FORWARD] = "forward", [DX] = "dx", [DW] = "dw"};
enum { SHAPES = sizeof shapes / sizeof shapes[0], CASES = SHAPES * FORMS };

struct bench {
    const struct kernels *kernels;
    enum dtype operand;
    int threads;
    struct thread_pool *pool;
    float *x, *w, *y; /* [tokens, in], [out, in], [tokens, out]; y stands for its gradient too */
    float *result;
    void *scratch;
    double peaks[THREADS_MAX];
};

struct times {
    double wall[CASES][ROUNDS], cpu[CASES][ROUNDS], peak[ROUNDS];
};

static void fill(float *at, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        at[i] = (float)(i % 61 - 30) / 30;
}

static void prepare(struct bench *bench)
{
    const int64_t words = (int64_t)WORDS * 768, logits = (int64_t)WORDS * TOKENS;
    const int64_t widest = (int64_t)TOKENS * WIDEST;
    if (thread_pool_create(&bench->pool, bench->threads, NULL, false) != STATUS_OK)
        exit(1);
    bench->x = bench_memory((size_t)widest * sizeof(float));
    bench->w = bench_memory((size_t)words * sizeof(float));
    bench->y = bench_memory((size_t)logits * sizeof(float));
    bench->result = bench_memory((size_t)logits * sizeof(float));
    bench->scratch = bench_memory(products_scratch_bytes(bench->pool));
    fill(bench->x, widest);
    fill(bench->w, words);
    fill(bench->y, logits);
}

static struct product_args args_of(const struct bench *bench, int number)
{
    const struct shape shape = shapes[number / FORMS];
    struct product_args args = {
        .c = bench->result, .operand = bench->operand, .accumulate = number % FORMS == DW};
    if (number % FORMS == DW) {
        args.a = bench->y, args.a_row = 1, args.a_column = shape.out;
        args.b = bench->x, args.b_row = shape.in, args.b_column = 1;
        args.rows = shape.out, args.columns = shape.in, args.depth = shape.tokens;
    } else if (number % FORMS == DX) {
        args.a = bench->y, args.a_row = shape.out, args.a_column = 1;
        args.b = bench->w, args.b_row = shape.in, args.b_column = 1;
        args.rows = shape.tokens, args.columns = shape.in, args.depth = shape.out;
    } else {
        args.a = bench->x, args.a_row = shape.in, args.a_column = 1;
        args.b = bench->w, args.b_row = 1, args.b_column = shape.in;
        args.rows = shape.tokens, args.columns = shape.out, args.depth = shape.in;
    }
    args.c_stride = args.columns;
    return args;
}

static double gflop_of(int number)
{
    const struct shape shape = shapes[number / FORMS];
    return 2e-9 * (double)shape.tokens * (double)shape.in * (double)shape.out;
}

static double process_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void run_case(const struct bench *bench, int number, double *wall, double *cpu)
{
    const struct product_args args = args_of(bench, number);
    double wall_start = peak_seconds(), cpu_start = process_seconds();
    products_run(bench->pool, bench->kernels, &args, bench->scratch);
    *wall = peak_seconds() - wall_start;
    *cpu = process_seconds() - cpu_start;
}

static void probe(void *context, int thread, size_t item)
{
    (void)thread;
    struct bench *bench = context;
    bench->peaks[item] =
        peak_gflops(bench->operand == DTYPE_BF16 ? bench->kernels->name : "reference");
}

/* Of all threads at once, in GFLOP/s. */
static double peak_of(struct bench *bench)
{
    double sum = 0;
    thread_pool_run(bench->pool, (size_t)bench->threads, probe, NULL, bench);
    for (int t = 0; t < bench->threads; t++)
        sum += bench->peaks[t];
    return sum;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double values[ROUNDS])
{
    qsort(values, ROUNDS, sizeof *values, by_value);
    return values[ROUNDS / 2];
}

static void measure(struct bench *bench, struct times *times)
{
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < CASES; i++)
            run_case(bench, i, &times->wall[i][round], &times->cpu[i][round]);
        times->peak[round] = peak_of(bench);
    }
}

static void print_case(const struct bench *bench, int number)
{
    const struct shape shape = shapes[number / FORMS];
    printf("{\"bench\": \"product\", \"kernels\": \"%s\", \"operand\": \"%s\", \"threads\": %d, "
           "\"form\": \"%s\", \"tokens\": %d, \"in\": %d, \"out\": %d",
           bench->kernels->name, dtype_name(bench->operand), bench->threads, forms[number % FORMS],
           (int)shape.tokens, (int)shape.in, (int)shape.out);
}

static void print_all(const struct bench *bench, struct times *times)
{
    double peak = median(times->peak);
    for (int i = 0; i < CASES; i++) {
        double wall = median(times->wall[i]), cpu = median(times->cpu[i]) / bench->threads;
        print_case(bench, i);
        printf(", \"seconds\": %.6f, \"gflops\": %.1f, \"peak_gflops\": %.1f, \"share\": %.3f, "
               "\"share_cpu\": %.3f, \"share_cpu_best\": %.3f}\n",
               wall, gflop_of(i) / wall, peak, gflop_of(i) / wall / peak, gflop_of(i) / cpu / peak,
               gflop_of(i) / (times->cpu[i][0] / bench->threads) / peak);
    }
}

static void take_turns(struct bench *bench)
{
    char line[32];
    double wall, cpu;
    printf("%d\n", CASES);
    for (int i = 0; i < CASES; i++) {
        print_case(bench, i);
        printf("}\n");
    }
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        if (strcmp(line, "peak\n") == 0) {
            printf("%.1f\n", peak_of(bench));
            fflush(stdout);
            continue;
        }
        int number = atoi(line);
        if (number < 0 || number >= CASES)
            exit(2);
        run_case(bench, number, &wall, &cpu);
        printf("%.9f %.9f\n", wall, cpu);
        fflush(stdout);
    }
}

int main(int argc, char **argv)
{
    static struct bench bench;
    static struct times times;
    bench.kernels = argc > 1 ? kernels_find(argv[1]) : kernels_best();
    bench.threads = argc > 2 ? atoi(argv[2]) : 1;
    bench.operand = argc > 3 && strcmp(argv[3], "BF16") == 0 ? DTYPE_BF16 : DTYPE_F32;
    if (!bench.kernels || !kernels_runs_here(bench.kernels) || bench.threads < 1 ||
        bench.threads > THREADS_MAX) {
        fprintf(stderr, "usage: product_bench [VARIANT [THREADS [F32|BF16 [--turns]]]]\n");
        return 2;
    }
    prepare(&bench);
    if (argc > 4) {
        take_turns(&bench);
    } else {
        measure(&bench, &times);
        print_all(&bench, &times);
    }
    thread_pool_destroy(bench.pool);
    free(bench.x);
    free(bench.w);
    free(bench.y);
    free(bench.result);
    free(bench.scratch);
    return 0;
}
