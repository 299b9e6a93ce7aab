/* A model that is made of a shape: it opens, its weights are those that were given, its tokenizer
 * makes one token of each byte, also after it has been written as a GGUF file. */
#include "tests/support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "coordinator/text/tokenizer.h"
#include "proto/model/byte_vocab.h"
#include "proto/model/model_new.h"
#include "proto/model/model_save.h"
#include "tests/support/tiny_directory.h"

enum { PATH_BYTES = 256 };

static char folder[] = "/tmp/longhaul-model-new-XXXXXX";

static const char *path_of(const char *name)
{
    static char paths[4][PATH_BYTES];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, PATH_BYTES, "%s/%s", folder, name);
    return path;
}

static int make_folder(void **state)
{
    (void)state;
    memcpy(folder + strlen(folder) - 6, "XXXXXX", 6);
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    if (checkpoint_is_directory(path_of("new")))
        tiny_directory_remove(path_of("new"));
    tiny_directory_remove(folder);
    return 0;
}

static const char *write_config(int vocab)
{
    const char *path = path_of("shape.json");
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fprintf(file,
            "{\"model_type\": \"llama\", \"hidden_size\": 64, \"intermediate_size\": 96, "
            "\"num_hidden_layers\": 2, \"num_attention_heads\": 2, \"num_key_value_heads\": 1, "
            "\"vocab_size\": %d, \"max_position_embeddings\": 256, \"rms_norm_eps\": 1e-5, "
            "\"rope_theta\": 10000, \"tie_word_embeddings\": true}",
            vocab);
    fclose(file);
    return path;
}

/* A number for each place of each tensor. */
static float number_at(enum model_role role, int layer, int64_t place)
{
    return (float)((int)role * 8 + layer) + (float)place * 0x1p-12f;
}

static enum status read_numbers(void *context, float *out, enum model_role role, int layer,
                                int64_t first, int64_t count)
{
    const int64_t columns = model_role_shape(context, role).columns;
    for (int64_t i = 0; i < count * columns; i++)
        out[i] = number_at(role, layer, first * columns + i);
    return STATUS_OK;
}

static struct model *make_new(int vocab)
{
    static struct model_spec spec;
    const struct model_values values = {.read = read_numbers, .context = &spec};
    struct model *model = NULL;
    const char *config = write_config(vocab);
    assert_int_equal(model_new_read_spec(&spec, config), STATUS_OK);
    if (model_new_write(path_of("new"), config, &values) != STATUS_OK ||
        model_open(&model, path_of("new")) != STATUS_OK)
        fail_msg("%s", status_message());
    return model;
}

static void expect_one_token_a_byte(const struct model *model)
{
    static const char text[] =
        "Hello, 123 \n\t  it's \xc2\xad \xc3\xa9\xe2\x82\xac\x01\x7f \xf0\x9f\x98\x80!";
    struct tokenizer *tokenizer;
    struct id_list ids = {0};
    assert_int_equal(tokenizer_create(&tokenizer, model_vocab(model)), STATUS_OK);
    assert_int_equal(tokenizer_encode(tokenizer, &ids, text, sizeof text, TOKENIZER_BOS),
                     STATUS_OK);
    assert_int_equal(ids.count, sizeof text); /* the 0 at its end too */
    for (size_t i = 0; i < sizeof text; i++)
        assert_int_equal(ids.ids[i], (uint8_t)text[i]);
    ids.count = 0;
    assert_int_equal(tokenizer_encode(tokenizer, &ids, "a<|endoftext|>", 14, TOKENIZER_CONTROL),
                     STATUS_OK);
    assert_int_equal(ids.count, 2);
    assert_int_equal(ids.ids[1], BYTE_VOCAB_END);
    id_list_deinit(&ids);
    tokenizer_destroy(tokenizer);
    assert_int_equal(vocab_special(model_vocab(model)).eos, BYTE_VOCAB_END);
    assert_int_equal(vocab_special(model_vocab(model)).bos, -1);
}

static void a_shape_becomes_a_model(void **state)
{
    (void)state;
    struct model *model = make_new(BYTE_VOCAB_COUNT);
    const struct model_tensor down = model_tensor(model, MODEL_FFN_DOWN, 1);
    const float *numbers = down.data;
    assert_int_equal(down.dtype, DTYPE_F32);
    for (int64_t i = 0; i < down.rows * down.columns; i++)
        assert_true(numbers[i] == number_at(MODEL_FFN_DOWN, 1, i));
    assert_true(model_spec(model)->tied_output);
    assert_int_equal(model_spec(model)->trained_tokens, 256);
    expect_one_token_a_byte(model);
    model_close(model);
}

static void rows_beyond_the_end_are_no_tokens(void **state)
{
    (void)state;
    struct model *model = make_new(320);
    const struct model_values values = model_values_of(model);
    const struct model_save save = {
        .source = model, .values = &values, .format = MODEL_SAVE_GGUF, .dtype = DTYPE_F32};
    struct model *gguf = NULL;
    expect_one_token_a_byte(model);
    assert_int_equal(vocab_token(model_vocab(model), 300).type, VOCAB_UNUSED);
    if (model_save(&save, path_of("new.gguf")) != STATUS_OK ||
        model_open(&gguf, path_of("new.gguf")) != STATUS_OK)
        fail_msg("%s", status_message());
    expect_one_token_a_byte(gguf);
    assert_int_equal(vocab_token(model_vocab(gguf), 300).type, VOCAB_UNUSED);
    model_close(gguf);
    model_close(model);
}

static void a_shape_without_room_for_bytes_is_refused(void **state)
{
    (void)state;
    struct model_spec spec;
    assert_int_equal(model_new_read_spec(&spec, write_config(256)), STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(status_message(), "vocab_size: is 256"));
    assert_int_equal(model_new_read_spec(&spec, path_of("absent.json")), STATUS_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_shape_becomes_a_model, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(rows_beyond_the_end_are_no_tokens, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(a_shape_without_room_for_bytes_is_refused, make_folder,
                                        remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
