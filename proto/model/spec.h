/* What a model's files say about its architecture, as plain numbers. Everything in it has been
 * checked against limits and against the rest of it; the tensors themselves are in model.h.
 */
#pragma once

#include <stdbool.h>

#include "proto/model/text_view.h"
#include "proto/plan/frequencies.h"
#include "proto/plan/model_shape.h"
#include "proto/status.h"

enum {
    MODEL_LAYERS_MAX = MODEL_SHAPE_LAYERS_MAX,
    MODEL_HEADS_MAX = 1024,
    MODEL_HEAD_DIM_STEP = 16,
    MODEL_HEAD_DIM_MAX = 256,
    MODEL_GROUP_MAX = 96, /* query heads to a key-value head */
    MODEL_HIDDEN_MAX = 1 << 17,
    MODEL_FFN_MAX = 1 << 20,
    MODEL_VOCAB_MAX = 1 << 22,
    MODEL_TOKENS_MAX = 1 << 30,
};

enum model_rope_scaling {
    MODEL_ROPE_NONE,
    MODEL_ROPE_LINEAR,
    MODEL_ROPE_YARN,
    MODEL_ROPE_FACTORS, /* rope_freqs.weight: one divisor a frequency (Llama 3.1 and later) */
    MODEL_ROPE_LLAMA3,  /* the same by its formula */
    MODEL_ROPE_DYNAMIC, /* plain up to the trained length, beyond it the base grows with the text */
    MODEL_ROPE_LONGROPE /* one divisor a frequency up to the original length, others beyond it */
};

/* How a model asks for its frequencies. */
struct spec_rope {
    double base;
    enum model_rope_scaling scaling; /* not MODEL_ROPE_FACTORS */
    double factor;                   /* 1 where there is no scaling */
    int original_tokens;             /* yarn, llama3 */
    double beta_fast;                /* yarn */
    double beta_slow;
    bool fractional;        /* yarn: the ramp ends between dimensions, not at whole ones */
    double mscale;          /* 1 where cos and sin stay as they are */
    double low_freq_factor; /* llama3 */
    double high_freq_factor;
    /* longrope, [head_dim / 2]: up to original_tokens, and beyond. */
    double short_factors[MODEL_HEAD_DIM_MAX / 2];
    double long_factors[MODEL_HEAD_DIM_MAX / 2];
};

struct model_spec {
    struct text_view name;         /* empty where the model has none */
    struct text_view architecture; /* as the file names it: "llama" */
    const char *file_type; /* "Q4_1", "mostly F16", ...; "unknown" where the file does not say */
    int layers;
    int hidden; /* width of the residual stream */
    int heads;  /* query heads; a multiple of kv_heads, up to MODEL_GROUP_MAX times as many */
    int kv_heads;
    /* A multiple of MODEL_HEAD_DIM_STEP, at most MODEL_HEAD_DIM_MAX; heads * head_dim may differ
     * from hidden. */
    int head_dim;
    int rotated_dim; /* the elements of a head that rope turns, its first ones; 0: all */
    int ffn;         /* inner width of the feed-forward part */
    int ffn_block;   /* inputs of ffn_down that are quantised together, in any layer; 0: one */
    /* Rows of token_embd and of output; equals the tokenizer's count where there is one. */
    int vocab;
    /* Context length the model was trained for; MODEL_TOKENS_MAX where the file sets no limit. */
    int trained_tokens;
    float norm_eps;
    bool tied_output; /* no output.weight: the embedding serves */
    /* Rows of attn_q and attn_k are stored for pairs (2i, 2i+1): see spec_qk_row. */
    bool interleaved_qk;
    bool qkv_bias;
    bool output_bias; /* of attention's output */
    bool mlp_bias;
    bool qk_norm; /* heads of queries and keys are normalised before they are rotated: each */
    bool qk_norm_joined; /* ... or all of a token together */
    bool no_input_norms; /* attention and the feed-forward part take the residual stream as it is */
    bool output_norms;   /* what they leave is normalised before it is added */
    bool norms_from_one; /* the file's weights of norms are what is added to 1 */
    bool gelu;           /* the activation is GELU by tanh; else SiLU */
    bool fused_qkv;      /* one tensor has the rows of q, k and v, one those of gate and up */
    /* 0: none. */
    double embedding_scale; /* times the embedding */
    double residual_scale;  /* times what is added to the residual stream */
    double attention_scale; /* of scores, in place of 1 / sqrt(head_dim) */
    double attention_cap;   /* a score s becomes cap * tanh(s / cap) */
    double logit_scale;     /* times the logits */
    double logit_cap;       /* then as scores */
    struct model_window window;
    int kv_first, kv_all; /* of a slice: as struct model_shape says */

