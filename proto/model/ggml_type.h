/* The numbers by which GGUF files name the formats of tensors, those that longhaul cannot compute
 * with included. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/dtype.h"

/* "Q4_1", "IQ4_XS", ...; NULL where the number names no format. */
const char *ggml_type_name(int type);

/* The bytes of `elements` values of a known type; 0 where they do not fill whole blocks or
 * overflow. */
size_t ggml_type_row_bytes(int type, int64_t elements);

/* Values in one block of a known type. */
int ggml_type_block_elements(int type);

/* False where the format is not one of kernels/dtype.h. */
bool ggml_type_dtype(enum dtype *dtype, int type);

/* The number of a dtype. */
int ggml_type_number(enum dtype dtype);
