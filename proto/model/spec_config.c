/* Owns the reading of a model's facts from config.json. Promises that facts are within the limits
 * of spec.h and fit together, and that a key which would change the arithmetic in a way that is not
 * supported is refused by its name. */
#include "proto/model/spec_config.h"

#include <string.h>

static enum status read_int(int *value, const struct json_place *place, const char *key,
                            int64_t last)
{
    int64_t wide;
    TRY(json_place_integer(place, &wide, key, 1, last));
    *value = (int)wide;
    return STATUS_OK;
}

static enum status read_int_or(int *value, const struct json_place *place, const char *key,
                               int64_t last, int otherwise)
{
    *value = otherwise;
    return json_place_get(place, key) ? read_int(value, place, key, last) : STATUS_OK;
}

static enum status check_architecture(const struct json_place *config)
{
    struct text_view type;
    TRY(json_place_text(config, &type, "model_type"));
    if (!text_view_is(type, "llama"))
        return json_place_fail(config, "model_type", STATUS_UNIMPLEMENTED, "architecture",
                               "architecture %.*s is not supported, llama is",
                               (int)(type.bytes < 64 ? type.bytes : 64), type.text);
    const json_t *classes;
    if (!json_place_get(config, "architectures"))
        return STATUS_OK;
    TRY(json_place_array(config, &classes, "architectures"));
    const char *class = json_string_value(json_array_get(classes, 0));
    if (json_array_size(classes) != 1 || !class || strcmp(class, "LlamaForCausalLM") != 0)
        return json_place_fail(config, "architectures", STATUS_UNIMPLEMENTED, "architecture",
                               "%.64s is not supported, LlamaForCausalLM alone is",
                               class ? class : "a list without a name");
    return STATUS_OK;
}

/* Keys that would change the arithmetic unless they are absent, null, false, or the number beside
 * them. */
static const struct {
    const char *key;
    double neutral;
    const char *what;
} neutral_keys[] = {
    {"attention_bias", 0, "biases of attention"},
    {"mlp_bias", 0, "biases of the feed-forward part"},
    {"partial_rotary_factor", 1, "rope over a part of a head"},
    {"quantization_config", 0, "a quantised safetensors model"},
    {"attn_logit_softcapping", 0, "capped attention scores"},
    {"final_logit_softcapping", 0, "capped logits"},
    {"logit_scale", 1, "scaled logits"},
    {"num_experts", 0, "a mixture of experts"},
    {"num_local_experts", 0, "a mixture of experts"},
    {"is_encoder_decoder", 0, "an encoder"},
    {"add_cross_attention", 0, "cross-attention"},
};

static enum status check_neutral_keys(const struct json_place *config)
{
    for (size_t i = 0; i < sizeof neutral_keys / sizeof neutral_keys[0]; i++) {
        const json_t *value = json_place_get(config, neutral_keys[i].key);
        if (value && !json_is_false(value) &&
            !(json_is_number(value) && json_number_value(value) == neutral_keys[i].neutral))
            return json_place_fail(config, neutral_keys[i].key, STATUS_UNIMPLEMENTED,
                                   "unsupported-key", "%s is not supported", neutral_keys[i].what);
    }
    bool uses_window;
    TRY(json_place_bool_or(config, &uses_window, "use_sliding_window", true));
    if (uses_window && json_place_get(config, "sliding_window"))
        return json_place_fail(config, "sliding_window", STATUS_UNIMPLEMENTED, "unsupported-key",
                               "a sliding window in the model is not supported");
    struct text_view activation = text_view_of("silu");
    if (json_place_get(config, "hidden_act"))
        TRY(json_place_text(config, &activation, "hidden_act"));
    if (!text_view_is(activation, "silu"))
        return json_place_fail(config, "hidden_act", STATUS_UNIMPLEMENTED, "unsupported-key",
                               "activation %.*s is not supported, silu is",
                               (int)(activation.bytes < 64 ? activation.bytes : 64),
                               activation.text);
    return STATUS_OK;
}

