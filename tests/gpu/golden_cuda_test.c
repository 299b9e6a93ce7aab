/* The real model on a GPU against the reference values (tests/ranks/data/golden_logits.json),
 * within the budget of bf16, and the most likely id wherever the reference's margin is above 0.5;
 * no library is needed to read them.
 *
 * golden_cuda_test MODEL [TOKENS [standin]]: texts of at most TOKENS tokens; `standin` computes on
 * the device that stands in for a GPU, which checks the host's side of it where there is none.
 *
 * Exit codes: 0, 1 after a failure, 77 where there is no GPU. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/log.h"
#include "proto/model/model.h"
#include "tests/support/engine_ranks.h"
#include "tests/support/golden_tolerance.h"
#include "tests/support/standin.h"
#include "worker/engine/device/cuda_find.h"
#include "worker/engine/transport/transport_loopback.h"

enum { IDS_MOST = 1024, EXIT_NO_GPU = 77 };

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    char *text = NULL;
    if (file && fseek(file, 0, SEEK_END) == 0) {
        const long bytes = ftell(file);
        text = bytes > 0 ? calloc((size_t)bytes + 1, 1) : NULL;
        rewind(file);
        if (text && fread(text, 1, (size_t)bytes, file) != (size_t)bytes)
            *text = '\0';
    }
    if (file)
        fclose(file);
    return text;
}

/* The numbers of the array that starts at `[`. */
static int read_numbers(const char *at, double numbers[IDS_MOST])
{
    int count = 0;
    while (*at == '[' || *at == ',') {
        char *end;
        const double number = strtod(at + 1, &end);
        if (end == at + 1 || count == IDS_MOST)
            break;
        numbers[count++] = number;
        at = end;
    }
    return count;
}

/* A method's object as the command line spells it; LM-Infinite without sinks is called window. */
static void spell(char text[128], const char *at)
{
    char name[32] = "";
    const char *separator = ":";
    int used;
    sscanf(at, "{\"name\":\"%31[a-z_]\"", name);
    const bool window = strcmp(name, "window") == 0;
    used = snprintf(text, 128, "%s", window ? "lm_infinite:sinks=0" : name);
    if (window)
        separator = ",";
    for (at = strchr(at + 1, ','); at && at < strchr(at, '}'); at = strchr(at + 1, ',')) {
        char key[32];
        double value;
        if (sscanf(at, ",\"%31[a-z_]\":%lf", key, &value) != 2)
            break;
        used += snprintf(text + used, (size_t)(128 - used), "%s%s=%.9g", separator, key, value);
        separator = ",";
    }
}

/* ---- one text by one method ---- */

struct golden {
    struct engine *engine;
    struct transport *transport;
    struct cuda_streams streams;
    int failed; /* comparisons */
};

static bool ask(const struct golden *golden, struct engine_outcome *outcome,
                const struct engine_case *wanted)
{
    engine_outcome_init(outcome, wanted);
    if (engine_ranks_request(golden->engine, golden->transport, wanted, outcome) == STATUS_OK)
        return true;
    fprintf(stderr, "%s: %s\n", wanted->method, status_message());
    return false;
}

static const struct golden_tolerance *tolerance_of(const struct engine_case *wanted)
{
    return golden_tolerance_of(GOLDEN_BF16_PRODUCTS, wanted->count, wanted->method);
}

static bool scores_agree(const struct golden *golden, const struct engine_case *wanted,
                         const double *expected, int count)
{
    struct engine_outcome outcome;
    double worst = INFINITY;
    double squares = 0;
    if (ask(golden, &outcome, wanted)) {
        worst = 0;
        for (int t = 0; t < count; t++) {
            const double off = fabs((double)outcome.logprobs[t] - expected[t]);
            worst = off <= worst ? worst : off; /* a NaN is worst */
            squares += off * off;
        }
    }
    const double rms = sqrt(squares / count);
    engine_outcome_free(&outcome);
    printf("  %4lld tokens, %-52s worst %.3f rms %.4f\n", (long long)wanted->count, wanted->method,
           worst, rms);
    const struct golden_tolerance *allowed = tolerance_of(wanted);
    return worst <= allowed->token && rms <= allowed->rms;
}

/* Numbers behind "name": in the result at `at`. */
static int read_named(const char *at, const char *name, double numbers[IDS_MOST])
{
    return read_numbers(strstr(at, name) + strlen(name), numbers);
}

/* Every greedy choice of the reference whose margin is large enough, each behind the reference's
 * own ids: an answer that leaves them at a near tie is begun again behind it. `ids` has room for
 * the answer behind the prompt. */
