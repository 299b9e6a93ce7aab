/* Feeds bytes to the reading of a safetensors file and touches every tensor; bytes that begin as
 * JSON are an index. */
#include <assert.h>
#include <string.h>

#include "proto/model/safetensors.h"
#include "proto/model/shard_index.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/gguf_writer.h"

static volatile unsigned sink;

static const char header[] =
    "{\"__metadata__\":{\"format\":\"pt\"},"
    "\"model.norm.weight\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[6,30]},"
    "\"lm_head.weight\":{\"dtype\":\"BF16\",\"shape\":[3],\"data_offsets\":[0,6]},"
    "\"e\":{\"dtype\":\"F16\",\"shape\":[0,7],\"data_offsets\":[30,30]}}  ";
static const char index_text[] =
    "{\"metadata\":{\"total_size\":30},\"weight_map\":{\"a\":\"model-1.safetensors\","
    "\"b\":\"model-2.safetensors\",\"c\":\"model-1.safetensors\"}}";

size_t fuzz_seed(int index, uint8_t *data, size_t room)
{
    struct gguf_writer file = {0};
    if (index > 1)
        return 0;
    if (index == 1) {
        gguf_writer_bytes(&file, index_text, strlen(index_text));
    } else {
        gguf_writer_u64(&file, strlen(header));
        gguf_writer_bytes(&file, header, strlen(header));
        for (uint8_t i = 0; i < 30; i++)
            gguf_writer_u8(&file, i);
    }
    size_t bytes = file.bytes;
    assert(bytes <= room);
    memcpy(data, file.data, bytes);
    gguf_writer_free(&file);
    return bytes;
}

static void read_index(const uint8_t *data, size_t bytes)
{
    const struct checkpoint_tensor tensor = {.name = {"a", 1}};
    struct shard_index *index;
    if (shard_index_parse(&index, data, bytes, "input") != STATUS_OK) {
        assert(status_message()[0] != 0);
        return;
    }
    for (int i = 0; i < shard_index_file_count(index); i++) {
        assert(!strchr(shard_index_file(index, i), '/'));
        sink += shard_index_check_file(index, i, &tensor, 1);
    }
    double stated;
    sink += shard_index_total_differs(index, &stated, 30);
    shard_index_close(index);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct safetensors *safetensors;
    if (bytes > 0 && data[0] == '{') {
        read_index(data, bytes);
        return 0;
    }
    if (safetensors_parse(&safetensors, data, bytes, "input") != STATUS_OK) {
        assert(status_message()[0] != 0);
        return 0;
    }
    for (int i = 0; i < safetensors_count(safetensors); i++) {
        const struct checkpoint_tensor *tensor = safetensors_tensor(safetensors, i);
        assert(tensor->name.bytes > 0 && tensor->data + tensor->bytes <= data + bytes);
        if (tensor->bytes > 0)
            sink += (unsigned)tensor->data[0] + tensor->data[tensor->bytes - 1];
    }
    safetensors_close(safetensors);
    return 0;
}
