/* Owns the reading of a model's facts from config.json. Promises that facts are within the limits
 * of spec.h and fit together, and that a key which would change the arithmetic in a way that is not
 * supported is refused by its name. */
#include "proto/model/spec_config.h"

#include <math.h>
#include <string.h>

#include "proto/model/architecture.h"
#include "proto/model/spec_config_known.h"
#include "proto/model/spec_config_rope.h"

enum { LATE_WINDOWS_FIRST = 28 }; /* max_window_layers, as in transformers */

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

static bool is_class(const char *class, const struct architecture *architecture)
{
    return class && strcmp(class, architecture->class) == 0;
}

static enum status find_architecture(const struct architecture **architecture,
                                     const struct json_place *config)
{
    struct text_view type;
    TRY(json_place_text(config, &type, "model_type"));
    const struct architecture *found = architecture_of_config(type);
    if (!found) {
        char names[ARCHITECTURE_NAMES_BYTES];
        architecture_config_names(names);
        return json_place_fail(config, "model_type", STATUS_UNIMPLEMENTED, "architecture",
                               "architecture %.*s is not supported; known: %s",
                               (int)(type.bytes < 64 ? type.bytes : 64), type.text, names);
    }
    *architecture = found;
    const json_t *classes;
    if (!json_place_get(config, "architectures"))
        return STATUS_OK;
    TRY(json_place_array(config, &classes, "architectures"));
    const char *class = json_string_value(json_array_get(classes, 0));
    if (json_array_size(classes) != 1 || !is_class(class, found))
        return json_place_fail(config, "architectures", STATUS_UNIMPLEMENTED, "architecture",
                               "%.64s is not supported, %s alone is",
                               class ? class : "a list without a name", found->class);
    return STATUS_OK;
}

/* Keys that would change the arithmetic unless they are absent, null, false, or the number beside
 * them. */
static const struct {
    const char *key;
    double neutral;
    const char *what;
} neutral_keys[] = {
    {"quantization_config", 0, "a quantised safetensors model"},
    {"logit_scale", 1, "scaled logits"},
    {"use_bidirectional_attention", 0, "attention that is not causal"},
    {"rope_interleaved", 0, "rope over neighbouring elements"},
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
    const json_t *causal = json_place_get(config, "is_causal");
    if (causal && !json_is_true(causal))
        return json_place_fail(config, "is_causal", STATUS_UNIMPLEMENTED, "unsupported-key",
                               "attention that is not causal is not supported");
    return STATUS_OK;
}

/* The architecture's one activation, under either key. */
static enum status check_activation(const struct json_place *config,
                                    const struct architecture *architecture)
{
    static const char *const keys[] = {"hidden_act", "hidden_activation"};
    const char *known = architecture->gelu ? "gelu_pytorch_tanh" : "silu";
    for (size_t k = 0; k < sizeof keys / sizeof keys[0]; k++) {
        struct text_view activation;
        if (!json_place_get(config, keys[k]))
            continue;
        TRY(json_place_text(config, &activation, keys[k]));
        if (!text_view_is(activation, known))
            return json_place_fail(config, keys[k], STATUS_UNIMPLEMENTED, "unsupported-key",
                                   "activation %.*s is not supported, %s is",
                                   (int)(activation.bytes < 64 ? activation.bytes : 64),
                                   activation.text, known);
    }
    return STATUS_OK;
}

/* Whether the key is missing; null is there. */
static bool is_absent(const struct json_place *config, const char *key)
{
    return !json_object_get(config->json, key);
}

