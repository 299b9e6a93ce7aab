/* Owns the tables of keys: one row each, as files of transformers and llama.cpp mean it. */
#include "tests/ranks/model_key_rows.h"

#include <stddef.h>

const char *const model_key_types[] = {
    "llama", "mistral", "ministral", "cwm",    "qwen2",       "qwen3", "smollm3",
    "olmo2", "granite", "phi3",      "gemma2", "gemma3_text", NULL,
};

#define SCALED(rest) "{\"rope_parameters\":{\"rope_theta\":10000,\"rope_type\":" rest "}}"
#define LATE "{\"use_sliding_window\":true,\"max_window_layers\":0}"
#define DYNAMIC SCALED("\"dynamic\",\"factor\":2")
#define YARN SCALED("\"yarn\",\"factor\":4,\"original_max_position_embeddings\":512")
#define SHORT "\"short_factor\":[1,1.05,1.1,1.2,1.3,1.5,2,3]"
#define LONG "\"long_factor\":[1,1.5,2,4,8,16,24,32]"
#define LONGROPE(kind, tokens)                                                                     \
    "{\"rope_parameters\":{\"rope_theta\":10000,\"rope_type\":\"" kind "\"," SHORT "," LONG        \
    ",\"original_max_position_embeddings\":" tokens "},\"max_position_embeddings\":1024}"
#define OTHER_FACTORS "[2,2.05,2.1,2.2,2.3,2.5,3,4]"

#define REFUSED(key, value)                                                                        \
    {                                                                                              \
        NULL, key, NULL, value, NULL, NULL, NULL, NULL                                             \
    }
#define SAME(key, value)                                                                           \
    {                                                                                              \
        NULL, key, NULL, value, NULL, "*", NULL, NULL                                              \
    }
#define CHANGES(key, value, types)                                                                 \
    {                                                                                              \
        NULL, key, NULL, value, types, NULL, NULL, NULL                                            \
    }

static const char with_windows[] = "mistral ministral cwm phi3 gemma2 gemma3_text qwen2 qwen3";

const struct model_key_row model_key_rows_config[] = {
    /* Qwen2's rows of queries, keys and values have biases whatever the key says; another file
     * than transformers reads would lack them. */
    {NULL, "attention_bias", NULL, "true", NULL, "qwen2", ".bias", "as in transformers"},
    {NULL, "attention_dropout", NULL, "0.5", NULL, "*", NULL, "of training"},
    {NULL, "head_dim", NULL, "32", NULL, NULL, "self_attn", NULL},
    {NULL, "hidden_size", NULL, "64", NULL, NULL, "embed_tokens", NULL},
    {NULL, "intermediate_size", NULL, "64", NULL, NULL, "mlp", NULL},
    {NULL, "num_attention_heads", NULL, "2", NULL, NULL, "self_attn", NULL},
    {NULL, "num_hidden_layers", NULL, "3", NULL, NULL, "layer", NULL},
    {NULL, "num_key_value_heads", NULL, "4", NULL, NULL, "self_attn", NULL},
    {NULL, "tie_word_embeddings", NULL, "false", NULL, NULL, "lm_head", NULL},
    {NULL, "vocab_size", NULL, "41", NULL, NULL, "embed_tokens", NULL},
    REFUSED("architectures", "[\"OtherForCausalLM\"]"),
    REFUSED("add_cross_attention", "true"),
    REFUSED("hidden_act", "\"relu\""),
    REFUSED("hidden_activation", "\"relu\""),
    REFUSED("is_causal", "false"),
    REFUSED("is_encoder_decoder", "true"),
    REFUSED("logit_scale", "2"),
    REFUSED("mlp_bias", "1"),
    REFUSED("model_type", "\"other\""),
    REFUSED("num_experts", "8"),
    REFUSED("num_local_experts", "8"),
    REFUSED("quantization_config", "{\"quant_method\":\"gptq\"}"),
    REFUSED("rope_interleaved", "true"),
    REFUSED("use_bidirectional_attention", "true"),
    CHANGES("partial_rotary_factor", "0.5", "phi3"),
    CHANGES("rms_norm_eps", "0.01", "*"),
    CHANGES("rope_parameters", "{\"rope_type\":\"linear\",\"factor\":4}", "*"),
    CHANGES("rope_scaling", "{\"type\":\"linear\",\"factor\":4}", "*"),
    CHANGES("rope_theta", "500", "*"),
    CHANGES("embedding_multiplier", "2", "granite"),
    CHANGES("residual_multiplier", "0.5", "granite"),
    CHANGES("attention_multiplier", "0.5", "granite"),
    CHANGES("logits_scaling", "2", "granite"),
    CHANGES("no_rope_layers", "[0,1,1,1,1,1,1]", "smollm3"),
    CHANGES("no_rope_layer_interval", "2", "smollm3"),
    CHANGES("sliding_window_pattern", "3", "gemma2 gemma3_text"),
    CHANGES("_sliding_window_pattern", "3", "gemma2 gemma3_text"),
    CHANGES("rope_local_base_freq", "500", "gemma3_text"),
    CHANGES("query_pre_attn_scalar", "64", "gemma2 gemma3_text"),
    CHANGES("attn_logit_softcapping", "2", "gemma2"),
    CHANGES("final_logit_softcapping", "2", "gemma2 gemma3_text"),
    {NULL, "mlp_bias", NULL, "true", NULL, NULL, ".bias", NULL},
    {NULL, "layer_types", LATE, "odd", "ministral cwm qwen2 qwen3 gemma2 gemma3_text", NULL, NULL,
     NULL},
    {NULL, "max_window_layers", LATE, "1", "qwen2 qwen3",
     "llama mistral ministral cwm smollm3 olmo2 granite phi3 gemma2 gemma3_text", NULL, NULL},
    {NULL, "sliding_window", LATE, "5", with_windows, NULL, NULL, NULL},
    {NULL, "use_sliding_window", "{\"max_window_layers\":0}", "true", "qwen2 qwen3",
     "llama mistral ministral cwm smollm3 olmo2 granite phi3 gemma2 gemma3_text", NULL, NULL},
    {NULL, "max_position_embeddings", DYNAMIC, "32", "*", NULL, NULL, NULL},
    {NULL, "original_max_position_embeddings", SCALED("\"yarn\",\"factor\":4"), "512", "*", NULL,
     NULL, NULL},
    /* What nothing is computed by. */
    SAME("dtype", "\"float16\""),
    SAME("torch_dtype", "\"float16\""),
    SAME("bos_token_id", "3"),
    SAME("eos_token_id", "[3,4]"),
    SAME("pad_token_id", "3"),
    SAME("sep_token_id", "3"),
    SAME("decoder_start_token_id", "3"),
    SAME("tokenizer_class", "\"Other\""),
    SAME("prefix", "\"x\""),
    SAME("attn_implementation", "\"eager\""),
    SAME("_attn_implementation", "\"eager\""),
    SAME("auto_map", "{\"a\":\"b\"}"),
    SAME("cache_implementation", "\"hybrid\""),
    SAME("chunk_size_feed_forward", "2"),
    SAME("embd_pdrop", "0.5"),
    SAME("finetuning_task", "\"x\""),
    SAME("hidden_dropout", "0.5"),
    SAME("id2label", "{\"0\":\"x\"}"),
    SAME("initializer_range", "0.5"),
    SAME("is_decoder", "true"),
    SAME("is_llama_config", "true"),
    SAME("label2id", "{\"x\":0}"),
    SAME("_name_or_path", "\"x\""),
    SAME("output_attentions", "true"),
    SAME("output_hidden_states", "true"),
    SAME("pretraining_tp", "2"),
    SAME("problem_type", "\"x\""),
    SAME("resid_pdrop", "0.5"),
    SAME("return_dict", "false"),
    SAME("transformers.js_config", "{}"),
    SAME("transformers_version", "\"9.9\""),
    SAME("use_cache", "false"),
    {0},
};

