/* A vocabulary without a model around it. */
#include "tests/support/unit.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/model/vocab_file.h"
#include "tests/support/tiny_directory.h"
#include "tests/support/tiny_vocab.h"

static const struct tiny_model_shape shape = {
    .layers = 1, .hidden = 32, .heads = 2, .kv_heads = 1, .head_dim = 16, .ffn = 32};

static char folder[] = "/tmp/longhaul-vocab-file-test-XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    memcpy(folder + strlen(folder) - 6, "XXXXXX", 6);
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    tiny_directory_remove(folder);
    return 0;
}

static const char *path_of(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_bytes(const char *name, const void *data, size_t bytes)
{
    FILE *file = fopen(path_of(name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    fclose(file);
}

static void expect_refusal(const char *path, enum status expected, const char *words)
{
    struct vocab_file *file = NULL;
    enum status status = vocab_file_open(&file, path);
    if (status != expected || !strstr(status_message(), words))
        print_error("wanted %s, got %s: %s\n", words, status_name(status), status_message());
    assert_int_equal(status, expected);
    assert_non_null(strstr(status_message(), words));
    assert_null(file);
}

static void expect_tokens(const char *path, int32_t count)
{
    struct vocab_file *file = NULL;
    if (vocab_file_open(&file, path) != STATUS_OK)
        fail_msg("%s", status_message());
    const struct vocab *vocab = vocab_file_vocab(file);
    assert_int_equal(vocab_count(vocab), count);
    struct vocab_token token = vocab_token(vocab, TINY_MODEL_IM_END);
    assert_true(text_view_is((struct text_view){token.text, token.bytes}, "<|im_end|>"));
    assert_int_equal(vocab_special(vocab).eos, TINY_MODEL_IM_END);
    vocab_file_close(file);
}

static void a_gguf_file_needs_no_weights_and_no_architecture(void **state)
{
    (void)state;
    struct gguf_writer file = {0};
    tiny_vocab_build(&file, &(struct tiny_vocab_args){.kind = NULL});
    write_bytes("vocab.gguf", file.data, file.bytes);
    expect_tokens(path_of("vocab.gguf"), TINY_MERGED);
    gguf_writer_free(&file);
    tiny_model_build(&file, &shape, 1, DTYPE_F32);
    uint8_t *name = memmem(file.data, file.bytes, "llama", 5); /* the architecture's value */
    assert_non_null(name);
    memcpy(name, "other", 5);
    write_bytes("other.gguf", file.data, file.bytes);
    expect_tokens(path_of("other.gguf"), TINY_MODEL_VOCAB_MIN);
    gguf_writer_free(&file);
}

static void a_file_without_a_vocabulary_says_so(void **state)
{
    (void)state;
    struct tiny_model_shape mute = shape;
    mute.no_tokenizer = true;
    tiny_model_write(path_of("mute.gguf"), &mute, 1, DTYPE_F32);
    expect_refusal(path_of("mute.gguf"), STATUS_UNIMPLEMENTED, "mute.gguf holds no tokenizer");
    expect_refusal(folder, STATUS_NOT_FOUND, "is a directory without tokenizer.json");
    expect_refusal(path_of("none.gguf"), STATUS_NOT_FOUND, "none.gguf");
    write_bytes("tokenizer.json", "{}", 2);
    expect_refusal(path_of("tokenizer.json"), STATUS_INVALID_ARGUMENT, "is one file of a model");
}

/* With more files beside it, one after the other taken away. */
static void a_directory_needs_its_tokenizer_alone(void **state)
{
    (void)state;
    tiny_directory_write(folder, &shape, 1, DTYPE_F32, 1);
    expect_tokens(folder, TINY_MODEL_VOCAB_MIN);
    static const char pointer[] = "version https://git-lfs.github.com/spec/v1\n";
    write_bytes("model.safetensors", pointer, strlen(pointer));
    expect_tokens(folder, TINY_MODEL_VOCAB_MIN);
    unlink(path_of("model.safetensors"));
    expect_tokens(folder, TINY_MODEL_VOCAB_MIN);
    static const char config[] = "{\"model_type\": \"other\", \"vocab_size\": 300}";
    write_bytes("config.json", config, strlen(config));
    expect_tokens(folder, 300);
    static const char too_few[] = "{\"vocab_size\": 200}";
    write_bytes("config.json", too_few, strlen(too_few));
    expect_refusal(folder, STATUS_DATA_LOSS, "it must lie in 0 .. 199");
    unlink(path_of("config.json"));
    expect_tokens(folder, TINY_MODEL_VOCAB_MIN);
    unlink(path_of("tokenizer_config.json"));
    struct vocab_file *file = NULL;
    assert_int_equal(vocab_file_open(&file, folder), STATUS_OK);
    assert_int_equal(vocab_count(vocab_file_vocab(file)), TINY_MODEL_VOCAB_MIN);
    vocab_file_close(file);
}

#define IN_A_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_A_FOLDER(a_gguf_file_needs_no_weights_and_no_architecture),
        IN_A_FOLDER(a_file_without_a_vocabulary_says_so),
        IN_A_FOLDER(a_directory_needs_its_tokenizer_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
