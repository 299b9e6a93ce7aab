/* The facts of config.json: what is read, and what is refused, with the key's path. */
#include "tests/support/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "proto/model/spec_config.h"

static const char plain[] =
    "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\","
    " \"hidden_act\": \"silu\", \"hidden_size\": 64, \"intermediate_size\": 96,"
    " \"num_hidden_layers\": 2, \"num_attention_heads\": 4, \"num_key_value_heads\": 2,"
    " \"vocab_size\": 300, \"max_position_embeddings\": 2048, \"rms_norm_eps\": 1e-05,"
    " \"rope_theta\": 10000.0, \"rope_scaling\": null, \"tie_word_embeddings\": true,"
    " \"attention_bias\": false, \"mlp_bias\": false, \"sliding_window\": null,"
    " \"torch_dtype\": \"bfloat16\", \"pretraining_tp\": 1, \"use_cache\": true}";

/* The plain file with one key set to `value`, JSON, or left out where that is NULL. */
static enum status read_with(struct model_spec *spec, const char *key, const char *value)
{
    json_t *root = NULL;
    assert_int_equal(json_place_parse(&root, plain, strlen(plain), sizeof plain, "config.json"),
                     STATUS_OK);
    if (value) {
        json_t *changed = json_loads(value, JSON_DECODE_ANY, NULL);
        assert_non_null(changed);
        json_object_set_new(root, key, changed);
    } else {
        json_object_del(root, key);
    }
    const struct json_place place = json_place_root(root, "config.json");
    enum status status = spec_config_read(spec, &place);
    json_decref(root);
    return status;
}

static void expect_refusal(const char *key, const char *value, enum status expected,
                           const char *words)
{
    struct model_spec spec;
    enum status status = read_with(&spec, key, value);
    if (status != expected || !strstr(status_message(), words))
        print_error("%s = %s: wanted %s: %s, got %s: %s\n", key, value ? value : "(absent)",
                    status_name(expected), words, status_name(status), status_message());
    assert_int_equal(status, expected);
    assert_non_null(strstr(status_message(), words));
}

static void facts_are_those_of_the_file(void **state)
{
    (void)state;
    struct model_spec spec;
    assert_int_equal(read_with(&spec, "x", "1"), STATUS_OK);
    assert_int_equal(spec.layers, 2);
    assert_int_equal(spec.hidden, 64);
    assert_int_equal(spec.heads, 4);
    assert_int_equal(spec.kv_heads, 2);
    assert_int_equal(spec.head_dim, 16);
    assert_int_equal(spec.ffn, 96);
    assert_int_equal(spec.vocab, 300);
    assert_int_equal(spec.trained_tokens, 2048);
    assert_true(spec.norm_eps == 1e-5f && spec.tied_output && !spec.interleaved_qk);
    assert_int_equal(spec.rope_scaling, MODEL_ROPE_NONE);
    assert_true(spec.rope_base == 10000 && spec.inv_freq[0] == 1 && spec.rope_mscale == 1);
    assert_int_equal(spec_qk_row(&spec, 5), 5);
}

static void what_a_file_leaves_out_is_as_in_transformers(void **state)
{
    (void)state;
    struct model_spec spec;
    assert_int_equal(read_with(&spec, "num_key_value_heads", NULL), STATUS_OK);
    assert_int_equal(spec.kv_heads, 4);
    assert_int_equal(read_with(&spec, "tie_word_embeddings", NULL), STATUS_OK);
    assert_false(spec.tied_output);
    assert_int_equal(read_with(&spec, "rope_theta", NULL), STATUS_OK);
    assert_true(spec.rope_base == 10000);
    assert_int_equal(read_with(&spec, "head_dim", "32"), STATUS_OK);
    assert_int_equal(spec.head_dim, 32);
    assert_int_equal(read_with(&spec, "architectures", NULL), STATUS_OK);
    assert_int_equal(read_with(&spec, "hidden_act", "null"), STATUS_OK);
}