#define OF(kind, key, beside, flipped)                                                             \
    {                                                                                              \
        kind, key, beside, flipped, "*", NULL, NULL, NULL                                          \
    }

const struct model_key_row model_key_rows_rope[] = {
    OF("linear", "factor", SCALED("\"linear\",\"factor\":4"), "8"),
    OF("dynamic", "factor", DYNAMIC, "4"),
    OF("dynamic", "rope_type", DYNAMIC, "\"linear\""),
    OF("dynamic", "rope_theta", DYNAMIC, "500"),
    {"dynamic", "partial_rotary_factor", DYNAMIC, "0.5", "phi3", NULL, NULL, NULL},
    {"dynamic", "finetuned", DYNAMIC, "true", NULL, "*", NULL, NULL},
    OF("dynamic", "type", "{\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2}}", "\"linear\""),
    OF("yarn", "factor", YARN, "8"),
    OF("yarn", "beta_fast", YARN, "16"),
    OF("yarn", "beta_slow", YARN, "4"),
    OF("yarn", "truncate", YARN, "false"),
    OF("yarn", "attention_factor", YARN, "1.5"),
    OF("yarn", "original_max_position_embeddings", YARN, "64"),
    OF("yarn", "mscale", SCALED("\"yarn\",\"factor\":4,\"mscale_all_dim\":1.5"), "0.7"),
    OF("yarn", "mscale_all_dim", SCALED("\"yarn\",\"factor\":4,\"mscale\":0.7"), "1.5"),
#define LLAMA3                                                                                     \
    SCALED("\"llama3\",\"factor\":8,\"low_freq_factor\":1,\"high_freq_factor\":4,"                 \
           "\"original_max_position_embeddings\":512")
    OF("llama3", "factor", LLAMA3, "4"),
    OF("llama3", "low_freq_factor", LLAMA3, "2"),
    OF("llama3", "high_freq_factor", LLAMA3, "6"),
    OF("llama3", "original_max_position_embeddings", LLAMA3, "256"),
    OF("longrope", "short_factor", LONGROPE("longrope", "512"), OTHER_FACTORS),
    OF("longrope", "factor", LONGROPE("longrope", "512"), "8"),
    OF("longrope", "attention_factor", LONGROPE("longrope", "512"), "1.5"),
    OF("longrope", "original_max_position_embeddings", LONGROPE("longrope", "512"), "16"),
    OF("longrope", "long_factor", LONGROPE("longrope", "16"), OTHER_FACTORS),
    OF("su", "short_factor", LONGROPE("su", "512"), OTHER_FACTORS),
    OF("su", "original_max_position_embeddings", LONGROPE("su", "512"), "16"),
    OF("su", "long_factor", LONGROPE("su", "16"), OTHER_FACTORS),
/* By layer: of one architecture, whose windows have a base of their own. */
#define BY_LAYER                                                                                   \
    "{\"rope_parameters\":{\"rope_type\":\"default\",\"full_attention\":{\"rope_type\":"           \
    "\"default\",\"rope_theta\":1000},\"sliding_attention\":{\"rope_type\":\"default\"}}}"
    {"by layer", "full_attention", BY_LAYER, "{\"rope_type\":\"default\",\"rope_theta\":500}", NULL,
     NULL, "rope_type", NULL},
    {0},
};

