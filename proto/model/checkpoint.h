/* What lies on disk for one model, whatever the format: named tensors, and the files that hold
 * them. A GGUF file, or a directory as Hugging Face lays it out (config.json, tokenizer.json,
 * safetensors).
 *
 * An open checkpoint has been checked whole as its format asks; nothing here knows an architecture.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/dtype.h"
#include "proto/model/text_view.h"
#include "proto/status.h"

struct checkpoint;
struct directory;
struct gguf;

enum { CHECKPOINT_DIMS_MAX = 4 };

struct checkpoint_file {
    const char *name; /* without its folder */
    const uint8_t *data;
    size_t bytes;
};

struct checkpoint_tensor {
    struct text_view name;
    int dims_count;
    int64_t dims[CHECKPOINT_DIMS_MAX]; /* the last one is contiguous; 1 beyond dims_count */
    const char *type;                  /* as the format spells it: "Q4_1", "BF16", "I64" */
    enum dtype dtype;                  /* DTYPE_COUNT where kernels/dtype.h does not have it */
    const uint8_t *data;
    size_t bytes;
    const char *file; /* its path, for sentences */
    size_t offset;    /* in that file, for sentences */
};

/* What a format gives to its checkpoint. */
struct checkpoint_listing {
    /* [file_count], in an order of the format's own that never changes. */
    struct checkpoint_file *files;
    int file_count;
    struct checkpoint_tensor *tensors; /* [tensor_count], no name twice */
    int tensor_count;
};

bool checkpoint_is_directory(const char *path);

/* INVALID_ARGUMENT for one file of a directory, by its name. */
MUST_CHECK enum status checkpoint_check_file_name(const char *path);

/* Maps and checks. NOT_FOUND (also for a directory without a model), IO, INVALID_ARGUMENT (one file
 * of a directory), DATA_LOSS (file and rule in the sentence) or UNIMPLEMENTED (by name). */
MUST_CHECK enum status checkpoint_open(struct checkpoint **checkpoint, const char *path);

/* A GGUF file's bytes in memory, borrowed until checkpoint_close; `name` stands for the path in
 * sentences. */
MUST_CHECK enum status checkpoint_parse(struct checkpoint **checkpoint, const void *data,
                                        size_t bytes, const char *name);

/* Ends every view. Accepts NULL. */
void checkpoint_close(struct checkpoint *checkpoint);

/* The path as it was given. */
const char *checkpoint_name(const struct checkpoint *checkpoint);

/* Of the two, the one that it is; the other is NULL. */
const struct gguf *checkpoint_gguf(const struct checkpoint *checkpoint);
const struct directory *checkpoint_directory(const struct checkpoint *checkpoint);

int checkpoint_file_count(const struct checkpoint *checkpoint);
const struct checkpoint_file *checkpoint_file(const struct checkpoint *checkpoint, int index);
uint64_t checkpoint_bytes(const struct checkpoint *checkpoint); /* of all files */

int checkpoint_tensor_count(const struct checkpoint *checkpoint);
const struct checkpoint_tensor *checkpoint_tensor(const struct checkpoint *checkpoint, int index);
uint64_t checkpoint_tensor_bytes(const struct checkpoint *checkpoint); /* of all tensors */

/* The index of a tensor; -1 where absent. */
int checkpoint_find_tensor(const struct checkpoint *checkpoint, const char *name);

/* Records "FILE: offset N: <sentence> [rule]" for a tensor. */
__attribute__((format(printf, 4, 5))) MUST_CHECK enum status
checkpoint_fail(const struct checkpoint_tensor *tensor, enum status status, const char *rule,
                const char *format, ...);