static void facts_that_cannot_be_are_refused_with_their_path(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        const char *value;
        const char *words;
    } cases[] = {
        {"num_hidden_layers", "0", "config.json: num_hidden_layers: is 0, it must lie in 1 .."},
        {"num_hidden_layers", "1000000", "num_hidden_layers: is 1000000"},
        {"num_hidden_layers", "2.5", "num_hidden_layers: is 2.5, it must be an integer"},
        {"num_hidden_layers", "1e30", "num_hidden_layers: is 1e+30, it must lie in 1 .."},
        {"num_hidden_layers", "\"2\"", "num_hidden_layers: is a string"},
        {"num_hidden_layers", "[2]", "num_hidden_layers: is a list"},
        {"num_hidden_layers", NULL, "num_hidden_layers: is missing [missing]"},
        {"hidden_size", "-64", "hidden_size: is -64"},
        {"hidden_size", "66", "num_attention_heads: a width of 66 does not divide by 4 heads"},
        {"num_key_value_heads", "3", "num_key_value_heads: 4 heads cannot share 3"},
        {"num_key_value_heads", "8", "num_key_value_heads: is 8"},
        {"vocab_size", "0", "vocab_size: is 0"},
        {"max_position_embeddings", "0", "max_position_embeddings: is 0"},
        {"max_position_embeddings", "0.5", "max_position_embeddings: is 0.5"},
        {"max_position_embeddings", "-1e30", "max_position_embeddings: is -1e+30"},
        {"max_position_embeddings", "\"x\"", "max_position_embeddings: is a string"},
        {"rms_norm_eps", "0", "rms_norm_eps: is 0, it must lie between 0 and 1"},
        {"rms_norm_eps", "\"x\"", "rms_norm_eps: is a string, it must be a number"},
        {"rope_scaling", "{\"type\":\"longrope\",\"factor\":2}", "short_factor: is missing"},
        {"rope_scaling", "{\"type\":\"longrope\",\"short_factor\":[1,1]}",
         "rope_scaling.short_factor: has 2 values for 8 frequencies"},
        {"rope_scaling", "{\"type\":\"longrope\",\"short_factor\":[1,1,1,1,1,1,1,\"1\"]}",
         "rope_scaling.short_factor: has something else than a number at 7"},
        {"rope_scaling",
         "{\"type\":\"su\",\"short_factor\":[1,1,1,1,1,1,1,1],"
         "\"long_factor\":[1,1,1,1,1,1,1,0]}",
         "a longrope factor of 0; 1e-6 .. 1e6 are allowed"},
        {"rope_theta", "1", "rope base of 1"},
        {"rope_theta", "1e300", "rope base of 1e+300"},
        {"tie_word_embeddings", "1", "tie_word_embeddings: is an integer, it must be true or"},
        {"rope_scaling", "[]", "rope_scaling: is a list, it must be an object"},
        {"rope_scaling", "{}", "rope_scaling.type: is missing"},
        {"rope_scaling", "{\"type\":\"linear\"}", "rope_scaling.factor: is missing"},
        {"rope_scaling", "{\"type\":\"linear\",\"factor\":0.5}", "factor of 0.5"},
        {"rope_scaling",
         "{\"type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4,\"high_freq_factor\":1,"
         "\"original_max_position_embeddings\":512}",
         "high_freq_factor > low_freq_factor > 0"},
        {"rope_scaling", "{\"type\":\"llama3\",\"factor\":8,\"low_freq_factor\":1}",
         "rope_scaling.high_freq_factor: is missing"},
        {"rope_scaling", "{\"type\":\"yarn\",\"factor\":4,\"beta_fast\":1,\"beta_slow\":2}",
         "beta_fast >= beta_slow > 0"},
        {"model_type", NULL, "model_type: is missing"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_refusal(cases[i].key, cases[i].value, STATUS_DATA_LOSS, cases[i].words);
}

/* As a file: writers put 10^30 where nothing is set, and some write every number as a real one. */
static void a_number_that_is_too_large_is_no_limit_or_is_not_read(void **state)
{
    (void)state;
    static const char *const limits[] = {"1000000000000000019884624838656", "9223372036854775808",
                                         "1e30", "1073741825", "18446744073709551615"};
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        char text[1024];
        json_t *root = NULL;
        struct model_spec spec;
        const char *key = strstr(plain, "\"max_position_embeddings\": 2048");
        snprintf(text, sizeof text,
                 "{\"unused\": [-%s, {\"\\\"x\": 0.12345678901234567890123}], %.*s"
                 "\"max_position_embeddings\": %s%s",
                 limits[i], (int)(key - plain - 1), plain + 1, limits[i],
                 key + strlen("\"max_position_embeddings\": 2048"));
        assert_int_equal(json_place_parse(&root, text, strlen(text), sizeof text, "config.json"),
                         STATUS_OK);
        const struct json_place place = json_place_root(root, "config.json");
        assert_int_equal(spec_config_read(&spec, &place), STATUS_OK);
        assert_int_equal(spec.trained_tokens, MODEL_TOKENS_MAX);
        assert_int_equal(spec.vocab, 300);
        const json_t *inner = json_array_get(json_object_get(root, "unused"), 1);
        assert_true(json_real_value(json_object_get(inner, "\"x")) == 0.12345678901234567890123);
        json_decref(root);
    }
    struct model_spec spec;
    assert_int_equal(read_with(&spec, "max_position_embeddings", "4096.0"), STATUS_OK);
    assert_int_equal(spec.trained_tokens, 4096);
    assert_int_equal(read_with(&spec, "num_hidden_layers", "2.0"), STATUS_OK);
    assert_int_equal(spec.layers, 2);
}