    double rope_base;
    enum model_rope_scaling rope_scaling;
    double rope_factor; /* 1 unless linear, yarn, llama3, dynamic or longrope */
    /* yarn, llama3, longrope: the length before stretching; else trained_tokens */
    int rope_original_tokens;
    /* Both cos and sin are multiplied by it, rounded to float32; 1 unless yarn, longrope or a file
     * that says otherwise. */
    double rope_mscale;
    /* [head_dim / 2], scaling applied, rounded to float32 and widened; of longrope those for up to
     * rope_original_tokens. */
    double inv_freq[MODEL_HEAD_DIM_MAX / 2];
    struct spec_rope rope; /* what these follow from, but for the factors of a file */

    /* Layers whose heads rope does not turn, or by frequencies of another base, plain and whatever
     * a method asks for. */
    bool other_rope;
    double other_base;                             /* 0: they are not turned */
    uint64_t other_layers[MODEL_LAYERS_MAX / 64];  /* bit layer % 64 of word layer / 64 */
    double other_inv_freq[MODEL_HEAD_DIM_MAX / 2]; /* as inv_freq */
};

static inline bool spec_layer_is_other(const struct model_spec *spec, int layer)
{
    return spec->other_layers[layer / 64] >> layer % 64 & 1;
}

/* Marks a layer, and sets what follows from other_base and head_dim. */
void spec_set_other_layer(struct model_spec *spec, int layer);

/* What the attention kernels take (kernels/attention.h). */
static inline bool spec_head_dim_is_supported(int head_dim)
{
    return head_dim % MODEL_HEAD_DIM_STEP == 0 && head_dim <= MODEL_HEAD_DIM_MAX;
}

/* What the products on a GPU take besides. */
static inline bool spec_widths_suit_gpu(const struct model_spec *spec)
{
    return spec->hidden % 8 == 0 && spec->ffn % 8 == 0;
}

/* The frequencies of a head: half of what is rotated. */
static inline int spec_rope_half(const struct model_spec *spec)
{
    return (spec->rotated_dim > 0 ? spec->rotated_dim : spec->head_dim) / 2;
}

/* 0.1 ln(factor) + 1, what YaRN multiplies cos and sin by unless the model says otherwise. */
double spec_yarn_mscale(double factor);

/* sqrt(1 + ln(factor) / ln(original_tokens)), the same of LongRoPE; 1 up to a factor of 1. */
double spec_longrope_mscale(double factor, int original_tokens);

/* Sets all of rope_* and inv_freq from head_dim and trained_tokens. DATA_LOSS, with `name` before
 * it, for numbers that cannot be. */
MUST_CHECK enum status spec_set_rope(struct model_spec *spec, const struct spec_rope *rope,
                                     const char *name);

/* The same model with another base: scaling stays, and factors of a file stay as they are. */
MUST_CHECK enum status spec_replace_base(struct model_spec *spec, double base, const char *name);

/* How many layers the window covers. */
int spec_window_layers(const struct model_spec *spec);

/* What stands for the model's own frequencies where contexts of `context_tokens` are served: for
 * longrope and dynamic they follow from the length, and one kind serves all requests, so that keys
 * may be shared. Else FREQUENCIES_OF_MODEL. */
struct frequencies spec_frequencies(const struct model_spec *spec, int64_t context_tokens);

/* How the queries and keys of one request turn: table entries are those of kernels/rope.h. */
struct spec_rotation {
    /* [head_dim / 2], rounded to float32 and widened; 0 from pair `turned` on. */
    double inv_freq[MODEL_HEAD_DIM_MAX / 2];
    int turned;       /* pairs that rope turns: the others stay as they are */
    double magnitude; /* of their cos and sin */
    double logn;      /* ln L of `logn=L`; 0: none */
};

/* The model's own frequencies, or those that a method asks for in their place. `logn` is
 * method_logn's. FREQUENCIES_LONG is for models of longrope; of others it is their own. */
void spec_rotation_make(struct spec_rotation *rotation, const struct model_spec *spec,
                        const struct frequencies *frequencies, int64_t logn);

/* The same of the model's other layers, which follow no method's frequencies; zeros where it has
 * none. */
void spec_rotation_other(struct spec_rotation *rotation, const struct model_spec *spec,
                         int64_t logn);

/* The row of the model's attn_q or attn_k that holds row `row` of the rotate-half layout (element i
 * of a head rotates with element i + head_dim / 2), which is the layout that every kernel uses. The
 * identity unless interleaved_qk, or where rope turns a part of a head: what stays as it is then
 * comes behind in both halves, whichever pairs it forms. */
int spec_qk_row(const struct model_spec *spec, int row);

/* The smaller model that a slice is (proto/plan/tensor_slice.h). Roles have its shapes; what a file
 * says of tensors is still about the whole one. */
struct tensor_slice;
struct model_spec spec_slice(const struct model_spec *spec, const struct tensor_slice *slice);

/* What planning needs of it, for weights that take `weights_bytes` once they are re-laid. */
struct model_shape spec_shape(const struct model_spec *spec, int64_t weights_bytes);

/* The first part of the model, in words, that only answers computed on CPUs know of: training, GPUs
 * and the writing of models refuse it by that name. NULL: it has none. */
const char *spec_special_part(const struct model_spec *spec);

const char *spec_rope_scaling_name(enum model_rope_scaling scaling);
