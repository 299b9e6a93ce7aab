/* Owns config.json of a written model. Promises that it says the arithmetic that the model was
 * trained with, and that keys of a source which are not understood stay as they are. */
#include "proto/model/output_config.h"

#include <jansson.h>
#include <stdbool.h>
#include <string.h>

#include "proto/model/architecture.h"
#include "proto/model/json_place.h"
#include "proto/model/output_json.h"

enum { CONFIG_BYTES_MAX = 1 << 20 };

/* Failures gather here, so that a list of keys reads as one. */
struct config {
    json_t *json;
    bool failed;
};

static void put(struct config *config, const char *key, json_t *value)
{
    config->failed |= json_object_set_new(config->json, key, value) != 0;
}

static const char *dtype_word(enum dtype dtype)
{
    return dtype == DTYPE_F32 ? "float32" : dtype == DTYPE_BF16 ? "bfloat16" : "float16";
}

/* That of the embedding stands for all where each tensor keeps its own. */
static const char *dtype_word_of(const struct model_save *save)
{
    return dtype_word(save->dtype == DTYPE_COUNT
                          ? model_tensor(save->source, MODEL_TOKEN_EMBD, 0).dtype
                          : save->dtype);
}

static double base_of(const struct model_save *save)
{
    return save->rope_base > 0 ? save->rope_base : model_spec(save->source)->rope_base;
}

/* The object of a key; NULL where it is absent or null. */
static json_t *object_of(json_t *json, const char *key)
{
    json_t *value = json_object_get(json, key);
    return json_is_object(value) ? value : NULL;
}

static bool is_yarn(const json_t *scaling)
{
    const char *type = json_string_value(json_object_get(scaling, "rope_type"));
    if (!type)
        type = json_string_value(json_object_get(scaling, "type"));
    return type && strcmp(type, "yarn") == 0;
}

/* The base stands where the source has it: transformers 5 writes it into rope_parameters. YaRN's
 * original length is the context length unless it is written down, so it is before that changes. */
static void replace_rope(struct config *config, const struct model_save *save)
{
    json_t *parameters = object_of(config->json, "rope_parameters");
    json_t *scaling = parameters ? parameters : object_of(config->json, "rope_scaling");
    struct config inner = {.json = scaling};
    if (save->rope_base > 0 && scaling && (parameters || json_object_get(scaling, "rope_theta")))
        put(&inner, "rope_theta", json_real(save->rope_base));
    if (save->rope_base > 0 && (!parameters || json_object_get(config->json, "rope_theta")))
        put(config, "rope_theta", json_real(save->rope_base));
    if (is_yarn(scaling) && !json_object_get(scaling, "original_max_position_embeddings"))
        put(&inner, "original_max_position_embeddings",
            json_integer(model_spec(save->source)->rope_original_tokens));
    config->failed |= inner.failed;
}

static enum status write_edited(const char *path, const struct model_save *save)
{
    const struct checkpoint_file *file = checkpoint_file(model_checkpoint(save->source), 0);
    struct config config = {.json = NULL};
    TRY(json_place_parse(&config.json, file->data, file->bytes, CONFIG_BYTES_MAX, file->name));
    replace_rope(&config, save);
    if (save->context_tokens > 0)
        put(&config, "max_position_embeddings", json_integer(save->context_tokens));
    put(&config, json_object_get(config.json, "dtype") ? "dtype" : "torch_dtype",
        json_string(dtype_word_of(save)));
    if (config.failed) {
        json_decref(config.json);
        config.json = NULL;
    }
    return output_json_write(path, config.json);
}

/* GGUF files say "llama" also of Mistral, whose layers have a window. */
static const struct architecture *architecture_of(const struct model_spec *spec)
{
    const bool is_windowed_llama =
        text_view_is(spec->architecture, "llama") && spec_window_layers(spec) > 0;
    return is_windowed_llama ? architecture_of_config(text_view_of("mistral"))
                             : architecture_of_gguf(spec->architecture);
}

static void put_window(struct config *config, const struct model_spec *spec,
                       const struct architecture *architecture)
{
    put(config, "sliding_window", json_integer(spec->window.tokens));
    if (!architecture->lists_layers)
        return;
    put(config, "use_sliding_window", json_true());
    json_t *types = json_array();
    for (int layer = 0; layer < spec->layers; layer++)
        config->failed |=
            json_array_append_new(types, json_string(model_window_covers(&spec->window, layer)
                                                         ? "sliding_attention"
                                                         : "full_attention")) != 0;
    put(config, "layer_types", types);
}

static void put_sizes(struct config *config, const struct model_save *save)
{
    const struct model_spec *spec = model_spec(save->source);
    put(config, "hidden_act", json_string("silu"));
    put(config, "hidden_size", json_integer(spec->hidden));
    put(config, "intermediate_size", json_integer(spec->ffn));
    put(config, "num_hidden_layers", json_integer(spec->layers));
    put(config, "num_attention_heads", json_integer(spec->heads));
    put(config, "num_key_value_heads", json_integer(spec->kv_heads));
    put(config, "head_dim", json_integer(spec->head_dim));
    put(config, "vocab_size", json_integer(spec->vocab));
    put(config, "max_position_embeddings",
        json_integer(save->context_tokens > 0 ? save->context_tokens : spec->trained_tokens));
    put(config, "rms_norm_eps", json_real(output_json_float(spec->norm_eps)));
    put(config, "tie_word_embeddings", json_boolean(spec->tied_output));
    put(config, "torch_dtype", json_string(dtype_word_of(save)));
}

