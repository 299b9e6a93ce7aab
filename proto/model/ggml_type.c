/* Owns the table of GGUF tensor formats. Promises a name for every format that files are known to
 * hold. */
#include "proto/model/ggml_type.h"

#include <assert.h>

/* Indexed by the file's number; a row without a name is a number that was withdrawn or
 * never given; DTYPE_COUNT marks a format that kernels/dtype.h does not have.
 */
static const struct {
    const char *name;
    int elements;
    size_t bytes;
    enum dtype dtype;
} rows[] = {
    [0] = {"F32", 1, 4, DTYPE_F32},           [1] = {"F16", 1, 2, DTYPE_F16},
    [2] = {"Q4_0", 32, 18, DTYPE_Q4_0},       [3] = {"Q4_1", 32, 20, DTYPE_Q4_1},
    [6] = {"Q5_0", 32, 22, DTYPE_Q5_0},       [7] = {"Q5_1", 32, 24, DTYPE_Q5_1},
    [8] = {"Q8_0", 32, 34, DTYPE_Q8_0},       [9] = {"Q8_1", 32, 36, DTYPE_COUNT},
    [10] = {"Q2_K", 256, 84, DTYPE_Q2_K},     [11] = {"Q3_K", 256, 110, DTYPE_Q3_K},
    [12] = {"Q4_K", 256, 144, DTYPE_Q4_K},    [13] = {"Q5_K", 256, 176, DTYPE_Q5_K},
    [14] = {"Q6_K", 256, 210, DTYPE_Q6_K},    [15] = {"Q8_K", 256, 292, DTYPE_COUNT},
    [16] = {"IQ2_XXS", 256, 66, DTYPE_COUNT}, [17] = {"IQ2_XS", 256, 74, DTYPE_COUNT},
    [18] = {"IQ3_XXS", 256, 98, DTYPE_COUNT}, [19] = {"IQ1_S", 256, 50, DTYPE_COUNT},
    [20] = {"IQ4_NL", 32, 18, DTYPE_IQ4_NL},  [21] = {"IQ3_S", 256, 110, DTYPE_COUNT},
    [22] = {"IQ2_S", 256, 82, DTYPE_COUNT},   [23] = {"IQ4_XS", 256, 136, DTYPE_IQ4_XS},
    [24] = {"I8", 1, 1, DTYPE_COUNT},         [25] = {"I16", 1, 2, DTYPE_COUNT},
    [26] = {"I32", 1, 4, DTYPE_COUNT},        [27] = {"I64", 1, 8, DTYPE_COUNT},
    [28] = {"F64", 1, 8, DTYPE_COUNT},        [29] = {"IQ1_M", 256, 56, DTYPE_COUNT},
    [30] = {"BF16", 1, 2, DTYPE_BF16},        [34] = {"TQ1_0", 256, 54, DTYPE_COUNT},
    [35] = {"TQ2_0", 256, 66, DTYPE_COUNT},   [39] = {"MXFP4", 32, 17, DTYPE_COUNT},
    [40] = {"NVFP4", 64, 36, DTYPE_COUNT},
};

enum { ROW_COUNT = sizeof rows / sizeof rows[0] };

const char *ggml_type_name(int type)
{
    return type >= 0 && type < ROW_COUNT ? rows[type].name : NULL;
}

size_t ggml_type_row_bytes(int type, int64_t elements)
{
    assert(ggml_type_name(type));
    size_t bytes;
    if (elements < 0 || elements % rows[type].elements != 0 ||
        __builtin_mul_overflow((size_t)elements / (size_t)rows[type].elements, rows[type].bytes,
                               &bytes))
        return 0;
    return bytes;
}

int ggml_type_block_elements(int type)
{
    assert(ggml_type_name(type));
    return rows[type].elements;
}

bool ggml_type_dtype(enum dtype *dtype, int type)
{
    if (!ggml_type_name(type) || rows[type].dtype == DTYPE_COUNT)
        return false;
    *dtype = rows[type].dtype;
    return true;
}

int ggml_type_number(enum dtype dtype)
{
    int type = 0;
    while (!ggml_type_name(type) || rows[type].dtype != dtype)
        type++;
    return type;
}
