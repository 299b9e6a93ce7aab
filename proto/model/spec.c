/* Owns the frequencies of rope and the order of a head's rows. Promises frequencies that are
 * computed in double and rounded to float32 after each step, as the model's own definition does.
 */
#include "proto/model/spec.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "proto/plan/tensor_slice.h"

static const double pi = 3.14159265358979323846;

double spec_yarn_mscale(double factor)
{
    return 0.1 * log(factor) + 1;
}

double spec_longrope_mscale(double factor, int original_tokens)
{
    return factor > 1 && original_tokens > 1 ? sqrt(1 + log(factor) / log(original_tokens)) : 1;
}

/* The pair of dimensions, counted as a real number, that rotates `rotations` times over the
 * original length. */
static double yarn_dimension(const struct spec_rope *rope, int head_dim, double rotations)
{
    return head_dim * log(rope->original_tokens / (rotations * 2 * pi)) / (2 * log(rope->base));
}

static void apply_yarn(double *inv_freq, const struct spec_rope *rope, int head_dim)
{
    const double first = yarn_dimension(rope, head_dim, rope->beta_fast);
    const double last = yarn_dimension(rope, head_dim, rope->beta_slow);
    double low = fmax(rope->fractional ? first : floor(first), 0);
    double high = fmin(rope->fractional ? last : ceil(last), head_dim - 1);
    double width = high > low ? high - low : 0.001;
    for (int i = 0; i < head_dim / 2; i++) {
        double ramp = fmin(fmax((i - low) / width, 0), 1);
        inv_freq[i] *= ramp / rope->factor + (1 - ramp);
    }
}

/* Long waves are stretched, short ones are not, those between in proportion. */
static void apply_llama3(double *inv_freq, const struct spec_rope *rope, int head_dim)
{
    double low = rope->low_freq_factor;
    double high = rope->high_freq_factor;
    for (int i = 0; i < head_dim / 2; i++) {
        double frequency = inv_freq[i];
        double rotations = rope->original_tokens * frequency / (2 * pi);
        double kept = fmin(fmax((rotations - low) / (high - low), 0), 1);
        inv_freq[i] = (1 - kept) * frequency / rope->factor + kept * frequency;
    }
}

static enum status check_factors(const double *factors, int half, const char *name)
{
    for (int i = 0; i < half; i++)
        if (!(factors[i] >= 1e-6 && factors[i] <= 1e6))
            return fail(STATUS_DATA_LOSS, "%s: a longrope factor of %g; 1e-6 .. 1e6 are allowed",
                        name, factors[i]);
    return STATUS_OK;
}

static enum status check_rope(const struct spec_rope *rope, int half, const char *name)
{
    if (!(rope->base > 1 && rope->base <= 1e12))
        return fail(STATUS_DATA_LOSS, "%s: a rope base of %g; more than 1, up to 1e12 is allowed",
                    name, rope->base);
    if (!(rope->factor >= 1 && rope->factor <= 1e6))
        return fail(STATUS_DATA_LOSS, "%s: a rope scaling factor of %g; 1 .. 1e6 are allowed", name,
                    rope->factor);
    if (!(rope->mscale >= 1e-6 && rope->mscale <= 1e6))
        return fail(STATUS_DATA_LOSS, "%s: a rope attention factor of %g; 1e-6 .. 1e6 are allowed",
                    name, rope->mscale);
    if (rope->scaling == MODEL_ROPE_YARN &&
        !(rope->beta_slow > 0 && rope->beta_fast >= rope->beta_slow))
        return fail(STATUS_DATA_LOSS,
                    "%s: YaRN needs beta_fast >= beta_slow > 0, the model says %g and %g", name,
                    rope->beta_fast, rope->beta_slow);
    if (rope->scaling == MODEL_ROPE_LLAMA3 &&
        !(rope->low_freq_factor > 0 && rope->high_freq_factor > rope->low_freq_factor))
        return fail(STATUS_DATA_LOSS,
                    "%s: llama3 scaling needs high_freq_factor > low_freq_factor > 0, the model "
                    "says %g and %g",
                    name, rope->high_freq_factor, rope->low_freq_factor);
    if (rope->scaling == MODEL_ROPE_LONGROPE) {
        TRY(check_factors(rope->short_factors, half, name));
        TRY(check_factors(rope->long_factors, half, name));
    }
    return STATUS_OK;
}

static void round_to_f32(double *inv_freq, int half)
{
    for (int i = 0; i < half; i++)
        inv_freq[i] = (double)(float)inv_freq[i];
}

