/* Feeds bytes to the reading of a tokenizer.model, with and without rows of an embedding: refused,
 * or a vocabulary whose every view can be read and whose tokenizer works. */
#include <assert.h>
#include <string.h>

#include "proto/model/tokenizer_model.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/vocab_checks.h"
#include "tests/support/tiny_pieces.h"

/* What is not followed, a field of each type, and ids of the trainer's. */
static const struct {
    const char *bytes;
    size_t count;
} small[] = {
    {"\x0A\x0A\x0A\x01\x61\x15\x00\x00\x80\xBF\x18\x01\x12\x05\x18\x02\x98\x02\x01\x1A\x02\x20\x00",
     23},
    {"\x0A\x03\x0A\x01\x61\x12\x10\x18\x02\x98\x02\x01\xC0\x02\x00\xC8\x02\x00\xD0\x02\x00\xD8"
     "\x02\x00\x1A\x04\x18\x00\x20\x00",
     30},
    {"\x0A\x03\x0A\x01\x61\x12\x15\x18\x02\x98\x02\x01\xC8\x02\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"
     "\x01\xC0\x01\x00\x3D\x01\x02\x03\x04\x1A\x06\x0A\x01n\x12\x01x",
     39},
    {"\x0A\x03\x0A\x01\x61\x09\x01\x02\x03\x04\x05\x06\x07\x08", 14},
};
enum { SMALL = sizeof small / sizeof small[0], ROWS = 300 };

size_t fuzz_seed(int index, uint8_t *data, size_t room)
{
    struct gguf_writer file = {0};
    if (index > SMALL)
        return 0;
    if (index == 0)
        tiny_pieces_model(&file);
    else
        gguf_writer_bytes(&file, small[index - 1].bytes, small[index - 1].count);
    const size_t bytes = file.bytes <= room ? file.bytes : 0;
    memcpy(data, file.data, bytes);
    gguf_writer_free(&file);
    return bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    const struct tokenizer_files files = {.tokenizer = {"tokenizer.model", data, bytes}};
    for (int32_t rows = 0; rows <= ROWS; rows += ROWS) {
        struct vocab *vocab = NULL;
        if (tokenizer_model_read(&vocab, &files, rows) != STATUS_OK) {
            assert(!vocab);
            vocab_checks_sentence();
            continue;
        }
        assert(rows == 0 || vocab_count(vocab) == rows);
        vocab_checks_views(vocab);
        vocab_checks_use(vocab);
        vocab_destroy(vocab);
    }
    return 0;
}
