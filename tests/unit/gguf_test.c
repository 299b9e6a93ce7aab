/* What a GGUF file may not be: each wrong file is refused for its own reason, named by its rule. */
#include "tests/support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "proto/model/gguf.h"
#include "proto/model/gguf_value.h"
#include "tests/support/gguf_writer.h"

enum { F32 = 0, Q4_0 = 2 };

/* Parses a copy of exactly these bytes, so that a sanitizer sees a read past them. */
static enum status parse(struct gguf **gguf, uint8_t **copy, const struct gguf_writer *file)
{
    *copy = malloc(file->bytes + 1);
    assert_non_null(*copy);
    uint8_t *exact = realloc(*copy, file->bytes > 0 ? file->bytes : 1);
    assert_non_null(exact);
    *copy = exact;
    if (file->bytes > 0)
        memcpy(exact, file->data, file->bytes);
    return gguf_parse(gguf, exact, file->bytes, "case");
}

static void expect_refusal(const struct gguf_writer *file, enum status expected, const char *rule)
{
    struct gguf *gguf = NULL;
    uint8_t *copy;
    enum status status = parse(&gguf, &copy, file);
    char ending[64];
    snprintf(ending, sizeof ending, "[%s]", rule);
    if (status != expected || !strstr(status_message(), ending) ||
        !strstr(status_message(), "case: offset "))
        print_error("wanted %s %s, got %s: %s\n", status_name(expected), ending,
                    status_name(status), status_message());
    assert_int_equal(status, expected);
    assert_non_null(strstr(status_message(), ending));
    assert_non_null(strstr(status_message(), "case: offset "));
    assert_null(gguf);
    free(copy);
}

/* Two F32 tensors, a (8 values) and b (16 x 1), and one key. */
static void write_good(struct gguf_writer *file)
{
    gguf_writer_header(file, 2, 1);
    gguf_writer_pair_text(file, "general.name", "good");
    gguf_writer_tensor(file, "a", 8, 0, F32, 0);
    gguf_writer_tensor(file, "b", 16, 1, F32, 32);
    gguf_writer_pad(file, 32);
    for (int i = 0; i < 24; i++)
        gguf_writer_f32(file, (float)i);
}

static void a_good_file_gives_its_values_and_tensors(void **state)
{
    (void)state;
    struct gguf_writer file = {0};
    write_good(&file);
    for (uint8_t version = 2; version <= 3; version++) {
        struct gguf *gguf;
        uint8_t *copy;
        file.data[4] = version;
        assert_int_equal(parse(&gguf, &copy, &file), STATUS_OK);
        struct text_view name;
        assert_int_equal(gguf_value_text(gguf, &name, "general.name"), STATUS_OK);
        assert_true(text_view_is(name, "good"));
        assert_int_equal(gguf_version(gguf), version);
        assert_int_equal(gguf_find_tensor(gguf, "c"), -1);
        const struct gguf_tensor *b = gguf_tensor(gguf, gguf_find_tensor(gguf, "b"));
        float value;
        memcpy(&value, b->data + 4, sizeof value);
        assert_true(value == 9.0f);
        assert_int_equal(b->bytes, 64);
        assert_int_equal(b->dims_count, 2);
        gguf_close(gguf);
        free(copy);
    }
    gguf_writer_free(&file);
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    struct gguf_writer file = {0};
    write_good(&file);
    struct gguf_writer part = file;
    for (part.bytes = 0; part.bytes < file.bytes; part.bytes++) {
        struct gguf *gguf;
        uint8_t *copy;
        assert_int_equal(parse(&gguf, &copy, &part), STATUS_DATA_LOSS);
        free(copy);
    }
    gguf_writer_free(&file);
}

