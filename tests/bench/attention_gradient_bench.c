/* attention_gradient_bench [VARIANT]
 *
 * Times training's attention of one KV head over a sample of 1,024 and of 4,096 tokens, in tiles as
 * a trainer cuts them, on one thread, and prints one JSON line for each shape: medians of ROUNDS
 * rounds in which shapes and the probe of the peak alternate. FLOPs are those of the visible pairs:
 * 4 x head_dim a pair and query head forward, 10 x head_dim backward. `share` is of the core's
 * peak, by the thread's processor time, as others may use the machine; `share_best` that of the
 * best round. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/kernels.h"
#include "tests/bench/bench_memory.h"
#include "tests/bench/peak.h"

enum { ROUNDS = 7, LONGEST = 4096, WIDEST = 128, MOST_HEADS = 4, SIDE = ATTENTION_SPANS_TOKENS };

struct shape {
    int64_t tokens;
    int group, head_dim;
    int64_t window; /* 0: none */
};

static const struct shape shapes[] = {
    {1024, 1, 64, 0}, {1024, 3, 64, 0}, {1024, 1, 128, 0}, {1024, 4, 128, 0}, {4096, 1, 64, 512},
};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

struct bench {
    const struct kernels *kernels;
    struct regimes regimes;
    int32_t positions[LONGEST];
    float *q, *k, *v, *dout, *acc, *dq, *dk, *dv;
    float *max, *sum, *dot;
    void *scratch;
};

static float *filled(int64_t count, float scale)
{
    float *x = bench_memory((size_t)count * sizeof(float));
    uint32_t state = 1;
    for (int64_t i = 0; i < count; i++) {
        state = state * 1664525 + 1013904223;
        x[i] = ((float)(state >> 8) / (1 << 23) - 1) * scale;
    }
    return x;
}

static void prepare(struct bench *bench)
{
    const int64_t keys = (int64_t)LONGEST * WIDEST, queries = keys * MOST_HEADS;
    const int64_t rows = (int64_t)LONGEST * MOST_HEADS;
    float **const all[] = {&bench->q,   &bench->dout, &bench->acc, &bench->dq,
                           &bench->k,   &bench->v,    &bench->dk,  &bench->dv,
                           &bench->max, &bench->sum,  &bench->dot};
    for (int a = 0; a < 11; a++)
        *all[a] = filled(a < 4 ? queries : a < 8 ? keys : rows, 2);
    bench->scratch = bench_memory(attention_gradient_scratch_bytes(WIDEST));
    for (int t = 0; t < LONGEST; t++)
        bench->positions[t] = t;
}

static void choose_bands(struct bench *bench, int64_t window)
{
    const struct bands bands = {
        .count = 1,
        .list = {{.query_end = BANDS_OPEN, .unit = 1, .distance_end = BANDS_OPEN}},
        .window = window,
        .query_frames = 1,
        .query_frame = {BANDS_FRAME(1, 0)},
        .key_frames = 1,
        .panel_frames = 1,
        .key_frame = {BANDS_FRAME(1, 0)},
    };
    regimes_make(&bench->regimes, &bands);
}