/* Numbers of every width come out as what they are, or as a real number near it. */
static void integers_of_any_width_keep_their_value(void **state)
{
    (void)state;
    for (int digits = 1; digits < 330; digits++)
        for (int negative = 0; negative < 2; negative++) {
            char text[800];
            json_t *root = NULL;
            char number[340] = "-";
            for (int i = 0; i < digits; i++)
                number[negative + i] = (char)('1' + i % 9);
            number[negative + digits] = 0;
            snprintf(text, sizeof text, "{\"a\":%s,\"b\":[%s]}", number, number);
            assert_int_equal(json_place_parse(&root, text, strlen(text), sizeof text, "x"),
                             STATUS_OK);
            const json_t *a = json_object_get(root, "a");
            assert_int_equal(json_is_integer(a), digits < 20);
            if (digits < 20)
                assert_int_equal(json_integer_value(a), strtoll(number, NULL, 10));
            else if (digits <= 300)
                assert_true(fabs(json_real_value(a) / strtod(number, NULL) - 1) < 0.01);
            else
                assert_true(fabs(json_real_value(a)) >= 1e300);
            assert_true(json_equal(a, json_array_get(json_object_get(root, "b"), 0)));
            json_decref(root);
        }
    static const char *const last[] = {"{\"a\":9223372036854775807}",
                                       "{\"a\":-9223372036854775808}"};
    for (int i = 0; i < 2; i++) {
        json_t *root = NULL;
        assert_int_equal(json_place_parse(&root, last[i], strlen(last[i]), 64, "x"), STATUS_OK);
        assert_int_equal(json_integer_value(json_object_get(root, "a")),
                         i == 0 ? INT64_MAX : INT64_MIN);
        json_decref(root);
    }
}

