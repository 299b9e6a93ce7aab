/* Owns an opened model: its checkpoint, its facts, the place of every tensor and the vocabulary.
 * Promises that each tensor is there once with the shape that the facts ask for and a type that can
 * be computed with, and that no tensor is ignored.
 */
#include "proto/model/model.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/model/directory.h"
#include "proto/model/gguf.h"
#include "proto/model/spec_gguf.h"
#include "proto/model/vocab_gguf.h"

enum { LAYER_ROLES = MODEL_ROLE_COUNT - MODEL_ATTN_NORM };

struct model {
    struct checkpoint *checkpoint;
    bool owns_checkpoint;
    bool *bound; /* [tensors]: has a place */
    struct model_spec spec;
    struct model_tensor whole[MODEL_ATTN_NORM];
    struct model_tensor *layers; /* [layers, LAYER_ROLES] */
    struct vocab *vocab;         /* NULL where the file has none */
};

static struct model_role_place place_of(const struct model *model, enum model_role role, int layer)
{
    return model_role_place(&model->spec, role, layer, checkpoint_gguf(model->checkpoint) != NULL);
}

static enum status check_dtype(const struct checkpoint_tensor *tensor, const char *name,
                               bool is_vector)
{
    if (tensor->dtype == DTYPE_COUNT)
        return checkpoint_fail(
            tensor, STATUS_UNIMPLEMENTED, "tensor-type",
            "tensor %s has type %s, which is not supported; F32, F16, BF16, "
            "Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL and IQ4_XS are",
            name, tensor->type);
    if (is_vector && dtype_block_elements(tensor->dtype) != 1)
        return checkpoint_fail(tensor, STATUS_UNIMPLEMENTED, "tensor-type",
                               "tensor %s has type %s; norms and biases must be F32, F16 or BF16",
                               name, tensor->type);
    return STATUS_OK;
}

static enum status bind_tensor(struct model_tensor *bound, struct model *model,
                               enum model_role role, int layer)
{
    const struct model_role_place place = place_of(model, role, layer);
    int index = checkpoint_find_tensor(model->checkpoint, place.name);
    if (index < 0)
        return fail(STATUS_DATA_LOSS, "%s: the tensor %s is missing",
                    checkpoint_name(model->checkpoint), place.name);
    const struct checkpoint_tensor *tensor = checkpoint_tensor(model->checkpoint, index);
    const struct model_role_shape shape = model_role_shape(&model->spec, role);
    TRY(check_dtype(tensor, place.name, shape.is_vector));
    const int64_t *dims = tensor->dims;
    bool fits = shape.is_vector
                    ? tensor->dims_count == 1 && dims[0] == shape.columns
                    : tensor->dims_count == 2 && dims[0] == place.rows && dims[1] == shape.columns;
    if (!fits)
        return checkpoint_fail(tensor, STATUS_DATA_LOSS, "tensor-shape",
                               "tensor %s is %lld x %lld (%d dimensions), the model's sizes ask "
                               "for %lld x %lld",
                               place.name, (long long)dims[0], (long long)dims[1],
                               tensor->dims_count,
                               (long long)(shape.is_vector ? shape.columns : place.rows),
                               (long long)(shape.is_vector ? 1 : shape.columns));
    model->bound[index] = true;
    const size_t before = (size_t)place.first * dtype_row_bytes(tensor->dtype, shape.columns);
    *bound = (struct model_tensor){(const char *)tensor->data + before, tensor->dtype, shape.rows,
                                   shape.columns};
    return STATUS_OK;
}

/* A writer may store the output beside the embedding that it is tied to: the same weights twice. */
static enum status bind_tied_output(struct model *model)
{
    const struct model_role_place name = place_of(model, MODEL_OUTPUT, 0);
    const struct model_tensor embedding = model->whole[MODEL_TOKEN_EMBD];
    int index = checkpoint_find_tensor(model->checkpoint, name.name);
    model->whole[MODEL_OUTPUT] = embedding;
    if (index < 0)
        return STATUS_OK;
    struct model_tensor stored;
    TRY(bind_tensor(&stored, model, MODEL_OUTPUT, 0));
    const struct checkpoint_tensor *tensor = checkpoint_tensor(model->checkpoint, index);
    if (stored.dtype != embedding.dtype || memcmp(stored.data, embedding.data, tensor->bytes) != 0)
        return checkpoint_fail(tensor, STATUS_DATA_LOSS, "tied-output",
                               "tensor %s is not the same as %s, though tie_word_embeddings says "
                               "that one serves as both: set it to false in config.json, or fetch "
                               "the model again",
                               name.name, place_of(model, MODEL_TOKEN_EMBD, 0).name);
    return STATUS_OK;
}

