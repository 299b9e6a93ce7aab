/* Feeds bytes to the reading of what stands beside a tokenizer.model: tokenizer_config.json with
 * its added_tokens_decoder, and behind zero bytes generation_config.json, config.json and
 * chat_template.jinja. Refused, or a vocabulary that has the model's pieces as they were. */
#include <assert.h>
#include <string.h>

#include "proto/model/tokenizer_model.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/vocab_checks.h"
#include "tests/support/tiny_pieces.h"

enum { PARTS = 4, ROWS = 300 };

#define SEED(text)                                                                                 \
    {                                                                                              \
        text, sizeof text - 1                                                                      \
    }

static const struct {
    const char *text;
    size_t bytes;
} seeds[] = {
    SEED("{\"added_tokens_decoder\":{\"0\":{\"content\":\"<unk>\",\"special\":true},\"1\":"
         "{\"content\":\"<s>\",\"lstrip\":false,\"normalized\":false,\"rstrip\":false,"
         "\"single_word\":false,\"special\":true},\"275\":{\"content\":\"<|im_start|>\","
         "\"special\":true},\"276\":{\"content\":\"ab lo\",\"lstrip\":true,\"rstrip\":true}},"
         "\"bos_token\":\"<s>\",\"eos_token\":{\"content\":\"</s>\"},\"pad_token\":null,"
         "\"add_bos_token\":true,\"chat_template\":\"{{ bos_token }}x\"}"),
    SEED("{\"added_tokens_decoder\":{\"299\":{\"content\":\"<end>\",\"single_word\":true,"
         "\"normalized\":true}},\"eos_token\":\"<end>\",\"pad_token\":\"<unk>\",\"chat_template\":"
         "[{\"name\":\"default\",\"template\":\"\\u007b%\"}]}\0{\"eos_token_id\":[2,1]}\0"
         "{\"bos_token_id\":1,\"eos_token_id\":2}\0{{ x }}"),
    SEED("{\"added_tokens_decoder\":{\"262143\":{\"content\":\"\\ud83d\\ude42\"},\"+5\":{},"
         "\" 270\":{\"content\":\"a\"}},\"add_bos_token\":false}"),
    SEED("{\"added_tokens_decoder\":{},\"eos_token\":\"\"}"),
};

size_t fuzz_seed(int index, uint8_t *data, size_t room)
{
    if (index >= (int)(sizeof seeds / sizeof seeds[0]) || seeds[index].bytes > room)
        return 0;
    memcpy(data, seeds[index].text, seeds[index].bytes);
    return seeds[index].bytes;
}

/* Cuts the input at its zero bytes; parts that are not there have no path. */
static void cut(struct tokenizer_file parts[PARTS], const uint8_t *data, size_t bytes)
{
    static const char *const names[PARTS] = {"tokenizer_config", "generation_config", "config",
                                             "chat_template"};
    const uint8_t *end = data + bytes;
    for (int i = 0; i < PARTS && data; i++) {
        const uint8_t *zero = i < PARTS - 1 ? memchr(data, 0, (size_t)(end - data)) : NULL;
        const uint8_t *stop = zero ? zero : end;
        parts[i] = (struct tokenizer_file){names[i], data, (size_t)(stop - data)};
        data = zero ? zero + 1 : NULL;
    }
}

static void check_pieces(const struct vocab *vocab, const struct vocab *plain)
{
    assert(vocab_count(vocab) >= vocab_count(plain));
    for (int32_t id = 0; id < vocab_count(plain); id++) {
        const struct vocab_token was = vocab_token(plain, id), is = vocab_token(vocab, id);
        assert(was.type == VOCAB_UNUSED ||
               (was.bytes == is.bytes && memcmp(was.text, is.text, is.bytes) == 0));
    }
}

/* A row that no file has a text for is no special token, unless a number says so. */
static void check_named(const struct vocab *vocab, const struct tokenizer_files *files)
{
    const struct vocab_special special = vocab_special(vocab);
    if (files->generation_config.path || files->config.path)
        return;
    assert(special.bos < 0 || vocab_token(vocab, special.bos).bytes > 0);
    assert(special.eos < 0 || vocab_token(vocab, special.eos).bytes > 0);
    assert(special.padding < 0 || vocab_token(vocab, special.padding).bytes > 0);
}

static void read_beside(const struct tokenizer_files *files, const struct vocab *plain)
{
    for (int32_t rows = 0; rows <= ROWS; rows += ROWS) {
        struct vocab *vocab = NULL;
        if (tokenizer_model_read(&vocab, files, rows) != STATUS_OK) {
            assert(!vocab);
            vocab_checks_sentence();
            continue;
        }
        assert(rows == 0 || vocab_count(vocab) == rows);
        check_pieces(vocab, plain);
        check_named(vocab, files);
        vocab_checks_views(vocab);
        vocab_checks_use(vocab);
        vocab_destroy(vocab);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static struct gguf_writer model;
    static struct vocab *plain;
    struct tokenizer_file parts[PARTS] = {{0}};
    if (!plain) {
        tiny_pieces_model(&model);
        const struct tokenizer_files files = {
            .tokenizer = {"tokenizer.model", model.data, model.bytes}};
        const enum status status = tokenizer_model_read(&plain, &files, 0);
        assert(status == STATUS_OK);
    }
    if (bytes == 0)
        return 0;
    cut(parts, data, bytes);
    const struct tokenizer_files files = {
        {"tokenizer.model", model.data, model.bytes}, parts[0], parts[1], parts[2], parts[3]};
    read_beside(&files, plain);
    return 0;
}
