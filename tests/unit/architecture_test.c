/* What distinguishes the architectures: their facts from config.json and from GGUF keys, and the
 * tensors that they have. */
#include "tests/support/unit.h"

#include <stdio.h>
#include <string.h>

#include "proto/model/model.h"
#include "proto/model/spec_config.h"
#include "proto/model/spec_gguf.h"
#include "tests/support/tiny_model.h"

static uint64_t covered(const struct model_spec *spec)
{
    return spec->window.layers[0];
}

/* The spec of a config.json of four layers with `rest` in it. */
static enum status read_config(struct model_spec *spec, const char *type, const char *rest)
{
    char text[1024];
    json_t *root = NULL;
    snprintf(text, sizeof text,
             "{\"model_type\": \"%s\", \"hidden_size\": 64, \"intermediate_size\": 96,"
             " \"num_hidden_layers\": 4, \"num_attention_heads\": 32, \"vocab_size\": 300,"
             " \"max_position_embeddings\": 2048, \"rms_norm_eps\": 1e-05%s}",
             type, rest);
    assert_int_equal(json_place_parse(&root, text, strlen(text), sizeof text, "config.json"),
                     STATUS_OK);
    const struct json_place place = json_place_root(root, "config.json");
    enum status status = spec_config_read(spec, &place);
    json_decref(root);
    return status;
}

#define HEAD ", \"head_dim\": 16"
#define PAIRED ", \"head_dim\": 16, \"num_key_value_heads\": 2"

static const struct {
    const char *type;
    const char *rest;
    int kv_heads;
    int head_dim;
    const char *parts; /* qkv, output, mlp, norm */
    int window;
    uint64_t layers;
} configs[] = {
    {"llama", HEAD, 32, 16, "----", 0, 0},
    {"llama", HEAD ", \"attention_bias\": true", 32, 16, "qo--", 0, 0},
    {"llama", HEAD ", \"mlp_bias\": true", 32, 16, "--m-", 0, 0},
    {"llama", HEAD ", \"use_sliding_window\": false, \"sliding_window\": 9", 32, 16, "----", 0, 0},
    {"mistral", HEAD, 8, 16, "----", 4096, 15},
    {"mistral", HEAD ", \"sliding_window\": null", 8, 16, "----", 0, 0},
    {"mistral", PAIRED ", \"sliding_window\": 7", 2, 16, "----", 7, 15},
    {"mistral", HEAD ", \"num_key_value_heads\": null", 32, 16, "----", 4096, 15},
    {"ministral",
     PAIRED ", \"sliding_window\": 7, \"layer_types\": [\"full_attention\", \"sliding_attention\","
            " \"full_attention\", \"sliding_attention\"]",
     2, 16, "----", 7, 10},
    {"cwm",
     ", \"mlp_bias\": true, \"layer_types\": [\"full_attention\", \"sliding_attention\","
     " \"sliding_attention\", \"sliding_attention\"]",
     8, 128, "--m-", 8192, 14},
    {"qwen2", HEAD, 32, 16, "q---", 0, 0},
    {"qwen2", HEAD ", \"sliding_window\": 7, \"max_window_layers\": 1", 32, 16, "q---", 0, 0},
    {"qwen2", HEAD ", \"use_sliding_window\": true, \"sliding_window\": 7", 32, 16, "q---", 7, 0},
    {"qwen2",
     HEAD ", \"use_sliding_window\": true, \"sliding_window\": 7, \"max_window_layers\": 1", 32, 16,
     "q---", 7, 14},
    {"qwen3", "", 32, 128, "---n", 0, 0},
    {"qwen3", PAIRED ", \"attention_bias\": true", 2, 16, "qo-n", 0, 0},
    {"qwen3",
     PAIRED ", \"use_sliding_window\": true, \"layer_types\": [\"sliding_attention\","
            " \"full_attention\", \"full_attention\", \"full_attention\"]",
     2, 16, "---n", 4096, 1},
};

