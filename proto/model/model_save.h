/* A model written to disk: its numbers from anywhere (model_values.h), all else from the model that
 * it was made of. Facts, metadata and tokenizer are carried over; rope's base and the context
 * length are replaced where a caller says so.
 *
 * What is written is written beside its place and renamed: who opens the path finds the model that
 * was there before, or all of the new one.
 */
#pragma once

#include <stdint.h>

#include "kernels/dtype.h"
#include "proto/model/model.h"
#include "proto/model/model_values.h"
#include "proto/status.h"

enum model_save_format {
    MODEL_SAVE_FOLDER, /* as Hugging Face lays it out, with one model.safetensors */
    MODEL_SAVE_GGUF
};

struct model_save {
    const struct model *source;
    const struct model_values *values;
    enum model_save_format format;
    /* DTYPE_F32, DTYPE_BF16 or DTYPE_F16. Norms and biases of a GGUF file are F32, as other
     * programs ask. */
    enum dtype dtype;
    double rope_base;       /* a float32 number; 0: the source's */
    int64_t context_tokens; /* 0: the source's */
};

/* Whether model_save can write this, so that nobody trains for hours before a refusal. Does not
 * look at `values`. UNIMPLEMENTED by name for what the other format cannot say (a tokenizer, a rope
 * scaling), INVALID_ARGUMENT for numbers that cannot be or the source's own path, ALREADY_EXISTS
 * for a folder with other files in it. */
MUST_CHECK enum status model_save_check(const struct model_save *save, const char *path);

/* Writes a folder or a file at `path`, in memory for some rows of one tensor. On disk when this
 * returns. As model_save_check refuses, and IO; DATA_LOSS for a number that is not finite,
 * OUT_OF_RANGE for one that float16 cannot hold. */
MUST_CHECK enum status model_save(const struct model_save *save, const char *path);