static enum status read_sizes(struct model_spec *spec, const struct json_place *config)
{
    int64_t trained;
    TRY(read_int(&spec->layers, config, "num_hidden_layers", MODEL_LAYERS_MAX));
    TRY(read_int(&spec->hidden, config, "hidden_size", MODEL_HIDDEN_MAX));
    TRY(read_int(&spec->heads, config, "num_attention_heads", MODEL_HEADS_MAX));
    TRY(read_int_or(&spec->kv_heads, config, "num_key_value_heads", spec->heads, spec->heads));
    TRY(read_int(&spec->ffn, config, "intermediate_size", MODEL_FFN_MAX));
    TRY(read_int(&spec->vocab, config, "vocab_size", MODEL_VOCAB_MAX));
    TRY(json_place_limit(config, &trained, "max_position_embeddings", MODEL_TOKENS_MAX));
    spec->trained_tokens = (int)trained;
    if (spec->heads % spec->kv_heads != 0)
        return json_place_fail(config, "num_key_value_heads", STATUS_DATA_LOSS, "heads",
                               "%d heads cannot share %d key-value heads evenly", spec->heads,
                               spec->kv_heads);
    if (spec->heads / spec->kv_heads > MODEL_GROUP_MAX)
        return json_place_fail(config, "num_key_value_heads", STATUS_UNIMPLEMENTED, "heads",
                               "%d heads on %d key-value heads are not supported; up to %d to one "
                               "are",
                               spec->heads, spec->kv_heads, MODEL_GROUP_MAX);
    if (!json_place_get(config, "head_dim") && spec->hidden % spec->heads != 0)
        return json_place_fail(config, "num_attention_heads", STATUS_DATA_LOSS, "heads",
                               "a width of %d does not divide by %d heads", spec->hidden,
                               spec->heads);
    TRY(read_int_or(&spec->head_dim, config, "head_dim", MODEL_HIDDEN_MAX,
                    spec->hidden / spec->heads));
    if (!spec_head_dim_is_supported(spec->head_dim))
        return json_place_fail(config, "head_dim", STATUS_UNIMPLEMENTED, "head-dim",
                               "a head dimension of %d is not supported; multiples of %d up to %d "
                               "are",
                               spec->head_dim, MODEL_HEAD_DIM_STEP, MODEL_HEAD_DIM_MAX);
    double epsilon;
    TRY(json_place_number(config, &epsilon, "rms_norm_eps"));
    if (!(epsilon > 0 && epsilon < 1))
        return json_place_fail(config, "rms_norm_eps", STATUS_DATA_LOSS, "value-range",
                               "is %g, it must lie between 0 and 1", epsilon);
    spec->norm_eps = (float)epsilon;
    return json_place_bool_or(config, &spec->tied_output, "tie_word_embeddings", false);
}

/* A key that is not known could change the frequencies. */
static enum status check_rope_keys(const struct json_place *scaling, const char *const *known)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)scaling->json, key, value)
    {
        size_t i = 0;
        while (known[i] && strcmp(known[i], key) != 0)
            i++;
        if (!known[i] && !json_is_null(value))
            return json_place_fail(scaling, key, STATUS_UNIMPLEMENTED, "rope-scaling",
                                   "is not supported with this rope scaling");
    }
    return STATUS_OK;
}

static enum status read_yarn(struct spec_rope *rope, const struct json_place *scaling,
                             int trained_tokens)
{
    static const char *const known[] = {"type",       "rope_type",
                                        "rope_theta", "factor",
                                        "beta_fast",  "beta_slow",
                                        "truncate",   "attention_factor",
                                        "finetuned",  "original_max_position_embeddings",
                                        NULL};
    bool truncates;
    TRY(check_rope_keys(scaling, known));
    TRY(json_place_bool_or(scaling, &truncates, "truncate", true));
    if (!truncates)
        return json_place_fail(scaling, "truncate", STATUS_UNIMPLEMENTED, "rope-scaling",
                               "YaRN without truncation is not supported");
    rope->scaling = MODEL_ROPE_YARN;
    TRY(json_place_number_or(scaling, &rope->beta_fast, "beta_fast", 32));
    TRY(json_place_number_or(scaling, &rope->beta_slow, "beta_slow", 1));
    TRY(json_place_number_or(scaling, &rope->mscale, "attention_factor",
                             spec_yarn_mscale(rope->factor)));
    return read_int_or(&rope->original_tokens, scaling, "original_max_position_embeddings",
                       MODEL_TOKENS_MAX, trained_tokens);
}

