/* Owns the reading of a model's facts from a GGUF file's keys. Promises that facts are within the
 * limits of spec.h and fit together, and that a key which would change the arithmetic in a way that
 * is not supported is refused by its name.
 */
#include "proto/model/spec_gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/model/architecture.h"
#include "proto/model/ggml_type.h"
#include "proto/model/gguf_value.h"
#include "proto/model/model_role.h"
#include "proto/model/spec_gguf_keys.h"
#include "proto/model/spec_gguf_rope.h"

static const char window_pattern_rest[] = "attention.sliding_window_pattern";

static enum status find_architecture(struct spec_gguf_keys *file, struct model_spec *spec)
{
    static const char key[] = "general.architecture";
    TRY(gguf_value_text(file->gguf, &spec->architecture, key));
    file->architecture = architecture_of_gguf(spec->architecture);
    if (!file->architecture) {
        char names[ARCHITECTURE_NAMES_BYTES];
        architecture_gguf_names(names);
        return gguf_fail(file->gguf, gguf_find_pair(file->gguf, key)->offset, STATUS_UNIMPLEMENTED,
                         "architecture", "architecture %.*s is not supported; known: %s",
                         (int)spec->architecture.bytes, spec->architecture.text, names);
    }
    const struct gguf_pair *split = gguf_find_pair(file->gguf, "split.count");
    int64_t parts;
    if (split && (!gguf_value_as_integer(&parts, split) || parts != 1))
        return gguf_fail(file->gguf, split->offset, STATUS_UNIMPLEMENTED, "split",
                         "a model split over several files is not supported; join them first");
    return STATUS_OK;
}

/* Keys that would change the arithmetic unless they have the neutral value beside them. */
static const struct {
    const char *rest;
    double neutral;
    const char *what;
} neutral_keys[] = {
    {"expert_count", 0, "a mixture of experts"},
    {"attention.causal", 1, "attention that is not causal"},
    {"attention.clamp_kqv", 0, "clamped queries, keys and values"},
    {"attention.max_alibi_bias", 0, "ALiBi"},
    {"attention.scale", 0, "an attention scale of the file's own"},
    {"attn_logit_softcapping", 0, "capped attention scores"},
    {"final_logit_softcapping", 0, "capped logits"},
    {"logit_scale", 1, "scaled logits"},
    {"embedding_scale", 1, "scaled embeddings"},
    {"residual_scale", 1, "scaled residuals"},
    {"rope.scaling.yarn_log_multiplier", 0, "a YaRN log multiplier"},
};

static enum status check_neutral_keys(const struct spec_gguf_keys *file)
{
    for (size_t i = 0; i < sizeof neutral_keys / sizeof neutral_keys[0]; i++) {
        struct spec_gguf_key key = spec_gguf_key(file, neutral_keys[i].rest);
        const struct gguf_pair *pair = gguf_find_pair(file->gguf, key.text);
        if (!pair)
            continue;
        int64_t integer = 0;
        double value = 0;
        bool read = gguf_value_as_float(&value, pair);
        if (!read && gguf_value_as_integer(&integer, pair)) {
            read = true;
            value = (double)integer;
        }
        if (!read || value != neutral_keys[i].neutral)
            return gguf_fail(file->gguf, pair->offset, STATUS_UNIMPLEMENTED, "unsupported-key",
                             "%s (key %s) is not supported", neutral_keys[i].what, key.text);
    }
    return STATUS_OK;
}