static void what_is_not_supported_is_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        const char *value;
        const char *words;
    } cases[] = {
        {"model_type", "\"\\u001b[31m\"", "architecture .[31m is not supported; known: llama"},
        {"architectures", "[\"LlamaForSequenceClassification\"]",
         "LlamaForSequenceClassification is not supported"},
        {"architectures", "[]", "LlamaForCausalLM alone is"},
        {"hidden_act", "\"gelu\"", "hidden_act: activation gelu is not supported"},
        {"sliding_window", "4096", "sliding_window: a sliding window in this architecture"},
        {"partial_rotary_factor", "0.5", "rope over a part of a head"},
        {"quantization_config", "{\"quant_method\":\"gptq\"}", "a quantised safetensors model"},
        {"num_local_experts", "8", "a mixture of experts"},
        {"num_attention_heads", "194", "194 heads on 2 key-value heads are not supported"},
        {"head_dim", "15", "head_dim: a head dimension of 15"},
        {"head_dim", "24", "a head dimension of 24 is not supported; multiples of 16 up to 256"},
        {"head_dim", "512", "head_dim: a head dimension of 512"},
        {"rope_scaling", "{\"type\":\"mrope\",\"factor\":2}",
         "rope_scaling.type: rope scaling mrope is not supported; default, linear, dynamic, yarn, "
         "llama3 and longrope are"},
        {"rope_scaling", "{\"type\":\"dynamic\",\"factor\":2,\"alpha\":1000}",
         "rope_scaling.alpha: is not supported with this rope scaling"},
        {"rope_scaling", "{\"type\":\"linear\",\"factor\":2,\"short_factor\":[1]}",
         "rope_scaling.short_factor: is not supported with this rope scaling"},
        {"rope_scaling", "{\"type\":\"llama3\",\"factor\":2,\"mscale\":1}", "rope_scaling.mscale"},
        {"rope_parameters", "{\"rope_type\":\"default\",\"partial_rotary_factor\":0.5}",
         "rope_parameters.partial_rotary_factor"},
        /* by the beginning or a part of their name, whatever they are */
        {"rope_turns", "2", "rope_turns: is not known here, and may change what is computed"},
        {"attention_sinks", "4", "attention_sinks: is not known here"},
        {"key_scale", "0.5", "key_scale: is not known here"},
        {"is_causal", "false", "is_causal: attention that is not causal is not supported"},
        {"is_causal", "0", "is_causal: attention that is not causal is not supported"},
        {"router_softcap", "30", "router_softcap: is not known here"},
        /* what other architectures compute by */
        {"embedding_multiplier", "12", "embedding_multiplier: is not supported in this arch"},
        {"residual_multiplier", "0.2", "residual_multiplier: is not supported in this arch"},
        {"attention_multiplier", "0.1", "attention_multiplier: is not supported in this arch"},
        {"logits_scaling", "8", "logits_scaling: is not supported in this arch"},
        {"no_rope_layers", "[1, 0]", "no_rope_layers: is not supported in this arch"},
        {"sliding_window_pattern", "6", "sliding_window_pattern: is not supported in this arch"},
        {"rope_local_base_freq", "1e4", "rope_local_base_freq: is not supported in this arch"},
        {"query_pre_attn_scalar", "256", "query_pre_attn_scalar: is not supported in this arch"},
        {"final_logit_softcapping", "30", "final_logit_softcapping: is not supported in this"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_refusal(cases[i].key, cases[i].value, STATUS_UNIMPLEMENTED, cases[i].words);
    struct model_spec spec;
    assert_int_equal(read_with(&spec, "partial_rotary_factor", "1.0"), STATUS_OK);
    assert_int_equal(read_with(&spec, "num_local_experts", "0"), STATUS_OK);
    assert_int_equal(read_with(&spec, "final_logit_softcapping", "null"), STATUS_OK);
    assert_int_equal(read_with(&spec, "attention_sinks", "false"), STATUS_OK);
    assert_int_equal(read_with(&spec, "is_causal", "true"), STATUS_OK);
    assert_int_equal(read_with(&spec, "is_causal", "null"), STATUS_OK);
    assert_int_equal(read_with(&spec, "colour", "\"blue\""), STATUS_OK); /* warned of */
}

static const struct {
    const char *rest;
    enum model_rope_scaling scaling;
    double mscale;
    double inv_freq[8];
} scalings[] = {
    {"\":\"linear\",\"factor\":4",
     MODEL_ROPE_LINEAR,
     1,
     {0.25, 0.07905694150, 0.025, 0.007905694150, 0.0025, 0.0007905694150, 0.00025,
      0.00007905694150}},
    /* As transformers' _compute_yarn_parameters and _compute_llama3_parameters. */
    {"\":\"yarn\",\"factor\":4,\"original_max_position_embeddings\":512",
     MODEL_ROPE_YARN,
     1.1386294361119891,
     {1.0, 0.25693505989, 0.0625, 0.01383496476, 0.0025, 0.00079056941, 0.00025, 0.00007905694}},
    {"\":\"yarn\",\"factor\":4,\"original_max_position_embeddings\":512,\"attention_factor\":"
     "1.5,\"beta_fast\":32,\"beta_slow\":1.0",
     MODEL_ROPE_YARN,
     1.5,
     {1.0, 0.25693505989, 0.0625, 0.01383496476, 0.0025, 0.00079056941, 0.00025, 0.00007905694}},
    {"\":\"yarn\",\"factor\":4,\"original_max_position_embeddings\":512,\"truncate\":false",
     MODEL_ROPE_YARN,
     1.138629436111989,
     {1.0, 0.301406473, 0.0703986362, 0.0143833589, 0.0025, 0.000790569466, 0.00025,
      7.90569466e-05}},
    {"\":\"yarn\",\"factor\":4,\"original_max_position_embeddings\":512,\"mscale\":0.7,"
     "\"mscale_all_dim\":1.5",
     MODEL_ROPE_YARN,
     0.9081881819561598,
     {1.0, 0.25693505989, 0.0625, 0.01383496476, 0.0025, 0.00079056941, 0.00025, 0.00007905694}},
    {"\":\"yarn\",\"factor\":4,\"original_max_position_embeddings\":512,\"mscale\":0.7",
     MODEL_ROPE_YARN,
     1.138629436111989,
     {1.0, 0.25693505989, 0.0625, 0.01383496476, 0.0025, 0.00079056941, 0.00025, 0.00007905694}},
    {"\":\"yarn\",\"factor\":4,\"original_max_position_embeddings\":512,\"beta_fast\":16,"
     "\"beta_slow\":2",
     MODEL_ROPE_YARN,
     1.138629436111989,
     {1.0, 0.316227764, 0.0749999955, 0.0158113893, 0.0025, 0.000790569466, 0.00025,
      7.90569466e-05}},
    {"\":\"dynamic\",\"factor\":2",
     MODEL_ROPE_DYNAMIC,
     1,
     {1, 0.316227766, 0.1, 0.0316227766, 0.01, 0.00316227766, 0.001, 0.000316227766}},
    {"\":\"longrope\",\"factor\":4,\"original_max_position_embeddings\":512,"
     "\"short_factor\":[1,1.05,1.1,1.2,1.3,1.5,2,3],\"long_factor\":[1,1.5,2,4,8,16,24,32]",
     MODEL_ROPE_LONGROPE,
     1.1055415967851334,
     {1.0, 0.301169306, 0.0909090936, 0.0263523124, 0.0076923077, 0.00210818532, 0.0005,
      0.000105409257}},
    {"\":\"su\",\"original_max_position_embeddings\":512,"
     "\"short_factor\":[1,1.05,1.1,1.2,1.3,1.5,2,3],\"long_factor\":[1,1.5,2,4,8,16,24,32]",
     MODEL_ROPE_LONGROPE,
     1.1055415967851334,
     {1.0, 0.301169306, 0.0909090936, 0.0263523124, 0.0076923077, 0.00210818532, 0.0005,
      0.000105409257}},
    {"\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"
     "\"original_max_position_embeddings\":512",
     MODEL_ROPE_LLAMA3,
     1,
     {1, 0.316227766, 0.1, 0.0184966754, 0.00125, 0.0003952847075, 0.000125, 3.952847075e-05}},
};

/* Dimension 16, base 10000, 2,048 tokens; the two spellings of transformers 4 and of 5. */
static void rope_scaling_gives_the_frequencies_of_its_definition(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof scalings / sizeof scalings[0]; i++)
        for (int form = 0; form < 2; form++) {
            struct model_spec spec;
            char value[320];
            snprintf(value, sizeof value, "{\"%s%s%s}", form == 0 ? "type" : "rope_type",
                     scalings[i].rest, form == 0 ? "" : ",\"rope_theta\":10000");
            enum status status = form == 0 ? read_with(&spec, "rope_scaling", value)
                                           : read_with(&spec, "rope_parameters", value);
            if (status != STATUS_OK)
                print_error("%s\n", status_message());
            assert_int_equal(status, STATUS_OK);
            assert_int_equal(spec.rope_scaling, scalings[i].scaling);
            assert_true(spec.rope_mscale == (double)(float)scalings[i].mscale);
            for (int f = 0; f < 8; f++)
                assert_true(fabs(spec.inv_freq[f] / scalings[i].inv_freq[f] - 1) < 2e-7);
        }
}