static bool answer_agrees(const struct golden *golden, struct engine_case wanted, int32_t *ids,
                          const char *at)
{
    static double greedy[IDS_MOST], margins[IDS_MOST];
    const int count = read_named(at, "\"greedy_ids\":", greedy);
    const int64_t prompt = wanted.count;
    const double margin_least = tolerance_of(&wanted)->margin;
    int checked = 0, wrong = 0;
    read_named(at, "\"greedy_margins\":", margins);
    wanted.kind = ENGINE_GENERATE;
    for (int next = 0; next < count;) {
        struct engine_outcome outcome;
        bool follows = true;
        const int first = next;
        wanted.count = prompt + first;
        wanted.max_tokens = count - first;
        const bool answered = ask(golden, &outcome, &wanted);
        for (; next < count && follows; next++) {
            follows = answered && outcome.ids[next - first] == (int32_t)greedy[next];
            ids[prompt + next] = (int32_t)greedy[next];
            checked += margins[next] > margin_least;
            wrong += margins[next] > margin_least && !follows;
        }
        engine_outcome_free(&outcome);
    }
    printf("  %4lld tokens, %-52s %d of %d greedy choices agree\n", (long long)prompt,
           wanted.method, checked - wrong, checked);
    return wrong == 0;
}

/* Every result of the text at `at`, up to the next text. */
static void check_text(struct golden *golden, const char *at, const char *next)
{
    static double numbers[IDS_MOST];
    static int32_t ids[2 * IDS_MOST];
    struct engine_case wanted = {.kind = ENGINE_SCORE, .ids = ids};
    wanted.count = read_named(at, "\"ids\":", numbers);
    for (int64_t i = 0; i < wanted.count; i++)
        ids[i] = (int32_t)numbers[i];
    for (at = strstr(at, "\"method\":"); at && (!next || at < next);
         at = strstr(at + 1, "\"method\":")) {
        char method[128];
        spell(method, at + strlen("\"method\":"));
        wanted.method = method;
        const int count = read_named(at, "\"logprobs\":", numbers);
        golden->failed += !scores_agree(golden, &wanted, numbers, count);
        golden->failed += !answer_agrees(golden, wanted, ids, at);
    }
}

/* ---- the program ---- */

static enum status open_engine(struct golden *golden, const char *path,
                               const struct engine_gpus *gpus)
{
    struct model *model;
    TRY(transport_loopback_create_group(&golden->transport, 1, NULL));
    TRY(cuda_streams_open(&golden->streams, gpus->runtime, gpus->kernels, 0, 1, false));
    TRY(model_open(&model, path));
    const struct engine_options options =
        engine_ranks_options(NULL, 2 * IDS_MOST, golden->transport, &golden->streams);
    enum status status = engine_create(&golden->engine, model, golden->transport, &options);
    model_close(model);
    return status;
}

static void close_engine(struct golden *golden)
{
    engine_destroy(golden->engine);
    cuda_streams_close(&golden->streams);
    transport_destroy(golden->transport);
}

/* Texts of at most `most` tokens. */
static int check_all(struct golden *golden, const char *text, long most)
{
    static double ids[IDS_MOST];
    for (const char *at = strstr(text, "\"ids\":"); at;) {
        const char *next = strstr(at + 1, "\"ids\":");
        if (read_named(at, "\"ids\":", ids) <= most)
            check_text(golden, at, next);
        at = next;
    }
    return golden->failed ? 1 : 0;
}

int main(int argc, char **argv)
{
    struct engine_gpus gpus = {standin_runtime(), standin_kernels(), standin_nccl()};
    struct golden golden = {0};
    const bool standin = argc > 3 && strcmp(argv[3], "standin") == 0;
    int code = 1;
    log_configure(LOG_WARN, -1);
    if (!standin && cuda_find(&gpus.runtime, &gpus.kernels) != STATUS_OK) {
        fprintf(stderr, "%s\n", status_message());
        return EXIT_NO_GPU;
    }
    char *text = read_file("tests/ranks/data/golden_logits.json");
    if (!text)
        fprintf(stderr, "tests/ranks/data/golden_logits.json cannot be read\n");
    else if (open_engine(&golden, argc > 1 ? argv[1] : "", &gpus) != STATUS_OK)
        fprintf(stderr, "%s\n", status_message());
    else
        code = check_all(&golden, text, argc > 2 ? atol(argv[2]) : IDS_MOST);
    close_engine(&golden);
    free(text);
    return code;
}