static void a_config_has_the_facts_of_its_architecture(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof configs / sizeof configs[0]; i++) {
        struct model_spec spec;
        enum status status = read_config(&spec, configs[i].type, configs[i].rest);
        if (status != STATUS_OK)
            print_error("%s%s: %s\n", configs[i].type, configs[i].rest, status_message());
        assert_int_equal(status, STATUS_OK);
        const char parts[] = {spec.qkv_bias ? 'q' : '-', spec.output_bias ? 'o' : '-',
                              spec.mlp_bias ? 'm' : '-', spec.qk_norm ? 'n' : '-', 0};
        assert_string_equal(parts, configs[i].parts);
        assert_int_equal(spec.kv_heads, configs[i].kv_heads);
        assert_int_equal(spec.head_dim, configs[i].head_dim);
        assert_int_equal(spec.window.tokens, configs[i].window);
        assert_int_equal(covered(&spec), configs[i].layers);
        assert_false(spec.interleaved_qk);
        assert_true(text_view_is(spec.architecture, configs[i].type));
        const struct model_shape planned = spec_shape(&spec, 0);
        assert_int_equal(planned.window.tokens, configs[i].layers ? configs[i].window : 0);
        assert_int_equal(planned.qkv_bias, spec.qkv_bias);
        assert_int_equal(planned.qk_norm, spec.qk_norm);
    }
}

static void a_config_that_asks_for_more_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *type;
        const char *rest;
        const char *words;
    } cases[] = {
        {"gemma", "",
         "model_type: architecture gemma is not supported; known: llama, mistral, ministral, "
         "cwm, qwen2, qwen3, smollm3, olmo2, granite, phi3, gemma2, gemma3_text ["},
        {"qwen2", ", \"architectures\": [\"LlamaForCausalLM\"]",
         "architectures: LlamaForCausalLM is not supported, Qwen2ForCausalLM alone is"},
        {"cwm", "", "layer_types: is missing; a sliding window is not supported without it"},
        {"mistral", HEAD ", \"attention_bias\": true", "attention_bias: is not supported in this"},
        {"qwen2", HEAD ", \"mlp_bias\": true", "mlp_bias: is not supported in this architecture"},
        {"llama", HEAD ", \"attention_bias\": 1", "attention_bias: is an integer"},
        {"llama", HEAD ", \"sliding_window\": 9", "a sliding window in this architecture is not"},
        {"mistral", HEAD ", \"sliding_window\": 0", "sliding_window: is 0"},
        {"mistral", HEAD ", \"layer_types\": [\"full_attention\"]",
         "layer_types: is not supported"},
        {"qwen3", ", \"layer_types\": [\"full_attention\"]", "layer_types: has 1 values for 4"},
        {"qwen3", ", \"layer_types\": [\"full_attention\", 1, 2, 3]",
         "layer_types: ? is not supported; full_attention and sliding_attention are"},
        {"qwen3",
         ", \"layer_types\": [\"chunked_attention\", \"full_attention\", \"full_attention\","
         " \"full_attention\"]",
         "layer_types: chunked_attention is not supported"},
        {"qwen3",
         ", \"layer_types\": [\"full_attention\", \"sliding_attention\", \"full_attention\","
         " \"full_attention\"]",
         "layer 1 is sliding_attention, but the model uses no sliding_window"},
        {"qwen2", HEAD ", \"use_sliding_window\": true, \"max_window_layers\": -1",
         "max_window_layers: is -1"},
        {"qwen3", ", \"num_key_value_heads\": 3", "32 heads cannot share 3"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct model_spec spec;
        enum status status = read_config(&spec, cases[i].type, cases[i].rest);
        if (status == STATUS_OK || !strstr(status_message(), cases[i].words))
            print_error("%s%s: wanted %s, got %s\n", cases[i].type, cases[i].rest, cases[i].words,
                        status == STATUS_OK ? "no refusal" : status_message());
        assert_int_not_equal(status, STATUS_OK);
        assert_non_null(strstr(status_message(), cases[i].words));
    }
}

static const struct tiny_model_shape small = {
    .layers = 3, .hidden = 32, .heads = 4, .kv_heads = 2, .head_dim = 16, .ffn = 32};

/* The facts of a GGUF file, without a look at its tensors but for their names. */
static enum status read_gguf(struct model_spec *spec, const struct tiny_model_shape *shape)
{
    struct gguf_writer file = {0};
    struct gguf *gguf;
    tiny_model_build(&file, shape, 1, DTYPE_F32);
    assert_int_equal(gguf_parse(&gguf, file.data, file.bytes, "tiny"), STATUS_OK);
    enum status status = spec_gguf_read(spec, gguf);
    gguf_close(gguf);
    gguf_writer_free(&file);
    return status;
}