/* The file's yarn gives way as a whole, its factor on cos and sin too. */
static void frequencies_that_are_asked_for_stand_for_the_file_s(void **state)
{
    (void)state;
    struct model_spec spec;
    struct spec_rotation rotation;
    assert_int_equal(read_with(&spec, "rope_scaling",
                               "{\"type\":\"yarn\",\"factor\":2,\"attention_factor\":3,"
                               "\"original_max_position_embeddings\":99}"),
                     STATUS_OK);
    spec_rotation_make(&rotation, &spec, &(struct frequencies){0}, 0);
    assert_memory_equal(rotation.inv_freq, spec.inv_freq, sizeof spec.inv_freq);
    assert_true(rotation.magnitude == 3 && rotation.logn == 0);

    spec_rotation_make(&rotation, &spec, &(struct frequencies){FREQUENCIES_LINEAR, 4, 0, 0}, 60);
    assert_true(rotation.magnitude == 1 && rotation.logn == log(60));
    for (int f = 0; f < 8; f++)
        assert_true(fabs(rotation.inv_freq[f] * 4 / pow(10000, -f / 8.0) - 1) < 2e-7);

    /* The highest frequency stays, the lowest is stretched by the factor. */
    spec_rotation_make(&rotation, &spec, &(struct frequencies){FREQUENCIES_NTK, 4, 0, 0}, 0);
    assert_true(rotation.magnitude == 1);
    for (int f = 0; f < 8; f++)
        assert_true(fabs(rotation.inv_freq[f] * pow(4, f / 7.0) / pow(10000, -f / 8.0) - 1) < 2e-7);

    /* As transformers' _compute_yarn_parameters. */
    static const double yarn[8] = {1.0,    0.25693505989, 0.0625,  0.01383496476,
                                   0.0025, 0.00079056941, 0.00025, 0.00007905694};
    spec_rotation_make(&rotation, &spec, &(struct frequencies){FREQUENCIES_YARN, 4, 512, 1.5}, 0);
    assert_true(rotation.magnitude == 1.5);
    for (int f = 0; f < 8; f++)
        assert_true(fabs(rotation.inv_freq[f] / yarn[f] - 1) < 2e-7);
}

