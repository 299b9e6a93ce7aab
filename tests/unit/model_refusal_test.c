/* Which model files are not loaded, though they are readable GGUF: each refusal names what it is
 * about. */
#include "tests/support/unit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "coordinator/cli/describe.h"
#include "proto/model/ggml_type.h"
#include "proto/model/model.h"
#include "tests/support/random.h"
#include "tests/support/tiny_model.h"
#include "tests/support/tiny_vocab.h"

static const struct tiny_model_shape shape = {
    .layers = 2, .hidden = 64, .heads = 4, .kv_heads = 2, .head_dim = 16, .ffn = 96};

/* The last place where `text` stands as a GGUF string. */
static size_t find_text(const struct gguf_writer *file, const char *text)
{
    struct gguf_writer wanted = {0};
    gguf_writer_string(&wanted, text);
    const uint8_t *place = memmem(file->data, file->bytes, wanted.data, wanted.bytes);
    assert_non_null(place);
    gguf_writer_free(&wanted);
    return (size_t)(place - file->data) + 8;
}

static size_t value_of(const struct gguf_writer *file, const char *key)
{
    return find_text(file, key) + strlen(key) + 4;
}

static void set_u32(struct gguf_writer *file, const char *key, uint32_t value)
{
    memcpy(file->data + value_of(file, key), &value, sizeof value);
}

/* Replaces a string by one of the same length. */
static void rename_text(struct gguf_writer *file, const char *from, const char *to)
{
    assert_int_equal(strlen(from), strlen(to));
    memcpy(file->data + find_text(file, from), to, strlen(to));
}

static void retype_tensor(struct gguf_writer *file, const char *name, int dims, uint32_t type)
{
    memcpy(file->data + find_text(file, name) + strlen(name) + 4 + 8 * (size_t)dims, &type,
           sizeof type);
}

static void expect_refusal(struct gguf_writer *file, enum status expected, const char *words)
{
    struct model *model = NULL;
    enum status status = model_parse(&model, file->data, file->bytes, "case");
    if (status != expected || !strstr(status_message(), words))
        print_error("wanted %s: %s, got %s: %s\n", status_name(expected), words,
                    status_name(status), status_message());
    assert_int_equal(status, expected);
    assert_non_null(strstr(status_message(), words));
    assert_null(model);
    gguf_writer_free(file);
}

static struct gguf_writer tiny(void)
{
    struct gguf_writer file = {0};
    tiny_model_build(&file, &shape, 1, DTYPE_F32);
    return file;
}

