/* Files of saved keys and values: what is written comes back, bit for bit, and what is damaged, cut
 * off or foreign is refused with its reason and offset. */
#include "tests/support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "kernels/dtype.h"
#include "proto/cache_file/cache_reader.h"
#include "proto/cache_file/cache_writer.h"
#include "tests/support/cache_example.h"

enum { PATH_BYTES = 64, FILE_BYTES_MAX = 1 << 20 };

static void make_path(char path[PATH_BYTES])
{
    snprintf(path, PATH_BYTES, "/tmp/longhaul-cache-XXXXXX");
    const int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    unlink(path);
}

/* Bytes of the example's file, from a multiple of 8 on; free ends them. */
static uint8_t *file_of(const struct cache_example *example, size_t *bytes)
{
    char path[PATH_BYTES];
    make_path(path);
    cache_example_write(example, path);
    FILE *file = fopen(path, "rb");
    uint8_t *data = malloc(FILE_BYTES_MAX);
    assert_non_null(file);
    assert_non_null(data);
    *bytes = fread(data, 1, FILE_BYTES_MAX, file);
    assert_true(*bytes < FILE_BYTES_MAX);
    fclose(file);
    unlink(path);
    return data;
}

static enum status unpack(const struct cache_reader *reader, uint8_t *block, int64_t number)
{
    struct cache_packer *packer;
    const struct cache_header *header = &reader->header;
    const struct cache_stored stored = cache_reader_stored(reader, number);
    TRY(cache_packer_create(&packer, cache_header_block_most(header),
                            cache_header_element_bytes(header)));
    const enum status status =
        cache_block_unpack(packer, block, cache_header_block_bytes(header, number), &stored);
    cache_packer_destroy(packer);
    return status;
}

/* Reads all of it; the first failure. */
static enum status read_all(const void *data, size_t bytes)
{
    struct cache_reader reader;
    TRY(cache_reader_parse(&reader, data, bytes, "f"));
    uint8_t *block = malloc(cache_header_block_most(&reader.header));
    enum status status = STATUS_OK;
    for (int64_t n = 0; n < reader.blocks && status == STATUS_OK; n++)
        status = unpack(&reader, block, n);
    free(block);
    return status;
}

static const struct {
    const char *method;
    enum choice_cache cache;
    int64_t tokens, first_panel, blocks;
} examples[] = {
    {"rope", CHOICE_CACHE_BF16, 1, 0, 2},
    {"rope+yarn:factor=2,original=64", CHOICE_CACHE_F32, 64, 0, 2},
    {"string:shift=60,local=2", CHOICE_CACHE_BF16, 321, 0, 12},
    {"dca:chunk=32,local=8", CHOICE_CACHE_BF16, 130, 0, 6},
    {"lm_infinite:window=128,sinks=10", CHOICE_CACHE_BF16, 700, 7, 10},
    {"streaming_llm:window=128,sinks=4", CHOICE_CACHE_F32, 700, 8, 8},
    {"string:shift=60,local=2", CHOICE_CACHE_INT8, 130, 0, 6},
};
enum { EXAMPLES = sizeof examples / sizeof examples[0] };

static void make(struct cache_example *example, int e)
{
    cache_example_make(example, examples[e].method, examples[e].cache, examples[e].tokens,
                       examples[e].first_panel);
}

static void check_header(const struct cache_header *read, const struct cache_header *written)
{
    char a[METHOD_TEXT_BYTES], b[METHOD_TEXT_BYTES];
    method_print(&read->method, a);
    method_print(&written->method, b);
    assert_string_equal(a, b);
    assert_string_equal(read->model, written->model);
    assert_int_equal(read->cache, written->cache);
    assert_int_equal(read->layers, written->layers);
    assert_int_equal(read->kv_heads, written->kv_heads);
    assert_int_equal(read->head_dim, written->head_dim);
    assert_int_equal(read->tokens, written->tokens);
    assert_int_equal(read->context_tokens, written->context_tokens);
    assert_int_equal(read->store_count, written->store_count);
    for (int s = 0; s < read->store_count; s++) {
        assert_int_equal(read->stores[s].store, written->stores[s].store);
        assert_int_equal(read->stores[s].records, written->stores[s].records);
        assert_int_equal(read->stores[s].first_panel, written->stores[s].first_panel);
        assert_int_equal(read->stores[s].end_panel, written->stores[s].end_panel);
    }
    assert_memory_equal(read->ids, written->ids, (size_t)read->tokens * sizeof *read->ids);
    assert_int_equal(read->form, written->form);
    assert_int_equal(read->document_bytes, written->document_bytes);
    assert_memory_equal(read->document, written->document, read->document_bytes);
}