static enum status read_heads(struct model_spec *spec, const struct json_place *config,
                              const struct architecture *architecture)
{
    bool has_own = is_absent(config, "num_key_value_heads") && architecture->kv_heads;
    TRY(read_int(&spec->heads, config, "num_attention_heads", MODEL_HEADS_MAX));
    TRY(read_int_or(&spec->kv_heads, config, "num_key_value_heads", spec->heads,
                    has_own ? architecture->kv_heads : spec->heads));
    if (spec->heads % spec->kv_heads != 0)
        return json_place_fail(config, "num_key_value_heads", STATUS_DATA_LOSS, "heads",
                               "%d heads cannot share %d key-value heads evenly", spec->heads,
                               spec->kv_heads);
    if (spec->heads / spec->kv_heads > MODEL_GROUP_MAX)
        return json_place_fail(config, "num_key_value_heads", STATUS_UNIMPLEMENTED, "heads",
                               "%d heads on %d key-value heads are not supported; up to %d to one "
                               "are",
                               spec->heads, spec->kv_heads, MODEL_GROUP_MAX);
    bool divides = !json_place_get(config, "head_dim") && architecture->head_dim == 0;
    if (divides && spec->hidden % spec->heads != 0)
        return json_place_fail(config, "num_attention_heads", STATUS_DATA_LOSS, "heads",
                               "a width of %d does not divide by %d heads", spec->hidden,
                               spec->heads);
    TRY(read_int_or(&spec->head_dim, config, "head_dim", MODEL_HIDDEN_MAX,
                    divides ? spec->hidden / spec->heads : architecture->head_dim));
    if (!spec_head_dim_is_supported(spec->head_dim))
        return json_place_fail(config, "head_dim", STATUS_UNIMPLEMENTED, "head-dim",
                               "a head dimension of %d is not supported; multiples of %d up to %d "
                               "are",
                               spec->head_dim, MODEL_HEAD_DIM_STEP, MODEL_HEAD_DIM_MAX);
    return STATUS_OK;
}

static enum status read_sizes(struct model_spec *spec, const struct json_place *config,
                              const struct architecture *architecture)
{
    int64_t trained;
    double epsilon;
    TRY(read_int(&spec->layers, config, "num_hidden_layers", MODEL_LAYERS_MAX));
    TRY(read_int(&spec->hidden, config, "hidden_size", MODEL_HIDDEN_MAX));
    TRY(read_int(&spec->ffn, config, "intermediate_size", MODEL_FFN_MAX));
    TRY(read_int(&spec->vocab, config, "vocab_size", MODEL_VOCAB_MAX));
    TRY(json_place_limit(config, &trained, "max_position_embeddings", MODEL_TOKENS_MAX));
    spec->trained_tokens = (int)trained;
    TRY(json_place_number(config, &epsilon, "rms_norm_eps"));
    if (!(epsilon > 0 && epsilon < 1))
        return json_place_fail(config, "rms_norm_eps", STATUS_DATA_LOSS, "value-range",
                               "is %g, it must lie between 0 and 1", epsilon);
    spec->norm_eps = (float)epsilon;
    return json_place_bool_or(config, &spec->tied_output, "tie_word_embeddings",
                              architecture->tied);
}

/* A part that the architecture never has must not be asked for. */
static enum status read_part(bool *part, const struct json_place *config,
                             enum architecture_part kind, const char *key)
{
    bool stated = false;
    *part = kind == ARCHITECTURE_ALWAYS;
    if (json_place_get(config, key))
        TRY(json_place_bool_or(config, &stated, key, false));
    if (stated && kind == ARCHITECTURE_NEVER)
        return json_place_fail(config, key, STATUS_UNIMPLEMENTED, "unsupported-key",
                               "is not supported in this architecture");
    *part |= stated;
    return STATUS_OK;
}

static enum status read_parts(struct model_spec *spec, const struct json_place *config,
                              const struct architecture *architecture)
{
    TRY(read_part(&spec->qkv_bias, config, architecture->qkv_bias, "attention_bias"));
    TRY(read_part(&spec->mlp_bias, config, architecture->mlp_bias, "mlp_bias"));
    spec->output_bias = spec->qkv_bias && architecture->output_bias == ARCHITECTURE_STATED;
    spec->qk_norm = architecture->qk_norm == ARCHITECTURE_ALWAYS;
    spec->norms_from_one = architecture->norms_from_one;
    return STATUS_OK;
}

