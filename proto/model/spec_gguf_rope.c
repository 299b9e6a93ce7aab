/* Owns the reading of rope's facts from a GGUF file. Promises that every key of rope that
 * spec_gguf_keys_check lets through is understood or refused by its name. */
#include "proto/model/spec_gguf_rope.h"

#include <string.h>

#include "proto/model/ggml_type.h"

static const char freqs_name[] = "rope_freqs.weight";

/* A factor without a type is linear scaling, as llama.cpp reads it. */
static enum status read_scaling_kind(struct spec_rope *rope, const struct spec_gguf_keys *file)
{
    struct spec_gguf_key key = spec_gguf_key(file, "rope.scaling.type");
    const struct gguf_pair *pair = gguf_find_pair(file->gguf, key.text);
    bool is_old = !spec_gguf_keys_find(file, "rope.scaling.factor");
    TRY(spec_gguf_keys_float_or(&rope->factor, file,
                                is_old ? "rope.scale_linear" : "rope.scaling.factor", 1));
    if (rope->factor == 0) /* how old files say none */
        rope->factor = 1;
    rope->scaling = rope->factor == 1 ? MODEL_ROPE_NONE : MODEL_ROPE_LINEAR;
    if (!pair)
        return STATUS_OK;
    struct text_view kind;
    TRY(gguf_value_text(file->gguf, &kind, key.text));
    if (text_view_is(kind, "none"))
        rope->scaling = MODEL_ROPE_NONE;
    else if (text_view_is(kind, "linear"))
        rope->scaling = MODEL_ROPE_LINEAR;
    else if (text_view_is(kind, "yarn"))
        rope->scaling = MODEL_ROPE_YARN;
    else if (text_view_is(kind, "longrope"))
        rope->scaling = MODEL_ROPE_LONGROPE;
    else
        return gguf_fail(file->gguf, pair->offset, STATUS_UNIMPLEMENTED, "rope-scaling",
                         "rope scaling %.*s is not supported; none, linear, yarn and longrope are",
                         (int)kind.bytes, kind.text);
    return STATUS_OK;
}

/* Refuses another value of a key than `neutral`, which is what it is without the key. */
static enum status check_neutral(const struct spec_gguf_keys *file, const char *rest,
                                 double neutral, const char *why)
{
    double value;
    TRY(spec_gguf_keys_float_or(&value, file, rest, neutral));
    if (value == neutral)
        return STATUS_OK;
    struct spec_gguf_key key = spec_gguf_key(file, rest);
    return gguf_fail(file->gguf, gguf_find_pair(file->gguf, key.text)->offset, STATUS_UNIMPLEMENTED,
                     "unsupported-key", "key %s = %g is not supported %s", key.text, value, why);
}

/* yarn_attn_factor is the whole factor of cos and sin, as config.json's attention_factor is, from
 * which converters write it. */
static enum status read_yarn(struct spec_rope *rope, const struct spec_gguf_keys *file,
                             int trained_tokens)
{
    TRY(check_neutral(file, "rope.scaling.yarn_ext_factor", 1, "with YaRN"));
    TRY(spec_gguf_keys_float_or(&rope->beta_fast, file, "rope.scaling.yarn_beta_fast", 32));
    TRY(spec_gguf_keys_float_or(&rope->beta_slow, file, "rope.scaling.yarn_beta_slow", 1));
    TRY(spec_gguf_keys_float_or(&rope->mscale, file, "rope.scaling.yarn_attn_factor",
                                spec_yarn_mscale(rope->factor)));
    return spec_gguf_keys_int_or(&rope->original_tokens, file,
                                 "rope.scaling.original_context_length", MODEL_TOKENS_MAX,
                                 trained_tokens);
}

/* attn_factor multiplies cos and sin once more, whatever the scaling. */
static enum status read_scaling(struct spec_rope *rope, const struct spec_gguf_keys *file,
                                int trained_tokens)
{
    double attention;
    TRY(read_scaling_kind(rope, file));
    if (rope->scaling == MODEL_ROPE_YARN) {
        TRY(read_yarn(rope, file, trained_tokens));
    } else {
        TRY(check_neutral(file, "rope.scaling.yarn_ext_factor", 0, "without YaRN"));
        TRY(check_neutral(file, "rope.scaling.yarn_attn_factor", 1, "without YaRN"));
    }
    TRY(spec_gguf_keys_float_or(&attention, file, "rope.scaling.attn_factor", 1));
    rope->mscale *= attention;
    return STATUS_OK;
}