/* [half]; `factors` of longrope. */
static void make_frequencies(double *inv_freq, const struct spec_rope *rope, const double *factors,
                             int half)
{
    const int head_dim = 2 * half;
    for (int i = 0; i < half; i++)
        inv_freq[i] = pow(rope->base, -2.0 * i / head_dim);
    round_to_f32(inv_freq, half);
    if (rope->scaling == MODEL_ROPE_LONGROPE)
        for (int i = 0; i < half; i++)
            inv_freq[i] /= factors[i];
    if (rope->scaling == MODEL_ROPE_YARN)
        apply_yarn(inv_freq, rope, head_dim);
    if (rope->scaling == MODEL_ROPE_LLAMA3)
        apply_llama3(inv_freq, rope, head_dim);
    if (rope->scaling == MODEL_ROPE_LINEAR)
        for (int i = 0; i < half; i++)
            inv_freq[i] /= rope->factor;
    round_to_f32(inv_freq, half);
}

enum status spec_set_rope(struct model_spec *spec, const struct spec_rope *rope, const char *name)
{
    const bool has_length = rope->scaling == MODEL_ROPE_YARN ||
                            rope->scaling == MODEL_ROPE_LLAMA3 ||
                            rope->scaling == MODEL_ROPE_LONGROPE;
    assert(rope->scaling != MODEL_ROPE_FACTORS);
    TRY(check_rope(rope, spec_rope_half(spec), name));
    spec->rope_base = rope->base;
    spec->rope_scaling = rope->scaling;
    spec->rope_factor = rope->scaling == MODEL_ROPE_NONE ? 1 : rope->factor;
    spec->rope_mscale = (double)(float)rope->mscale;
    spec->rope_original_tokens = has_length ? rope->original_tokens : spec->trained_tokens;
    spec->rope = *rope;
    memset(spec->inv_freq, 0, sizeof spec->inv_freq);
    make_frequencies(spec->inv_freq, rope, rope->short_factors, spec_rope_half(spec));
    return STATUS_OK;
}

enum status spec_replace_base(struct model_spec *spec, double base, const char *name)
{
    const struct model_spec old = *spec;
    struct spec_rope rope = old.rope;
    double plain[MODEL_HEAD_DIM_MAX / 2]; /* the old base's, without factors */
    rope.base = base;
    make_frequencies(plain, &old.rope, old.rope.short_factors, spec_rope_half(&old));
    TRY(spec_set_rope(spec, &rope, name));
    if (old.rope_scaling != MODEL_ROPE_FACTORS)
        return STATUS_OK;
    spec->rope_scaling = MODEL_ROPE_FACTORS;
    for (int i = 0; i < spec_rope_half(&old); i++)
        spec->inv_freq[i] = (double)(float)(spec->inv_freq[i] * (old.inv_freq[i] / plain[i]));
    return STATUS_OK;
}

void spec_set_other_layer(struct model_spec *spec, int layer)
{
    const struct spec_rope rope = {.base = spec->other_base};
    spec->other_rope = true;
    spec->other_layers[layer / 64] |= UINT64_C(1) << layer % 64;
    if (spec->other_base > 0)
        make_frequencies(spec->other_inv_freq, &rope, NULL, spec_rope_half(spec));
}

struct frequencies spec_frequencies(const struct model_spec *spec, int64_t context_tokens)
{
    struct frequencies frequencies = {.kind = FREQUENCIES_OF_MODEL};
    if (spec->rope_scaling == MODEL_ROPE_LONGROPE && context_tokens > spec->rope_original_tokens)
        frequencies.kind = FREQUENCIES_LONG;
    if (spec->rope_scaling == MODEL_ROPE_DYNAMIC && context_tokens > spec->trained_tokens) {
        frequencies.kind = FREQUENCIES_NTK;
        frequencies.factor = spec->rope_factor * (double)context_tokens / spec->trained_tokens -
                             (spec->rope_factor - 1);
    }
    return frequencies;
}

void spec_rotation_make(struct spec_rotation *rotation, const struct model_spec *spec,
                        const struct frequencies *frequencies, int64_t logn)
{
    const enum frequencies_kind kind = frequencies->kind;
    const int half = spec_rope_half(spec);
    const double head_dim = 2 * half, factor = frequencies->factor;
    *rotation = (struct spec_rotation){
        .turned = half, .magnitude = spec->rope_mscale, .logn = logn > 0 ? log((double)logn) : 0};
    if (kind == FREQUENCIES_OF_MODEL || kind == FREQUENCIES_LONG) {
        memcpy(rotation->inv_freq, spec->inv_freq, sizeof rotation->inv_freq);
        if (kind == FREQUENCIES_LONG && spec->rope_scaling == MODEL_ROPE_LONGROPE)
            make_frequencies(rotation->inv_freq, &spec->rope, spec->rope.long_factors, half);
        return;
    }
    static const enum model_rope_scaling scalings[] = {[FREQUENCIES_LINEAR] = MODEL_ROPE_LINEAR,
                                                       [FREQUENCIES_NTK] = MODEL_ROPE_NONE,
                                                       [FREQUENCIES_YARN] = MODEL_ROPE_YARN};
    const double stretch = kind == FREQUENCIES_NTK ? pow(factor, head_dim / (head_dim - 2)) : 1;
    const struct spec_rope rope = {.base = spec->rope_base * stretch,
                                   .scaling = scalings[kind],
                                   .factor = factor,
                                   .original_tokens = (int)frequencies->original_tokens,
                                   .beta_fast = 32, /* as published */
                                   .beta_slow = 1};
    rotation->magnitude = kind == FREQUENCIES_YARN ? frequencies->attention : 1;
    make_frequencies(rotation->inv_freq, &rope, NULL, half);
}

