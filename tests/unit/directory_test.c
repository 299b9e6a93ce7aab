/* A model's directory as a whole: what opens, what its digest covers, and what is refused. */
#include "tests/support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/model/describe.h"
#include "proto/model/digest.h"
#include "proto/model/model.h"
#include "tests/support/tiny_directory.h"

enum { PATH_BYTES = 256 };

static const struct tiny_model_shape shape = {
    .layers = 2, .hidden = 32, .heads = 2, .kv_heads = 1, .head_dim = 16, .ffn = 64};

static char folder[] = "/tmp/longhaul-directory-test-XXXXXX";

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
    static char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_text(const char *name, const char *text)
{
    FILE *file = fopen(path_of(name), "wb");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* Sets one key of a JSON file in the folder, or removes it where `value` is NULL. */
static void change(const char *name, const char *key, json_t *value)
{
    json_t *root = json_load_file(path_of(name), 0, NULL);
    assert_non_null(root);
    if (value)
        json_object_set_new(root, key, value);
    else
        json_object_del(root, key);
    assert_int_equal(json_dump_file(root, path_of(name), 0), 0);
    json_decref(root);
}

static void expect_refusal(const char *path, enum status expected, const char *words)
{
    struct model *model = NULL;
    enum status status = model_open(&model, path);
    if (status != expected || !strstr(status_message(), words))
        print_error("wanted %s: %s, got %s: %s\n", status_name(expected), words,
                    status_name(status), status_message());
    assert_int_equal(status, expected);
    assert_non_null(strstr(status_message(), words));
    assert_null(model);
}

static struct model *open_folder(void)
{
    struct model *model = NULL;
    if (model_open(&model, folder) != STATUS_OK)
        fail_msg("%s", status_message());
    return model;
}

static void a_directory_opens_with_the_facts_of_its_model(void **state)
{
    (void)state;
    tiny_directory_write(folder, &shape, 1, DTYPE_BF16, 1);
    struct model *model = open_folder();
    const struct model_spec *spec = model_spec(model);
    assert_int_equal(spec->layers, 2);
    assert_int_equal(spec->vocab, TINY_MODEL_VOCAB_MIN);
    assert_true(text_view_is(spec->architecture, "llama") && spec->tied_output);
    assert_string_equal(spec->file_type, "BF16");
    assert_false(spec->interleaved_qk);
    assert_ptr_equal(model_tensor(model, MODEL_OUTPUT, 0).data,
                     model_tensor(model, MODEL_TOKEN_EMBD, 0).data);
    assert_int_equal(vocab_special(model_vocab(model)).eos, TINY_MODEL_IM_END);
    assert_int_equal(checkpoint_file_count(model_checkpoint(model)), 4);
    model_close(model);
}

static void tensors_come_from_several_files(void **state)
{
    (void)state;
    tiny_directory_write(folder, &shape, 1, DTYPE_F32, 3);
    struct model *model = open_folder();
    assert_int_equal(checkpoint_file_count(model_checkpoint(model)), 7);
    assert_int_equal(checkpoint_tensor_count(model_checkpoint(model)), 2 + 2 * 9);
    model_close(model);
}

static void digest_of_folder(char hex[DIGEST_HEX_BYTES])
{
    struct model *model = open_folder();
    digest_model(hex, model);
    model_close(model);
}

static void the_digest_covers_every_file_that_matters(void **state)
{
    (void)state;
    char first[DIGEST_HEX_BYTES];
    char again[DIGEST_HEX_BYTES];
    tiny_directory_write(folder, &shape, 1, DTYPE_F32, 2);
    digest_of_folder(first);
    write_text("README.md", "not of the model");
    digest_of_folder(again);
    assert_string_equal(first, again);
    static const char *const names[] = {"config.json", "tokenizer.json", "tokenizer_config.json",
                                        "model.safetensors.index.json"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        change(names[i], "a_new_key", json_true());
        digest_of_folder(again);
        assert_string_not_equal(first, again);
        memcpy(first, again, sizeof first);
    }
    write_text("generation_config.json", "{}");
    digest_of_folder(again);
    assert_string_not_equal(first, again);
    memcpy(first, again, sizeof first);
    write_text("chat_template.jinja", "{{ x }}");
    digest_of_folder(again);
    assert_string_not_equal(first, again);
    memcpy(first, again, sizeof first);
    FILE *shard = fopen(path_of("model-00002-of-00002.safetensors"), "r+b");
    assert_non_null(shard);
    fseek(shard, -1, SEEK_END);
    int last = fgetc(shard);
    fseek(shard, -1, SEEK_END);
    fputc(last ^ 1, shard);
    fclose(shard);
    digest_of_folder(again);
    assert_string_not_equal(first, again);
}

static void a_folder_without_a_model_is_refused_with_what_to_do(void **state)
{
    (void)state;
    expect_refusal(folder, STATUS_NOT_FOUND, "is a directory without config.json; give a GGUF");
    write_text("tiny.gguf", "GGUF");
    expect_refusal(folder, STATUS_NOT_FOUND, "/tiny.gguf");
    write_text("config.json", "{}");
    expect_refusal(folder, STATUS_NOT_FOUND, "neither model.safetensors nor model.safetensors.in");
    write_text("pytorch_model.bin", "x");
    expect_refusal(folder, STATUS_UNIMPLEMENTED, "pytorch_model.bin is of a form that can run");
    write_text("model.safetensors", "x");
    expect_refusal(folder, STATUS_DATA_LOSS, "model.safetensors: offset 0: the header's length");
    expect_refusal(path_of("model.safetensors"), STATUS_INVALID_ARGUMENT,
                   "is one file of a model; give the directory that it lies in");
    write_text("config.json", "");
    expect_refusal(folder, STATUS_DATA_LOSS, "config.json: offset 0: the file is empty");
    write_text("config.json", "{\"a\": 1, \"a\": 2}");
    expect_refusal(folder, STATUS_DATA_LOSS, "config.json: byte 12 of the JSON (line 1)");
    unlink(path_of("config.json"));
    assert_int_equal(mkdir(path_of("config.json"), 0700), 0);
    expect_refusal(folder, STATUS_INVALID_ARGUMENT, "config.json is not a regular file");
    rmdir(path_of("config.json"));
}

static void facts_and_tensors_that_disagree_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        int value;
        enum status status;
        const char *words;
    } cases[] = {
        {"num_hidden_layers", 3, STATUS_DATA_LOSS, "layers.2.input_layernorm.weight is missing"},
        {"num_hidden_layers", 1, STATUS_UNIMPLEMENTED,
         "tensor model.layers.1.input_layernorm.weight has no place"},
        {"vocab_size", 300, STATUS_DATA_LOSS,
         "tensor model.embed_tokens.weight is 265 x 32 (2 dimensions), the model's sizes ask for "
         "300 x 32"},
        {"intermediate_size", 32, STATUS_DATA_LOSS, "mlp.gate_proj.weight is 64 x 32"},
        {"num_attention_heads", 4, STATUS_DATA_LOSS, "self_attn.q_proj.weight is 32 x 32"},
    };
    tiny_directory_write(folder, &shape, 1, DTYPE_F32, 1);
    json_t *config = json_load_file(path_of("config.json"), 0, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        change("config.json", cases[i].key, json_integer(cases[i].value));
        expect_refusal(folder, cases[i].status, cases[i].words);
        assert_int_equal(json_dump_file(config, path_of("config.json"), 0), 0);
    }
    json_decref(config);
    change("config.json", "tie_word_embeddings", json_false());
    expect_refusal(folder, STATUS_DATA_LOSS, "the tensor lm_head.weight is missing");
}

