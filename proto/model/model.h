/* A model, opened and checked: its facts, its tensors and its tokenizer, as views into the mapped
 * file or files. Everything above this header is the same for a GGUF file and for a directory.
 *
 * Once model_open has succeeded, every tensor named below is there once, with the shape and a type
 * that the facts ask for, and nothing else needs checking. The weights' numbers themselves are not
 * looked at (a NaN passes).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/dtype.h"
#include "proto/model/checkpoint.h"
#include "proto/model/spec.h"
#include "proto/model/vocab.h"
#include "proto/status.h"

struct model;

enum model_role {
    /* of the whole model */
    MODEL_TOKEN_EMBD,  /* [vocab, hidden] */
    MODEL_OUTPUT_NORM, /* [1, hidden]; F32, F16 or BF16 */
    MODEL_OUTPUT,      /* [vocab, hidden]; the embedding where the two are tied */
    /* of a layer */
    MODEL_ATTN_NORM,   /* [1, hidden]; F32, F16 or BF16 */
    MODEL_ATTN_Q,      /* [heads * head_dim, hidden]; rows in the file's order: spec_qk_row */
    MODEL_ATTN_K,      /* [kv_heads * head_dim, hidden]; rows in the file's order: spec_qk_row */
    MODEL_ATTN_V,      /* [kv_heads * head_dim, hidden] */
    MODEL_ATTN_OUTPUT, /* [hidden, heads * head_dim] */
    MODEL_FFN_NORM,    /* [1, hidden]; F32, F16 or BF16 */
    MODEL_FFN_GATE,    /* [ffn, hidden] */
    MODEL_FFN_UP,      /* [ffn, hidden] */
    MODEL_FFN_DOWN,    /* [hidden, ffn] */
    MODEL_ROLE_COUNT
};

/* Row r is the dtype_row_bytes(dtype, columns) bytes from r times as many on. */
struct model_tensor {
    const void *data;
    enum dtype dtype;
    int64_t rows;    /* outputs */
    int64_t columns; /* inputs, contiguous */
};

/* A GGUF file, or a directory as Hugging Face lays it out. As checkpoint_open fails, and with
 * UNIMPLEMENTED (by name) and DATA_LOSS where the model itself cannot be used. */
MUST_CHECK enum status model_open(struct model **model, const char *path);

/* For tests: the same over a GGUF file's bytes in memory, which are borrowed until model_close;
 * `name` stands for the path in sentences. */
MUST_CHECK enum status model_parse(struct model **model, const void *data, size_t bytes,
                                   const char *name);

/* The same over a checkpoint, which is borrowed until model_close. */
MUST_CHECK enum status model_create(struct model **model, struct checkpoint *checkpoint);

/* Ends every view. Accepts NULL. */
void model_close(struct model *model);

const struct model_spec *model_spec(const struct model *model);

/* `layer` is ignored for a role of the whole model. */
struct model_tensor model_tensor(const struct model *model, enum model_role role, int layer);

/* NULL where the model has no tokenizer. */
const struct vocab *model_vocab(const struct model *model);

const struct checkpoint *model_checkpoint(const struct model *model);