static void a_gguf_file_has_the_parts_whose_tensors_it_holds(void **state)
{
    (void)state;
    for (int parts = 0; parts < 8; parts++) {
        struct tiny_model_shape shape = small;
        struct model_spec spec;
        shape.qkv_bias = parts & 1;
        shape.output_bias = parts & 2;
        shape.mlp_bias = parts & 4;
        assert_int_equal(read_gguf(&spec, &shape), STATUS_OK);
        assert_int_equal(spec.qkv_bias, shape.qkv_bias);
        assert_int_equal(spec.output_bias, shape.output_bias);
        assert_int_equal(spec.mlp_bias, shape.mlp_bias);
        assert_true(spec.interleaved_qk && !spec.qk_norm && spec.window.tokens == 0);
    }
    struct tiny_model_shape shape = small;
    struct model_spec spec;
    shape.architecture = "qwen2";
    assert_int_equal(read_gguf(&spec, &shape), STATUS_OK);
    assert_true(spec.qkv_bias && !spec.output_bias && !spec.mlp_bias && !spec.interleaved_qk);
    shape.architecture = "qwen3";
    assert_int_equal(read_gguf(&spec, &shape), STATUS_OK);
    assert_true(spec.qk_norm && !spec.qkv_bias && !spec.interleaved_qk);
}

static void a_gguf_file_says_which_layers_have_its_window(void **state)
{
    (void)state;
    struct tiny_model_shape shape = small;
    struct model_spec spec;
    shape.window = 9;
    assert_int_equal(read_gguf(&spec, &shape), STATUS_OK);
    assert_true(spec.window.tokens == 9 && covered(&spec) == 7);
    assert_int_equal(spec_window_layers(&spec), 3);
    shape.window_layers = 5;
    assert_int_equal(read_gguf(&spec, &shape), STATUS_OK);
    assert_true(spec.window.tokens == 9 && covered(&spec) == 5);
}

/* A model of four layers' keys with a window, and a pattern of `count` values; -1: without one. */
static void expect_window_refusal(const char *architecture, int count, enum gguf_type type,
                                  const char *words)
{
    struct tiny_model_shape shape = small;
    struct gguf_writer file = {0};
    struct gguf_writer pairs = {0};
    char key[64];
    struct gguf *gguf;
    struct model_spec spec;
    shape.architecture = architecture;
    tiny_model_build(&file, &shape, 1, DTYPE_F32);
    snprintf(key, sizeof key, "%s.attention.sliding_window", architecture);
    gguf_writer_pair_u32(&pairs, key, 9);
    snprintf(key, sizeof key, "%s.attention.sliding_window_pattern", architecture);
    if (count >= 0)
        gguf_writer_array(&pairs, key, type, (uint64_t)count);
    for (int i = 0; i < count; i++)
        gguf_writer_u8(&pairs, 1);
    gguf_writer_insert_pairs(&file, &pairs, count >= 0 ? 2 : 1);
    assert_int_equal(gguf_parse(&gguf, file.data, file.bytes, "tiny"), STATUS_OK);
    assert_int_not_equal(spec_gguf_read(&spec, gguf), STATUS_OK);
    if (!strstr(status_message(), words))
        print_error("wanted %s, got %s\n", words, status_message());
    assert_non_null(strstr(status_message(), words));
    gguf_close(gguf);
    gguf_writer_free(&file);
}

static void a_window_that_does_not_fit_is_refused(void **state)
{
    (void)state;
    expect_window_refusal("llama", 2, GGUF_BOOL,
                          "llama.attention.sliding_window_pattern has 2 values for 3 layers");
    expect_window_refusal("llama", 3, GGUF_U8, "as a bool for each layer alone");
    expect_window_refusal("qwen2", -1, GGUF_BOOL,
                          "not supported without qwen2.attention.sliding_window_pattern");
}