static void what_is_written_comes_back(void **state)
{
    (void)state;
    for (int e = 0; e < EXAMPLES; e++) {
        struct cache_example example;
        struct cache_reader reader;
        char path[PATH_BYTES];
        make(&example, e);
        make_path(path);
        cache_example_write(&example, path);
        assert_int_equal(cache_reader_open(&reader, path), STATUS_OK);
        check_header(&reader.header, &example.header);
        assert_int_equal(reader.blocks, examples[e].blocks);
        const size_t most = cache_header_block_most(&reader.header);
        uint8_t *read = malloc(most), *written = malloc(most);
        for (int64_t n = 0; n < reader.blocks; n++) {
            assert_int_equal(unpack(&reader, read, n), STATUS_OK);
            cache_example_block(&example, written, n);
            assert_memory_equal(read, written, cache_header_block_bytes(&reader.header, n));
        }
        free(read);
        free(written);
        cache_reader_close(&reader);
        unlink(path);
    }
}

static void each_block_has_one_place(void **state)
{
    (void)state;
    struct cache_example example;
    make(&example, 4);
    const struct cache_header *header = &example.header;
    int64_t number = 0;
    for (int s = 0; s < header->store_count; s++)
        for (int64_t p = header->stores[s].first_panel; p < header->stores[s].end_panel; p++)
            for (int layer = 0; layer < header->layers; layer++) {
                const struct cache_place place = cache_header_place(header, number);
                assert_int_equal(cache_header_number(header, &place), number);
                assert_int_equal(place.store, header->stores[s].store);
                assert_int_equal(place.panel, p);
                assert_int_equal(place.layer, layer);
                assert_int_equal(cache_header_block_bytes(header, number),
                                 header->stores[s].records * 64 * 16 * 2);
                number++;
            }
    assert_int_equal(number, cache_header_blocks(header));
    static const struct cache_place none[] = {{BANDS_PANELS, 6, 0}, {BANDS_PANELS, 11, 0},
                                              {BANDS_PANELS, 7, 2}, {BANDS_PANELS, 7, -1},
                                              {BANDS_SINKS, 1, 0},  {BANDS_SINKS, -1, 0}};
    for (size_t n = 0; n < sizeof none / sizeof none[0]; n++)
        assert_int_equal(cache_header_number(header, &none[n]), -1);
}

/* What is kept of a text follows from its method and its context. */
static void a_plan_keeps_what_later_tokens_see(void **state)
{
    (void)state;
    static const struct {
        const char *method;
        int64_t tokens, context, window;
        int64_t first_panel, end_panel;
        int records;
        int64_t sink_panels;
    } rows[] = {
        {"rope", 1000, 1100, 0, 0, 16, 2, 0},
        {"rerope:window=64", 1000, 1100, 0, 0, 16, 3, 0},
        {"rope", 1000, 1100, 128, 13, 16, 2, 0},
        {"lm_infinite:window=128,sinks=10", 1000, 1100, 0, 13, 16, 2, 1},
        {"lm_infinite:window=128,sinks=10", 100, 120, 0, 0, 2, 2, 0},
        {"lm_infinite:window=128,sinks=70", 40, 1000, 0, 0, 1, 2, 1},
    };
    const struct model_shape shape = {.layers = 2, .kv_heads = 1, .head_dim = 16};
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        struct cache_header header;
        struct choice choice = {.group = group_choice_usual(2)};
        assert_int_equal(method_parse(&choice.request.method, rows[r].method, 0), STATUS_OK);
        choice.request.context_tokens = rows[r].context;
        choice.request.window_tokens = rows[r].window;
        cache_header_plan(&header, &choice, &shape, rows[r].tokens);
        assert_int_equal(header.stores[0].store, BANDS_PANELS);
        assert_int_equal(header.stores[0].first_panel, rows[r].first_panel);
        assert_int_equal(header.stores[0].end_panel, rows[r].end_panel);
        assert_int_equal(header.stores[0].records, rows[r].records);
        assert_int_equal(header.store_count, 1 + (rows[r].sink_panels > 0));
        if (header.store_count > 1)
            assert_int_equal(header.stores[1].end_panel, rows[r].sink_panels);
    }
}

