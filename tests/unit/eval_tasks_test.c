/* The tasks of evaluations: published numbers, prompts by fixed digests, what their builders
 * promise at every size, and lengths that are kept. */
#include "tests/support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/eval/eval_fit.h"
#include "coordinator/eval/eval_uuid.h"
#include "coordinator/eval/eval_windows.h"
#include "coordinator/eval/eval_words.h"

enum { SEED = 7, LENGTH = 4096, UNITS = 64, WHOLE = 900 };

/* ---- numbers ---- */

/* The first round of PCG's own demonstration, pcg32-demo: seed 42, sequence 54. */
static void the_stream_is_pcg32(void **state)
{
    static const uint32_t expected[] = {0xa15c02b7, 0x7b47f409, 0xba1d3330,
                                        0x83d2f293, 0xbfa4784b, 0xcbed606e};
    struct eval_random random;
    (void)state;
    eval_random_seed(&random, 42, 54);
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        assert_int_equal(eval_random_bits(&random), expected[i]);
}

/* Computed by a program in another language, from the words of eval_random.h. */
static void a_key_gives_the_numbers_that_its_description_gives(void **state)
{
    const struct eval_random_key key = {3, "passkey", 4096, 2};
    struct eval_random random;
    (void)state;
    eval_random_begin(&random, &key, "key");
    assert_int_equal(eval_random_bits(&random), 0x53e82be3);
    assert_int_equal(eval_random_below(&random, 1000), 997);
}

static void choices_are_different_and_ascending(void **state)
{
    uint32_t entries[100];
    struct eval_random random;
    (void)state;
    eval_random_seed(&random, SEED, 1);
    for (size_t count = 0; count <= 100; count += 5) {
        eval_random_choose(&random, entries, count, 100);
        for (size_t i = 0; i < count; i++)
            assert_true(entries[i] < 100 && (i == 0 || entries[i] > entries[i - 1]));
    }
}

static void built_in_words_are_all_different(void **state)
{
    size_t count;
    const char *const *words = eval_words_all(&count);
    (void)state;
    assert_true(count > 400);
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(words[i], words[k]);
}

/* ---- prompts ---- */

static void build(struct eval_prompt *prompt, const struct eval_task *task, int64_t units,
                  int64_t index, int depth, const struct eval_material *material)
{
    const struct eval_case of = {.task = task,
                                 .material = material,
                                 .key = {SEED, task->name, LENGTH, index},
                                 .depth = task->deep ? depth : -1};
    assert_int_equal(task->build(prompt, &of, units), STATUS_OK);
}

/* FNV-1a, 64 bits. */
static uint64_t digest(const struct eval_prompt *prompt)
{
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < prompt->bytes; i++)
        hash = (hash ^ (unsigned char)prompt->text[i]) * 1099511628211u;
    return hash;
}

/* Prompts are bit for bit the same on every platform: who changes one raises EVAL_TASK_VERSION. */
static void prompts_have_their_digests(void **state)
{
    static const struct {
        const char *task;
        uint64_t digest;
    } expected[] = {
        {"passkey", 0x0846e75a43d21ab2u},
        {"niah_1", 0x7711d9ea0631e29du},
        {"niah_4", 0x44205ef497080fcfu},
        {"niah_8", 0x5e395baf9aadc11au},
        {"niah_single_1", 0x405306ba79f267dcu},
        {"niah_multikey_2", 0xca7eb80def66186au},
        {"niah_multikey_3", 0x5bcfe788f182b34bu},
        {"vt", 0xfe8a8739ab3deb56u},
        {"cwe", 0x9f20b3ea50b8cbd1u},
        {"fwe", 0x276118d4d6f40eccu},
        {"graph", 0x569da6ae5338bdedu},
        {"kv", 0x2334465eef8fe67au},
        {"number", 0x8c06ac7e98e5b4fau},
    };
    const struct eval_material noise = {.sentence_count = 0};
    (void)state;
    assert_int_equal(EVAL_TASK_VERSION, 1);
    for (size_t i = 0; eval_task_at(i); i++) {
        struct eval_prompt prompt = {.text = NULL};
        assert_true(i < sizeof expected / sizeof expected[0]);
        assert_string_equal(eval_task_at(i)->name, expected[i].task);
        build(&prompt, eval_task_at(i), UNITS, 1, 50, &noise);
        if (digest(&prompt) != expected[i].digest)
            fail_msg("{\"%s\", 0x%016llxu},", expected[i].task,
                     (unsigned long long)digest(&prompt));
        eval_prompt_deinit(&prompt);
    }
}

