/* Owns the making of a model's directory from a small GGUF model in memory. Promises weights bit
 * for bit equal to it, with the rows of queries and keys in the order that Hugging Face has them
 * in. */
#include "tests/support/tiny_directory.h"

#include <assert.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/model/architecture.h"

enum { PATH_BYTES = 512, NAME_BYTES = 80 };

struct shard {
    char name[NAME_BYTES];
    json_t *header;
    struct gguf_writer data; /* any bytes */
};

static void put(json_t *object, const char *key, json_t *value)
{
    int result = json_object_set_new(object, key, value);
    assert(result == 0);
}

static void write_bytes(const char *folder, const char *name, const struct gguf_writer *bytes)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    assert(file);
    size_t written = fwrite(bytes->data, 1, bytes->bytes, file);
    assert(written == bytes->bytes);
    int closed = fclose(file);
    assert(closed == 0);
}

/* Takes `json`. */
static void write_json(const char *folder, const char *name, json_t *json)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int result = json_dump_file(json, path, JSON_INDENT(1));
    assert(result == 0);
    json_decref(json);
}

static bool is_norm(const char *name)
{
    return strstr(name, "norm.weight") != NULL;
}

/* A norm's weights less the 1 that safetensors of some architectures leave out. */
static void write_norm(struct gguf_writer *data, const struct model_tensor *tensor)
{
    const float *weights = tensor->data;
    assert(tensor->dtype == DTYPE_F32);
    for (int64_t i = 0; i < tensor->columns; i++)
        gguf_writer_f32(data, weights[i] - 1);
}

static void add_tensor(struct shard *shard, const struct model *model, enum model_role role,
                       int layer, const struct model_role_place *place, bool from_one)
{
    struct model_tensor tensor = model_tensor(model, role, layer);
    const char *name = place->name;
    tensor.rows = place->rows; /* of all that are fused: they lie one behind the other */
    size_t row_bytes = dtype_row_bytes(tensor.dtype, tensor.columns);
    size_t begin = shard->data.bytes;
    bool is_vector = model_role_shape(model_spec(model), role).is_vector;
    int64_t parts = is_vector ? tensor.columns : tensor.rows;
    size_t part_bytes = is_vector ? row_bytes / (size_t)tensor.columns : row_bytes;
    const bool reorders = model_role_is_by_head(role) && model_spec(model)->interleaved_qk;
    if (from_one && is_norm(name)) {
        write_norm(&shard->data, &tensor);
        parts = 0;
    }
    for (int64_t part = 0; part < parts; part++) {
        int64_t from = reorders ? spec_qk_row(model_spec(model), (int)part) : part;
        gguf_writer_bytes(&shard->data, (const char *)tensor.data + (size_t)from * part_bytes,
                          part_bytes);
    }
    json_t *shape = is_vector
                        ? json_pack("[I]", (json_int_t)tensor.columns)
                        : json_pack("[II]", (json_int_t)tensor.rows, (json_int_t)tensor.columns);
    put(shard->header, name,
        json_pack("{s:s, s:o, s:[II]}", "dtype", dtype_name(tensor.dtype), "shape", shape,
                  "data_offsets", (json_int_t)begin, (json_int_t)shard->data.bytes));
}

/* Every tensor with its name, dealt to the shards one after the other. */
static int64_t deal_tensors(struct shard *shards, int count, json_t *weight_map,
                            const struct model *model)
{
    const struct architecture *architecture = architecture_of_gguf(model_spec(model)->architecture);
    const struct model_spec *spec = model_spec(model);
    int64_t bytes = 0;
    int next = 0;
    for (int layer = -1; layer < spec->layers; layer++)
        for (int role = 0; role < MODEL_ROLE_COUNT; role++) {
            struct shard *shard = &shards[next++ % count];
            bool whole = role < MODEL_ATTN_NORM;
            if (whole != (layer < 0) || (role == MODEL_OUTPUT && spec->tied_output) ||
                !model_role_is_there(spec, (enum model_role)role))
                continue;
            const struct model_role_place place =
                model_role_place(spec, (enum model_role)role, layer, false);
            if (place.first > 0)
                continue;
            size_t before = shard->data.bytes;
            add_tensor(shard, model, (enum model_role)role, layer < 0 ? 0 : layer, &place,
                       architecture->norms_from_one);
            bytes += (int64_t)(shard->data.bytes - before);
            put(weight_map, place.name, json_string(shard->name));
        }
    return bytes;
}

