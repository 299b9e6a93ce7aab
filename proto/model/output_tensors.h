/* A model's tensors on their way into a file: which there are, in one order for every format, and
 * their numbers in the file's type and order of rows. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/dtype.h"
#include "proto/model/model_save.h"
#include "proto/model/output_file.h"

struct output_tensor {
    /* The source's, with its name and dimensions; NULL for a tensor by its role. */
    const struct checkpoint_tensor *own;
    enum model_role role;
    int layer;        /* 0 for a role of the whole model */
    enum dtype dtype; /* own->dtype: own's bytes as they lie */
    int64_t rows;
    int64_t columns;
    bool is_vector; /* of one row, and one dimension in files */
    size_t bytes;
};

enum { OUTPUT_TENSOR_NAME_BYTES = 1024 };

/* As the format spells it. */
void output_tensor_name(char name[OUTPUT_TENSOR_NAME_BYTES], const struct output_tensor *tensor,
                        enum model_save_format format);

/* Sets dims, the last one contiguous, and returns their number. */
int output_tensor_dims(int64_t dims[CHECKPOINT_DIMS_MAX], const struct output_tensor *tensor);

/* What is written, in its order; the caller frees `tensors`. Where the source is of the format and
 * its own values are asked for, its tensors; else those of all roles. INVALID_ARGUMENT names a
 * tensor whose rows do not fill the type's blocks, UNIMPLEMENTED one of a type that the format does
 * not have. */
MUST_CHECK enum status output_tensors_list(struct output_tensor **tensors, int *count,
                                           const struct model_save *save);

/* Those of all roles, in one type: of a model that is no file's. */
MUST_CHECK enum status output_tensors_list_roles(struct output_tensor **tensors, int *count,
                                                 const struct model_spec *spec, enum dtype dtype);

struct output_tensors_args {
    const struct model_spec *spec;
    const struct model_values *values;
    const struct output_tensor *tensors; /* [count] */
    int count;
    /* Rows of queries and keys go in the order of pairs, as GGUF files of some architectures have
     * them. */
    bool interleaves_qk;
    size_t alignment; /* of a tensor's first byte; zeros fill up to it, also behind the last one */
    const struct model_save_watch *watch; /* NULL: nobody looks on */
    uint64_t *done;                       /* bytes written so far, of all files */
    uint64_t all;
};

/* Writes the bytes of all tensors, in memory for some rows of one. DATA_LOSS names a tensor with a
 * number that is not finite, OUT_OF_RANGE one with a number too large for its type. What the watch
 * returns is returned. */
MUST_CHECK enum status output_tensors_write(struct output_file *file,
                                            const struct output_tensors_args *args);
