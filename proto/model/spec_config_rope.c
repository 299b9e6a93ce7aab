/* Owns the reading of rope's facts from config.json. Promises that every key of rope is understood
 * or refused by its name. */
#include "proto/model/spec_config_rope.h"

#include <math.h>
#include <string.h>

static const char original_key[] = "original_max_position_embeddings";
static const char part_key[] = "partial_rotary_factor";

/* A kind of scaling: what it is called, its keys beside `type`, `rope_type` and `rope_theta`, and
 * what reads them. */
struct kind {
    const char *name;
    const char *keys[8];
    enum status (*read)(struct spec_rope *rope, const struct json_place *scaling,
                        const struct model_spec *spec);
};

/* The length before stretching, where it stands beside the scaling (Phi-3) or in it. */
static enum status read_original(struct spec_rope *rope, const struct json_place *place)
{
    int64_t wide = 0;
    if (rope->original_tokens > 0 || !json_place_get(place, original_key))
        return STATUS_OK;
    TRY(json_place_integer(place, &wide, original_key, 1, MODEL_TOKENS_MAX));
    rope->original_tokens = (int)wide;
    return STATUS_OK;
}

static enum status read_original_or(struct spec_rope *rope, const struct json_place *place,
                                    int otherwise)
{
    TRY(read_original(rope, place));
    if (rope->original_tokens == 0)
        rope->original_tokens = otherwise;
    return STATUS_OK;
}

static enum status read_nothing(struct spec_rope *rope, const struct json_place *scaling,
                                const struct model_spec *spec)
{
    (void)rope, (void)scaling, (void)spec;
    return STATUS_OK;
}

static enum status read_linear(struct spec_rope *rope, const struct json_place *scaling,
                               const struct model_spec *spec)
{
    (void)spec;
    rope->scaling = MODEL_ROPE_LINEAR;
    return json_place_number(scaling, &rope->factor, "factor");
}

static enum status read_dynamic(struct spec_rope *rope, const struct json_place *scaling,
                                const struct model_spec *spec)
{
    (void)spec;
    rope->scaling = MODEL_ROPE_DYNAMIC;
    return json_place_number(scaling, &rope->factor, "factor");
}

/* DeepSeek's two words for how cos and sin are multiplied: the quotient of both, where there are
 * both. */
static enum status read_yarn_mscale(struct spec_rope *rope, const struct json_place *scaling)
{
    double mscale, of_all;
    TRY(json_place_number_or(scaling, &mscale, "mscale", 0));
    TRY(json_place_number_or(scaling, &of_all, "mscale_all_dim", 0));
    double quotient = spec_yarn_mscale(rope->factor);
    if (mscale != 0 && of_all != 0 && rope->factor > 1)
        quotient = (0.1 * mscale * log(rope->factor) + 1) / (0.1 * of_all * log(rope->factor) + 1);
    return json_place_number_or(scaling, &rope->mscale, "attention_factor", quotient);
}

static enum status read_yarn(struct spec_rope *rope, const struct json_place *scaling,
                             const struct model_spec *spec)
{
    bool truncates;
    rope->scaling = MODEL_ROPE_YARN;
    TRY(json_place_number(scaling, &rope->factor, "factor"));
    TRY(json_place_bool_or(scaling, &truncates, "truncate", true));
    rope->fractional = !truncates;
    TRY(json_place_number_or(scaling, &rope->beta_fast, "beta_fast", 32));
    TRY(json_place_number_or(scaling, &rope->beta_slow, "beta_slow", 1));
    TRY(read_yarn_mscale(rope, scaling));
    return read_original_or(rope, scaling, spec->trained_tokens);
}

static enum status read_llama3(struct spec_rope *rope, const struct json_place *scaling,
                               const struct model_spec *spec)
{
    (void)spec;
    rope->scaling = MODEL_ROPE_LLAMA3;
    TRY(json_place_number(scaling, &rope->factor, "factor"));
    TRY(json_place_number(scaling, &rope->low_freq_factor, "low_freq_factor"));
    TRY(json_place_number(scaling, &rope->high_freq_factor, "high_freq_factor"));
    TRY(read_original(rope, scaling));
    if (rope->original_tokens == 0)
        return json_place_fail(scaling, original_key, STATUS_DATA_LOSS, "missing", "is missing");
    return STATUS_OK;
}

