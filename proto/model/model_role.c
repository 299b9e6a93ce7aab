/* Owns the table of roles. */
#include "proto/model/model_role.h"

#include <assert.h>
#include <stddef.h>
#include <stdio.h>

/* In terms of the facts. */
enum size { ONE, VOCAB, HIDDEN, QUERIES, KEYS, HEAD, FFN };

#define TENSOR(GGUF, DIRECTORY, ROWS, COLUMNS)                                                     \
    .gguf = (GGUF), .directory = (DIRECTORY), .rows = (ROWS), .columns = (COLUMNS)
#define WHERE(member) .condition = offsetof(struct model_spec, member)
#define UNLESS(member) WHERE(member), .unless = true

static const struct row {
    const char *gguf;      /* behind "blk.N." in a layer */
    const char *directory; /* behind "model.layers.N." in a layer */
    enum size rows;        /* ONE: a vector */
    enum size columns;
    size_t condition; /* the flag of struct model_spec that the role depends on; 0: all have it */
    bool unless;      /* the flag says that it is not there */
    bool by_head;
} rows[MODEL_ROLE_COUNT] = {
    [MODEL_TOKEN_EMBD] = {TENSOR("token_embd.weight", "model.embed_tokens.weight", VOCAB, HIDDEN)},
    [MODEL_OUTPUT_NORM] = {TENSOR("output_norm.weight", "model.norm.weight", ONE, HIDDEN)},
    [MODEL_OUTPUT] = {TENSOR("output.weight", "lm_head.weight", VOCAB, HIDDEN)},
    [MODEL_ATTN_NORM] = {TENSOR("attn_norm.weight", "input_layernorm.weight", ONE, HIDDEN),
                         UNLESS(no_input_norms)},
    [MODEL_ATTN_Q] = {TENSOR("attn_q.weight", "self_attn.q_proj.weight", QUERIES, HIDDEN),
                      .by_head = true},
    [MODEL_ATTN_Q_BIAS] = {TENSOR("attn_q.bias", "self_attn.q_proj.bias", ONE, QUERIES),
                           WHERE(qkv_bias), .by_head = true},
    [MODEL_ATTN_Q_NORM] = {TENSOR("attn_q_norm.weight", "self_attn.q_norm.weight", ONE, HEAD),
                           WHERE(qk_norm)},
    [MODEL_ATTN_K] = {TENSOR("attn_k.weight", "self_attn.k_proj.weight", KEYS, HIDDEN),
                      .by_head = true},
    [MODEL_ATTN_K_BIAS] = {TENSOR("attn_k.bias", "self_attn.k_proj.bias", ONE, KEYS),
                           WHERE(qkv_bias), .by_head = true},
    [MODEL_ATTN_K_NORM] = {TENSOR("attn_k_norm.weight", "self_attn.k_norm.weight", ONE, HEAD),
                           WHERE(qk_norm)},
    [MODEL_ATTN_V] = {TENSOR("attn_v.weight", "self_attn.v_proj.weight", KEYS, HIDDEN)},
    [MODEL_ATTN_V_BIAS] = {TENSOR("attn_v.bias", "self_attn.v_proj.bias", ONE, KEYS),
                           WHERE(qkv_bias)},
    [MODEL_ATTN_OUTPUT] = {TENSOR("attn_output.weight", "self_attn.o_proj.weight", HIDDEN,
                                  QUERIES)},
    [MODEL_ATTN_OUTPUT_BIAS] = {TENSOR("attn_output.bias", "self_attn.o_proj.bias", ONE, HIDDEN),
                                WHERE(output_bias)},
    [MODEL_ATTN_POST_NORM] = {TENSOR("post_attention_norm.weight",
                                     "post_attention_layernorm.weight", ONE, HIDDEN),
                              WHERE(output_norms)},
    [MODEL_FFN_NORM] = {TENSOR("ffn_norm.weight", "post_attention_layernorm.weight", ONE, HIDDEN),
                        UNLESS(no_input_norms)},
    [MODEL_FFN_GATE] = {TENSOR("ffn_gate.weight", "mlp.gate_proj.weight", FFN, HIDDEN)},
    [MODEL_FFN_GATE_BIAS] = {TENSOR("ffn_gate.bias", "mlp.gate_proj.bias", ONE, FFN),
                             WHERE(mlp_bias)},
    [MODEL_FFN_UP] = {TENSOR("ffn_up.weight", "mlp.up_proj.weight", FFN, HIDDEN)},
    [MODEL_FFN_UP_BIAS] = {TENSOR("ffn_up.bias", "mlp.up_proj.bias", ONE, FFN), WHERE(mlp_bias)},
    [MODEL_FFN_DOWN] = {TENSOR("ffn_down.weight", "mlp.down_proj.weight", HIDDEN, FFN)},
    [MODEL_FFN_DOWN_BIAS] = {TENSOR("ffn_down.bias", "mlp.down_proj.bias", ONE, HIDDEN),
                             WHERE(mlp_bias)},
    [MODEL_FFN_POST_NORM] = {TENSOR("post_ffw_norm.weight", "post_feedforward_layernorm.weight",
                                    ONE, HIDDEN),
                             WHERE(output_norms)},
};

static int64_t size_of(const struct model_spec *spec, enum size size)
{
    const int64_t sizes[] = {
        [ONE] = 1,
        [VOCAB] = spec->vocab,
        [HIDDEN] = spec->hidden,
        [QUERIES] = (int64_t)spec->heads * spec->head_dim,
        [KEYS] = (int64_t)spec->kv_heads * spec->head_dim,
        [HEAD] = spec->head_dim,
        [FFN] = spec->ffn,
    };
    return sizes[size];
}