static void an_output_beside_a_tied_embedding_is_refused(void **state)
{
    (void)state;
    struct tiny_model_shape untied = shape;
    untied.untied = true;
    tiny_directory_write(folder, &untied, 1, DTYPE_F32, 1);
    model_close(open_folder());
    change("config.json", "tie_word_embeddings", json_true());
    expect_refusal(folder, STATUS_UNIMPLEMENTED, "output tied to the embedding");
}

static void shards_that_are_missing_or_misplaced_are_refused(void **state)
{
    (void)state;
    tiny_directory_write(folder, &shape, 1, DTYPE_F32, 3);
    change("model.safetensors.index.json", "metadata", json_pack("{s:i}", "total_size", 5));
    expect_refusal(folder, STATUS_DATA_LOSS, "metadata.total_size: is 5, the tensors have");
    change("model.safetensors.index.json", "metadata", NULL);
    model_close(open_folder());
    assert_int_equal(unlink(path_of("model-00002-of-00003.safetensors")), 0);
    expect_refusal(folder, STATUS_NOT_FOUND, "model-00002-of-00003.safetensors: No such file");
}

/* One more tensor of four bytes, in a file of its own. */
static void add_tensor(const char *name)
{
    struct gguf_writer file = {0};
    char header[256];
    snprintf(header, sizeof header,
             "{\"%s\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", name);
    gguf_writer_u64(&file, strlen(header));
    gguf_writer_bytes(&file, header, strlen(header));
    gguf_writer_f32(&file, 1);
    FILE *out = fopen(path_of("more.safetensors"), "wb");
    assert_non_null(out);
    fwrite(file.data, 1, file.bytes, out);
    fclose(out);
    gguf_writer_free(&file);
    json_t *index = json_load_file(path_of("model.safetensors.index.json"), 0, NULL);
    json_t *map = json_object_get(index, "weight_map");
    json_object_set_new(map, name, json_string("more.safetensors"));
    json_object_del(index, "metadata");
    assert_int_equal(json_dump_file(index, path_of("model.safetensors.index.json"), 0), 0);
    json_decref(index);
}

