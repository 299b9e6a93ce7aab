/* JSON as the programs write it: any bytes make a valid document. */
#include "tests/support/unit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

#include "proto/json_writer.h"

/* Writes an object by `fill` and reads it back. */
static json_t *round_trip(void (*fill)(struct json_writer *writer))
{
    char *text = NULL;
    size_t bytes = 0;
    struct json_writer writer = {.file = open_memstream(&text, &bytes)};
    assert_non_null(writer.file);
    json_writer_begin_object(&writer, NULL);
    fill(&writer);
    json_writer_end_object(&writer);
    fclose(writer.file);
    json_error_t error;
    json_t *read = json_loadb(text, bytes, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!read)
        print_error("%s in %s\n", error.text, text);
    assert_non_null(read);
    free(text);
    return read;
}

static void fill_texts(struct json_writer *writer)
{
    json_writer_text(writer, "plain", "a \"quoted\" \\ line\nand\ttab \x01 \x7f");
    json_writer_text(writer, "greek", "\u03b1\u03c9 \U0001f600");
    json_writer_bytes(writer, "cut", "x\xe2\x82", 3);
    json_writer_bytes(writer, "overlong", "\xc0\xaf", 2);
    json_writer_bytes(writer, "surrogate", "\xed\xa0\x80", 3);
    json_writer_bytes(writer, "nul", "a\0b", 3);
}

static void texts_come_back_and_broken_bytes_become_replacements(void **state)
{
    (void)state;
    json_t *read = round_trip(fill_texts);
    assert_string_equal(json_string_value(json_object_get(read, "plain")),
                        "a \"quoted\" \\ line\nand\ttab \x01 \x7f");
    assert_string_equal(json_string_value(json_object_get(read, "greek")),
                        "\u03b1\u03c9 \U0001f600");
    assert_string_equal(json_string_value(json_object_get(read, "cut")), "x\ufffd\ufffd");
    assert_string_equal(json_string_value(json_object_get(read, "overlong")), "\ufffd\ufffd");
    assert_string_equal(json_string_value(json_object_get(read, "surrogate")),
                        "\ufffd\ufffd\ufffd");
    assert_int_equal(json_string_length(json_object_get(read, "nul")), 3);
    json_decref(read);
}

/* A terminal would take the C1 controls for its own. */
static void no_control_character_is_written_as_it_is(void **state)
{
    (void)state;
    char *text = NULL;
    size_t bytes = 0;
    struct json_writer writer = {.file = open_memstream(&text, &bytes)};
    assert_non_null(writer.file);
    json_writer_text(&writer, NULL,
                     "\x1b[31m \x7f \xC2\x9B"
                     "31m \xC2\xA0 \xC3\x9B");
    fclose(writer.file);
    assert_string_equal(text, "\"\\u001b[31m \\u007f \\u009b31m \xC2\xA0 \xC3\x9B\"");
    free(text);
}

static void fill_numbers(struct json_writer *writer)
{
    json_writer_integer(writer, "least", INT64_MIN);
    json_writer_real(writer, "third", 1.0 / 3);
    json_writer_float(writer, "float_third", 1.0F / 3);
    json_writer_real(writer, "nan", (double)NAN);
    json_writer_real(writer, "infinity", (double)-INFINITY);
    json_writer_begin_array(writer, "nested");
    json_writer_begin_object(writer, NULL);
    json_writer_boolean(writer, "yes", true);
    json_writer_end_object(writer);
    json_writer_begin_array(writer, NULL);
    json_writer_end_array(writer);
    json_writer_end_array(writer);
}

static void numbers_come_back_exactly_and_what_json_lacks_is_null(void **state)
{
    (void)state;
    json_t *read = round_trip(fill_numbers);
    assert_true(json_integer_value(json_object_get(read, "least")) == INT64_MIN);
    assert_true(json_real_value(json_object_get(read, "third")) == 1.0 / 3);
    assert_true((float)json_real_value(json_object_get(read, "float_third")) == 1.0F / 3);
    assert_true(json_is_null(json_object_get(read, "nan")));
    assert_true(json_is_null(json_object_get(read, "infinity")));
    assert_int_equal(json_array_size(json_object_get(read, "nested")), 2);
    json_decref(read);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_control_character_is_written_as_it_is),
        cmocka_unit_test(texts_come_back_and_broken_bytes_become_replacements),
        cmocka_unit_test(numbers_come_back_exactly_and_what_json_lacks_is_null),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
