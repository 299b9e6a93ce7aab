/* Owns small files of saved keys. Promises the same bytes for the same example. */
#include "tests/support/cache_example.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "kernels/dtype.h"
#include "proto/cache_file/cache_numbers.h"
#include "proto/cache_file/cache_reader.h"
#include "proto/cache_file/cache_writer.h"

enum { LAYERS = 2, KV_HEADS = 1, HEAD_DIM = 16, VOCAB = 50, BLOCK_BYTES_MAX = 1 << 16 };

void cache_example_make(struct cache_example *example, const char *method, enum choice_cache cache,
                        int64_t tokens, int64_t first_panel)
{
    static const char document[] = "A report of 1872.\n\n";
    struct bands bands;
    *example = (struct cache_example){
        .header = {.cache = cache,
                   .layers = LAYERS,
                   .kv_heads = KV_HEADS,
                   .head_dim = HEAD_DIM,
                   .tokens = tokens,
                   .context_tokens = tokens + 40,
                   .form = first_panel > 0 ? CACHE_FORM_CHAT : CACHE_FORM_RAW,
                   .document = document,
                   .document_bytes = sizeof document - 1},
        .seed = (uint64_t)tokens,
    };
    struct cache_header *header = &example->header;
    assert(tokens <= CACHE_EXAMPLE_TOKENS_MAX);
    snprintf(header->model, sizeof header->model, "%032x", 0x5eed);
    if (method_parse(&header->method, method, 0) != STATUS_OK)
        abort();
    method_bands(&header->method, &bands);
    header->stores[header->store_count++] =
        (struct cache_store){BANDS_PANELS, bands.panel_frames + 1, first_panel,
                             (tokens + BANDS_LANES - 1) / BANDS_LANES};
    if (first_panel > 0)
        header->stores[header->store_count++] = (struct cache_store){
            BANDS_SINKS, bands.key_frames + 1, 0, (bands.sinks + BANDS_LANES - 1) / BANDS_LANES};
    for (int64_t t = 0; t < tokens; t++)
        example->ids[t] = (int32_t)(t * 7 % VOCAB);
    header->ids = example->ids;
}

void cache_example_block(const struct cache_example *example, uint8_t *block, int64_t number)
{
    struct random random = {example->seed + (uint64_t)number * RANDOM_STEP * 4096};
    const size_t width = cache_header_element_bytes(&example->header);
    const size_t bytes = cache_header_block_bytes(&example->header, number);
    for (size_t at = 0; at < bytes; at += width) {
        const float value = random_float(&random);
        const uint16_t half = dtype_bf16_from_f32(value);
        const int8_t whole = (int8_t)(value * 16); /* of few values, which shrinks */
        memcpy(block + at,
               width == 1   ? (const void *)&whole
               : width == 2 ? (const void *)&half
                            : (const void *)&value,
               width);
    }
}

void cache_example_write(const struct cache_example *example, const char *path)
{
    struct cache_writer writer;
    struct cache_packer *packer;
    uint8_t block[BLOCK_BYTES_MAX];
    const struct cache_header *header = &example->header;
    const int64_t blocks = cache_header_blocks(header);
    if (cache_writer_open(&writer, path, header) != STATUS_OK ||
        cache_packer_create(&packer, cache_header_block_most(header),
                            cache_header_element_bytes(header)) != STATUS_OK)
        abort();
    for (int64_t n = 0; n < blocks; n++) {
        struct cache_stored stored = {.number = (n + blocks / 2) % blocks, .name = "the example"};
        cache_example_block(example, block, stored.number);
        cache_block_pack(packer, &stored.bytes, &stored.count, block,
                         cache_header_block_bytes(header, stored.number));
        stored.digest = cache_block_digest(stored.bytes, stored.count, stored.number);
        if (cache_writer_add(&writer, &stored) != STATUS_OK)
            abort();
    }
    cache_packer_destroy(packer);
    if (cache_writer_close(&writer) != STATUS_OK)
        abort();
}

static uint64_t get(const uint8_t *at, int bytes)
{
    uint64_t value = 0;
    for (int i = bytes - 1; i >= 0; i--)
        value = value << 8 | at[i];
    return value;
}

void cache_example_mend(uint8_t *data, size_t bytes)
{
    enum { HEADER_BYTES_AT = 16 };
    const size_t header = bytes > HEADER_BYTES_AT + 4 ? (size_t)get(data + HEADER_BYTES_AT, 4) : 0;
    if (header < HEADER_BYTES_AT + 12 || header > bytes)
        return;
    const uint64_t seed = XXH3_64bits(data, header - 8);
    cache_put_u64(data + header - 8, seed);
    if (bytes - header < CACHE_TRAILER_BYTES)
        return;
    const uint64_t table = get(data + bytes - CACHE_TRAILER_BYTES, 8);
    if (table <= bytes - CACHE_TRAILER_BYTES)
        cache_put_u64(data + bytes - 8,
                      XXH3_64bits_withSeed(data + table, bytes - 8 - (size_t)table, seed));
}
