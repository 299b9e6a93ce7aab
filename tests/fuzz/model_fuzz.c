/* Feeds bytes to the whole reading of a model file (container, facts, tensors, vocabulary) and
 * touches every view that a file which opens has promised.
 */
#include <assert.h>
#include <string.h>

#include "proto/model/model.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/tiny_model.h"

static volatile unsigned sink;

static void touch(const void *data, size_t bytes)
{
    const uint8_t *view = data;
    if (bytes > 0)
        sink += (unsigned)view[0] + view[bytes - 1];
}

static void touch_tensors(const struct model *model)
{
    for (int layer = 0; layer < model_spec(model)->layers; layer++)
        for (int role = 0; role < MODEL_ROLE_COUNT; role++) {
            struct model_tensor tensor = model_tensor(model, (enum model_role)role, layer);
            if (!tensor.data)
                continue;
            size_t row_bytes = dtype_row_bytes(tensor.dtype, tensor.columns);
            assert(row_bytes > 0 && tensor.rows > 0);
            touch(tensor.data, row_bytes * (size_t)tensor.rows);
        }
}

static void touch_vocab(const struct vocab *vocab)
{
    for (int32_t id = 0; id < vocab_count(vocab); id++) {
        struct vocab_token token = vocab_token(vocab, id);
        touch(token.text, token.bytes);
    }
    for (int32_t priority = 0; priority < vocab_merge_count(vocab); priority++) {
        struct vocab_merge merge = vocab_merge(vocab, priority);
        assert(merge.left_bytes > 0 && merge.right_bytes > 0);
        touch(merge.left, merge.left_bytes);
        touch(merge.right, merge.right_bytes);
    }
    assert(vocab_special(vocab).eos < vocab_count(vocab));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct model *model;
    if (model_parse(&model, data, bytes, "input") != STATUS_OK) {
        assert(status_message()[0] != 0);
        return 0;
    }
    touch_tensors(model);
    if (model_vocab(model))
        touch_vocab(model_vocab(model));
    model_close(model);
    return 0;
}

/* Small ones, so that a fuzzer gets through many: a model of a few hundred numbers, and a file of
 * many types of values. */
static void write_small(struct gguf_writer *file, int index)
{
    struct tiny_model_shape shape = {.layers = 1,
                                     .hidden = 4,
                                     .heads = 1,
                                     .kv_heads = 1,
                                     .head_dim = 4,
                                     .ffn = 4,
                                     .vocab = 3,
                                     .rope_factors = true,
                                     .no_tokenizer = true};
    if (index == 0) {
        tiny_model_build(file, &shape, 1, DTYPE_F16);
        return;
    }
    gguf_writer_header(file, 0, 6);
    gguf_writer_pair_bool(file, "bool", 1);
    gguf_writer_key(file, "f64", GGUF_F64);
    gguf_writer_u64(file, 0x3ff0000000000000);
    gguf_writer_pair_text(file, "general.architecture", "llama");
    gguf_writer_array(file, "tokenizer.ggml.token_type", GGUF_I32, 2);
    gguf_writer_u32(file, 1);
    gguf_writer_u32(file, 3);
    gguf_writer_array(file, "tokenizer.ggml.merges", GGUF_STRING, 2);
    gguf_writer_string(file, "a b");
    gguf_writer_string(file, "\u0120 \u4e00");
    gguf_writer_array(file, "flags", GGUF_BOOL, 3);
    for (uint8_t i = 0; i < 3; i++)
        gguf_writer_u8(file, i % 2);
}

size_t fuzz_seed(int index, uint8_t *data, size_t room)
{
    static const enum dtype dtypes[] = {DTYPE_F32, DTYPE_Q4_0, DTYPE_Q8_0, DTYPE_BF16};
    struct tiny_model_shape shape = {.layers = 1 + index % 2,
                                     .hidden = 32,
                                     .heads = 2,
                                     .kv_heads = 1,
                                     .head_dim = 16,
                                     .ffn = 32};
    enum { MODELS = 8, SMALL = 2 };
    if (index >= MODELS + SMALL)
        return 0;
    shape.untied = index >= 4;
    shape.rope_factors = index % 3 == 0;
    shape.architecture = index % 4 == 2 ? "qwen2" : index % 4 == 3 ? "qwen3" : NULL;
    shape.qkv_bias = index > 0;
    shape.qk_norm = index % 4 == 3;
    shape.output_bias = shape.mlp_bias = index % 4 == 1;
    shape.window = index == 5 ? 9 : 0;
    struct gguf_writer file = {0};
    if (index < MODELS)
        tiny_model_build(&file, &shape, (uint64_t)index, dtypes[index % 4]);
    else
        write_small(&file, index - MODELS);
    size_t bytes = file.bytes;
    assert(bytes <= room);
    memcpy(data, file.data, bytes);
    gguf_writer_free(&file);
    return bytes;
}
