/* Owns the reading of a model's facts from a GGUF file's keys. Promises that facts are within the
 * limits of spec.h and fit together, and that a key which would change the arithmetic in a way that
 * is not supported is refused by its name.
 */
#include "proto/model/spec_gguf.h"

#include <math.h>
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
    const bool is_split = split && gguf_value_as_integer(&parts, split) && parts != 0;
    if (split && (!is_split || parts != gguf_part_count(file->gguf)))
        return gguf_fail(file->gguf, split->offset, STATUS_UNIMPLEMENTED, "split",
                         "a model split over several files is opened by the path of its first one");
    return STATUS_OK;
}

/* Keys that would change the arithmetic unless they have the neutral value beside them. */
static const struct neutral_key {
    const char *rest;
    double neutral;
    const char *what;
} neutral_keys[] = {
    {"expert_count", 0, "a mixture of experts"},
    {"use_parallel_residual", 0, "attention beside the feed-forward part"},
    {"attention.causal", 1, "attention that is not causal"},
    {"attention.clamp_kqv", 0, "clamped queries, keys and values"},
    {"attention.max_alibi_bias", 0, "ALiBi"},
    {"rope.scaling.yarn_log_multiplier", 0, "a YaRN log multiplier"},
};

/* Of architectures that do not read them. */
static const struct neutral_key multiplied_keys[] = {
    {"attention.scale", 0, "an attention scale of the file's own"},
    {"logit_scale", 1, "scaled logits"},
    {"embedding_scale", 1, "scaled embeddings"},
    {"residual_scale", 1, "scaled residuals"},
};
static const struct neutral_key score_cap_key = {"attn_logit_softcapping", 0,
                                                 "capped attention scores"};
static const struct neutral_key logit_cap_key = {"final_logit_softcapping", 0, "capped logits"};

static enum status check_neutral_key(const struct spec_gguf_keys *file,
                                     const struct neutral_key *neutral)
{
    const struct spec_gguf_key key = spec_gguf_key(file, neutral->rest);
    const struct gguf_pair *pair = gguf_find_pair(file->gguf, key.text);
    int64_t integer = 0;
    double value = 0;
    if (!pair)
        return STATUS_OK;
    bool read = gguf_value_as_float(&value, pair);
    if (!read && gguf_value_as_integer(&integer, pair)) {
        read = true;
        value = (double)integer;
    }
    if (!read || value != neutral->neutral)
        return gguf_fail(file->gguf, pair->offset, STATUS_UNIMPLEMENTED, "unsupported-key",
                         "%s (key %s) is not supported", neutral->what, key.text);
    return STATUS_OK;
}

