/* Owns the header of a written safetensors file. Promises tensors side by side from the first byte
 * of the data to the end of the file, and data that begins at a multiple of 8. */
#include "proto/model/output_safetensors.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "proto/model/output_tensors.h"

enum { ALIGNMENT = 8 };

/* "pt" is what transformers asks for: the layout of PyTorch's tensors. */
static json_t *make_header(const struct output_tensor *tensors, int count)
{
    json_t *header = json_pack("{s:{s:s}}", "__metadata__", "format", "pt");
    size_t begin = 0;
    int failed = !header;
    for (int i = 0; i < count; i++) {
        const struct output_tensor *tensor = &tensors[i];
        char name[MODEL_ROLE_NAME_BYTES];
        model_role_directory_name(name, tensor->role, tensor->layer);
        json_t *shape = tensor->is_vector ? json_pack("[I]", (json_int_t)tensor->columns)
                                          : json_pack("[II]", (json_int_t)tensor->rows,
                                                      (json_int_t)tensor->columns);
        failed |= json_object_set_new(
            header, name,
            json_pack("{s:s, s:o, s:[II]}", "dtype", dtype_name(tensor->dtype), "shape", shape,
                      "data_offsets", (json_int_t)begin, (json_int_t)(begin + tensor->bytes)));
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

enum status output_safetensors_write(const char *path, const struct model_spec *spec,
                                     const struct model_values *values, enum dtype dtype)
{
    struct output_tensor *tensors;
    struct output_file file;
    int count;
    enum status status;
    TRY(output_tensors_list(&tensors, &count, spec, dtype, dtype));
    const struct output_tensors_args args = {
        .spec = spec, .values = values, .tensors = tensors, .count = count, .alignment = 1};
    TRY_ELSE(output_file_open(&file, path), free_tensors);
    TRY_ELSE(write_all(&file, &args), discard_file);
    status = output_file_close(&file);
    goto free_tensors;
discard_file:
    output_file_discard(&file);
free_tensors:
    free(tensors);
    return status;
}