static void facts_that_cannot_be_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        uint32_t value;
        enum status status;
        const char *words;
    } cases[] = {
        {"llama.block_count", 0, STATUS_DATA_LOSS, "llama.block_count is 0"},
        {"llama.block_count", 1u << 31, STATUS_DATA_LOSS, "llama.block_count is 2147483648"},
        {"llama.block_count", 3, STATUS_DATA_LOSS, "blk.2.attn_norm.weight is missing"},
        {"llama.block_count", 1, STATUS_UNIMPLEMENTED,
         "tensor blk.1.attn_norm.weight has no place"},
        {"llama.attention.head_count", 0, STATUS_DATA_LOSS, "head_count is 0"},
        {"llama.attention.head_count", 8, STATUS_DATA_LOSS, "blk.0.attn_q.weight is 64 x 64"},
        {"llama.attention.head_count_kv", 3, STATUS_DATA_LOSS, "cannot share 3"},
        {"llama.attention.head_count_kv", 8, STATUS_DATA_LOSS, "head_count_kv is 8"},
        {"llama.attention.head_count", 194, STATUS_UNIMPLEMENTED, "194 heads on 2 key-value heads"},
        {"llama.attention.key_length", 15, STATUS_UNIMPLEMENTED, "head dimension of 15"},
        {"llama.attention.key_length", 24, STATUS_UNIMPLEMENTED,
         "head dimension of 24 is not supported; multiples of 16 up to 256 are"},
        {"llama.attention.key_length", 512, STATUS_UNIMPLEMENTED, "head dimension of 512"},
        {"llama.attention.value_length", 8, STATUS_UNIMPLEMENTED, "values of 8"},
        {"llama.rope.dimension_count", 8, STATUS_UNIMPLEMENTED, "8 rotated dimensions"},
        {"llama.embedding_length", 32, STATUS_DATA_LOSS, "tensor token_embd.weight is 265 x 64"},
        {"llama.feed_forward_length", 64, STATUS_DATA_LOSS, "blk.0.ffn_gate.weight is 96 x 64"},
        {"llama.vocab_size", 100, STATUS_DATA_LOSS, "llama.vocab_size says 100"},
        {"llama.context_length", 0, STATUS_DATA_LOSS, "llama.context_length is 0"},
        {"llama.rope.freq_base", 0x7f800000, STATUS_DATA_LOSS, "not a finite number"},
        {"llama.rope.freq_base", 0, STATUS_DATA_LOSS, "rope base of 0"},
        {"llama.attention.layer_norm_rms_epsilon", 0x7fc00000, STATUS_DATA_LOSS, "not a finite"},
        {"llama.attention.layer_norm_rms_epsilon", 0, STATUS_DATA_LOSS, "between 0 and 1"},
        {"tokenizer.ggml.eos_token_id", 265, STATUS_DATA_LOSS, "eos_token_id is 265"},
        {"tokenizer.ggml.bos_token_id", 0xffffffff, STATUS_DATA_LOSS, "bos_token_id"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct gguf_writer file = tiny();
        set_u32(&file, cases[i].key, cases[i].value);
        expect_refusal(&file, cases[i].status, cases[i].words);
    }
}

static void what_is_missing_or_misnamed_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *from;
        const char *to;
        enum status status;
        const char *words;
    } cases[] = {
        {"general.architecture", "general.architectura", STATUS_DATA_LOSS, "general.architecture"},
        {"llama", "gemma", STATUS_UNIMPLEMENTED,
         "architecture gemma is not supported; known: llama, qwen2, qwen3, smollm3, olmo2, "
         "granite, phi3, gemma2, gemma3 ["},
        {"llama", "qwen2", STATUS_DATA_LOSS, "the key qwen2.block_count is missing"},
        {"llama.block_count", "llama.block_kount", STATUS_DATA_LOSS, "llama.block_count"},
        {"blk.1.ffn_up.weight", "blk.1.ffn_ub.weight", STATUS_DATA_LOSS, "blk.1.ffn_up.weight is"},
        {"token_embd.weight", "tokem_embd.weight", STATUS_DATA_LOSS,
         "token_embd.weight is missing"},
        {"tokenizer.ggml.tokens", "tokenizer.ggml.tokenz", STATUS_DATA_LOSS,
         "tokenizer.ggml.tokens"},
        {"tokenizer.ggml.merges", "tokenizer.ggml.mergez", STATUS_DATA_LOSS,
         "the key tokenizer.ggml.merges is missing"},
        {"tokenizer.ggml.token_type", "tokenizer.ggml.token_typf", STATUS_DATA_LOSS,
         "the key tokenizer.ggml.token_type is missing"},
        {"tokenizer.ggml.model", "tokenizer.ggml.modem", STATUS_DATA_LOSS,
         "the key tokenizer.ggml.model is missing"},
        {"h e", "hxe", STATUS_DATA_LOSS, "merge 1"},
        {"h e", " he", STATUS_DATA_LOSS, "merge 1"},
        {"h e", "he ", STATUS_DATA_LOSS, "merge 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct gguf_writer file = tiny();
        rename_text(&file, cases[i].from, cases[i].to);
        expect_refusal(&file, cases[i].status, cases[i].words);
    }
}

