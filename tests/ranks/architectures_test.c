/* Small models of every architecture against transformers (tests/ranks/data/architectures.json,
 * made by make-architectures beside it), with reference kernels: as a GGUF file on one to three
 * ranks, and the same weights as a directory. */
#include "tests/support/unit.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/model/architecture.h"
#include "tests/support/engine_checks.h"
#include "tests/support/tiny_directory.h"

enum { RANKS_MOST = 3, LONG_TOKENS = 400 };

/* Float32 sums in another order; against float64, transformers' own are up to 3e-5 off. */
static const double allowed = 1e-4;

static json_t *cases;

static int number(const json_t *shape, const char *key)
{
    return (int)json_integer_value(json_object_get(shape, key));
}

/* Files of architectures without a name of their own there say llama. */
static const char *gguf_name_of(const char *model_type)
{
    const char *name = architecture_of_config(text_view_of(model_type))->gguf;
    return name ? name : "llama";
}

static float real(const json_t *shape, const char *key)
{
    return (float)json_number_value(json_object_get(shape, key));
}

/* The factor of linear scaling; 0: none. */
static float linear_rope(const json_t *shape)
{
    const json_t *rope = json_object_get(shape, "rope");
    const char *type = json_string_value(json_object_get(rope, "rope_type"));
    return type && strcmp(type, "linear") == 0 ? real(rope, "factor") : 0;
}

/* Whether GGUF files have keys for all of it. */
static bool gguf_says(const json_t *one)
{
    const json_t *shape = json_object_get(one, "shape");
    return !json_object_get(shape, "no_rope_layers") &&
           (!json_object_get(shape, "rope") || linear_rope(shape) > 0);
}

static struct tiny_model_shape shape_of(const json_t *one)
{
    const json_t *shape = json_object_get(one, "shape");
    const char *type = json_string_value(json_object_get(one, "model_type"));
    return (struct tiny_model_shape){
        .architecture = gguf_name_of(type),
        .model_type = type,
        .layers = number(shape, "layers"),
        .hidden = number(shape, "hidden"),
        .heads = number(shape, "heads"),
        .kv_heads = number(shape, "kv_heads"),
        .head_dim = number(shape, "head_dim"),
        .ffn = number(shape, "ffn"),
        .vocab = number(shape, "vocab"),
        .untied = json_is_true(json_object_get(shape, "untied")),
        .qkv_bias = json_is_true(json_object_get(shape, "qkv_bias")),
        .output_bias = json_is_true(json_object_get(shape, "output_bias")),
        .mlp_bias = json_is_true(json_object_get(shape, "mlp_bias")),
        .qk_norm = architecture_of_config(text_view_of(type))->qk_norm == ARCHITECTURE_ALWAYS,
        .window = number(shape, "window"),
        .window_layers = (unsigned)number(shape, "window_layers"),
        .rope_base = strcmp(type, "gemma3_text") != 0 ? 0
                     : json_object_get(shape, "base") ? real(shape, "base")
                                                      : 1e6f,
        .rotated_dim = number(shape, "rotated_dim"),
        .long_rope = number(shape, "long_rope"),
        .linear_rope = linear_rope(shape),
        .embedding_scale = real(shape, "embedding_scale"),
        .residual_scale = real(shape, "residual_scale"),
        .attention_scale = real(shape, "attention_scale"),
        .logit_division = real(shape, "logit_scale"),
        .attention_cap = real(shape, "attention_cap"),
        .logit_cap = real(shape, "logit_cap"),
        .no_tokenizer = true,
        .by_name = true,
    };
}

static int64_t ids_of(int32_t **ids, const json_t *list)
{
    size_t count = json_array_size(list);
    *ids = calloc(count + 1, sizeof **ids);
    assert_non_null(*ids);
    for (size_t i = 0; i < count; i++)
        (*ids)[i] = (int32_t)json_integer_value(json_array_get(list, i));
    return (int64_t)count;
}

static double distance(float value, const json_t *list, size_t place)
{
    double off = fabs((double)value - json_number_value(json_array_get(list, place)));
    return isnan(off) ? INFINITY : off;
}