static void wrong_headers_are_refused(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        uint64_t value; /* the eight bytes there */
        enum status status;
        const char *rule;
    } cases[] = {
        {0, 0x0000000346554748, STATUS_DATA_LOSS, "magic"},
        {0, 0x0000000046554747, STATUS_UNIMPLEMENTED, "version"},
        {0, 0x0000000146554747, STATUS_UNIMPLEMENTED, "version"},
        {0, 0x0000000446554747, STATUS_UNIMPLEMENTED, "version"},
        {0, 0x0300000046554747, STATUS_UNIMPLEMENTED, "byte-order"},
        {8, UINT64_MAX, STATUS_DATA_LOSS, "tensor-count"},
        {8, GGUF_TENSORS_MAX + 1, STATUS_DATA_LOSS, "tensor-count"},
        {8, 200, STATUS_DATA_LOSS, "tensor-count"},
        {8, 1, STATUS_DATA_LOSS, "trailing-bytes"},
        {16, UINT64_MAX, STATUS_DATA_LOSS, "key-count"},
        {16, GGUF_PAIRS_MAX + 1, STATUS_DATA_LOSS, "key-count"},
        {16, 200, STATUS_DATA_LOSS, "key-count"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct gguf_writer file = {0};
        write_good(&file);
        gguf_writer_set_u64(&file, cases[i].at, cases[i].value);
        expect_refusal(&file, cases[i].status, cases[i].rule);
        gguf_writer_free(&file);
    }
}

static void one_pair(struct gguf_writer *file)
{
    gguf_writer_header(file, 0, 1);
}

static void room(struct gguf_writer *file)
{
    for (int i = 0; i < 8; i++)
        gguf_writer_u64(file, 0);
}

static void write_key_length_minus_one(struct gguf_writer *file)
{
    one_pair(file);
    gguf_writer_u64(file, UINT64_MAX);
    room(file);
}

static void write_key_past_the_end(struct gguf_writer *file)
{
    one_pair(file);
    gguf_writer_u64(file, 200);
    room(file);
}

static void write_key_empty(struct gguf_writer *file)
{
    one_pair(file);
    gguf_writer_pair_text(file, "", "value");
}

static void write_key_too_long(struct gguf_writer *file)
{
    one_pair(file);
    gguf_writer_u64(file, GGUF_KEY_BYTES_MAX + 1);
    for (int i = 0; i <= GGUF_KEY_BYTES_MAX; i++)
        gguf_writer_u8(file, 'k');
    room(file);
}

static void write_key_with_newline(struct gguf_writer *file)
{
    one_pair(file);
    gguf_writer_pair_text(file, "a\nb", "value");
}

static void write_key_not_utf8(struct gguf_writer *file)
{
    one_pair(file);
    gguf_writer_pair_text(file, "a\xff", "value");
}

static void write_key_twice(struct gguf_writer *file)
{
    gguf_writer_header(file, 0, 3);
    gguf_writer_pair_u32(file, "same", 1);
    gguf_writer_pair_u32(file, "other", 1);
    gguf_writer_pair_u32(file, "same", 2);
}

static void write_value_type_unknown(struct gguf_writer *file)
{
    one_pair(file);
    gguf_writer_string(file, "key");
    gguf_writer_u32(file, GGUF_TYPE_COUNT);
    room(file);
}

static void write_value_not_utf8(struct gguf_writer *file)
{
    one_pair(file);
    gguf_writer_pair_text(file, "key", "\xed\xa0\x80");
}

static void write_value_overlong_utf8(struct gguf_writer *file)
{
    one_pair(file);
    gguf_writer_pair_text(file, "key", "\xc0\xaf");
}

static void write_value_length_minus_one(struct gguf_writer *file)
{
    one_pair(file);
    gguf_writer_key(file, "key", GGUF_STRING);
    gguf_writer_u64(file, UINT64_MAX);
    room(file);
}

static void write_bool_of_two(struct gguf_writer *file)
{
    one_pair(file);
    gguf_writer_pair_bool(file, "key", 2);
}

static void write_bool_of_two_in_array(struct gguf_writer *file)
{
    one_pair(file);
    gguf_writer_array(file, "key", GGUF_BOOL, 2);
    gguf_writer_u8(file, 1);
    gguf_writer_u8(file, 2);
}

static void write_array_of_arrays(struct gguf_writer *file)
{
    one_pair(file);
    gguf_writer_array(file, "key", GGUF_ARRAY, 1);
    room(file);
}

static void write_array_of_unknown_type(struct gguf_writer *file)
{
    one_pair(file);
    gguf_writer_array(file, "key", GGUF_TYPE_COUNT, 1);
    room(file);
}

static void write_array_length_minus_one(struct gguf_writer *file)
{
    one_pair(file);
    gguf_writer_array(file, "key", GGUF_U8, UINT64_MAX);
    room(file);
}

