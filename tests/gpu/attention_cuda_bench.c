/* attention_cuda_bench [--portable] [--heads HEADS KV_HEADS] [TOKENS ...]
 *
 * Times the attention kernels on the GPU, bf16, head_dim 64 and 128: prefill of TOKENS tokens with
 * causal, STRING and LM-Infinite bands, and one decode step over TOKENS keys, shared out evenly
 * over as many splits as fill the device, much as the engine does; and that without the kernel that
 * makes one state of the splits' ("alone"). One JSON line each; FLOPs are those of the visible
 * pairs, 4 * head_dim a pair and head, and decode's bytes are those of the keys and values, beside
 * the copy rate measured in the same run. With --portable, the kernels that run on any device from
 * sm_80 on (and are compiled for). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels_cuda.h"
#include "tests/gpu/gpu_memory.h"
#include "tests/gpu/gpu_timing.h"
#include "tests/kernels/attention_case.h"

enum { SETS_MAX = 32, EXTENTS_MAX = 1024, FRAMES = 2 };

struct bench {
    const struct kernels_cuda *kernels;
    int heads, kv_heads, head_dim;
    int64_t tokens;
    const char *method;
    struct bands bands;
    struct regimes regimes;
    int sets;
    void *queries[SETS_MAX]; /* [FRAMES][tokens or 1, heads, head_dim] */
    void *records[SETS_MAX];
    void *sinks; /* one panel: K rotated and unrotated, V */
    void *out;
    /* decode */
    void *extents, *split_first, *index, *states;
    int splits;
    int64_t split_tokens;
    bool alone; /* without the kernel that makes one state of many */
};

static float scale_log2(const struct bench *bench)
{
    return 1.44269504f / sqrtf((float)bench->head_dim);
}

static size_t panel_bytes(const struct bench *bench)
{
    return 2 * attention_record_bytes(DTYPE_BF16, bench->kv_heads, bench->head_dim);
}

static size_t records_bytes(const struct bench *bench)
{
    return (size_t)((bench->tokens + PANEL_TOKENS - 1) / PANEL_TOKENS) * panel_bytes(bench);
}

/* The visible pairs of all queries [first, tokens). */
static double pairs_of(const struct bench *bench, int64_t first)
{
    double pairs = 0;
    for (int r = 0; r < bench->regimes.count; r++) {
        const struct regime *regime = &bench->regimes.list[r];
        for (int64_t i = first; i < bench->tokens; i++) {
            int64_t from = regime->key_first, end = i + 1 - regime->distance_first;
            if (regime->distance_end != BANDS_OPEN && i + 1 - regime->distance_end > from)
                from = i + 1 - regime->distance_end;
            end = end < regime->key_end ? end : regime->key_end;
            pairs += end > from ? (double)(end - from) : 0;
        }
    }
    return pairs;
}

static int prefill(void *context, int repeat)
{
    const struct bench *bench = context;
    const struct attention_extent extents[] = {
        {.records = bench->sinks,
         .end = bench->bands.sinks,
         .store = BANDS_SINKS,
         .panel_records = 3,
         .span_end = 1},
        {.records = bench->records[repeat % bench->sets],
         .end = bench->tokens,
         .panel_records = 2,
         .span_end = 1},
    };
    const struct attention_span span = {.tokens = bench->tokens};
    const struct kernels_cuda_prefill args = {
        .regimes = &bench->regimes,
        .extents = bench->bands.sinks > 0 ? extents : extents + 1,
        .extent_count = bench->bands.sinks > 0 ? 2 : 1,
        .spans = &span,
        .span_count = 1,
        .queries = bench->queries[repeat % bench->sets],
        .frame_stride = bench->tokens * bench->heads * bench->head_dim,
        .out = bench->out,
        .first = true,
        .last = true,
        .heads = bench->heads,
        .kv_heads = bench->kv_heads,
        .head_dim = bench->head_dim,
        .operand = DTYPE_BF16,
        .scale_log2 = scale_log2(bench),
    };
    return bench->kernels->attention_prefill(&args, NULL);
}