/* The text's scores, which have the very bits of `same` where that has any. */
static double score(struct engine_outcome *outcome, const struct engine_case *wanted,
                    const struct engine_outcome *same, const json_t *one)
{
    const json_t *expected = json_object_get(one, "logprobs");
    double worst = 0;
    if (engine_ranks_run(outcome, wanted) != STATUS_OK)
        fail_msg("%s: %s", wanted->model_path, status_message());
    assert_int_equal(outcome->logprob_count, json_array_size(expected));
    for (int64_t t = 0; t < outcome->logprob_count; t++)
        worst = fmax(worst, distance(outcome->logprobs[t], expected, (size_t)t));
    if (same->logprobs)
        assert_memory_equal(outcome->logprobs, same->logprobs,
                            (size_t)outcome->logprob_count * sizeof *outcome->logprobs);
    return worst;
}

/* The answer is the recorded one, and every token of the vocabulary as likely at each of its steps.
 */
static double answer(struct engine_case wanted, const json_t *one)
{
    const json_t *expected = json_object_get(one, "answer");
    const json_t *steps = json_object_get(one, "answer_logprobs");
    struct engine_outcome outcome;
    double worst = 0;
    wanted.kind = ENGINE_GENERATE;
    wanted.max_tokens = (int64_t)json_array_size(expected);
    wanted.logprobs = true;
    wanted.likeliest = number(json_object_get(one, "shape"), "vocab");
    if (engine_ranks_run(&outcome, &wanted) != STATUS_OK)
        fail_msg("%s: %s", wanted.model_path, status_message());
    assert_int_equal(outcome.id_count, wanted.max_tokens);
    for (int64_t t = 0; t < outcome.id_count; t++) {
        const struct logprobs *told = &outcome.token_logprobs[t];
        assert_int_equal(outcome.ids[t], json_integer_value(json_array_get(expected, (size_t)t)));
        assert_int_equal(told->count, wanted.likeliest);
        for (int i = 0; i < told->count; i++)
            worst = fmax(worst, distance(told->likeliest[i], json_array_get(steps, (size_t)t),
                                         (size_t)told->ids[i]));
    }
    engine_outcome_free(&outcome);
    return worst;
}

static void check(const char *path, const json_t *one, int ranks_first)
{
    const char *name = json_string_value(json_object_get(one, "name"));
    struct engine_outcome outcomes[1 + RANKS_MOST] = {0};
    int32_t *ids;
    struct engine_case wanted = {.model_path = path, .kernels = "reference", .kind = ENGINE_SCORE};
    wanted.method = json_string_value(json_object_get(json_object_get(one, "shape"), "method"));
    wanted.count = ids_of(&ids, json_object_get(one, "ids"));
    wanted.ids = ids;
    for (wanted.ranks = ranks_first; wanted.ranks <= RANKS_MOST; wanted.ranks++) {
        double scored = score(&outcomes[wanted.ranks], &wanted, &outcomes[wanted.ranks - 1], one);
        bool answers = json_array_size(json_object_get(one, "answer")) > 0;
        double answered = answers ? answer(wanted, one) : 0;
        printf("%-50s %s, %d ranks: text %.1e answer %.1e\n", name, strrchr(path, '.'),
               wanted.ranks, scored, answered);
        assert_true(scored <= allowed);
        assert_true(answered <= allowed);
    }
    for (int ranks = ranks_first; ranks <= RANKS_MOST; ranks++)
        engine_outcome_free(&outcomes[ranks]);
    free(ids);
}

/* Weights over a tensor axis, heads that do not divide by it included. */
static void check_slices(const char *path, const json_t *one)
{
    const char *type = json_string_value(json_object_get(one, "model_type"));
    const struct engine_outcome none = {0};
    struct engine_case wanted = {.model_path = path, .kernels = "reference", .kind = ENGINE_SCORE};
    int32_t *ids;
    wanted.method = json_string_value(json_object_get(json_object_get(one, "shape"), "method"));
    wanted.count = ids_of(&ids, json_object_get(one, "ids"));
    wanted.ids = ids;
    for (wanted.tensor = 2; wanted.tensor <= RANKS_MOST; wanted.tensor++) {
        struct engine_outcome outcome = {0};
        wanted.ranks = wanted.tensor;
        if (architecture_of_config(text_view_of(type))->qk_norm_joined) {
            assert_int_equal(engine_ranks_run(&outcome, &wanted), STATUS_UNIMPLEMENTED);
            assert_non_null(strstr(status_message(), "norms over all heads are not computed"));
            continue;
        }
        assert_true(score(&outcome, &wanted, &none, one) <= allowed);
        engine_outcome_free(&outcome);
        assert_true(answer(wanted, one) <= allowed);
    }
    free(ids);
}