void spec_rotation_other(struct spec_rotation *rotation, const struct model_spec *spec,
                         int64_t logn)
{
    memset(rotation, 0, sizeof *rotation);
    if (!spec->other_rope)
        return;
    rotation->turned = spec->other_base > 0 ? spec_rope_half(spec) : 0;
    rotation->magnitude = 1;
    rotation->logn = logn > 0 ? log((double)logn) : 0;
    memcpy(rotation->inv_freq, spec->other_inv_freq, sizeof rotation->inv_freq);
}

int spec_window_layers(const struct model_spec *spec)
{
    int layers = 0;
    for (int layer = 0; layer < spec->layers; layer++)
        layers += model_window_covers(&spec->window, layer);
    return layers;
}

int spec_qk_row(const struct model_spec *spec, int row)
{
    const int half = spec->head_dim / 2;
    const int turned = spec_rope_half(spec);
    const int pair = row % spec->head_dim % half;
    const int upper = row % spec->head_dim / half; /* which element of the pair */
    const int head = row - row % spec->head_dim;
    if (pair < turned)
        return head + (spec->interleaved_qk ? 2 * pair + upper : pair + upper * turned);
    return head + 2 * pair + upper;
}

struct model_shape spec_shape(const struct model_spec *spec, int64_t weights_bytes)
{
    return (struct model_shape){
        .layers = spec->layers,
        .hidden = spec->hidden,
        .heads = spec->heads,
        .kv_heads = spec->kv_heads,
        .head_dim = spec->head_dim,
        .ffn = spec->ffn,
        .ffn_block = spec->ffn_block,
        .vocab = spec->vocab,
        .trained_tokens = spec->trained_tokens,
        .weights_bytes = weights_bytes,
        .window = spec_window_layers(spec) > 0 ? spec->window : (struct model_window){0},
        .qkv_bias = spec->qkv_bias,
        .output_bias = spec->output_bias,
        .mlp_bias = spec->mlp_bias,
        .qk_norm = spec->qk_norm,
        .qk_norm_joined = spec->qk_norm_joined,
        .other_rope = spec->other_rope,
        .kv_first = spec->kv_first,
        .kv_all = spec->kv_all,
    };
}

struct model_spec spec_slice(const struct model_spec *spec, const struct tensor_slice *slice)
{
    struct model_spec part = *spec;
    part.heads = (int)(slice->heads.end - slice->heads.first);
    part.kv_heads = (int)(slice->kv_heads.end - slice->kv_heads.first);
    part.kv_first = (int)slice->kv_heads.first;
    part.kv_all = spec->kv_heads;
    part.ffn = (int)(slice->ffn.end - slice->ffn.first);
    return part;
}

const char *spec_special_part(const struct model_spec *spec)
{
    const struct {
        bool is_there;
        const char *name;
    } parts[] = {
        {spec->rope_scaling == MODEL_ROPE_DYNAMIC, "dynamic rope scaling"},
        {spec->rope_scaling == MODEL_ROPE_LONGROPE, "longrope scaling"},
        {spec->rotated_dim > 0 && spec->rotated_dim < spec->head_dim, "rope over a part of a head"},
        {spec->other_rope, "rope that differs by layer"},
        {spec->qk_norm_joined, "norms over all heads"},
        {spec->no_input_norms || spec->output_norms, "norms behind attention"},
        {spec->norms_from_one, "norms that add 1"},
        {spec->gelu, "GELU"},
        {spec->fused_qkv, "fused tensors"},
        {spec->embedding_scale != 0, "scaled embeddings"},
        {spec->residual_scale != 0, "scaled residuals"},
        {spec->attention_scale != 0, "an attention scale of its own"},
        {spec->attention_cap != 0, "capped attention scores"},
        {spec->logit_scale != 0, "scaled logits"},
        {spec->logit_cap != 0, "capped logits"},
    };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (parts[i].is_there)
            return parts[i].name;
    return NULL;
}

const char *spec_rope_scaling_name(enum model_rope_scaling scaling)
{
    static const char *const names[] = {"none",   "linear",  "yarn",    "factors",
                                        "llama3", "dynamic", "longrope"};
    assert(scaling <= MODEL_ROPE_LONGROPE);
    return names[scaling];
}
