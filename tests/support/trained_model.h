/* The shape of a small model that learns: what tests of a training pass vary of it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/model/spec.h"

enum { TRAINED_MODEL_VOCAB = 48 };

struct trained_model {
    bool tied, qkv_bias, output_bias, mlp_bias, qk_norm;
    int kv_heads;   /* of 4 heads */
    int64_t window; /* of the second layer; 0: none */
};

/* Two layers, 48 wide. Fails the test that runs where a spec cannot be made. */
struct model_spec trained_model_spec(const struct trained_model *model);
