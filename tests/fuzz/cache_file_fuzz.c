/* The reader of saved keys over any bytes: what it hands out lies in the file, and what it refuses
 * says where. Digests stop nearly all mutations, so that each is also read once more with those of
 * header and table made right, and its blocks with theirs. */
#include "proto/cache_file/cache_reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "tests/support/cache_example.h"

enum { BLOCKS_MOST = 100 };

size_t fuzz_seed(int index, uint8_t *data, size_t room)
{
    static const struct {
        const char *method;
        enum choice_cache cache;
        int64_t tokens, first_panel;
    } seeds[] = {
        {"rope", CHOICE_CACHE_BF16, 20, 0},
        {"string:shift=60,local=2+yarn:factor=2,original=64", CHOICE_CACHE_F32, 65, 0},
        {"lm_infinite:window=128,sinks=10", CHOICE_CACHE_BF16, 700, 9},
        {"dca:chunk=32,local=8", CHOICE_CACHE_INT8, 20, 0},
    };
    struct cache_example example;
    char path[] = "/tmp/longhaul-cache-seed-XXXXXX";
    const int file = index < (int)(sizeof seeds / sizeof seeds[0]) ? mkstemp(path) : -1;
    size_t got = 0;
    if (file < 0)
        return 0;
    close(file);
    cache_example_make(&example, seeds[index].method, seeds[index].cache, seeds[index].tokens,
                       seeds[index].first_panel);
    cache_example_write(&example, path);
    FILE *written = fopen(path, "rb");
    if (written) {
        got = fread(data, 1, room, written);
        fclose(written);
    }
    unlink(path);
    return got;
}

static void check_refusal(void)
{
    if (strncmp(status_message(), "f: offset ", 10) != 0)
        abort();
}

static void read_block(const struct cache_reader *reader, struct cache_packer *packer,
                       uint8_t *block, int64_t number)
{
    const struct cache_place place = cache_header_place(&reader->header, number);
    struct cache_stored stored = cache_reader_stored(reader, number);
    const size_t bytes = cache_header_block_bytes(&reader->header, number);
    if (place.panel < 0 || place.layer >= reader->header.layers ||
        stored.bytes < reader->data + reader->header_bytes ||
        stored.bytes + stored.count > reader->data + reader->table)
        abort();
    for (int mended = 0; mended < 2; mended++) {
        if (cache_block_unpack(packer, block, bytes, &stored) != STATUS_OK)
            check_refusal();
        stored.digest = cache_block_digest(stored.bytes, stored.count, number);
    }
}

static void read_all(const uint8_t *data, size_t bytes)
{
    struct cache_reader reader;
    struct cache_packer *packer;
    if (cache_reader_parse(&reader, data, bytes, "f") != STATUS_OK) {
        check_refusal();
        return;
    }
    const size_t most = cache_header_block_most(&reader.header);
    uint8_t *block = malloc(most);
    if (block && cache_packer_create(&packer, most, cache_header_element_bytes(&reader.header)) ==
                     STATUS_OK) {
        for (int64_t n = 0; n < reader.blocks && n < BLOCKS_MOST; n++)
            read_block(&reader, packer, block, n);
        cache_packer_destroy(packer);
    }
    free(block);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    uint8_t *aligned = aligned_alloc(8, (bytes + 8) / 8 * 8);
    if (!aligned)
        return 0;
    memcpy(aligned, data, bytes);
    read_all(aligned, bytes);
    cache_example_mend(aligned, bytes);
    read_all(aligned, bytes);
    free(aligned);
    return 0;
}
