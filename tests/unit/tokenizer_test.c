/* Encoding with a small vocabulary that is written here. */
#include "tests/support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "coordinator/text/pretokenizer.h"
#include "coordinator/text/text_steps.h"
#include "coordinator/text/tokenizer.h"
#include "coordinator/text/whole_tokens.h"
#include "proto/utf8.h"
#include "tests/support/tiny_vocab.h"

enum { HOSTILE_BYTES = 4 << 20, HOSTILE_SECONDS_MAX = 30 };

/* A tokenizer with the vocabulary it came from. */
struct pair {
    struct tiny_vocab tiny;
    struct tokenizer *tokenizer;
};

static void open_pair(struct pair *pair, const struct tiny_vocab_args *args)
{
    tiny_vocab_open(&pair->tiny, args);
    assert_int_equal(tokenizer_create(&pair->tokenizer, pair->tiny.vocab), STATUS_OK);
}

static void close_pair(struct pair *pair)
{
    tokenizer_destroy(pair->tokenizer);
    tiny_vocab_close(&pair->tiny);
}

static void open_merges(struct pair *pair, const char *const *merges, int merge_count)
{
    struct tiny_vocab_args args = {.merges = merges, .merge_count = merge_count};
    open_pair(pair, &args);
}

static void expect(const struct pair *pair, const char *text, size_t bytes, unsigned flags,
                   const int32_t *wanted, size_t wanted_count)
{
    struct id_list ids = {0};
    assert_int_equal(tokenizer_encode(pair->tokenizer, &ids, text, bytes, flags), STATUS_OK);
    assert_int_equal(ids.count, wanted_count);
    for (size_t i = 0; i < wanted_count; i++)
        assert_int_equal(ids.ids[i], wanted[i]);
    id_list_deinit(&ids);
}

#define EXPECT(pair, text, flags, ...)                                                             \
    expect(pair, text, sizeof(text) - 1, flags, (const int32_t[]){__VA_ARGS__},                    \
           sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t))

#define BYTE(byte) (TINY_BYTES + (byte))

static void an_empty_text_has_no_ids(void **state)
{
    (void)state;
    struct pair pair;
    open_merges(&pair, NULL, 0);
    expect(&pair, "", 0, TOKENIZER_CONTROL | TOKENIZER_BOS, NULL, 0);
    expect(&pair, NULL, 0, 0, NULL, 0);
    close_pair(&pair);
}

static void bytes_without_merges_are_their_own_tokens(void **state)
{
    (void)state;
    struct pair pair;
    open_merges(&pair, NULL, 0);
    EXPECT(&pair, "a\n\xC3\xA9", 0, BYTE('a'), BYTE('\n'), BYTE(0xC3), BYTE(0xA9));
    EXPECT(&pair, "x\0y", 0, BYTE('x'), BYTE(0), BYTE('y'));
    close_pair(&pair);
}

static void the_leftmost_of_equal_pairs_merges_first(void **state)
{
    (void)state;
    struct pair pair;
    open_merges(&pair, (const char *const[]){"a a"}, 1);
    EXPECT(&pair, "aaa", 0, TINY_MERGED, BYTE('a'));
    EXPECT(&pair, "aaaaa", 0, TINY_MERGED, TINY_MERGED, BYTE('a'));
    close_pair(&pair);
}

static void the_lowest_rank_merges_first_wherever_it_stands(void **state)
{
    (void)state;
    struct pair pair;
    open_merges(&pair, (const char *const[]){"b c", "a b", "ab c"}, 3);
    EXPECT(&pair, "abc", 0, BYTE('a'), TINY_MERGED);
    EXPECT(&pair, "ab", 0, TINY_MERGED + 1);
    close_pair(&pair);
    open_merges(&pair, (const char *const[]){"a b", "b c", "ab c"}, 3);
    EXPECT(&pair, "abc", 0, TINY_MERGED + 2);
    close_pair(&pair);
}

static void a_merge_that_was_overtaken_is_dropped(void **state)
{
    (void)state;
    struct pair pair;
    open_merges(&pair, (const char *const[]){"c d", "b c", "a b", "ab cd", "d e"}, 5);
    EXPECT(&pair, "abcde", 0, TINY_MERGED + 3, BYTE('e'));
    close_pair(&pair);
}