static json_t *scaling_of(const struct model_spec *spec)
{
    if (spec->rope_scaling == MODEL_ROPE_LINEAR)
        return json_pack("{s:s, s:f}", "rope_type", "linear", "factor", spec->rope_factor);
    if (spec->rope_scaling == MODEL_ROPE_YARN)
        return json_pack("{s:s, s:f, s:f, s:f, s:f, s:i}", "rope_type", "yarn", "factor",
                         spec->rope_factor, "beta_fast", spec->rope.beta_fast, "beta_slow",
                         spec->rope.beta_slow, "attention_factor", spec->rope_mscale,
                         "original_max_position_embeddings", spec->rope_original_tokens);
    return json_null();
}

static void put_rope(struct config *config, const struct model_save *save)
{
    put(config, "rope_theta", json_real(base_of(save)));
    put(config, "rope_scaling", scaling_of(model_spec(save->source)));
}

static void put_id(struct config *config, const char *key, int32_t id)
{
    put(config, key, id >= 0 ? json_integer(id) : json_null());
}

static enum status write_made(const char *path, const struct model_save *save)
{
    const struct model_spec *spec = model_spec(save->source);
    const struct architecture *architecture = architecture_of(spec);
    struct config config = {.json = json_object()};
    put(&config, "architectures", json_pack("[s]", architecture->class));
    put(&config, "model_type", json_string(architecture->model_type));
    put_sizes(&config, save);
    put_rope(&config, save);
    if (architecture->qkv_bias == ARCHITECTURE_STATED)
        put(&config, "attention_bias", json_boolean(spec->qkv_bias));
    if (architecture->mlp_bias == ARCHITECTURE_STATED)
        put(&config, "mlp_bias", json_boolean(spec->mlp_bias));
    if (spec_window_layers(spec) > 0)
        put_window(&config, spec, architecture);
    if (model_vocab(save->source)) {
        const struct vocab_special special = vocab_special(model_vocab(save->source));
        put_id(&config, "bos_token_id", special.bos);
        put_id(&config, "eos_token_id", special.eos);
        put_id(&config, "pad_token_id", special.padding);
    }
    if (config.failed) {
        json_decref(config.json);
        config.json = NULL;
    }
    return output_json_write(path, config.json);
}

enum status output_config_write(const char *path, const struct model_save *save)
{
    const bool is_folder = checkpoint_directory(model_checkpoint(save->source)) != NULL;
    return is_folder ? write_edited(path, save) : write_made(path, save);
}

/* Biases that config.json has one word for must all be there or none. */
static enum status check_biases(const struct model_spec *spec, const struct architecture *row,
                                const char *name)
{
    const bool stated = row->qkv_bias == ARCHITECTURE_STATED;
    const bool has_output = stated && spec->qkv_bias && row->output_bias == ARCHITECTURE_STATED;
    const bool has_qkv = row->qkv_bias == ARCHITECTURE_ALWAYS || (stated && spec->qkv_bias);
    const bool has_mlp = row->mlp_bias == ARCHITECTURE_STATED && spec->mlp_bias;
    if (spec->qkv_bias == has_qkv && spec->output_bias == has_output && spec->mlp_bias == has_mlp)
        return STATUS_OK;
    return fail(STATUS_UNIMPLEMENTED,
                "%s: config.json cannot say which biases this model has; write a GGUF file", name);
}

static enum status check_window(const struct model_spec *spec, const struct architecture *row,
                                const char *name)
{
    const int covered = spec_window_layers(spec);
    if (covered == 0 || covered == spec->layers || row->lists_layers)
        return STATUS_OK;
    return fail(STATUS_UNIMPLEMENTED,
                "%s: config.json of %s cannot say which layers have a sliding window; write a GGUF "
                "file",
                name, row->model_type);
}

enum status output_config_check(const struct model_save *save)
{
    const struct model_spec *spec = model_spec(save->source);
    const char *name = checkpoint_name(model_checkpoint(save->source));
    if (checkpoint_directory(model_checkpoint(save->source)))
        return STATUS_OK;
    const struct architecture *row = architecture_of(spec);
    if (spec->rope_scaling == MODEL_ROPE_FACTORS ||
        (spec->rope_scaling != MODEL_ROPE_YARN && spec->rope_mscale != 1))
        return fail(STATUS_UNIMPLEMENTED,
                    "%s: config.json cannot say this model's rope scaling (%s, cos and sin times "
                    "%g); write a GGUF file",
                    name, spec_rope_scaling_name(spec->rope_scaling), spec->rope_mscale);
    TRY(check_biases(spec, row, name));
    return check_window(spec, row, name);
}