static enum status read_factors(double *factors, const struct json_place *scaling, const char *key,
                                int half)
{
    const json_t *list;
    TRY(json_place_array(scaling, &list, key));
    if (json_array_size(list) != (size_t)half)
        return json_place_fail(scaling, key, STATUS_DATA_LOSS, "value-range",
                               "has %zu values for %d frequencies", json_array_size(list), half);
    for (int i = 0; i < half; i++) {
        const json_t *factor = json_array_get(list, (size_t)i);
        if (!json_is_number(factor))
            return json_place_fail(scaling, key, STATUS_DATA_LOSS, "value-type",
                                   "has something else than a number at %d", i);
        factors[i] = json_number_value(factor);
    }
    return STATUS_OK;
}

/* Without a factor the two lengths say it. */
static enum status read_longrope(struct spec_rope *rope, const struct json_place *scaling,
                                 const struct model_spec *spec)
{
    rope->scaling = MODEL_ROPE_LONGROPE;
    TRY(read_factors(rope->short_factors, scaling, "short_factor", spec_rope_half(spec)));
    TRY(read_factors(rope->long_factors, scaling, "long_factor", spec_rope_half(spec)));
    TRY(read_original_or(rope, scaling, spec->trained_tokens));
    TRY(json_place_number_or(scaling, &rope->factor, "factor",
                             (double)spec->trained_tokens / rope->original_tokens));
    return json_place_number_or(scaling, &rope->mscale, "attention_factor",
                                spec_longrope_mscale(rope->factor, rope->original_tokens));
}

static const struct kind kinds[] = {
    {"default", {NULL}, read_nothing},
    {"linear", {"factor"}, read_linear},
    {"dynamic", {"factor"}, read_dynamic},
    {"yarn",
     {"factor", "beta_fast", "beta_slow", "truncate", "attention_factor", "mscale",
      "mscale_all_dim", original_key},
     read_yarn},
    {"llama3", {"factor", "low_freq_factor", "high_freq_factor", original_key}, read_llama3},
    {"longrope",
     {"factor", "short_factor", "long_factor", "attention_factor", original_key},
     read_longrope},
    {"su", {"short_factor", "long_factor", original_key}, read_longrope}, /* as it was called */
};

enum { KINDS = sizeof kinds / sizeof kinds[0], KEYS = sizeof kinds->keys / sizeof *kinds->keys };

const char *spec_config_rope_key(const char **name, int place)
{
    for (int k = 0; k < KINDS; k++)
        for (int i = 0; i < KEYS && kinds[k].keys[i]; i++)
            if (place-- == 0) {
                *name = kinds[k].name;
                return kinds[k].keys[i];
            }
    return NULL;
}

static bool knows(const struct kind *kind, const char *key)
{
    bool known = strcmp(key, "type") == 0 || strcmp(key, "rope_type") == 0 ||
                 strcmp(key, "rope_theta") == 0 || strcmp(key, "finetuned") == 0 ||
                 strcmp(key, part_key) == 0;
    for (int k = 0; k < KEYS && !known && kind->keys[k]; k++)
        known = strcmp(kind->keys[k], key) == 0;
    return known;
}

/* `scaling` has the key "rope_type", or "type" as older files have it. */
static enum status read_scaling(struct spec_rope *rope, const struct json_place *scaling,
                                const struct model_spec *spec)
{
    const char *type_key = json_place_get(scaling, "rope_type") ? "rope_type" : "type";
    const struct kind *kind = NULL;
    struct text_view type;
    const char *key;
    json_t *value;
    TRY(json_place_text(scaling, &type, type_key));
    for (int k = 0; k < KINDS; k++)
        if (text_view_is(type, kinds[k].name))
            kind = &kinds[k];
    if (!kind)
        return json_place_fail(scaling, type_key, STATUS_UNIMPLEMENTED, "rope-scaling",
                               "rope scaling %.*s is not supported; default, linear, dynamic, "
                               "yarn, llama3 and longrope are",
                               (int)(type.bytes < 64 ? type.bytes : 64), type.text);
    json_object_foreach(
        (json_t *)scaling->json, key,
        value) if (!knows(kind, key) &&
                   !json_is_null(
                       value)) return json_place_fail(scaling, key, STATUS_UNIMPLEMENTED,
                                                      "rope-scaling",
                                                      "is not supported with this rope scaling");
    return kind->read(rope, scaling, spec);
}