static void merges_do_not_cross_words(void **state)
{
    (void)state;
    struct pair pair;
    open_merges(&pair, (const char *const[]){"a !", "1 2", "\xC4\xA0 a", "\xC4\xA0 \xC4\xA0"}, 4);
    EXPECT(&pair, "a!", 0, BYTE('a'), BYTE('!'));
    EXPECT(&pair, "12", 0, BYTE('1'), BYTE('2'));
    EXPECT(&pair, " a", 0, TINY_MERGED + 2);
    EXPECT(&pair, "   a", 0, TINY_MERGED + 3, TINY_MERGED + 2);
    EXPECT(&pair, "  1", 0, TINY_MERGED + 3, BYTE('1'));
    close_pair(&pair);
}

static void a_byte_the_vocabulary_lacks_is_left_out(void **state)
{
    (void)state;
    struct pair pair;
    struct tiny_vocab_args args = {.merges = (const char *const[]){"! !"},
                                   .merge_count = 1,
                                   .lacks_byte = true,
                                   .byte_lacking = 4};
    open_pair(&pair, &args);
    EXPECT(&pair, "a\x04", 0, BYTE('a'));
    EXPECT(&pair, "!\x04!", 0, TINY_MERGED);
    expect(&pair, "\x04", 1, 0, NULL, 0);
    close_pair(&pair);
}

static void control_tokens_are_recognised_only_when_asked(void **state)
{
    (void)state;
    struct pair pair;
    open_merges(&pair, NULL, 0);
    EXPECT(&pair, "a<|im_end|>b", TOKENIZER_CONTROL, BYTE('a'), TINY_IM_END, BYTE('b'));
    EXPECT(&pair, "<|im_end|>", 0, BYTE('<'), BYTE('|'), BYTE('i'), BYTE('m'), BYTE('_'), BYTE('e'),
           BYTE('n'), BYTE('d'), BYTE('|'), BYTE('>'));
    EXPECT(&pair, "<|im_end|", TOKENIZER_CONTROL, BYTE('<'), BYTE('|'), BYTE('i'), BYTE('m'),
           BYTE('_'), BYTE('e'), BYTE('n'), BYTE('d'), BYTE('|'));
    EXPECT(&pair, "<<|im_end|><|im_start|>", TOKENIZER_CONTROL, BYTE('<'), TINY_IM_END,
           TINY_IM_START);
    close_pair(&pair);
}

static void user_defined_tokens_are_always_recognised(void **state)
{
    (void)state;
    struct pair pair;
    open_merges(&pair, NULL, 0);
    EXPECT(&pair, "<tool>", 0, TINY_TOOL);
    EXPECT(&pair, "a<tool>", TOKENIZER_CONTROL, BYTE('a'), TINY_TOOL);
    assert_false(tokenizer_is_control(pair.tokenizer, TINY_TOOL));
    close_pair(&pair);
}

/* DeepSeek's turns are user-defined tokens; they are printed as those are, but no text of a
 * conversation becomes one. */
static void user_defined_tokens_written_like_a_turn_are_recognised_where_asked_for(void **state)
{
    (void)state;
    static const char *const marks[] = {"<|T|>", "<\uFF5CT\uFF5C>", "<|T\uFF5C>"};
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        struct pair pair;
        struct id_list ids = {0};
        open_pair(&pair, &(struct tiny_vocab_args){.tool = marks[i]});
        expect(&pair, marks[i], strlen(marks[i]), TOKENIZER_CONTROL, &(int32_t){TINY_TOOL}, 1);
        assert_int_equal(tokenizer_control_id(pair.tokenizer, marks[i]), TINY_TOOL);
        assert_false(tokenizer_is_control(pair.tokenizer, TINY_TOOL));
        assert_int_equal(tokenizer_encode(pair.tokenizer, &ids, marks[i], strlen(marks[i]), 0),
                         STATUS_OK);
        assert_int_equal(ids.count, strlen(marks[i]));
        for (size_t k = 0; k < ids.count; k++)
            assert_int_equal(ids.ids[k], BYTE((uint8_t)marks[i][k]));
        id_list_deinit(&ids);
        close_pair(&pair);
    }
}

static void a_control_token_ends_a_word(void **state)
{
    (void)state;
    struct pair pair;
    open_merges(&pair, (const char *const[]){"\xC4\xA0 \xC4\xA0"}, 1);
    EXPECT(&pair, "  <|im_end|>  a", TOKENIZER_CONTROL, TINY_MERGED, TINY_IM_END, BYTE(' '),
           BYTE(' '), BYTE('a'));
    close_pair(&pair);
}

