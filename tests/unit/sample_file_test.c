/* Files of samples: what is written comes back, what is damaged is refused, and which sample is
 * next. */
#include "tests/support/unit.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "proto/train/sample_file.h"
#include "proto/train/sample_order.h"

enum { SAMPLES = 5, VOCAB = 300, TOKENS_MOST = 64 };

struct owned {
    int64_t count;
    int32_t ids[TOKENS_MOST], positions[TOKENS_MOST];
    uint8_t counts[TOKENS_MOST];
};

static struct sample view(const struct owned *owned)
{
    return (struct sample){.count = owned->count,
                           .ids = owned->ids,
                           .positions = owned->positions,
                           .counts = owned->counts};
}

/* Sample n has 1 + 13 n tokens: odd numbers, so that records need padding. */
static void make(struct owned *owned, int n)
{
    owned->count = 1 + 13 * n;
    for (int64_t t = 0; t < owned->count; t++) {
        owned->ids[t] = (int32_t)((t * 37 + n) % VOCAB);
        owned->positions[t] = (int32_t)(t * 3 + n);
        owned->counts[t] = t > 0 && (t + n) % 2;
    }
}

static void write_file(const char *path)
{
    struct record_writer writer;
    assert_int_equal(sample_file_create(&writer, path, VOCAB), STATUS_OK);
    for (int n = 0; n < SAMPLES; n++) {
        struct owned owned;
        make(&owned, n);
        const struct sample sample = view(&owned);
        assert_int_equal(sample_file_add(&writer, &sample), STATUS_OK);
    }
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(record_writer_close(&writer), STATUS_OK);
}

static void make_path(char path[64])
{
    snprintf(path, 64, "/tmp/longhaul-samples-XXXXXX");
    const int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    unlink(path);
}

static void what_is_written_comes_back(void **state)
{
    (void)state;
    char path[64];
    struct record_file file;
    make_path(path);
    write_file(path);
    assert_int_equal(sample_file_open(&file, path), STATUS_OK);
    assert_int_equal(file.count, SAMPLES);
    assert_int_equal(file.longest, 1 + 13 * (SAMPLES - 1));
    assert_int_equal(file.tokens, SAMPLES + 13 * (SAMPLES * (SAMPLES - 1) / 2));
    assert_int_equal(file.vocab, VOCAB);
    for (int n = SAMPLES - 1; n >= 0; n--) {
        struct owned owned;
        struct sample sample;
        make(&owned, n);
        assert_int_equal(sample_file_read(&file, &sample, n), STATUS_OK);
        assert_int_equal(sample.count, owned.count);
        assert_memory_equal(sample.ids, owned.ids, (size_t)owned.count * 4);
        assert_memory_equal(sample.positions, owned.positions, (size_t)owned.count * 4);
        assert_memory_equal(sample.counts, owned.counts, (size_t)owned.count);
    }
    record_file_close(&file);
    unlink(path);
}

static void samples_that_cannot_be_are_not_written(void **state)
{
    (void)state;
    char path[64], beside[80];
    struct record_writer writer;
    make_path(path);
    assert_int_equal(sample_file_create(&writer, path, VOCAB), STATUS_OK);
    for (int wrong = 0; wrong < 5; wrong++) {
        struct owned owned;
        make(&owned, 2);
        if (wrong == 0)
            owned.ids[3] = VOCAB;
        else if (wrong == 1)
            owned.ids[3] = -1;
        else if (wrong == 2)
            owned.positions[3] = owned.positions[2];
        else if (wrong == 3)
            owned.counts[0] = 1;
        else
            owned.counts[3] = 2;
        const struct sample sample = view(&owned);
        assert_int_equal(sample_file_add(&writer, &sample), STATUS_INVALID_ARGUMENT);
        assert_non_null(strstr(status_message(), wrong == 3 ? "token 0:" : "token 3:"));
    }
    record_writer_discard(&writer);
    snprintf(beside, sizeof beside, "%s.unfinished", path);
    assert_int_equal(access(beside, F_OK), -1);
    assert_int_equal(access(path, F_OK), -1);
}

/* Reads all of it; the first failure. */
static enum status read_all(const void *data, size_t bytes)
{
    struct record_file file;
    struct sample sample;
    TRY(sample_file_parse(&file, data, bytes, "f"));
    for (int64_t n = 0; n < file.count; n++)
        TRY(sample_file_read(&file, &sample, n));
    return STATUS_OK;
}