static size_t times(const char *text, const char *word)
{
    size_t count = 0;
    for (const char *at = text; (at = strstr(at, word)); at++)
        count++;
    return count;
}

/* What is asked for can be found, and a perfect answer is worth 1, an empty one 0. */
static void a_right_answer_scores_one(void **state)
{
    const struct eval_material noise = {.sentence_count = 0};
    (void)state;
    for (size_t i = 0; eval_task_at(i); i++)
        for (int64_t units = eval_task_at(i)->least_units; units < 400; units = 3 * units + 1) {
            const struct eval_task *task = eval_task_at(i);
            struct eval_prompt prompt = {.text = NULL};
            const char *answers[EVAL_ANSWERS_MAX];
            char said[EVAL_ANSWERS_MAX * 48] = "";
            build(&prompt, task, units, 0, 100, &noise);
            assert_int_equal(strlen(prompt.text), prompt.bytes);
            for (size_t a = 0; a < prompt.answer_count; a++) {
                answers[a] = prompt.answers[a];
                assert_true(times(prompt.text, answers[a]) > 0);
                snprintf(said + strlen(said), sizeof said - strlen(said), " %s,", answers[a]);
            }
            assert_true(eval_score(task->metric, said, answers, prompt.answer_count) == 1);
            assert_true(eval_score(task->metric, "", answers, prompt.answer_count) == 0);
            eval_prompt_deinit(&prompt);
        }
}

/* The same sample at another depth has the same text but for where the answer stands. */
static void an_answer_lies_at_its_depth(void **state)
{
    static const char *const names[] = {"passkey", "niah_1", "kv", "number"};
    const struct eval_material noise = {.sentence_count = 0};
    (void)state;
    for (size_t n = 0; n < sizeof names / sizeof names[0]; n++)
        for (int depth = 0; depth <= 100; depth += 10) {
            const struct eval_task *task = eval_task_find(names[n]);
            struct eval_prompt prompt = {.text = NULL};
            build(&prompt, task, 500, 0, depth, &noise);
            assert_int_equal(prompt.depths[0], depth);
            const double at = (double)(strstr(prompt.text, prompt.answers[0]) - prompt.text);
            const double place = 100 * at / (double)prompt.bytes;
            assert_true(place > depth - 3 && place < depth + 3);
            eval_prompt_deinit(&prompt);
        }
}

static void several_needles_lie_at_even_distances(void **state)
{
    const struct eval_material noise = {.sentence_count = 0};
    struct eval_prompt prompt = {.text = NULL};
    static const int expected[] = {10, 35, 60, 85};
    (void)state;
    build(&prompt, eval_task_find("niah_4"), 400, 0, 60, &noise);
    assert_int_equal(prompt.answer_count, 4);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(prompt.depths[i], expected[i]);
    assert_int_equal(times(prompt.text, "One of the special magic numbers for"), 4);
    eval_prompt_deinit(&prompt);
}

static void depths_of_a_json_object_share_their_beginning(void **state)
{
    const struct eval_material noise = {.sentence_count = 0};
    struct eval_prompt one = {.text = NULL}, other = {.text = NULL};
    (void)state;
    build(&one, eval_task_find("kv"), 50, 0, 0, &noise);
    build(&other, eval_task_find("kv"), 50, 0, 100, &noise);
    const size_t object = (size_t)(strchr(one.text, '}') - one.text);
    assert_memory_equal(one.text, other.text, object);
    assert_string_not_equal(one.text, other.text);
    eval_prompt_deinit(&one);
    eval_prompt_deinit(&other);
}

