/* Owns nothing: how the keys of an architecture are spelt and read. */
#include "proto/model/spec_gguf_keys.h"

#include <stdio.h>
#include <string.h>

#include "proto/model/spec_key.h"

struct spec_gguf_key spec_gguf_key(const struct spec_gguf_keys *keys, const char *rest)
{
    struct spec_gguf_key key;
    snprintf(key.text, sizeof key.text, "%s.%s", keys->architecture->gguf, rest);
    return key;
}

const struct gguf_pair *spec_gguf_keys_find(const struct spec_gguf_keys *keys, const char *rest)
{
    return gguf_find_pair(keys->gguf, spec_gguf_key(keys, rest).text);
}

enum status spec_gguf_keys_int(int *value, const struct spec_gguf_keys *keys, const char *rest,
                               int64_t last)
{
    const struct spec_gguf_key key = spec_gguf_key(keys, rest);
    const struct gguf_pair *pair = gguf_find_pair(keys->gguf, key.text);
    if (pair && pair->type == GGUF_ARRAY)
        return gguf_fail(keys->gguf, pair->offset, STATUS_UNIMPLEMENTED, "per-layer",
                         "%s has a value for each layer, which is not supported", key.text);
    int64_t wide;
    TRY(gguf_value_integer(keys->gguf, &wide, key.text, 1, last));
    *value = (int)wide;
    return STATUS_OK;
}

enum status spec_gguf_keys_int_or(int *value, const struct spec_gguf_keys *keys, const char *rest,
                                  int64_t last, int otherwise)
{
    *value = otherwise;
    return spec_gguf_keys_find(keys, rest) ? spec_gguf_keys_int(value, keys, rest, last)
                                           : STATUS_OK;
}

enum status spec_gguf_keys_float_or(double *value, const struct spec_gguf_keys *keys,
                                    const char *rest, double otherwise)
{
    *value = otherwise;
    return spec_gguf_keys_find(keys, rest)
               ? gguf_value_float(keys->gguf, value, spec_gguf_key(keys, rest).text)
               : STATUS_OK;
}

/* Behind the architecture's name: what is read, or refused unless it is neutral, or changes
 * nothing here. */
static const char *const known[] = {
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "vocab_size",
    "expert_count",
    "expert_used_count",
    "tensor_data_layout",
    "use_parallel_residual",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.layer_norm_rms_epsilon",
    "attention.key_length",
    "attention.value_length",
    "attention.sliding_window",
    "attention.sliding_window_pattern",
    "attention.causal",
    "attention.clamp_kqv",
    "attention.max_alibi_bias",
    "attention.scale",
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "logit_scale",
    "embedding_scale",
    "residual_scale",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.freq_base_swa",
    "rope.scale_linear",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.original_context_length",
    "rope.scaling.attn_factor",
    "rope.scaling.finetuned",
    "rope.scaling.yarn_ext_factor",
    "rope.scaling.yarn_attn_factor",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
    "rope.scaling.yarn_log_multiplier",
};

enum { KNOWN = sizeof known / sizeof known[0] };

const char *spec_gguf_keys_known(int place)
{
    return place < KNOWN ? known[place] : NULL;
}

static bool is_known(struct text_view rest)
{
    for (int k = 0; k < KNOWN; k++)
        if (text_view_is(rest, known[k]))
            return true;
    return false;
}

/* The base of layers with a window is read where they have one of their own. */
static bool is_of_others(struct text_view rest, const struct architecture *architecture)
{
    return text_view_is(rest, "rope.freq_base_swa") && architecture->local_base == 0;
}

enum status spec_gguf_keys_check(const struct spec_gguf_keys *keys)
{
    struct spec_keys_unknown unknown = {.file = gguf_name(keys->gguf)};
    const struct spec_gguf_key start = spec_gguf_key(keys, "");
    const size_t bytes = strlen(start.text);
    for (int i = 0; i < gguf_pair_count(keys->gguf); i++) {
        const struct gguf_pair *pair = gguf_pair(keys->gguf, i);
        if (pair->key.bytes <= bytes || memcmp(pair->key.text, start.text, bytes) != 0)
            continue;
        const struct text_view rest = {pair->key.text + bytes, pair->key.bytes - bytes};
        if (is_of_others(rest, keys->architecture))
            return gguf_fail(keys->gguf, pair->offset, STATUS_UNIMPLEMENTED, "unsupported-key",
                             "key %.*s is not supported in this architecture", (int)pair->key.bytes,
                             pair->key.text);
        if (is_known(rest))
            continue;
        if (spec_key_may_matter(rest))
            return gguf_fail(keys->gguf, pair->offset, STATUS_UNIMPLEMENTED, "unsupported-key",
                             "key %.*s is not known here, and may change what is computed",
                             (int)pair->key.bytes, pair->key.text);
        spec_keys_unknown_add(&unknown, pair->key);
    }
    spec_keys_unknown_tell(&unknown);
    return STATUS_OK;
}
