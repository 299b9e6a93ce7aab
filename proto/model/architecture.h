/* The architectures that can be computed, one row each: how files name them, and where they differ.
 * What two of them share is not here.
 */
#pragma once

#include <stdbool.h>

#include "proto/model/spec.h"
#include "proto/model/text_view.h"

/* Whether the model has a part. */
enum architecture_part {
    ARCHITECTURE_NEVER,
    ARCHITECTURE_ALWAYS,
    /* where config.json says so (attention_bias, mlp_bias), or a GGUF file holds its tensors */
    ARCHITECTURE_STATED
};

/* The layers that a sliding window covers where the file does not list them (layer_types,
 * sliding_window_pattern). */
enum architecture_window {
    ARCHITECTURE_WINDOW_REFUSED, /* the architecture has no windows */
    ARCHITECTURE_WINDOW_ALL,
    ARCHITECTURE_WINDOW_LISTED, /* none: it must */
    ARCHITECTURE_WINDOW_LATE,   /* with use_sliding_window, those from max_window_layers on */
    ARCHITECTURE_WINDOW_PERIOD  /* all but every window_period-th */
};

/* What config.json leaves out is as in transformers; 0 is explained beside each. */
struct architecture {
    const char *gguf;       /* general.architecture; NULL: GGUF files say "llama" of it */
    const char *model_type; /* config.json */
    const char *class;      /* config.json, architectures */
    bool interleaves_qk;    /* GGUF files hold rows of q and k for pairs: spec_qk_row */
    enum architecture_part qkv_bias;
    enum architecture_part output_bias;
    enum architecture_part mlp_bias;
    enum architecture_part qk_norm;
    enum architecture_window gguf_window;
    enum architecture_window config_window;
    bool lists_layers; /* config.json may have layer_types */
    int window;        /* sliding_window where config.json lacks the key; 0: none */
    int kv_heads;      /* num_key_value_heads; 0: as many as heads */
    double rope_base;  /* rope_theta; 0: 10000 */
    int head_dim;      /* 0: hidden / heads */
    bool tied;         /* tie_word_embeddings where config.json lacks the key */

    /* What spec.h says of the facts of these names, which no file does. */
    bool output_norms;
    bool no_input_norms;
    bool qk_norm_joined;
    bool gelu;
    bool fused_qkv;
    bool scales_embedding; /* by sqrt(hidden) */
    bool norms_from_one;   /* in safetensors; GGUF files have the sums */

    /* What files may say, and else does not stand. */
    bool turns_part;      /* partial_rotary_factor, rope.dimension_count */
    bool multiplies;      /* Granite's multipliers */
    int no_rope_period;   /* where no list says which layers do not rotate: every so manieth */
    int window_period;    /* of ARCHITECTURE_WINDOW_PERIOD where the file says none */
    double local_base;    /* layers with the window rotate by it where the file says no other */
    int query_scalar;     /* query_pre_attn_scalar where config.json lacks it: scores / sqrt */
    int wide_layers;      /* GGUF: scores of the model of so many layers / sqrt(hidden / heads) */
    bool caps_scores;     /* attn_logit_softcapping */
    bool caps_logits;     /* final_logit_softcapping */
    double attention_cap; /* where the file does not say it */
    double logit_cap;
};

/* NULL where it is not known. */
const struct architecture *architecture_of_gguf(struct text_view name);
const struct architecture *architecture_of_config(struct text_view model_type);

/* The facts that follow from the architecture alone, and from `hidden`, which is there. */
void architecture_set_facts(const struct architecture *architecture, struct model_spec *spec);

enum { ARCHITECTURE_NAMES_BYTES = 192 };

/* "llama, qwen2, qwen3": what is known, for sentences. */
void architecture_gguf_names(char names[ARCHITECTURE_NAMES_BYTES]);
void architecture_config_names(char names[ARCHITECTURE_NAMES_BYTES]);
