/* A model written to disk: its numbers from anywhere (model_values.h), all else from the model that
 * it was made of. Facts, metadata and tokenizer are carried over; rope's base and the context
 * length are replaced where a caller says so.
 *
 * What is written is written beside its place, in a folder "PATH.part-PROCESS-NUMBER", and renamed:
 * who opens a folder or one GGUF file finds the model that was there before, or all of the new one.
 * Several GGUF files are renamed one by one: who opens the first finds the model that was there
 * before, or nothing, or all of the new one. A process that is killed leaves the folder beside.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kernels/dtype.h"
#include "proto/model/model.h"
#include "proto/model/model_values.h"
#include "proto/status.h"

enum model_save_format {
    MODEL_SAVE_FOLDER, /* as Hugging Face lays it out */
    MODEL_SAVE_GGUF
};

/* Who looks on: called every few hundred thousand numbers. A failure ends the writing, and is what
 * model_save returns. */
struct model_save_watch {
    enum status (*step)(void *context, uint64_t done_bytes, uint64_t all_bytes);
    void *context;
};

struct model_save {
    const struct model *source;
    /* NULL: the source's own. Then a source of the same format is copied tensor by tensor, whatever
     * its architecture: what keeps its type has the same bytes. */
    const struct model_values *values;
    enum model_save_format format;
    /* Of matrices: what dtype_encode.h writes, in a folder F32, BF16 or F16. DTYPE_COUNT: each
     * tensor's own, where the format has it. Norms and biases of a GGUF file are F32, as other
     * programs ask; of a GGUF file that is copied, what they were. */
    enum dtype dtype;
    double rope_base;       /* a float32 number; 0: the source's */
    int64_t context_tokens; /* 0: the source's */
    uint64_t shard_bytes;   /* of tensors in a file, but for one that is larger; 0: all in one */
    bool keeps_existing;    /* ALREADY_EXISTS rather than replacing what is there, or has come */
    const struct model_save_watch *watch; /* NULL: nobody */
    int *files;                           /* of weights, once they are written; NULL */
};

/* Whether the source's tensors are copied: its own values, in its own format. */
bool model_save_copies(const struct model_save *save);

/* Whether model_save can write this, so that nobody trains for hours before a refusal. Does not
 * look at `values`. UNIMPLEMENTED by name for what the other format cannot say (a tokenizer, a rope
 * scaling), INVALID_ARGUMENT for numbers that cannot be or a place of the source's own files,
 * ALREADY_EXISTS for a folder with other files in it. Places of a GGUF file that is cut into parts
 * are looked at once their number is known, in model_save before it writes. */
MUST_CHECK enum status model_save_check(const struct model_save *save, const char *path);

/* Writes a folder or a file at `path`, in memory for some rows of one tensor. On disk when this
 * returns. As model_save_check refuses, and IO; DATA_LOSS for a number that is not finite,
 * OUT_OF_RANGE for one that float16 or bfloat16 cannot hold. */
MUST_CHECK enum status model_save(const struct model_save *save, const char *path);
