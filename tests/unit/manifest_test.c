/* A manifest says enough to make a result again, and tells what it does not know as null. */
#include "tests/support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "coordinator/bench/manifest.h"
#include "proto/json_writer.h"
#include "tests/support/tiny_model.h"

static json_t *read_back(const struct manifest *manifest)
{
    char *text = NULL;
    size_t bytes = 0;
    struct json_writer writer = {.file = open_memstream(&text, &bytes)};
    manifest_write(&writer, NULL, manifest);
    fclose(writer.file);
    json_t *read = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(read);
    free(text);
    return read;
}

static const char *text_at(json_t *object, const char *section, const char *key)
{
    return json_string_value(
        json_object_get(section ? json_object_get(object, section) : object, key));
}

static void set(struct config *config, const char *flag, const char *value)
{
    for (size_t i = 0; i < config_rows_count(); i++) {
        const struct config_row *row = config_row_at(i);
        if (row->flag && strcmp(row->flag, flag) == 0)
            assert_int_equal(config_set_flag(config, i, value), STATUS_OK);
    }
}

static void it_tells_the_command_the_settings_and_the_host(void **state)
{
    (void)state;
    char *argv[] = {(char *)"bench", (char *)"--workers", (char *)"2", NULL};
    struct config *config = NULL;
    assert_int_equal(config_create(&config), STATUS_OK);
    set(config, "workers", "2");
    const struct manifest manifest = {
        .argc = 3,
        .argv = argv,
        .program = "longhaul bench",
        .config = config,
        .taker = CONFIG_RUN,
        .settings = {{"repetitions", "5"}},
        .settings_count = 1,
        .kernels = "avx2",
    };
    json_t *read = read_back(&manifest);
    assert_string_equal(text_at(read, NULL, "program"), "longhaul bench");
    assert_string_equal(text_at(read, NULL, "version"), LONGHAUL_VERSION);
    assert_string_equal(text_at(read, NULL, "kernels"), "avx2");
    assert_string_equal(json_string_value(json_array_get(json_object_get(read, "command"), 2)),
                        "2");
    assert_string_equal(text_at(read, "settings", "engine.workers"), "2");
    assert_string_equal(text_at(read, "settings", "repetitions"), "5");
    assert_int_equal(json_object_size(json_object_get(read, "settings")), 2);
    assert_int_equal(strlen(text_at(read, NULL, "date")), strlen("2026-01-01T00:00:00Z"));
    json_t *host = json_object_get(read, "host");
    assert_int_equal(json_integer_value(json_object_get(host, "cores")),
                     sysconf(_SC_NPROCESSORS_ONLN));
    assert_true(json_integer_value(json_object_get(host, "usable_cores")) >= 1);
    assert_true(json_integer_value(json_object_get(host, "memory_bytes")) > 1 << 20);
    assert_true(json_is_null(json_object_get(json_object_get(read, "model"), "xxh3_128")));
    assert_int_equal(manifest.begun, 0);
    const char *commit = text_at(read, NULL, "commit");
    assert_true(!commit || strspn(commit, "0123456789abcdef") == 40);
    json_decref(read);
    config_destroy(config);
}

static void it_tells_the_time_and_the_load_of_its_beginning(void **state)
{
    (void)state;
    struct manifest manifest = {.program = "longhaul bench"};
    manifest_begin(&manifest);
    assert_true(manifest.begun > 0);
    manifest.begun = 0x65000000;
    manifest.host.load = 1234.5;
    json_t *read = read_back(&manifest);
    assert_string_equal(text_at(read, NULL, "date"), "2023-09-12T06:06:56Z");
    json_t *load = json_object_get(json_object_get(read, "host"), "load");
    assert_float_equal(json_real_value(load), 1234.5, 0);
    json_decref(read);
}

static void it_names_the_model_by_its_bytes(void **state)
{
    (void)state;
    static const struct tiny_model_shape shape = {
        .layers = 1, .hidden = 64, .heads = 4, .kv_heads = 2, .head_dim = 32, .ffn = 96};
    char path[TINY_MODEL_PATH_BYTES];
    tiny_model_make(path, &shape, DTYPE_Q8_0);
    struct manifest manifest = {.program = "longhaul bench"};
    assert_int_equal(manifest_read_model(&manifest, path), STATUS_OK);
    json_t *read = read_back(&manifest);
    assert_string_equal(text_at(read, "model", "file"), strrchr(path, '/') + 1);
    assert_int_equal(strlen(text_at(read, "model", "xxh3_128")), 32);
    assert_true(json_integer_value(json_object_get(json_object_get(read, "model"), "bytes")) >
                1000);
    json_decref(read);
    unlink(path);
    assert_int_equal(manifest_read_model(&manifest, path), STATUS_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_tells_the_command_the_settings_and_the_host),
        cmocka_unit_test(it_tells_the_time_and_the_load_of_its_beginning),
        cmocka_unit_test(it_names_the_model_by_its_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