static void samples_seeds_and_lengths_differ(void **state)
{
    const struct eval_material noise = {.sentence_count = 0};
    (void)state;
    for (size_t i = 0; eval_task_at(i); i++) {
        struct eval_prompt one = {.text = NULL}, other = {.text = NULL};
        build(&one, eval_task_at(i), UNITS, 0, 50, &noise);
        build(&other, eval_task_at(i), UNITS, 1, 50, &noise);
        assert_string_not_equal(one.text, other.text);
        eval_prompt_deinit(&one);
        eval_prompt_deinit(&other);
    }
}

/* ---- RULER's words ---- */

static void rulers_prompts_say_what_ruler_says(void **state)
{
    const struct eval_material noise = {.sentence_count = 0};
    struct eval_prompt prompt = {.text = NULL};
    (void)state;
    build(&prompt, eval_task_find("niah_single_1"), 4, 0, -1, &noise);
    assert_non_null(strstr(prompt.text,
                           "A special magic number is hidden within the following text. Make sure "
                           "to memorize it. I will quiz you about the number afterwards.\n"));
    assert_non_null(strstr(prompt.text, "\nWhat is the special magic number for "));
    assert_non_null(strstr(prompt.text, " mentioned in the provided text? The special magic number "
                                        "for "));
    assert_int_equal(strlen(prompt.answers[0]), 7);
    eval_prompt_deinit(&prompt);
    build(&prompt, eval_task_find("vt"), 20, 0, -1, &noise);
    assert_int_equal(times(prompt.text, "VAR "), 2 * (5 + 4));
    assert_int_equal(times(prompt.text, eval_material_noise), 30);
    eval_prompt_deinit(&prompt);
    build(&prompt, eval_task_find("cwe"), 30, 0, -1, &noise);
    assert_non_null(strstr(prompt.text, " 360. ")); /* 10 of 30 and 20 of 3 */
    assert_null(strstr(prompt.text, " 361. "));
    eval_prompt_deinit(&prompt);
    build(&prompt, eval_task_find("fwe"), 1000, 0, -1, &noise);
    assert_int_equal(times(prompt.text, " ... ") > 0, 1);
    assert_int_equal(times(prompt.text, prompt.answers[0]), 151); /* 1000 / 4 / zeta(2) */
    assert_int_equal(times(prompt.text, prompt.answers[1]), 67);
    assert_int_equal(times(prompt.text, prompt.answers[2]), 37);
    eval_prompt_deinit(&prompt);
}

static void uuids_are_of_version_4(void **state)
{
    struct eval_random random;
    char uuid[EVAL_UUID_BYTES];
    (void)state;
    eval_random_seed(&random, 1, 1);
    for (int i = 0; i < 100; i++) {
        eval_uuid_draw(uuid, &random);
        assert_int_equal(strlen(uuid), 36);
        assert_int_equal(uuid[14], '4');
        assert_non_null(strchr("89ab", uuid[19]));
    }
}

/* ---- texts ---- */

static void a_text_becomes_sentences(void **state)
{
    struct eval_material material = {.sentence_count = 0};
    char *text =
        strdup("  In the\nbeginning. \"And it was so!\" Is it 3.5?\n\nA heading\n\nThe end");
    static const char *const expected[] = {"In the beginning.", "\"And it was so!\" Is it 3.5?",
                                           "A heading", "The end"};
    (void)state;
    assert_int_equal(eval_material_take_text(&material, text, "t"), STATUS_OK);
    assert_int_equal(material.sentence_count, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(material.sentences[i].bytes, strlen(expected[i]));
        assert_memory_equal(material.sentences[i].text, expected[i], strlen(expected[i]));
    }
    eval_material_deinit(&material);
    assert_int_equal(eval_material_take_text(&material, strdup(" \n\t"), "t"),
                     STATUS_INVALID_ARGUMENT);
    eval_material_deinit(&material);
}