/* Padding between records is nobody's. */
static bool is_padding(const uint8_t *data, size_t at)
{
    size_t end = RECORD_FILE_HEADER_BYTES;
    for (int n = 0; n < SAMPLES; n++) {
        end += 9 * (size_t)(1 + 13 * n);
        const size_t next = (end + 7) / 8 * 8;
        if (at >= end && at < next)
            return data[at] == 0;
        end = next;
    }
    return false;
}

static void every_damaged_byte_and_every_cut_is_found(void **state)
{
    (void)state;
    char path[64];
    make_path(path);
    write_file(path);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    uint8_t *data = aligned_alloc(8, 4096);
    const size_t bytes = fread(data, 1, 4096, file);
    fclose(file);
    unlink(path);
    assert_true(bytes > 1000 && bytes < 4096);
    assert_int_equal(read_all(data, bytes), STATUS_OK);
    for (size_t at = 0; at < bytes; at++) {
        data[at] ^= 0x10;
        if (read_all(data, bytes) == STATUS_OK) {
            data[at] ^= 0x10;
            if (!is_padding(data, at))
                fail_msg("byte %zu may change unseen", at);
            continue;
        }
        data[at] ^= 0x10;
        assert_true(strncmp(status_message(), "f: ", 3) == 0);
    }
    for (size_t cut = 0; cut < bytes; cut++)
        assert_int_not_equal(read_all(data, cut), STATUS_OK);
    free(data);
}

/* A trailer with the right digest that claims more than the file has room for. */
static void claims_that_cannot_be_are_refused(void **state)
{
    (void)state;
    static const struct {
        int place; /* from the trailer's first byte */
        const char *what;
    } claims[] = {{8, "the number of records"},
                  {16, "the longest record"},
                  {24, "the number of tokens"},
                  {32, "the vocabulary"}};
    char path[64];
    make_path(path);
    write_file(path);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    uint8_t *data = aligned_alloc(8, 4096);
    const size_t bytes = fread(data, 1, 4096, file);
    fclose(file);
    unlink(path);
    uint8_t *trailer = data + bytes - RECORD_FILE_TRAILER_BYTES;
    const size_t index = trailer[0] + 256u * trailer[1];
    for (size_t i = 0; i < sizeof claims / sizeof claims[0]; i++) {
        uint8_t kept[8];
        memcpy(kept, trailer + claims[i].place, 8);
        trailer[claims[i].place + 6] = 0x40;
        const uint64_t digest = XXH3_64bits(data + index, bytes - 8 - index);
        memcpy(data + bytes - 8, &digest, 8);
        assert_int_equal(read_all(data, bytes), STATUS_DATA_LOSS);
        if (!strstr(status_message(), claims[i].what))
            fail_msg("\"%s\" lacks \"%s\"", status_message(), claims[i].what);
        memcpy(trailer + claims[i].place, kept, 8);
    }
    free(data);
}

static void each_epoch_has_every_sample_once_in_an_order_of_its_own(void **state)
{
    (void)state;
    enum { COUNT = 50, EPOCHS = 4 };
    struct sample_order order;
    int64_t places[EPOCHS][COUNT];
    assert_int_equal(sample_order_init(&order, COUNT, 7), STATUS_OK);
    for (int64_t n = 0; n < (int64_t)EPOCHS * COUNT; n++)
        places[n / COUNT][n % COUNT] = sample_order_place(&order, n);
    for (int e = 0; e < EPOCHS; e++) {
        bool seen[COUNT] = {false};
        for (int i = 0; i < COUNT; i++) {
            assert_false(seen[places[e][i]]);
            seen[places[e][i]] = true;
            if (e == 0)
                assert_int_equal(places[e][i], i);
        }
        for (int other = 0; other < e; other++)
            assert_memory_not_equal(places[e], places[other], sizeof places[e]);
    }
    /* A run that goes on in the middle finds the same ones. */
    for (int64_t n = 3 * COUNT - 1; n >= 0; n -= 17)
        assert_int_equal(sample_order_place(&order, n), places[n / COUNT][n % COUNT]);
    sample_order_deinit(&order);
    assert_int_equal(sample_order_init(&order, COUNT, 8), STATUS_OK);
    int same = 0;
    for (int64_t i = 0; i < COUNT; i++)
        same += sample_order_place(&order, COUNT + i) == places[1][i];
    assert_true(same < COUNT / 2);
    sample_order_deinit(&order);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_comes_back),
        cmocka_unit_test(samples_that_cannot_be_are_not_written),
        cmocka_unit_test(every_damaged_byte_and_every_cut_is_found),
        cmocka_unit_test(claims_that_cannot_be_are_refused),
        cmocka_unit_test(each_epoch_has_every_sample_once_in_an_order_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
