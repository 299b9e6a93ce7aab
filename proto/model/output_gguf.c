/* Owns the layout of a written GGUF file. Promises tensors side by side, each at a multiple of the
 * alignment. */
#include "proto/model/output_gguf.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "proto/model/ggml_type.h"
#include "proto/model/output_gguf_keys.h"
#include "proto/model/output_gguf_vocab.h"
#include "proto/model/output_tensors.h"

enum { VERSION = 3 };

static const char factors_name[] = "rope_freqs.weight";

/* What the file is made of, in its order. */
struct parts {
    struct gguf_pairs header; /* keys and descriptions of tensors */
    float factors[MODEL_HEAD_DIM_MAX / 2];
    int factor_count; /* 0: no rope_freqs.weight */
    struct output_tensor *tensors;
    int tensor_count;
};

enum status output_gguf_check(const struct model_save *save)
{
    const struct model_spec *spec = model_spec(save->source);
    if (checkpoint_gguf(model_checkpoint(save->source)))
        return STATUS_OK;
    if (spec->rope_scaling != MODEL_ROPE_YARN)
        return model_vocab(save->source)
                   ? output_gguf_vocab_check(model_vocab(save->source),
                                             checkpoint_name(model_checkpoint(save->source)))
                   : STATUS_OK;
    return fail(STATUS_UNIMPLEMENTED,
                "%s: rope scaling yarn of a folder's model is not written as GGUF; write a folder",
                checkpoint_name(model_checkpoint(save->source)));
}

/* Frequencies are divided by them: a GGUF source's own, or those of llama3's formula, which depend
 * on the base. */
static enum status make_factors(struct parts *parts, const struct model_save *save)
{
    struct model_spec spec = *model_spec(save->source);
    const struct checkpoint *source = model_checkpoint(save->source);
    const int own = checkpoint_gguf(source) ? checkpoint_find_tensor(source, factors_name) : -1;
    const int half = spec.head_dim / 2;
    if (own >= 0) {
        parts->factor_count = half;
        memcpy(parts->factors, checkpoint_tensor(source, own)->data, (size_t)half * sizeof(float));
        return STATUS_OK;
    }
    if (spec.rope_scaling != MODEL_ROPE_LLAMA3)
        return STATUS_OK;
    if (save->rope_base > 0)
        TRY(spec_replace_base(&spec, save->rope_base, checkpoint_name(source)));
    parts->factor_count = half;
    for (int i = 0; i < half; i++)
        parts->factors[i] =
            (float)(pow(spec.rope_base, -2.0 * i / spec.head_dim) / spec.inv_freq[i]);
    return STATUS_OK;
}

static void describe_tensor(struct gguf_pairs *header, const char *name, int64_t columns,
                            int64_t rows, enum dtype dtype, uint64_t offset)
{
    gguf_pairs_put_string(header, text_view_of(name));
    gguf_pairs_put_u32(header, rows > 0 ? 2 : 1);
    gguf_pairs_put_u64(header, (uint64_t)columns);
    if (rows > 0)
        gguf_pairs_put_u64(header, (uint64_t)rows);
    gguf_pairs_put_u32(header, (uint32_t)ggml_type_number(dtype));
    gguf_pairs_put_u64(header, offset);
}

static uint64_t padded(uint64_t bytes)
{
    return (bytes + OUTPUT_GGUF_ALIGNMENT - 1) / OUTPUT_GGUF_ALIGNMENT * OUTPUT_GGUF_ALIGNMENT;
}

static void describe_tensors(struct parts *parts)
{
    uint64_t offset = 0;
    if (parts->factor_count > 0) {
        describe_tensor(&parts->header, factors_name, parts->factor_count, 0, DTYPE_F32, 0);
        offset = padded((uint64_t)parts->factor_count * sizeof(float));
    }
    for (int i = 0; i < parts->tensor_count; i++) {
        const struct output_tensor *tensor = &parts->tensors[i];
        char name[MODEL_ROLE_NAME_BYTES];
        model_role_gguf_name(name, tensor->role, tensor->layer);
        describe_tensor(&parts->header, name, tensor->columns, tensor->is_vector ? 0 : tensor->rows,
                        tensor->dtype, offset);
        offset += padded(tensor->bytes);
    }
}

static enum status make_parts(struct parts *parts, const struct model_save *save)
{
    TRY(output_tensors_list(&parts->tensors, &parts->tensor_count, model_spec(save->source),
                            save->dtype, DTYPE_F32));
    TRY(make_factors(parts, save));
    TRY(gguf_pairs_begin(&parts->header));
    output_gguf_keys_put(&parts->header, save);
    describe_tensors(parts);
    return gguf_pairs_end(&parts->header);
}

static enum status write_header(struct output_file *file, const struct parts *parts)
{
    const uint32_t version = VERSION;
    const uint64_t tensors = (uint64_t)parts->tensor_count + (parts->factor_count > 0);
    TRY(output_file_write(file, "GGUF", 4));
    TRY(output_file_write(file, &version, sizeof version));
    TRY(output_file_write(file, &tensors, sizeof tensors));
    TRY(output_file_write(file, &parts->header.count, sizeof parts->header.count));
    TRY(output_file_write(file, parts->header.data, parts->header.bytes));
    return output_file_pad(file, OUTPUT_GGUF_ALIGNMENT);
}

static enum status write_all(struct output_file *file, const struct parts *parts,
                             const struct model_save *save)
{
    const struct model_spec *spec = model_spec(save->source);
    const struct output_tensors_args args = {
        .spec = spec,
        .values = save->values,
        .tensors = parts->tensors,
        .count = parts->tensor_count,
        .interleaves_qk = output_gguf_keys_architecture(spec)->interleaves_qk,
        .alignment = OUTPUT_GGUF_ALIGNMENT,
    };
    TRY(write_header(file, parts));
    TRY(output_file_write(file, parts->factors, (size_t)parts->factor_count * sizeof(float)));
    TRY(output_file_pad(file, OUTPUT_GGUF_ALIGNMENT));
    return output_tensors_write(file, &args);
}

enum status output_gguf_write(const char *path, const struct model_save *save)
{
    struct parts parts = {.tensors = NULL};
    struct output_file file;
    enum status status;
    TRY_ELSE(make_parts(&parts, save), free_parts);
    TRY_ELSE(output_file_open(&file, path), free_parts);
    TRY_ELSE(write_all(&file, &parts, save), discard_file);
    status = output_file_close(&file);
    goto free_parts;
discard_file:
    output_file_discard(&file);
free_parts:
    gguf_pairs_free(&parts.header);
    free(parts.tensors);
    return status;
}
