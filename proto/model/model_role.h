/* What each of a model's tensors is for, whatever the file calls it. One table says its names, its
 * shape in terms of the facts, and which models have it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/model/spec.h"
#include "proto/plan/tensor_slice.h"

enum model_role {
    /* of the whole model */
    MODEL_TOKEN_EMBD,
    MODEL_OUTPUT_NORM,
    MODEL_OUTPUT, /* the embedding where the two are tied */
    /* of a layer */
    MODEL_ATTN_NORM,
    MODEL_ATTN_Q,
    MODEL_ATTN_Q_BIAS,
    MODEL_ATTN_Q_NORM, /* of each head, before it is rotated */
    MODEL_ATTN_K,
    MODEL_ATTN_K_BIAS,
    MODEL_ATTN_K_NORM,
    MODEL_ATTN_V,
    MODEL_ATTN_V_BIAS,
    MODEL_ATTN_OUTPUT,
    MODEL_ATTN_OUTPUT_BIAS,
    MODEL_ATTN_POST_NORM, /* of attention's output, before it is added */
    MODEL_FFN_NORM,
    MODEL_FFN_GATE,
    MODEL_FFN_GATE_BIAS,
    MODEL_FFN_UP,
    MODEL_FFN_UP_BIAS,
    MODEL_FFN_DOWN,
    MODEL_FFN_DOWN_BIAS,
    MODEL_FFN_POST_NORM, /* of the feed-forward part's output */
    MODEL_ROLE_COUNT
};

enum { MODEL_ROLE_NAME_BYTES = 80 };

/* A vector (a norm or a bias) is one row, has one dimension in files, and is never quantised. */
struct model_role_shape {
    int64_t rows;
    int64_t columns;
    bool is_vector;
};

/* Whether models with these facts have the role. */
bool model_role_is_there(const struct model_spec *spec, enum model_role role);

struct model_role_shape model_role_shape(const struct model_spec *spec, enum model_role role);

/* What a slice has of a role of the whole model's shape: of a vector, the columns. */
struct model_role_part {
    struct span rows, columns;
};
struct model_role_part model_role_part(const struct model_spec *spec,
                                       const struct tensor_slice *slice, enum model_role role);

/* Whether rows (of a vector: elements) belong to heads of queries or keys, and lie in the file in
 * the order of spec_qk_row. */
bool model_role_is_by_head(enum model_role role);

/* The tensor that holds a role's rows: of fused ones it has others' too. */
struct model_role_place {
    char name[MODEL_ROLE_NAME_BYTES];
    int64_t rows;  /* of the tensor */
    int64_t first; /* the role's first one */
};

/* Where files with these facts have the role. `layer` is ignored for a role of the whole model. */
struct model_role_place model_role_place(const struct model_spec *spec, enum model_role role,
                                         int layer, bool gguf);

/* As the files of Llama's kin spell it: "blk.3.attn_q.weight" in GGUF,
 * "model.layers.3.self_attn.q_proj.weight" in safetensors. `layer` is ignored for a role of the
 * whole model. */
void model_role_gguf_name(char name[MODEL_ROLE_NAME_BYTES], enum model_role role, int layer);
void model_role_directory_name(char name[MODEL_ROLE_NAME_BYTES], enum model_role role, int layer);
