/* Which safetensors files and indices are read, and which are not: each refusal names the tensor
 * and the rule. */
#include "tests/support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/model/safetensors.h"
#include "proto/model/shard_index.h"
#include "tests/support/gguf_writer.h"

/* A file with this header and so many bytes of data. */
static struct gguf_writer file_of(const char *header, size_t data_bytes)
{
    struct gguf_writer file = {0};
    gguf_writer_u64(&file, strlen(header));
    gguf_writer_bytes(&file, header, strlen(header));
    for (size_t i = 0; i < data_bytes; i++)
        gguf_writer_u8(&file, (uint8_t)i);
    return file;
}

static void expect_refusal(struct gguf_writer *file, enum status expected, const char *words)
{
    struct safetensors *safetensors = NULL;
    enum status status = safetensors_parse(&safetensors, file->data, file->bytes, "case");
    if (status != expected || !strstr(status_message(), words))
        print_error("wanted %s: %s, got %s: %s\n", status_name(expected), words,
                    status_name(status), status_message());
    assert_int_equal(status, expected);
    assert_non_null(strstr(status_message(), words));
    assert_null(safetensors);
    gguf_writer_free(file);
}

static void tensors_come_in_the_order_of_their_bytes(void **state)
{
    (void)state;
    struct gguf_writer file =
        file_of("{\"__metadata__\":{\"format\":\"pt\"},"
                "\"b\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[6,30]},"
                "\"a\":{\"dtype\":\"BF16\",\"shape\":[3],\"data_offsets\":[0,6]},"
                "\"empty\":{\"dtype\":\"F16\",\"shape\":[0,7],\"data_offsets\":[30,30]},"
                "\"scalar\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[30,38]}}   ",
                38);
    struct safetensors *safetensors;
    assert_int_equal(safetensors_parse(&safetensors, file.data, file.bytes, "case"), STATUS_OK);
    assert_int_equal(safetensors_count(safetensors), 4);
    const struct checkpoint_tensor *a = safetensors_tensor(safetensors, 0);
    const struct checkpoint_tensor *b = safetensors_tensor(safetensors, 1);
    const struct checkpoint_tensor *scalar = safetensors_tensor(safetensors, 3);
    assert_true(text_view_is(a->name, "a") && a->dtype == DTYPE_BF16 && a->dims[0] == 3);
    assert_true(text_view_is(b->name, "b") && b->dtype == DTYPE_F32 && b->dims_count == 2);
    assert_true(b->dims[0] == 2 && b->dims[1] == 3 && b->bytes == 24 && b->data == a->data + 6);
    assert_int_equal(a->offset, file.bytes - 38);
    assert_true(text_view_is(scalar->name, "scalar") && scalar->dtype == DTYPE_COUNT);
    assert_string_equal(scalar->type, "I64");
    safetensors_close(safetensors);
    gguf_writer_free(&file);
}

#define ONE(dtype, shape, offsets)                                                                 \
    "{\"t\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"
#define TWO(first, second)                                                                         \
    "{\"t\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" first                               \
    "},\"u\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" second "}}"

