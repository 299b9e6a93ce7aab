/* Ids of an answer to text, piece by piece. */
#include "tests/support/unit.h"

#include <stdlib.h>

#include "coordinator/text/detokenizer.h"
#include "tests/support/tiny_vocab.h"

enum { OUT_BYTES = 256 };

static struct tiny_vocab tiny;
static struct tokenizer *tokenizer;

/* An answer in the making: everything that was shown so far. */
struct answer {
    struct detokenizer detokenizer;
    char shown[OUT_BYTES];
    size_t bytes;
    bool stopped;
};

static int open_vocabulary(void **state)
{
    (void)state;
    static const char *const merges[] = {"a b", "ab c", "\xC3\xA2 \xC4\xA4"};
    tiny_vocab_open(&tiny, &(struct tiny_vocab_args){.merges = merges, .merge_count = 3});
    return tokenizer_create(&tokenizer, tiny.vocab) == STATUS_OK ? 0 : -1;
}

static int close_vocabulary(void **state)
{
    (void)state;
    tokenizer_destroy(tokenizer);
    tiny_vocab_close(&tiny);
    return 0;
}

static void begin(struct answer *answer, const char *const *stops, size_t stop_count)
{
    struct detokenizer_stop list[DETOKENIZER_STOPS_MAX] = {{NULL, 0}};
    for (size_t i = 0; i < stop_count; i++)
        list[i] = (struct detokenizer_stop){stops[i], strlen(stops[i])};
    *answer = (struct answer){.bytes = 0};
    assert_int_equal(detokenizer_init(&answer->detokenizer, tokenizer, list, stop_count),
                     STATUS_OK);
}

static void show(struct answer *answer, const struct detokenizer_piece *piece)
{
    assert_true(answer->bytes + piece->bytes < OUT_BYTES);
    memcpy(answer->shown + answer->bytes, piece->text, piece->bytes);
    answer->bytes += piece->bytes;
    answer->shown[answer->bytes] = 0;
    answer->stopped = piece->stopped;
}

static void feed(struct answer *answer, int32_t id)
{
    struct detokenizer_piece piece;
    assert_int_equal(detokenizer_feed(&answer->detokenizer, &piece, id), STATUS_OK);
    show(answer, &piece);
}

static void feed_bytes(struct answer *answer, const char *text)
{
    for (; *text; text++)
        feed(answer, TINY_BYTES + (uint8_t)*text);
}

static void end(struct answer *answer)
{
    struct detokenizer_piece piece;
    assert_int_equal(detokenizer_end(&answer->detokenizer, &piece), STATUS_OK);
    show(answer, &piece);
    detokenizer_deinit(&answer->detokenizer);
}

static void a_character_split_over_tokens_is_shown_whole(void **state)
{
    (void)state;
    struct answer answer;
    begin(&answer, NULL, 0);
    feed_bytes(&answer, "a\xF0\x9F\x98");
    assert_string_equal(answer.shown, "a");
    feed_bytes(&answer, "\x80");
    assert_string_equal(answer.shown, "a\xF0\x9F\x98\x80");
    feed(&answer, TINY_MERGED + 2); /* E2 82, two thirds of a sign */
    assert_string_equal(answer.shown, "a\xF0\x9F\x98\x80");
    feed_bytes(&answer, "\xAC!");
    end(&answer);
    assert_string_equal(answer.shown, "a\xF0\x9F\x98\x80\xE2\x82\xAC!");
    assert_false(answer.stopped);
}

static void a_character_cut_off_by_the_end_becomes_one_replacement(void **state)
{
    (void)state;
    struct answer answer;
    begin(&answer, NULL, 0);
    feed_bytes(&answer, "a\xF0\x9F\x98");
    end(&answer);
    assert_string_equal(answer.shown, "a\xEF\xBF\xBD");
}

static void bytes_that_begin_no_character_are_replaced(void **state)
{
    (void)state;
    struct answer answer;
    begin(&answer, NULL, 0);
    feed_bytes(&answer, "\x80\xE2\x82z\xC3\xC3\xA9\xF8");
    end(&answer);
    assert_string_equal(answer.shown, "\xEF\xBF\xBD\xEF\xBF\xBDz\xEF\xBF\xBD\xC3\xA9\xEF\xBF\xBD");
}

static void control_tokens_are_not_shown(void **state)
{
    (void)state;
    struct answer answer;
    begin(&answer, NULL, 0);
    feed_bytes(&answer, "a");
    feed(&answer, TINY_IM_END);
    feed(&answer, TINY_TOOL);
    feed(&answer, TINY_IM_START);
    end(&answer);
    assert_string_equal(answer.shown, "a<tool>");
}

static void a_stop_string_across_tokens_ends_the_text_before_it(void **state)
{
    (void)state;
    struct answer answer;
    begin(&answer, (const char *const[]){"\n\nUser:"}, 1);
    feed_bytes(&answer, "yes\n\nUs");
    assert_string_equal(answer.shown, "yes");
    assert_false(answer.stopped);
    feed_bytes(&answer, "er");
    feed_bytes(&answer, ":");
    assert_true(answer.stopped);
    feed_bytes(&answer, "more");
    end(&answer);
    assert_string_equal(answer.shown, "yes");
    assert_true(answer.stopped);
}

static void what_turns_out_to_be_no_stop_string_is_shown(void **state)
{
    (void)state;
    struct answer answer;
    begin(&answer, (const char *const[]){"aab"}, 1);
    feed_bytes(&answer, "aaa");
    assert_string_equal(answer.shown, "a");
    feed_bytes(&answer, "c");
    assert_string_equal(answer.shown, "aaac");
    feed_bytes(&answer, "aa");
    end(&answer);
    assert_string_equal(answer.shown, "aaacaa");
    assert_false(answer.stopped);
}