static enum status read_sizes(struct model_spec *spec, const struct spec_gguf_keys *file)
{
    int64_t trained;
    TRY(spec_gguf_keys_int(&spec->layers, file, "block_count", MODEL_LAYERS_MAX));
    TRY(spec_gguf_keys_int(&spec->hidden, file, "embedding_length", MODEL_HIDDEN_MAX));
    TRY(spec_gguf_keys_int(&spec->heads, file, "attention.head_count", MODEL_HEADS_MAX));
    TRY(spec_gguf_keys_int_or(&spec->kv_heads, file, "attention.head_count_kv", spec->heads,
                              spec->heads));
    TRY(spec_gguf_keys_int(&spec->ffn, file, "feed_forward_length", MODEL_FFN_MAX));
    TRY(gguf_value_limit(file->gguf, &trained, spec_gguf_key(file, "context_length").text,
                         MODEL_TOKENS_MAX));
    spec->trained_tokens = (int)trained;
    size_t heads_offset = spec_gguf_keys_find(file, "attention.head_count")->offset;
    if (spec->heads % spec->kv_heads != 0)
        return gguf_fail(file->gguf, heads_offset, STATUS_DATA_LOSS, "heads",
                         "%d heads cannot share %d key-value heads evenly", spec->heads,
                         spec->kv_heads);
    if (spec->heads / spec->kv_heads > MODEL_GROUP_MAX)
        return gguf_fail(file->gguf, heads_offset, STATUS_UNIMPLEMENTED, "heads",
                         "%d heads on %d key-value heads are not supported; up to %d to one are",
                         spec->heads, spec->kv_heads, MODEL_GROUP_MAX);
    if (!spec_gguf_keys_find(file, "attention.key_length") && spec->hidden % spec->heads != 0)
        return gguf_fail(file->gguf, heads_offset, STATUS_DATA_LOSS, "heads",
                         "a width of %d does not divide by %d heads", spec->hidden, spec->heads);
    int value_length;
    int rotated;
    TRY(spec_gguf_keys_int_or(&spec->head_dim, file, "attention.key_length", MODEL_HIDDEN_MAX,
                              spec->hidden / spec->heads));
    TRY(spec_gguf_keys_int_or(&value_length, file, "attention.value_length", MODEL_HIDDEN_MAX,
                              spec->head_dim));
    TRY(spec_gguf_keys_int_or(&rotated, file, "rope.dimension_count", MODEL_HIDDEN_MAX,
                              spec->head_dim));
    if (!spec_head_dim_is_supported(spec->head_dim))
        return gguf_fail(file->gguf, heads_offset, STATUS_UNIMPLEMENTED, "head-dim",
                         "a head dimension of %d is not supported; multiples of %d up to %d are",
                         spec->head_dim, MODEL_HEAD_DIM_STEP, MODEL_HEAD_DIM_MAX);
    if (value_length != spec->head_dim || rotated != spec->head_dim)
        return gguf_fail(file->gguf, heads_offset, STATUS_UNIMPLEMENTED, "head-dim",
                         "keys of %d, values of %d and %d rotated dimensions are not supported; "
                         "the three must be equal",
                         spec->head_dim, value_length, rotated);
    return STATUS_OK;
}

static enum status read_norm(struct model_spec *spec, const struct spec_gguf_keys *file)
{
    static const char rest[] = "attention.layer_norm_rms_epsilon";
    double epsilon;
    TRY(gguf_value_float(file->gguf, &epsilon, spec_gguf_key(file, rest).text));
    if (epsilon <= 0 || epsilon >= 1)
        return gguf_fail(file->gguf,
                         gguf_find_pair(file->gguf, spec_gguf_key(file, rest).text)->offset,
                         STATUS_DATA_LOSS, "value-range", "%s is %g, it must lie between 0 and 1",
                         spec_gguf_key(file, rest).text, epsilon);
    spec->norm_eps = (float)epsilon;
    return STATUS_OK;
}

/* general.file_type, as the writers number it. */
static const char *file_type_name(const struct gguf *gguf)
{
    static const char *const names[] = {
        [0] = "F32",     [1] = "F16",     [2] = "Q4_0",    [3] = "Q4_1",    [7] = "Q8_0",
        [8] = "Q5_0",    [9] = "Q5_1",    [10] = "Q2_K",   [11] = "Q3_K_S", [12] = "Q3_K_M",
        [13] = "Q3_K_L", [14] = "Q4_K_S", [15] = "Q4_K_M", [16] = "Q5_K_S", [17] = "Q5_K_M",
        [18] = "Q6_K",   [32] = "BF16",
    };
    const struct gguf_pair *pair = gguf_find_pair(gguf, "general.file_type");
    int64_t number;
    if (!pair || !gguf_value_as_integer(&number, pair) || number < 0 ||
        number >= (int64_t)(sizeof names / sizeof names[0]) || !names[number])
        return "unknown";
    return names[number];
}

/* The embedding's rows are the vocabulary; the key, where there is one, must agree. */
static enum status read_vocab_size(struct model_spec *spec, const struct spec_gguf_keys *file)
{
    int index = gguf_find_tensor(file->gguf, "token_embd.weight");
    if (index < 0)
        return fail(STATUS_DATA_LOSS, "%s: the tensor token_embd.weight is missing",
                    gguf_name(file->gguf));
    const struct gguf_tensor *tensor = gguf_tensor(file->gguf, index);
    if (tensor->dims[1] > MODEL_VOCAB_MAX)
        return gguf_fail(file->gguf, tensor->offset, STATUS_DATA_LOSS, "vocab",
                         "a vocabulary of %lld; at most %d are allowed", (long long)tensor->dims[1],
                         MODEL_VOCAB_MAX);
    int stated;
    spec->vocab = (int)tensor->dims[1];
    TRY(spec_gguf_keys_int_or(&stated, file, "vocab_size", MODEL_VOCAB_MAX, spec->vocab));
    if (stated != spec->vocab)
        return gguf_fail(file->gguf, tensor->offset, STATUS_DATA_LOSS, "vocab",
                         "token_embd.weight has %d rows, %s says %d", spec->vocab,
                         spec_gguf_key(file, "vocab_size").text, stated);
    spec->tied_output = gguf_find_tensor(file->gguf, "output.weight") < 0;
    return STATUS_OK;
}