static void headers_that_cannot_be_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        size_t data_bytes;
        enum status status;
        const char *words;
    } cases[] = {
        {ONE("F32", "[1]", "[0,4]"), 5, STATUS_DATA_LOSS, "1 bytes follow the last tensor"},
        {ONE("F32", "[1]", "[0,4]"), 3, STATUS_DATA_LOSS,
         "t.data_offsets: ends at 4 of the data, which has 3 bytes [truncated]"},
        {ONE("F32", "[2]", "[0,4]"), 4, STATUS_DATA_LOSS,
         "t.data_offsets: has 4 bytes, which 2 values of type F32 do not take [tensor-size]"},
        {ONE("F32", "[1]", "[0,8]"), 8, STATUS_DATA_LOSS,
         "t.data_offsets: has 8 bytes, which 1 values of type F32 do not take [tensor-size]"},
        {ONE("F32", "[1]", "[4,8]"), 8, STATUS_DATA_LOSS,
         "t: begins at 4 of the data, the tensors before it end at 0 [hole]"},
        {ONE("F32", "[1]", "[4,0]"), 4, STATUS_DATA_LOSS, "t.data_offsets: must be two integers"},
        {ONE("F32", "[1]", "[-4,0]"), 4, STATUS_DATA_LOSS, "t.data_offsets: must be two integers"},
        {ONE("F32", "[1]", "[0,4,8]"), 4, STATUS_DATA_LOSS, "t.data_offsets: must be two"},
        {ONE("F32", "[1]", "[0,4.0]"), 4, STATUS_DATA_LOSS, "t.data_offsets: must be two"},
        {ONE("F32", "[1]", "7"), 4, STATUS_DATA_LOSS, "t.data_offsets: is an integer, it must be"},
        {ONE("F32", "[-1]", "[0,4]"), 4, STATUS_DATA_LOSS, "t.shape: dimension 0 is no integer"},
        {ONE("F32", "[1.0]", "[0,4]"), 4, STATUS_DATA_LOSS, "t.shape: dimension 0 is no integer"},
        {ONE("F32", "[4294967296,4294967296]", "[0,4]"), 4, STATUS_DATA_LOSS,
         "t.shape: the size overflows [tensor-size]"},
        {ONE("F32", "[4611686018427387905]", "[0,4]"), 4, STATUS_DATA_LOSS, "[tensor-size]"},
        {ONE("F32", "[1,1,1,1,1]", "[0,4]"), 4, STATUS_UNIMPLEMENTED,
         "t.shape: has 5 dimensions; at most 4"},
        {ONE("F8_E4M3", "[4]", "[0,4]"), 4, STATUS_UNIMPLEMENTED,
         "t.dtype: type F8_E4M3 is not supported"},
        {ONE("\\u001b[31m", "[4]", "[0,4]"), 4, STATUS_UNIMPLEMENTED, "type .[31m is not"},
        {"{\"t\":{\"shape\":[4],\"data_offsets\":[0,4]}}", 4, STATUS_DATA_LOSS,
         "t.dtype: is missing"},
        {"{\"t\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4],\"x\":1}}", 4,
         STATUS_DATA_LOSS, "t: has keys beside"},
        {"{\"t\":3}", 0, STATUS_DATA_LOSS, "t: is an integer, it must be an object"},
        {"{\"\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4, STATUS_DATA_LOSS,
         "name has 0 bytes"},
        {"{\"a\\nb\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4, STATUS_DATA_LOSS,
         "a.b: a tensor's name has a control character"},
        {TWO("[0,4]", "[2,6]"), 6, STATUS_DATA_LOSS,
         "u: begins at 2 of the data, the tensors "
         "before it end at 4 [overlap]"},
        {TWO("[0,4]", "[0,4]"), 4, STATUS_DATA_LOSS, "[overlap]"},
        {TWO("[0,4]", "[5,9]"), 9, STATUS_DATA_LOSS,
         "u: begins at 5 of the data, the tensors "
         "before it end at 4 [hole]"},
        {"{\"__metadata__\":{\"a\":1}}", 0, STATUS_DATA_LOSS, "__metadata__.a: is no string"},
        {"{\"a\":{},\"a\":{}}", 0, STATUS_DATA_LOSS, "duplicate object key"},
        {"{\"a\":", 0, STATUS_DATA_LOSS, "[json]"},
        {"{\"a\":1e999}", 0, STATUS_DATA_LOSS, "[json]"},
        {"{\"a\":99999999999999999999}", 0, STATUS_DATA_LOSS, "a: is a real number"},
        {ONE("F32", "[99999999999999999999]", "[0,4]"), 4, STATUS_DATA_LOSS,
         "t.shape: dimension 0 is no integer"},
        {"{\"a\":\"\xff\"}", 0, STATUS_DATA_LOSS, "[json]"},
        {"{\"a\\u0000b\":{}}", 0, STATUS_DATA_LOSS, "[json]"},
        {"[]", 0, STATUS_DATA_LOSS, "does not begin with {"},
        {" {}", 0, STATUS_DATA_LOSS, "does not begin with {"},
        {"", 0, STATUS_DATA_LOSS, "does not begin with {"},
        {"{}x", 0, STATUS_DATA_LOSS, "[json]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct gguf_writer file = file_of(cases[i].header, cases[i].data_bytes);
        expect_refusal(&file, cases[i].status, cases[i].words);
    }
}