static int decode(void *context, int repeat)
{
    const struct bench *bench = context;
    const struct kernels_cuda_decode args = {
        .regimes = &bench->regimes,
        .bases = {bench->records[repeat % bench->sets], bench->sinks},
        .extents = bench->extents,
        .split_first = bench->split_first,
        .splits = bench->splits,
        .index = bench->index,
        .queries = bench->queries[repeat % bench->sets],
        .frame_stride = (int64_t)bench->heads * bench->head_dim,
        .states = bench->states,
        .rows = 1,
        .heads = bench->heads,
        .kv_heads = bench->kv_heads,
        .head_dim = bench->head_dim,
        .operand = DTYPE_BF16,
        .scale_log2 = scale_log2(bench),
    };
    const struct kernels_cuda_combine combine = {
        .states = bench->states,
        .count = bench->splits,
        .out = bench->out,
        .out_dtype = DTYPE_BF16,
        .rows = 1,
        .heads = bench->heads,
        .head_dim = bench->head_dim,
    };
    const int error = bench->kernels->attention_decode(&args, NULL);
    return error || bench->alone ? error : bench->kernels->attention_combine(&combine, NULL);
}

static void print_line(const struct bench *bench, const char *what, struct gpu_timing timing,
                       const char *rate, double value)
{
    printf("{\"bench\": \"%s\", \"method\": \"%s\", \"head_dim\": %d, \"tokens\": %lld, \"heads\": "
           "%d, \"kv_heads\": %d, \"dtype\": \"bf16\", \"median_ms\": %.4f, \"least_ms\": %.4f, "
           "\"most_ms\": %.4f, \"repeats\": %d, \"%s\": %.4g}\n",
           what, bench->method, bench->head_dim, (long long)bench->tokens, bench->heads,
           bench->kv_heads, timing.median_ms, timing.least_ms, timing.most_ms, timing.repeats, rate,
           value);
    fflush(stdout);
}

static void release(struct bench *bench)
{
    for (int s = 0; s < bench->sets; s++) {
        gpu_timing_free(bench->queries[s]);
        gpu_timing_free(bench->records[s]);
    }
    gpu_timing_free(bench->out);
    gpu_timing_free(bench->sinks);
}

static void take(struct bench *bench, int64_t rows)
{
    const size_t row_bytes = (size_t)(bench->heads * bench->head_dim) * 2;
    const size_t queries = FRAMES * (size_t)rows * row_bytes;
    bench->sets = gpu_timing_sets(queries + records_bytes(bench));
    for (int s = 0; s < bench->sets; s++) {
        bench->queries[s] = gpu_timing_numbers(queries, 1);
        bench->records[s] = gpu_timing_numbers(records_bytes(bench), 1);
    }
    bench->out = gpu_timing_memory((size_t)rows * row_bytes);
    bench->sinks = gpu_timing_numbers(2 * panel_bytes(bench), 1);
}

static void bench_prefill(struct bench *bench)
{
    take(bench, bench->tokens);
    const struct gpu_timing timing = gpu_timing_of(prefill, bench, 0.5);
    const double operations = 4.0 * bench->head_dim * bench->heads * pairs_of(bench, 0);
    print_line(bench, "attention_prefill", timing, "tflops",
               operations / (timing.median_ms * 1e-3) * 1e-12);
    release(bench);
}

/* The first key that the last token sees beside the sinks, or one a little before it. */
static int64_t first_seen(const struct bench *bench)
{
    const int64_t reach = bands_reach(&bench->bands), last = bench->tokens - 1;
    return reach == BANDS_OPEN || reach > last ? 0
                                               : (last - reach + 1) / PANEL_TOKENS * PANEL_TOKENS;
}

/* So many that as many splits as fill the device share the keys. */
static int64_t even_tokens(const struct bench *bench)
{
    const int splits =
        kernels_cuda_decode_splits(gpu_memory_processors(), bench->kv_heads, bench->head_dim);
    const int64_t tokens = (bench->tokens - first_seen(bench) + splits - 1) / splits;
    return (tokens + PANEL_TOKENS - 1) / PANEL_TOKENS * PANEL_TOKENS;
}

