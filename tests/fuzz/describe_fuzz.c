/* Feeds bytes to `longhaul inspect`: every readable file is described, in text and in JSON, and
 * nothing that could steer a terminal comes out.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "coordinator/cli/describe.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/tiny_model.h"

static void describe_both(const char *path)
{
    char *text = NULL;
    size_t text_bytes = 0;
    FILE *out = open_memstream(&text, &text_bytes);
    assert(out);
    enum status status = describe_text(out, path);
    if (status == STATUS_OK)
        status = describe_json(out, path);
    fclose(out);
    for (size_t i = 0; i < text_bytes; i++)
        assert((unsigned char)text[i] >= 0x20 || text[i] == '\n');
    assert(status == STATUS_OK || text_bytes == 0);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    int file = memfd_create("input", MFD_CLOEXEC);
    assert(file >= 0);
    ssize_t written = write(file, data, bytes);
    assert(written == (ssize_t)bytes);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    describe_both(path);
    close(file);
    return 0;
}

size_t fuzz_seed(int index, uint8_t *data, size_t room)
{
    struct tiny_model_shape shape = {
        .layers = 1 + index, .hidden = 32, .heads = 2, .kv_heads = 1, .head_dim = 16, .ffn = 32};
    if (index >= 3)
        return 0;
    struct gguf_writer file = {0};
    tiny_model_build(&file, &shape, (uint64_t)index, DTYPE_Q4_1);
    size_t bytes = file.bytes;
    assert(bytes <= room);
    memcpy(data, file.data, bytes);
    gguf_writer_free(&file);
    return bytes;
}
