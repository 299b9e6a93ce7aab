/* Owns the description of a model file in JSON. Promises one object for every readable file. */
#include <assert.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#include "coordinator/cli/describe.h"
#include "proto/model/gguf_value.h"
#include "proto/model/json_place.h"

static void put(json_t *object, const char *key, json_t *value)
{
    json_object_set_new(object, key, value);
}

static json_t *text_of(struct text_view text)
{
    return json_stringn(text.text, text.bytes);
}

static json_t *window_layers_of(const struct model_spec *spec)
{
    json_t *layers = json_array();
    for (int layer = 0; layer < spec->layers; layer++)
        if (model_window_covers(&spec->window, layer))
            json_array_append_new(layers, json_integer(layer));
    return layers;
}

static json_t *facts_of(const struct model_spec *spec)
{
    json_t *facts = json_object();
    put(facts, "layers", json_integer(spec->layers));
    put(facts, "hidden", json_integer(spec->hidden));
    put(facts, "heads", json_integer(spec->heads));
    put(facts, "kv_heads", json_integer(spec->kv_heads));
    put(facts, "head_dim", json_integer(spec->head_dim));
    put(facts, "ffn", json_integer(spec->ffn));
    put(facts, "vocab", json_integer(spec->vocab));
    put(facts, "trained_tokens", json_integer(spec->trained_tokens));
    put(facts, "norm_eps", json_real((double)spec->norm_eps));
    put(facts, "tied_output", json_boolean(spec->tied_output));
    put(facts, "rope_base", json_real(spec->rope_base));
    put(facts, "rope_scaling", json_string(spec_rope_scaling_name(spec->rope_scaling)));
    put(facts, "rope_factor", json_real(spec->rope_factor));
    put(facts, "rope_original_tokens", json_integer(spec->rope_original_tokens));
    put(facts, "qkv_bias", json_boolean(spec->qkv_bias));
    put(facts, "output_bias", json_boolean(spec->output_bias));
    put(facts, "mlp_bias", json_boolean(spec->mlp_bias));
    put(facts, "qk_norm", json_boolean(spec->qk_norm));
    put(facts, "window_tokens", json_integer(spec->window.tokens));
    put(facts, "window_layers", window_layers_of(spec));
    put(facts, "suits_gpu", json_boolean(spec_widths_suit_gpu(spec)));
    put(facts, "file_type", json_string(spec->file_type));
    return facts;
}

static json_t *id_of(int32_t id)
{
    return id < 0 ? json_null() : json_integer(id);
}

static json_t *vocab_of(const struct describe *describe)
{
    const struct vocab *vocab = describe_vocab(describe);
    struct vocab_special special = vocab_special(vocab);
    json_t *object = json_object();
    put(object, "kind", text_of(vocab_kind(vocab)));
    put(object, "pre", text_of(vocab_pre(vocab)));
    put(object, "tokens", json_integer(vocab_count(vocab)));
    put(object, "merges", json_integer(vocab_merge_count(vocab)));
    put(object, "bos", id_of(special.bos));
    put(object, "eos", id_of(special.eos));
    put(object, "eot", id_of(special.eot));
    put(object, "eom", id_of(special.eom));
    put(object, "unknown", id_of(special.unknown));
    put(object, "padding", id_of(special.padding));
    put(object, "add_bos", json_boolean(vocab_add_bos(vocab) == VOCAB_FLAG_ON));
    put(object, "chat_form",
        describe->chat_form[0] ? json_string(describe->chat_form) : json_null());
    if (describe->chat_refusal[0])
        put(object, "chat_refusal", json_string(describe->chat_refusal));
    put(object, "chat_template", text_of(vocab_chat_template(vocab)));
    return object;
}

static json_t *types_of(const struct describe *describe)
{
    json_t *types = json_array();
    for (int i = 0; i < describe->type_count; i++) {
        const struct describe_type *type = &describe->types[i];
        json_t *entry = json_object();
        put(entry, "type", json_string(type->name));
        put(entry, "supported", json_boolean(type->supported));
        put(entry, "tensors", json_integer(type->tensors));
        put(entry, "parameters", json_integer(type->parameters));
        put(entry, "bytes", json_integer((json_int_t)type->bytes));
        json_array_append_new(types, entry);
    }
    return types;
}

