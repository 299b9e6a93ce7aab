/* Sentences of a vocabulary, and positions: the published example, the published figures, and what
 * holds for every setting. */
#include "tests/support/unit.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "coordinator/recipe/positions.h"
#include "proto/train/chance.h"
#include "tests/support/tiny_vocab.h"

enum { STOP = TINY_BYTES + '.', LETTER = TINY_BYTES + 'a' };

static struct sentences byte_sentences(void)
{
    struct tiny_vocab tiny;
    struct tokenizer *tokenizer = NULL;
    struct sentences sentences;
    tiny_vocab_open(&tiny, &(struct tiny_vocab_args){0});
    assert_int_equal(tokenizer_create(&tokenizer, tiny.vocab), STATUS_OK);
    assert_int_equal(sentences_init(&sentences, tokenizer, "auto"), STATUS_OK);
    tokenizer_destroy(tokenizer);
    tiny_vocab_close(&tiny);
    return sentences;
}

static void delimiters_are_found_by_what_tokens_stand_for(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool ends;
    } texts[] = {{".", true},    {"?", true},   {"!", true},   {"\n", true},  {".\n", true},
                 {"\n\n", true}, {"?!", true},  {" .", true},  {"...", true}, {". \r\n", true},
                 {" ", false},   {"", false},   {".a", false}, {"a.", false}, {",", false},
                 {"\r", false},  {":\n", false}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_int_equal(sentences_is_delimiter(texts[i].text, strlen(texts[i].text)),
                         texts[i].ends);
    struct sentences sentences = byte_sentences();
    int64_t found = 0;
    for (int32_t id = 0; id < sentences.count; id++)
        found += sentences.ends[id];
    /* Four bytes, and two tokens that end a text. */
    assert_int_equal(found, 6);
    assert_int_equal(sentences.delimiters, 6);
    assert_true(sentences.ends[TINY_ENDOFTEXT]);
    assert_true(sentences.ends[STOP] && sentences.ends[TINY_BYTES + '\n']);
    assert_true(sentences.ends[TINY_BYTES + '?'] && sentences.ends[TINY_BYTES + '!']);
    assert_true(sentences.ends[TINY_IM_END] && !sentences.ends[TINY_IM_START]);
    sentences_deinit(&sentences);
}

static void ids_that_are_given_are_all_there_are(void **state)
{
    (void)state;
    struct tiny_vocab tiny;
    struct tokenizer *tokenizer = NULL;
    struct sentences sentences;
    tiny_vocab_open(&tiny, &(struct tiny_vocab_args){0});
    assert_int_equal(tokenizer_create(&tokenizer, tiny.vocab), STATUS_OK);
    assert_int_equal(sentences_init(&sentences, tokenizer, " 7 9,7"), STATUS_OK);
    assert_int_equal(sentences.delimiters, 2);
    assert_true(sentences.ends[7] && sentences.ends[9]);
    sentences_deinit(&sentences);
    static const char *const wrong[] = {"7 x", "-1", "999999", "", "7.5"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(sentences_init(&sentences, tokenizer, wrong[i]), STATUS_INVALID_ARGUMENT);
        assert_non_null(strstr(status_message(), "data.delimiters"));
    }
    tokenizer_destroy(tokenizer);
    tiny_vocab_close(&tiny);
}

/* methods.md 3.8: sentences of 4, 3 and 5 tokens; slots 1, 4 and 8 are drawn. */
static void the_published_example_comes_out(void **state)
{
    (void)state;
    static const int32_t wanted[] = {0, 1, 2, 3, 7, 8, 9, 13, 14, 15, 16, 17};
    static const int32_t with_right_point[] = {0, 1, 2, 3, 4, 8, 9, 13, 14, 15, 16, 17};
    static const int64_t drawn[] = {1, 4, 8};
    int32_t ids[12], positions[12];
    struct sentences sentences = byte_sentences();
    for (int t = 0; t < 12; t++)
        ids[t] = t == 3 || t == 6 ? STOP : LETTER;
    positions_place(positions, &sentences, ids, 12, drawn);
    assert_memory_equal(positions, wanted, sizeof wanted);
    positions_reset(positions, 12, 5);
    assert_memory_equal(positions, with_right_point, sizeof with_right_point);
    sentences_deinit(&sentences);
}

