/* cache_divergence MODEL.gguf [TOKENS [KERNELS]]
 *
 * What a cache costs: a running text is read once with the reference kernels and then with another
 * variant over a cache in bf16 and in int8. For each a line of JSON: the mean over all tokens of
 * the divergence KL(reference || variant) of the next token's distribution, in nats; its largest;
 * the share of tokens whose likeliest next one is the same. The text is golden_long.json's, from
 * its beginning; run it from the root of the tree. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/text/tokenizer.h"
#include "kernels/kernels.h"
#include "proto/model/model.h"
#include "tests/bench/bench_memory.h"
#include "tests/support/engine_ranks.h"

/* Log-probabilities of every token after each of the text's, and what is made of them. One thread
 * computes, so rows come in ascending order. */
static struct {
    float *reference; /* [tokens - 1, vocab] logits less their log-sum-exp */
    int64_t row, rows, vocab;
    bool compares;
    double sum, largest;
    int64_t same;
    double (*logsumexp)(const float *x, int64_t count);
} seen;

static void need(enum status status)
{
    if (status == STATUS_OK)
        return;
    fprintf(stderr, "cache_divergence: %s\n", status_message());
    exit(1);
}

static void compare(const float *x, double total)
{
    const float *reference = seen.reference + seen.row * seen.vocab;
    double sum = 0;
    int64_t ours = 0, theirs = 0;
    for (int64_t i = 0; i < seen.vocab; i++) {
        const double log = (double)reference[i];
        sum += exp(log) * (log - ((double)x[i] - total));
        ours = x[i] > x[ours] ? i : ours;
        theirs = reference[i] > reference[theirs] ? i : theirs;
    }
    seen.sum += sum;
    seen.largest = fmax(seen.largest, sum);
    seen.same += ours == theirs;
}

/* Stands in for the kernels' own, which is asked once a token with all of its logits. */
static double look(const float *x, int64_t count)
{
    const double total = seen.logsumexp(x, count);
    if (seen.row >= seen.rows)
        return total;
    if (seen.compares)
        compare(x, total);
    else
        for (int64_t i = 0; i < count; i++)
            seen.reference[seen.row * count + i] = (float)((double)x[i] - total);
    seen.row++;
    return total;
}

/* Reads the text with these kernels, of the table: looks at all logits. */
static void read_text(const struct engine_case *wanted, const struct kernels *kernels)
{
    struct kernels *looked_at = (struct kernels *)(uintptr_t)kernels;
    struct engine_outcome outcome;
    seen.logsumexp = kernels->logsumexp;
    seen.row = 0;
    seen.sum = seen.largest = 0;
    seen.same = 0;
    looked_at->logsumexp = look;
    need(engine_ranks_run(&outcome, wanted));
    looked_at->logsumexp = seen.logsumexp;
    engine_outcome_free(&outcome);
}

static void tokenize(struct id_list *ids, int64_t *vocab, const char *path)
{
    json_error_t error;
    json_t *golden = json_load_file("tests/bench/data/golden_long.json", 0, &error);
    if (!golden) {
        fprintf(stderr, "cache_divergence: %s: %s\n", error.source, error.text);
        exit(1);
    }
    const char *text =
        json_string_value(json_object_get(json_object_get(golden, "perplexity"), "text"));
    struct model *model;
    struct tokenizer *tokenizer;
    need(model_open(&model, path));
    need(tokenizer_create(&tokenizer, model_vocab(model)));
    need(tokenizer_encode(tokenizer, ids, text, strlen(text), TOKENIZER_BOS));
    *vocab = model_spec(model)->vocab;
    tokenizer_destroy(tokenizer);
    model_close(model);
    json_decref(golden);
}

int main(int argc, char **argv)
{
    struct id_list ids = {0};
    if (argc < 2) {
        fputs("usage: cache_divergence MODEL.gguf [TOKENS [KERNELS]]\n", stderr);
        return 2;
    }
    const int64_t tokens = argc > 2 ? atol(argv[2]) : 983;
    const struct kernels *kernels = argc > 3 ? kernels_find(argv[3]) : kernels_best();
    tokenize(&ids, &seen.vocab, argv[1]);
    if (!kernels || !kernels_runs_here(kernels) || tokens < 2 || tokens > (int64_t)ids.count) {
        fprintf(stderr, "cache_divergence: kernels that run here, and 2 to %lld tokens\n",
                (long long)ids.count);
        return 2;
    }
    seen.rows = tokens - 1;
    seen.reference = bench_memory((size_t)(seen.rows * seen.vocab) * sizeof *seen.reference);
    struct engine_case wanted = {
        .model_path = argv[1],
        .kernels = "reference",
        .kind = ENGINE_SCORE,
        .ids = ids.ids,
        .count = tokens,
    };
    read_text(&wanted, kernels_find("reference"));
    seen.compares = true;
    wanted.kernels = kernels->name;
    for (int int8 = 0; int8 < 2; int8++) {
        wanted.int8_cache = int8;
        read_text(&wanted, int8 ? kernels_int8(kernels) : kernels);
        printf("{\"bench\": \"cache_divergence\", \"kernels\": \"%s\", \"cache\": \"%s\", "
               "\"tokens\": %lld, \"kl\": %.3g, \"kl_largest\": %.3g, \"same_likeliest\": %.4f}\n",
               kernels->name, int8 ? "int8" : "bf16", (long long)seen.row,
               seen.sum / (double)seen.rows, seen.largest, (double)seen.same / (double)seen.rows);
        fflush(stdout);
    }
    id_list_deinit(&ids);
    return 0;
}
