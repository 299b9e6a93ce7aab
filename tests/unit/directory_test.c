/* A model's directory as a whole: what opens, what its digest covers, and what is refused. */
#include "tests/support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "coordinator/cli/describe.h"
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

/* Changes one byte of a file, counted from its end. */
static void flip_byte(const char *name, long from_end)
{
    FILE *file = fopen(path_of(name), "r+b");
    assert_non_null(file);
    fseek(file, -from_end, SEEK_END);
    int byte = fgetc(file);
    fseek(file, -from_end, SEEK_END);
    fputc(byte ^ 1, file);
    fclose(file);
}

/* Writes model.safetensors with the output's weights once more, as the embedding's. */
static void store_output_twice(void)
{
    json_t *header = NULL;
    FILE *file = fopen(path_of("model.safetensors"), "rb");
    assert_non_null(file);
    uint64_t header_bytes;
    assert_int_equal(fread(&header_bytes, 8, 1, file), 1);
    char *text = malloc(header_bytes);
    assert_int_equal(fread(text, 1, header_bytes, file), header_bytes);
    header = json_loadb(text, header_bytes, 0, NULL);
    free(text);
    struct gguf_writer data = {0};
    for (int byte = fgetc(file); byte != EOF; byte = fgetc(file))
        gguf_writer_u8(&data, (uint8_t)byte);
    fclose(file);
    json_t *output = json_deep_copy(json_object_get(header, "model.embed_tokens.weight"));
    json_t *offsets = json_object_get(output, "data_offsets");
    size_t begin = (size_t)json_integer_value(json_array_get(offsets, 0));
    size_t end = (size_t)json_integer_value(json_array_get(offsets, 1));
    json_object_set_new(
        output, "data_offsets",
        json_pack("[I, I]", (json_int_t)data.bytes, (json_int_t)(data.bytes + end - begin)));
    json_object_set_new(header, "lm_head.weight", output);
    gguf_writer_reserve(&data, end - begin);
    gguf_writer_bytes(&data, data.data + begin, end - begin);
    text = json_dumps(header, JSON_COMPACT);
    file = fopen(path_of("model.safetensors"), "wb");
    assert_non_null(file);
    header_bytes = strlen(text);
    fwrite(&header_bytes, 8, 1, file);
    fwrite(text, 1, header_bytes, file);
    fwrite(data.data, 1, data.bytes, file);
    fclose(file);
    free(text);
    gguf_writer_free(&data);
    json_decref(header);
}

static void an_output_beside_a_tied_embedding_must_be_the_same(void **state)
{
    (void)state;
    tiny_directory_write(folder, &shape, 1, DTYPE_F32, 1);
    store_output_twice();
    struct model *model = open_folder();
    assert_true(model_spec(model)->tied_output);
    assert_ptr_equal(model_tensor(model, MODEL_OUTPUT, 0).data,
                     model_tensor(model, MODEL_TOKEN_EMBD, 0).data);
    model_close(model);
    flip_byte("model.safetensors", 1);
    expect_refusal(folder, STATUS_DATA_LOSS,
                   "tensor lm_head.weight is not the same as model.embed_tokens.weight");
    change("config.json", "tie_word_embeddings", json_false());
    model = open_folder();
    assert_ptr_not_equal(model_tensor(model, MODEL_OUTPUT, 0).data,
                         model_tensor(model, MODEL_TOKEN_EMBD, 0).data);
    model_close(model);
}

/* As `git clone` leaves large files without Git LFS. */
static void a_git_lfs_pointer_is_named_wherever_it_stands(void **state)
{
    (void)state;
    static const char pointer[] = "version https://git-lfs.github.com/spec/v1\n"
                                  "oid sha256:4d7a\nsize 98362432\n";
    static const char *const names[] = {"model-00002-of-00002.safetensors",
                                        "model.safetensors.index.json", "tokenizer_config.json",
                                        "tokenizer.json", "config.json"};
    tiny_directory_write(folder, &shape, 1, DTYPE_F32, 2);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char words[128];
        write_text(names[i], pointer);
        snprintf(words, sizeof words,
                 "/%s is a Git LFS pointer of 73 bytes: the file itself was "
                 "not downloaded",
                 names[i]);
        expect_refusal(folder, STATUS_NOT_FOUND, words);
    }
    write_text("tiny.gguf", pointer);
    expect_refusal(path_of("tiny.gguf"), STATUS_NOT_FOUND, "tiny.gguf is a Git LFS pointer");
}

/* What transformers writes where no limit is known, and numbers that are written as real ones. */
static void numbers_that_nobody_reads_may_be_huge(void **state)
{
    (void)state;
    tiny_directory_write(folder, &shape, 1, DTYPE_F32, 1);
    write_text("generation_config.json", "{\"eos_token_id\": [2.0], \"max_length\": "
                                         "1000000000000000019884624838656}");
    FILE *file = fopen(path_of("tokenizer_config.json"), "rb");
    char text[4096];
    size_t bytes = fread(text + 1, 1, sizeof text - 2, file);
    fclose(file);
    text[bytes + 1] = 0;
    char changed[sizeof text + 128];
    snprintf(changed, sizeof changed, "{\"model_max_length\": 1000000000000000019884624838656, %s",
             text + 2);
    write_text("tokenizer_config.json", changed);
    struct model *model = open_folder();
    assert_int_equal(vocab_special(model_vocab(model)).end_count, 1);
    assert_int_equal(vocab_special(model_vocab(model)).ends[0], TINY_MODEL_IM_END);
    model_close(model);
}