static void a_header_longer_than_the_file_or_the_limit_is_refused(void **state)
{
    (void)state;
    struct gguf_writer file = file_of("{}", 0);
    gguf_writer_set_u64(&file, 0, 3);
    expect_refusal(&file, STATUS_DATA_LOSS, "offset 8: the header needs 3 bytes");
    file = file_of("{}", 0);
    gguf_writer_set_u64(&file, 0, UINT64_MAX);
    expect_refusal(&file, STATUS_DATA_LOSS, "offset 0: a header of 18446744073709551615 bytes");
    file = file_of("{}", 0);
    file.bytes = 5;
    expect_refusal(&file, STATUS_DATA_LOSS, "the header's length needs 8 bytes");
}

static void depth_is_bounded(void **state)
{
    (void)state;
    struct gguf_writer text = {0};
    gguf_writer_bytes(&text, "{\"a\":", 5);
    for (int i = 0; i < 100000; i++)
        gguf_writer_u8(&text, '[');
    gguf_writer_u8(&text, 0);
    struct gguf_writer file = file_of((const char *)text.data, 0);
    expect_refusal(&file, STATUS_DATA_LOSS, "maximum parsing depth");
    gguf_writer_free(&text);
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    struct gguf_writer whole = file_of(TWO("[0,4]", "[4,8]"), 8);
    struct safetensors *safetensors = NULL;
    for (size_t bytes = 0; bytes < whole.bytes; bytes++) {
        uint8_t *part = malloc(bytes + 1); /* so that a read past the end shows */
        memcpy(part, whole.data, bytes);
        assert_int_equal(safetensors_parse(&safetensors, part, bytes, "case"), STATUS_DATA_LOSS);
        free(part);
    }
    gguf_writer_free(&whole);
}

static void expect_index(const char *text, const char *words)
{
    struct shard_index *index = NULL;
    enum status status = shard_index_parse(&index, text, strlen(text), "index");
    if (words && (status != STATUS_DATA_LOSS || !strstr(status_message(), words)))
        print_error("wanted %s, got %s: %s\n", words, status_name(status), status_message());
    assert_int_equal(status, words ? STATUS_DATA_LOSS : STATUS_OK);
    assert_true(!words || strstr(status_message(), words));
    shard_index_close(index);
}

static void an_index_names_plain_files_alone(void **state)
{
    (void)state;
    expect_index("{\"weight_map\":{\"a\":\"x.safetensors\",\"b\":\"y.safetensors\"}}", NULL);
    static const char *const bad[] = {"../x.safetensors", "/x.safetensors", "d/x.safetensors", "..",
                                      ".safetensors",     ".x.safetensors", "x.bin",           "",
                                      "x\\n.safetensors"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[128];
        snprintf(text, sizeof text, "{\"weight_map\":{\"a\":\"%s\"}}", bad[i]);
        expect_index(text, "weight_map.a: must name a .safetensors file in the same directory");
    }
    expect_index("{\"weight_map\":{\"a\":7}}", "weight_map.a: must name");
    expect_index("{\"weight_map\":{}}", "weight_map: is empty");
    expect_index("{}", "weight_map: is missing");
    expect_index("{\"weight_map\":[]}", "weight_map: is a list, it must be an object");
}

