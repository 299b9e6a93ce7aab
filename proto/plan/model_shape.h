/* What the planner needs to know of a model. */
#pragma once

#include <stdint.h>

struct model_shape {
    int64_t layers;
    int64_t hidden;
    int64_t heads;
    int64_t kv_heads;
    int64_t head_dim;
    int64_t ffn;
    int64_t vocab;
    int64_t trained_tokens;
    int64_t weights_bytes; /* as re-laid at load */
};