static void write_array_length_times_size_overflows(struct gguf_writer *file)
{
    one_pair(file);
    gguf_writer_array(file, "key", GGUF_U64, UINT64_MAX / 8 + 2);
    room(file);
}

static void write_array_past_the_end(struct gguf_writer *file)
{
    one_pair(file);
    gguf_writer_array(file, "key", GGUF_F32, 17);
    room(file);
}

static void write_strings_past_the_end(struct gguf_writer *file)
{
    one_pair(file);
    gguf_writer_array(file, "key", GGUF_STRING, 2);
    gguf_writer_string(file, "one");
    gguf_writer_u64(file, 9);
    gguf_writer_u64(file, 0);
}

static void write_string_in_array_not_utf8(struct gguf_writer *file)
{
    one_pair(file);
    gguf_writer_array(file, "key", GGUF_STRING, 1);
    gguf_writer_string(file, "\x80");
}

static void write_alignment_of_type_u64(struct gguf_writer *file)
{
    one_pair(file);
    gguf_writer_key(file, "general.alignment", GGUF_U64);
    gguf_writer_u64(file, 32);
}

static void write_alignment_zero(struct gguf_writer *file)
{
    one_pair(file);
    gguf_writer_pair_u32(file, "general.alignment", 0);
}

static void write_alignment_24(struct gguf_writer *file)
{
    one_pair(file);
    gguf_writer_pair_u32(file, "general.alignment", 24);
}

static void write_alignment_four(struct gguf_writer *file)
{
    one_pair(file);
    gguf_writer_pair_u32(file, "general.alignment", 4);
}

struct refusal {
    void (*write)(struct gguf_writer *file);
    const char *rule;
    enum status status;
};

static void expect_refusals(const struct refusal *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct gguf_writer file = {0};
        cases[i].write(&file);
        expect_refusal(&file, cases[i].status, cases[i].rule);
        gguf_writer_free(&file);
    }
}

static void wrong_keys_and_values_are_refused(void **state)
{
    (void)state;
    static const struct refusal cases[] = {
        {write_key_length_minus_one, "string-bytes", STATUS_DATA_LOSS},
        {write_key_past_the_end, "truncated", STATUS_DATA_LOSS},
        {write_key_empty, "name-empty", STATUS_DATA_LOSS},
        {write_key_too_long, "string-bytes", STATUS_DATA_LOSS},
        {write_key_with_newline, "name-characters", STATUS_DATA_LOSS},
        {write_key_not_utf8, "utf8", STATUS_DATA_LOSS},
        {write_key_twice, "key-twice", STATUS_DATA_LOSS},
        {write_value_type_unknown, "value-type", STATUS_DATA_LOSS},
        {write_value_not_utf8, "utf8", STATUS_DATA_LOSS},
        {write_value_overlong_utf8, "utf8", STATUS_DATA_LOSS},
        {write_value_length_minus_one, "string-bytes", STATUS_DATA_LOSS},
        {write_bool_of_two, "bool", STATUS_DATA_LOSS},
        {write_bool_of_two_in_array, "bool", STATUS_DATA_LOSS},
        {write_array_of_arrays, "array-nested", STATUS_UNIMPLEMENTED},
        {write_array_of_unknown_type, "value-type", STATUS_DATA_LOSS},
        {write_array_length_minus_one, "array-length", STATUS_DATA_LOSS},
        {write_array_length_times_size_overflows, "array-length", STATUS_DATA_LOSS},
        {write_array_past_the_end, "array-length", STATUS_DATA_LOSS},
        {write_strings_past_the_end, "truncated", STATUS_DATA_LOSS},
        {write_string_in_array_not_utf8, "utf8", STATUS_DATA_LOSS},
        {write_alignment_of_type_u64, "alignment", STATUS_DATA_LOSS},
        {write_alignment_zero, "alignment", STATUS_DATA_LOSS},
        {write_alignment_four, "alignment", STATUS_DATA_LOSS},
        {write_alignment_24, "alignment", STATUS_DATA_LOSS},
    };
    expect_refusals(cases, sizeof cases / sizeof cases[0]);
}

/* Up to two tensors with any numbers, then `data_bytes` of data. */
struct tensor_case {
    const char *names[2];
    uint32_t dims_count[2];
    uint64_t dims[2][5];
    uint32_t type[2];
    uint64_t offset[2];
    size_t data_bytes;
    enum status status;
    const char *rule;
};