static void bos_comes_where_the_file_and_the_caller_want_it(void **state)
{
    (void)state;
    struct pair pair;
    struct tiny_vocab_args args = {.adds_bos = true};
    open_pair(&pair, &args);
    EXPECT(&pair, "a", TOKENIZER_BOS, TINY_IM_START, BYTE('a'));
    EXPECT(&pair, "", TOKENIZER_BOS, TINY_IM_START);
    EXPECT(&pair, "a", 0, BYTE('a'));
    close_pair(&pair);
    open_merges(&pair, NULL, 0);
    EXPECT(&pair, "a", TOKENIZER_BOS, BYTE('a'));
    close_pair(&pair);
}

static void stop_ids_are_listed_once(void **state)
{
    (void)state;
    struct pair pair;
    open_merges(&pair, NULL, 0);
    size_t count;
    const int32_t *stops = tokenizer_stop_ids(pair.tokenizer, &count);
    assert_int_equal(count, 2);
    assert_int_equal(stops[0], TINY_IM_END);
    assert_int_equal(stops[1], TINY_ENDOFTEXT);
    assert_int_equal(tokenizer_control_id(pair.tokenizer, "<|im_start|>"), TINY_IM_START);
    assert_int_equal(tokenizer_control_id(pair.tokenizer, "<tool>"), -1);
    assert_int_equal(tokenizer_control_id(pair.tokenizer, "a"), -1);
    close_pair(&pair);
}

static void expect_bad_byte(const struct pair *pair, const char *text, size_t bytes, size_t offset)
{
    struct id_list ids = {0};
    assert_int_equal(id_list_add(&ids, 7), STATUS_OK);
    assert_int_equal(tokenizer_encode(pair->tokenizer, &ids, text, bytes, 0),
                     STATUS_INVALID_ARGUMENT);
    char wanted[32];
    snprintf(wanted, sizeof wanted, "byte %zu", offset);
    assert_non_null(strstr(status_message(), wanted));
    assert_int_equal(ids.count, 1);
    id_list_deinit(&ids);
}

static void invalid_utf8_is_refused_with_its_offset(void **state)
{
    (void)state;
    struct pair pair;
    open_merges(&pair, NULL, 0);
    expect_bad_byte(&pair, "\xFF", 1, 0);
    expect_bad_byte(&pair, "abcdefghij\x80", 11, 10);     /* a continuation byte alone */
    expect_bad_byte(&pair, "ab\xC0\x80", 4, 2);           /* overlong NUL */
    expect_bad_byte(&pair, "ab\xE0\x9F\xBF", 5, 2);       /* overlong U+07FF */
    expect_bad_byte(&pair, "ab\xED\xA0\x80", 5, 2);       /* a surrogate */
    expect_bad_byte(&pair, "ab\xF4\x90\x80\x80", 6, 2);   /* U+110000 */
    expect_bad_byte(&pair, "ab\xF0\x8F\xBF\xBF", 6, 2);   /* overlong U+FFFF */
    expect_bad_byte(&pair, "abc\xE2\x82", 5, 3);          /* cut off */
    expect_bad_byte(&pair, "abc\xE2\x82z", 6, 3);         /* cut short */
    expect_bad_byte(&pair, "\xF4\x8F\xBF\xBF\xC3", 5, 4); /* U+10FFFF is fine */
    close_pair(&pair);
}

static void words_are_cut_as_the_oracle_cuts_them(void **state)
{
    (void)state;
    /* '|' separates the words. Pieces of PyPI tokenizers 0.23: Digits(individual_digits),
     * ByteLevel. */
    static const char *const cases[] = {
        "we|'ll| don|'t|'|S",
        "a| |\n|b|\xE2\x80\xA8|c", /* U+2028 is white space */
        "x|\xC2\x85|y",            /* and so is U+0085 */
        "a|\xE1\xA0\x8E|b",        /* U+180E is not: no letter either */
        "a|'|\xC5\xBF",            /* long s makes no contraction */
        "\xD9\xA3|\xC2\xBD|\xE2\x85\xA7| \xE4\xB8\x89\xE4\xB8\x80", /* numbers one by one */
        "  |1| | x|   ",
        "\xF0\x96\xB5\x80\x61|!",   /* U+16D40, a letter since Unicode 16 */
        "a|\xF0\x90\xB5\x80|b",     /* U+10D40, a digit since Unicode 16 */
        "!|\xF0\x91\xB7\xA0|!",     /* U+11DE0, a digit since Unicode 17 */
        "e|\xCC\x81|e| \xCC\x81|e", /* a combining mark is no letter */
    };
    struct pretokenizer *pretokenizer = NULL;
    struct pretokenizer_walk *walk = NULL;
    assert_int_equal(pretokenizer_create(&pretokenizer, "smollm", 6), STATUS_OK);
    assert_int_equal(pretokenizer_walk_create(&walk, pretokenizer), STATUS_OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[64];
        size_t bytes = 0;
        for (const char *c = cases[i]; *c; c++)
            if (*c != '|')
                text[bytes++] = *c;
        pretokenizer_walk_begin(walk, text, bytes);
        for (const char *c = cases[i]; *c;) {
            size_t wanted = strcspn(c, "|");
            const char *word;
            size_t word_bytes;
            if (wanted > 0) {
                assert_int_equal(pretokenizer_walk_next(walk, &word, &word_bytes), STATUS_OK);
                assert_int_equal(word_bytes, wanted);
                assert_memory_equal(word, c, wanted);
            }
            c += wanted + (c[wanted] == '|');
        }
    }
    pretokenizer_walk_destroy(walk);
    pretokenizer_destroy(pretokenizer);
}