static void write_shard(const char *folder, struct shard *shard)
{
    struct gguf_writer file = {0};
    char *header = json_dumps(shard->header, JSON_COMPACT);
    assert(header);
    gguf_writer_u64(&file, strlen(header));
    gguf_writer_bytes(&file, header, strlen(header));
    gguf_writer_bytes(&file, shard->data.data, shard->data.bytes);
    write_bytes(folder, shard->name, &file);
    free(header);
    gguf_writer_free(&file);
    gguf_writer_free(&shard->data);
    json_decref(shard->header);
}

static void write_weights(const char *folder, const struct model *model, int count)
{
    struct shard *shards = calloc((size_t)count, sizeof *shards);
    json_t *weight_map = json_object();
    assert(shards);
    for (int i = 0; i < count; i++) {
        shards[i].header = json_object();
        if (count == 1)
            snprintf(shards[i].name, NAME_BYTES, "model.safetensors");
        else
            snprintf(shards[i].name, NAME_BYTES, "model-%05d-of-%05d.safetensors", i + 1, count);
    }
    int64_t bytes = deal_tensors(shards, count, weight_map, model);
    for (int i = 0; i < count; i++)
        write_shard(folder, &shards[i]);
    free(shards);
    json_t *index = json_pack("{s:{s:I}, s:o}", "metadata", "total_size", (json_int_t)bytes,
                              "weight_map", weight_map);
    if (count > 1)
        write_json(folder, "model.safetensors.index.json", index);
    else
        json_decref(index);
}

static void put_window(json_t *config, const struct model_spec *spec,
                       const struct architecture *architecture)
{
    put(config, "sliding_window", json_integer(spec->window.tokens));
    put(config, "use_sliding_window", json_true());
    if (!architecture->lists_layers)
        return;
    json_t *types = json_array();
    for (int layer = 0; layer < spec->layers; layer++)
        json_array_append_new(types, json_string(model_window_covers(&spec->window, layer)
                                                     ? "sliding_attention"
                                                     : "full_attention"));
    put(config, "layer_types", types);
}

static json_t *config_of(const struct model *model, const char *model_type)
{
    const struct model_spec *spec = model_spec(model);
    const struct architecture *architecture =
        architecture_of_config(model_type ? text_view_of(model_type) : spec->architecture);
    assert(architecture);
    json_t *config = json_object();
    put(config, "architectures", json_pack("[s]", architecture->class));
    put(config, "model_type", json_string(architecture->model_type));
    put(config, "hidden_act", json_string("silu"));
    put(config, "hidden_size", json_integer(spec->hidden));
    put(config, "intermediate_size", json_integer(spec->ffn));
    put(config, "num_hidden_layers", json_integer(spec->layers));
    put(config, "num_attention_heads", json_integer(spec->heads));
    put(config, "num_key_value_heads", json_integer(spec->kv_heads));
    put(config, "head_dim", json_integer(spec->head_dim));
    put(config, "vocab_size", json_integer(spec->vocab));
    put(config, "max_position_embeddings", json_integer(spec->trained_tokens));
    put(config, "rms_norm_eps", json_real((double)spec->norm_eps));
    put(config, "rope_theta", json_real(spec->rope_base));
    put(config, "rope_scaling", json_null());
    put(config, "attention_bias", json_boolean(spec->qkv_bias));
    put(config, "mlp_bias", json_boolean(spec->mlp_bias));
    if (spec->window.tokens > 0)
        put_window(config, spec, architecture);
    put(config, "tie_word_embeddings", json_boolean(spec->tied_output));
    put(config, "bos_token_id", json_integer(TINY_MODEL_IM_START));
    put(config, "eos_token_id", json_integer(TINY_MODEL_IM_END));
    return config;
}