static void the_stop_string_that_is_complete_first_counts(void **state)
{
    (void)state;
    struct answer answer;
    /* "abc" is one token here: the cut must not depend on it. */
    begin(&answer, (const char *const[]){"abcd", "b"}, 2);
    feed_bytes(&answer, "x");
    feed(&answer, TINY_MERGED + 1);
    end(&answer);
    assert_string_equal(answer.shown, "xa");
    begin(&answer, (const char *const[]){"bc", "abc"}, 2);
    feed_bytes(&answer, "x");
    feed(&answer, TINY_MERGED + 1);
    end(&answer);
    assert_string_equal(answer.shown, "x");
    assert_true(answer.stopped);
}

static void a_stop_string_of_many_bytes_splits_no_character(void **state)
{
    (void)state;
    struct answer answer;
    begin(&answer, (const char *const[]){"\xC3\xA9\xC3\xA8"}, 1);
    feed_bytes(&answer, "\xC3\xA9\xC3");
    assert_string_equal(answer.shown, "");
    feed_bytes(&answer, "\xA9");
    assert_string_equal(answer.shown, "\xC3\xA9");
    feed_bytes(&answer, "\xC3\xA8");
    end(&answer);
    assert_string_equal(answer.shown, "\xC3\xA9");
    assert_true(answer.stopped);
}

static void bad_stop_strings_and_ids_are_refused(void **state)
{
    (void)state;
    struct detokenizer detokenizer;
    struct detokenizer_stop stops[DETOKENIZER_STOPS_MAX + 1] = {{NULL, 0}};
    for (size_t i = 0; i <= DETOKENIZER_STOPS_MAX; i++)
        stops[i] = (struct detokenizer_stop){"x", 1};
    assert_int_equal(detokenizer_init(&detokenizer, tokenizer, stops, DETOKENIZER_STOPS_MAX + 1),
                     STATUS_INVALID_ARGUMENT);
    char long_stop[DETOKENIZER_STOP_BYTES_MAX + 1] = "";
    memset(long_stop, 'x', sizeof long_stop);
    const struct detokenizer_stop bad[] = {{"", 0}, {"\xC3", 1}, {long_stop, sizeof long_stop}};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(detokenizer_init(&detokenizer, tokenizer, &bad[i], 1),
                         STATUS_INVALID_ARGUMENT);
    assert_int_equal(detokenizer_init(&detokenizer, tokenizer, NULL, 0), STATUS_OK);
    struct detokenizer_piece piece;
    assert_int_equal(detokenizer_feed(&detokenizer, &piece, -1), STATUS_INVALID_ARGUMENT);
    assert_int_equal(detokenizer_feed(&detokenizer, &piece, tokenizer_count(tokenizer)),
                     STATUS_INVALID_ARGUMENT);
    detokenizer_deinit(&detokenizer);
}

static void nul_and_bytes_that_are_no_character_are_replaced(void **state)
{
    (void)state;
    struct answer answer;
    begin(&answer, NULL, 0);
    feed_bytes(&answer, "a\xFF");
    feed(&answer, TINY_BYTES);
    feed_bytes(&answer, "b\xE2\x82");
    end(&answer);
    assert_string_equal(answer.shown, "a\xEF\xBF\xBD\xEF\xBF\xBD"
                                      "b\xEF\xBF\xBD");
    assert_int_equal(strlen(answer.shown), answer.bytes);
}

static void a_whole_text_is_that_of_its_pieces(void **state)
{
    (void)state;
    const int32_t ids[] = {TINY_IM_START,     TINY_BYTES + 'a', TINY_BYTES + 0xC3,
                           TINY_BYTES + 0xA9, TINY_IM_END,      TINY_BYTES + 0xE2};
    char *text = NULL;
    assert_int_equal(detokenizer_text(&text, tokenizer, ids, 6, 100), STATUS_OK);
    assert_string_equal(text, "a\xC3\xA9\xEF\xBF\xBD");
    free(text);
    assert_int_equal(detokenizer_text(&text, tokenizer, NULL, 0, 100), STATUS_OK);
    assert_string_equal(text, "");
    free(text);
    assert_int_equal(detokenizer_text(&text, tokenizer, ids, 6, 6), STATUS_OK);
    free(text);
    assert_int_equal(detokenizer_text(&text, tokenizer, ids, 6, 5), STATUS_OUT_OF_RANGE);
    for (int32_t wrong = -1; wrong <= tokenizer_count(tokenizer);
         wrong += tokenizer_count(tokenizer) + 1) {
        const int32_t some[] = {5, 6, wrong};
        assert_int_equal(detokenizer_text(&text, tokenizer, some, 3, 9), STATUS_INVALID_ARGUMENT);
        assert_non_null(strstr(status_message(), "token_ids[2]"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_character_split_over_tokens_is_shown_whole),
        cmocka_unit_test(a_character_cut_off_by_the_end_becomes_one_replacement),
        cmocka_unit_test(bytes_that_begin_no_character_are_replaced),
        cmocka_unit_test(control_tokens_are_not_shown),
        cmocka_unit_test(a_stop_string_across_tokens_ends_the_text_before_it),
        cmocka_unit_test(what_turns_out_to_be_no_stop_string_is_shown),
        cmocka_unit_test(the_stop_string_that_is_complete_first_counts),
        cmocka_unit_test(a_stop_string_of_many_bytes_splits_no_character),
        cmocka_unit_test(bad_stop_strings_and_ids_are_refused),
        cmocka_unit_test(nul_and_bytes_that_are_no_character_are_replaced),
        cmocka_unit_test(a_whole_text_is_that_of_its_pieces),
    };
    return cmocka_run_group_tests(tests, open_vocabulary, close_vocabulary);
}