static void a_list_of_words_keeps_what_are_words(void **state)
{
    struct eval_material material = {.sentence_count = 0};
    char text[4096] = "Aaron\nzebra's\nof\nzebra\nzebra\n";
    (void)state;
    for (char c = 'a'; c < 'a' + 10; c++)
        for (char d = 'a'; d < 'a' + 10; d++)
            snprintf(text + strlen(text), sizeof text - strlen(text), "w%c%c\r\n", c, d);
    assert_int_equal(eval_material_take_words(&material, strdup(text), "w"), STATUS_OK);
    assert_int_equal(material.word_count, 101);
    assert_string_equal(material.words[100], "zebra");
    eval_material_deinit(&material);
    assert_int_equal(eval_material_take_words(&material, strdup("one\ntwo\n"), "w"),
                     STATUS_INVALID_ARGUMENT);
    eval_material_deinit(&material);
}

/* A carriage return ends a line too, so there are as many words as there are of either. */
static void words_may_lie_between_carriage_returns(void **state)
{
    struct eval_material material = {.sentence_count = 0};
    char text[4096] = "";
    (void)state;
    for (char c = 'a'; c <= 'z'; c++)
        for (char d = 'a'; d <= 'z'; d++)
            snprintf(text + strlen(text), sizeof text - strlen(text), "w%c%c\r", c, d);
    assert_int_equal(eval_material_take_words(&material, strdup(text), "w"), STATUS_OK);
    assert_int_equal(material.word_count, 26 * 26);
    assert_string_equal(material.words[26 * 26 - 1], "wzz");
    eval_material_deinit(&material);
}

/* ---- lengths ---- */

/* Only words that are written are drawn: the 335,544 that a length of 2^24 allows would be held
 * against each other past this test's deadline. */
static void coded_words_of_the_longest_text_take_no_time(void **state)
{
    const struct eval_material noise = {.sentence_count = 0};
    struct eval_case of = {.task = eval_task_find("fwe"),
                           .material = &noise,
                           .key = {SEED, "fwe", 1 << 24, 0},
                           .depth = -1};
    (void)state;
    for (; of.key.index < 4; of.key.index++) {
        struct eval_prompt prompt = {.text = NULL};
        assert_int_equal(of.task->build(&prompt, &of, 20000), STATUS_OK);
        assert_int_equal(prompt.answer_count, 3);
        eval_prompt_deinit(&prompt);
    }
}

struct counting {
    int calls;
};

/* Words are tokens. */
static enum status count_words(void *context, int64_t *tokens, const char *text, size_t bytes)
{
    struct counting *counting = context;
    *tokens = 0;
    counting->calls++;
    for (size_t i = 0; i < bytes; i++)
        *tokens += text[i] == ' ' || text[i] == '\n';
    return STATUS_OK;
}

/* One unit more would not fit; it is the size that a walk from the least finds. */
static void expect_longest_fit(const struct eval_task *task, int64_t length)
{
    const struct eval_material noise = {.sentence_count = 0};
    const struct eval_case of = {.task = task,
                                 .material = &noise,
                                 .key = {SEED, task->name, length, 0},
                                 .depth = task->deep ? 50 : -1};
    struct counting counting = {0};
    const struct eval_fit_args args = {&of, task->answer_tokens, count_words, &counting};
    struct eval_prompt fitted = {.text = NULL}, walked = {.text = NULL};
    int64_t tokens = 0, more = 0;
    assert_int_equal(eval_fit(&fitted, &tokens, &args), STATUS_OK);
    assert_true(counting.calls < 24);
    assert_true(tokens + task->answer_tokens <= length);
    for (int64_t units = task->least_units;; units++) {
        eval_prompt_deinit(&walked);
        assert_int_equal(task->build(&walked, &of, units), STATUS_OK);
        assert_int_equal(count_words(&counting, &more, walked.text, walked.bytes), STATUS_OK);
        if (more + task->answer_tokens > length)
            break;
    }
    assert_true(walked.bytes > fitted.bytes && more > tokens);
    eval_prompt_deinit(&fitted);
    eval_prompt_deinit(&walked);
}