static bool has_part(const struct gguf *gguf, enum architecture_part part, enum model_role role)
{
    char name[MODEL_ROLE_NAME_BYTES];
    model_role_gguf_name(name, role, 0);
    return part == ARCHITECTURE_ALWAYS ||
           (part == ARCHITECTURE_STATED && gguf_find_tensor(gguf, name) >= 0);
}

/* What is stated of a part is its tensor in the first layer: the others must have it too. */
static void read_parts(struct model_spec *spec, const struct spec_gguf_keys *file)
{
    const struct architecture *architecture = file->architecture;
    spec->interleaved_qk = architecture->interleaves_qk;
    spec->qkv_bias = has_part(file->gguf, architecture->qkv_bias, MODEL_ATTN_Q_BIAS);
    spec->output_bias = has_part(file->gguf, architecture->output_bias, MODEL_ATTN_OUTPUT_BIAS);
    spec->mlp_bias = has_part(file->gguf, architecture->mlp_bias, MODEL_FFN_GATE_BIAS);
    spec->qk_norm = has_part(file->gguf, architecture->qk_norm, MODEL_ATTN_Q_NORM);
}

/* sliding_window_pattern: a bool for each layer. */
static enum status read_window_pattern(struct model_spec *spec, const struct spec_gguf_keys *file)
{
    const struct spec_gguf_key key = spec_gguf_key(file, window_pattern_rest);
    const struct gguf_pair *pair = gguf_find_pair(file->gguf, key.text);
    struct gguf_array pattern;
    if (pair->type != GGUF_ARRAY || pair->array.type != GGUF_BOOL)
        return gguf_fail(file->gguf, pair->offset, STATUS_UNIMPLEMENTED, "unsupported-key",
                         "key %s is supported as a bool for each layer alone", key.text);
    TRY(gguf_value_array(file->gguf, &pattern, key.text, GGUF_BOOL));
    if (pattern.count != spec->layers)
        return gguf_fail(file->gguf, pair->offset, STATUS_DATA_LOSS, "value-range",
                         "%s has %lld values for %d layers", key.text, (long long)pattern.count,
                         spec->layers);
    for (int layer = 0; layer < spec->layers; layer++)
        if (pattern.data[layer])
            model_window_cover(&spec->window, layer);
    return STATUS_OK;
}

static enum status read_window(struct model_spec *spec, const struct spec_gguf_keys *file)
{
    const struct spec_gguf_key key = spec_gguf_key(file, "attention.sliding_window");
    const struct gguf_pair *pair = gguf_find_pair(file->gguf, key.text);
    if (!pair)
        return STATUS_OK;
    TRY(gguf_value_integer(file->gguf, &spec->window.tokens, key.text, 0, MODEL_TOKENS_MAX));
    if (spec->window.tokens == 0)
        return STATUS_OK;
    if (spec_gguf_keys_find(file, window_pattern_rest))
        return read_window_pattern(spec, file);
    if (file->architecture->gguf_window != ARCHITECTURE_WINDOW_ALL)
        return gguf_fail(file->gguf, pair->offset, STATUS_UNIMPLEMENTED, "unsupported-key",
                         "a sliding window (key %s) is not supported without %s, which says which "
                         "layers have it",
                         key.text, spec_gguf_key(file, window_pattern_rest).text);
    for (int layer = 0; layer < spec->layers; layer++)
        model_window_cover(&spec->window, layer);
    return STATUS_OK;
}

enum status spec_gguf_read(struct model_spec *spec, const struct gguf *gguf)
{
    struct model_spec read = {.file_type = file_type_name(gguf)};
    struct spec_gguf_keys file = {.gguf = gguf};
    TRY(find_architecture(&file, &read));
    const struct gguf_pair *name = gguf_find_pair(gguf, "general.name");
    if (!name || !gguf_value_as_text(&read.name, name))
        read.name = text_view_of("");
    TRY(check_neutral_keys(&file));
    TRY(read_sizes(&read, &file));
    TRY(read_norm(&read, &file));
    TRY(read_vocab_size(&read, &file));
    TRY(spec_gguf_rope_read(&read, &file));
    TRY(read_window(&read, &file));
    read_parts(&read, &file);
    *spec = read;
    return STATUS_OK;
}
