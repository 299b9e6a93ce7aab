/* Owns the list of tensors of a written model and the conversion of their numbers. Promises one
 * order for every format, and finite numbers. */
#include "proto/model/output_tensors.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/dtype_encode.h"

enum { PIECE_ELEMENTS = 1 << 18 }; /* read and converted at once, or one row where that is longer */

static bool is_written(const struct model_spec *spec, enum model_role role)
{
    return model_role_is_there(spec, role) && !(role == MODEL_OUTPUT && spec->tied_output);
}

static struct output_tensor describe(const struct model_spec *spec, enum model_role role, int layer)
{
    const struct model_role_shape shape = model_role_shape(spec, role);
    return (struct output_tensor){
        .role = role,
        .layer = layer,
        .rows = shape.rows,
        .columns = shape.columns,
        .is_vector = shape.is_vector,
    };
}

/* Without types. */
static enum status list_roles(struct output_tensor **tensors, int *count,
                              const struct model_spec *spec)
{
    const size_t most = (size_t)(spec->layers + 1) * MODEL_ROLE_COUNT;
    struct output_tensor *list = calloc(most, sizeof *list);
    int used = 0;
    if (!list)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a list of %zu tensors", most);
    for (int role = 0; role < MODEL_ATTN_NORM; role++)
        if (is_written(spec, (enum model_role)role))
            list[used++] = describe(spec, (enum model_role)role, 0);
    for (int layer = 0; layer < spec->layers; layer++)
        for (int role = MODEL_ATTN_NORM; role < MODEL_ROLE_COUNT; role++)
            if (is_written(spec, (enum model_role)role))
                list[used++] = describe(spec, (enum model_role)role, layer);
    *tensors = list;
    *count = used;
    return STATUS_OK;
}

static struct output_tensor describe_own(const struct checkpoint_tensor *own)
{
    const int last = own->dims_count > 0 ? own->dims_count - 1 : 0;
    struct output_tensor tensor = {
        .own = own, .rows = 1, .columns = own->dims[last], .is_vector = own->dims_count < 2};
    for (int d = 0; d < last; d++)
        tensor.rows *= own->dims[d];
    return tensor;
}

static enum status list_own(struct output_tensor **tensors, int *count,
                            const struct checkpoint *source)
{
    *count = checkpoint_tensor_count(source);
    *tensors = calloc((size_t)*count + 1, sizeof **tensors);
    if (!*tensors)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a list of %d tensors", *count);
    for (int i = 0; i < *count; i++)
        (*tensors)[i] = describe_own(checkpoint_tensor(source, i));
    return STATUS_OK;
}

static bool is_plain(enum dtype dtype)
{
    return dtype == DTYPE_F32 || dtype == DTYPE_F16 || dtype == DTYPE_BF16;
}

static enum dtype type_of(const struct output_tensor *tensor, const struct model_save *save)
{
    const bool is_gguf = save->format == MODEL_SAVE_GGUF;
    const bool keeps = save->dtype == DTYPE_COUNT || (is_gguf && tensor->is_vector);
    if (tensor->own)
        return keeps || tensor->own->dtype == DTYPE_COUNT ? tensor->own->dtype : save->dtype;
    if (is_gguf && tensor->is_vector)
        return DTYPE_F32;
    return keeps ? model_tensor(save->source, tensor->role, tensor->layer).dtype : save->dtype;
}

/* Of a tensor that is not copied as it lies. */
static enum status check_type(const struct output_tensor *tensor, const struct model_save *save)
{
    char name[OUTPUT_TENSOR_NAME_BYTES];
    const int block = dtype_block_elements(tensor->dtype);
    output_tensor_name(name, tensor, save->format);
    if (save->format == MODEL_SAVE_FOLDER && !is_plain(tensor->dtype))
        return fail(STATUS_UNIMPLEMENTED,
                    "the tensor %s has type %s, which safetensors files do not have; choose F32, "
                    "BF16 or F16",
                    name, dtype_name(tensor->dtype));
    if (tensor->columns % block != 0)
        return fail(STATUS_INVALID_ARGUMENT,
                    "the tensor %s has rows of %lld numbers, which do not fill whole %s blocks of "
                    "%d; choose another type",
                    name, (long long)tensor->columns, dtype_name(tensor->dtype), block);
    return STATUS_OK;
}

static bool is_copied(const struct output_tensor *tensor)
{
    return tensor->own && tensor->own->dtype == tensor->dtype;
}

static enum status set_types(struct output_tensor *tensors, int count,
                             const struct model_save *save)
{
    for (int i = 0; i < count; i++) {
        tensors[i].dtype = type_of(&tensors[i], save);
        if (is_copied(&tensors[i])) {
            tensors[i].bytes = tensors[i].own->bytes;
            continue;
        }
        TRY(check_type(&tensors[i], save));
        tensors[i].bytes =
            (size_t)tensors[i].rows * dtype_row_bytes(tensors[i].dtype, tensors[i].columns);
    }
    return STATUS_OK;
}

enum status output_tensors_list(struct output_tensor **tensors, int *count,
                                const struct model_save *save)
{
    struct output_tensor *list = NULL;
    int listed = 0;
    TRY(model_save_copies(save) ? list_own(&list, &listed, model_checkpoint(save->source))
                                : list_roles(&list, &listed, model_spec(save->source)));
    const enum status status = set_types(list, listed, save);
    if (status != STATUS_OK) {
        free(list);
        return status;
    }
    *tensors = list;
    *count = listed;
    return STATUS_OK;
}