/* Every set of slots comes out alike often: 20 of them, of 6 slots for 3 sentences. */
static void every_set_of_slots_is_as_likely(void **state)
{
    (void)state;
    enum { COUNT = 6, SENTENCES = 3, TARGET = 9, DRAWS = 20000 };
    /* Slots 0 .. 5, 3 drawn; seen are the last two: (b, c) with b < c comes from b sets. */
    int seen[TARGET][TARGET] = {{0}};
    int32_t ids[COUNT], positions[COUNT];
    struct sentences sentences = byte_sentences();
    for (int t = 0; t < COUNT; t++)
        ids[t] = t % 2 ? STOP : LETTER;
    const struct positions_args args = {
        .setting = TRAIN_SETTING_RECIPE, .target = TARGET, .seed = 5, .sentences = &sentences};
    for (int64_t n = 0; n < DRAWS; n++) {
        positions_make(positions, &args, ids, COUNT, n);
        seen[positions[2] - 1][positions[4] - 2]++;
    }
    double chi = 0;
    for (int b = 1; b < COUNT; b++)
        for (int c = b + 1; c < COUNT; c++) {
            const double wanted = DRAWS * b / 20.0;
            chi += (seen[b][c] - wanted) * (seen[b][c] - wanted) / wanted;
            seen[b][c] = 0;
        }
    for (int b = 0; b < TARGET; b++)
        for (int c = 0; c < TARGET; c++)
            assert_int_equal(seen[b][c], 0);
    /* 10 classes, 9 degrees of freedom: beyond 27.9 with a chance of 1 in 1000. */
    assert_true(chi < 27.9);
    sentences_deinit(&sentences);
}

/* Sentences of 22 tokens on average: pairs of 22 - d and 22 + d, d uniform in 0 .. 21, and a token
 * more for one of ten until `count` is full, as 1086 sentences of 24000 tokens need it. */
static void make_text(int32_t *ids, int64_t count, uint64_t number)
{
    enum { MEAN = 22 };
    struct chance chance = chance_begin(1, CHANCE_DOCUMENTS, number);
    int64_t end = 0, sentence = 0, apart = 0, more = count / 222;
    for (int64_t t = 0; t < count; t++) {
        if (t == end) {
            apart = sentence % 2 ? -apart : chance_below(&chance, MEAN);
            end += MEAN + apart + (sentence % 10 == 0 && more > 0);
            more -= sentence % 10 == 0;
            sentence++;
        }
        ids[t] = t + 1 == end ? STOP : LETTER;
    }
}

/* The mean distance of all pairs i > j: token t is the greater one t times, the lesser one
 * count - 1 - t times. */
static double mean_distance(const int32_t *positions, int64_t count)
{
    double sum = 0;
    for (int64_t t = 0; t < count; t++)
        sum += (double)positions[t] * (double)(2 * t - count + 1);
    return sum / ((double)count * (double)(count - 1) / 2);
}

struct figures {
    double gap, longest, distance; /* sums over samples */
    int64_t longest_least, longest_most;
    int64_t sentences; /* of each */
};

static void add_figures(struct figures *figures, const struct sentences *sentences,
                        const int32_t *ids, const int32_t *positions, int64_t count)
{
    int64_t gaps = 0, longest = 0, number = 0;
    for (int64_t first = 0, end; first < count; first = end, number++) {
        end = sentences_end(sentences, ids, count, first);
        const int64_t gap = first ? positions[first] - positions[first - 1] - 1 : 0;
        gaps += gap;
        longest = gap > longest ? gap : longest;
    }
    figures->gap += (double)gaps / (double)(number - 1);
    figures->longest += (double)longest;
    if (longest < figures->longest_least)
        figures->longest_least = longest;
    if (longest > figures->longest_most)
        figures->longest_most = longest;
    figures->sentences = number;
    figures->distance += mean_distance(positions, count);
}

static double harmonic(int64_t n)
{
    double sum = 0;
    for (int64_t i = 1; i <= n; i++)
        sum += 1 / (double)i;
    return sum;
}