static void a_gguf_file_computes_what_transformers_does(void **state)
{
    (void)state;
    size_t c;
    json_t *one;
    json_array_foreach(cases, c, one)
    {
        char path[] = "/tmp/longhaul-architectures-XXXXXX.gguf";
        const struct tiny_model_shape shape = shape_of(one);
        if (!gguf_says(one))
            continue;
        int file = mkstemps(path, 5);
        assert_true(file >= 0);
        close(file);
        tiny_model_write(path, &shape, 0, DTYPE_F32);
        check(path, one, 1);
        check_slices(path, one);
        unlink(path);
    }
}

/* config.json as transformers saves it, where it is recorded. */
static void put_config(const char *folder, const json_t *one)
{
    char path[64];
    const json_t *config = json_object_get(one, "config");
    if (!config)
        return;
    snprintf(path, sizeof path, "%s/config.json", folder);
    assert_int_equal(json_dump_file(config, path, 0), 0);
}

static void a_directory_computes_what_transformers_does(void **state)
{
    (void)state;
    size_t c;
    json_t *one;
    json_array_foreach(cases, c, one)
    {
        char folder[] = "/tmp/longhaul-architectures.XXXXXX";
        const struct tiny_model_shape shape = shape_of(one);
        assert_non_null(mkdtemp(folder));
        tiny_directory_write(folder, &shape, 0, DTYPE_F32, 1);
        put_config(folder, one);
        check(folder, one, gguf_says(one) ? RANKS_MOST : 1);
        tiny_directory_remove(folder);
    }
}

/* On the best kernels that run here. Bytes and memory are as planned; where all layers have the
 * window, keys beyond it neither travel nor stay. */
static void check_windows(unsigned window_layers)
{
    static const char *const methods[] = {"rope", "string:shift=90,local=20",
                                          "lm_infinite:window=100,sinks=4"};
    const struct tiny_model_shape shape = {.layers = 3,
                                           .hidden = 64,
                                           .heads = 4,
                                           .kv_heads = 2,
                                           .head_dim = 32,
                                           .ffn = 96,
                                           .window = 70,
                                           .window_layers = window_layers};
    char path[TINY_MODEL_PATH_BYTES];
    int32_t ids[LONG_TOKENS];
    tiny_model_make(path, &shape, DTYPE_Q8_0);
    tiny_model_ids(ids, LONG_TOKENS);
    for (size_t m = 0; m < sizeof methods / sizeof methods[0]; m++) {
        struct engine_case wanted = {.model_path = path,
                                     .method = methods[m],
                                     .ranks = 1,
                                     .kind = ENGINE_SCORE,
                                     .queries = CHOICE_SHARDED + 1,
                                     .ids = ids,
                                     .count = LONG_TOKENS};
        struct engine_outcome one;
        engine_checks_run(&one, &wanted);
        if (m < 2)
            assert_int_equal(one.choice.request.schedule == CHOICE_HALO, window_layers == 0);
        for (wanted.ranks = 2; wanted.ranks <= RANKS_MOST; wanted.ranks++) {
            wanted.stage_tokens = wanted.ranks == 2 ? 0 : 128;
            engine_checks_same_bits(&wanted, &one);
        }
        engine_outcome_free(&one);
    }
    unlink(path);
}

static void windows_give_the_same_bits_on_any_ranks_under_any_method(void **state)
{
    (void)state;
    check_windows(0);
    check_windows(5);
}

int main(void)
{
    json_error_t error;
    cases = json_load_file("tests/ranks/data/architectures.json", 0, &error);
    assert_non_null(cases);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gguf_file_computes_what_transformers_does),
        cmocka_unit_test(a_directory_computes_what_transformers_does),
        cmocka_unit_test(windows_give_the_same_bits_on_any_ranks_under_any_method),
    };
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    json_decref(cases);
    return failures;
}