enum status output_tensors_list_roles(struct output_tensor **tensors, int *count,
                                      const struct model_spec *spec, enum dtype dtype)
{
    TRY(list_roles(tensors, count, spec));
    for (int i = 0; i < *count; i++) {
        struct output_tensor *tensor = &(*tensors)[i];
        tensor->dtype = dtype;
        tensor->bytes = (size_t)tensor->rows * dtype_row_bytes(dtype, tensor->columns);
    }
    return STATUS_OK;
}

void output_tensor_name(char name[OUTPUT_TENSOR_NAME_BYTES], const struct output_tensor *tensor,
                        enum model_save_format format)
{
    if (tensor->own)
        snprintf(name, OUTPUT_TENSOR_NAME_BYTES, "%.*s", (int)tensor->own->name.bytes,
                 tensor->own->name.text);
    else if (format == MODEL_SAVE_GGUF)
        model_role_gguf_name(name, tensor->role, tensor->layer);
    else
        model_role_directory_name(name, tensor->role, tensor->layer);
}

int output_tensor_dims(int64_t dims[CHECKPOINT_DIMS_MAX], const struct output_tensor *tensor)
{
    if (tensor->own) {
        memcpy(dims, tensor->own->dims, sizeof tensor->own->dims);
        return tensor->own->dims_count;
    }
    dims[0] = tensor->is_vector ? tensor->columns : tensor->rows;
    dims[1] = tensor->columns;
    return tensor->is_vector ? 1 : 2;
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
    const float most = dtype_encode_most(tensor->dtype);
    bool finite = true;
    bool fits = true;
    for (int64_t i = 0; i < count; i++) {
        finite &= isfinite(values[i]) != 0;
        fits &= fabsf(values[i]) <= most;
    }
    if (finite && fits)
        return STATUS_OK;
    char name[OUTPUT_TENSOR_NAME_BYTES];
    output_tensor_name(name, tensor, MODEL_SAVE_FOLDER);
    if (!finite)
        return fail(STATUS_DATA_LOSS,
                    "the tensor %s has a number that is not finite, so that the model is of no "
                    "use; it is not written",
                    name);
    if (tensor->dtype == DTYPE_BF16)
        return fail(STATUS_OUT_OF_RANGE,
                    "the tensor %s has a number beyond %.4g, which bfloat16 cannot hold; write "
                    "float32",
                    name, (double)most);
    if (tensor->dtype == DTYPE_F16)
        return fail(STATUS_OUT_OF_RANGE,
                    "the tensor %s has a number beyond 65504, which float16 cannot hold; write "
                    "bfloat16 or float32",
                    name);
    return fail(STATUS_OUT_OF_RANGE,
                "the tensor %s has a number beyond 65504, which scales of %s cannot hold; write "
                "bfloat16 or float32",
                name, dtype_name(tensor->dtype));
}

struct pieces {
    float *values;  /* [elements] */
    float *ordered; /* [elements]: in the file's order */
    void *encoded;  /* [elements], of at most 4 bytes */
};

static enum status tell(const struct output_tensors_args *args, size_t bytes)
{
    if (!args->watch)
        return STATUS_OK;
    *args->done += bytes;
    return args->watch->step(args->watch->context, *args->done, args->all);
}

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
    if (tensor->own) {
        const size_t row_bytes = dtype_row_bytes(tensor->own->dtype, columns);
        for (int64_t row = 0; row < count; row++)
            dtype_dequantize_row(pieces->values + row * columns,
                                 tensor->own->data + (size_t)(first + row) * row_bytes,
                                 tensor->own->dtype, columns);
        return STATUS_OK;
    }
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

static enum status copy_tensor(struct output_file *file, const struct output_tensors_args *args,
                               const struct output_tensor *tensor)
{
    for (size_t at = 0; at < tensor->bytes; at += PIECE_ELEMENTS) {
        const size_t left = tensor->bytes - at;
        const size_t bytes = left < PIECE_ELEMENTS ? left : PIECE_ELEMENTS;
        TRY(output_file_write(file, tensor->own->data + at, bytes));
        TRY(tell(args, bytes));
    }
    return STATUS_OK;
}

static enum status write_tensor(struct output_file *file, struct pieces *pieces,
                                const struct output_tensors_args *args,
                                const struct output_tensor *tensor)
{
    if (tensor->bytes == 0)
        return STATUS_OK;
    const int64_t rows_at_once =
        tensor->columns < PIECE_ELEMENTS ? PIECE_ELEMENTS / tensor->columns : 1;
    for (int64_t first = 0; first < tensor->rows; first += rows_at_once) {
        const int64_t left = tensor->rows - first;
        const int64_t rows = left < rows_at_once ? left : rows_at_once;
        const int64_t elements = rows * tensor->columns;
        TRY(read_rows(pieces, args, tensor, first, rows));
        TRY(check_numbers(pieces->values, elements, tensor));
        const size_t bytes = dtype_row_bytes(tensor->dtype, elements);
        dtype_encode_row(pieces->encoded, pieces->values, tensor->dtype, elements);
        TRY(output_file_write(file, pieces->encoded, bytes));
        TRY(tell(args, bytes));
    }
    return STATUS_OK;
}

static enum status write_all(struct output_file *file, struct pieces *pieces,
                             const struct output_tensors_args *args)
{
    for (int i = 0; i < args->count; i++) {
        TRY(is_copied(&args->tensors[i]) ? copy_tensor(file, args, &args->tensors[i])
                                         : write_tensor(file, pieces, args, &args->tensors[i]));
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