/* methods.md 3.2: 24000 tokens in 1086 sentences, to 80000. Published are figures of single
 * samples: a mean gap of 51.6 (to 52.7 with fewer sentences), a longest one of about 490, a mean
 * distance of 26.56k. What the mean over samples must be follows from the drawing of n of S slots:
 *
 *   gap       (n (S + 1) / (n + 1) - n) / (n - 1), the largest slot's mean; its deviation is that
 *             of the tail, a gap, over n - 1
 *   longest   the gap times H(n), as of n exponential ones; deviation gap * pi / sqrt(6)
 *   distance  a third of the target, as of n uniform positions; deviation 2 target / sqrt(180 n)
 *
 * Within 4 deviations of a mean of so many samples; the published figures lie
 * among the samples'. */
static void gaps_and_distances_are_the_published_ones(void **state)
{
    (void)state;
    enum { COUNT = 24000, TARGET = 80000, SAMPLES = 64, SENTENCES = 1086 };
    struct sentences sentences = byte_sentences();
    int32_t *ids = malloc(COUNT * sizeof *ids), *positions = malloc(COUNT * sizeof *positions);
    struct figures sum = {.longest_least = TARGET};
    const struct positions_args args = {
        .setting = TRAIN_SETTING_RECIPE, .target = TARGET, .seed = 2027, .sentences = &sentences};
    for (int64_t n = 0; n < SAMPLES; n++) {
        make_text(ids, COUNT, (uint64_t)n);
        positions_make(positions, &args, ids, COUNT, n);
        add_figures(&sum, &sentences, ids, positions, COUNT);
        assert_int_equal(sum.sentences, SENTENCES);
    }
    const double n = SENTENCES, slots = TARGET - COUNT + n, within = 4 / sqrt(SAMPLES);
    const double gap = (n * (slots + 1) / (n + 1) - n) / (n - 1);
    print_message("mean gap %.3f, longest %.0f (%lld to %lld), mean distance %.0f\n",
                  sum.gap / SAMPLES, sum.longest / SAMPLES, (long long)sum.longest_least,
                  (long long)sum.longest_most, sum.distance / SAMPLES);
    assert_true(fabs(gap - 51.6) < 0.05);
    assert_true(fabs(sum.gap / SAMPLES - gap) < within * gap / (n - 1));
    assert_true(fabs(sum.longest / SAMPLES - gap * harmonic(SENTENCES)) <
                within * gap * 3.14159 / sqrt(6));
    assert_true(sum.longest_least < 490 && 490 < sum.longest_most);
    const double deviation = 2 * TARGET / sqrt(180 * n);
    assert_true(fabs(sum.distance / SAMPLES - TARGET / 3.0) < within * deviation);
    assert_true(fabs(26560 - TARGET / 3.0) < deviation);
    free(positions);
    free(ids);
    sentences_deinit(&sentences);
}

static void check_positions(const int32_t *positions, int64_t count, int64_t target)
{
    assert_int_equal(positions[0], 0);
    for (int64_t t = 1; t < count; t++)
        assert_true(positions[t] > positions[t - 1]);
    assert_true(positions[count - 1] < target);
}

static void every_setting_ascends_within_the_target_and_repeats(void **state)
{
    (void)state;
    static const enum train_setting settings[] = {TRAIN_SETTING_PLAIN, TRAIN_SETTING_RECIPE,
                                                  TRAIN_SETTING_FULL, TRAIN_SETTING_RPES,
                                                  TRAIN_SETTING_POSE};
    enum { MOST = 97 };
    struct sentences sentences = byte_sentences();
    int32_t ids[MOST], positions[MOST], again[MOST], other[MOST];
    for (size_t s = 0; s < sizeof settings / sizeof settings[0]; s++)
        for (int64_t count = 1; count <= MOST; count += 1 + count / 9)
            for (int64_t target = count; target < 5 * count; target += count)
                for (int64_t n = 0; n < 4; n++) {
                    const struct positions_args args = {.setting = settings[s],
                                                        .target = target,
                                                        .right_points = n % 2,
                                                        .seed = 3,
                                                        .sentences = &sentences};
                    make_text(ids, count, (uint64_t)n);
                    positions_make(positions, &args, ids, count, n);
                    check_positions(positions, count, target);
                    positions_make(other, &args, ids, count, n + 1);
                    positions_make(again, &args, ids, count, n);
                    assert_memory_equal(positions, again, (size_t)count * sizeof *again);
                    if (target == count)
                        assert_int_equal(positions[count - 1], count - 1);
                }
    sentences_deinit(&sentences);
}