static void run_tile(struct bench *bench, const struct shape *shape,
                     const struct attention_spans *spans, struct span queries, struct span keys,
                     bool backward)
{
    const int64_t wide = (int64_t)shape->group * shape->head_dim, width = shape->head_dim;
    const int64_t q = queries.first * wide, k = keys.first * width;
    const int64_t row = queries.first * shape->group;
    const struct attention_gradient_tile tile = {
        .spans = spans,
        .tokens = queries.end - queries.first,
        .keys = keys.end - keys.first,
        .group = shape->group,
        .head_dim = shape->head_dim,
        .scale_log2 = 1.442695f / sqrtf((float)width),
        .q = bench->q + q,
        .q_stride = wide,
        .k = bench->k + k,
        .k_stride = width,
        .v = bench->v + k,
        .v_stride = width,
        .scratch = bench->scratch,
    };
    const struct attention_gradient_state state = {.acc = bench->acc + q,
                                                   .acc_stride = wide,
                                                   .max = bench->max + row,
                                                   .sum = bench->sum + row,
                                                   .row_stride = shape->group};
    const struct attention_gradient_flow flow = {.dout = bench->dout + q,
                                                 .dout_stride = wide,
                                                 .logsumexp = bench->max + row,
                                                 .dot = bench->dot + row,
                                                 .row_stride = shape->group,
                                                 .dq = bench->dq + q,
                                                 .dk = bench->dk + k,
                                                 .dv = bench->dv + k};
    if (backward)
        bench->kernels->attention_gradient_backward(&tile, &flow);
    else
        bench->kernels->attention_gradient_forward(&tile, &state);
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void run(struct bench *bench, const struct shape *shape, bool backward)
{
    for (int64_t q = 0; q < shape->tokens; q += SIDE)
        for (int64_t k = 0; k < q + SIDE && k < shape->tokens; k += SIDE) {
            const struct span queries = {q, smaller(q + SIDE, shape->tokens)};
            const struct span keys = {k, smaller(k + SIDE, shape->tokens)};
            struct attention_spans spans;
            attention_spans_make(&spans, &bench->regimes, bench->positions, queries, keys);
            if (spans.count > 0)
                run_tile(bench, shape, &spans, queries, keys, backward);
        }
}

static double thread_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Forward, its end, and backward. */
static void measure(struct bench *bench, const struct shape *shape, double seconds[2])
{
    const int64_t rows = shape->tokens * shape->group;
    choose_bands(bench, shape->window);
    memset(bench->acc, 0, (size_t)(rows * shape->head_dim) * sizeof(float));
    memset(bench->sum, 0, (size_t)rows * sizeof(float));
    for (int64_t r = 0; r < rows; r++)
        bench->max[r] = -INFINITY;
    double start = thread_seconds();
    run(bench, shape, false);
    seconds[0] = thread_seconds() - start;
    bench->kernels->attention_gradient_finish(bench->acc, bench->max, bench->sum, rows,
                                              shape->head_dim);
    bench->kernels->attention_gradient_dots(bench->dot, bench->dout, bench->acc, rows,
                                            shape->head_dim);
    start = thread_seconds();
    run(bench, shape, true);
    seconds[1] = thread_seconds() - start;
}

static double gflop_of(const struct shape *shape, bool backward)
{
    double pairs = 0;
    for (int64_t t = 0; t < shape->tokens; t++)
        pairs += (double)(shape->window ? smaller(t + 1, shape->window) : t + 1);
    return 1e-9 * pairs * shape->group * shape->head_dim * (backward ? 10 : 4);
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double values[ROUNDS])
{
    qsort(values, ROUNDS, sizeof *values, by_value);
    return values[ROUNDS / 2];
}

int main(int argc, char **argv)
{
    static struct bench bench;
    static double times[SHAPES][2][ROUNDS], peaks[ROUNDS];
    bench.kernels = argc > 1 ? kernels_find(argv[1]) : kernels_best();
    if (!bench.kernels || !kernels_runs_here(bench.kernels)) {
        fprintf(stderr, "attention_gradient_bench: no such variant here: %s\n", argv[1]);
        return 1;
    }
    prepare(&bench);
    for (int round = 0; round < ROUNDS; round++) {
        peaks[round] = peak_gflops("reference");
        for (int s = 0; s < SHAPES; s++) {
            double seconds[2];
            measure(&bench, &shapes[s], seconds);
            times[s][0][round] = seconds[0];
            times[s][1][round] = seconds[1];
        }
    }
    const double peak = median(peaks);
    for (int s = 0; s < SHAPES; s++)
        for (int backward = 0; backward < 2; backward++) {
            const double seconds = median(times[s][backward]);
            const double gflops = gflop_of(&shapes[s], backward) / seconds;
            printf("{\"variant\": \"%s\", \"pass\": \"%s\", \"tokens\": %lld, \"group\": %d, "
                   "\"head_dim\": %d, \"window\": %lld, \"seconds\": %.6f, \"gflops\": %.1f, "
                   "\"peak_gflops\": %.1f, \"share\": %.3f, \"share_best\": %.3f}\n",
                   bench.kernels->name, backward ? "backward" : "forward",
                   (long long)shapes[s].tokens, shapes[s].group, shapes[s].head_dim,
                   (long long)shapes[s].window, seconds, gflops, peak, gflops / peak,
                   gflops / peak * seconds / times[s][backward][0]);
        }
    return 0;
}