/* What a converter writes for these parameters of rope, beside what config.json has. */
static const struct rope_case {
    const char *parameters; /* rope_parameters */
    struct {
        const char *key;
        float value;
    } floats[4];
    const char *kind;
    uint32_t original; /* 0: no such key */
} rope_cases[] = {
    {"{\"rope_type\":\"yarn\",\"rope_theta\":10000.0,\"factor\":4.0,\"attention_factor\":1.3,"
     "\"original_max_position_embeddings\":256}",
     {{"scaling.factor", 4}, {"scaling.yarn_attn_factor", 1.3f}},
     "yarn",
     256},
    {"{\"rope_type\":\"yarn\",\"rope_theta\":10000.0,\"factor\":4.0,\"beta_fast\":16,"
     "\"beta_slow\":2,\"original_max_position_embeddings\":256}",
     {{"scaling.factor", 4}, {"scaling.yarn_beta_fast", 16}, {"scaling.yarn_beta_slow", 2}},
     "yarn",
     256},
    {"{\"rope_type\":\"yarn\",\"rope_theta\":10000.0,\"factor\":4.0,\"attention_factor\":1.625,"
     "\"original_max_position_embeddings\":256}",
     {{"scaling.factor", 4}, {"scaling.yarn_attn_factor", 1.3f}, {"scaling.attn_factor", 1.25f}},
     "yarn",
     256},
    {"{\"rope_type\":\"yarn\",\"rope_theta\":10000.0,\"factor\":8.0}",
     {{"scaling.factor", 8}},
     "yarn",
     0},
    {"{\"rope_type\":\"linear\",\"rope_theta\":10000.0,\"factor\":4.0}",
     {{"scaling.factor", 4}},
     "linear",
     0},
    {"{\"rope_type\":\"linear\",\"rope_theta\":10000.0,\"factor\":4.0}",
     {{"scaling.factor", 4}},
     NULL,
     0},
    {"{\"rope_type\":\"linear\",\"rope_theta\":10000.0,\"factor\":2.0}",
     {{"scale_linear", 2}},
     NULL,
     0},
    {"{\"rope_type\":\"default\",\"rope_theta\":10000.0}", {{"scaling.factor", 4}}, "none", 0},
};

static struct model_spec spec_of_gguf(const struct rope_case *rope)
{
    struct gguf_writer file = {0};
    struct gguf_writer pairs = {0};
    struct model *model = NULL;
    uint64_t count = 0;
    char key[64];
    tiny_model_build(&file, &shape, 1, DTYPE_F32);
    for (int i = 0; i < 4 && rope->floats[i].key; i++, count++) {
        snprintf(key, sizeof key, "llama.rope.%s", rope->floats[i].key);
        gguf_writer_pair_f32(&pairs, key, rope->floats[i].value);
    }
    if (rope->kind)
        gguf_writer_pair_text(&pairs, "llama.rope.scaling.type", rope->kind);
    if (rope->original)
        gguf_writer_pair_u32(&pairs, "llama.rope.scaling.original_context_length", rope->original);
    gguf_writer_insert_pairs(&file, &pairs, count + !!rope->kind + !!rope->original);
    if (model_parse(&model, file.data, file.bytes, "gguf") != STATUS_OK)
        fail_msg("%s", status_message());
    struct model_spec spec = *model_spec(model);
    model_close(model);
    gguf_writer_free(&file);
    return spec;
}

static void a_gguf_file_turns_as_the_directory_that_it_was_made_from(void **state)
{
    (void)state;
    tiny_directory_write(folder, &shape, 1, DTYPE_F32, 1);
    for (size_t i = 0; i < sizeof rope_cases / sizeof rope_cases[0]; i++) {
        const struct model_spec file = spec_of_gguf(&rope_cases[i]);
        change("config.json", "rope_parameters", json_loads(rope_cases[i].parameters, 0, NULL));
        struct model *model = open_folder();
        const struct model_spec *spec = model_spec(model);
        if (file.rope_mscale != spec->rope_mscale || file.rope_factor != spec->rope_factor)
            print_error("case %zu: %.9g and %.9g, factors %g and %g\n", i, file.rope_mscale,
                        spec->rope_mscale, file.rope_factor, spec->rope_factor);
        assert_int_equal(file.rope_scaling, spec->rope_scaling);
        assert_true(file.rope_base == spec->rope_base && file.rope_factor == spec->rope_factor);
        assert_true(file.rope_mscale == spec->rope_mscale);
        assert_int_equal(file.rope_original_tokens, spec->rope_original_tokens);
        assert_memory_equal(file.inv_freq, spec->inv_freq, sizeof file.inv_freq);
        assert_true(file.norm_eps == spec->norm_eps);
        model_close(model);
    }
}

static void shards_that_are_missing_or_misplaced_are_refused(void **state)
{
    (void)state;
    tiny_directory_write(folder, &shape, 1, DTYPE_F32, 3);
    change("model.safetensors.index.json", "metadata", json_pack("{s:i}", "total_size", 5));
    model_close(open_folder());
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
    change("config.json", "model_type", json_string("gemma"));
    expect_words("supported      no: ", "architecture gemma is not supported");
    expect_words("  model_type = gemma", "\"model_type\": \"gemma\"");
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
        IN_A_FOLDER(an_output_beside_a_tied_embedding_must_be_the_same),
        IN_A_FOLDER(a_git_lfs_pointer_is_named_wherever_it_stands),
        IN_A_FOLDER(numbers_that_nobody_reads_may_be_huge),
        IN_A_FOLDER(a_gguf_file_turns_as_the_directory_that_it_was_made_from),
        IN_A_FOLDER(shards_that_are_missing_or_misplaced_are_refused),
        IN_A_FOLDER(a_tensor_that_would_be_ignored_is_refused_but_for_the_table_of_rope),
        IN_A_FOLDER(a_tokenizer_larger_than_the_embedding_is_refused),
        IN_A_FOLDER(a_directory_is_described_whether_it_is_supported_or_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
