/* Owns the list of tensors of a written model and the conversion of their numbers. Promises one
 * order for every format, and finite numbers. */
#include "proto/model/output_tensors.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE_ELEMENTS = 1 << 18 }; /* read and converted at once, or one row where that is longer */

static bool is_written(const struct model_spec *spec, enum model_role role)
{
    return model_role_is_there(spec, role) && !(role == MODEL_OUTPUT && spec->tied_output);
}

static struct output_tensor describe(const struct model_spec *spec, enum model_role role, int layer,
                                     enum dtype dtype, enum dtype vector_dtype)
{
    const struct model_role_shape shape = model_role_shape(spec, role);
    const enum dtype of_role = shape.is_vector ? vector_dtype : dtype;
    return (struct output_tensor){
        .role = role,
        .layer = layer,
        .dtype = of_role,
        .rows = shape.rows,
        .columns = shape.columns,
        .is_vector = shape.is_vector,
        .bytes = (size_t)shape.rows * dtype_row_bytes(of_role, shape.columns),
    };
}

enum status output_tensors_list(struct output_tensor **tensors, int *count,
                                const struct model_spec *spec, enum dtype dtype,
                                enum dtype vector_dtype)
{
    const size_t most = (size_t)(spec->layers + 1) * MODEL_ROLE_COUNT;
    struct output_tensor *list = calloc(most, sizeof *list);
    int used = 0;
    if (!list)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a list of %zu tensors", most);
    for (int role = 0; role < MODEL_ATTN_NORM; role++)
        if (is_written(spec, (enum model_role)role))
            list[used++] = describe(spec, (enum model_role)role, 0, dtype, vector_dtype);
    for (int layer = 0; layer < spec->layers; layer++)
        for (int role = MODEL_ATTN_NORM; role < MODEL_ROLE_COUNT; role++)
            if (is_written(spec, (enum model_role)role))
                list[used++] = describe(spec, (enum model_role)role, layer, dtype, vector_dtype);
    *tensors = list;
    *count = used;
    return STATUS_OK;
}

/* The row of the rotate-half layout that a file in the order of pairs has as its row `row`: the
 * inverse of spec_qk_row. */
static int64_t row_of_pair(const struct model_spec *spec, int64_t row)
{
    const int64_t head = row / spec->head_dim;
    const int64_t element = row % spec->head_dim;
    return head * spec->head_dim + element % 2 * (spec->head_dim / 2) + element / 2;
}

static enum status check_numbers(const float *values, int64_t count,
                                 const struct output_tensor *tensor)
{
    const float most = tensor->dtype == DTYPE_F16 ? 65504.0f : INFINITY;
    bool finite = true;
    bool fits = true;
    for (int64_t i = 0; i < count; i++) {
        finite &= isfinite(values[i]) != 0;
        fits &= fabsf(values[i]) <= most;
    }
    if (finite && fits)
        return STATUS_OK;
    char name[MODEL_ROLE_NAME_BYTES];
    model_role_directory_name(name, tensor->role, tensor->layer);
    if (!finite)
        return fail(STATUS_DATA_LOSS,
                    "the tensor %s has a number that is not finite, so that the model is of no "
                    "use; it is not written",
                    name);
    return fail(STATUS_OUT_OF_RANGE,
                "the tensor %s has a number beyond 65504, which float16 cannot hold; write "
                "bfloat16 or float32",
                name);
}

static void encode(void *out, const float *values, int64_t count, enum dtype dtype)
{
    uint16_t *halves = out;
    if (dtype == DTYPE_F32)
        memcpy(out, values, (size_t)count * sizeof *values);
    for (int64_t i = 0; dtype == DTYPE_BF16 && i < count; i++)
        halves[i] = dtype_bf16_from_f32(values[i]);
    for (int64_t i = 0; dtype == DTYPE_F16 && i < count; i++)
        halves[i] = dtype_f16_from_f32(values[i]);
}

struct pieces {
    float *values;  /* [elements] */
    float *ordered; /* [elements]: in the file's order */
    void *encoded;  /* [elements], of at most 4 bytes */
};

static bool is_reordered(const struct output_tensors_args *args, const struct output_tensor *tensor)
{
    return args->interleaves_qk && model_role_is_by_head(tensor->role);
}

/* Rows first .. first + count of the file. */
static enum status read_rows(struct pieces *pieces, const struct output_tensors_args *args,
                             const struct output_tensor *tensor, int64_t first, int64_t count)
{
    const struct model_values *from = args->values;
    const int64_t columns = tensor->columns;
    if (!is_reordered(args, tensor))
        return from->read(from->context, pieces->values, tensor->role, tensor->layer, first, count);
    if (tensor->is_vector) {
        TRY(from->read(from->context, pieces->ordered, tensor->role, tensor->layer, 0, 1));
        for (int64_t i = 0; i < columns; i++)
            pieces->values[i] = pieces->ordered[row_of_pair(args->spec, i)];
        return STATUS_OK;
    }
    for (int64_t row = 0; row < count; row++)
        TRY(from->read(from->context, pieces->values + row * columns, tensor->role, tensor->layer,
                       row_of_pair(args->spec, first + row), 1));
    return STATUS_OK;
}

static enum status write_tensor(struct output_file *file, struct pieces *pieces,
                                const struct output_tensors_args *args,
                                const struct output_tensor *tensor)
{
    const int64_t rows_at_once =
        tensor->columns < PIECE_ELEMENTS ? PIECE_ELEMENTS / tensor->columns : 1;
    for (int64_t first = 0; first < tensor->rows; first += rows_at_once) {
        const int64_t left = tensor->rows - first;
        const int64_t rows = left < rows_at_once ? left : rows_at_once;
        const int64_t elements = rows * tensor->columns;
        TRY(read_rows(pieces, args, tensor, first, rows));
        TRY(check_numbers(pieces->values, elements, tensor));
        encode(pieces->encoded, pieces->values, elements, tensor->dtype);
        TRY(output_file_write(file, pieces->encoded,
                              (size_t)elements * dtype_block_bytes(tensor->dtype)));
    }
    return STATUS_OK;
}

static enum status write_all(struct output_file *file, struct pieces *pieces,
                             const struct output_tensors_args *args)
{
    for (int i = 0; i < args->count; i++) {
        TRY(write_tensor(file, pieces, args, &args->tensors[i]));
        TRY(output_file_pad(file, args->alignment));
    }
    return STATUS_OK;
}

enum status output_tensors_write(struct output_file *file, const struct output_tensors_args *args)
{
    int64_t elements = PIECE_ELEMENTS;
    for (int i = 0; i < args->count; i++)
        if (args->tensors[i].columns > elements)
            elements = args->tensors[i].columns;
    struct pieces pieces = {
        .values = malloc((size_t)elements * sizeof(float)),
        .ordered = malloc((size_t)elements * sizeof(float)),
        .encoded = malloc((size_t)elements * sizeof(float)),
    };
    enum status status =
        pieces.values && pieces.ordered && pieces.encoded
            ? write_all(file, &pieces, args)
            : fail(STATUS_RESOURCE_EXHAUSTED, "no memory to write a tensor's rows");
    free(pieces.values);
    free(pieces.ordered);
    free(pieces.encoded);
    return status;
}
