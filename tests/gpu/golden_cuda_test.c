/* The real model on a GPU against the reference values (tests/ranks/data/golden_logits.json),
 * within the budget of bf16; no library is needed to read them.
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
#include "tests/support/engine_ranks.h"
#include "tests/support/standin.h"
#include "worker/engine/device/cuda_find.h"

enum { IDS_MOST = 1024, EXIT_NO_GPU = 77 };

/* The tolerances of a bf16 cache and bf16 operands, as tests/ranks/golden_test.c has them. */
static const double token_budget = 0.40, rms_budget = 0.06;

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

static bool agrees(const struct engine_case *wanted, const double *expected, int count)
{
    struct engine_outcome outcome;
    double worst = 0;
    double squares = 0;
    if (engine_ranks_run(&outcome, wanted) != STATUS_OK) {
        engine_outcome_free(&outcome);
        return false;
    }
    for (int t = 0; t < count; t++) {
        const double off = fabs((double)outcome.logprobs[t] - expected[t]);
        worst = off <= worst ? worst : off; /* a NaN is worst */
        squares += off * off;
    }
    const double rms = sqrt(squares / count);
    engine_outcome_free(&outcome);
    printf("  %4lld tokens, %-52s worst %.3f rms %.4f\n", (long long)wanted->count, wanted->method,
           worst, rms);
    return worst <= token_budget && rms <= rms_budget;
}

/* Every result of the text at `at`, up to the next text. */
static int check_text(const char *at, const char *next, struct engine_case wanted)
{
    static double numbers[IDS_MOST];
    static int32_t ids[IDS_MOST];
    int failed = 0;
    wanted.count = read_numbers(at + strlen("\"ids\":"), numbers);
    for (int64_t i = 0; i < wanted.count; i++)
        ids[i] = (int32_t)numbers[i];
    wanted.ids = ids;
    for (at = strstr(at, "\"method\":"); at && (!next || at < next);
         at = strstr(at + 1, "\"method\":")) {
        char method[128];
        const char *values = strstr(at, "\"logprobs\":");
        spell(method, at + strlen("\"method\":"));
        wanted.method = method;
        const int count = read_numbers(values + strlen("\"logprobs\":"), numbers);
        failed += !agrees(&wanted, numbers, count);
    }
    return failed;
}

int main(int argc, char **argv)
{
    struct engine_gpus gpus = {standin_runtime(), standin_kernels(), standin_nccl()};
    const bool standin = argc > 3 && strcmp(argv[3], "standin") == 0;
    const struct engine_case wanted = {
        .model_path = argc > 1 ? argv[1] : "", .kind = ENGINE_SCORE, .gpus = &gpus};
    const long most = argc > 2 ? atol(argv[2]) : IDS_MOST;
    log_configure(LOG_WARN, -1);
    if (!standin && cuda_find(&gpus.runtime, &gpus.kernels) != STATUS_OK) {
        fprintf(stderr, "%s\n", status_message());
        return EXIT_NO_GPU;
    }
    char *text = read_file("tests/ranks/data/golden_logits.json");
    int failed = text ? 0 : 1;
    for (const char *at = text ? strstr(text, "\"ids\":") : NULL; at;) {
        static double ids[IDS_MOST];
        const char *next = strstr(at + 1, "\"ids\":");
        if (read_numbers(at + strlen("\"ids\":"), ids) <= most)
            failed += check_text(at, next, wanted);
        at = next;
    }
    free(text);
    return failed ? 1 : 0;
}