/* Each key of each scaling, and what flips it: the rotation of a served context changes. */
static void every_key_of_rope_scaling_is_seen(void **state)
{
    (void)state;
#define FACTORS "\"short_factor\":[1,1,1,1,1,1,1,1],\"long_factor\":[2,2,2,2,2,2,2,2]"
#define LONG "\"type\":\"longrope\",\"original_max_position_embeddings\":512,"
#define YARN "\"type\":\"yarn\",\"factor\":4,\"original_max_position_embeddings\":512,"
#define LLAMA3 "\"type\":\"llama3\",\"original_max_position_embeddings\":512,\"low_freq_factor\":1,"
    static const struct {
        const char *one;
        const char *other;
        int64_t context;
    } pairs[] = {
        {"{\"type\":\"linear\",\"factor\":2}", "{\"type\":\"linear\",\"factor\":3}", 512},
        {"{\"type\":\"dynamic\",\"factor\":2}", "{\"type\":\"dynamic\",\"factor\":3}", 4096},
        {"{\"type\":\"default\",\"rope_theta\":100}", "{\"type\":\"default\"}", 512},
        {"{" YARN "\"beta_fast\":32}", "{" YARN "\"beta_fast\":9}", 512},
        {"{" YARN "\"beta_slow\":1}", "{" YARN "\"beta_slow\":4}", 512},
        {"{" YARN "\"truncate\":true}", "{" YARN "\"truncate\":false}", 512},
        {"{" YARN "\"attention_factor\":1}", "{" YARN "\"attention_factor\":2}", 512},
        {"{" YARN "\"mscale\":1,\"mscale_all_dim\":1}",
         "{" YARN "\"mscale\":2,\"mscale_all_dim\":1}", 512},
        {"{" YARN "\"mscale\":1,\"mscale_all_dim\":1}", "{" YARN "\"mscale\":1}", 512},
        {"{" YARN "\"rope_theta\":10000}",
         "{\"type\":\"yarn\",\"factor\":4,\"original_max_position_embeddings\":99}", 512},
        {"{" YARN "\"rope_theta\":10000}",
         "{\"type\":\"yarn\",\"factor\":5,\"original_max_position_embeddings\":512}", 512},
        {"{" LLAMA3 "\"factor\":4,\"high_freq_factor\":4}",
         "{" LLAMA3 "\"factor\":4,\"high_freq_factor\":9}", 512},
        {"{" LLAMA3 "\"factor\":4,\"high_freq_factor\":4}",
         "{" LLAMA3 "\"factor\":8,\"high_freq_factor\":4}", 512},
        {"{" LLAMA3 "\"factor\":4,\"high_freq_factor\":4}",
         "{\"type\":\"llama3\",\"original_max_position_embeddings\":512,\"low_freq_factor\":2,"
         "\"factor\":4,\"high_freq_factor\":4}",
         512},
        {"{" LLAMA3 "\"factor\":4,\"high_freq_factor\":4}",
         "{\"type\":\"llama3\",\"original_max_position_embeddings\":256,\"low_freq_factor\":1,"
         "\"factor\":4,\"high_freq_factor\":4}",
         512},
        {"{" LONG FACTORS "}",
         "{" LONG "\"short_factor\":[1,1,1,1,1,1,1,2],\"long_factor\":[2,2,2,2,2,2,2,2]}", 512},
        {"{" LONG FACTORS "}",
         "{" LONG "\"short_factor\":[1,1,1,1,1,1,1,1],\"long_factor\":[2,2,2,2,2,2,2,1]}", 513},
        {"{" LONG FACTORS "}", "{" LONG FACTORS ",\"factor\":2}", 512},
        {"{" LONG FACTORS "}", "{" LONG FACTORS ",\"attention_factor\":2}", 512},
        {"{" LONG FACTORS "}",
         "{\"type\":\"longrope\",\"original_max_position_embeddings\":600," FACTORS "}", 513},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        struct spec_rotation rotations[2];
        for (int side = 0; side < 2; side++) {
            struct model_spec spec;
            const char *value = side == 0 ? pairs[i].one : pairs[i].other;
            if (read_with(&spec, "rope_scaling", value) != STATUS_OK)
                fail_msg("%s: %s", value, status_message());
            const struct frequencies frequencies = spec_frequencies(&spec, pairs[i].context);
            spec_rotation_make(&rotations[side], &spec, &frequencies, 0);
        }
        if (memcmp(&rotations[0], &rotations[1], sizeof rotations[0]) == 0)
            fail_msg("%s and %s turn alike", pairs[i].one, pairs[i].other);
    }
}