static void a_tensor_that_would_be_ignored_is_refused(void **state)
{
    (void)state;
    struct tiny_model_shape untied = shape;
    untied.untied = true;
    struct gguf_writer file = {0};
    tiny_model_build(&file, &untied, 1, DTYPE_F32);
    rename_text(&file, "output.weight", "attn_q.bias_x");
    expect_refusal(&file, STATUS_UNIMPLEMENTED, "tensor attn_q.bias_x has no place");
}

static void a_wrong_token_type_is_refused(void **state)
{
    (void)state;
    static const struct {
        size_t at; /* from the key's value: element type, count, elements */
        uint32_t value;
        const char *words;
    } cases[] = {{12 + 4 * 7, 0, "token 7 has type 0"},
                 {12 + 4 * 264, 7, "token 264 has type 7"},
                 {0, GGUF_F32, "array of f32, it must be an array of i32"}};
    for (size_t i = 0; i < 3; i++) {
        struct gguf_writer file = tiny();
        memcpy(file.data + value_of(&file, "tokenizer.ggml.token_type") + cases[i].at,
               &cases[i].value, 4);
        expect_refusal(&file, STATUS_DATA_LOSS, cases[i].words);
    }
}

static void unsupported_types_are_refused_by_name(void **state)
{
    (void)state;
    /* A row of 256 values has as many bytes in the one type as in the other. */
    static const struct {
        enum dtype made;
        int type;
        const char *words;
    } cases[] = {
        {DTYPE_Q3_K, 21,
         "tensor blk.1.ffn_down.weight has type IQ3_S, which is not supported; F32, F16, BF16, "
         "Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL and IQ4_XS are"},
        {DTYPE_F32, 26, "tensor blk.1.ffn_down.weight has type I32, which is not supported"},
    };
    struct tiny_model_shape wide = shape;
    wide.hidden = 256;
    wide.ffn = 256;
    wide.head_dim = 64;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct gguf_writer file = {0};
        tiny_model_build(&file, &wide, 1, cases[i].made);
        retype_tensor(&file, "blk.1.ffn_down.weight", 2, (uint32_t)cases[i].type);
        expect_refusal(&file, STATUS_UNIMPLEMENTED, cases[i].words);
    }
    struct gguf_writer file = tiny();
    retype_tensor(&file, "blk.0.attn_norm.weight", 1, 26);
    expect_refusal(&file, STATUS_UNIMPLEMENTED, "tensor blk.0.attn_norm.weight has type I32");
}

