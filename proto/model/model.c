/* Owns an opened model: the file, its facts, the place of every tensor and the vocabulary. Promises
 * that each tensor is there once with the shape that the facts ask for and a type that can be
 * computed with, and that no tensor is ignored.
 */
#include "proto/model/model.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/model/ggml_type.h"

enum { LAYER_ROLES = MODEL_ROLE_COUNT - MODEL_ATTN_NORM };

struct model {
    struct gguf *gguf;
    struct model_spec spec;
    struct model_tensor whole[MODEL_ATTN_NORM];
    struct model_tensor *layers; /* [layers, LAYER_ROLES] */
    struct vocab *vocab;         /* NULL where the file has none */
};

static const char *const role_names[MODEL_ROLE_COUNT] = {
    [MODEL_TOKEN_EMBD] = "token_embd", [MODEL_OUTPUT_NORM] = "output_norm",
    [MODEL_OUTPUT] = "output",         [MODEL_ATTN_NORM] = "attn_norm",
    [MODEL_ATTN_Q] = "attn_q",         [MODEL_ATTN_K] = "attn_k",
    [MODEL_ATTN_V] = "attn_v",         [MODEL_ATTN_OUTPUT] = "attn_output",
    [MODEL_FFN_NORM] = "ffn_norm",     [MODEL_FFN_GATE] = "ffn_gate",
    [MODEL_FFN_UP] = "ffn_up",         [MODEL_FFN_DOWN] = "ffn_down",
};

const char *model_role_name(enum model_role role)
{
    assert(role < MODEL_ROLE_COUNT);
    return role_names[role];
}

struct shape {
    int64_t rows;
    int64_t columns;
    bool is_norm; /* one row, stored with one dimension, F32 */
};

static struct shape role_shape(const struct model_spec *spec, enum model_role role)
{
    int64_t queries = (int64_t)spec->heads * spec->head_dim;
    int64_t keys = (int64_t)spec->kv_heads * spec->head_dim;
    switch (role) {
    case MODEL_TOKEN_EMBD:
    case MODEL_OUTPUT:
        return (struct shape){spec->vocab, spec->hidden, false};
    case MODEL_ATTN_Q:
        return (struct shape){queries, spec->hidden, false};
    case MODEL_ATTN_K:
    case MODEL_ATTN_V:
        return (struct shape){keys, spec->hidden, false};
    case MODEL_ATTN_OUTPUT:
        return (struct shape){spec->hidden, queries, false};
    case MODEL_FFN_GATE:
    case MODEL_FFN_UP:
        return (struct shape){spec->ffn, spec->hidden, false};
    case MODEL_FFN_DOWN:
        return (struct shape){spec->hidden, spec->ffn, false};
    default:
        return (struct shape){1, spec->hidden, true};
    }
}

static enum status bind_tensor(struct model_tensor *bound, const struct model *model,
                               enum model_role role, const char *name)
{
    const struct gguf *gguf = model->gguf;
    int index = gguf_find_tensor(gguf, name);
    if (index < 0)
        return fail(STATUS_DATA_LOSS, "%s: the tensor %s is missing", gguf_name(gguf), name);
    const struct gguf_tensor *tensor = gguf_tensor(gguf, index);
    struct shape shape = role_shape(&model->spec, role);
    enum dtype dtype;
    if (!ggml_type_dtype(&dtype, tensor->type))
        return gguf_fail(gguf, tensor->offset, STATUS_UNIMPLEMENTED, "tensor-type",
                         "tensor %s has type %s, which is not supported; F32, F16, BF16, Q8_0, "
                         "Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K and Q6_K are",
                         name, ggml_type_name(tensor->type));
    if (shape.is_norm && dtype != DTYPE_F32)
        return gguf_fail(gguf, tensor->offset, STATUS_UNIMPLEMENTED, "tensor-type",
                         "tensor %s has type %s; norms must be F32", name, dtype_name(dtype));
    if (tensor->dims_count != (shape.is_norm ? 1 : 2) || tensor->dims[0] != shape.columns ||
        tensor->dims[1] != shape.rows)
        return gguf_fail(gguf, tensor->offset, STATUS_DATA_LOSS, "tensor-shape",
                         "tensor %s is %lld x %lld (%d dimensions), the model's sizes ask for "
                         "%lld x %lld",
                         name, (long long)tensor->dims[0], (long long)tensor->dims[1],
                         tensor->dims_count, (long long)shape.columns, (long long)shape.rows);
    *bound = (struct model_tensor){tensor->data, dtype, shape.rows, shape.columns};
    return STATUS_OK;
}

static enum status bind_whole(struct model *model)
{
    TRY(bind_tensor(&model->whole[MODEL_TOKEN_EMBD], model, MODEL_TOKEN_EMBD, "token_embd.weight"));
    TRY(bind_tensor(&model->whole[MODEL_OUTPUT_NORM], model, MODEL_OUTPUT_NORM,
                    "output_norm.weight"));
    if (!model->spec.tied_output)
        return bind_tensor(&model->whole[MODEL_OUTPUT], model, MODEL_OUTPUT, "output.weight");
    model->whole[MODEL_OUTPUT] = model->whole[MODEL_TOKEN_EMBD];
    return STATUS_OK;
}