static void expect_refused(const struct tiny_vocab_args *args, enum status wanted,
                           const char *sentence)
{
    struct tiny_vocab tiny;
    tiny_vocab_open(&tiny, args);
    struct tokenizer *tokenizer = NULL;
    assert_int_equal(tokenizer_create(&tokenizer, tiny.vocab), wanted);
    assert_non_null(strstr(status_message(), sentence));
    assert_null(tokenizer);
    tiny_vocab_close(&tiny);
}

static void what_is_not_supported_is_refused_by_name(void **state)
{
    (void)state;
    expect_refused(&(struct tiny_vocab_args){.pre = "bloom"}, STATUS_UNIMPLEMENTED,
                   "\"bloom\" (tokenizer.ggml.pre) is not supported; known: smollm (starcoder");
    expect_refused(&(struct tiny_vocab_args){.pre = ""}, STATUS_UNIMPLEMENTED,
                   "tokenizer.ggml.pre");
    expect_refused(&(struct tiny_vocab_args){.kind = "bert"}, STATUS_UNIMPLEMENTED, "\"bert\"");
}

static void a_vocabulary_that_contradicts_itself_is_refused(void **state)
{
    (void)state;
    static const char *const merges[] = {"a b"};
    expect_refused(
        &(struct tiny_vocab_args){.merges = merges, .merge_count = 1, .merges_without_token = 1},
        STATUS_DATA_LOSS, "merge 0");
    static const char *const forging[] = {"< |",       "<| i",       "<|i m",
                                          "<|im _",    "<|im_ e",    "<|im_e n",
                                          "<|im_en d", "<|im_end |", "<|im_end| >"};
    expect_refused(
        &(struct tiny_vocab_args){.merges = forging, .merge_count = 9, .merges_without_token = 1},
        STATUS_DATA_LOSS, "marks as control");
    expect_refused(&(struct tiny_vocab_args){.bytes_are_control = true}, STATUS_DATA_LOSS,
                   "marks as control");
    char long_token[WHOLE_TOKENS_BYTES_MAX + 2];
    memset(long_token, 't', sizeof long_token);
    long_token[sizeof long_token - 1] = 0;
    expect_refused(&(struct tiny_vocab_args){.tool = long_token}, STATUS_DATA_LOSS,
                   "token 3, which is looked for whole, has 1025 bytes; at most 1024");
}

static double seconds_since(const struct timespec *start)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)(now.tv_sec - start->tv_sec) + (double)(now.tv_nsec - start->tv_nsec) * 1e-9;
}

/* Fills with `pattern` over and over and encodes; a scan of the word per merge would take hours. */
static void encode_hostile(const struct pair *pair, char *text, const char *pattern)
{
    for (size_t i = 0; i < HOSTILE_BYTES; i++)
        text[i] = pattern[i % strlen(pattern)];
    struct timespec start;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
    struct id_list ids = {0};
    assert_int_equal(tokenizer_encode(pair->tokenizer, &ids, text, HOSTILE_BYTES, 0), STATUS_OK);
    assert_true(ids.count > 0);
    id_list_deinit(&ids);
    assert_true(seconds_since(&start) < HOSTILE_SECONDS_MAX);
}

