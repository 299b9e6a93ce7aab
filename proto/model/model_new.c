/* Owns the making of a model's folder from a shape. Promises that what is written opens as a
 * model. */
#include "proto/model/model_new.h"

#include <jansson.h>

#include "proto/model/architecture.h"
#include "proto/model/byte_vocab.h"
#include "proto/model/json_place.h"
#include "proto/model/mapping.h"
#include "proto/model/output_folder.h"
#include "proto/model/output_json.h"
#include "proto/model/output_safetensors.h"
#include "proto/model/output_tokenizer.h"
#include "proto/model/spec_config.h"

enum { CONFIG_BYTES_MAX = 1 << 20 };

static enum status read_facts(struct model_spec *spec, const json_t *json, const char *config_path)
{
    const struct json_place config = json_place_root(json, config_path);
    TRY(spec_config_read(spec, &config));
    if (spec->vocab < BYTE_VOCAB_COUNT)
        return json_place_fail(&config, "vocab_size", STATUS_INVALID_ARGUMENT, "vocab",
                               "is %d; a model of bytes needs %d and more", spec->vocab,
                               BYTE_VOCAB_COUNT);
    return STATUS_OK;
}

/* The caller ends `json` with json_decref. */
static enum status read_config(json_t **json, struct model_spec *spec, const char *config_path)
{
    struct mapping mapping;
    json_t *parsed = NULL;
    TRY(mapping_open(&mapping, config_path));
    enum status status =
        json_place_parse(&parsed, mapping.data, mapping.bytes, CONFIG_BYTES_MAX, config_path);
    if (status == STATUS_OK)
        status = read_facts(spec, parsed, config_path);
    mapping_close(&mapping);
    if (status == STATUS_OK)
        *json = parsed;
    else
        json_decref(parsed);
    return status;
}

enum status model_new_read_spec(struct model_spec *spec, const char *config_path)
{
    json_t *json;
    TRY(read_config(&json, spec, config_path));
    json_decref(json);
    return STATUS_OK;
}

/* What the shape says, but for what the vocabulary and the weights decide. Takes `json`. */
static enum status write_config(const char *path, json_t *json, const struct model_spec *spec)
{
    const struct architecture *architecture = architecture_of_config(spec->architecture);
    int failed = json_object_set_new(json, "architectures", json_pack("[s]", architecture->class));
    failed |= json_object_set_new(json, "bos_token_id", json_null());
    failed |= json_object_set_new(json, "pad_token_id", json_null());
    failed |= json_object_set_new(json, "eos_token_id", json_integer(BYTE_VOCAB_END));
    failed |= json_object_set_new(json, json_object_get(json, "dtype") ? "dtype" : "torch_dtype",
                                  json_string("float32"));
    if (failed) {
        json_decref(json);
        json = NULL;
    }
    return output_json_write(path, json);
}

static enum status write_tokenizer(const struct output_folder *folder,
                                   const struct model_spec *spec)
{
    struct vocab *vocab;
    TRY(byte_vocab_create(&vocab, spec->vocab));
    const enum status status = output_tokenizer_write(folder, vocab);
    vocab_destroy(vocab);
    return status;
}

static enum status write_weights(const char *path, const struct model_spec *spec,
                                 const struct model_values *values)
{
    struct output_tensor *tensors;
    int count;
    TRY(output_tensors_list_roles(&tensors, &count, spec, DTYPE_F32));
    const enum status status = output_safetensors_write(
        path,
        &(struct output_tensors_args){
            .spec = spec, .values = values, .tensors = tensors, .count = count, .alignment = 1});
    free(tensors);
    return status;
}

/* Takes `json`. */
static enum status fill_folder(struct output_folder *folder, json_t *json,
                               const struct model_spec *spec, const struct model_values *values)
{
    char path[OUTPUT_FOLDER_PATH_BYTES];
    output_folder_file(path, folder, "config.json");
    TRY(write_config(path, json, spec));
    TRY(write_tokenizer(folder, spec));
    output_folder_file(path, folder, "model.safetensors");
    TRY(write_weights(path, spec, values));
    return output_folder_finish(folder, false);
}

enum status model_new_write(const char *path, const char *config_path,
                            const struct model_values *values)
{
    struct output_folder folder;
    struct model_spec spec;
    json_t *json;
    TRY(read_config(&json, &spec, config_path));
    enum status status = output_folder_begin(&folder, path);
    if (status != STATUS_OK) {
        json_decref(json);
        return status;
    }
    status = fill_folder(&folder, json, &spec, values);
    if (status != STATUS_OK)
        output_folder_discard(&folder);
    return status;
}