static void write_tensors(struct gguf_writer *file, const struct tensor_case *c)
{
    gguf_writer_header(file, c->names[1] ? 2 : 1, 0);
    for (int t = 0; t < 2 && c->names[t]; t++) {
        gguf_writer_string(file, c->names[t]);
        gguf_writer_u32(file, c->dims_count[t]);
        for (uint32_t i = 0; i < c->dims_count[t] && i < 5; i++)
            gguf_writer_u64(file, c->dims[t][i]);
        gguf_writer_u32(file, c->type[t]);
        gguf_writer_u64(file, c->offset[t]);
    }
    gguf_writer_pad(file, 32);
    for (size_t i = 0; i < c->data_bytes; i++)
        gguf_writer_u8(file, 0);
}

static const char long_name[] = "a name of sixty-four bytes, one more than a tensor's may have...";

static void wrong_tensors_are_refused(void **state)
{
    (void)state;
    static const struct tensor_case cases[] = {
        {{""}, {1}, {{8}}, {F32}, {0}, 32, STATUS_DATA_LOSS, "name-empty"},
        {{long_name}, {1}, {{8}}, {F32}, {0}, 32, STATUS_DATA_LOSS, "string-bytes"},
        {{"a\x1b"}, {1}, {{8}}, {F32}, {0}, 32, STATUS_DATA_LOSS, "name-characters"},
        {{"a"}, {0}, {{8}}, {F32}, {0}, 32, STATUS_DATA_LOSS, "dimensions"},
        {{"a"}, {5}, {{8, 1, 1, 1, 1}}, {F32}, {0}, 32, STATUS_DATA_LOSS, "dimensions"},
        {{"a"}, {UINT32_MAX}, {{8}}, {F32}, {0}, 32, STATUS_DATA_LOSS, "dimensions"},
        {{"a"}, {1}, {{0}}, {F32}, {0}, 32, STATUS_DATA_LOSS, "dimension"},
        {{"a"}, {2}, {{8, 0}}, {F32}, {0}, 32, STATUS_DATA_LOSS, "dimension"},
        {{"a"}, {1}, {{UINT64_MAX}}, {F32}, {0}, 32, STATUS_DATA_LOSS, "dimension"},
        {{"a"}, {2}, {{1l << 32, 1l << 32}}, {F32}, {0}, 32, STATUS_DATA_LOSS, "tensor-size"},
        {{"a"}, {3}, {{8, 1l << 32, 1l << 32}}, {F32}, {0}, 32, STATUS_DATA_LOSS, "tensor-size"},
        {{"a"}, {1}, {{INT64_MAX}}, {F32}, {0}, 32, STATUS_DATA_LOSS, "tensor-size"},
        {{"a"}, {2}, {{1l << 31, 1l << 30}}, {F32}, {0}, 32, STATUS_DATA_LOSS, "tensor-size"},
        {{"a"}, {1}, {{1l << 60}}, {F32}, {0}, 32, STATUS_DATA_LOSS, "truncated"},
        {{"a"}, {1}, {{8}}, {4}, {0}, 32, STATUS_UNIMPLEMENTED, "tensor-type"},
        {{"a"}, {1}, {{8}}, {999}, {0}, 32, STATUS_UNIMPLEMENTED, "tensor-type"},
        {{"a"}, {1}, {{8}}, {UINT32_MAX}, {0}, 32, STATUS_UNIMPLEMENTED, "tensor-type"},
        {{"a"}, {1}, {{48}}, {Q4_0}, {0}, 32, STATUS_DATA_LOSS, "row-blocks"},
        {{"a"}, {1}, {{8}}, {F32}, {8}, 64, STATUS_DATA_LOSS, "tensor-offset"},
        {{"a"}, {1}, {{8}}, {F32}, {UINT64_MAX}, 32, STATUS_DATA_LOSS, "tensor-offset"},
        {{"a"}, {1}, {{8}}, {F32}, {0}, 31, STATUS_DATA_LOSS, "truncated"},
        {{"a"}, {1}, {{8}}, {F32}, {0}, 33, STATUS_DATA_LOSS, "trailing-bytes"},
        {{"a", "a"}, {1, 1}, {{8}, {8}}, {F32, F32}, {0, 32}, 64, STATUS_DATA_LOSS, "tensor-twice"},
        /* an overlap, a gap, the wrong order, an unaligned place */
        {{"a", "b"}, {1, 1}, {{8}, {8}}, {F32, F32}, {0, 0}, 64, STATUS_DATA_LOSS, "tensor-offset"},
        {{"a", "b"},
         {1, 1},
         {{8}, {8}},
         {F32, F32},
         {0, 64},
         96,
         STATUS_DATA_LOSS,
         "tensor-offset"},
        {{"a", "b"},
         {1, 1},
         {{8}, {8}},
         {F32, F32},
         {32, 0},
         64,
         STATUS_DATA_LOSS,
         "tensor-offset"},
        {{"a", "b"},
         {1, 1},
         {{4}, {8}},
         {F32, F32},
         {0, 16},
         48,
         STATUS_DATA_LOSS,
         "tensor-offset"},
        {{"a", "b"}, {1, 1}, {{8}, {8}}, {F32, F32}, {0, 32}, 63, STATUS_DATA_LOSS, "truncated"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct gguf_writer file = {0};
        write_tensors(&file, &cases[i]);
        expect_refusal(&file, cases[i].status, cases[i].rule);
        gguf_writer_free(&file);
    }
}

static void the_last_tensor_may_be_padded_or_not(void **state)
{
    (void)state;
    static const size_t lengths[] = {16, 20, 32};
    for (size_t i = 0; i < 3; i++) {
        struct tensor_case c = {{"a"}, {1}, {{4}}, {F32}, {0}, lengths[i], STATUS_OK, ""};
        struct gguf_writer file = {0};
        write_tensors(&file, &c);
        struct gguf *gguf;
        uint8_t *copy;
        assert_int_equal(parse(&gguf, &copy, &file), STATUS_OK);
        gguf_close(gguf);
        free(copy);
        gguf_writer_free(&file);
    }
}

static void a_value_is_checked_against_the_type_it_is_asked_for(void **state)
{
    (void)state;
    struct gguf_writer file = {0};
    gguf_writer_header(&file, 0, 5);
    gguf_writer_pair_u32(&file, "u32", 7);
    gguf_writer_key(&file, "u64", GGUF_U64);
    gguf_writer_u64(&file, UINT64_MAX);
    gguf_writer_pair_f32(&file, "infinite", 1.0f / 0.0f);
    gguf_writer_array(&file, "numbers", GGUF_I32, 2);
    gguf_writer_u32(&file, 1);
    gguf_writer_u32(&file, 0xffffffff);
    gguf_writer_pair_bool(&file, "bool", 1);
    struct gguf *gguf;
    uint8_t *copy;
    assert_int_equal(parse(&gguf, &copy, &file), STATUS_OK);
    int64_t integer;
    double number;
    bool truth;
    struct text_view text;
    struct gguf_array array;
    assert_int_equal(gguf_value_integer(gguf, &integer, "u32", 7, 7), STATUS_OK);
    assert_int_equal(gguf_value_integer(gguf, &integer, "u32", 8, 9), STATUS_DATA_LOSS);
    assert_int_equal(gguf_value_integer(gguf, &integer, "u64", 0, INT64_MAX), STATUS_DATA_LOSS);
    assert_int_equal(gguf_value_integer(gguf, &integer, "bool", 0, 1), STATUS_DATA_LOSS);
    assert_int_equal(gguf_value_integer(gguf, &integer, "absent", 0, 1), STATUS_DATA_LOSS);
    assert_int_equal(gguf_value_float(gguf, &number, "infinite"), STATUS_DATA_LOSS);
    assert_int_equal(gguf_value_float(gguf, &number, "u32"), STATUS_DATA_LOSS);
    assert_int_equal(gguf_value_bool(gguf, &truth, "u32"), STATUS_DATA_LOSS);
    assert_int_equal(gguf_value_text(gguf, &text, "numbers"), STATUS_DATA_LOSS);
    assert_int_equal(gguf_value_array(gguf, &array, "numbers", GGUF_F32), STATUS_DATA_LOSS);
    assert_int_equal(gguf_value_array(gguf, &array, "u32", GGUF_U32), STATUS_DATA_LOSS);
    assert_int_equal(gguf_value_array(gguf, &array, "numbers", GGUF_I32), STATUS_OK);
    assert_int_equal(gguf_value_i32(&array, 1), -1);
    gguf_close(gguf);
    free(copy);
    gguf_writer_free(&file);
}

static void what_is_no_regular_file_is_refused_without_waiting(void **state)
{
    (void)state;
    struct gguf *gguf;
    char folder[] = "/tmp/longhaul-gguf-test-XXXXXX";
    char pipe_path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(pipe_path, sizeof pipe_path, "%s/pipe", folder);
    assert_int_equal(mkfifo(pipe_path, 0600), 0);
    assert_int_equal(gguf_open(&gguf, pipe_path), STATUS_INVALID_ARGUMENT);
    assert_int_equal(gguf_open(&gguf, folder), STATUS_INVALID_ARGUMENT);
    assert_int_equal(gguf_open(&gguf, "/dev/zero"), STATUS_INVALID_ARGUMENT);
    unlink(pipe_path);
    assert_int_equal(gguf_open(&gguf, pipe_path), STATUS_NOT_FOUND);
    assert_non_null(strstr(status_message(), pipe_path));
    FILE *empty = fopen(pipe_path, "wb");
    assert_non_null(empty);
    fclose(empty);
    assert_int_equal(gguf_open(&gguf, pipe_path), STATUS_DATA_LOSS);
    unlink(pipe_path);
    rmdir(folder);
}

/* As many keys and tensors as are allowed; the last tensor is called as the first where `twice`. */
static void write_largest(struct gguf_writer *file, bool twice)
{
    char name[32];
    gguf_writer_header(file, GGUF_TENSORS_MAX, GGUF_PAIRS_MAX);
    for (int i = 0; i < GGUF_PAIRS_MAX; i++) {
        snprintf(name, sizeof name, "key.%d", GGUF_PAIRS_MAX - i);
        gguf_writer_pair_u32(file, name, (uint32_t)i);
    }
    for (int i = 0; i < GGUF_TENSORS_MAX; i++) {
        snprintf(name, sizeof name, "tensor.%d", twice && i == GGUF_TENSORS_MAX - 1 ? 0 : i);
        gguf_writer_tensor(file, name, 8, 0, F32, 32 * (uint64_t)i);
    }
    gguf_writer_pad(file, 32);
    for (int i = 0; i < 4 * GGUF_TENSORS_MAX; i++)
        gguf_writer_u64(file, 0);
}

static void the_largest_numbers_of_keys_and_tensors_take_no_time(void **state)
{
    (void)state;
    struct gguf_writer file = {0};
    write_largest(&file, false);
    struct gguf *gguf;
    uint8_t *copy;
    clock_t start = clock();
    assert_int_equal(parse(&gguf, &copy, &file), STATUS_OK);
    assert_true((double)(clock() - start) / CLOCKS_PER_SEC < 2);
    assert_int_equal(gguf_find_tensor(gguf, "tensor.40000"), 40000);
    int64_t value;
    assert_int_equal(gguf_value_integer(gguf, &value, "key.1", 4095, 4095), STATUS_OK);
    gguf_close(gguf);
    free(copy);
    gguf_writer_free(&file);
    write_largest(&file, true);
    expect_refusal(&file, STATUS_DATA_LOSS, "tensor-twice");
    gguf_writer_set_u64(&file, 16, GGUF_PAIRS_MAX + 1);
    expect_refusal(&file, STATUS_DATA_LOSS, "key-count");
    gguf_writer_set_u64(&file, 8, GGUF_TENSORS_MAX + 1);
    expect_refusal(&file, STATUS_DATA_LOSS, "tensor-count");
    gguf_writer_free(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_file_gives_its_values_and_tensors),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(wrong_headers_are_refused),
        cmocka_unit_test(wrong_keys_and_values_are_refused),
        cmocka_unit_test(wrong_tensors_are_refused),
        cmocka_unit_test(the_last_tensor_may_be_padded_or_not),
        cmocka_unit_test(a_value_is_checked_against_the_type_it_is_asked_for),
        cmocka_unit_test(the_largest_numbers_of_keys_and_tensors_take_no_time),
        cmocka_unit_test(what_is_no_regular_file_is_refused_without_waiting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
