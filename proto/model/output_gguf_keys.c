/* Owns the keys of a written GGUF file. Promises that a source's keys are carried over byte for
 * byte, but for those that say what is replaced. */
#include "proto/model/output_gguf_keys.h"

#include <stdio.h>
#include <string.h>

#include "proto/model/output_gguf.h"
#include "proto/model/output_gguf_vocab.h"

enum { KEY_BYTES = 96 };

struct key {
    char text[KEY_BYTES];
};

static struct key key_of(const struct architecture *architecture, const char *rest)
{
    struct key key;
    snprintf(key.text, sizeof key.text, "%s.%s", architecture->gguf, rest);
    return key;
}

const struct architecture *output_gguf_keys_architecture(const struct model_spec *spec)
{
    const struct architecture *row = architecture_of_config(spec->architecture);
    if (!row)
        row = architecture_of_gguf(spec->architecture);
    return row && row->gguf ? row : architecture_of_gguf(text_view_of("llama"));
}

static void put_u32(struct gguf_pairs *pairs, const struct architecture *row, const char *rest,
                    int64_t value)
{
    gguf_pairs_u32(pairs, key_of(row, rest).text, (uint32_t)value);
}

static void put_f32(struct gguf_pairs *pairs, const struct architecture *row, const char *rest,
                    double value)
{
    gguf_pairs_f32(pairs, key_of(row, rest).text, (float)value);
}

/* As llama.cpp numbers the types of whole files. */
static uint32_t file_type(enum dtype dtype)
{
    static const uint32_t types[DTYPE_COUNT] = {
        [DTYPE_F16] = 1,  [DTYPE_Q4_0] = 2, [DTYPE_Q4_1] = 3,  [DTYPE_Q8_0] = 7,
        [DTYPE_Q5_0] = 8, [DTYPE_Q5_1] = 9, [DTYPE_BF16] = 32,
    };
    return types[dtype];
}

/* That of the embedding stands for all where each tensor keeps its own. */
static void put_types(struct gguf_pairs *pairs, const struct model_save *save)
{
    enum { QUANTIZATION_VERSION = 2 }; /* of the blocks' layouts */
    const enum dtype dtype = save->dtype == DTYPE_COUNT
                                 ? model_tensor(save->source, MODEL_TOKEN_EMBD, 0).dtype
                                 : save->dtype;
    gguf_pairs_u32(pairs, "general.file_type", file_type(dtype));
    if (dtype_block_elements(dtype) > 1)
        gguf_pairs_u32(pairs, "general.quantization_version", QUANTIZATION_VERSION);
}

/* Those that are the same for every source. */
static void put_replaced(struct gguf_pairs *pairs, const struct model_save *save)
{
    const struct model_spec *spec = model_spec(save->source);
    const struct architecture *row = output_gguf_keys_architecture(spec);
    gguf_pairs_u32(pairs, "general.alignment", OUTPUT_GGUF_ALIGNMENT);
    put_types(pairs, save);
    put_u32(pairs, row, "context_length",
            save->context_tokens > 0 ? save->context_tokens : spec->trained_tokens);
    put_f32(pairs, row, "rope.freq_base", save->rope_base > 0 ? save->rope_base : spec->rope_base);
    if (spec->rope_scaling == MODEL_ROPE_YARN)
        put_u32(pairs, row, "rope.scaling.original_context_length", spec->rope_original_tokens);
}

/* What says how the file is laid out. */
static bool is_of_the_file(struct text_view key, bool keeps_types)
{
    static const char split[] = "split.";
    if (text_view_is(key, "general.file_type") || text_view_is(key, "general.quantization_version"))
        return !keeps_types;
    return text_view_is(key, "general.alignment") ||
           (key.bytes > strlen(split) && memcmp(key.text, split, strlen(split)) == 0);
}

static bool is_replaced(struct text_view key, const struct model_spec *spec)
{
    const struct architecture *row = output_gguf_keys_architecture(spec);
    return is_of_the_file(key, false) || text_view_is(key, key_of(row, "context_length").text) ||
           text_view_is(key, key_of(row, "rope.freq_base").text) ||
           (spec->rope_scaling == MODEL_ROPE_YARN &&
            text_view_is(key, key_of(row, "rope.scaling.original_context_length").text));
}