/* The width of the windows; 0 where the model uses none. */
static enum status read_window_tokens(int64_t *tokens, const struct json_place *config,
                                      const struct architecture *architecture)
{
    static const char key[] = "sliding_window";
    const enum architecture_window kind = architecture->config_window;
    bool uses = true;
    *tokens = 0;
    if (kind == ARCHITECTURE_WINDOW_LATE || kind == ARCHITECTURE_WINDOW_REFUSED)
        TRY(json_place_bool_or(config, &uses, "use_sliding_window",
                               kind == ARCHITECTURE_WINDOW_REFUSED));
    if (!uses)
        return STATUS_OK;
    if (is_absent(config, key))
        *tokens = architecture->window;
    else if (json_place_get(config, key))
        TRY(json_place_integer(config, tokens, key, 1, MODEL_TOKENS_MAX));
    if (*tokens > 0 && kind == ARCHITECTURE_WINDOW_REFUSED)
        return json_place_fail(config, key, STATUS_UNIMPLEMENTED, "unsupported-key",
                               "a sliding window in this architecture is not supported");
    return STATUS_OK;
}

/* layer_types: which layers have the window. */
static enum status read_layer_types(struct model_spec *spec, const struct json_place *config,
                                    const struct architecture *architecture)
{
    static const char key[] = "layer_types";
    const json_t *types;
    size_t layer;
    json_t *value;
    TRY(json_place_array(config, &types, key));
    if (!architecture->lists_layers)
        return json_place_fail(config, key, STATUS_UNIMPLEMENTED, "unsupported-key",
                               "is not supported in this architecture");
    if (json_array_size(types) != (size_t)spec->layers)
        return json_place_fail(config, key, STATUS_DATA_LOSS, "value-range",
                               "has %zu values for %d layers", json_array_size(types),
                               spec->layers);
    json_array_foreach(types, layer, value)
    {
        struct text_view type = json_is_string(value) ? json_place_view(value) : text_view_of("?");
        if (text_view_is(type, "full_attention"))
            continue;
        if (!text_view_is(type, "sliding_attention"))
            return json_place_fail(config, key, STATUS_UNIMPLEMENTED, "unsupported-key",
                                   "%.*s is not supported; full_attention and sliding_attention "
                                   "are",
                                   (int)(type.bytes < 64 ? type.bytes : 64), type.text);
        if (spec->window.tokens == 0)
            return json_place_fail(config, key, STATUS_DATA_LOSS, "value-range",
                                   "layer %zu is sliding_attention, but the model uses no "
                                   "sliding_window",
                                   layer);
        model_window_cover(&spec->window, (int64_t)layer);
    }
    return STATUS_OK;
}

static enum status read_window(struct model_spec *spec, const struct json_place *config,
                               const struct architecture *architecture)
{
    int64_t first = 0;
    bool is_late = architecture->config_window == ARCHITECTURE_WINDOW_LATE;
    TRY(read_window_tokens(&spec->window.tokens, config, architecture));
    if (json_place_get(config, "layer_types"))
        return read_layer_types(spec, config, architecture);
    if (spec->window.tokens == 0)
        return STATUS_OK;
    if (architecture->config_window == ARCHITECTURE_WINDOW_LISTED)
        return json_place_fail(config, "layer_types", STATUS_UNIMPLEMENTED, "unsupported-key",
                               "is missing; a sliding window is not supported without it in this "
                               "architecture");
    if (is_late && json_place_get(config, "max_window_layers"))
        TRY(json_place_integer(config, &first, "max_window_layers", 0, INT32_MAX));
    else if (is_late)
        first = LATE_WINDOWS_FIRST;
    int64_t period = architecture->window_period;
    /* transformers saves it under another name than that which it reads */
    static const char *const periods[] = {"_sliding_window_pattern", "sliding_window_pattern"};
    for (size_t k = 0; k < sizeof periods / sizeof periods[0]; k++)
        if (period > 0 && json_place_get(config, periods[k]))
            TRY(json_place_integer(config, &period, periods[k], 1, MODEL_LAYERS_MAX));
    for (int64_t layer = first; layer < spec->layers; layer++)
        if (period == 0 || (layer + 1) % period != 0)
            model_window_cover(&spec->window, layer);
    return STATUS_OK;
}

/* A number above 0 that stands in place of nothing; `neutral` is what changes nothing. */
static enum status read_scale(double *scale, const struct json_place *config, const char *key,
                              double neutral)
{
    double value;
    TRY(json_place_number_or(config, &value, key, neutral));
    if (!(value >= 1e-6 && value <= 1e6))
        return json_place_fail(config, key, STATUS_DATA_LOSS, "value-range",
                               "is %g; 1e-6 .. 1e6 are allowed", value);
    *scale = value == neutral ? 0 : value;
    return STATUS_OK;
}

