/* A model file's facts, tensors and vocabulary, on small files made here and on the real one where
 * it is given. */
#include "tests/support/unit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "proto/model/digest.h"
#include "proto/model/model.h"
#include "tests/support/quantize.h"
#include "tests/support/random.h"
#include "tests/support/tiny_model.h"

static const char *real_model; /* LONGHAUL_TEST_MODEL; NULL where it is not set */

static const struct tiny_model_shape shape = {
    .layers = 2, .hidden = 64, .heads = 4, .kv_heads = 2, .head_dim = 16, .ffn = 96};

static struct model *open_tiny(struct gguf_writer *file, const struct tiny_model_shape *of,
                               enum dtype dtype)
{
    struct model *model = NULL;
    tiny_model_build(file, of, 1, dtype);
    enum status status = model_parse(&model, file->data, file->bytes, "tiny");
    if (status != STATUS_OK)
        print_error("%s\n", status_message());
    assert_int_equal(status, STATUS_OK);
    return model;
}

static void a_tiny_model_has_the_facts_it_was_made_with(void **state)
{
    (void)state;
    struct gguf_writer file = {0};
    struct model *model = open_tiny(&file, &shape, DTYPE_Q4_1);
    const struct model_spec *spec = model_spec(model);
    assert_int_equal(spec->layers, 2);
    assert_int_equal(spec->hidden, 64);
    assert_int_equal(spec->heads, 4);
    assert_int_equal(spec->kv_heads, 2);
    assert_int_equal(spec->head_dim, 16);
    assert_int_equal(spec->ffn, 96);
    assert_int_equal(spec->vocab, TINY_MODEL_VOCAB_MIN);
    assert_int_equal(spec->trained_tokens, 2048);
    const struct model_shape planned = spec_shape(spec, 7);
    const int64_t told[] = {2, 64, 4, 2, 16, 96, TINY_MODEL_VOCAB_MIN, 2048, 7, 0};
    const int64_t sizes[] = {planned.layers,       planned.hidden,         planned.heads,
                             planned.kv_heads,     planned.head_dim,       planned.ffn,
                             planned.vocab,        planned.trained_tokens, planned.weights_bytes,
                             planned.window.tokens};
    assert_memory_equal(sizes, told, sizeof told);
    assert_false(planned.qkv_bias || planned.output_bias || planned.mlp_bias || planned.qk_norm);
    assert_true(spec->tied_output && spec->interleaved_qk);
    assert_true(text_view_is(spec->architecture, "llama"));
    assert_int_equal(spec->rope_scaling, MODEL_ROPE_NONE);
    assert_true(spec->inv_freq[0] == 1.0);
    model_close(model);
    gguf_writer_free(&file);
}

static void every_supported_type_opens_with_the_shapes_of_the_model(void **state)
{
    (void)state;
    for (int d = 0; d < DTYPE_COUNT; d++) {
        enum dtype dtype = (enum dtype)d;
        bool is_super = dtype_block_elements(dtype) == 256;
        struct gguf_writer file = {0};
        struct tiny_model_shape untied = shape;
        untied.untied = true;
        untied.hidden = is_super ? 256 : shape.hidden;
        untied.head_dim = is_super ? 64 : shape.head_dim;
        untied.ffn = is_super ? 512 : shape.ffn;
        struct model *model = open_tiny(&file, &untied, dtype);
        struct model_tensor down = model_tensor(model, MODEL_FFN_DOWN, 1);
        assert_int_equal(down.dtype, dtype);
        assert_int_equal(down.rows, untied.hidden);
        assert_int_equal(down.columns, untied.ffn);
        struct model_tensor keys = model_tensor(model, MODEL_ATTN_K, 0);
        assert_int_equal(keys.rows, untied.kv_heads * untied.head_dim);
        assert_int_equal(keys.columns, untied.hidden);
        assert_int_equal(model_tensor(model, MODEL_FFN_NORM, 0).dtype, DTYPE_F32);
        assert_ptr_not_equal(model_tensor(model, MODEL_OUTPUT, 0).data,
                             model_tensor(model, MODEL_TOKEN_EMBD, 0).data);
        model_close(model);
        gguf_writer_free(&file);
    }
}

