/* model_cuda_bench [--standin] [--tiny] [TOKENS ...]
 *
 * Times a random model of Llama 3.1 8B's shape, bf16, on one GPU, through the engine as a worker
 * runs it: prefill of TOKENS tokens (32768 and 131072) and decode behind it. Each prompt runs
 * twice: as always, for the rates, and with its parts timed by events on the device, for where the
 * time goes; a timed token is not replayed from a recording, so its parts add up to more. One JSON
 * line a case, and one that begins with "table" for the table of tests/gpu/run.
 *
 * FLOPs are those of the products and of the visible pairs of attention; a token's bytes are those
 * of the weights but for the embedding, and of the cached keys and values.
 *
 * --tiny takes a small shape, --standin the device that stands in for a GPU: together they show
 * that the program works, and no more. The weights, 16 GB, are made in the host's memory first.
 *
 * Exit codes: 0, 1 after a failure, 2 usage, 77 where there is no GPU. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/clock.h"
#include "proto/log.h"
#include "proto/model/model.h"
#include "tests/support/engine_ranks.h"
#include "tests/support/standin.h"
#include "tests/support/tiny_model.h"
#include "worker/engine/device/cuda_find.h"
#include "worker/engine/transport/transport_loopback.h"

enum { ANSWER = 33, TOKENS_MOST = 1 << 20, EXIT_NO_GPU = 77 };

struct bench {
    const char *name;
    struct tiny_model_shape shape;
    struct transport *transport;
    struct cuda_streams streams;
    struct engine *engine;
    int32_t *ids;           /* [TOKENS_MOST] */
    int64_t context_tokens; /* of the longest case, its answer included */
};

static const struct tiny_model_shape llama_8b = {
    .layers = 32,
    .hidden = 4096,
    .heads = 32,
    .kv_heads = 8,
    .head_dim = 128,
    .ffn = 14336,
    .vocab = 128256,
    .context = 131072 + ANSWER,
    .rope_base = 500000,
    .untied = true,
    .no_tokenizer = true,
    .distinct_rows = 127, /* so no head begins as another one does */
};

static const struct tiny_model_shape tiny = {
    .layers = 2,
    .hidden = 64,
    .heads = 4,
    .kv_heads = 2,
    .head_dim = 16,
    .ffn = 96,
    .vocab = 700,
    .untied = true,
    .no_tokenizer = true,
    .distinct_rows = 61,
};

/* ---- what a case costs ---- */

/* Numbers in the matrices of all layers. */
static double layer_weights(const struct tiny_model_shape *shape)
{
    const double queries = (double)shape->heads * shape->head_dim;
    const double keys = (double)shape->kv_heads * shape->head_dim;
    return shape->layers * shape->hidden * (2 * queries + 2 * keys + 3.0 * shape->ffn);
}

static double prefill_operations(const struct tiny_model_shape *shape, double tokens)
{
    const double pairs = tokens * (tokens + 1) / 2;
    return 2 * tokens * layer_weights(shape) +
           4 * pairs * shape->layers * shape->heads * shape->head_dim;
}

static double token_bytes(const struct tiny_model_shape *shape, double tokens)
{
    const double output = (double)shape->vocab * shape->hidden;
    const double cached = tokens * shape->layers * 2 * shape->kv_heads * shape->head_dim;
    return 2 * (layer_weights(shape) + output + cached);
}

/* ---- running ---- */

static enum status load(struct bench *bench, const struct engine_gpus *gpus)
{
    struct gguf_writer file = {0};
    struct model *model;
    const int64_t start_ns = clock_now_ns();
    enum status status = STATUS_OK;
    tiny_model_build(&file, &bench->shape, 8, DTYPE_BF16);
    const double made = clock_seconds_since(start_ns);
    TRY_ELSE(transport_loopback_create_group(&bench->transport, 1, NULL), end);
    TRY_ELSE(cuda_streams_open(&bench->streams, gpus->runtime, gpus->kernels, 0, 1, false), end);
    TRY_ELSE(model_parse(&model, file.data, file.bytes, bench->name), end);
    const struct engine_options options =
        engine_ranks_options(NULL, bench->context_tokens, bench->transport, &bench->streams);
    status = engine_create(&bench->engine, model, bench->transport, &options);
    model_close(model);
    printf("{\"bench\": \"model load\", \"model\": \"%s\", \"bytes\": %zu, \"made_seconds\": %.2f, "
           "\"load_seconds\": %.2f, \"gpu\": \"%s\"}\n",
           bench->name, file.bytes, made, clock_seconds_since(start_ns) - made,
           bench->streams.facts.name);
    fflush(stdout);
end:
    gguf_writer_free(&file);
    return status;
}

static void unload(struct bench *bench)
{
    engine_destroy(bench->engine);
    cuda_streams_close(&bench->streams);
    transport_destroy(bench->transport);
}

/* A prompt and its answer; *result is rank 0's. */
static enum status answer(const struct bench *bench, struct engine_result *result, int64_t tokens,
                          bool times_parts)
{
    struct engine_outcome outcome;
    const struct engine_case wanted = {
        .kind = ENGINE_GENERATE,
        .ids = bench->ids,
        .count = tokens,
        .max_tokens = ANSWER,
        .times_parts = times_parts,
    };
    engine_outcome_init(&outcome, &wanted);
    enum status status = engine_ranks_request(bench->engine, bench->transport, &wanted, &outcome);
    *result = outcome.results[0];
    engine_outcome_free(&outcome);
    return status;
}

