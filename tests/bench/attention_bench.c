/* attention_bench [VARIANT [HEAD_DIM [KEYS [HEADS [KV_HEADS [THREADS [int8]]]]]]]
 *
 * Times causal prefill of KEYS tokens and one decode step over KEYS keys with THREADS threads, and
 * prints one JSON line for each, beside the probes of peak.h taken in the same run on as many
 * threads. Rates are per second of processor time, times the threads. FLOPs are those of the
 * visible pairs, 4 * head_dim a pair and head. */
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "tests/bench/bench_memory.h"
#include "tests/bench/peak.h"

enum { THREADS_MAX = 64 };

struct bench {
    const struct kernels *kernels;
    int64_t tokens;
    int heads, kv_heads, head_dim, threads;
    struct regimes regimes;
    char *queries; /* [tokens, heads, head_dim] */
    char *panels;
    float *acc, *max, *sum; /* [tokens, heads, ...] */
    void *scratch[THREADS_MAX];
    atomic_int next; /* work item */
    bool decode;
};

static float noise(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (float)((double)(*state >> 11) * 0x1p-53 * 2 - 1);
}

static size_t panel_bytes(const struct bench *bench)
{
    return 2 * attention_record_bytes(bench->kernels->cache, bench->kv_heads, bench->head_dim);
}

static void fill(struct bench *bench)
{
    uint64_t state = 1;
    size_t width = (size_t)bench->heads * (size_t)bench->head_dim;
    bool wide = bench->kernels->operand == DTYPE_F32;
    bench->queries = bench_memory((size_t)bench->tokens * width * 4);
    for (size_t i = 0; i < (size_t)bench->tokens * width; i++) {
        float value = noise(&state) * 2;
        uint16_t half = dtype_bf16_from_f32(value);
        memcpy(bench->queries + i * (wide ? 4 : 2), wide ? (void *)&value : (void *)&half,
               wide ? 4 : 2);
    }
    bench->panels = bench_memory((size_t)(bench->tokens / PANEL_TOKENS) * panel_bytes(bench));
    size_t kv_width = (size_t)bench->kv_heads * (size_t)bench->head_dim;
    float *keys = bench_memory(kv_width * 4), *values = bench_memory(kv_width * 4);
    for (int64_t t = 0; t < bench->tokens; t++) {
        for (size_t i = 0; i < kv_width; i++) {
            keys[i] = noise(&state) * 2;
            values[i] = noise(&state);
        }
        char *panel = bench->panels + (size_t)(t / PANEL_TOKENS) * panel_bytes(bench);
        bench->kernels->attention_store_keys(panel, t % PANEL_TOKENS, keys, bench->kv_heads,
                                             bench->head_dim);
        bench->kernels->attention_store_values(panel + panel_bytes(bench) / 2, t % PANEL_TOKENS,
                                               values, bench->kv_heads, bench->head_dim);
    }
    free(keys);
    free(values);
    bench->acc = bench_memory((size_t)bench->tokens * width * 4);
    bench->max = bench_memory((size_t)bench->tokens * (size_t)bench->heads * 4);
    bench->sum = bench_memory((size_t)bench->tokens * (size_t)bench->heads * 4);
}

static struct attention_args item_args(struct bench *bench, int kv_head, int64_t first,
                                       int64_t tokens, void *scratch)
{
    int group = bench->heads / bench->kv_heads;
    int64_t row = first * bench->heads + (int64_t)kv_head * group;
    int64_t width = (int64_t)bench->heads * bench->head_dim;
    return (struct attention_args){
        .acc = bench->acc + row * bench->head_dim,
        .max = bench->max + row,
        .sum = bench->sum + row,
        .acc_stride = width,
        .row_stride = bench->heads,
        .queries =
            bench->queries + row * bench->head_dim * (bench->kernels->operand == DTYPE_F32 ? 4 : 2),
        .frame_stride = bench->tokens * width,
        .query_stride = width,
        .query_first = first,
        .tokens = tokens,
        .kv_heads = bench->decode ? bench->kv_heads : 1,
        .group = group,
        .head_dim = bench->head_dim,
        .panels = bench->panels +
                  (size_t)kv_head * attention_head_bytes(bench->kernels->cache, bench->head_dim),
        .record_stride = panel_bytes(bench) / 2,
        .panel_stride = panel_bytes(bench),
        .key_end = first + tokens,
        .regimes = &bench->regimes,
        .scale_log2 = 1.44269504f / sqrtf((float)bench->head_dim),
        .scratch = scratch,
    };
}

