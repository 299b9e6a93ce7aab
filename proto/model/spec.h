/* What a model file says about the model's architecture, as plain numbers. Everything in it has
 * been checked against limits and against the rest of it; the tensors themselves are in model.h.
 */
#pragma once

#include <stdbool.h>

#include "proto/model/gguf.h"
#include "proto/status.h"

enum {
    MODEL_LAYERS_MAX = 1024,
    MODEL_HEADS_MAX = 1024,
    MODEL_HEAD_DIM_MAX = 256,
    MODEL_HIDDEN_MAX = 1 << 17,
    MODEL_FFN_MAX = 1 << 20,
    MODEL_VOCAB_MAX = 1 << 22,
    MODEL_TOKENS_MAX = 1 << 30,
};

enum model_rope_scaling {
    MODEL_ROPE_NONE,
    MODEL_ROPE_LINEAR,
    MODEL_ROPE_YARN,
    MODEL_ROPE_FACTORS /* rope_freqs.weight: one divisor a frequency (Llama 3.1 and later) */
};

struct model_spec {
    struct text_view name;         /* empty where the model has none */
    struct text_view architecture; /* "llama" */
    const char *file_type; /* "Q4_1", "mostly F16", ...; "unknown" where the file does not say */
    int layers;
    int hidden; /* width of the residual stream */
    int heads;  /* query heads; a multiple of kv_heads */
    int kv_heads;
    int head_dim; /* even, at most MODEL_HEAD_DIM_MAX */
    int ffn;      /* inner width of the feed-forward part */
    int vocab; /* rows of token_embd and of output; equals the tokenizer's count where there is one
                */
    int trained_tokens; /* context length the model was trained for */
    float norm_eps;
    bool tied_output;    /* no output.weight: the embedding serves */
    bool interleaved_qk; /* rows of attn_q and attn_k are stored for pairs (2i, 2i+1): see
                            spec_qk_row */

    double rope_base;
    enum model_rope_scaling rope_scaling;
    double rope_factor;       /* 1 unless linear or yarn */
    int rope_original_tokens; /* yarn: the length before stretching; else trained_tokens */
    double rope_mscale;       /* both cos and sin are multiplied by it; 1 unless yarn */
    double inv_freq[MODEL_HEAD_DIM_MAX /
                    2]; /* [head_dim / 2], scaling applied, rounded to float32 and widened */
};

/* Reads and checks the facts. UNIMPLEMENTED names what is not supported; DATA_LOSS what cannot be.
 */
MUST_CHECK enum status spec_read(struct model_spec *spec, const struct gguf *gguf);

/* The row of the file's attn_q or attn_k that holds row `row` of the rotate-half layout (element i
 * of a head turns with element i + head_dim / 2), which is the layout that every kernel uses. The
 * identity unless interleaved_qk. */
int spec_qk_row(const struct model_spec *spec, int row);

const char *spec_rope_scaling_name(enum model_rope_scaling scaling);