static void keys_of_another_session_are_not_taken(void **state)
{
    (void)state;
    static const char *const what[] = {
        "of the model 1", "bfloat16 keys; these workers' are int8: start workers with the same --c",
        "keys for string:shift=60,local=2,logit_scale=1, not for rope",
        "other panels than 321 tokens"};
    struct cache_example example;
    make(&example, 2);
    for (int wrong = 0; wrong < 4; wrong++) {
        struct cache_header found = example.header, planned = example.header;
        assert_int_equal(cache_header_match(&found, &planned, "f"), STATUS_OK);
        if (wrong == 0)
            found.model[0] = '1';
        else if (wrong == 1)
            planned.cache = CHOICE_CACHE_INT8;
        else if (wrong == 2)
            assert_int_equal(method_parse(&planned.method, "rope", 0), STATUS_OK);
        else
            found.stores[0].first_panel = 1;
        assert_int_equal(cache_header_match(&found, &planned, "f"), STATUS_FAILED_PRECONDITION);
        if (!strstr(status_message(), what[wrong]))
            fail_msg("\"%s\" lacks \"%s\"", status_message(), what[wrong]);
    }
}

static void exponents_shrink_and_noise_does_not_grow(void **state)
{
    (void)state;
    enum { BYTES = 1 << 16 };
    struct cache_packer *packer;
    struct random random = {7};
    const uint8_t *stored;
    size_t stored_bytes;
    uint16_t *block = malloc(BYTES);
    assert_int_equal(cache_packer_create(&packer, BYTES, 2), STATUS_OK);
    for (int i = 0; i < BYTES / 2; i++)
        block[i] = dtype_bf16_from_f32(random_normal(&random));
    cache_block_pack(packer, &stored, &stored_bytes, block, BYTES);
    assert_true(stored_bytes < BYTES * 8 / 10);
    for (int i = 0; i < BYTES / 2; i++)
        block[i] = (uint16_t)random_between(&random, 0, 1 << 16);
    cache_block_pack(packer, &stored, &stored_bytes, block, BYTES);
    assert_int_equal(stored_bytes, cache_block_stored_most(BYTES, 2));
    memset(block, 0, BYTES);
    cache_block_pack(packer, &stored, &stored_bytes, block, BYTES);
    assert_true(stored_bytes < 100);
    cache_packer_destroy(packer);
    free(block);
}

static void every_damaged_byte_and_every_cut_is_found(void **state)
{
    (void)state;
    struct cache_example example;
    size_t bytes;
    make(&example, 0);
    uint8_t *data = file_of(&example, &bytes);
    assert_int_equal(read_all(data, bytes), STATUS_OK);
    for (size_t at = 0; at < bytes; at++) {
        data[at] ^= 0x10;
        if (read_all(data, bytes) == STATUS_OK)
            fail_msg("byte %zu may change unseen", at);
        assert_true(strncmp(status_message(), "f: offset ", 10) == 0);
        data[at] ^= 0x10;
    }
    for (size_t cut = 0; cut < bytes; cut++) {
        assert_int_not_equal(read_all(data, cut), STATUS_OK);
        assert_true(strncmp(status_message(), "f: offset ", 10) == 0);
    }
    data[bytes] = 0;
    assert_int_not_equal(read_all(data, bytes + 1), STATUS_OK);
    free(data);
}