static enum status bind_whole(struct model *model)
{
    for (int role = 0; role < MODEL_ATTN_NORM; role++)
        if (role != MODEL_OUTPUT || !model->spec.tied_output)
            TRY(bind_tensor(&model->whole[role], model, (enum model_role)role, 0));
    return model->spec.tied_output ? bind_tied_output(model) : STATUS_OK;
}

static struct model_tensor *layer_tensor(const struct model *model, enum model_role role, int layer)
{
    return &model->layers[(size_t)layer * LAYER_ROLES + (size_t)(role - MODEL_ATTN_NORM)];
}

static enum status bind_layers(struct model *model)
{
    size_t layers = (size_t)model->spec.layers;
    model->layers = calloc(layers * LAYER_ROLES, sizeof *model->layers);
    if (!model->layers)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the tensors of %zu layers", layers);
    for (int layer = 0; layer < model->spec.layers; layer++)
        for (int role = MODEL_ATTN_NORM; role < MODEL_ROLE_COUNT; role++)
            if (model_role_is_there(&model->spec, (enum model_role)role))
                TRY(bind_tensor(layer_tensor(model, (enum model_role)role, layer), model,
                                (enum model_role)role, layer));
    return STATUS_OK;
}

/* The frequencies of rope, which the facts have read or computed: no weights. */
static bool is_rope_table(const struct model *model, const struct checkpoint_tensor *tensor)
{
    static const char buffer[] = ".rotary_emb.inv_freq";
    size_t bytes = strlen(buffer);
    if (checkpoint_gguf(model->checkpoint))
        return text_view_is(tensor->name, "rope_freqs.weight") ||
               text_view_is(tensor->name, "rope_factors_short.weight") ||
               text_view_is(tensor->name, "rope_factors_long.weight");
    return tensor->name.bytes > bytes &&
           memcmp(tensor->name.text + tensor->name.bytes - bytes, buffer, bytes) == 0;
}

/* A tensor that we would leave out (an expert, a bias that the facts do not tell of) means another
 * arithmetic than ours. */
static enum status refuse_unknown_tensors(const struct model *model)
{
    const struct model_spec *spec = &model->spec;
    bool has_biases = spec->qkv_bias || spec->output_bias || spec->mlp_bias;
    for (int i = 0; i < checkpoint_tensor_count(model->checkpoint); i++) {
        const struct checkpoint_tensor *tensor = checkpoint_tensor(model->checkpoint, i);
        if (!model->bound[i] && !is_rope_table(model, tensor))
            return checkpoint_fail(tensor, STATUS_UNIMPLEMENTED, "tensor-unknown",
                                   "tensor %.*s has no place in architecture %.*s with the facts "
                                   "of this model (%d layers, %s, no experts%s)",
                                   (int)tensor->name.bytes, tensor->name.text,
                                   (int)spec->architecture.bytes, spec->architecture.text,
                                   spec->layers, has_biases ? "biases of some kinds" : "no biases",
                                   spec->tied_output ? ", output tied to the embedding" : "");
    }
    return STATUS_OK;
}

static enum status bind_tensors(struct model *model)
{
    size_t count = (size_t)checkpoint_tensor_count(model->checkpoint);
    model->bound = calloc(count + 1, sizeof *model->bound);
    if (!model->bound)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the table of %zu tensors", count);
    TRY(bind_whole(model));
    TRY(bind_layers(model));
    return refuse_unknown_tensors(model);
}

static enum status read_spec(struct model *model)
{
    const struct gguf *gguf = checkpoint_gguf(model->checkpoint);
    return gguf ? spec_gguf_read(&model->spec, gguf)
                : directory_read_spec(&model->spec, checkpoint_directory(model->checkpoint));
}