static enum status bind_layers(struct model *model)
{
    size_t layers = (size_t)model->spec.layers;
    model->layers = calloc(layers * LAYER_ROLES, sizeof *model->layers);
    if (!model->layers)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the tensors of %zu layers", layers);
    for (size_t layer = 0; layer < layers; layer++)
        for (int role = MODEL_ATTN_NORM; role < MODEL_ROLE_COUNT; role++) {
            char name[64];
            snprintf(name, sizeof name, "blk.%zu.%s.weight", layer, role_names[role]);
            TRY(bind_tensor(&model->layers[layer * LAYER_ROLES + (size_t)(role - MODEL_ATTN_NORM)],
                            model, (enum model_role)role, name));
        }
    return STATUS_OK;
}

/* True where one of the bound tensors has these bytes: tensors of a checked file never overlap. */
static bool is_bound(const struct model *model, const struct gguf_tensor *tensor)
{
    for (int role = 0; role < MODEL_ATTN_NORM; role++)
        if (model->whole[role].data == tensor->data)
            return true;
    int layer;
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)tensor->name.bytes, tensor->name.text);
    if (sscanf(name, "blk.%4d.", &layer) != 1 || layer < 0 || layer >= model->spec.layers)
        return false;
    for (size_t i = 0; i < LAYER_ROLES; i++)
        if (model->layers[(size_t)layer * LAYER_ROLES + i].data == tensor->data)
            return true;
    return false;
}

/* A tensor that we would leave out (a bias, an expert) means another arithmetic than ours. */
static enum status refuse_unknown_tensors(const struct model *model)
{
    for (int i = 0; i < gguf_tensor_count(model->gguf); i++) {
        const struct gguf_tensor *tensor = gguf_tensor(model->gguf, i);
        if (!text_view_is(tensor->name, "rope_freqs.weight") && !is_bound(model, tensor))
            return gguf_fail(model->gguf, tensor->offset, STATUS_UNIMPLEMENTED, "tensor-unknown",
                             "tensor %.*s has no place in architecture llama as supported (%d "
                             "layers, no biases, no experts)",
                             (int)tensor->name.bytes, tensor->name.text, model->spec.layers);
    }
    return STATUS_OK;
}

static enum status read_vocab(struct model *model)
{
    if (!gguf_find_pair(model->gguf, "tokenizer.ggml.model"))
        return STATUS_OK;
    TRY(vocab_create(&model->vocab, model->gguf));
    if (vocab_count(model->vocab) != model->spec.vocab)
        return fail(STATUS_DATA_LOSS, "%s: the tokenizer has %d tokens, token_embd.weight %d rows",
                    gguf_name(model->gguf), vocab_count(model->vocab), model->spec.vocab);
    return STATUS_OK;
}

/* Takes `gguf`, also on failure. */
static enum status model_create(struct model **model, struct gguf *gguf)
{
    enum status status;
    struct model *created = calloc(1, sizeof *created);
    if (!created) {
        gguf_close(gguf);
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to open a model");
    }
    created->gguf = gguf;
    TRY_ELSE(spec_read(&created->spec, gguf), close_model);
    TRY_ELSE(bind_whole(created), close_model);
    TRY_ELSE(bind_layers(created), close_model);
    TRY_ELSE(refuse_unknown_tensors(created), close_model);
    TRY_ELSE(read_vocab(created), close_model);
    *model = created;
    return STATUS_OK;
close_model:
    model_close(created);
    return status;
}

enum status model_open(struct model **model, const char *path)
{
    struct gguf *gguf;
    TRY(gguf_open(&gguf, path));
    return model_create(model, gguf);
}

enum status model_parse(struct model **model, const void *data, size_t bytes, const char *name)
{
    struct gguf *gguf;
    TRY(gguf_parse(&gguf, data, bytes, name));
    return model_create(model, gguf);
}

void model_close(struct model *model)
{
    if (!model)
        return;
    vocab_destroy(model->vocab);
    free(model->layers);
    gguf_close(model->gguf);
    free(model);
}

const struct model_spec *model_spec(const struct model *model)
{
    return &model->spec;
}

struct model_tensor model_tensor(const struct model *model, enum model_role role, int layer)
{
    assert(role < MODEL_ROLE_COUNT);
    if (role < MODEL_ATTN_NORM)
        return model->whole[role];
    assert(layer >= 0 && layer < model->spec.layers);
    return model->layers[(size_t)layer * LAYER_ROLES + (size_t)(role - MODEL_ATTN_NORM)];
}

const struct vocab *model_vocab(const struct model *model)
{
    return model->vocab;
}

const struct gguf *model_gguf(const struct model *model)
{
    return model->gguf;
}