/* As transformers gives them at 3,000 and at 513 tokens. */
static void long_contexts_have_the_frequencies_of_their_length(void **state)
{
    (void)state;
    static const struct {
        const char *scaling;
        int64_t context;
        enum frequencies_kind kind;
        double inv_freq[8];
    } cases[] = {
        {"{\"type\":\"dynamic\",\"factor\":2}",
         2048,
         FREQUENCIES_OF_MODEL,
         {1, 0.316227766, 0.1, 0.0316227766, 0.01, 0.00316227766, 0.001, 0.000316227766}},
        {"{\"type\":\"dynamic\",\"factor\":2}",
         3000,
         FREQUENCIES_NTK,
         {1.0, 0.287883073, 0.0828766674, 0.0238587912, 0.00686854264, 0.00197733706,
          0.000569241878, 0.000163875127}},
        {"{\"type\":\"longrope\",\"original_max_position_embeddings\":512,"
         "\"short_factor\":[1,1.05,1.1,1.2,1.3,1.5,2,3],\"long_factor\":[1,1.5,2,4,8,16,24,32]}",
         512,
         FREQUENCIES_OF_MODEL,
         {1.0, 0.301169306, 0.0909090936, 0.0263523124, 0.0076923077, 0.00210818532, 0.0005,
          0.000105409257}},
        {"{\"type\":\"longrope\",\"original_max_position_embeddings\":512,"
         "\"short_factor\":[1,1.05,1.1,1.2,1.3,1.5,2,3],\"long_factor\":[1,1.5,2,4,8,16,24,32]}",
         513,
         FREQUENCIES_LONG,
         {1.0, 0.210818499, 0.05, 0.00790569466, 0.00125, 0.000197642366, 4.16666662e-05,
          9.88211832e-06}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct model_spec spec;
        struct spec_rotation rotation;
        assert_int_equal(read_with(&spec, "rope_scaling", cases[i].scaling), STATUS_OK);
        const struct frequencies frequencies = spec_frequencies(&spec, cases[i].context);
        assert_int_equal(frequencies.kind, cases[i].kind);
        spec_rotation_make(&rotation, &spec, &frequencies, 0);
        assert_true(rotation.magnitude == spec.rope_mscale);
        for (int f = 0; f < 8; f++)
            assert_true(fabs(rotation.inv_freq[f] / cases[i].inv_freq[f] - 1) < 3e-7);
    }
}

/* Of Phi-3 and others it stands beside the scaling. */
static void the_original_length_may_stand_outside(void **state)
{
    (void)state;
    struct model_spec spec;
    json_t *root = NULL;
    assert_int_equal(json_place_parse(&root, plain, strlen(plain), sizeof plain, "config.json"),
                     STATUS_OK);
    json_object_set_new(root, "original_max_position_embeddings", json_integer(256));
    json_object_set_new(root, "rope_scaling", json_loads("{\"type\":\"su\"," FACTORS "}", 0, NULL));
    const struct json_place place = json_place_root(root, "config.json");
    assert_int_equal(spec_config_read(&spec, &place), STATUS_OK);
    json_decref(root);
    assert_int_equal(spec.rope_original_tokens, 256);
    assert_true(spec.rope_factor == 8);
}

static void rope_parameters_bring_their_own_base(void **state)
{
    (void)state;
    struct model_spec spec;
    assert_int_equal(
        read_with(&spec, "rope_parameters", "{\"rope_type\":\"default\",\"rope_theta\":500000.0}"),
        STATUS_OK);
    assert_true(spec.rope_base == 500000 && spec.rope_scaling == MODEL_ROPE_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(facts_are_those_of_the_file),
        cmocka_unit_test(what_a_file_leaves_out_is_as_in_transformers),
        cmocka_unit_test(facts_that_cannot_be_are_refused_with_their_path),
        cmocka_unit_test(a_number_that_is_too_large_is_no_limit_or_is_not_read),
        cmocka_unit_test(integers_of_any_width_keep_their_value),
        cmocka_unit_test(what_is_not_supported_is_refused_by_name),
        cmocka_unit_test(rope_scaling_gives_the_frequencies_of_its_definition),
        cmocka_unit_test(every_key_of_rope_scaling_is_seen),
        cmocka_unit_test(long_contexts_have_the_frequencies_of_their_length),
        cmocka_unit_test(the_original_length_may_stand_outside),
        cmocka_unit_test(frequencies_that_are_asked_for_stand_for_the_file_s),
        cmocka_unit_test(rope_parameters_bring_their_own_base),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