static enum status read_vocab(struct model *model)
{
    const struct gguf *gguf = checkpoint_gguf(model->checkpoint);
    if (!gguf)
        return directory_read_vocab(&model->vocab, checkpoint_directory(model->checkpoint),
                                    model->spec.vocab);
    if (!vocab_gguf_is_there(gguf))
        return STATUS_OK;
    TRY(vocab_gguf_read(&model->vocab, gguf));
    if (vocab_count(model->vocab) != model->spec.vocab)
        return fail(STATUS_DATA_LOSS, "%s: the tokenizer has %d tokens, token_embd.weight %d rows",
                    gguf_name(gguf), vocab_count(model->vocab), model->spec.vocab);
    return STATUS_OK;
}

/* The largest of any layer: where down may be cut into parts. */
static int find_ffn_block(const struct model *model)
{
    int most = 0;
    for (int layer = 0; layer < model->spec.layers; layer++) {
        const int block = dtype_block_elements(layer_tensor(model, MODEL_FFN_DOWN, layer)->dtype);
        most = block > 1 && block > most ? block : most;
    }
    return most;
}

enum status model_create(struct model **model, struct checkpoint *checkpoint)
{
    enum status status;
    struct model *created = calloc(1, sizeof *created);
    if (!created)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to open a model");
    created->checkpoint = checkpoint;
    TRY_ELSE(read_spec(created), close_model);
    TRY_ELSE(bind_tensors(created), close_model);
    created->spec.ffn_block = find_ffn_block(created);
    TRY_ELSE(read_vocab(created), close_model);
    *model = created;
    return STATUS_OK;
close_model:
    model_close(created);
    return status;
}

/* Takes `checkpoint`, also on failure. */
static enum status create_owner(struct model **model, struct checkpoint *checkpoint)
{
    enum status status = model_create(model, checkpoint);
    if (status == STATUS_OK)
        (*model)->owns_checkpoint = true;
    else
        checkpoint_close(checkpoint);
    return status;
}

enum status model_open(struct model **model, const char *path)
{
    struct checkpoint *checkpoint;
    TRY(checkpoint_open(&checkpoint, path));
    return create_owner(model, checkpoint);
}

enum status model_parse(struct model **model, const void *data, size_t bytes, const char *name)
{
    struct checkpoint *checkpoint;
    TRY(checkpoint_parse(&checkpoint, data, bytes, name));
    return create_owner(model, checkpoint);
}

void model_close(struct model *model)
{
    if (!model)
        return;
    vocab_destroy(model->vocab);
    free(model->layers);
    free(model->bound);
    if (model->owns_checkpoint)
        checkpoint_close(model->checkpoint);
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
    return *layer_tensor(model, role, layer);
}

static bool is_norm_from_one(const struct model *model, enum model_role role)
{
    const bool is_norm = role == MODEL_OUTPUT_NORM || role == MODEL_ATTN_NORM ||
                         role == MODEL_ATTN_Q_NORM || role == MODEL_ATTN_K_NORM ||
                         role == MODEL_ATTN_POST_NORM || role == MODEL_FFN_NORM ||
                         role == MODEL_FFN_POST_NORM;
    return is_norm && model->spec.norms_from_one;
}

void model_read_vector(float *elements, const struct model *model, enum model_role role, int layer)
{
    const struct model_tensor tensor = model_tensor(model, role, layer);
    const size_t element_bytes = dtype_row_bytes(tensor.dtype, 1);
    for (int i = 0; i < (int)tensor.columns; i++) {
        const int from = model_role_is_by_head(role) ? spec_qk_row(&model->spec, i) : i;
        dtype_dequantize_row(elements + i, (const char *)tensor.data + (size_t)from * element_bytes,
                             tensor.dtype, 1);
        if (is_norm_from_one(model, role))
            elements[i] += 1;
    }
}

const struct vocab *model_vocab(const struct model *model)
{
    return model->vocab;
}

const struct checkpoint *model_checkpoint(const struct model *model)
{
    return model->checkpoint;
}