/* A split for each split_tokens visible tokens, and one for the sinks. */
static void cut(struct bench *bench)
{
    static struct kernels_cuda_extent extents[EXTENTS_MAX];
    static int32_t split_first[EXTENTS_MAX + 1];
    const int64_t last = bench->tokens - 1;
    int64_t first = first_seen(bench);
    int count = 0;
    if (bench->bands.sinks > 0)
        extents[count++] = (struct kernels_cuda_extent){
            .end = bench->bands.sinks, .store = BANDS_SINKS, .base = 1, .panel_records = 3};
    while (first < bench->tokens && count < EXTENTS_MAX) {
        const int64_t end = first + bench->split_tokens < bench->tokens
                                ? first + bench->split_tokens
                                : bench->tokens;
        extents[count++] = (struct kernels_cuda_extent){
            .record = 2 * (first / PANEL_TOKENS), .first = first, .end = end, .panel_records = 2};
        first = end;
    }
    for (int s = 0; s <= count; s++)
        split_first[s] = s;
    bench->splits = count;
    bench->extents = gpu_memory_create((size_t)count * sizeof *extents, extents, 0).at;
    bench->split_first =
        gpu_memory_create((size_t)(count + 1) * sizeof *split_first, split_first, 0).at;
    bench->index = gpu_memory_create(sizeof last, &last, 0).at;
}

static void time_decode(struct bench *bench, const char *what, double copy_rate)
{
    const double bytes = pairs_of(bench, bench->tokens - 1) * 4 * bench->kv_heads * bench->head_dim;
    const struct gpu_timing timing = gpu_timing_of(decode, bench, 0.2);
    print_line(bench, what, timing, "share_of_copy_rate",
               bytes / (timing.median_ms * 1e-3) / copy_rate);
}

static void bench_decode(struct bench *bench, double copy_rate)
{
    take(bench, 1);
    bench->split_tokens = even_tokens(bench);
    cut(bench);
    bench->states =
        gpu_timing_memory((size_t)(bench->splits * bench->heads * (bench->head_dim + 2)) * 4);
    time_decode(bench, "attention_decode", copy_rate);
    bench->alone = true;
    time_decode(bench, "attention_decode_alone", copy_rate);
    gpu_timing_free(bench->states);
    release(bench);
}

static void bench_all(const struct bench *shape, double copy_rate)
{
    const int64_t third = shape->tokens / 3 / PANEL_TOKENS * PANEL_TOKENS;
    for (int method = 0; method < 3; method++) {
        struct bench bench = *shape;
        bench.method = method == 0 ? "rope" : method == 1 ? "string" : "lm_infinite";
        bench.bands = method == 0   ? attention_case_rope()
                      : method == 1 ? attention_case_string(third > 0 ? third : 1, 128)
                                    : attention_case_lm_infinite(4096, 10, 4096);
        regimes_make(&bench.regimes, &bench.bands);
        bench_prefill(&bench);
        bench_decode(&bench, copy_rate);
    }
}

int main(int count, char **arguments)
{
    static const char *usual[] = {"8192", "32768", "131072"};
    const char *const *tokens = usual;
    int token_counts = 3, first = 1, heads = 32, kv_heads = 8;
    const struct kernels_cuda *kernels = kernels_cuda_find();
    if (count > first && strcmp(arguments[first], "--portable") == 0) {
        kernels = kernels_cuda_find_portable();
        first++;
    }
    if (count > first + 2 && strcmp(arguments[first], "--heads") == 0) {
        heads = atoi(arguments[first + 1]);
        kv_heads = atoi(arguments[first + 2]);
        first += 3;
    }
    if (count > first) {
        tokens = (const char *const *)arguments + first;
        token_counts = count - first;
    }
    if (heads < 1 || kv_heads < 1 || heads % kv_heads != 0) {
        fprintf(stderr,
                "attention_cuda_bench [--portable] [--heads HEADS KV_HEADS] [TOKENS ...]\n");
        return 2;
    }
    if (!gpu_memory_present())
        return GPU_ABSENT;
    const double copy_rate = gpu_timing_copy_rate(count > first ? 64 << 20 : 1 << 30);
    printf("{\"bench\": \"copy\", \"bytes_per_second\": %.4g}\n", copy_rate);
    for (int n = 0; n < token_counts; n++)
        for (int head_dim = 64; head_dim <= 128; head_dim *= 2) {
            const struct bench shape = {.kernels = kernels,
                                        .heads = heads,
                                        .kv_heads = kv_heads,
                                        .head_dim = head_dim,
                                        .tokens = atoll(tokens[n])};
            if (shape.tokens < 1)
                return 2;
            bench_all(&shape, copy_rate);
        }
    return 0;
}