static void a_row_that_does_not_fill_its_blocks_is_refused_with_both_numbers(void **state)
{
    (void)state;
    static const struct {
        uint32_t type;
        const char *words;
    } cases[] = {
        {12,
         "tensor blk.1.ffn_down.weight: a row of 96 values does not fill whole Q4_K blocks of 256"},
        {13, "a row of 96 values does not fill whole Q5_K blocks of 256"},
        {14, "a row of 96 values does not fill whole Q6_K blocks of 256"},
        {11, "a row of 96 values does not fill whole Q3_K blocks of 256"},
        {23, "a row of 96 values does not fill whole IQ4_XS blocks of 256"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct gguf_writer file = tiny();
        retype_tensor(&file, "blk.1.ffn_down.weight", 2, cases[i].type);
        expect_refusal(&file, STATUS_DATA_LOSS, cases[i].words);
    }
}

static void keys_that_change_the_arithmetic_are_refused_unless_neutral(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        uint32_t value;
        const char *words; /* NULL: neutral */
    } cases[] = {
        {"llama.attention.sliding_window", 4096, NULL},
        {"llama.attention.sliding_window", 0, NULL},
        {"llama.expert_count", 8, "mixture of experts"},
        {"llama.expert_count", 0, NULL},
        {"llama.attention.causal", 0, "not causal"},
        {"llama.attention.causal", 1, NULL},
        {"llama.logit_scale", 2, "scaled logits"},
        {"split.count", 3, "several files"},
        {"split.count", 1, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct gguf_writer file = tiny();
        struct gguf_writer pairs = {0};
        gguf_writer_pair_u32(&pairs, cases[i].key, cases[i].value);
        gguf_writer_insert_pairs(&file, &pairs, 1);
        if (cases[i].words) {
            expect_refusal(&file, STATUS_UNIMPLEMENTED, cases[i].words);
            continue;
        }
        struct model *model;
        assert_int_equal(model_parse(&model, file.data, file.bytes, "case"), STATUS_OK);
        model_close(model);
        gguf_writer_free(&file);
    }
}

/* A model of seven tokens whose tokenizer has other numbers of tokens and types. */
static struct gguf_writer with_tokenizer(int tokens, int types)
{
    struct tiny_model_shape mute = shape;
    mute.no_tokenizer = true;
    mute.vocab = 7;
    struct gguf_writer file = {0};
    struct gguf_writer pairs = {0};
    tiny_model_build(&file, &mute, 1, DTYPE_F32);
    gguf_writer_pair_text(&pairs, "tokenizer.ggml.model", "gpt2");
    gguf_writer_array(&pairs, "tokenizer.ggml.tokens", GGUF_STRING, (uint64_t)tokens);
    for (int i = 0; i < tokens; i++)
        gguf_writer_string(&pairs, "token");
    gguf_writer_array(&pairs, "tokenizer.ggml.token_type", GGUF_I32, (uint64_t)types);
    for (int i = 0; i < types; i++)
        gguf_writer_u32(&pairs, VOCAB_NORMAL);
    gguf_writer_array(&pairs, "tokenizer.ggml.merges", GGUF_STRING, 0);
    gguf_writer_insert_pairs(&file, &pairs, 4);
    return file;
}

static void a_tokenizer_of_another_size_is_refused(void **state)
{
    (void)state;
    struct gguf_writer file = with_tokenizer(6, 6);
    expect_refusal(&file, STATUS_DATA_LOSS, "tokenizer has 6 tokens, token_embd.weight 7 rows");
    file = with_tokenizer(8, 8);
    expect_refusal(&file, STATUS_DATA_LOSS, "tokenizer has 8 tokens, token_embd.weight 7 rows");
    file = with_tokenizer(7, 6);
    expect_refusal(&file, STATUS_DATA_LOSS, "6 token types for 7 tokens");
    file = with_tokenizer(0, 0);
    expect_refusal(&file, STATUS_DATA_LOSS, "0 tokens; 1 ..");
    struct model *model;
    file = with_tokenizer(7, 7);
    assert_int_equal(model_parse(&model, file.data, file.bytes, "case"), STATUS_OK);
    model_close(model);
    gguf_writer_free(&file);
}

static void per_layer_head_counts_are_refused(void **state)
{
    (void)state;
    struct gguf_writer file = tiny();
    struct gguf_writer pairs = {0};
    rename_text(&file, "llama.attention.head_count_kv", "llama.attentiom.head_count_kv");
    gguf_writer_array(&pairs, "llama.attention.head_count_kv", GGUF_U32, 2);
    gguf_writer_u64(&pairs, 2ull << 32 | 2);
    gguf_writer_insert_pairs(&file, &pairs, 1);
    expect_refusal(&file, STATUS_UNIMPLEMENTED, "for each layer");
}

static struct gguf_writer with_scaling(const char *kind, float factor)
{
    struct gguf_writer file = tiny();
    struct gguf_writer pairs = {0};
    gguf_writer_pair_text(&pairs, "llama.rope.scaling.type", kind);
    gguf_writer_pair_f32(&pairs, "llama.rope.scaling.factor", factor);
    gguf_writer_pair_u32(&pairs, "llama.rope.scaling.original_context_length", 512);
    gguf_writer_insert_pairs(&file, &pairs, 3);
    return file;
}

static void rope_scaling_of_the_file_is_applied_or_refused_by_name(void **state)
{
    (void)state;
    struct gguf_writer file = with_scaling("mrope", 4);
    expect_refusal(&file, STATUS_UNIMPLEMENTED, "rope scaling mrope is not supported");
    file = with_scaling("longrope", 4);
    expect_refusal(&file, STATUS_DATA_LOSS, "the tensor rope_factors_short.weight is missing");
    file = with_scaling("linear", 0.25f);
    expect_refusal(&file, STATUS_DATA_LOSS, "factor of 0.25");
    struct model *model;
    file = with_scaling("linear", 4);
    assert_int_equal(model_parse(&model, file.data, file.bytes, "case"), STATUS_OK);
    assert_true(model_spec(model)->inv_freq[0] == 0.25 && model_spec(model)->rope_mscale == 1);
    model_close(model);
    gguf_writer_free(&file);
    file = with_scaling("yarn", 4);
    assert_int_equal(model_parse(&model, file.data, file.bytes, "case"), STATUS_OK);
    const struct model_spec *spec = model_spec(model);
    /* As transformers' _compute_yarn_parameters: dim 16, base 10000, factor 4, from 512 tokens. */
    static const double expected[8] = {1.0,    0.25693505989,    0.0625,  0.01383496476,
                                       0.0025, 0.00079056941509, 0.00025, 0.0000790569415};
    for (int i = 0; i < 8; i++)
        if (fabs(spec->inv_freq[i] / expected[i] - 1) > 1e-6)
            print_error("%d: %.9g, wanted %.9g\n", i, spec->inv_freq[i], expected[i]);
    for (int i = 0; i < 8; i++)
        assert_true(fabs(spec->inv_freq[i] / expected[i] - 1) < 1e-6);
    assert_true(spec->rope_mscale == (double)1.1386294361119891f);
    model_close(model);
    gguf_writer_free(&file);
}

static struct gguf_writer with_long_rope(void)
{
    struct tiny_model_shape stretched = shape;
    struct gguf_writer file = {0};
    stretched.long_rope = 512;
    tiny_model_build(&file, &stretched, 1, DTYPE_F32);
    return file;
}

static void two_tensors_of_factors_are_longrope(void **state)
{
    (void)state;
    struct gguf_writer file = with_long_rope();
    struct model *model;
    assert_int_equal(model_parse(&model, file.data, file.bytes, "case"), STATUS_OK);
    const struct model_spec *spec = model_spec(model);
    assert_int_equal(spec->rope_scaling, MODEL_ROPE_LONGROPE);
    assert_int_equal(spec->rope_original_tokens, 512);
    assert_true(spec->rope_mscale == (double)(float)sqrt(1 + log(4) / log(512)));
    for (int i = 0; i < 8; i++) {
        struct spec_rotation rotation;
        const double plain = pow(10000, -i / 8.0);
        assert_true(fabs(spec->inv_freq[i] * (1 + i / 8.0) / plain - 1) < 2e-7);
        const struct frequencies longer = spec_frequencies(spec, 513);
        spec_rotation_make(&rotation, spec, &longer, 0);
        assert_true(fabs(rotation.inv_freq[i] * (2 + i) / plain - 1) < 2e-7);
    }
    model_close(model);
    gguf_writer_free(&file);
    file = with_long_rope();
    rename_text(&file, "rope_factors_long.weight", "rope_factors_lang.weight");
    expect_refusal(&file, STATUS_DATA_LOSS, "the tensor rope_factors_long.weight is missing");
}

static struct gguf_writer with_float(const char *key, float value)
{
    struct gguf_writer file = tiny();
    struct gguf_writer pairs = {0};
    gguf_writer_pair_f32(&pairs, key, value);
    gguf_writer_insert_pairs(&file, &pairs, 1);
    return file;
}

/* As directory_test compares a file with config.json; what config.json cannot say is here. */
static void no_key_of_rope_is_ignored(void **state)
{
    (void)state;
    struct gguf_writer file = with_float("llama.rope.scaling.attn_factor", 1.5f);
    struct model *model;
    assert_int_equal(model_parse(&model, file.data, file.bytes, "case"), STATUS_OK);
    assert_int_equal(model_spec(model)->rope_scaling, MODEL_ROPE_NONE);
    assert_true(model_spec(model)->rope_mscale == 1.5 && model_spec(model)->inv_freq[0] == 1);
    model_close(model);
    gguf_writer_free(&file);
    static const struct {
        const char *key;
        float value;
        enum status status;
        const char *words; /* NULL: neutral */
    } cases[] = {
        {"llama.rope.scaling.attn_factor", 0, STATUS_DATA_LOSS, "attention factor of 0"},
        {"llama.rope.scaling.attn_factor", -1, STATUS_DATA_LOSS, "attention factor of -1"},
        {"llama.rope.scaling.yarn_attn_factor", 1.3f, STATUS_UNIMPLEMENTED,
         "llama.rope.scaling.yarn_attn_factor = 1.3 is not supported without YaRN"},
        {"llama.rope.scaling.yarn_attn_factor", 1, STATUS_OK, NULL},
        {"llama.rope.scaling.yarn_ext_factor", 1, STATUS_UNIMPLEMENTED, "yarn_ext_factor = 1 is"},
        {"llama.rope.scaling.yarn_ext_factor", 0, STATUS_OK, NULL},
        {"llama.rope.scaling.yarn_log_multiplier", 0.1f, STATUS_UNIMPLEMENTED, "log multiplier"},
        {"llama.rope.freq_base_swa", 1e4f, STATUS_UNIMPLEMENTED,
         "key llama.rope.freq_base_swa is not supported in this architecture"},
        {"llama.rope.scaling.factor", 0, STATUS_OK, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        file = with_float(cases[i].key, cases[i].value);
        if (cases[i].words) {
            expect_refusal(&file, cases[i].status, cases[i].words);
            continue;
        }
        assert_int_equal(model_parse(&model, file.data, file.bytes, "case"), STATUS_OK);
        assert_int_equal(model_spec(model)->rope_scaling, MODEL_ROPE_NONE);
        assert_true(model_spec(model)->rope_mscale == 1 && model_spec(model)->inv_freq[0] == 1);
        model_close(model);
        gguf_writer_free(&file);
    }
}

static void a_huge_context_length_is_no_limit(void **state)
{
    (void)state;
    static const uint64_t lengths[] = {(uint64_t)MODEL_TOKENS_MAX + 1, INT64_MAX, UINT64_MAX};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        struct gguf_writer file = tiny();
        struct gguf_writer pairs = {0};
        struct model *model;
        rename_text(&file, "llama.context_length", "llama.kontext_length");
        gguf_writer_key(&pairs, "llama.context_length", GGUF_U64);
        gguf_writer_u64(&pairs, lengths[i]);
        gguf_writer_insert_pairs(&file, &pairs, 1);
        assert_int_equal(model_parse(&model, file.data, file.bytes, "case"), STATUS_OK);
        assert_int_equal(model_spec(model)->trained_tokens, MODEL_TOKENS_MAX);
        model_close(model);
        gguf_writer_free(&file);
    }
}

static void every_truncation_of_a_model_is_refused(void **state)
{
    (void)state;
    struct tiny_model_shape least = {
        .layers = 1, .hidden = 32, .heads = 2, .kv_heads = 1, .head_dim = 16, .ffn = 32};
    struct gguf_writer file = {0};
    tiny_model_build(&file, &least, 1, DTYPE_Q4_0);
    for (size_t bytes = 0; bytes < file.bytes; bytes++) {
        uint8_t *copy = malloc(bytes + 1);
        assert_non_null(copy);
        memcpy(copy + 1, file.data, bytes); /* the last byte is the allocation's last */
        struct model *model;
        assert_int_equal(model_parse(&model, copy + 1, bytes, "part"), STATUS_DATA_LOSS);
        free(copy);
    }
    gguf_writer_free(&file);
}

static void a_flipped_bit_gives_a_model_or_a_sentence(void **state)
{
    (void)state;
    enum { SEED = 20251 };
    print_message("seed %d\n", SEED);
    struct tiny_model_shape least = {
        .layers = 1, .hidden = 32, .heads = 2, .kv_heads = 1, .head_dim = 16, .ffn = 32};
    struct gguf_writer file = {0};
    struct random random = {SEED};
    tiny_model_build(&file, &least, 1, DTYPE_Q4_0);
    size_t header = find_text(&file, "output_norm.weight") + 60;
    int refused = 0;
    for (size_t at = 0; at < header; at++) {
        int bit = (int)random_between(&random, 0, 8);
        file.data[at] ^= (uint8_t)(1 << bit);
        struct model *model = NULL;
        enum status status = model_parse(&model, file.data, file.bytes, "flip");
        assert_true(status == STATUS_OK || strncmp(status_message(), "flip: ", 6) == 0);
        refused += status != STATUS_OK;
        model_close(model);
        file.data[at] ^= (uint8_t)(1 << bit);
    }
    print_message("%d of %zu flips refused\n", refused, header);
    assert_true(refused > (int)header / 4);
    gguf_writer_free(&file);
}

/* What `describe` writes about these bytes. */
static char *describe_bytes(const struct gguf_writer *file,
                            enum status (*describe)(FILE *out, const char *path))
{
    char path[] = "/tmp/longhaul-describe-test-XXXXXX";
    int descriptor = mkstemp(path);
    assert_true(descriptor >= 0);
    assert_int_equal(write(descriptor, file->data, file->bytes), (ssize_t)file->bytes);
    close(descriptor);
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    assert_non_null(out);
    assert_int_equal(describe(out, path), STATUS_OK);
    fclose(out);
    unlink(path);
    return text;
}

static void expect_words(const struct gguf_writer *file, const char *text_words,
                         const char *json_words)
{
    char *text = describe_bytes(file, describe_text);
    char *json = describe_bytes(file, describe_json);
    if (!strstr(text, text_words) || !strstr(json, json_words))
        print_error("%s\n%s\n", text, json);
    assert_non_null(strstr(text, text_words));
    assert_non_null(strstr(json, json_words));
    assert_null(strchr(text, '\x1b'));
    free(text);
    free(json);
}

static void a_file_is_described_whether_it_is_supported_or_not(void **state)
{
    (void)state;
    struct gguf_writer file = tiny();
    expect_words(&file, "2  F32      blk.*.ffn_down.weight [64, 96]", "\"supported\": true");
    expect_words(&file, "supported      yes\n", "\"layers\": 2");
    expect_words(&file, "  chat form    the model's own\n", "\"chat_form\": \"the model's own\"");
    expect_words(&file, "supported      yes\n", "\"qkv_bias\": false");
    struct tiny_model_shape full = shape;
    struct gguf_writer other = {0};
    full.qkv_bias = full.mlp_bias = true;
    tiny_model_build(&other, &full, 1, DTYPE_F32);
    expect_words(&other, "with           biases of queries, keys and values\n",
                 "\"qkv_bias\": true");
    expect_words(&other, "               biases of the feed-forward part\n", "\"mlp_bias\": true");
    gguf_writer_free(&other);
    full = (struct tiny_model_shape){.layers = 2,
                                     .hidden = 64,
                                     .heads = 4,
                                     .kv_heads = 2,
                                     .head_dim = 16,
                                     .ffn = 96,
                                     .window = 40,
                                     .window_layers = 2};
    tiny_model_build(&other, &full, 1, DTYPE_F32);
    expect_words(&other, "sliding window 40 tokens on 1 of 2 layers\n", "\"window_layers\": [\n");
    gguf_writer_free(&other);
    rename_text(&file, "tiny random model", "\x1b[31m random mode");
    rename_text(&file, "llama", "gemma");
    expect_words(&file, "general.name = .[31m random mode", "\"supported\": false");
    expect_words(&file, "supported      no: ", "architecture gemma is not supported");
    gguf_writer_free(&file);
}

/* Supported is what a run would do, not what a part of it would. */
static void what_cannot_be_run_is_not_supported(void **state)
{
    (void)state;
    static const struct {
        const char *from;
        const char *to;
        const char *words; /* after "supported" in text, and anywhere in JSON */
    } cases[] = {
        {"gpt2", "bert", "no: tokenizer model \"bert\" (tokenizer.ggml.model) is not supported"},
        {"smollm", "qwen2x", "no: pre-tokenizer \"qwen2x\""},
        {"h e", "h t", "no: merge 1 (tokenizer.ggml.merges) needs"},
        {"tokenizer.chat_template", "tokenizer.chat_templatf",
         "yes, without a chat form: the model has no chat template"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text_words[160];
        struct gguf_writer file = tiny();
        rename_text(&file, cases[i].from, cases[i].to);
        snprintf(text_words, sizeof text_words, "supported      %s", cases[i].words);
        bool is_supported = strncmp(cases[i].words, "yes", 3) == 0;
        expect_words(&file, text_words,
                     is_supported ? "\"chat_form\": null" : "\"supported\": false");
        gguf_writer_free(&file);
    }
    struct tiny_model_shape mute = shape;
    mute.no_tokenizer = true;
    struct gguf_writer file = {0};
    tiny_model_build(&file, &mute, 1, DTYPE_F32);
    expect_words(&file, "supported      no: /tmp", "holds no tokenizer\"");
    gguf_writer_free(&file);
    file = tiny();
    set_u32(&file, "llama.attention.key_length", 24);
    expect_words(&file, "supported      no: ", "a head dimension of 24 is not supported");
    expect_words(&file, "  merges       6", "\"merges\": 6");
    gguf_writer_free(&file);
    struct tiny_model_shape odd = shape;
    odd.ffn = 33;
    tiny_model_build(&file, &odd, 1, DTYPE_F32);
    expect_words(&file, "supported      yes on CPUs (GPUs take", "\"suits_gpu\": false");
    gguf_writer_free(&file);
    tiny_vocab_build(&file, &(struct tiny_vocab_args){.kind = NULL});
    expect_words(&file, "supported      no: /tmp", "holds a vocabulary without weights");
    expect_words(&file, "  splits as    smollm", "\"supported\": false");
    gguf_writer_free(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(facts_that_cannot_be_are_refused),
        cmocka_unit_test(what_is_missing_or_misnamed_is_named),
        cmocka_unit_test(a_tensor_that_would_be_ignored_is_refused),
        cmocka_unit_test(a_wrong_token_type_is_refused),
        cmocka_unit_test(unsupported_types_are_refused_by_name),
        cmocka_unit_test(a_row_that_does_not_fill_its_blocks_is_refused_with_both_numbers),
        cmocka_unit_test(keys_that_change_the_arithmetic_are_refused_unless_neutral),
        cmocka_unit_test(a_tokenizer_of_another_size_is_refused),
        cmocka_unit_test(per_layer_head_counts_are_refused),
        cmocka_unit_test(rope_scaling_of_the_file_is_applied_or_refused_by_name),
        cmocka_unit_test(two_tensors_of_factors_are_longrope),
        cmocka_unit_test(no_key_of_rope_is_ignored),
        cmocka_unit_test(a_huge_context_length_is_no_limit),
        cmocka_unit_test(every_truncation_of_a_model_is_refused),
        cmocka_unit_test(a_flipped_bit_gives_a_model_or_a_sentence),
        cmocka_unit_test(a_file_is_described_whether_it_is_supported_or_not),
        cmocka_unit_test(what_cannot_be_run_is_not_supported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