static void an_index_and_its_files_must_agree(void **state)
{
    (void)state;
    static const char text[] = "{\"metadata\":{\"total_size\":12},\"weight_map\":"
                               "{\"a\":\"x.safetensors\",\"b\":\"y.safetensors\",\"c\":\"x."
                               "safetensors\"}}";
    const struct checkpoint_tensor tensors[] = {{.name = text_view_of("a")},
                                                {.name = text_view_of("c")},
                                                {.name = text_view_of("b")},
                                                {.name = text_view_of("d")}};
    struct shard_index *index;
    assert_int_equal(shard_index_parse(&index, text, strlen(text), "index"), STATUS_OK);
    assert_int_equal(shard_index_file_count(index), 2);
    assert_string_equal(shard_index_file(index, 0), "x.safetensors");
    assert_string_equal(shard_index_file(index, 1), "y.safetensors");
    assert_int_equal(shard_index_check_file(index, 0, tensors, 2), STATUS_OK);
    assert_int_equal(shard_index_check_file(index, 1, tensors + 2, 1), STATUS_OK);
    assert_int_equal(shard_index_check_file(index, 0, tensors, 1), STATUS_DATA_LOSS);
    assert_non_null(strstr(status_message(), "weight_map: places 2 tensors in x.safetensors"));
    assert_int_equal(shard_index_check_file(index, 0, tensors, 3), STATUS_DATA_LOSS);
    assert_non_null(strstr(status_message(), "weight_map.b: lies in x.safetensors, the index says "
                                             "y.safetensors"));
    assert_int_equal(shard_index_check_file(index, 1, tensors + 2, 2), STATUS_DATA_LOSS);
    assert_non_null(strstr(status_message(), "weight_map.d: lies in y.safetensors"));
    shard_index_close(index);
}

static void the_total_of_an_index_is_compared_where_it_is_a_number(void **state)
{
    (void)state;
    static const struct {
        const char *metadata;
        double stated; /* 0: says nothing against 12 */
    } cases[] = {
        {"{\"total_size\":12}", 0},
        {"{\"total_size\":12.0}", 0},
        {"{\"total_size\":null}", 0},
        {"{\"total_size\":\"many\"}", 0},
        {"{}", 0},
        {"null", 0},
        {"[]", 0},
        {"{\"total_size\":13}", 13},
        {"{\"total_size\":1e30}", 1e30},
        {"{\"total_size\":12.5}", 12.5},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[128];
        double stated = 0;
        struct shard_index *index;
        snprintf(text, sizeof text, "{\"metadata\":%s,\"weight_map\":{\"a\":\"x.safetensors\"}}",
                 cases[i].metadata);
        assert_int_equal(shard_index_parse(&index, text, strlen(text), "index"), STATUS_OK);
        assert_int_equal(shard_index_total_differs(index, &stated, 12), cases[i].stated > 0);
        assert_true(stated == cases[i].stated);
        shard_index_close(index);
    }
}

static void metadata_may_be_null(void **state)
{
    (void)state;
    static const char header[] = "{\"__metadata__\":null,"
                                 "\"t\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}";
    struct gguf_writer file = file_of(header, 4);
    struct safetensors *safetensors;
    assert_int_equal(safetensors_parse(&safetensors, file.data, file.bytes, "case"), STATUS_OK);
    assert_int_equal(safetensors_count(safetensors), 1);
    safetensors_close(safetensors);
    gguf_writer_free(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_come_in_the_order_of_their_bytes),
        cmocka_unit_test(headers_that_cannot_be_are_refused),
        cmocka_unit_test(a_header_longer_than_the_file_or_the_limit_is_refused),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(an_index_names_plain_files_alone),
        cmocka_unit_test(an_index_and_its_files_must_agree),
        cmocka_unit_test(the_total_of_an_index_is_compared_where_it_is_a_number),
        cmocka_unit_test(metadata_may_be_null),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