static enum status read_llama3(struct spec_rope *rope, const struct json_place *scaling)
{
    static const char *const known[] = {"type",
                                        "rope_type",
                                        "rope_theta",
                                        "factor",
                                        "low_freq_factor",
                                        "high_freq_factor",
                                        "original_max_position_embeddings",
                                        NULL};
    TRY(check_rope_keys(scaling, known));
    rope->scaling = MODEL_ROPE_LLAMA3;
    TRY(json_place_number(scaling, &rope->low_freq_factor, "low_freq_factor"));
    TRY(json_place_number(scaling, &rope->high_freq_factor, "high_freq_factor"));
    return read_int(&rope->original_tokens, scaling, "original_max_position_embeddings",
                    MODEL_TOKENS_MAX);
}

/* `scaling` has the key "rope_type", or "type" as older files have it. */
static enum status read_scaling(struct spec_rope *rope, const struct json_place *scaling,
                                int trained_tokens)
{
    static const char *const known_default[] = {"type", "rope_type", "rope_theta", NULL};
    static const char *const known_linear[] = {"type", "rope_type", "rope_theta", "factor", NULL};
    const char *key = json_place_get(scaling, "rope_type") ? "rope_type" : "type";
    struct text_view type;
    TRY(json_place_text(scaling, &type, key));
    if (text_view_is(type, "default"))
        return check_rope_keys(scaling, known_default);
    bool is_linear = text_view_is(type, "linear");
    bool is_yarn = text_view_is(type, "yarn");
    if (!is_linear && !is_yarn && !text_view_is(type, "llama3"))
        return json_place_fail(scaling, key, STATUS_UNIMPLEMENTED, "rope-scaling",
                               "rope scaling %.*s is not supported; default, linear, yarn and "
                               "llama3 are",
                               (int)(type.bytes < 64 ? type.bytes : 64), type.text);
    TRY(json_place_number(scaling, &rope->factor, "factor"));
    if (is_yarn)
        return read_yarn(rope, scaling, trained_tokens);
    if (!is_linear)
        return read_llama3(rope, scaling);
    rope->scaling = MODEL_ROPE_LINEAR;
    return check_rope_keys(scaling, known_linear);
}

/* Transformers 5 writes rope_parameters, with rope_theta in it; before, rope_theta and
 * rope_scaling stood beside each other. */
static enum status read_rope(struct model_spec *spec, const struct json_place *config)
{
    struct spec_rope rope = {.scaling = MODEL_ROPE_NONE, .factor = 1, .mscale = 1};
    struct json_place scaling;
    bool is_new = json_place_get(config, "rope_parameters");
    if (is_new && json_place_get(config, "rope_scaling"))
        return json_place_fail(config, "rope_scaling", STATUS_DATA_LOSS, "rope-scaling",
                               "stands beside rope_parameters; one of the two is allowed");
    TRY(json_place_number_or(config, &rope.base, "rope_theta", 10000));
    if (is_new || json_place_get(config, "rope_scaling")) {
        TRY(json_place_object(config, &scaling, is_new ? "rope_parameters" : "rope_scaling"));
        TRY(json_place_number_or(&scaling, &rope.base, "rope_theta", rope.base));
        TRY(read_scaling(&rope, &scaling, spec->trained_tokens));
    }
    return spec_set_rope(spec, &rope, config->file);
}

enum status spec_config_read(struct model_spec *spec, const struct json_place *config)
{
    struct model_spec read = {
        .name = text_view_of(""), .architecture = text_view_of("llama"), .file_type = "unknown"};
    TRY(check_architecture(config));
    TRY(check_neutral_keys(config));
    TRY(read_sizes(&read, config));
    TRY(read_rope(&read, config));
    *spec = read;
    return STATUS_OK;
}