struct thread {
    struct bench *bench;
    void *(*body)(void *);
    int index;
    double rate;    /* of a probe */
    double seconds; /* of processor time */
};

/* Tiles of queries of one KV head, the longest first, for whoever is free. */
static void prefill_tiles(struct bench *bench, void *scratch)
{
    int64_t step = attention_query_tokens(bench->heads / bench->kv_heads);
    int64_t tiles = (bench->tokens + step - 1) / step;
    for (;;) {
        int item = atomic_fetch_add(&bench->next, 1);
        if (item >= tiles * bench->kv_heads)
            return;
        int64_t first = (tiles - 1 - item / bench->kv_heads) * step;
        int64_t left = bench->tokens - first;
        struct attention_args args =
            item_args(bench, item % bench->kv_heads, first, left < step ? left : step, scratch);
        bench->kernels->attention_prefill(&args);
    }
}

/* A thread's part of the keys, by all heads; a model would merge the states. Part n's state lies n
 * rows before the last one. */
static void decode_part(struct bench *bench, int part, void *scratch)
{
    struct attention_args args = item_args(bench, 0, bench->tokens - 1, 1, scratch);
    int64_t panels = bench->tokens / PANEL_TOKENS;
    args.key_first = panels * part / bench->threads * PANEL_TOKENS;
    args.key_end = panels * (part + 1) / bench->threads * PANEL_TOKENS;
    args.panels =
        (const char *)args.panels + (size_t)(args.key_first / PANEL_TOKENS) * args.panel_stride;
    args.acc -= part * args.acc_stride;
    args.max -= part * args.row_stride;
    args.sum -= part * args.row_stride;
    bench->kernels->attention_decode(&args);
}

static void *work(void *context)
{
    struct thread *thread = context;
    void *scratch = thread->bench->scratch[thread->index];
    double start = peak_thread_seconds();
    if (thread->bench->decode)
        decode_part(thread->bench, thread->index, scratch);
    else
        prefill_tiles(thread->bench, scratch);
    thread->seconds = peak_thread_seconds() - start;
    return NULL;
}

static void *probe(void *context)
{
    struct thread *thread = context;
    thread->rate = peak_gflops(thread->bench->kernels->name);
    return NULL;
}

static void *probe_read(void *context)
{
    struct thread *thread = context;
    const struct bench *bench = thread->bench;
    size_t part = (size_t)(bench->tokens / PANEL_TOKENS) * panel_bytes(bench) /
                  (size_t)bench->threads / 64 * 64;
    thread->rate = peak_read_gbytes(bench->panels + (size_t)thread->index * part, part);
    return NULL;
}

/* The index-th processor that the process may use, as the engine pins its threads. */
static void pin(int index)
{
    cpu_set_t allowed, one;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0 || CPU_COUNT(&allowed) == 0)
        return;
    int skip = index % CPU_COUNT(&allowed);
    int cpu = 0;
    while (!CPU_ISSET(cpu, &allowed) || skip-- > 0)
        cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    (void)pthread_setaffinity_np(pthread_self(), sizeof one, &one);
}

static void *pinned(void *context)
{
    struct thread *thread = context;
    pin(thread->index);
    return thread->body(context);
}

/* Runs `body` on all threads; processor seconds a thread. The rates that they measured are added
 * up. */
static double on_threads(struct bench *bench, void *(*body)(void *), double *rate)
{
    pthread_t handles[THREADS_MAX];
    struct thread threads[THREADS_MAX];
    atomic_store(&bench->next, 0);
    double seconds = 0;
    for (int t = 0; t < bench->threads; t++) {
        threads[t] = (struct thread){.bench = bench, .body = body, .index = t};
        if (pthread_create(&handles[t], NULL, pinned, &threads[t]) != 0)
            exit(1);
    }
    *rate = 0;
    for (int t = 0; t < bench->threads; t++) {
        pthread_join(handles[t], NULL);
        *rate += threads[t].rate;
        seconds += threads[t].seconds;
    }
    return seconds / bench->threads;
}

static void reset(struct bench *bench)
{
    size_t rows = (size_t)bench->tokens * (size_t)bench->heads;
    memset(bench->acc, 0, rows * (size_t)bench->head_dim * 4);
    memset(bench->sum, 0, rows * 4);
    for (size_t r = 0; r < rows; r++)
        bench->max[r] = -INFINITY;
}

