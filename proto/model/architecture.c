/* Owns the table of architectures. */
#include "proto/model/architecture.h"

#include <math.h>
#include <stdio.h>

static const struct architecture rows[] = {
    {
        .gguf = "llama",
        .model_type = "llama",
        .class = "LlamaForCausalLM",
        .interleaves_qk = true,
        .qkv_bias = ARCHITECTURE_STATED,
        .output_bias = ARCHITECTURE_STATED,
        .mlp_bias = ARCHITECTURE_STATED,
        .gguf_window = ARCHITECTURE_WINDOW_ALL, /* Mistral's */
    },
    {
        .model_type = "mistral",
        .class = "MistralForCausalLM",
        .config_window = ARCHITECTURE_WINDOW_ALL,
        .window = 4096,
        .kv_heads = 8,
    },
    {
        .model_type = "ministral",
        .class = "MinistralForCausalLM",
        .config_window = ARCHITECTURE_WINDOW_ALL,
        .lists_layers = true,
        .window = 4096,
        .kv_heads = 8,
    },
    {
        .model_type = "cwm",
        .class = "CwmForCausalLM",
        .mlp_bias = ARCHITECTURE_STATED,
        .config_window = ARCHITECTURE_WINDOW_LISTED,
        .lists_layers = true,
        .window = 8192,
        .kv_heads = 8,
        .head_dim = 128,
        .rope_base = 1e6,
    },
    {
        .gguf = "qwen2",
        .model_type = "qwen2",
        .class = "Qwen2ForCausalLM",
        .qkv_bias = ARCHITECTURE_ALWAYS,
        .gguf_window = ARCHITECTURE_WINDOW_LISTED,
        .config_window = ARCHITECTURE_WINDOW_LATE,
        .lists_layers = true,
        .window = 4096,
        .kv_heads = 32,
    },
    {
        .gguf = "qwen3",
        .model_type = "qwen3",
        .class = "Qwen3ForCausalLM",
        .qkv_bias = ARCHITECTURE_STATED,
        .output_bias = ARCHITECTURE_STATED,
        .qk_norm = ARCHITECTURE_ALWAYS,
        .gguf_window = ARCHITECTURE_WINDOW_LISTED,
        .config_window = ARCHITECTURE_WINDOW_LATE,
        .lists_layers = true,
        .window = 4096,
        .kv_heads = 32,
        .head_dim = 128,
    },
    {
        .gguf = "smollm3",
        .model_type = "smollm3",
        .class = "SmolLM3ForCausalLM",
        .interleaves_qk = true,
        .qkv_bias = ARCHITECTURE_STATED,
        .output_bias = ARCHITECTURE_STATED,
        .mlp_bias = ARCHITECTURE_STATED,
        .lists_layers = true,
        .kv_heads = 4,
        .rope_base = 2e6,
        .tied = true,
        .no_rope_period = 4,
    },
    {
        .gguf = "olmo2",
        .model_type = "olmo2",
        .class = "Olmo2ForCausalLM",
        .qkv_bias = ARCHITECTURE_STATED,
        .output_bias = ARCHITECTURE_STATED,
        .qk_norm = ARCHITECTURE_ALWAYS,
        .output_norms = true,
        .no_input_norms = true,
        .qk_norm_joined = true,
    },
    {
        .gguf = "granite",
        .model_type = "granite",
        .class = "GraniteForCausalLM",
        .interleaves_qk = true,
        .qkv_bias = ARCHITECTURE_STATED,
        .output_bias = ARCHITECTURE_STATED,
        .mlp_bias = ARCHITECTURE_STATED,
        .multiplies = true,
    },
    {
        .gguf = "phi3",
        .model_type = "phi3",
        .class = "Phi3ForCausalLM",
        .gguf_window = ARCHITECTURE_WINDOW_ALL,
        .config_window = ARCHITECTURE_WINDOW_ALL,
        .fused_qkv = true,
        .turns_part = true,
    },
    {
        .gguf = "gemma2",
        .model_type = "gemma2",
        .class = "Gemma2ForCausalLM",
        .qkv_bias = ARCHITECTURE_STATED,
        .output_bias = ARCHITECTURE_STATED,
        .gguf_window = ARCHITECTURE_WINDOW_PERIOD,
        .config_window = ARCHITECTURE_WINDOW_PERIOD,
        .lists_layers = true,
        .window = 4096,
        .window_period = 2,
        .kv_heads = 4,
        .head_dim = 256,
        .tied = true,
        .output_norms = true,
        .gelu = true,
        .scales_embedding = true,
        .norms_from_one = true,
        .query_scalar = 256,
        .wide_layers = 46,
        .caps_scores = true,
        .caps_logits = true,
        .attention_cap = 50,
        .logit_cap = 30,
    },
    {
        .gguf = "gemma3",
        .model_type = "gemma3_text",
        .class = "Gemma3ForCausalLM",
        .qkv_bias = ARCHITECTURE_STATED,
        .output_bias = ARCHITECTURE_STATED,
        .qk_norm = ARCHITECTURE_ALWAYS,
        .gguf_window = ARCHITECTURE_WINDOW_PERIOD,
        .config_window = ARCHITECTURE_WINDOW_PERIOD,
        .lists_layers = true,
        .window = 4096,
        .window_period = 6,
        .kv_heads = 4,
        .rope_base = 1e6,
        .local_base = 1e4,
        .head_dim = 256,
        .tied = true,
        .output_norms = true,
        .gelu = true,
        .scales_embedding = true,
        .norms_from_one = true,
        .query_scalar = 256,
        .wide_layers = 62,
        .caps_logits = true,
    },
};

enum { ROWS = sizeof rows / sizeof rows[0] };

const struct architecture *architecture_of_gguf(struct text_view name)
{
    for (size_t i = 0; i < ROWS; i++)
        if (rows[i].gguf && text_view_is(name, rows[i].gguf))
            return &rows[i];
    return NULL;
}

const struct architecture *architecture_of_config(struct text_view model_type)
{
    for (size_t i = 0; i < ROWS; i++)
        if (text_view_is(model_type, rows[i].model_type))
            return &rows[i];
    return NULL;
}

static void list_names(char names[ARCHITECTURE_NAMES_BYTES], bool gguf)
{
    size_t used = 0;
    for (size_t i = 0; i < ROWS; i++) {
        const char *name = gguf ? rows[i].gguf : rows[i].model_type;
        if (name && used < ARCHITECTURE_NAMES_BYTES)
            used += (size_t)snprintf(names + used, ARCHITECTURE_NAMES_BYTES - used, "%s%s",
                                     used > 0 ? ", " : "", name);
    }
}

void architecture_set_facts(const struct architecture *architecture, struct model_spec *spec)
{
    spec->output_norms = architecture->output_norms;
    spec->no_input_norms = architecture->no_input_norms;
    spec->qk_norm_joined = architecture->qk_norm_joined;
    spec->gelu = architecture->gelu;
    spec->fused_qkv = architecture->fused_qkv;
    spec->attention_cap = architecture->attention_cap;
    spec->logit_cap = architecture->logit_cap;
    if (architecture->scales_embedding)
        spec->embedding_scale = sqrt((double)spec->hidden);
}

void architecture_gguf_names(char names[ARCHITECTURE_NAMES_BYTES])
{
    list_names(names, true);
}

void architecture_config_names(char names[ARCHITECTURE_NAMES_BYTES])
{
    list_names(names, false);
}
