/* Owns the layout of a written GGUF file. Promises tensors side by side, each at a multiple of the
 * alignment. */
#include "proto/model/output_gguf.h"

#include <math.h>
#include <string.h>

#include "proto/model/ggml_type.h"
#include "proto/model/output_gguf_keys.h"
#include "proto/model/output_gguf_vocab.h"

enum { VERSION = 3 };

static const char factors_name[] = "rope_freqs.weight";

/* What the file is made of, in its order. */
struct parts {
    struct gguf_pairs header; /* keys and descriptions of tensors */
    float factors[MODEL_HEAD_DIM_MAX / 2];
    int factor_count; /* 0: no rope_freqs.weight */
    const struct output_gguf_part *part;
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
    if (model_save_copies(save)) /* among its tensors */
        return STATUS_OK;
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

/* A type that we do not compute with is copied under its name. */
static int type_number(const struct output_tensor *tensor)
{
    int number = 0;
    if (tensor->dtype < DTYPE_COUNT)
        return ggml_type_number(tensor->dtype);
    while (!ggml_type_name(number) || strcmp(ggml_type_name(number), tensor->own->type) != 0)
        number++;
    return number;
}

/* GGUF has the contiguous dimension first. */
static void describe_tensor(struct gguf_pairs *header, const struct output_tensor *tensor,
                            uint64_t offset)
{
    char name[OUTPUT_TENSOR_NAME_BYTES];
    int64_t dims[CHECKPOINT_DIMS_MAX];
    int d = output_tensor_dims(dims, tensor);
    output_tensor_name(name, tensor, MODEL_SAVE_GGUF);
    gguf_pairs_put_string(header, text_view_of(name));
    gguf_pairs_put_u32(header, (uint32_t)d);
    while (d-- > 0)
        gguf_pairs_put_u64(header, (uint64_t)dims[d]);
    gguf_pairs_put_u32(header, (uint32_t)type_number(tensor));
    gguf_pairs_put_u64(header, offset);
}

static void describe_factors(struct gguf_pairs *header, int count)
{
    gguf_pairs_put_string(header, text_view_of(factors_name));
    gguf_pairs_put_u32(header, 1);
    gguf_pairs_put_u64(header, (uint64_t)count);
    gguf_pairs_put_u32(header, (uint32_t)ggml_type_number(DTYPE_F32));
    gguf_pairs_put_u64(header, 0);
}

static uint64_t padded(uint64_t bytes)
{
    return (bytes + OUTPUT_GGUF_ALIGNMENT - 1) / OUTPUT_GGUF_ALIGNMENT * OUTPUT_GGUF_ALIGNMENT;
}

/* They lie in the first part. */
static bool has_factors(const struct parts *parts)
{
    return parts->part->number == 0 && parts->factor_count > 0;
}

/* In the types that llama.cpp asks for. */
static void put_split(struct parts *parts)
{
    const struct output_gguf_part *part = parts->part;
    gguf_pairs_u16(&parts->header, "split.no", (uint16_t)part->number);
    gguf_pairs_u16(&parts->header, "split.count", (uint16_t)part->count);
    gguf_pairs_i32(&parts->header, "split.tensors.count",
                   part->all_tensors + (parts->factor_count > 0));
}

static void describe_tensors(struct parts *parts)
{
    uint64_t offset = 0;
    if (has_factors(parts)) {
        describe_factors(&parts->header, parts->factor_count);
        offset = padded((uint64_t)parts->factor_count * sizeof(float));
    }
    for (int i = 0; i < parts->part->tensors->count; i++) {
        const struct output_tensor *tensor = &parts->part->tensors->tensors[i];
        describe_tensor(&parts->header, tensor, offset);
        offset += padded(tensor->bytes);
    }
}

static enum status make_parts(struct parts *parts, const struct model_save *save)
{
    TRY(make_factors(parts, save));
    TRY(gguf_pairs_begin(&parts->header));
    if (parts->part->number == 0)
        output_gguf_keys_put(&parts->header, save);
    if (parts->part->count > 1)
        put_split(parts);
    describe_tensors(parts);
    return gguf_pairs_end(&parts->header);
}

static enum status write_header(struct output_file *file, const struct parts *parts)
{
    const uint32_t version = VERSION;
    const uint64_t tensors = (uint64_t)parts->part->tensors->count + has_factors(parts);
    TRY(output_file_write(file, "GGUF", 4));
    TRY(output_file_write(file, &version, sizeof version));
    TRY(output_file_write(file, &tensors, sizeof tensors));
    TRY(output_file_write(file, &parts->header.count, sizeof parts->header.count));
    TRY(output_file_write(file, parts->header.data, parts->header.bytes));
    return output_file_pad(file, OUTPUT_GGUF_ALIGNMENT);
}

static enum status write_all(struct output_file *file, const struct parts *parts)
{
    TRY(write_header(file, parts));
    if (has_factors(parts))
        TRY(output_file_write(file, parts->factors, (size_t)parts->factor_count * sizeof(float)));
    TRY(output_file_pad(file, OUTPUT_GGUF_ALIGNMENT));
    return output_tensors_write(file, parts->part->tensors);
}

enum status output_gguf_write(const char *path, const struct model_save *save,
                              const struct output_gguf_part *part)
{
    struct parts parts = {.part = part};
    struct output_file file;
    enum status status;
    TRY_ELSE(make_parts(&parts, save), free_parts);
    TRY_ELSE(output_file_open(&file, path), free_parts);
    TRY_ELSE(write_all(&file, &parts), discard_file);
    status = output_file_close(&file);
    goto free_parts;
discard_file:
    output_file_discard(&file);
free_parts:
    gguf_pairs_free(&parts.header);
    return status;
}