static void print_parts(const struct engine_result *timed)
{
    static const char *const names[DEVICE_PARTS] = {
        [DEVICE_PART_ROWS] = "rows",          [DEVICE_PART_ATTEND] = "attend",
        [DEVICE_PART_HEAD] = "head",          [DEVICE_PART_STEP_QKV] = "qkv",
        [DEVICE_PART_STEP_ATTEND] = "attend", [DEVICE_PART_STEP_OUTPUT] = "output",
        [DEVICE_PART_STEP_GATE] = "gate",     [DEVICE_PART_STEP_DOWN] = "down",
        [DEVICE_PART_STEP_LOGITS] = "logits",
    };
    const char *separator = "\"prefill_parts_seconds\": {";
    for (int part = 0; part < DEVICE_PART_STEP_QKV; part++, separator = ", ")
        printf("%s\"%s\": %.4f", separator, names[part], timed->part_seconds[part]);
    separator = "}, \"token_parts_ms\": {";
    for (int part = DEVICE_PART_STEP_QKV; part < DEVICE_PARTS; part++, separator = ", ")
        printf("%s\"%s\": %.4f", separator, names[part],
               1e3 * timed->part_seconds[part] / (ANSWER - 1));
    printf("}}\n");
}

static enum status run_case(const struct bench *bench, int64_t tokens)
{
    struct engine_result plain, timed;
    TRY(answer(bench, &plain, tokens, false));
    TRY(answer(bench, &timed, tokens, true));
    const double token_seconds = plain.decode_seconds / (ANSWER - 1);
    const double rate =
        prefill_operations(&bench->shape, (double)tokens) / plain.prefill_seconds * 1e-12;
    const double bytes = token_bytes(&bench->shape, (double)tokens) / token_seconds;
    printf("{\"bench\": \"model\", \"model\": \"%s\", \"tokens\": %lld, \"prefill_seconds\": %.4f, "
           "\"prefill_tflops\": %.4g, \"token_ms\": %.4f, \"token_bytes_per_second\": %.4g, "
           "\"memory_bytes\": %lld, \"timed_prefill_seconds\": %.4f, \"timed_token_ms\": %.4f, ",
           bench->name, (long long)tokens, plain.prefill_seconds, rate, 1e3 * token_seconds, bytes,
           (long long)plain.memory_bytes, timed.prefill_seconds,
           1e3 * timed.decode_seconds / (ANSWER - 1));
    print_parts(&timed);
    printf("table %s, %lld tokens: prefill %.2f s, %.0f TFLOP/s, attention %.0f %%; a token %.2f "
           "ms, %.0f GB/s\n",
           bench->name, (long long)tokens, plain.prefill_seconds, rate,
           100 * timed.part_seconds[DEVICE_PART_ATTEND] / timed.prefill_seconds,
           1e3 * token_seconds, bytes * 1e-9);
    fflush(stdout);
    return STATUS_OK;
}

static void draw_ids(struct bench *bench)
{
    uint32_t random = 12345;
    for (int64_t i = 0; i < TOKENS_MOST; i++) {
        random = random * 1664525u + 1013904223u;
        bench->ids[i] = (int32_t)((random >> 8) % (uint32_t)bench->shape.vocab);
    }
}

static enum status run(struct bench *bench, const struct engine_gpus *gpus,
                       const char *const *tokens, int count)
{
    draw_ids(bench);
    for (int n = 0; n < count; n++)
        if (atoll(tokens[n]) + ANSWER > bench->context_tokens)
            bench->context_tokens = atoll(tokens[n]) + ANSWER;
    enum status status = load(bench, gpus);
    for (int n = 0; n < count && status == STATUS_OK; n++)
        status = run_case(bench, atoll(tokens[n]));
    unload(bench);
    return status;
}

static int usage(void)
{
    fprintf(stderr, "model_cuda_bench [--standin] [--tiny] [TOKENS ...], 1 to %d\n",
            TOKENS_MOST - ANSWER);
    return 2;
}

int main(int argc, char **argv)
{
    static const char *const usual[] = {"32768", "131072"};
    struct engine_gpus gpus = {standin_runtime(), standin_kernels(), standin_nccl()};
    struct bench bench = {.name = "8B shape", .shape = llama_8b};
    bool standin = false;
    int first = 1;
    for (; first < argc && argv[first][0] == '-'; first++) {
        if (strcmp(argv[first], "--standin") == 0) {
            standin = true;
        } else if (strcmp(argv[first], "--tiny") == 0) {
            bench.name = "tiny shape";
            bench.shape = tiny;
        } else {
            return usage();
        }
    }
    for (int n = first; n < argc; n++)
        if (atoll(argv[n]) < 1 || atoll(argv[n]) > TOKENS_MOST - ANSWER)
            return usage();
    log_configure(LOG_WARN, -1);
    if (!standin && cuda_find(&gpus.runtime, &gpus.kernels) != STATUS_OK) {
        fprintf(stderr, "%s\n", status_message());
        return EXIT_NO_GPU;
    }
    bench.ids = malloc(TOKENS_MOST * sizeof *bench.ids);
    enum status status = STATUS_RESOURCE_EXHAUSTED;
    if (bench.ids)
        status = run(&bench, &gpus, first < argc ? (const char *const *)argv + first : usual,
                     first < argc ? argc - first : 2);
    if (status != STATUS_OK)
        fprintf(stderr, "model_cuda_bench: %s: %s\n", status_name(status), status_message());
    free(bench.ids);
    return status == STATUS_OK ? 0 : 1;
}