#define SCALING(type) "{\"rope.scaling.type\":\"" type "\",\"rope.scaling.factor\":4.0}"
#define GGUF_YARN                                                                                  \
    "{\"rope.scaling.type\":\"yarn\",\"rope.scaling.factor\":4.0,"                                 \
    "\"rope.scaling.original_context_length\":512}"
#define WINDOW "{\"attention.sliding_window\":9}"

const struct model_key_row model_key_rows_gguf[] = {
    {NULL, "block_count", NULL, "3", NULL, NULL, "blk.", NULL},
    {NULL, "embedding_length", NULL, "64", NULL, NULL, "token_embd", NULL},
    {NULL, "feed_forward_length", NULL, "64", NULL, NULL, "ffn_", NULL},
    {NULL, "attention.head_count", NULL, "2", NULL, NULL, "attn_", NULL},
    {NULL, "attention.head_count_kv", NULL, "4", NULL, NULL, "attn_", NULL},
    {NULL, "attention.key_length", NULL, "32", NULL, NULL, "keys of 32", NULL},
    {NULL, "attention.value_length", NULL, "32", NULL, NULL, "values of 32", NULL},
    {NULL, "rope.dimension_count", NULL, "8", "phi3", NULL, "8 rotated", NULL},
    REFUSED("vocab_size", "41"),
    REFUSED("expert_count", "8"),
    REFUSED("use_parallel_residual", "true"),
    REFUSED("attention.causal", "false"),
    REFUSED("attention.clamp_kqv", "1.0"),
    REFUSED("attention.max_alibi_bias", "8.0"),
    REFUSED("rope.scaling.yarn_log_multiplier", "0.1"),
    SAME("expert_used_count", "2"),
    SAME("tensor_data_layout", "\"x\""),
    CHANGES("attention.layer_norm_rms_epsilon", "0.01", "*"),
    CHANGES("attention.scale", "0.5", "granite"),
    CHANGES("logit_scale", "2.0", "granite"),
    CHANGES("embedding_scale", "2.0", "granite"),
    CHANGES("residual_scale", "0.5", "granite"),
    CHANGES("attn_logit_softcapping", "2.0", "gemma2"),
    CHANGES("final_logit_softcapping", "2.0", "gemma2 gemma3"),
    CHANGES("rope.freq_base", "500.0", "*"),
    CHANGES("rope.scale_linear", "4.0", "*"),
    CHANGES("rope.scaling.factor", "4.0", "*"),
    CHANGES("rope.scaling.attn_factor", "1.5", "*"),
    {NULL, "rope.scaling.finetuned", NULL, "true", NULL, "*", NULL, "says where it comes from"},
    {NULL, "attention.sliding_window", NULL, "9", "llama phi3 gemma2 gemma3", NULL, NULL, NULL},
    {NULL, "attention.sliding_window_pattern", WINDOW, "odd", "*", NULL, NULL, NULL},
    {NULL, "rope.freq_base_swa", WINDOW, "500.0", "gemma3", NULL, NULL, NULL},
    {NULL, "rope.scaling.type", SCALING("none"), "\"linear\"", "*", NULL, NULL, NULL},
    {NULL, "context_length", SCALING("yarn"), "512", "*", NULL, NULL, NULL},
    {NULL, "rope.scaling.original_context_length", SCALING("yarn"), "512", "*", NULL, NULL, NULL},
    {NULL, "rope.scaling.yarn_ext_factor", GGUF_YARN, "0.5", NULL, NULL, NULL, NULL},
    {NULL, "rope.scaling.yarn_attn_factor", GGUF_YARN, "1.5", "*", NULL, NULL, NULL},
    {NULL, "rope.scaling.yarn_beta_fast", GGUF_YARN, "16.0", "*", NULL, NULL, NULL},
    {NULL, "rope.scaling.yarn_beta_slow", GGUF_YARN, "4.0", "*", NULL, NULL, NULL},
    {0},
};