/* What other tests build their models with: each format within one step of its own. */
static void quantised_rows_come_back_close_to_what_they_were_made_of(void **state)
{
    (void)state;
    static const float allowed[DTYPE_COUNT] = {
        [DTYPE_F32] = 0,         [DTYPE_F16] = 0x1p-11f,  [DTYPE_BF16] = 0x1p-8f,
        [DTYPE_Q8_0] = 1 / 200., [DTYPE_Q4_0] = 1 / 7.,   [DTYPE_Q4_1] = 1 / 14.,
        [DTYPE_Q5_0] = 1 / 15.,  [DTYPE_Q5_1] = 1 / 30.,  [DTYPE_Q4_K] = 1 / 12.,
        [DTYPE_Q5_K] = 1 / 20.,  [DTYPE_Q6_K] = 1 / 50.,  [DTYPE_Q3_K] = 1 / 5.,
        [DTYPE_IQ4_NL] = 1 / 9., [DTYPE_IQ4_XS] = 1 / 7., [DTYPE_Q2_K] = 1 / 2.5,
    };
    enum { ELEMENTS = 512 };
    struct random random = {5};
    float in[ELEMENTS], out[ELEMENTS];
    uint8_t row[ELEMENTS * sizeof(float)];
    for (int i = 0; i < ELEMENTS; i++)
        in[i] = random_float(&random) * (i % 256 < 128 ? 1 : 0.9f);
    for (int d = 0; d < DTYPE_COUNT; d++) {
        quantize_row(row, in, (enum dtype)d, ELEMENTS);
        dtype_dequantize_row(out, row, (enum dtype)d, ELEMENTS);
        for (int i = 0; i < ELEMENTS; i++)
            if (fabsf(out[i] - in[i]) > allowed[d])
                fail_msg("%s: %g came back as %g", dtype_name((enum dtype)d), (double)in[i],
                         (double)out[i]);
    }
}

static void a_tied_output_is_the_embedding(void **state)
{
    (void)state;
    struct gguf_writer file = {0};
    struct model *model = open_tiny(&file, &shape, DTYPE_F32);
    assert_ptr_equal(model_tensor(model, MODEL_OUTPUT, 0).data,
                     model_tensor(model, MODEL_TOKEN_EMBD, 0).data);
    model_close(model);
    gguf_writer_free(&file);
}

static void the_vocabulary_has_the_tokens_and_merges_of_the_file(void **state)
{
    (void)state;
    struct gguf_writer file = {0};
    struct tiny_model_shape padded = shape;
    padded.vocab = 300;
    struct model *model = open_tiny(&file, &padded, DTYPE_F32);
    const struct vocab *vocab = model_vocab(model);
    assert_int_equal(vocab_count(vocab), 300);
    assert_true(text_view_is(vocab_kind(vocab), "gpt2"));
    assert_true(text_view_is(vocab_pre(vocab), "smollm"));
    struct vocab_token space = vocab_token(vocab, TINY_MODEL_BYTE_0 + ' ');
    assert_int_equal(space.bytes, 2);
    assert_memory_equal(space.text, "\u0120", 2);
    assert_int_equal(vocab_token(vocab, TINY_MODEL_IM_END).type, VOCAB_CONTROL);
    assert_int_equal(vocab_token(vocab, 299).type, VOCAB_UNUSED);
    struct vocab_merge the = vocab_merge(vocab, 2);
    assert_int_equal(the.left_bytes, 3);
    assert_memory_equal(the.left, "\u0120t", 3);
    assert_int_equal(the.right_bytes, 2);
    assert_memory_equal(the.right, "he", 2);
    assert_int_equal(vocab_special(vocab).eos, TINY_MODEL_IM_END);
    assert_int_equal(vocab_special(vocab).eot, -1);
    assert_int_equal(vocab_add_bos(vocab), VOCAB_FLAG_OFF);
    assert_int_equal(vocab_add_eos(vocab), VOCAB_FLAG_ABSENT);
    assert_true(vocab_chat_template(vocab).bytes > 0);
    model_close(model);
    gguf_writer_free(&file);
}

static void a_file_without_a_tokenizer_opens_without_one(void **state)
{
    (void)state;
    struct gguf_writer file = {0};
    struct tiny_model_shape mute = shape;
    mute.no_tokenizer = true;
    mute.vocab = 7;
    struct model *model = open_tiny(&file, &mute, DTYPE_F32);
    assert_null(model_vocab(model));
    assert_int_equal(model_spec(model)->vocab, 7);
    model_close(model);
    gguf_writer_free(&file);
}

static void rows_of_interleaved_heads_are_put_back(void **state)
{
    (void)state;
    struct model_spec spec = {.head_dim = 8, .interleaved_qk = true};
    static const int expected[16] = {0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15};
    for (int row = 0; row < 16; row++)
        assert_int_equal(spec_qk_row(&spec, row), expected[row]);
    spec.interleaved_qk = false;
    assert_int_equal(spec_qk_row(&spec, 5), 5);
}

