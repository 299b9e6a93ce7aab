/* Owns the list of keys of config.json that are read, or are known to change nothing here. */
#include "proto/model/spec_config_known.h"

#include <stddef.h>
#include <string.h>

#include "proto/model/spec_key.h"

/* Of every architecture. */
static const char *const known[] = {
    /* read, or refused unless neutral */
    "architectures",
    "attention_bias",
    "add_cross_attention",
    "dtype",
    "head_dim",
    "hidden_act",
    "hidden_activation",
    "hidden_size",
    "intermediate_size",
    "is_causal",
    "is_encoder_decoder",
    "layer_types",
    "logit_scale",
    "max_position_embeddings",
    "max_window_layers",
    "mlp_bias",
    "model_type",
    "num_attention_heads",
    "num_experts",
    "num_hidden_layers",
    "num_key_value_heads",
    "num_local_experts",
    "original_max_position_embeddings",
    "partial_rotary_factor",
    "quantization_config",
    "rms_norm_eps",
    "rope_interleaved",
    "rope_parameters",
    "rope_scaling",
    "rope_theta",
    "sliding_window",
    "tie_word_embeddings",
    "torch_dtype",
    "use_bidirectional_attention",
    "use_sliding_window",
    "vocab_size",
    /* of tokens */
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "sep_token_id",
    "decoder_start_token_id",
    "tokenizer_class",
    "prefix",
    /* of training, of how it is run elsewhere, and of generation */
    "attention_dropout",
    "attn_implementation",
    "_attn_implementation",
    "auto_map",
    "cache_implementation",
    "chunk_size_feed_forward",
    "embd_pdrop",
    "finetuning_task",
    "hidden_dropout",
    "id2label",
    "initializer_range",
    "is_decoder",
    "is_llama_config",
    "label2id",
    "_name_or_path",
    "output_attentions",
    "output_hidden_states",
    "pretraining_tp",
    "problem_type",
    "resid_pdrop",
    "return_dict",
    "transformers.js_config",
    "transformers_version",
    "use_cache",
};

/* Of architectures whose row has a field that is not 0. */
#define OF(member) offsetof(struct architecture, member), sizeof(((struct architecture *)0)->member)
static const struct {
    const char *key;
    size_t offset, bytes;
} of_some[] = {
    {"embedding_multiplier", OF(multiplies)},      {"residual_multiplier", OF(multiplies)},
    {"attention_multiplier", OF(multiplies)},      {"logits_scaling", OF(multiplies)},
    {"no_rope_layers", OF(no_rope_period)},        {"no_rope_layer_interval", OF(no_rope_period)},
    {"sliding_window_pattern", OF(window_period)}, {"_sliding_window_pattern", OF(window_period)},
    {"rope_local_base_freq", OF(local_base)},      {"query_pre_attn_scalar", OF(query_scalar)},
    {"attn_logit_softcapping", OF(caps_scores)},   {"final_logit_softcapping", OF(caps_logits)},
};

enum { KNOWN = sizeof known / sizeof known[0], OF_SOME = sizeof of_some / sizeof of_some[0] };

const char *spec_config_known_key(int place)
{
    if (place < KNOWN)
        return known[place];
    return place < KNOWN + OF_SOME ? of_some[place - KNOWN].key : NULL;
}

static bool is_of_all(const char *key)
{
    for (size_t k = 0; k < KNOWN; k++)
        if (strcmp(key, known[k]) == 0)
            return true;
    return false;
}

/* KEY_OF_OTHERS: it changes what those compute that read it, and this one does not. */
enum key_kind { KEY_READ, KEY_OF_OTHERS, KEY_UNKNOWN };

static enum key_kind kind_of(const char *key, const struct architecture *architecture)
{
    static const char zeros[16];
    if (is_of_all(key))
        return KEY_READ;
    for (size_t k = 0; k < OF_SOME; k++)
        if (strcmp(key, of_some[k].key) == 0)
            return memcmp((const char *)architecture + of_some[k].offset, zeros,
                          of_some[k].bytes) != 0
                       ? KEY_READ
                       : KEY_OF_OTHERS;
    return KEY_UNKNOWN;
}

/* What is null or false asks for nothing; but a false that nobody here knows may switch something
 * off that is always on here, so it is told. */
enum status spec_config_known_check(const struct json_place *config,
                                    const struct architecture *architecture)
{
    struct spec_keys_unknown unknown = {.file = config->file};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)config->json, key, value)
    {
        const enum key_kind kind = kind_of(key, architecture);
        const bool is_false = json_is_false(value);
        if (kind == KEY_READ || json_is_null(value) || (kind == KEY_OF_OTHERS && is_false))
            continue;
        if (kind == KEY_OF_OTHERS)
            return json_place_fail(config, key, STATUS_UNIMPLEMENTED, "unsupported-key",
                                   "is not supported in this architecture");
        if (!is_false && spec_key_may_matter(text_view_of(key)))
            return json_place_fail(config, key, STATUS_UNIMPLEMENTED, "unsupported-key",
                                   "is not known here, and may change what is computed");
        spec_keys_unknown_add(&unknown, text_view_of(key));
    }
    spec_keys_unknown_tell(&unknown);
    return STATUS_OK;
}