static const char *cache_name(const struct bench *bench)
{
    return bench->kernels->cache == DTYPE_INT8 ? "int8" : dtype_name(bench->kernels->cache);
}

static void run_prefill(struct bench *bench)
{
    double peak, unused, best = 1e9, sum = 0;
    enum { REPEATS = 12 };
    bench->decode = false;
    for (int i = 0; i < REPEATS; i++) {
        reset(bench);
        double seconds = on_threads(bench, work, &unused);
        best = seconds < best ? seconds : best;
        sum += seconds;
    }
    on_threads(bench, probe, &peak);
    double pairs = (double)bench->tokens * (double)(bench->tokens + 1) / 2;
    double gflop = 4e-9 * pairs * bench->heads * bench->head_dim;
    printf("{\"bench\": \"attention_prefill\", \"kernels\": \"%s\", \"cache\": \"%s\", "
           "\"head_dim\": %d, "
           "\"heads\": "
           "%d, \"kv_heads\": %d, \"keys\": %lld, \"threads\": %d, \"gflops_best\": %.1f, "
           "\"gflops_mean\": %.1f, \"peak_gflops\": %.1f, \"share\": %.3f}\n",
           bench->kernels->name, cache_name(bench), bench->head_dim, bench->heads, bench->kv_heads,
           (long long)bench->tokens, bench->threads, gflop / best, gflop * REPEATS / sum, peak,
           gflop / best / peak);
}

static void run_decode(struct bench *bench)
{
    double peak, read, unused, best = 1e9;
    enum { REPEATS = 20 };
    bench->decode = true;
    on_threads(bench, probe_read, &peak);
    for (int i = 0; i < REPEATS; i++) {
        reset(bench);
        double seconds = on_threads(bench, work, &unused);
        best = seconds < best ? seconds : best;
        on_threads(bench, probe_read, &read);
        peak = read > peak ? read : peak;
    }
    double bytes = (double)(bench->tokens / PANEL_TOKENS) * (double)panel_bytes(bench);
    printf("{\"bench\": \"attention_decode\", \"kernels\": \"%s\", \"cache\": \"%s\", "
           "\"head_dim\": %d, "
           "\"heads\": "
           "%d, \"kv_heads\": %d, \"keys\": %lld, \"threads\": %d, \"gbytes_best\": %.1f, "
           "\"read_peak_gbytes\": %.1f, \"share\": %.3f}\n",
           bench->kernels->name, cache_name(bench), bench->head_dim, bench->heads, bench->kv_heads,
           (long long)bench->tokens, bench->threads, bytes / best * 1e-9, peak,
           bytes / best * 1e-9 / peak);
}

int main(int argc, char **argv)
{
    struct bench bench = {
        .kernels = argc > 1 ? kernels_find(argv[1]) : kernels_best(),
        .head_dim = argc > 2 ? atoi(argv[2]) : 64,
        .tokens = argc > 3 ? atoi(argv[3]) / PANEL_TOKENS * PANEL_TOKENS : 8192,
        .heads = argc > 4 ? atoi(argv[4]) : 9,
        .kv_heads = argc > 5 ? atoi(argv[5]) : 3,
        .threads = argc > 6 ? atoi(argv[6]) : 2,
        .regimes = {.count = 1,
                    .list = {{.query_end = BANDS_OPEN,
                              .key_end = BANDS_OPEN,
                              .unit = 1,
                              .distance_end = BANDS_OPEN}}},
    };
    if (bench.kernels && argc > 7 && strcmp(argv[7], "int8") == 0)
        bench.kernels = kernels_int8(bench.kernels);
    if (!bench.kernels || !kernels_runs_here(bench.kernels) || bench.tokens <= 0 ||
        bench.threads < 1 || bench.threads > THREADS_MAX) {
        fprintf(stderr, "attention_bench: no such variant here, or a bad number\n");
        return 64;
    }
    struct kernels_limits limits = {.rows = KERNELS_ROWS_MAX,
                                    .width_max = (int64_t)bench.heads * bench.head_dim,
                                    .head_dim = bench.head_dim,
                                    .group = bench.heads / bench.kv_heads};
    for (int t = 0; t < bench.threads; t++)
        bench.scratch[t] = bench_memory(bench.kernels->scratch_bytes(&limits));
    fill(&bench);
    run_prefill(&bench);
    run_decode(&bench);
    return 0;
}
