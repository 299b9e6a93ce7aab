/* The real model against reference values that share no code with it, float64:
 * tests/ranks/data/golden_logits.json (four texts, eight methods) or golden_methods.json (three
 * texts, twelve neighbouring methods). usage: golden_test [KERNELS [TOKENS [FILE [scores]]]]: the
 * variant ("": the best, and others on short texts), the longest text, the values; `scores`: no
 * answers and no other variants. LONGHAUL_TEST_MODEL names the model file. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernels/kernels.h"
#include "tests/support/engine_ranks.h"
#include "tests/support/golden_tolerance.h"
#include "tests/support/unit.h"

static const char *model_path;
static const char *kernels_name;
static size_t tokens_most = SIZE_MAX;
static bool scores_only;
static json_t *golden;

enum { SPELLING_BYTES = 128, METHODS_MOST = 16 };

/* Appends what an object says besides its name or kind, each behind the separator. */
static int spell_numbers(char *text, int used, const json_t *object, const char *separator)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        if (!json_is_number(value))
            continue;
        used += snprintf(text + used, (size_t)(SPELLING_BYTES - used), "%s%s=%.9g", separator, key,
                         json_number_value(value));
        separator = ",";
    }
    return used;
}

static void spell(char text[SPELLING_BYTES], const json_t *method)
{
    const char *name = json_string_value(json_object_get(method, "name"));
    const json_t *frequencies = json_object_get(method, "frequencies");
    const bool window = strcmp(name, "window") == 0; /* LM-Infinite without its sinks */
    int used = snprintf(text, SPELLING_BYTES, "%s", window ? "lm_infinite:sinks=0" : name);
    used = spell_numbers(text, used, method, window ? "," : ":");
    if (!frequencies)
        return;
    used += snprintf(text + used, (size_t)(SPELLING_BYTES - used), "+%s",
                     json_string_value(json_object_get(frequencies, "kind")));
    spell_numbers(text, used, frequencies, ":");
}

static int32_t *ids_of(const json_t *array)
{
    size_t count = json_array_size(array);
    int32_t *ids = calloc(count + 1, sizeof *ids);
    assert_non_null(ids);
    for (size_t i = 0; i < count; i++)
        ids[i] = (int32_t)json_integer_value(json_array_get(array, i));
    return ids;
}

static void compare_scores(const char *name, const char *method, const float *logprobs,
                           const json_t *expected, const struct golden_tolerance *allowed)
{
    size_t count = json_array_size(expected);
    double worst = 0;
    double squares = 0;
    double sum = 0;
    for (size_t t = 0; t < count; t++) {
        double difference = logprobs[t] - json_number_value(json_array_get(expected, t));
        worst = fmax(worst, fabs(difference));
        squares += difference * difference;
        sum += difference;
    }
    double rms = sqrt(squares / (double)count);
    double mean = fabs(sum / (double)count);
    printf("%-9s %-48s worst %.2e rms %.2e mean %.2e\n", name, method, worst, rms, mean);
    assert_true(worst <= allowed->token);
    assert_true(rms <= allowed->rms);
    assert_true(mean <= allowed->mean_of_one / sqrt((double)count) + allowed->mean);
}

/* Greedy ids are the reference's up to the first choice that was nearly a tie. */
static void compare_greedy(const struct engine_outcome *outcome, const json_t *result,
                           const struct golden_tolerance *allowed)
{
    const json_t *ids = json_object_get(result, "greedy_ids");
    const json_t *margins = json_object_get(result, "greedy_margins");
    for (size_t i = 0; i < json_array_size(ids); i++) {
        if (json_number_value(json_array_get(margins, i)) <= allowed->margin)
            return;
        assert_true((int64_t)i < outcome->id_count);
        assert_int_equal(outcome->ids[i], json_integer_value(json_array_get(ids, i)));
    }
}

/* The requests of one text, under each of its methods a score, and behind it an answer. */
struct asked {
    const char *name;
    const json_t *results;
    int count, each; /* requests, and those of a method */
    char methods[METHODS_MOST][SPELLING_BYTES];
    struct engine_case cases[2 * METHODS_MOST];
};

static void ask(struct asked *asked, const struct engine_case *usual, const json_t *results,
                bool answers)
{
    size_t r;
    json_t *result;
    assert_in_range(json_array_size(results), 1, METHODS_MOST);
    asked->each = answers ? 2 : 1;
    json_array_foreach((json_t *)results, r, result)
    {
        struct engine_case *wanted = &asked->cases[asked->count];
        spell(asked->methods[r], json_object_get(result, "method"));
        wanted[0] = *usual;
        wanted[0].method = asked->methods[r];
        if (answers) {
            wanted[1] = wanted[0];
            wanted[1].kind = ENGINE_GENERATE;
            wanted[1].max_tokens = (int64_t)json_array_size(json_object_get(result, "greedy_ids"));
        }
        asked->count += asked->each;
    }
}

