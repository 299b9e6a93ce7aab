/* Model files with random weights, small ones for tests and one that benches take, with a
 * byte-level vocabulary and ChatML. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kernels/dtype.h"
#include "tests/support/gguf_writer.h"

enum {
    TINY_MODEL_ENDOFTEXT = 0, /* <|endoftext|> */
    TINY_MODEL_IM_START = 1,  /* <|im_start|>, bos as in SmolLM2 */
    TINY_MODEL_IM_END = 2,    /* <|im_end|>, eos */
    TINY_MODEL_BYTE_0 = 3,    /* the token of byte b is TINY_MODEL_BYTE_0 + b */
    TINY_MODEL_VOCAB_MIN = TINY_MODEL_BYTE_0 + 256 + 6,
    TINY_MODEL_PATH_BYTES = 32,
};

/* Formats of quantised blocks need hidden, heads * head_dim and ffn that divide by 32. */
struct tiny_model_shape {
    int layers;
    int hidden;
    int heads;
    int kv_heads;
    int head_dim;
    int ffn;
    int vocab;         /* 0: TINY_MODEL_VOCAB_MIN, which is the least; the rest is unused tokens */
    int context;       /* 0: 2048 */
    float rope_base;   /* 0: 10000 */
    bool untied;       /* an output.weight of its own */
    bool rope_factors; /* a rope_freqs.weight as in Llama 3.1 */
    /* Phi-3's two tensors of factors, for frequency i 1 + i / 8 and 2 + i; texts beyond so many
     * tokens are for the second one; 0: none. */
    int long_rope;
    bool bf16_norms;          /* instead of F32, as directories have them */
    const char *architecture; /* NULL: llama */
    const char *model_type;   /* of a directory; NULL: as the architecture */
    bool qkv_bias;
    bool output_bias;
    bool mlp_bias;
    bool qk_norm;
    int rotated_dim;   /* of a head; 0: all */
    float linear_rope; /* the factor of linear scaling; 0: none */
    /* As struct model_spec; 0: what the architecture has without. */
    float embedding_scale, residual_scale, attention_scale, attention_cap, logit_cap;
    float logit_division;   /* Granite's: 1 / logit_scale */
    int window;             /* a sliding window of so many tokens; 0: none */
    unsigned window_layers; /* bit l: on layer l; 0: on all */
    const char *spoilt; /* a tensor of F32 whose row `spoilt_row` begins with a NaN; NULL: none */
    int spoilt_row;
    bool no_tokenizer;     /* then vocab may be any size */
    unsigned silent_heads; /* bit h: KV head h has values of 0 on all layers, in matrices of F32 */
    /* Each value follows from its tensor's name in safetensors and its place there, as
     * tests/ranks/data/make-architectures makes it. */
    bool by_name;
    int distinct_rows; /* of a matrix, which are quick to make: they come again and again; 0: all */
    /* As "Q4_K_M" files: the embedding Q6_K, each matrix of a layer another of Q4_K, Q5_K, Q6_K,
     * Q5_0, Q5_1, each layer otherwise; widths divide by 256. */
    bool mixed;
    /* Of the matrices, the values that rows of this type stand for, whatever type they are written
     * in; F32: as they were drawn. */
    enum dtype values_of;
};

/* Matrices and embedding have `dtype`, unless they are mixed, norms F32. The same arguments make
 * the same bytes. */
void tiny_model_build(struct gguf_writer *file, const struct tiny_model_shape *shape, uint64_t seed,
                      enum dtype dtype);

/* A file in the folder for temporary ones, with matrices of `dtype`, whose name goes to `path`. The
 * caller unlinks it. Any failure ends the test. */
void tiny_model_make(char path[TINY_MODEL_PATH_BYTES], const struct tiny_model_shape *shape,
                     enum dtype dtype);

/* Tokens of bytes, drawn at random, always the same. */
void tiny_model_ids(int32_t *ids, int64_t count);

/* The same as tiny_model_build into a file. Any failure ends the test. */
void tiny_model_write(const char *path, const struct tiny_model_shape *shape, uint64_t seed,
                      enum dtype dtype);
