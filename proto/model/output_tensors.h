/* A model's tensors on their way into a file: which there are, in one order for every format, and
 * their numbers in the file's type and order of rows. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/dtype.h"
#include "proto/model/model_values.h"
#include "proto/model/output_file.h"

struct output_tensor {
    enum model_role role;
    int layer; /* 0 for a role of the whole model */
    enum dtype dtype;
    int64_t rows;
    int64_t columns;
    bool is_vector; /* of one row, and one dimension in files */
    size_t bytes;
};

/* The caller frees `tensors`. Matrices have `dtype` and vectors `vector_dtype`, both F32, BF16 or
 * F16. */
MUST_CHECK enum status output_tensors_list(struct output_tensor **tensors, int *count,
                                           const struct model_spec *spec, enum dtype dtype,
                                           enum dtype vector_dtype);

struct output_tensors_args {
    const struct model_spec *spec;
    const struct model_values *values;
    const struct output_tensor *tensors; /* [count] */
    int count;
    /* Rows of queries and keys go in the order of pairs, as GGUF files of some architectures have
     * them. */
    bool interleaves_qk;
    size_t alignment; /* of a tensor's first byte; zeros fill up to it, also behind the last one */
};

/* Writes the bytes of all tensors, in memory for some rows of one. DATA_LOSS names a tensor with a
 * number that is not finite, OUT_OF_RANGE one with a number too large for F16. */
MUST_CHECK enum status output_tensors_write(struct output_file *file,
                                            const struct output_tensors_args *args);