static json_t *added_tokens(const struct vocab *vocab)
{
    json_t *added = json_array();
    for (int32_t id = 0; id < vocab_count(vocab); id++) {
        struct vocab_token token = vocab_token(vocab, id);
        if (token.type != VOCAB_CONTROL && token.type != VOCAB_USER_DEFINED)
            continue;
        json_array_append_new(added, json_pack("{s:i, s:s%, s:b, s:b, s:b, s:b, s:b}", "id", id,
                                               "content", token.text, token.bytes, "single_word", 0,
                                               "lstrip", 0, "rstrip", 0, "normalized", 0, "special",
                                               token.type == VOCAB_CONTROL));
    }
    return added;
}

static json_t *token_ids(const struct vocab *vocab)
{
    json_t *ids = json_object();
    for (int32_t id = 0; id < vocab_count(vocab); id++) {
        struct vocab_token token = vocab_token(vocab, id);
        char text[256];
        assert(token.bytes < sizeof text);
        memcpy(text, token.text, token.bytes);
        text[token.bytes] = 0;
        if (token.type != VOCAB_UNUSED)
            put(ids, text, json_integer(id));
    }
    return ids;
}

json_t *tiny_directory_tokenizer(const struct vocab *vocab)
{
    json_t *merges = json_array();
    for (int32_t rank = 0; rank < vocab_merge_count(vocab); rank++) {
        struct vocab_merge merge = vocab_merge(vocab, rank);
        char text[256];
        snprintf(text, sizeof text, "%.*s %.*s", (int)merge.left_bytes, merge.left,
                 (int)merge.right_bytes, merge.right);
        json_array_append_new(merges, json_string(text));
    }
    json_t *tokenizer = json_pack(
        "{s:s, s:n, s:o, s:n, s:{s:s, s:[{s:s, s:b}, {s:s, s:b, s:b, s:b}]},"
        " s:n, s:{s:s}, s:{s:s, s:n, s:n, s:b, s:o, s:o}}",
        "version", "1.0", "truncation", "added_tokens", added_tokens(vocab), "normalizer",
        "pre_tokenizer", "type", "Sequence", "pretokenizers", "type", "Digits", "individual_digits",
        1, "type", "ByteLevel", "add_prefix_space", 0, "trim_offsets", 1, "use_regex", 1,
        "post_processor", "decoder", "type", "ByteLevel", "model", "type", "BPE", "dropout",
        "unk_token", "ignore_merges", 0, "vocab", token_ids(vocab), "merges", merges);
    assert(tokenizer);
    return tokenizer;
}

json_t *tiny_directory_tokenizer_config(const struct vocab *vocab)
{
    struct text_view template = vocab_chat_template(vocab);
    json_t *config = json_pack("{s:s, s:{s:s}, s:s, s:s%}", "bos_token", "<|im_start|>",
                               "eos_token", "content", "<|im_end|>", "pad_token", "<|im_end|>",
                               "chat_template", template.text, template.bytes);
    assert(config);
    return config;
}

void tiny_directory_write(const char *folder, const struct tiny_model_shape *shape, uint64_t seed,
                          enum dtype dtype, int shards)
{
    struct gguf_writer file = {0};
    struct model *model = NULL;
    tiny_model_build(&file, shape, seed, dtype);
    enum status status = model_parse(&model, file.data, file.bytes, "tiny");
    assert(status == STATUS_OK);
    write_weights(folder, model, shards);
    write_json(folder, "config.json", config_of(model, shape->model_type));
    if (model_vocab(model)) {
        write_json(folder, "tokenizer.json", tiny_directory_tokenizer(model_vocab(model)));
        write_json(folder, "tokenizer_config.json",
                   tiny_directory_tokenizer_config(model_vocab(model)));
    }
    model_close(model);
    gguf_writer_free(&file);
}

void tiny_directory_remove(const char *folder)
{
    DIR *listing = opendir(folder);
    assert(listing);
    for (struct dirent *entry = readdir(listing); entry; entry = readdir(listing)) {
        char path[PATH_BYTES];
        snprintf(path, sizeof path, "%s/%.200s", folder, entry->d_name);
        unlink(path); /* "." and ".." stay */
    }
    closedir(listing);
    rmdir(folder);
}
