/* The reader of samples over any bytes: what it hands out lies in the file and is a sample; what it
 * refuses says where. Digests stop nearly all mutations, so that each is also read once more with
 * the trailer's digest, and that of the first record, made right. */
#include "proto/train/sample_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "tests/fuzz/fuzz.h"

enum { VOCAB = 50, COUNT = 21 };

size_t fuzz_seed(int index, uint8_t *data, size_t room)
{
    char path[] = "/tmp/longhaul-sample-seed-XXXXXX";
    struct record_writer writer;
    const int file = index < 2 ? mkstemp(path) : -1;
    size_t got = 0;
    if (file < 0 || sample_file_create(&writer, path, VOCAB) != STATUS_OK)
        return 0;
    close(file);
    for (int n = 0; n <= 2 * index; n++) {
        int32_t ids[COUNT], positions[COUNT];
        uint8_t counts[COUNT];
        for (int t = 0; t < COUNT; t++) {
            ids[t] = (t * 7 + n) % VOCAB;
            positions[t] = t * 2;
            counts[t] = t > 0;
        }
        const struct sample sample = {COUNT - n, ids, positions, counts};
        if (sample_file_add(&writer, &sample) != STATUS_OK)
            abort();
    }
    FILE *written = record_writer_close(&writer) == STATUS_OK ? fopen(path, "rb") : NULL;
    if (written) {
        got = fread(data, 1, room, written);
        fclose(written);
    }
    unlink(path);
    return got;
}

static void read_all(const uint8_t *data, size_t bytes)
{
    struct record_file file;
    struct sample sample;
    if (sample_file_parse(&file, data, bytes, "f") != STATUS_OK) {
        if (strncmp(status_message(), "f: ", 3) != 0)
            abort();
        return;
    }
    for (int64_t n = 0; n < file.count && n < 100; n++) {
        if (sample_file_read(&file, &sample, n) != STATUS_OK)
            continue;
        int64_t sum = 0;
        for (int64_t t = 0; t < sample.count; t++) {
            if (sample.ids[t] < 0 || sample.ids[t] >= file.vocab || sample.counts[t] > 1)
                abort();
            sum += sample.positions[t];
        }
        if (sample.count < 1 || sample.counts[0] || sum < 0)
            abort();
    }
}

static uint64_t get_u64(const uint8_t *bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}

static void put_u64(uint8_t *bytes, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(value >> (8 * i));
}

/* As far as the mutation left an index to go by. */
static void make_digests_right(uint8_t *data, size_t bytes)
{
    if (bytes < RECORD_FILE_HEADER_BYTES + RECORD_FILE_TRAILER_BYTES)
        return;
    const uint64_t index = get_u64(data + bytes - RECORD_FILE_TRAILER_BYTES);
    if (index > bytes - RECORD_FILE_TRAILER_BYTES)
        return;
    if (bytes - RECORD_FILE_TRAILER_BYTES - index >= RECORD_FILE_INDEX_BYTES) {
        const uint64_t offset = get_u64(data + index), count = get_u64(data + index + 8);
        if (offset <= index && count <= (index - offset) / 9)
            put_u64(data + index + 16, XXH3_64bits(data + offset, (size_t)count * 9));
    }
    put_u64(data + bytes - 8, XXH3_64bits(data + index, bytes - 8 - (size_t)index));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    uint8_t *aligned = aligned_alloc(8, (bytes + 8) / 8 * 8);
    if (!aligned)
        return 0;
    memcpy(aligned, data, bytes);
    read_all(aligned, bytes);
    make_digests_right(aligned, bytes);
    read_all(aligned, bytes);
    free(aligned);
    return 0;
}