/* What a header may not say, though its digest is right: `bytes` at `offset` become `value`. */
static void claims_that_cannot_be_are_refused(void **state)
{
    (void)state;
    static const struct {
        int offset, bytes;
        uint64_t value;
        enum status status;
        const char *what;
    } claims[] = {
        {0, 1, 'K', STATUS_DATA_LOSS, "offset 0: this is no file of saved keys and values [magic]"},
        {8, 4, 2, STATUS_UNIMPLEMENTED, "offset 8: version 2, this program knows 1 [version]"},
        {12, 4, 0x04030201, STATUS_UNIMPLEMENTED, "offset 12: its numbers are not little-endian"},
        {16, 4, 8, STATUS_DATA_LOSS, "offset 16: a header of 8 bytes"},
        {16, 4, 1 << 24, STATUS_DATA_LOSS, "offset 0: the header needs 16777216 bytes"},
        {16, 4, 1 << 30, STATUS_DATA_LOSS, "offset 16: a header of 1073741824 bytes"},
        {20, 4, 4, STATUS_UNIMPLEMENTED, "offset 20: elements of type 4: this program knows bfl"},
        {24, 4, 0, STATUS_DATA_LOSS, "offset 24: layers: 0"},
        {24, 4, 1025, STATUS_DATA_LOSS, "offset 24: layers: 1025"},
        {28, 4, 1025, STATUS_DATA_LOSS, "offset 28: KV heads: 1025"},
        {32, 4, 1025, STATUS_DATA_LOSS, "offset 32: width of a head: 1025"},
        {36, 4, 32, STATUS_DATA_LOSS, "offset 36: tokens of a panel: 32, must be 64 to 64"},
        {40, 4, 4, STATUS_DATA_LOSS, "offset 140: records of a panel: 3, must be 5"},
        {44, 4, 3, STATUS_DATA_LOSS, "offset 44: key frames of all keys: 3"},
        {48, 4, 0, STATUS_DATA_LOSS, "offset 48: stores: 0"},
        {48, 4, 3, STATUS_DATA_LOSS, "offset 48: stores: 3"},
        {52, 4, 320, STATUS_DATA_LOSS, "offset 52: bytes of the method: 320"},
        {56, 8, 0, STATUS_DATA_LOSS, "offset 56: tokens: 0"},
        {56, 8, UINT64_C(1) << 40, STATUS_DATA_LOSS, "offset 56: tokens: 1099511627776"},
        {64, 8, 699, STATUS_DATA_LOSS, "offset 64: tokens of the context: 699, must be 700"},
        {72, 1, 'G', STATUS_DATA_LOSS, "offset 72: the model's digest is not of hexadecimal"},
        {104, 4, 3, STATUS_DATA_LOSS, "offset 104: form of the document: 3"},
        {104, 4, 0, STATUS_DATA_LOSS, "offset 108: bytes of the document: 19, must be 0 to 0"},
        {108, 4, 0, STATUS_DATA_LOSS, "offset 108: bytes of the document: 0, must be 1 to"},
        {108, 4, 3, STATUS_DATA_LOSS, "bytes between the document and the digest [header]"},
        {108, 4, 1 << 20, STATUS_DATA_LOSS, "the document needs 1048576 bytes"},
        {112, 4, 1, STATUS_DATA_LOSS, "offset 112: store: 1"},
        {116, 4, 3, STATUS_DATA_LOSS, "offset 116: records of a panel: 3"},
        {120, 8, 11, STATUS_DATA_LOSS, "offset 120: first panel: 11"},
        {128, 8, 10, STATUS_DATA_LOSS, "offset 128: end of the panels: 10"},
        {136, 4, 0, STATUS_DATA_LOSS, "offset 136: store: 0"},
        {144, 8, 1, STATUS_DATA_LOSS, "offset 144: first panel: 1"},
        {152, 8, 12, STATUS_DATA_LOSS, "offset 152: end of the panels: 12"},
        {160, 1, 'x', STATUS_DATA_LOSS, "offset 160: "},
        {163, 1, 0, STATUS_DATA_LOSS, "offset 160: a NUL in the method"},
        {216, 4, UINT32_MAX, STATUS_DATA_LOSS, "offset 216: token 2 has the id -1"},
    };
    struct cache_example example;
    size_t bytes;
    make(&example, 4);
    uint8_t *data = file_of(&example, &bytes);
    uint8_t *changed = malloc(bytes);
    for (size_t i = 0; i < sizeof claims / sizeof claims[0]; i++) {
        memcpy(changed, data, bytes);
        memcpy(changed + claims[i].offset, &claims[i].value, (size_t)claims[i].bytes);
        cache_example_mend(changed, bytes);
        const enum status status = read_all(changed, bytes);
        if (status != claims[i].status || !strstr(status_message(), claims[i].what))
            fail_msg("claim %zu, \"%s\": %s \"%s\"", i, claims[i].what, status_name(status),
                     status_message());
    }
    free(changed);
    free(data);
}

