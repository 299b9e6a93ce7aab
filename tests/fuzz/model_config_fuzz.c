/* Feeds bytes to the reading of a config.json: facts within their limits, or a sentence. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "proto/model/spec_config.h"
#include "tests/fuzz/fuzz.h"

static const char *const seeds[] = {
    "{\"model_type\":\"llama\",\"architectures\":[\"LlamaForCausalLM\"],\"hidden_size\":64,"
    "\"intermediate_size\":96,\"num_hidden_layers\":2,\"num_attention_heads\":4,"
    "\"num_key_value_heads\":2,\"vocab_size\":300,\"max_position_embeddings\":2048,"
    "\"rms_norm_eps\":1e-05,\"rope_theta\":1e4,\"tie_word_embeddings\":true,\"rope_scaling\":"
    "{\"type\":\"yarn\",\"factor\":4,\"beta_fast\":32,\"attention_factor\":1.5}}",
    "{\"model_type\":\"llama\",\"hidden_size\":64,\"intermediate_size\":96,"
    "\"num_hidden_layers\":2,\"num_attention_heads\":4,\"head_dim\":32,\"vocab_size\":9,"
    "\"max_position_embeddings\":8,\"rms_norm_eps\":0.5,\"hidden_act\":\"silu\","
    "\"rope_parameters\":{\"rope_type\":\"llama3\",\"rope_theta\":5e5,\"factor\":8,"
    "\"low_freq_factor\":1,\"high_freq_factor\":4,\"original_max_position_embeddings\":4}}",
    "{\"model_type\":\"llama\",\"hidden_size\":64.0,\"intermediate_size\":96,"
    "\"num_hidden_layers\":2,\"num_attention_heads\":4,\"vocab_size\":9,\"unused\":[-1e3,"
    "-9223372036854775809,\"\\\"9\"],\"max_position_embeddings\":18446744073709551616,"
    "\"rms_norm_eps\":0.5}",
    "{\"model_type\":\"qwen3\",\"hidden_size\":64,\"intermediate_size\":96,"
    "\"num_hidden_layers\":3,\"num_attention_heads\":4,\"num_key_value_heads\":2,\"vocab_size\":9,"
    "\"max_position_embeddings\":99,\"rms_norm_eps\":0.5,\"attention_bias\":true,"
    "\"use_sliding_window\":true,\"sliding_window\":7,\"max_window_layers\":2,\"layer_types\":"
    "[\"full_attention\",\"sliding_attention\",\"full_attention\"]}",
    "{\"model_type\":\"mistral\",\"hidden_size\":64,\"intermediate_size\":96,"
    "\"num_hidden_layers\":2,\"num_attention_heads\":8,\"vocab_size\":9,"
    "\"max_position_embeddings\":99,\"rms_norm_eps\":0.5,\"sliding_window\":null}",
};

size_t fuzz_seed(int index, uint8_t *data, size_t room)
{
    if (index >= (int)(sizeof seeds / sizeof seeds[0]) || strlen(seeds[index]) > room)
        return 0;
    memcpy(data, seeds[index], strlen(seeds[index]));
    return strlen(seeds[index]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    json_t *root = NULL;
    if (json_place_parse(&root, data, bytes, 1 << 20, "input") != STATUS_OK) {
        assert(status_message()[0] != 0);
        return 0;
    }
    const struct json_place place = json_place_root(root, "input");
    struct model_spec spec;
    if (spec_config_read(&spec, &place) == STATUS_OK) {
        assert(spec.layers > 0 && spec.vocab > 0 && spec.heads % spec.kv_heads == 0);
        assert(spec.head_dim > 0 && spec.head_dim <= MODEL_HEAD_DIM_MAX);
        assert(spec.window.tokens >= 0 && spec.window.tokens <= MODEL_TOKENS_MAX);
        assert(spec.window.tokens > 0 || spec_window_layers(&spec) == 0);
        for (int i = 0; i < spec.head_dim / 2; i++)
            assert(isfinite(spec.inv_freq[i]) && spec.inv_freq[i] >= 0);
    }
    for (const char *byte = status_message(); *byte; byte++)
        assert((unsigned char)*byte >= 0x20);
    json_decref(root);
    return 0;
}