/* A tensor of factors, f32 [half]; `there` says whether the file has it. */
static enum status read_factors(double *factors, bool *there, const struct gguf *gguf,
                                const char *name, int half)
{
    const int index = gguf_find_tensor(gguf, name);
    *there = index >= 0;
    if (index < 0)
        return STATUS_OK;
    const struct gguf_tensor *tensor = gguf_tensor(gguf, index);
    if (tensor->type != ggml_type_number(DTYPE_F32) || tensor->dims_count != 1 ||
        tensor->dims[0] != half)
        return gguf_fail_tensor(tensor, STATUS_DATA_LOSS, "tensor-shape",
                                "tensor %s must be F32 with %d values", name, half);
    for (int i = 0; i < half; i++) {
        float factor;
        memcpy(&factor, tensor->data + sizeof factor * (size_t)i, sizeof factor);
        if (!(factor >= 1e-6f && factor <= 1e6f))
            return gguf_fail_tensor(tensor, STATUS_DATA_LOSS, "value-range",
                                    "%s has %g at %d; 1e-6 .. 1e6 are allowed", name,
                                    (double)factor, i);
        factors[i] = (double)factor;
    }
    return STATUS_OK;
}

/* rope_freqs.weight: each frequency is divided by its factor. */
static enum status apply_factors(struct model_spec *spec, const struct gguf *gguf)
{
    double factors[MODEL_HEAD_DIM_MAX / 2];
    const int half = spec_rope_half(spec);
    bool neutral = true;
    bool there;
    TRY(read_factors(factors, &there, gguf, freqs_name, half));
    for (int i = 0; there && i < half; i++) {
        neutral &= factors[i] == 1;
        spec->inv_freq[i] = (double)(float)(spec->inv_freq[i] / factors[i]);
    }
    if (neutral) /* files of plain models may carry a tensor of ones */
        return STATUS_OK;
    if (spec->rope_scaling != MODEL_ROPE_NONE)
        return gguf_fail_tensor(gguf_tensor(gguf, gguf_find_tensor(gguf, freqs_name)),
                                STATUS_UNIMPLEMENTED, "rope-scaling",
                                "%s together with %s scaling is not supported", freqs_name,
                                spec_rope_scaling_name(spec->rope_scaling));
    spec->rope_scaling = MODEL_ROPE_FACTORS;
    return STATUS_OK;
}

/* Two tensors of factors are all that says LongRoPE in most files; how cos and sin are multiplied
 * is attn_factor, which read_scaling has read. */
static enum status read_longrope(struct spec_rope *rope, const struct model_spec *spec,
                                 const struct spec_gguf_keys *file)
{
    static const char short_name[] = "rope_factors_short.weight";
    static const char long_name[] = "rope_factors_long.weight";
    const int half = spec_rope_half(spec);
    bool has_short, has_long;
    TRY(read_factors(rope->short_factors, &has_short, file->gguf, short_name, half));
    TRY(read_factors(rope->long_factors, &has_long, file->gguf, long_name, half));
    if (!has_short && !has_long && rope->scaling != MODEL_ROPE_LONGROPE)
        return STATUS_OK;
    if (!has_short || !has_long)
        return fail(STATUS_DATA_LOSS, "%s: the tensor %s is missing", gguf_name(file->gguf),
                    has_short ? long_name : short_name);
    if (rope->scaling != MODEL_ROPE_NONE && rope->scaling != MODEL_ROPE_LONGROPE)
        return fail(STATUS_UNIMPLEMENTED,
                    "%s: %s together with another rope scaling is not supported",
                    gguf_name(file->gguf), short_name);
    rope->scaling = MODEL_ROPE_LONGROPE;
    return spec_gguf_keys_int_or(&rope->original_tokens, file,
                                 "rope.scaling.original_context_length", MODEL_TOKENS_MAX,
                                 spec->trained_tokens);
}

enum status spec_gguf_rope_read(struct model_spec *spec, const struct spec_gguf_keys *keys)
{
    struct spec_rope rope = {.mscale = 1};
    TRY(spec_gguf_keys_float_or(&rope.base, keys, "rope.freq_base", 10000));
    TRY(read_scaling(&rope, keys, spec->trained_tokens));
    TRY(read_longrope(&rope, spec, keys));
    TRY(spec_set_rope(spec, &rope, gguf_name(keys->gguf)));
    return apply_factors(spec, keys->gguf);
}