static void a_fitted_prompt_is_the_longest_that_fits(void **state)
{
    (void)state;
    for (size_t i = 0; eval_task_at(i); i++)
        for (int64_t length = WHOLE; length < WHOLE + 12; length++)
            expect_longest_fit(eval_task_at(i), length);
}

/* Whole words, as many as fit: one word more would not. */
static void a_window_is_the_longest_run_of_words_that_fits(void **state)
{
    static const char text[] = "In the beginning  God\ncreated the heaven and the earth.";
    struct counting counting = {0};
    const struct eval_windows_args args = {text, sizeof text - 1, count_words, &counting};
    size_t end = 0;
    int64_t counted = 0;
    (void)state;
    for (int64_t tokens = 1; tokens < 10; tokens++) {
        assert_int_equal(eval_windows_end(&end, &counted, &args, 0, tokens), STATUS_OK);
        assert_true(counted <= tokens && (text[end] == ' ' || text[end] == '\n' || !text[end]));
        size_t next = end + strspn(text + end, " \n");
        next += strcspn(text + next, " \n");
        int64_t more = 0;
        assert_int_equal(count_words(&counting, &more, text, next), STATUS_OK);
        assert_true(more > tokens || next == end);
    }
    assert_int_equal(eval_windows_end(&end, &counted, &args, 0, 100), STATUS_OK);
    assert_int_equal(end, sizeof text - 1);
    assert_int_equal(eval_windows_end(&end, &counted, &args, end, 100), STATUS_OUT_OF_RANGE);
}

static void a_length_that_cannot_be_had_is_refused_with_what_to_do(void **state)
{
    const struct eval_material noise = {.sentence_count = 0};
    const struct eval_task *task = eval_task_find("cwe");
    struct eval_case of = {
        .task = task, .material = &noise, .key = {SEED, "cwe", 20000, 0}, .depth = -1};
    struct counting counting = {0};
    const struct eval_fit_args args = {&of, 120, count_words, &counting};
    struct eval_prompt prompt = {.text = NULL};
    int64_t tokens = 0;
    (void)state;
    assert_int_equal(eval_fit(&prompt, &tokens, &args), STATUS_OUT_OF_RANGE);
    assert_non_null(strstr(status_message(), "--words FILE"));
    eval_prompt_deinit(&prompt);
    of.key.length = 200;
    assert_int_equal(eval_fit(&prompt, &tokens, &args), STATUS_OUT_OF_RANGE);
    assert_non_null(strstr(status_message(), "--lengths 200"));
    eval_prompt_deinit(&prompt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_stream_is_pcg32),
        cmocka_unit_test(a_key_gives_the_numbers_that_its_description_gives),
        cmocka_unit_test(choices_are_different_and_ascending),
        cmocka_unit_test(built_in_words_are_all_different),
        cmocka_unit_test(prompts_have_their_digests),
        cmocka_unit_test(a_right_answer_scores_one),
        cmocka_unit_test(an_answer_lies_at_its_depth),
        cmocka_unit_test(several_needles_lie_at_even_distances),
        cmocka_unit_test(depths_of_a_json_object_share_their_beginning),
        cmocka_unit_test(samples_seeds_and_lengths_differ),
        cmocka_unit_test(rulers_prompts_say_what_ruler_says),
        cmocka_unit_test(uuids_are_of_version_4),
        cmocka_unit_test(a_text_becomes_sentences),
        cmocka_unit_test(a_list_of_words_keeps_what_are_words),
        cmocka_unit_test(words_may_lie_between_carriage_returns),
        cmocka_unit_test(coded_words_of_the_longest_text_take_no_time),
        cmocka_unit_test(a_fitted_prompt_is_the_longest_that_fits),
        cmocka_unit_test(a_window_is_the_longest_run_of_words_that_fits),
        cmocka_unit_test(a_length_that_cannot_be_had_is_refused_with_what_to_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