/* As the writers of both formats spell them: nothing else holds the table against them. */
static void every_role_has_the_names_that_files_have(void **state)
{
    (void)state;
    static const char *const names[MODEL_ROLE_COUNT][2] = {
        {"token_embd.weight", "model.embed_tokens.weight"},
        {"output_norm.weight", "model.norm.weight"},
        {"output.weight", "lm_head.weight"},
        {"blk.7.attn_norm.weight", "model.layers.7.input_layernorm.weight"},
        {"blk.7.attn_q.weight", "model.layers.7.self_attn.q_proj.weight"},
        {"blk.7.attn_q.bias", "model.layers.7.self_attn.q_proj.bias"},
        {"blk.7.attn_q_norm.weight", "model.layers.7.self_attn.q_norm.weight"},
        {"blk.7.attn_k.weight", "model.layers.7.self_attn.k_proj.weight"},
        {"blk.7.attn_k.bias", "model.layers.7.self_attn.k_proj.bias"},
        {"blk.7.attn_k_norm.weight", "model.layers.7.self_attn.k_norm.weight"},
        {"blk.7.attn_v.weight", "model.layers.7.self_attn.v_proj.weight"},
        {"blk.7.attn_v.bias", "model.layers.7.self_attn.v_proj.bias"},
        {"blk.7.attn_output.weight", "model.layers.7.self_attn.o_proj.weight"},
        {"blk.7.attn_output.bias", "model.layers.7.self_attn.o_proj.bias"},
        {"blk.7.post_attention_norm.weight", "model.layers.7.post_attention_layernorm.weight"},
        {"blk.7.ffn_norm.weight", "model.layers.7.post_attention_layernorm.weight"},
        {"blk.7.ffn_gate.weight", "model.layers.7.mlp.gate_proj.weight"},
        {"blk.7.ffn_gate.bias", "model.layers.7.mlp.gate_proj.bias"},
        {"blk.7.ffn_up.weight", "model.layers.7.mlp.up_proj.weight"},
        {"blk.7.ffn_up.bias", "model.layers.7.mlp.up_proj.bias"},
        {"blk.7.ffn_down.weight", "model.layers.7.mlp.down_proj.weight"},
        {"blk.7.ffn_down.bias", "model.layers.7.mlp.down_proj.bias"},
        {"blk.7.post_ffw_norm.weight", "model.layers.7.post_feedforward_layernorm.weight"},
    };
    for (int role = 0; role < MODEL_ROLE_COUNT; role++) {
        char name[MODEL_ROLE_NAME_BYTES];
        model_role_gguf_name(name, (enum model_role)role, 7);
        assert_string_equal(name, names[role][0]);
        model_role_directory_name(name, (enum model_role)role, 7);
        assert_string_equal(name, names[role][1]);
    }
}

static void a_role_has_the_shape_that_the_facts_give_it(void **state)
{
    (void)state;
    const struct model_spec spec = {.hidden = 48,
                                    .heads = 6,
                                    .kv_heads = 2,
                                    .head_dim = 16,
                                    .ffn = 80,
                                    .vocab = 7,
                                    .qkv_bias = true};
    static const struct {
        enum model_role role;
        int64_t rows;
        int64_t columns;
        bool is_there;
        bool is_by_head;
    } cases[] = {
        {MODEL_TOKEN_EMBD, 7, 48, true, false},
        {MODEL_ATTN_Q, 96, 48, true, true},
        {MODEL_ATTN_K, 32, 48, true, true},
        {MODEL_ATTN_V, 32, 48, true, false},
        {MODEL_ATTN_Q_BIAS, 1, 96, true, true},
        {MODEL_ATTN_K_BIAS, 1, 32, true, true},
        {MODEL_ATTN_V_BIAS, 1, 32, true, false},
        {MODEL_ATTN_OUTPUT, 48, 96, true, false},
        {MODEL_ATTN_OUTPUT_BIAS, 1, 48, false, false},
        {MODEL_ATTN_Q_NORM, 1, 16, false, false},
        {MODEL_FFN_DOWN, 48, 80, true, false},
        {MODEL_FFN_UP_BIAS, 1, 80, false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct model_role_shape shape = model_role_shape(&spec, cases[i].role);
        assert_int_equal(shape.rows, cases[i].rows);
        assert_int_equal(shape.columns, cases[i].columns);
        assert_int_equal(shape.is_vector, cases[i].rows == 1);
        assert_int_equal(model_role_is_there(&spec, cases[i].role), cases[i].is_there);
        assert_int_equal(model_role_is_by_head(cases[i].role), cases[i].is_by_head);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_config_has_the_facts_of_its_architecture),
        cmocka_unit_test(a_config_that_asks_for_more_is_refused),
        cmocka_unit_test(a_gguf_file_has_the_parts_whose_tensors_it_holds),
        cmocka_unit_test(a_gguf_file_says_which_layers_have_its_window),
        cmocka_unit_test(a_window_that_does_not_fit_is_refused),
        cmocka_unit_test(every_role_has_the_names_that_files_have),
        cmocka_unit_test(a_role_has_the_shape_that_the_facts_give_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