static void rope_factors_divide_the_frequencies(void **state)
{
    (void)state;
    struct gguf_writer plain_file = {0};
    struct gguf_writer file = {0};
    struct tiny_model_shape with_factors = shape;
    with_factors.rope_factors = true;
    struct model *plain = open_tiny(&plain_file, &shape, DTYPE_F32);
    struct model *model = open_tiny(&file, &with_factors, DTYPE_F32);
    const struct checkpoint *checkpoint = model_checkpoint(model);
    const struct checkpoint_tensor *tensor =
        checkpoint_tensor(checkpoint, checkpoint_find_tensor(checkpoint, "rope_freqs.weight"));
    assert_int_equal(model_spec(model)->rope_scaling, MODEL_ROPE_FACTORS);
    for (int i = 0; i < 8; i++) {
        float factor;
        memcpy(&factor, tensor->data + 4 * i, sizeof factor);
        float expected = (float)(model_spec(plain)->inv_freq[i] / (double)factor);
        assert_true(model_spec(model)->inv_freq[i] == (double)expected);
    }
    model_close(plain);
    model_close(model);
    gguf_writer_free(&plain_file);
    gguf_writer_free(&file);
}

static void a_file_on_disk_reads_as_the_same_bytes_in_memory(void **state)
{
    (void)state;
    char path[] = "/tmp/longhaul-model-test-XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    tiny_model_write(path, &shape, 1, DTYPE_Q8_0);
    struct model *from_disk;
    assert_int_equal(model_open(&from_disk, path), STATUS_OK);
    struct gguf_writer bytes = {0};
    struct model *from_memory = open_tiny(&bytes, &shape, DTYPE_Q8_0);
    char disk_hex[DIGEST_HEX_BYTES];
    char memory_hex[DIGEST_HEX_BYTES];
    digest_model(disk_hex, from_disk);
    digest_model(memory_hex, from_memory);
    assert_string_equal(disk_hex, memory_hex);
    assert_int_equal(strlen(disk_hex), 32);
    model_close(from_disk);
    model_close(from_memory);
    bytes.data[bytes.bytes - 1] ^= 1;
    assert_int_equal(model_parse(&from_memory, bytes.data, bytes.bytes, "tiny"), STATUS_OK);
    digest_model(memory_hex, from_memory);
    assert_string_not_equal(disk_hex, memory_hex);
    model_close(from_memory);
    gguf_writer_free(&bytes);
    unlink(path);
}

static void the_real_model_has_the_facts_of_smollm2(void **state)
{
    (void)state;
    if (!real_model) {
        print_message("SKIPPED, loudly: LONGHAUL_TEST_MODEL names no model file\n");
        skip();
    }
    struct model *model;
    enum status status = model_open(&model, real_model);
    if (status != STATUS_OK)
        print_error("%s\n", status_message());
    assert_int_equal(status, STATUS_OK);
    const struct model_spec *spec = model_spec(model);
    assert_int_equal(spec->layers, 30);
    assert_int_equal(spec->hidden, 576);
    assert_int_equal(spec->heads, 9);
    assert_int_equal(spec->kv_heads, 3);
    assert_int_equal(spec->head_dim, 64);
    assert_int_equal(spec->ffn, 1536);
    assert_int_equal(spec->vocab, 49152);
    assert_int_equal(spec->trained_tokens, 8192);
    assert_true(spec->norm_eps == 1e-5f && spec->rope_base == 100000.0 && spec->tied_output);
    assert_string_equal(spec->file_type, "Q4_1");
    assert_int_equal(model_tensor(model, MODEL_OUTPUT, 0).dtype, DTYPE_Q8_0);
    assert_int_equal(model_tensor(model, MODEL_ATTN_Q, 29).dtype, DTYPE_Q4_1);
    const struct vocab *vocab = model_vocab(model);
    assert_int_equal(vocab_merge_count(vocab), 48900);
    assert_int_equal(vocab_special(vocab).bos, 1);
    assert_int_equal(vocab_special(vocab).eos, 2);
    assert_int_equal(vocab_token(vocab, 16).type, VOCAB_CONTROL);
    assert_int_equal(vocab_token(vocab, 17).type, VOCAB_NORMAL);
    model_close(model);
}

int main(void)
{
    real_model = getenv("LONGHAUL_TEST_MODEL");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tiny_model_has_the_facts_it_was_made_with),
        cmocka_unit_test(every_supported_type_opens_with_the_shapes_of_the_model),
        cmocka_unit_test(quantised_rows_come_back_close_to_what_they_were_made_of),
        cmocka_unit_test(a_tied_output_is_the_embedding),
        cmocka_unit_test(the_vocabulary_has_the_tokens_and_merges_of_the_file),
        cmocka_unit_test(a_file_without_a_tokenizer_opens_without_one),
        cmocka_unit_test(rows_of_interleaved_heads_are_put_back),
        cmocka_unit_test(rope_factors_divide_the_frequencies),
        cmocka_unit_test(a_file_on_disk_reads_as_the_same_bytes_in_memory),
        cmocka_unit_test(the_real_model_has_the_facts_of_smollm2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