static void copy_keys(struct gguf_pairs *pairs, const struct model_save *save)
{
    const struct gguf *gguf = checkpoint_gguf(model_checkpoint(save->source));
    for (int i = 0; i < gguf_pair_count(gguf); i++)
        if (!is_replaced(gguf_pair(gguf, i)->key, model_spec(save->source)))
            gguf_pairs_copy(pairs, gguf_pair(gguf, i));
}

/* All but what says how the file is laid out. */
static void copy_model(struct gguf_pairs *pairs, const struct model_save *save)
{
    const struct gguf *gguf = checkpoint_gguf(model_checkpoint(save->source));
    const bool keeps_types = save->dtype == DTYPE_COUNT;
    for (int i = 0; i < gguf_pair_count(gguf); i++)
        if (!is_of_the_file(gguf_pair(gguf, i)->key, keeps_types))
            gguf_pairs_copy(pairs, gguf_pair(gguf, i));
    gguf_pairs_u32(pairs, "general.alignment", OUTPUT_GGUF_ALIGNMENT);
    if (!keeps_types)
        put_types(pairs, save);
}

static void put_window(struct gguf_pairs *pairs, const struct model_spec *spec,
                       const struct architecture *row)
{
    put_u32(pairs, row, "attention.sliding_window", spec->window.tokens);
    if (row->gguf_window == ARCHITECTURE_WINDOW_ALL && spec_window_layers(spec) == spec->layers)
        return;
    gguf_pairs_array(pairs, key_of(row, "attention.sliding_window_pattern").text, GGUF_BOOL,
                     (uint64_t)spec->layers);
    for (int layer = 0; layer < spec->layers; layer++)
        gguf_pairs_put_u8(pairs, model_window_covers(&spec->window, layer));
}

static void put_facts(struct gguf_pairs *pairs, const struct model_spec *spec)
{
    const struct architecture *row = output_gguf_keys_architecture(spec);
    gguf_pairs_text(pairs, "general.architecture", text_view_of(row->gguf));
    gguf_pairs_text(pairs, "general.type", text_view_of("model"));
    gguf_pairs_text(pairs, "general.name", spec->name);
    put_u32(pairs, row, "block_count", spec->layers);
    put_u32(pairs, row, "embedding_length", spec->hidden);
    put_u32(pairs, row, "feed_forward_length", spec->ffn);
    put_u32(pairs, row, "attention.head_count", spec->heads);
    put_u32(pairs, row, "attention.head_count_kv", spec->kv_heads);
    put_u32(pairs, row, "attention.key_length", spec->head_dim);
    put_u32(pairs, row, "attention.value_length", spec->head_dim);
    put_f32(pairs, row, "attention.layer_norm_rms_epsilon", (double)spec->norm_eps);
    put_u32(pairs, row, "rope.dimension_count", spec->head_dim);
    put_u32(pairs, row, "vocab_size", spec->vocab);
    if (spec->rope_scaling == MODEL_ROPE_LINEAR) {
        gguf_pairs_text(pairs, key_of(row, "rope.scaling.type").text, text_view_of("linear"));
        put_f32(pairs, row, "rope.scaling.factor", spec->rope_factor);
    }
    if (spec_window_layers(spec) > 0)
        put_window(pairs, spec, row);
}

/* Rows of the embedding without a token get a text of their own: no text may stand twice. */
void output_gguf_keys_put(struct gguf_pairs *pairs, const struct model_save *save)
{
    if (model_save_copies(save)) {
        copy_model(pairs, save);
        return;
    }
    if (checkpoint_gguf(model_checkpoint(save->source))) {
        copy_keys(pairs, save);
        put_replaced(pairs, save);
        return;
    }
    put_facts(pairs, model_spec(save->source));
    put_replaced(pairs, save);
    if (model_vocab(save->source))
        output_gguf_vocab_put(pairs, model_vocab(save->source));
}