static json_t *tensors_of(const struct checkpoint *checkpoint)
{
    json_t *tensors = json_array();
    for (int i = 0; i < checkpoint_tensor_count(checkpoint); i++) {
        const struct checkpoint_tensor *tensor = checkpoint_tensor(checkpoint, i);
        json_t *entry = json_object();
        json_t *shape = json_array();
        for (int d = 0; d < tensor->dims_count; d++)
            json_array_append_new(shape, json_integer(tensor->dims[d]));
        put(entry, "name", text_of(tensor->name));
        put(entry, "type", json_string(tensor->type));
        put(entry, "shape", shape);
        json_array_append_new(tensors, entry);
    }
    return tensors;
}

/* Arrays are told by their length; a number that JSON has no word for is null. */
static json_t *value_of(const struct gguf_pair *pair)
{
    int64_t integer;
    double number;
    struct text_view text;
    if (pair->type == GGUF_BOOL)
        return json_boolean(pair->value[0]);
    if (gguf_value_as_integer(&integer, pair))
        return json_integer(integer);
    if (gguf_value_as_float(&number, pair))
        return isfinite(number) ? json_real(number) : json_null();
    if (gguf_value_as_text(&text, pair))
        return text_of(text);
    if (pair->type == GGUF_ARRAY)
        return json_pack("{s:s, s:I}", "array_of", gguf_type_name(pair->array.type), "length",
                         (json_int_t)pair->array.count);
    return json_null();
}

static json_t *gguf_keys(const struct gguf *gguf)
{
    json_t *keys = json_object();
    for (int i = 0; i < gguf_pair_count(gguf); i++) {
        const struct gguf_pair *pair = gguf_pair(gguf, i);
        char key[GGUF_KEY_BYTES_MAX + 1];
        snprintf(key, sizeof key, "%.*s", (int)pair->key.bytes, pair->key.text);
        put(keys, key, value_of(pair));
    }
    return keys;
}

json_t *describe_keys(const struct checkpoint *checkpoint)
{
    const struct gguf *gguf = checkpoint_gguf(checkpoint);
    const struct checkpoint_file *config = checkpoint_file(checkpoint, 0);
    if (gguf)
        return gguf_keys(gguf);
    json_t *keys = NULL;
    enum status status =
        json_place_parse(&keys, config->data, config->bytes, config->bytes, config->name);
    assert(status == STATUS_OK); /* it was parsed when the directory was opened */
    return keys;
}

enum status describe_json(FILE *out, const char *path)
{
    struct describe describe;
    TRY(describe_open(&describe, path));
    const struct gguf *gguf = checkpoint_gguf(describe.checkpoint);
    json_t *object = json_object();
    put(object, "schema_version", json_integer(1));
    put(object, "file", json_string(path));
    put(object, "bytes", json_integer((json_int_t)checkpoint_bytes(describe.checkpoint)));
    if (gguf)
        put(object, "gguf_version", json_integer(gguf_version(gguf)));
    put(object, "supported", json_boolean(!describe.refusal[0]));
    if (describe.refusal[0])
        put(object, "refusal", json_string(describe.refusal));
    if (describe.model)
        put(object, "model", facts_of(model_spec(describe.model)));
    if (describe_vocab(&describe))
        put(object, "tokenizer", vocab_of(&describe));
    put(object, "parameters", json_integer(describe.parameters));
    put(object, "types", types_of(&describe));
    put(object, "keys", describe_keys(describe.checkpoint));
    put(object, "tensors", tensors_of(describe.checkpoint));
    describe_close(&describe);
    char *text = json_dumps(object, JSON_INDENT(2) | JSON_ENSURE_ASCII);
    json_decref(object);
    if (!text)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the description of %s", path);
    for (const char *c = text; *c; c++)
        if (*c == 0x7f) /* the one control character that jansson writes as it is */
            fputs("\\u007f", out);
        else
            fputc(*c, out);
    fputc('\n', out);
    free(text);
    return ferror(out) ? fail(STATUS_IO, "write the description of %s", path) : STATUS_OK;
}