static void frames_are_those_of_the_method(void **state)
{
    (void)state;
    struct cache_example example;
    size_t bytes;
    make(&example, 0);
    uint8_t *data = file_of(&example, &bytes);
    data[40] = 2;
    cache_example_mend(data, bytes);
    assert_int_equal(read_all(data, bytes), STATUS_DATA_LOSS);
    assert_string_equal(status_message(), "f: offset 40: 2 and 1 key frames, of \"rope\" there are "
                                          "1 and 1 [frames]");
    free(data);
}

static void tables_that_cannot_be_are_refused(void **state)
{
    (void)state;
    struct cache_example example;
    struct cache_reader reader;
    size_t bytes;
    make(&example, 2);
    uint8_t *data = file_of(&example, &bytes);
    assert_int_equal(cache_reader_parse(&reader, data, bytes, "f"), STATUS_OK);
    const size_t table = reader.table;
    uint8_t entry[CACHE_ENTRY_BYTES], other[CACHE_ENTRY_BYTES];
    memcpy(entry, data + table, sizeof entry);
    memcpy(other, data + table + sizeof entry, sizeof other);

    /* Before the blocks, in the table, and too long for any block. */
    for (int wrong = 0; wrong < 3; wrong++) {
        const uint64_t value = wrong == 0 ? 8 : wrong == 1 ? table + 8 : UINT64_MAX - 7;
        memcpy(data + table + (wrong == 2 ? 8 : 0), &value, sizeof value);
        cache_example_mend(data, bytes);
        assert_int_equal(read_all(data, bytes), STATUS_DATA_LOSS);
        assert_non_null(strstr(status_message(), "block 0 does not lie among the blocks [table]"));
        memcpy(data + table, entry, sizeof entry);
    }
    /* A byte of nobody. */
    data[table + 8]--;
    cache_example_mend(data, bytes);
    assert_int_equal(read_all(data, bytes), STATUS_DATA_LOSS);
    assert_non_null(strstr(status_message(), "1 bytes before the table are no block's"));
    /* Two blocks that have changed places are each the other's. */
    memcpy(data + table, other, sizeof other);
    memcpy(data + table + sizeof entry, entry, sizeof entry);
    cache_example_mend(data, bytes);
    assert_int_equal(read_all(data, bytes), STATUS_DATA_LOSS);
    assert_non_null(strstr(status_message(), "block 0 is not as it was written [digest]"));
    /* The table of another file. */
    memcpy(data + table, entry, sizeof entry);
    memcpy(data + table + sizeof entry, other, sizeof other);
    cache_example_mend(data, bytes);
    assert_int_equal(read_all(data, bytes), STATUS_OK);
    data[bytes - 1] ^= 1;
    assert_int_equal(read_all(data, bytes), STATUS_DATA_LOSS);
    assert_non_null(strstr(status_message(), "table and trailer are not as they were written"));
    free(data);
}