static enum status check_neutral_keys(const struct spec_gguf_keys *file)
{
    for (size_t i = 0; i < sizeof neutral_keys / sizeof neutral_keys[0]; i++)
        TRY(check_neutral_key(file, &neutral_keys[i]));
    const size_t multiplied = sizeof multiplied_keys / sizeof multiplied_keys[0];
    for (size_t i = 0; i < multiplied && !file->architecture->multiplies; i++)
        TRY(check_neutral_key(file, &multiplied_keys[i]));
    if (!file->architecture->caps_scores)
        TRY(check_neutral_key(file, &score_cap_key));
    return file->architecture->caps_logits ? STATUS_OK : check_neutral_key(file, &logit_cap_key);
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
    const bool turns = rotated == spec->head_dim || (file->architecture->turns_part &&
                                                     rotated % 2 == 0 && rotated < spec->head_dim);
    spec->rotated_dim = rotated;
    if (value_length != spec->head_dim || !turns)
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
        [18] = "Q6_K",   [25] = "IQ4_NL", [30] = "IQ4_XS", [32] = "BF16",
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
        return gguf_fail_tensor(tensor, STATUS_DATA_LOSS, "vocab",
                                "a vocabulary of %lld; at most %d are allowed",
                                (long long)tensor->dims[1], MODEL_VOCAB_MAX);
    int stated;
    spec->vocab = (int)tensor->dims[1];
    TRY(spec_gguf_keys_int_or(&stated, file, "vocab_size", MODEL_VOCAB_MAX, spec->vocab));
    if (stated != spec->vocab)
        return gguf_fail_tensor(tensor, STATUS_DATA_LOSS, "vocab",
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

/* 0 where the key is not there, or has what changes nothing. */
static enum status read_scale(double *scale, const struct spec_gguf_keys *file, const char *rest,
                              double neutral)
{
    double value;
    TRY(spec_gguf_keys_float_or(&value, file, rest, neutral));
    if (value != neutral && !(value >= 1e-6 && value <= 1e6))
        return gguf_fail(file->gguf, spec_gguf_keys_find(file, rest)->offset, STATUS_DATA_LOSS,
                         "value-range", "%s is %g; 1e-6 .. 1e6 are allowed",
                         spec_gguf_key(file, rest).text, value);
    *scale = value == neutral ? 0 : value;
    return STATUS_OK;
}

/* logit_scale is what logits are divided by, as Granite's config.json has it. */
static enum status read_scales(struct model_spec *spec, const struct spec_gguf_keys *file)
{
    const struct architecture *architecture = file->architecture;
    double division = 0;
    if (architecture->multiplies) {
        TRY(read_scale(&spec->embedding_scale, file, "embedding_scale", 1));
        TRY(read_scale(&spec->residual_scale, file, "residual_scale", 1));
        TRY(read_scale(&spec->attention_scale, file, "attention.scale", 0));
        TRY(read_scale(&division, file, "logit_scale", 1));
        spec->logit_scale = division != 0 ? 1 / division : 0;
    }
    if (architecture->caps_scores && spec_gguf_keys_find(file, score_cap_key.rest))
        TRY(read_scale(&spec->attention_cap, file, score_cap_key.rest, 0));
    if (architecture->caps_logits && spec_gguf_keys_find(file, logit_cap_key.rest))
        TRY(read_scale(&spec->logit_cap, file, logit_cap_key.rest, 0));
    if (architecture->wide_layers > 0 && spec->layers == architecture->wide_layers)
        spec->attention_scale = 1 / sqrt((double)spec->hidden / spec->heads);
    return STATUS_OK;
}

/* No key says which layers do not rotate, or which base those with a window have; newer files may
 * have the base. */
static enum status read_other_layers(struct model_spec *spec, const struct spec_gguf_keys *file)
{
    const struct architecture *architecture = file->architecture;
    const int period = architecture->no_rope_period;
    if (architecture->local_base > 0)
        TRY(read_scale(&spec->other_base, file, "rope.freq_base_swa", 0));
    if (architecture->local_base > 0 && spec->other_base == 0)
        spec->other_base = architecture->local_base;
    for (int layer = 0; layer < spec->layers; layer++)
        if ((period > 0 && (layer + 1) % period == 0) ||
            (architecture->local_base > 0 && model_window_covers(&spec->window, layer)))
            spec_set_other_layer(spec, layer);
    return STATUS_OK;
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
    spec->window.tokens = file->architecture->caps_scores ? file->architecture->window : 0;
    if (!pair && spec->window.tokens == 0)
        return STATUS_OK;
    if (pair)
        TRY(gguf_value_integer(file->gguf, &spec->window.tokens, key.text, 0, MODEL_TOKENS_MAX));
    if (spec->window.tokens == 0)
        return STATUS_OK;
    if (spec_gguf_keys_find(file, window_pattern_rest))
        return read_window_pattern(spec, file);
    const int period = file->architecture->window_period;
    if (file->architecture->gguf_window != ARCHITECTURE_WINDOW_ALL && period == 0)
        return gguf_fail(file->gguf, pair->offset, STATUS_UNIMPLEMENTED, "unsupported-key",
                         "a sliding window (key %s) is not supported without %s, which says which "
                         "layers have it",
                         key.text, spec_gguf_key(file, window_pattern_rest).text);
    for (int layer = 0; layer < spec->layers; layer++)
        if (period == 0 || (layer + 1) % period != 0)
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
    TRY(spec_gguf_keys_check(&file));
    TRY(read_sizes(&read, &file));
    architecture_set_facts(file.architecture, &read);
    TRY(read_norm(&read, &file));
    TRY(read_vocab_size(&read, &file));
    TRY(spec_gguf_rope_read(&read, &file));
    TRY(read_window(&read, &file));
    TRY(read_scales(&read, &file));
    TRY(read_other_layers(&read, &file));
    read_parts(&read, &file);
    *spec = read;
    return STATUS_OK;
}