/* The part of a head that is rotated, which stands beside the scaling or in it. */
static enum status read_part(struct model_spec *spec, const struct json_place *place,
                             const struct architecture *architecture)
{
    double part;
    TRY(json_place_number_or(place, &part, part_key, 1));
    if (part == 1)
        return STATUS_OK;
    if (!architecture->turns_part)
        return json_place_fail(place, part_key, STATUS_UNIMPLEMENTED, "unsupported-key",
                               "rope over a part of a head is not supported in this architecture");
    const int dim = part > 0 && part < 1 ? (int)(spec->head_dim * part) : 0;
    if (dim < 2 || dim % 2 != 0)
        return json_place_fail(place, part_key, STATUS_DATA_LOSS, "value-range",
                               "is %g, of a head of %d: an even number of elements is allowed",
                               part, spec->head_dim);
    spec->rotated_dim = dim;
    return STATUS_OK;
}

/* One kind of frequencies, by whatever keys; `rope` has the base that holds without any. */
static enum status read_one(struct spec_rope *rope, struct model_spec *spec,
                            const struct json_place *scaling,
                            const struct architecture *architecture)
{
    TRY(json_place_number_or(scaling, &rope->base, "rope_theta", rope->base));
    TRY(read_part(spec, scaling, architecture));
    return read_scaling(rope, scaling, spec);
}

/* Layers with the window have a base of their own: rope_local_base_freq, or what rope_parameters
 * says of them. */
static enum status read_local(struct model_spec *spec, const struct json_place *config,
                              const struct json_place *local,
                              const struct architecture *architecture)
{
    struct spec_rope rope = {.factor = 1, .mscale = 1};
    TRY(json_place_number_or(config, &rope.base, "rope_local_base_freq", architecture->local_base));
    if (local)
        TRY(read_one(&rope, spec, local, architecture));
    if (rope.scaling != MODEL_ROPE_NONE)
        return json_place_fail(local, NULL, STATUS_UNIMPLEMENTED, "rope-scaling",
                               "scaling of layers with a sliding window is not supported");
    if (!(rope.base > 1 && rope.base <= 1e12))
        return json_place_fail(config, "rope_local_base_freq", STATUS_DATA_LOSS, "value-range",
                               "is %g; more than 1, up to 1e12 is allowed", rope.base);
    spec->other_base = rope.base;
    for (int layer = 0; layer < spec->layers; layer++)
        if (model_window_covers(&spec->window, layer))
            spec_set_other_layer(spec, layer);
    return STATUS_OK;
}

/* rope_parameters by layer type has those two, and nothing beside. */
static enum status check_layer_types(const struct json_place *parameters)
{
    const char *key;
    json_t *value;
    json_object_foreach(
        (json_t *)parameters->json, key,
        value) if (strcmp(key, "full_attention") != 0 && strcmp(key, "sliding_attention") != 0 &&
                   !json_is_null(
                       value)) return json_place_fail(parameters, key, STATUS_UNIMPLEMENTED,
                                                      "rope-scaling",
                                                      "is not supported beside full_attention and "
                                                      "sliding_attention");
    return STATUS_OK;
}

/* Transformers 5 writes rope_parameters, with rope_theta in it; before, rope_theta and
 * rope_scaling stood beside each other. */
enum status spec_config_rope_read(struct model_spec *spec, const struct json_place *config,
                                  const struct architecture *architecture)
{
    const double base = architecture->rope_base > 0 ? architecture->rope_base : 10000;
    struct spec_rope rope = {.scaling = MODEL_ROPE_NONE, .factor = 1, .mscale = 1};
    struct json_place scaling, full, sliding;
    bool by_type = false;
    const bool is_new = json_place_get(config, "rope_parameters");
    if (is_new && json_place_get(config, "rope_scaling"))
        return json_place_fail(config, "rope_scaling", STATUS_DATA_LOSS, "rope-scaling",
                               "stands beside rope_parameters; one of the two is allowed");
    TRY(json_place_number_or(config, &rope.base, "rope_theta", base));
    TRY(read_original(&rope, config));
    TRY(read_part(spec, config, architecture));
    if (is_new || json_place_get(config, "rope_scaling")) {
        TRY(json_place_object(config, &scaling, is_new ? "rope_parameters" : "rope_scaling"));
        by_type = architecture->local_base > 0 && json_place_get(&scaling, "full_attention");
        if (by_type) {
            TRY(check_layer_types(&scaling));
            TRY(json_place_object(&scaling, &full, "full_attention"));
            TRY(json_place_object(&scaling, &sliding, "sliding_attention"));
        }
        TRY(read_one(&rope, spec, by_type ? &full : &scaling, architecture));
    }
    TRY(spec_set_rope(spec, &rope, config->file));
    return architecture->local_base > 0
               ? read_local(spec, config, by_type ? &sliding : NULL, architecture)
               : STATUS_OK;
}