static void hostile_runs_of_4_mib_take_seconds(void **state)
{
    (void)state;
    static const char *const merges[] = {"a a",
                                         "aa aa",
                                         "aaaa aaaa",
                                         "a b",
                                         "b a",
                                         "ab ab",
                                         "! !",
                                         "\xC4\xA0 \xC4\xA0",
                                         "\xC4\xA0\xC4\xA0 \xC4\xA0\xC4\xA0"};
    /* What merges cost is the same for every pre-tokenizer; what it does with white space is
     * not. */
    static const struct {
        const char *pre;
        const char *patterns[10];
    } runs[] = {{"smollm", {"a", "ab", " ", "7", "!", "' ", "<", "\n "}},
                {"llama-bpe", {" ", "\n ", "\r", "'S"}}};
    char *text = malloc(HOSTILE_BYTES);
    assert_non_null(text);
    for (size_t run = 0; run < sizeof runs / sizeof runs[0]; run++) {
        struct pair pair;
        open_pair(&pair, &(struct tiny_vocab_args){
                             .pre = runs[run].pre, .merges = merges, .merge_count = 9});
        for (size_t i = 0; runs[run].patterns[i]; i++)
            encode_hostile(&pair, text, runs[run].patterns[i]);
        close_pair(&pair);
    }
    free(text);
}

static void a_word_past_the_limit_is_refused(void **state)
{
    (void)state;
    struct pair pair;
    open_merges(&pair, NULL, 0);
    size_t bytes = TOKENIZER_WORD_BYTES_MAX + 1;
    char *text = malloc(bytes);
    assert_non_null(text);
    memset(text, 'a', bytes);
    struct id_list ids = {0};
    assert_int_equal(tokenizer_encode(pair.tokenizer, &ids, text, bytes, 0), STATUS_OUT_OF_RANGE);
    assert_int_equal(
        tokenizer_encode(pair.tokenizer, &ids, text, (size_t)TOKENIZER_TEXT_BYTES_MAX + 1, 0),
        STATUS_OUT_OF_RANGE);
    id_list_deinit(&ids);
    free(text);
    close_pair(&pair);
}

/* A replacement may make 64 bytes of one. */
static void a_text_that_grows_past_its_limit_takes_no_memory_beyond(void **state)
{
    (void)state;
    enum { TEXT_BYTES = 100000, LIMIT = 1000 };
    char larger[VOCAB_STEP_BYTES_MAX], text[TEXT_BYTES];
    memset(larger, 'b', sizeof larger);
    memset(text, 'a', sizeof text);
    const struct vocab_step step = {VOCAB_STEP_REPLACE, {"a", 1}, {larger, sizeof larger}};
    struct text_steps *steps;
    struct text_steps_scratch scratch = {0};
    assert_int_equal(text_steps_create(&steps, &step, 1), STATUS_OK);
    const char *made = text;
    size_t bytes = LIMIT / VOCAB_STEP_BYTES_MAX;
    assert_int_equal(text_steps_apply(steps, &scratch, &made, &bytes, LIMIT), STATUS_OK);
    assert_int_equal(bytes, LIMIT / VOCAB_STEP_BYTES_MAX * VOCAB_STEP_BYTES_MAX);
    made = text;
    bytes = sizeof text;
    assert_int_equal(text_steps_apply(steps, &scratch, &made, &bytes, LIMIT), STATUS_OUT_OF_RANGE);
    assert_non_null(strstr(status_message(), "more than 1000 bytes"));
    for (int i = 0; i < 2; i++)
        assert_in_range(scratch.buffers[i].capacity, 0, 2 * LIMIT);
    text_steps_scratch_deinit(&scratch);
    text_steps_destroy(steps);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_text_has_no_ids),
        cmocka_unit_test(bytes_without_merges_are_their_own_tokens),
        cmocka_unit_test(the_leftmost_of_equal_pairs_merges_first),
        cmocka_unit_test(the_lowest_rank_merges_first_wherever_it_stands),
        cmocka_unit_test(a_merge_that_was_overtaken_is_dropped),
        cmocka_unit_test(merges_do_not_cross_words),
        cmocka_unit_test(a_byte_the_vocabulary_lacks_is_left_out),
        cmocka_unit_test(control_tokens_are_recognised_only_when_asked),
        cmocka_unit_test(user_defined_tokens_are_always_recognised),
        cmocka_unit_test(a_text_that_grows_past_its_limit_takes_no_memory_beyond),
        cmocka_unit_test(user_defined_tokens_written_like_a_turn_are_recognised_where_asked_for),
        cmocka_unit_test(a_control_token_ends_a_word),
        cmocka_unit_test(bos_comes_where_the_file_and_the_caller_want_it),
        cmocka_unit_test(stop_ids_are_listed_once),
        cmocka_unit_test(invalid_utf8_is_refused_with_its_offset),
        cmocka_unit_test(words_are_cut_as_the_oracle_cuts_them),
        cmocka_unit_test(what_is_not_supported_is_refused_by_name),
        cmocka_unit_test(a_vocabulary_that_contradicts_itself_is_refused),
        cmocka_unit_test(hostile_runs_of_4_mib_take_seconds),
        cmocka_unit_test(a_word_past_the_limit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