/* Stored bytes with the right digest that are no block. */
static void blocks_that_cannot_be_are_refused(void **state)
{
    (void)state;
    enum { BYTES = 4096, PLANE = BYTES / 2 };
    struct cache_packer *packer;
    const uint8_t *packed;
    size_t packed_bytes;
    uint8_t block[BYTES] = {0}, stored[2 * BYTES];
    assert_int_equal(cache_packer_create(&packer, BYTES, 2), STATUS_OK);
    cache_block_pack(packer, &packed, &packed_bytes, block, BYTES);
    for (int wrong = 0; wrong < 4; wrong++) {
        static const char *const what[] = {
            "offset 8: a plane of 2048 bytes: ", "offset 8: a plane of the block needs",
            "offset 0: the block's planes needs 8 bytes", "after the planes of block 3 [block]"};
        struct cache_stored wanted = {
            .bytes = stored, .count = packed_bytes, .number = 3, .name = "f"};
        memcpy(stored, packed, packed_bytes);
        if (wrong == 0)
            memset(stored + 8, 0xff, packed_bytes - 8);
        else if (wrong == 1)
            stored[2] = 1;
        else if (wrong == 2)
            wanted.count = 7;
        else
            wanted.count++;
        wanted.digest = cache_block_digest(stored, wanted.count, 3);
        assert_int_equal(cache_block_unpack(packer, block, BYTES, &wanted), STATUS_DATA_LOSS);
        if (!strstr(status_message(), what[wrong]))
            fail_msg("\"%s\" lacks \"%s\"", status_message(), what[wrong]);
    }
    /* Of half the size: its planes are. */
    cache_block_pack(packer, &packed, &packed_bytes, block, PLANE);
    struct cache_stored half = {.bytes = packed, .count = packed_bytes, .name = "f"};
    half.digest = cache_block_digest(packed, packed_bytes, 0);
    assert_int_equal(cache_block_unpack(packer, block, BYTES, &half), STATUS_DATA_LOSS);
    assert_non_null(strstr(status_message(), "a plane of 1024 bytes, must be 2048 [zstd]"));
    cache_packer_destroy(packer);
}

static void a_file_takes_its_place_whole_or_not_at_all(void **state)
{
    (void)state;
    struct cache_example example;
    struct cache_writer writer;
    char path[PATH_BYTES], beside[PATH_BYTES + 16];
    uint8_t bytes[4] = {1, 2, 3, 4};
    struct cache_stored stored = {.bytes = bytes, .count = sizeof bytes, .number = 1, .name = "f"};
    stored.digest = cache_block_digest(bytes, sizeof bytes, 1);
    make(&example, 0);
    make_path(path);
    snprintf(beside, sizeof beside, "%s.unfinished", path);
    assert_int_equal(cache_writer_open(&writer, path, &example.header), STATUS_OK);
    assert_int_equal(cache_writer_add(&writer, &stored), STATUS_OK);
    assert_int_equal(cache_writer_add(&writer, &stored), STATUS_DATA_LOSS);
    assert_non_null(strstr(status_message(), "block 1 twice"));
    stored.number = 2;
    assert_int_equal(cache_writer_add(&writer, &stored), STATUS_DATA_LOSS);
    assert_non_null(strstr(status_message(), "block 2 of 2"));
    stored.number = 0;
    assert_int_equal(cache_writer_add(&writer, &stored), STATUS_DATA_LOSS);
    assert_non_null(strstr(status_message(), "damaged on its way"));
    assert_int_equal(access(beside, F_OK), 0);
    assert_int_equal(cache_writer_close(&writer), STATUS_DATA_LOSS);
    assert_non_null(strstr(status_message(), "of 2 blocks"));
    assert_int_equal(access(beside, F_OK), -1);
    assert_int_equal(access(path, F_OK), -1);

    assert_int_equal(cache_writer_open(&writer, path, &example.header), STATUS_OK);
    cache_writer_discard(&writer);
    assert_int_equal(access(beside, F_OK), -1);
    example.header.tokens = 0;
    assert_int_equal(cache_writer_open(&writer, path, &example.header), STATUS_INTERNAL);
    assert_non_null(strstr(status_message(), "tokens: 0"));
    assert_int_equal(access(beside, F_OK), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_comes_back),
        cmocka_unit_test(each_block_has_one_place),
        cmocka_unit_test(a_plan_keeps_what_later_tokens_see),
        cmocka_unit_test(keys_of_another_session_are_not_taken),
        cmocka_unit_test(exponents_shrink_and_noise_does_not_grow),
        cmocka_unit_test(every_damaged_byte_and_every_cut_is_found),
        cmocka_unit_test(claims_that_cannot_be_are_refused),
        cmocka_unit_test(frames_are_those_of_the_method),
        cmocka_unit_test(tables_that_cannot_be_are_refused),
        cmocka_unit_test(blocks_that_cannot_be_are_refused),
        cmocka_unit_test(a_file_takes_its_place_whole_or_not_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