/* Norms of queries and keys are as wide as a head, or as all of them together. */
static enum size columns_of(const struct model_spec *spec, enum model_role role)
{
    if (spec->qk_norm_joined && role == MODEL_ATTN_Q_NORM)
        return QUERIES;
    if (spec->qk_norm_joined && role == MODEL_ATTN_K_NORM)
        return KEYS;
    return rows[role].columns;
}

bool model_role_is_there(const struct model_spec *spec, enum model_role role)
{
    assert(role < MODEL_ROLE_COUNT);
    size_t condition = rows[role].condition;
    return condition == 0 || *(const bool *)((const char *)spec + condition) != rows[role].unless;
}

struct model_role_shape model_role_shape(const struct model_spec *spec, enum model_role role)
{
    assert(role < MODEL_ROLE_COUNT);
    const struct row *row = &rows[role];
    return (struct model_role_shape){size_of(spec, row->rows),
                                     size_of(spec, columns_of(spec, role)), row->rows == ONE};
}

static struct span part_of(const struct model_spec *spec, const struct tensor_slice *slice,
                           enum size size)
{
    const int64_t head_dim = spec->head_dim;
    switch (size) {
    case QUERIES:
        return (struct span){slice->heads.first * head_dim, slice->heads.end * head_dim};
    case KEYS:
        return (struct span){slice->kv_heads.first * head_dim, slice->kv_heads.end * head_dim};
    case FFN:
        return slice->ffn;
    default:
        return (struct span){0, size_of(spec, size)};
    }
}

struct model_role_part model_role_part(const struct model_spec *spec,
                                       const struct tensor_slice *slice, enum model_role role)
{
    assert(role < MODEL_ROLE_COUNT);
    return (struct model_role_part){part_of(spec, slice, rows[role].rows),
                                    part_of(spec, slice, columns_of(spec, role))};
}

bool model_role_is_by_head(enum model_role role)
{
    assert(role < MODEL_ROLE_COUNT);
    return rows[role].by_head;
}

static void spell(char name[MODEL_ROLE_NAME_BYTES], enum model_role role, const char *folder,
                  int layer, const char *text)
{
    if (role < MODEL_ATTN_NORM)
        snprintf(name, MODEL_ROLE_NAME_BYTES, "%s", text);
    else
        snprintf(name, MODEL_ROLE_NAME_BYTES, "%s.%d.%s", folder, layer, text);
}

void model_role_gguf_name(char name[MODEL_ROLE_NAME_BYTES], enum model_role role, int layer)
{
    assert(role < MODEL_ROLE_COUNT);
    spell(name, role, "blk", layer, rows[role].gguf);
}

void model_role_directory_name(char name[MODEL_ROLE_NAME_BYTES], enum model_role role, int layer)
{
    assert(role < MODEL_ROLE_COUNT);
    spell(name, role, "model.layers", layer, rows[role].directory);
}

/* Tensors that hold the rows of several roles, one behind the other, or have another name beside
 * norms of outputs. */
static const struct special {
    enum model_role role;
    enum model_role first, last; /* whose rows the tensor has; both `role`: its own alone */
    const char *gguf, *directory;
} specials[] = {
    {MODEL_ATTN_Q, MODEL_ATTN_Q, MODEL_ATTN_V, "attn_qkv.weight", "self_attn.qkv_proj.weight"},
    {MODEL_ATTN_K, MODEL_ATTN_Q, MODEL_ATTN_V, "attn_qkv.weight", "self_attn.qkv_proj.weight"},
    {MODEL_ATTN_V, MODEL_ATTN_Q, MODEL_ATTN_V, "attn_qkv.weight", "self_attn.qkv_proj.weight"},
    {MODEL_FFN_GATE, MODEL_FFN_GATE, MODEL_FFN_UP, "ffn_up.weight", "mlp.gate_up_proj.weight"},
    {MODEL_FFN_UP, MODEL_FFN_GATE, MODEL_FFN_UP, "ffn_up.weight", "mlp.gate_up_proj.weight"},
    {MODEL_FFN_NORM, MODEL_FFN_NORM, MODEL_FFN_NORM, "ffn_norm.weight",
     "pre_feedforward_layernorm.weight"},
};

static const struct special *special_of(const struct model_spec *spec, enum model_role role)
{
    for (size_t i = 0; i < sizeof specials / sizeof specials[0]; i++)
        if (specials[i].role == role &&
            (role == MODEL_FFN_NORM ? spec->output_norms : spec->fused_qkv))
            return &specials[i];
    return NULL;
}

struct model_role_place model_role_place(const struct model_spec *spec, enum model_role role,
                                         int layer, bool gguf)
{
    struct model_role_place place = {.rows = model_role_shape(spec, role).rows};
    const struct special *special = special_of(spec, role);
    if (!special) {
        if (gguf)
            model_role_gguf_name(place.name, role, layer);
        else
            model_role_directory_name(place.name, role, layer);
        return place;
    }
    spell(place.name, role, gguf ? "blk" : "model.layers", layer,
          gguf ? special->gguf : special->directory);
    place.rows = 0;
    for (int r = (int)special->first; r <= (int)special->last; r++) {
        const struct model_role_shape shape = model_role_shape(spec, (enum model_role)r);
        if (shape.is_vector != model_role_shape(spec, role).is_vector)
            continue; /* a bias or a norm between them */
        if (r < (int)role)
            place.first += shape.rows;
        place.rows += shape.rows;
    }
    return place;
}