static void a_tensor_that_would_be_ignored_is_refused_but_for_the_table_of_rope(void **state)
{
    (void)state;
    tiny_directory_write(folder, &shape, 1, DTYPE_F32, 2);
    add_tensor("model.layers.0.self_attn.rotary_emb.inv_freq");
    model_close(open_folder());
    tiny_directory_remove(folder);
    assert_int_equal(mkdir(folder, 0700), 0);
    tiny_directory_write(folder, &shape, 1, DTYPE_F32, 2);
    add_tensor("model.layers.0.self_attn.q_proj.bias");
    expect_refusal(folder, STATUS_UNIMPLEMENTED,
                   "tensor model.layers.0.self_attn.q_proj.bias has no place");
}

static void a_tokenizer_larger_than_the_embedding_is_refused(void **state)
{
    (void)state;
    tiny_directory_write(folder, &shape, 1, DTYPE_F32, 1);
    json_t *root = json_load_file(path_of("tokenizer.json"), 0, NULL);
    json_object_set_new(json_object_get(json_object_get(root, "model"), "vocab"), "more",
                        json_integer(TINY_MODEL_VOCAB_MIN));
    json_dump_file(root, path_of("tokenizer.json"), 0);
    json_decref(root);
    expect_refusal(folder, STATUS_DATA_LOSS, "model.vocab.more: is 265, it must lie in 0 .. 264");
    unlink(path_of("tokenizer.json"));
    struct model *model = open_folder();
    assert_null(model_vocab(model));
    model_close(model);
}

static void expect_words(const char *text_words, const char *json_words)
{
    for (int form = 0; form < 2; form++) {
        char *text = NULL;
        size_t bytes = 0;
        FILE *out = open_memstream(&text, &bytes);
        assert_non_null(out);
        enum status status = form == 0 ? describe_text(out, folder) : describe_json(out, folder);
        fclose(out);
        assert_int_equal(status, STATUS_OK);
        const char *words = form == 0 ? text_words : json_words;
        if (!strstr(text, words))
            print_error("%s\n", text);
        assert_non_null(strstr(text, words));
        free(text);
    }
}

static void a_directory_is_described_whether_it_is_supported_or_not(void **state)
{
    (void)state;
    tiny_directory_write(folder, &shape, 1, DTYPE_F32, 2);
    expect_words("      2  F32      model.layers.*.mlp.down_proj.weight [32, 64]",
                 "\"supported\": true");
    change("config.json", "model_type", json_string("qwen2"));
    expect_words("supported      no: ", "architecture qwen2 is not supported");
    expect_words("  model_type = qwen2", "\"model_type\": \"qwen2\"");
}

#define IN_A_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_A_FOLDER(a_directory_opens_with_the_facts_of_its_model),
        IN_A_FOLDER(tensors_come_from_several_files),
        IN_A_FOLDER(the_digest_covers_every_file_that_matters),
        IN_A_FOLDER(a_folder_without_a_model_is_refused_with_what_to_do),
        IN_A_FOLDER(facts_and_tensors_that_disagree_are_refused),
        IN_A_FOLDER(an_output_beside_a_tied_embedding_is_refused),
        IN_A_FOLDER(shards_that_are_missing_or_misplaced_are_refused),
        IN_A_FOLDER(a_tensor_that_would_be_ignored_is_refused_but_for_the_table_of_rope),
        IN_A_FOLDER(a_tokenizer_larger_than_the_embedding_is_refused),
        IN_A_FOLDER(a_directory_is_described_whether_it_is_supported_or_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
