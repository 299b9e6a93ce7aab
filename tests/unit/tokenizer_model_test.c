/* The tokenizer of the real small model against PyPI `tokenizers` (tests/unit/data/tokens.json) and
 * its chat form against the file's own template run by jinja2 (tests/unit/data/chat.json). Needs
 * LONGHAUL_TEST_MODEL, the path of SmolLM2-135M-Instruct in GGUF; skips without it.
 */
#include "tests/support/unit.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "coordinator/text/chat.h"
#include "coordinator/text/detokenizer.h"
#include "coordinator/text/tokenizer.h"
#include "proto/model/vocab_gguf.h"

enum { MESSAGES_MAX = 8, PROSE_BYTES = 1 << 20, PROSE_SECONDS_MAX = 10 };

static const char *model_path;
static struct gguf *gguf;
static struct vocab *vocab;
static struct tokenizer *tokenizer;

static int open_model(void **state)
{
    (void)state;
    if (!model_path)
        return 0;
    if (gguf_open(&gguf, model_path) != STATUS_OK || vocab_gguf_read(&vocab, gguf) != STATUS_OK ||
        tokenizer_create(&tokenizer, vocab) != STATUS_OK) {
        fprintf(stderr, "%s\n", status_message());
        return -1;
    }
    return 0;
}

static int close_model(void **state)
{
    (void)state;
    tokenizer_destroy(tokenizer);
    vocab_destroy(vocab);
    gguf_close(gguf);
    return 0;
}

static json_t *load(const char *path, size_t wanted_rows)
{
    json_error_t error;
    json_t *rows = json_load_file(path, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!rows)
        fail_msg("%s:%d: %s", path, error.line, error.text);
    assert_int_equal(json_array_size(rows), wanted_rows);
    return rows;
}

static void expect_ids(const struct id_list *ids, const json_t *wanted, size_t row)
{
    if (ids->count != json_array_size(wanted))
        fail_msg("row %zu: %zu ids, wanted %zu", row, ids->count, json_array_size(wanted));
    for (size_t i = 0; i < ids->count; i++)
        if (ids->ids[i] != json_integer_value(json_array_get(wanted, i)))
            fail_msg("row %zu: id %zu is %d, wanted %lld", row, i, ids->ids[i],
                     json_integer_value(json_array_get(wanted, i)));
}

/* How much of `text` a piece of the answer is, U+FFFD for a NUL. SIZE_MAX where it differs. */
static size_t told_of(const char *text, size_t bytes, const struct detokenizer_piece *piece)
{
    static const char replacement[] = "\xEF\xBF\xBD";
    size_t place = 0;
    for (size_t i = 0; i < piece->bytes; place++) {
        const bool is_nul = place < bytes && text[place] == 0;
        const size_t length = is_nul ? sizeof replacement - 1 : 1;
        const char *wanted = is_nul ? replacement : text + place;
        if (place == bytes || i + length > piece->bytes ||
            memcmp(piece->text + i, wanted, length) != 0)
            return SIZE_MAX;
        i += length;
    }
    return place;
}

/* Through the streaming detokenizer; control tokens are left out on both sides. */
static void expect_text(const struct id_list *ids, const char *text, size_t bytes, size_t row)
{
    struct detokenizer detokenizer;
    assert_int_equal(detokenizer_init(&detokenizer, tokenizer, NULL, 0), STATUS_OK);
    size_t place = 0;
    for (size_t i = 0; i <= ids->count; i++) {
        struct detokenizer_piece piece;
        assert_int_equal(i < ids->count ? detokenizer_feed(&detokenizer, &piece, ids->ids[i])
                                        : detokenizer_end(&detokenizer, &piece),
                         STATUS_OK);
        const size_t told = told_of(text + place, bytes - place, &piece);
        if (told == SIZE_MAX)
            fail_msg("row %zu: the text comes back otherwise after byte %zu", row, place);
        place += told;
    }
    assert_int_equal(place, bytes);
    detokenizer_deinit(&detokenizer);
}

static bool has_control(const struct id_list *ids)
{
    for (size_t i = 0; i < ids->count; i++)
        if (tokenizer_is_control(tokenizer, ids->ids[i]))
            return true;
    return false;
}

