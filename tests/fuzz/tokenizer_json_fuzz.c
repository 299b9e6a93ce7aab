/* Feeds bytes to the reading of a tokenizer.json, with the files beside it between zero bytes:
 * refused, or a vocabulary whose every view can be read, and whose tokenizer works. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/model/tokenizer_json.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/vocab_checks.h"
#include "tests/support/tiny_directory.h"

enum { VOCAB = 270, PARTS = 5 };

static volatile unsigned sink;

static void touch(const char *text, size_t bytes)
{
    if (bytes > 0)
        sink += (unsigned)(unsigned char)text[0] + (unsigned char)text[bytes - 1];
}

static const char small[] =
    "{\"added_tokens\":[{\"id\":0,\"content\":\"<s>\",\"special\":true},{\"id\":9,\"content\":"
    "\"<t>\",\"normalized\":true}],\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":"
    "false},\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":"
    "{\"id\":\"<s>\"}},{\"Sequence\":{\"id\":\"A\"}}],\"special_tokens\":{\"<s>\":{\"ids\":[0]}}},"
    "\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":1,\"b\":2,"
    "\"ab\":3},\"merges\":[\"a b\",[\"ab\",\"a\"]]}}\0"
    "{\"bos_token\":\"<s>\",\"eos_token\":{\"content\":\"<t>\"},\"add_bos_token\":false,"
    "\"chat_template\":[{\"name\":\"default\",\"template\":\"x\"}]}\0{\"eos_token_id\":[1,2,9]}\0"
    "{\"bos_token_id\":1,\"eos_token_id\":0}\0{{ x }}";

size_t fuzz_seed(int index, uint8_t *data, size_t room)
{
    const struct tiny_model_shape shape = {.layers = 1,
                                           .hidden = 32,
                                           .heads = 2,
                                           .kv_heads = 1,
                                           .head_dim = 16,
                                           .ffn = 32,
                                           .vocab = VOCAB};
    if (index > 3)
        return 0;
    if (index != 1) {
        memcpy(data, small, sizeof small - 1);
        return sizeof small - 1;
    }
    struct gguf_writer file = {0};
    struct model *model = NULL;
    tiny_model_build(&file, &shape, 1, DTYPE_F32);
    enum status status = model_parse(&model, file.data, file.bytes, "tiny");
    assert(status == STATUS_OK);
    json_t *tokenizer = tiny_directory_tokenizer(model_vocab(model));
    size_t bytes = json_dumpb(tokenizer, (char *)data, room, JSON_COMPACT);
    assert(bytes > 0 && bytes <= room);
    json_decref(tokenizer);
    model_close(model);
    gguf_writer_free(&file);
    return bytes;
}

/* Cuts the input at its zero bytes. */
static void cut(struct tokenizer_file parts[PARTS], const uint8_t *data, size_t bytes)
{
    static const char *const names[PARTS] = {"tokenizer", "tokenizer_config", "generation_config",
                                             "config", "chat_template"};
    const uint8_t *end = data + bytes;
    for (int i = 0; i < PARTS && data; i++) {
        const uint8_t *zero = i < PARTS - 1 ? memchr(data, 0, (size_t)(end - data)) : NULL;
        const uint8_t *stop = zero ? zero : end;
        parts[i] = (struct tokenizer_file){names[i], data, (size_t)(stop - data)};
        data = zero ? zero + 1 : NULL;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct tokenizer_file parts[PARTS] = {{0}};
    cut(parts, data, bytes);
    const struct tokenizer_files files = {parts[0], parts[1], parts[2], parts[3], parts[4]};
    struct vocab *vocab;
    if (bytes == 0)
        return 0;
    if (tokenizer_json_read(&vocab, &files, VOCAB) != STATUS_OK) {
        for (const char *byte = status_message(); *byte; byte++)
            assert((unsigned char)*byte >= 0x20);
        return 0;
    }
    assert(vocab_count(vocab) == VOCAB);
    for (int32_t id = 0; id < VOCAB; id++) {
        struct vocab_token token = vocab_token(vocab, id);
        assert(token.type >= VOCAB_NORMAL && token.type <= VOCAB_BYTE);
        touch(token.text, token.bytes);
    }
    for (int32_t priority = 0; priority < vocab_merge_count(vocab); priority++) {
        struct vocab_merge merge = vocab_merge(vocab, priority);
        assert(merge.left_bytes > 0 && merge.right_bytes > 0);
        touch(merge.left, merge.left_bytes);
        touch(merge.right, merge.right_bytes);
    }
    struct vocab_special special = vocab_special(vocab);
    assert(special.bos < VOCAB && special.eos < VOCAB && special.end_count <= VOCAB_ENDS_MAX);
    for (int i = 0; i < special.end_count; i++)
        assert(special.ends[i] >= 0 && special.ends[i] < VOCAB);
    touch(vocab_chat_template(vocab).text, vocab_chat_template(vocab).bytes);
    vocab_checks_use(vocab);
    vocab_destroy(vocab);
    return 0;
}
