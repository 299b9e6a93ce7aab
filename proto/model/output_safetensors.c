/* Owns the header of a written safetensors file. Promises tensors side by side from the first byte
 * of the data to the end of the file, and data that begins at a multiple of 8. */
#include "proto/model/output_safetensors.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 8 };

static json_t *shape_of(const struct output_tensor *tensor)
{
    int64_t dims[CHECKPOINT_DIMS_MAX];
    const int count = output_tensor_dims(dims, tensor);
    json_t *shape = json_array();
    int failed = !shape;
    for (int d = 0; d < count; d++)
        failed |= json_array_append_new(shape, json_integer(dims[d]));
    if (!failed)
        return shape;
    json_decref(shape);
    return NULL;
}

/* "pt" is what transformers asks for: the layout of PyTorch's tensors. */
static json_t *make_header(const struct output_tensor *tensors, int count)
{
    json_t *header = json_pack("{s:{s:s}}", "__metadata__", "format", "pt");
    size_t begin = 0;
    int failed = !header;
    for (int i = 0; i < count; i++) {
        const struct output_tensor *tensor = &tensors[i];
        char name[OUTPUT_TENSOR_NAME_BYTES];
        output_tensor_name(name, tensor, MODEL_SAVE_FOLDER);
        failed |= json_object_set_new(
            header, name,
            json_pack("{s:s, s:o, s:[II]}", "dtype",
                      tensor->dtype < DTYPE_COUNT ? dtype_name(tensor->dtype) : tensor->own->type,
                      "shape", shape_of(tensor), "data_offsets", (json_int_t)begin,
                      (json_int_t)(begin + tensor->bytes)));
        begin += tensor->bytes;
    }
    if (!failed)
        return header;
    json_decref(header);
    return NULL;
}

static enum status write_header(struct output_file *file, const struct output_tensor *tensors,
                                int count)
{
    json_t *header = make_header(tensors, count);
    char *text = header ? json_dumps(header, JSON_COMPACT) : NULL;
    json_decref(header);
    if (!text)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the header of %s", file->path);
    const size_t bytes = strlen(text);
    const uint64_t padded = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    enum status status;
    TRY_ELSE(output_file_write(file, &padded, sizeof padded), free_text);
    TRY_ELSE(output_file_write(file, text, bytes), free_text);
    status = output_file_write(file, "        ", padded - bytes);
free_text:
    free(text);
    return status;
}

static enum status write_all(struct output_file *file, const struct output_tensors_args *args)
{
    TRY(write_header(file, args->tensors, args->count));
    return output_tensors_write(file, args);
}

enum status output_safetensors_write(const char *path, const struct output_tensors_args *args)
{
    struct output_file file;
    TRY(output_file_open(&file, path));
    const enum status status = write_all(&file, args);
    if (status == STATUS_OK)
        return output_file_close(&file);
    output_file_discard(&file);
    return status;
}