static void compare(const struct asked *asked, const struct engine_outcome *outcomes)
{
    const struct kernels *kernels = kernels_name ? kernels_find(kernels_name) : kernels_best();
    size_t r;
    json_t *result;
    json_array_foreach((json_t *)asked->results, r, result)
    {
        const struct engine_outcome *outcome = &outcomes[asked->each * (int)r];
        const struct golden_tolerance *allowed = golden_tolerance_of(
            golden_arithmetic_of(kernels), asked->cases[0].count, asked->methods[r]);
        compare_scores(asked->name, asked->methods[r], outcome->logprobs,
                       json_object_get(result, "logprobs"), allowed);
        if (asked->each == 2)
            compare_greedy(&outcome[1], result, allowed);
    }
}

/* All on one group: the model is packed once. */
static void check_text(const json_t *text, int ranks, int tensor, bool answers)
{
    const json_t *prompt = json_object_get(text, "ids");
    struct engine_outcome outcomes[2 * METHODS_MOST];
    if (json_array_size(prompt) > tokens_most)
        return;
    int32_t *ids = ids_of(prompt);
    struct asked asked = {
        .name = json_string_value(json_object_get(text, "name")),
        .results = json_object_get(text, "results"),
    };
    const struct engine_case usual = {
        .model_path = model_path,
        .kernels = kernels_name,
        .ranks = ranks,
        .tensor = tensor,
        .threads = ranks == 1 ? 2 : 1,
        .kind = ENGINE_SCORE,
        .ids = ids,
        .count = (int64_t)json_array_size(prompt),
    };
    ask(&asked, &usual, asked.results, answers);
    assert_int_equal(engine_ranks_run_all(outcomes, asked.cases, asked.count), STATUS_OK);
    compare(&asked, outcomes);
    for (int i = 0; i < asked.count; i++)
        engine_outcome_free(&outcomes[i]);
    free(ids);
}

static void one_rank_agrees_with_the_reference(void **state)
{
    (void)state;
    for (size_t t = 0; t < json_array_size(golden); t++)
        check_text(json_array_get(golden, t), 1, 1,
                   !scores_only && (t == 0 || tokens_most == SIZE_MAX));
}

/* Where no variant is named: the best one, which has just been run, is not all that users run. */
static void every_variant_here_agrees_on_the_short_texts(void **state)
{
    (void)state;
    const struct kernels *kernels;
    const char *named = kernels_name;
    for (int k = 0; !named && !scores_only && (kernels = kernels_at(k)); k++)
        if (kernels->cache == DTYPE_BF16 && kernels_runs_here(kernels) &&
            kernels != kernels_best()) {
            printf("%s\n", kernels->name);
            kernels_name = kernels->name;
            check_text(json_array_get(golden, 0), 1, 1, false);
            check_text(json_array_get(golden, 1), 1, 1, false);
        }
    kernels_name = named;
}

static void two_ranks_agree_with_the_reference(void **state)
{
    (void)state;
    check_text(json_array_get(golden, 2), 2, 1, tokens_most == SIZE_MAX);
}

/* 9 query heads and 3 KV heads: uneven over two places, a KV head each over three. */
static void weights_shared_out_agree_with_the_reference(void **state)
{
    (void)state;
    for (int tensor = 2; tensor <= 3; tensor++) {
        check_text(json_array_get(golden, 0), tensor, tensor, !scores_only);
        check_text(json_array_get(golden, 1), 2 * tensor, tensor, false);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_rank_agrees_with_the_reference),
        cmocka_unit_test(every_variant_here_agrees_on_the_short_texts),
        cmocka_unit_test(two_ranks_agree_with_the_reference),
        cmocka_unit_test(weights_shared_out_agree_with_the_reference),
    };
    json_error_t error;
    model_path = getenv("LONGHAUL_TEST_MODEL");
    kernels_name = argc > 1 && argv[1][0] ? argv[1] : NULL;
    if (argc > 2)
        tokens_most = (size_t)atol(argv[2]);
    scores_only = argc > 4;
    const char *file = argc > 3 ? argv[3] : "tests/ranks/data/golden_logits.json";
    if (!model_path) {
        puts("SKIPPED: LONGHAUL_TEST_MODEL names no model file");
        return 77;
    }
    golden = json_load_file(file, 0, &error);
    if (!golden) {
        fprintf(stderr, "%s: %s\n", file, error.text);
        return 1;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    json_decref(golden);
    return failed;
}