static enum status read_multipliers(struct model_spec *spec, const struct json_place *config)
{
    double division = 0;
    TRY(read_scale(&spec->embedding_scale, config, "embedding_multiplier", 1));
    TRY(read_scale(&spec->residual_scale, config, "residual_multiplier", 1));
    TRY(read_scale(&spec->attention_scale, config, "attention_multiplier", 1));
    if (spec->attention_scale == 0) /* where others have 1 / sqrt(head_dim), it is 1 */
        spec->attention_scale = 1;
    TRY(read_scale(&division, config, "logits_scaling", 1));
    spec->logit_scale = division != 0 ? 1 / division : 0;
    return STATUS_OK;
}

/* null says that there is none. */
static enum status read_cap(double *cap, const struct json_place *config, const char *key)
{
    if (is_absent(config, key))
        return STATUS_OK;
    *cap = 0;
    return json_place_get(config, key) ? read_scale(cap, config, key, 0) : STATUS_OK;
}

static enum status read_scales(struct model_spec *spec, const struct json_place *config,
                               const struct architecture *architecture)
{
    double scalar = 0;
    if (architecture->multiplies)
        TRY(read_multipliers(spec, config));
    if (architecture->caps_scores)
        TRY(read_cap(&spec->attention_cap, config, "attn_logit_softcapping"));
    if (architecture->caps_logits)
        TRY(read_cap(&spec->logit_cap, config, "final_logit_softcapping"));
    if (architecture->query_scalar == 0)
        return STATUS_OK;
    TRY(json_place_number_or(config, &scalar, "query_pre_attn_scalar", architecture->query_scalar));
    if (!(scalar >= 1 && scalar <= 1e6))
        return json_place_fail(config, "query_pre_attn_scalar", STATUS_DATA_LOSS, "value-range",
                               "is %g; 1 .. 1e6 are allowed", scalar);
    spec->attention_scale = 1 / sqrt(scalar);
    return STATUS_OK;
}

/* no_rope_layers: 1 for each layer that rotates. */
static enum status read_no_rope(struct model_spec *spec, const struct json_place *config,
                                const struct architecture *architecture)
{
    static const char key[] = "no_rope_layers";
    int64_t period = architecture->no_rope_period;
    const json_t *list = NULL;
    if (json_place_get(config, key))
        TRY(json_place_array(config, &list, key));
    else if (json_place_get(config, "no_rope_layer_interval"))
        TRY(json_place_integer(config, &period, "no_rope_layer_interval", 1, INT32_MAX));
    if (list && json_array_size(list) < (size_t)spec->layers)
        return json_place_fail(config, key, STATUS_DATA_LOSS, "value-range",
                               "has %zu values for %d layers", json_array_size(list), spec->layers);
    for (int layer = 0; layer < spec->layers; layer++) {
        int64_t rotates = (layer + 1) % period != 0;
        if (list && !json_place_whole(json_array_get(list, (size_t)layer), &rotates))
            return json_place_fail(config, key, STATUS_DATA_LOSS, "value-type",
                                   "has something else than 0 and 1 for layer %d", layer);
        if (rotates == 0)
            spec_set_other_layer(spec, layer);
    }
    return STATUS_OK;
}

enum status spec_config_read(struct model_spec *spec, const struct json_place *config)
{
    const struct architecture *architecture = NULL;
    TRY(find_architecture(&architecture, config));
    struct model_spec read = {.name = text_view_of(""),
                              .architecture = text_view_of(architecture->model_type),
                              .file_type = "unknown"};
    TRY(check_neutral_keys(config));
    TRY(check_activation(config, architecture));
    TRY(spec_config_known_check(config, architecture));
    TRY(read_sizes(&read, config, architecture));
    architecture_set_facts(architecture, &read);
    TRY(read_heads(&read, config, architecture));
    TRY(read_parts(&read, config, architecture));
    TRY(read_scales(&read, config, architecture));
    TRY(read_window(&read, config, architecture));
    TRY(spec_config_rope_read(&read, config, architecture));
    if (architecture->no_rope_period > 0)
        TRY(read_no_rope(&read, config, architecture));
    *spec = read;
    return STATUS_OK;
}