static void ids_equal_the_reference_and_decode_to_the_text(void **state)
{
    (void)state;
    if (!tokenizer)
        skip();
    json_t *rows = load("tests/unit/data/tokens.json", 144);
    size_t row;
    json_t *value;
    json_array_foreach(rows, row, value)
    {
        json_t *text = json_object_get(value, "text");
        struct id_list ids = {0};
        assert_int_equal(tokenizer_encode(tokenizer, &ids, json_string_value(text),
                                          json_string_length(text), TOKENIZER_CONTROL),
                         STATUS_OK);
        expect_ids(&ids, json_object_get(value, "ids"), row);
        if (!has_control(&ids))
            expect_text(&ids, json_string_value(text), json_string_length(text), row);
        id_list_deinit(&ids);
    }
    json_decref(rows);
}

static void chat_ids_equal_the_template_run_by_jinja(void **state)
{
    (void)state;
    if (!tokenizer)
        skip();
    struct chat *chat = NULL;
    assert_int_equal(chat_create(&chat, tokenizer, vocab, "auto"), STATUS_OK);
    json_t *rows = load("tests/unit/data/chat.json", 11);
    size_t row;
    json_t *value;
    json_array_foreach(rows, row, value)
    {
        struct chat_message messages[MESSAGES_MAX];
        json_t *list = json_object_get(value, "messages");
        assert_in_range(json_array_size(list), 1, MESSAGES_MAX);
        for (size_t i = 0; i < json_array_size(list); i++) {
            json_t *role = json_object_get(json_array_get(list, i), "role");
            json_t *content = json_object_get(json_array_get(list, i), "content");
            messages[i] =
                (struct chat_message){json_string_value(role), json_string_length(role),
                                      json_string_value(content), json_string_length(content)};
        }
        struct id_list ids = {0};
        assert_int_equal(chat_render(chat, &ids, messages, json_array_size(list)), STATUS_OK);
        expect_ids(&ids, json_object_get(value, "ids"), row);
        id_list_deinit(&ids);
    }
    json_decref(rows);
    chat_destroy(chat);
}

static void the_stop_id_is_im_end(void **state)
{
    (void)state;
    if (!tokenizer)
        skip();
    size_t count;
    const int32_t *stops = tokenizer_stop_ids(tokenizer, &count);
    assert_int_equal(count, 1);
    assert_int_equal(stops[0], 2);
}

static void a_megabyte_of_prose_takes_no_time(void **state)
{
    (void)state;
    if (!tokenizer)
        skip();
    static const char verse[] = "In the beginning the lighthouse keeper didn't know that 7 ships "
                                "would pass; he'd lit the lamp, and waited through the night.\n";
    char *text = malloc(PROSE_BYTES);
    assert_non_null(text);
    for (size_t i = 0; i < PROSE_BYTES; i++)
        text[i] = verse[i % (sizeof verse - 1)];
    struct timespec start;
    struct timespec now;
    struct id_list ids = {0};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
    assert_int_equal(tokenizer_encode(tokenizer, &ids, text, PROSE_BYTES, 0), STATUS_OK);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    double seconds =
        (double)(now.tv_sec - start.tv_sec) + (double)(now.tv_nsec - start.tv_nsec) * 1e-9;
    print_message("1 MiB of prose, %zu tokens: %.3f s\n", ids.count, seconds);
    assert_true(seconds < PROSE_SECONDS_MAX);
    id_list_deinit(&ids);
    free(text);
}

int main(void)
{
    model_path = getenv("LONGHAUL_TEST_MODEL");
    if (!model_path || !model_path[0]) {
        model_path = NULL;
        fprintf(stderr, "SKIPPED: LONGHAUL_TEST_MODEL names no model file; the tokenizer was not "
                        "compared with the reference\n");
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_equal_the_reference_and_decode_to_the_text),
        cmocka_unit_test(chat_ids_equal_the_template_run_by_jinja),
        cmocka_unit_test(the_stop_id_is_im_end),
        cmocka_unit_test(a_megabyte_of_prose_takes_no_time),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
