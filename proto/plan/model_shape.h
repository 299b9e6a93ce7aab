/* What the planner needs to know of a model. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { MODEL_SHAPE_LAYERS_MAX = 1024 };

/* A sliding window: on the layers that have it, token i sees the tokens from i - tokens + 1 on. */
struct model_window {
    int64_t tokens;                               /* 0: no layer has one */
    uint64_t layers[MODEL_SHAPE_LAYERS_MAX / 64]; /* bit layer % 64 of word layer / 64 */
};

struct model_shape {
    int64_t layers;
    int64_t hidden;
    int64_t heads;
    int64_t kv_heads;
    int64_t head_dim; /* heads * head_dim may differ from hidden */
    int64_t ffn;
    int64_t ffn_block; /* inputs of down that are quantised together, in any layer; 0: one */
    int64_t vocab;
    int64_t trained_tokens;
    int64_t weights_bytes; /* as re-laid at load */
    struct model_window window;
    bool qkv_bias;       /* queries, keys and values have biases */
    bool output_bias;    /* attention's output has */
    bool mlp_bias;       /* gate, up and down have */
    bool qk_norm;        /* each head of queries and keys is normalised before it is rotated */
    bool qk_norm_joined; /* ... or all heads of a token together */
    bool other_rope;     /* some layers rotate otherwise than the rest: two tables a row */
    /* Of a slice (tensor_slice.h): its KV heads are [kv_first, kv_first + kv_heads) of kv_all. */
    int64_t kv_first, kv_all; /* 0: all are here */
};

static inline bool model_window_covers(const struct model_window *window, int64_t layer)
{
    return window->layers[layer / 64] >> layer % 64 & 1;
}

static inline void model_window_cover(struct model_window *window, int64_t layer)
{
    window->layers[layer / 64] |= UINT64_C(1) << layer % 64;
}