/* The step that leaves no sentence is 1 within sentences; PoSE has one gap, RPES's mean distance is
 * a third of the target. */
static void settings_are_what_their_names_say(void **state)
{
    (void)state;
    enum { COUNT = 3000, TARGET = 10000, SAMPLES = 50 };
    struct sentences sentences = byte_sentences();
    static int32_t ids[COUNT], positions[COUNT];
    struct positions_args args = {.target = TARGET, .seed = 11, .sentences = &sentences};
    double distance = 0;
    for (int64_t n = 0; n < SAMPLES; n++) {
        make_text(ids, COUNT, (uint64_t)n);
        args.setting = TRAIN_SETTING_RPES;
        positions_make(positions, &args, ids, COUNT, n);
        distance += mean_distance(positions, COUNT) / SAMPLES;
        args.setting = TRAIN_SETTING_RECIPE;
        positions_make(positions, &args, ids, COUNT, n);
        for (int64_t t = 1; t < COUNT; t++)
            assert_true(ids[t - 1] == STOP || positions[t] == positions[t - 1] + 1);
        args.setting = TRAIN_SETTING_POSE;
        positions_make(positions, &args, ids, COUNT, n);
        int64_t gaps = 0, cut = 0;
        for (int64_t t = 1; t < COUNT; t++)
            if (positions[t] != positions[t - 1] + 1) {
                gaps++;
                cut = t;
            }
        assert_true(gaps <= 1 && cut <= (COUNT + 1) / 2);
    }
    /* Of k of m positions drawn uniformly it is (m + 1) / 3; 50 samples are within 1 in 100. */
    assert_true(fabs(distance - (TARGET + 1) / 3.0) < TARGET / 300.0);
    sentences_deinit(&sentences);
}

/* A right point changes nothing but a plain head, whose length is uniform in 1 .. 1500: 750 on
 * average, with a deviation of 433; of 64 samples within 4 of an eighth of that. */
static void right_points_are_uniform_in_the_first_half(void **state)
{
    (void)state;
    enum { COUNT = 3000, TARGET = 10000, SAMPLES = 64 };
    struct sentences sentences = byte_sentences();
    static int32_t ids[COUNT], positions[COUNT], with[COUNT];
    struct positions_args args = {
        .setting = TRAIN_SETTING_RECIPE, .target = TARGET, .seed = 12, .sentences = &sentences};
    double heads = 0;
    for (int64_t n = 0; n < SAMPLES; n++) {
        make_text(ids, COUNT, (uint64_t)n);
        args.right_points = false;
        positions_make(positions, &args, ids, COUNT, n);
        args.right_points = true;
        positions_make(with, &args, ids, COUNT, n);
        int64_t head = COUNT;
        while (head > 0 && with[head - 1] == positions[head - 1])
            head--;
        for (int64_t t = 0; t < head; t++)
            assert_int_equal(with[t], t);
        assert_true(head <= (COUNT + 1) / 2);
        heads += (double)head / SAMPLES;
    }
    /* Within the first sentence, of 22 tokens, a head does not show. */
    assert_true(fabs(heads - 750) < 4 * 433 / 8.0);
    sentences_deinit(&sentences);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(delimiters_are_found_by_what_tokens_stand_for),
        cmocka_unit_test(ids_that_are_given_are_all_there_are),
        cmocka_unit_test(the_published_example_comes_out),
        cmocka_unit_test(every_set_of_slots_is_as_likely),
        cmocka_unit_test(gaps_and_distances_are_the_published_ones),
        cmocka_unit_test(every_setting_ascends_within_the_target_and_repeats),
        cmocka_unit_test(settings_are_what_their_names_say),
        cmocka_unit_test(right_points_are_uniform_in_the_first_half),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
