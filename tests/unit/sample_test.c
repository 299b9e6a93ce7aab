/* The order of the sampling rules, and the draws. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/support/plain_survey.h"
#include "tests/support/random.h"
#include "tests/support/unit.h"
#include "worker/engine/pcg32.h"
#include "worker/engine/sample.h"

enum { VOCAB = 8 };

static const struct sampling greedy = {.top_p = 1, .repetition_penalty = 1, .seed = 1};

static struct sampler *make(const struct sampling *sampling)
{
    void *memory = aligned_alloc(64, sampler_bytes(VOCAB));
    assert_non_null(memory);
    return sampler_init(memory, VOCAB, sampling);
}

static int32_t next(struct sampler *sampler, const float from[VOCAB])
{
    float logits[VOCAB];
    memcpy(logits, from, sizeof logits);
    int32_t id = -1;
    assert_int_equal(sampler_next(sampler, &id, logits), STATUS_OK);
    return id;
}

static void greedy_takes_the_smaller_id_on_a_tie(void **state)
{
    (void)state;
    struct sampler *sampler = make(&greedy);
    assert_int_equal(next(sampler, (float[VOCAB]){0, 3, 1, 3}), 1);
    free(sampler);
}

static void the_penalty_moves_both_signs_down(void **state)
{
    (void)state;
    struct sampling sampling = greedy;
    sampling.repetition_penalty = 2;
    struct sampler *sampler = make(&sampling);
    sampler_saw(sampler, (int32_t[]){1}, 1);
    assert_int_equal(next(sampler, (float[VOCAB]){2.5f, 4, -9, -9, -9, -9, -9, -9}), 0);
    free(sampler);
    sampler = make(&sampling);
    sampler_saw(sampler, (int32_t[]){1}, 1);
    assert_int_equal(next(sampler, (float[VOCAB]){-1.5f, -1, -9, -9, -9, -9, -9, -9}), 0);
    free(sampler);
}

/* 2 and 1.5 are the largest, and the others far. What the prompt has is not penalised. */
static void presence_counts_once_and_frequency_each_time(void **state)
{
    (void)state;
    const float logits[VOCAB] = {2, 1.5f, -9, -9, -9, -9, -9, -9};
    static const struct {
        float presence, frequency;
        int32_t ids[8];
    } cases[] = {
        {0.75f, 0, {0, 1, 0, 0, 0, 0, 0, 0}},
        {0, 0.375f, {0, 0, 1, 0, 1, 0, 1, 0}},
        {0.75f, 0.375f, {0, 1, 0, 0, 1, 0, 1, 0}},
        {-1, 0, {0, 0, 0, 0, 0, 0, 0, 0}},
    };
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        struct sampling sampling = greedy;
        sampling.presence_penalty = cases[c].presence;
        sampling.frequency_penalty = cases[c].frequency;
        struct sampler *sampler = make(&sampling);
        sampler_saw(sampler, (int32_t[]){0, 0, 0}, 3);
        for (size_t t = 0; t < 8; t++)
            assert_int_equal(next(sampler, logits), cases[c].ids[t]);
        free(sampler);
    }
}

static void a_bias_is_added(void **state)
{
    (void)state;
    struct sampling sampling = greedy;
    sampling.bias_count = 3;
    sampling.bias_ids = (int32_t[]){1, 4, 4};
    sampling.biases = (float[]){-100, 1.25f, 1.5f};
    struct sampler *sampler = make(&sampling);
    assert_int_equal(next(sampler, (float[VOCAB]){0, 50, 2.5f, 0, 0, 0, 0, 0}), 4);
    assert_int_equal(next(sampler, (float[VOCAB]){0, 50, 3, 0, 0, 0, 0, 0}), 2);
    assert_int_equal(next(sampler, (float[VOCAB]){0, 104, 3, 0, 0, 0, 0, 0}), 1);
    free(sampler);
}

/* The formula, token by token, in the order in which it is told. */
static int32_t plain_choice(const struct sampling *sampling, const float logits[VOCAB],
                            const int counts[VOCAB])
{
    float best = -INFINITY;
    int32_t choice = -1;
    for (int32_t id = 0; id < VOCAB; id++) {
        float logit = logits[id];
        if (counts[id] > 0)
            logit = logit > 0 ? logit / sampling->repetition_penalty
                              : logit * sampling->repetition_penalty;
        for (int32_t b = 0; b < sampling->bias_count; b++)
            logit += sampling->bias_ids[b] == id ? sampling->biases[b] : 0;
        logit -= sampling->frequency_penalty * (float)counts[id] +
                 sampling->presence_penalty * (counts[id] > 0 ? 1.0f : 0.0f);
        choice = logit > best ? id : choice;
        best = logit > best ? logit : best;
    }
    return choice;
}

static void all_that_moves_logits_goes_together(void **state)
{
    (void)state;
    struct random random = {3};
    for (int round = 0; round < 200; round++) {
        const float bias = 3 * random_float(&random);
        struct sampling sampling = greedy;
        sampling.repetition_penalty = 1.5f + random_float(&random);
        sampling.presence_penalty = 2 * random_float(&random);
        sampling.frequency_penalty = 2 * random_float(&random);
        sampling.bias_count = 1;
        sampling.bias_ids = (int32_t[]){round % VOCAB};
        sampling.biases = &bias;
        struct sampler *sampler = make(&sampling);
        int counts[VOCAB] = {0};
        for (int t = 0; t < 30; t++) {
            float logits[VOCAB];
            for (int id = 0; id < VOCAB; id++)
                logits[id] = 3 * random_normal(&random);
            const int32_t wanted = plain_choice(&sampling, logits, counts);
            assert_int_equal(next(sampler, logits), wanted);
            counts[wanted]++;
        }
        free(sampler);
    }
}

/* Tokens that would nearly always come do not, as long as they are held back, however it is drawn:
 * then they do, with the bias that was theirs. */
static void what_is_held_back_comes_later(void **state)
{
    (void)state;
    enum { HELD = 5 };
    static const struct sampling settings[] = {
        {.top_p = 1, .repetition_penalty = 1},
        {.temperature = 1, .top_p = 1, .repetition_penalty = 1, .seed = 3},
        {.temperature = 1, .top_k = 7, .top_p = 1, .repetition_penalty = 1, .seed = 3},
        {.temperature = 100, .top_p = 1, .repetition_penalty = 1, .seed = 3},
    };
    const float logits[VOCAB] = {0, 90, 0, 0, 0, 0, 0, 80};
    for (size_t s = 0; s < sizeof settings / sizeof settings[0]; s++) {
        struct sampling sampling = settings[s];
        const float bias = -5;
        sampling.bias_count = 1;
        sampling.bias_ids = (int32_t[]){1};
        sampling.biases = &bias;
        struct sampler *sampler = make(&sampling);
        sampler_hold_back(sampler, (int32_t[]){1, 7, 1, VOCAB, -1}, 5, HELD);
        for (int t = 0; t < HELD; t++) {
            const int32_t id = next(sampler, logits);
            assert_true(id != 1 && id != 7);
        }
        bool came = false;
        for (int t = 0; t < 100; t++)
            came |= next(sampler, logits) == 1;
        assert_true(came);
        free(sampler);
    }
}

/* Somebody must come. */
static void the_whole_vocabulary_is_not_held_back(void **state)
{
    (void)state;
    struct sampler *sampler = make(&greedy);
    sampler_hold_back(sampler, (int32_t[]){0, 1, 2, 3, 4, 5, 6, 7}, VOCAB, 3);
    assert_int_equal(next(sampler, (float[VOCAB]){0, 0, 1}), 2);
    free(sampler);
}

/* Logits that are finite, and not any more once a penalty has moved them. */
static void a_penalty_leaves_no_infinity(void **state)
{
    (void)state;
    struct sampling sampling = {
        .temperature = 1, .top_p = 1, .repetition_penalty = 0.01f, .seed = 1};
    for (int narrowed = 0; narrowed < 2; narrowed++) {
        sampling.top_p = narrowed ? 0.5f : 1;
        struct sampler *sampler = make(&sampling);
        sampler_saw(sampler, (int32_t[]){2}, 1);
        assert_int_equal(next(sampler, (float[VOCAB]){1, 2, 3e38f, 4, 5, 6, 7, 8}), 2);
        free(sampler);
        sampler = make(&sampling);
        sampler_saw(sampler, (int32_t[]){2}, 1);
        const struct logits_survey survey = {
            .total = 1,
            .non_finite = -1,
            .count = VOCAB,
            .candidates = {{3e38f, 2}, {8, 7}, {7, 6}, {6, 5}, {5, 4}, {4, 3}, {2, 1}, {1, 0}}};
        bool chosen;
        int32_t id = -1;
        assert_int_equal(sampler_choose(sampler, &id, &chosen, &survey), STATUS_OK);
        assert_true(chosen);
        assert_int_equal(id, 2);
        free(sampler);
    }
}

/* Draws many times and returns the set of ids seen, as bits. */
static unsigned ids_drawn(const struct sampling *sampling, const float logits[VOCAB])
{
    struct sampler *sampler = make(sampling);
    unsigned seen = 0;
    for (int i = 0; i < 2000; i++)
        seen |= 1u << next(sampler, logits);
    free(sampler);
    return seen;
}

static void top_k_top_p_and_min_p_cut_the_tail(void **state)
{
    (void)state;
    const float logits[VOCAB] = {logf(4), logf(3), logf(2), logf(1), -40, -40, -40, -40};
    struct sampling sampling = {.temperature = 1, .top_p = 1, .repetition_penalty = 1, .seed = 7};
    assert_int_equal(ids_drawn(&sampling, logits), 0xf);
    sampling.top_k = 2;
    assert_int_equal(ids_drawn(&sampling, logits), 0x3);
    sampling =
        (struct sampling){.temperature = 1, .top_p = 0.65f, .repetition_penalty = 1, .seed = 7};
    assert_int_equal(ids_drawn(&sampling, logits), 0x3);
    sampling = (struct sampling){
        .temperature = 1, .top_p = 1, .min_p = 0.4f, .repetition_penalty = 1, .seed = 7};
    assert_int_equal(ids_drawn(&sampling, logits), 0x7);
}

static void frequencies_follow_the_probabilities(void **state)
{
    (void)state;
    const float logits[VOCAB] = {logf(3), logf(1), -60, -60, -60, -60, -60, -60};
    const struct sampling sampling = {
        .temperature = 1, .top_p = 1, .repetition_penalty = 1, .seed = 11};
    struct sampler *sampler = make(&sampling);
    int first = 0;
    for (int i = 0; i < 4000; i++)
        first += next(sampler, logits) == 0;
    free(sampler);
    assert_in_range(first, 2800, 3200); /* 3000 expected, sigma 27 */
}

static void the_same_seed_draws_the_same_ids(void **state)
{
    (void)state;
    const float logits[VOCAB] = {0};
    const struct sampling sampling = {
        .temperature = 1, .top_p = 1, .repetition_penalty = 1, .seed = 42};
    struct sampler *a = make(&sampling);
    struct sampler *b = make(&sampling);
    for (int i = 0; i < 100; i++)
        assert_int_equal(next(a, logits), next(b, logits));
    free(a);
    free(b);
}

/* The first numbers that pcg32-demo (pcg-random.org) and SplitMix64 are known by. */
static void the_generators_give_their_published_numbers(void **state)
{
    (void)state;
    static const uint32_t published[] = {0xa15c02b7, 0x7b47f409, 0xba1d3330,
                                         0x83d2f293, 0xbfa4784b, 0xcbed606e};
    struct pcg32 random = pcg32_seeded(42, 54);
    for (size_t i = 0; i < sizeof published / sizeof published[0]; i++)
        assert_int_equal(pcg32_next(&random), published[i]);
    assert_true(pcg32_mixed(1234567) == UINT64_C(6457827717110365317));
}

enum { FEW = 100, SEEDS = 10000 };

static struct sampler *flat_sampler(void *memory, uint64_t seed)
{
    const struct sampling sampling = {
        .temperature = 1, .top_p = 1, .repetition_penalty = 1, .seed = seed};
    return sampler_init(memory, FEW, &sampling);
}

/* Of FEW equally likely tokens; whoever sees a survey of them draws the same. */
static int32_t flat_draw(struct sampler *sampler, bool by_survey)
{
    float logits[FEW] = {0};
    int32_t id = -1;
    if (by_survey) {
        struct logits_survey survey;
        bool chosen = false;
        plain_survey(&survey, logits, FEW, 1);
        assert_int_equal(sampler_choose(sampler, &id, &chosen, &survey), STATUS_OK);
        assert_true(chosen);
    } else {
        assert_int_equal(sampler_next(sampler, &id, logits), STATUS_OK);
    }
    return id;
}

static int compare_answers(const void *a, const void *b)
{
    const uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static void the_first_draws_of_small_seeds_are_as_chance_has_them(void **state)
{
    (void)state;
    enum { DRAWN = 6, EXPECTED = SEEDS / FEW };
    static uint64_t answers[SEEDS];
    int counts[FEW] = {0};
    double chi_square = 0;
    void *memory = aligned_alloc(64, sampler_bytes(FEW));
    assert_non_null(memory);
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct sampler *sampler = flat_sampler(memory, seed);
        const int32_t first = flat_draw(sampler, false);
        counts[first]++;
        answers[seed] = (uint64_t)first;
        for (int i = 1; i < DRAWN; i++)
            answers[seed] = answers[seed] * FEW + (uint64_t)flat_draw(sampler, false);
        assert_int_equal(flat_draw(flat_sampler(memory, seed), true), first);
    }
    free(memory);
    for (int i = 0; i < FEW; i++)
        chi_square += (double)(counts[i] - EXPECTED) * (counts[i] - EXPECTED) / EXPECTED;
    printf("chi-square of %d degrees of freedom: %.1f\n", FEW - 1, chi_square);
    assert_true(chi_square > 59 && chi_square < 152); /* 999 of 1,000 lie between */
    qsort(answers, SEEDS, sizeof answers[0], compare_answers);
    for (int i = 1; i < SEEDS; i++)
        assert_true(answers[i] != answers[i - 1]);
}

static void every_bit_of_a_seed_counts(void **state)
{
    (void)state;
    uint64_t answers[64 + 1] = {0};
    void *memory = aligned_alloc(64, sampler_bytes(FEW));
    assert_non_null(memory);
    for (int bit = 0; bit <= 64; bit++) {
        const uint64_t flipped = bit < 64 ? UINT64_C(1) << bit : 0;
        struct sampler *sampler = flat_sampler(memory, UINT64_MAX ^ flipped);
        for (int i = 0; i < 9; i++)
            answers[bit] = answers[bit] * FEW + (uint64_t)flat_draw(sampler, false);
    }
    free(memory);
    qsort(answers, 65, sizeof answers[0], compare_answers);
    for (int i = 1; i <= 64; i++)
        assert_true(answers[i] != answers[i - 1]);
}

/* Ranked by logit, a vocabulary draws the same ranks in whatever order its ids come. */
static void only_the_ranks_of_logits_count(void **state)
{
    (void)state;
    enum { MANY = 997, STRIDE = 389 }; /* coprime: id r * STRIDE % MANY has rank r */
    static float ranked[MANY], mixed[MANY], logits[MANY];
    for (int r = 0; r < MANY; r++)
        ranked[r] = mixed[r * STRIDE % MANY] = 4 * expf((float)-r / 100);
    static const struct sampling settings[] = {
        {.temperature = 1, .top_p = 1, .repetition_penalty = 1, .seed = 5},
        {.temperature = 0.7f, .top_k = 30, .top_p = 1, .repetition_penalty = 1, .seed = 5},
        {.temperature = 1.5f, .top_p = 0.8f, .repetition_penalty = 1, .seed = 5},
        {.temperature = 1, .top_p = 1, .min_p = 0.2f, .repetition_penalty = 1, .seed = 5},
        {.temperature = 1,
         .top_k = 200,
         .top_p = 0.9f,
         .min_p = 0.1f,
         .repetition_penalty = 1,
         .seed = 5}};
    for (size_t s = 0; s < sizeof settings / sizeof settings[0]; s++) {
        struct sampler *samplers[2];
        for (int i = 0; i < 2; i++)
            samplers[i] = sampler_init(aligned_alloc(64, sampler_bytes(MANY)), MANY, &settings[s]);
        int32_t ids[2] = {0, 0}, last = 0;
        for (int draw = 0; draw < 500; draw++) {
            for (int i = 0; i < 2; i++) {
                memcpy(logits, i ? mixed : ranked, sizeof logits);
                assert_int_equal(sampler_next(samplers[i], &ids[i], logits), STATUS_OK);
            }
            assert_int_equal(ids[1], ids[0] * STRIDE % MANY);
            last = ids[0] > last ? ids[0] : last;
        }
        assert_in_range(last, 10, settings[s].top_k ? settings[s].top_k - 1 : MANY - 1);
        free(samplers[0]);
        free(samplers[1]);
    }
}

static void a_logit_that_is_not_finite_is_refused(void **state)
{
    (void)state;
    struct sampler *sampler = make(&greedy);
    float logits[VOCAB] = {0, 1, NAN};
    int32_t id = -1;
    assert_int_equal(sampler_next(sampler, &id, logits), STATUS_INTERNAL);
    assert_int_equal(id, -1);
    free(sampler);
}

/* ---- by a survey ---- */

enum { SURVEYED_VOCAB = 3000, DRAWS = 300 };

struct pair {
    struct sampler *by_logits, *by_survey;
    float logits[SURVEYED_VOCAB];
    int chosen; /* by the survey alone */
};

static struct sampler *sampler_of(const struct sampling *sampling, int64_t vocab)
{
    void *memory = aligned_alloc(64, sampler_bytes(vocab));
    assert_non_null(memory);
    return sampler_init(memory, vocab, sampling);
}

/* What the engine does, and beside it a sampler that sees the logits. */
static void expect_the_same_choice(struct pair *pair, int64_t vocab)
{
    struct logits_survey survey;
    int32_t wanted = -1, id = -1;
    bool chosen = false;
    plain_survey(&survey, pair->logits, vocab, sampler_temperature(pair->by_survey));
    assert_int_equal(sampler_next(pair->by_logits, &wanted, pair->logits), STATUS_OK);
    survey.total *= 1 + 1e-12 * (pair->chosen % 3 - 1); /* another order of additions */
    assert_int_equal(sampler_choose(pair->by_survey, &id, &chosen, &survey), STATUS_OK);
    if (!chosen) {
        assert_int_equal(id, -1);
        assert_int_equal(sampler_next(pair->by_survey, &id, pair->logits), STATUS_OK);
    }
    assert_int_equal(id, wanted);
    pair->chosen += chosen;
}

/* How many of DRAWS choices the survey made; every one was that of the logits. */
static int choices_by_survey(const struct sampling *sampling, int64_t vocab, float spread)
{
    struct random random = {2};
    static struct pair pair;
    pair = (struct pair){sampler_of(sampling, vocab), sampler_of(sampling, vocab), {0}, 0};
    for (int draw = 0; draw < DRAWS; draw++) {
        for (int64_t i = 0; i < vocab; i++)
            pair.logits[i] = spread * random_normal(&random);
        for (int64_t i = 0; draw % 4 == 3 && i < vocab; i++)
            pair.logits[i] = roundf(pair.logits[i]); /* ties, at the last candidate too */
        const int32_t seen = (int32_t)random_between(&random, 0, vocab);
        sampler_saw(pair.by_logits, &seen, 1);
        sampler_saw(pair.by_survey, &seen, 1);
        expect_the_same_choice(&pair, vocab);
    }
    free(pair.by_logits);
    free(pair.by_survey);
    return pair.chosen;
}

static void a_survey_chooses_what_the_logits_would(void **state)
{
    (void)state;
    static const int32_t bias_ids[] = {7, 90};
    static const float down[] = {-3, -100}, up[] = {-3, 2};
    static const struct {
        struct sampling sampling;
        int least; /* choices that need no logits */
    } cases[] = {
        {{.top_p = 1, .repetition_penalty = 1, .seed = 1}, DRAWS},
        {{.top_p = 1, .repetition_penalty = 1.3f, .seed = 1}, DRAWS * 9 / 10},
        {{.temperature = 1, .top_k = 40, .top_p = 1, .repetition_penalty = 1, .seed = 5}, DRAWS},
        {{.temperature = 1,
          .top_k = 40,
          .top_p = 0.9f,
          .min_p = 0.02f,
          .repetition_penalty = 1,
          .seed = 5},
         DRAWS},
        {{.temperature = 0.7f, .top_p = 0.9f, .repetition_penalty = 1, .seed = 5}, DRAWS / 2},
        {{.temperature = 0.5f, .top_p = 1, .min_p = 0.05f, .repetition_penalty = 1, .seed = 5},
         DRAWS * 9 / 10},
        {{.temperature = 0.6f, .top_p = 1, .repetition_penalty = 1, .seed = 5}, DRAWS / 2},
        {{.temperature = 0.5f, .top_p = 0.8f, .repetition_penalty = 1.1f, .seed = 5}, DRAWS / 4},
        {{.temperature = 0.8f, .top_k = 20, .top_p = 1, .repetition_penalty = 1.2f, .seed = 5},
         DRAWS / 2},
        {{.temperature = 0.01f, .top_p = 1, .repetition_penalty = 1.05f, .seed = 5}, DRAWS / 2},
        {{.temperature = 1, .top_k = 300, .top_p = 1, .repetition_penalty = 1, .seed = 5}, 0},
        {{.temperature = 1, .top_p = 0.9f, .repetition_penalty = 0.8f, .seed = 5}, 0},
        {{.top_p = 1, .repetition_penalty = 0.5f, .seed = 5}, 0},
        {{.temperature = 5, .top_p = 1, .repetition_penalty = 1, .seed = 5}, 0},
        {{.top_p = 1, .repetition_penalty = 1, .presence_penalty = 1.5f, .frequency_penalty = 0.5f},
         DRAWS / 2},
        {{.temperature = 0.5f,
          .top_p = 0.8f,
          .repetition_penalty = 1,
          .seed = 5,
          .frequency_penalty = 0.7f},
         DRAWS / 4},
        {{.temperature = 1,
          .top_k = 40,
          .top_p = 1,
          .repetition_penalty = 1,
          .seed = 5,
          .bias_count = 2,
          .bias_ids = bias_ids,
          .biases = down},
         DRAWS / 2},
        {{.top_p = 1, .repetition_penalty = 1, .bias_count = 2, .bias_ids = bias_ids, .biases = up},
         0},
        {{.temperature = 1, .top_p = 1, .repetition_penalty = 1, .presence_penalty = -1}, 0},
    };
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        const int wide = choices_by_survey(&cases[c].sampling, SURVEYED_VOCAB, 3);
        const int narrow = choices_by_survey(&cases[c].sampling, 100, 3);
        printf("case %zu: %d and %d of %d by survey\n", c, wide, narrow, DRAWS);
        assert_true(wide >= cases[c].least);
        assert_true(narrow >= cases[c].least);
    }
}

/* The likeliest of all are held back for half of the draws. */
static void a_survey_knows_what_is_held_back(void **state)
{
    (void)state;
    static const struct sampling settings[] = {
        {.top_p = 1, .repetition_penalty = 1},
        {.temperature = 1, .top_k = 40, .top_p = 1, .repetition_penalty = 1, .seed = 3},
        {.temperature = 0.3f, .top_p = 0.9f, .repetition_penalty = 1, .seed = 3},
    };
    static struct pair pair;
    struct random random = {5};
    for (size_t s = 0; s < 2 * sizeof settings / sizeof settings[0]; s++) {
        const struct sampling *sampling = &settings[s / 2];
        const int64_t vocab = s % 2 ? SURVEYED_VOCAB : 50;
        const int32_t held[] = {3, 40, 41};
        pair = (struct pair){sampler_of(sampling, vocab), sampler_of(sampling, vocab), {0}, 0};
        sampler_hold_back(pair.by_logits, held, 3, DRAWS / 2);
        sampler_hold_back(pair.by_survey, held, 3, DRAWS / 2);
        for (int draw = 0; draw < DRAWS; draw++) {
            for (int64_t i = 0; i < vocab; i++)
                pair.logits[i] = 2 * random_normal(&random) + (i == 3 || i == 41 ? 6 : 0);
            expect_the_same_choice(&pair, vocab);
        }
        assert_true(pair.chosen > DRAWS / 2);
        free(pair.by_logits);
        free(pair.by_survey);
    }
}

/* The tail that no candidate stands for has nearly all the weight. */
static void a_flat_tail_needs_the_logits(void **state)
{
    (void)state;
    const struct sampling sampling = {
        .temperature = 1, .top_p = 1, .repetition_penalty = 1, .seed = 9};
    const int chosen = choices_by_survey(&sampling, SURVEYED_VOCAB, 0.01f);
    assert_in_range(chosen, 1, DRAWS / 5);
}

/* 200 of the largest, or all but them, are seen: the survey's order, or its total, is that of
 * logits before the penalty. */
static void a_penalty_may_turn_everything_round(void **state)
{
    (void)state;
    static const struct sampling settings[] = {
        {.top_p = 1, .repetition_penalty = 3, .seed = 1},
        {.temperature = 1, .top_k = 10, .top_p = 1, .repetition_penalty = 3, .seed = 1},
        {.temperature = 1, .top_p = 1, .repetition_penalty = 3, .seed = 1},
        {.temperature = 1, .top_p = 0.9f, .repetition_penalty = 3, .seed = 1}};
    static struct pair pair;
    for (int n = 0; n < 8; n++) {
        const struct sampling *sampling = &settings[n / 2];
        pair = (struct pair){
            sampler_of(sampling, SURVEYED_VOCAB), sampler_of(sampling, SURVEYED_VOCAB), {0}, 0};
        for (int32_t id = 0; id < SURVEYED_VOCAB; id++) {
            pair.logits[id] = id < 200 ? 10 - 0.001f * (float)id : 8 - 0.001f * (float)id;
            if ((id < 200) == (n % 2 == 0)) {
                sampler_saw(pair.by_logits, &id, 1);
                sampler_saw(pair.by_survey, &id, 1);
            }
        }
        for (int draw = 0; draw < 20; draw++)
            expect_the_same_choice(&pair, SURVEYED_VOCAB);
        free(pair.by_logits);
        free(pair.by_survey);
    }
}

static void a_survey_may_say_nothing_or_that_logits_are_not_finite(void **state)
{
    (void)state;
    struct sampler *sampler = make(&greedy);
    struct logits_survey survey = {.non_finite = 3, .count = 2};
    int32_t id = -1;
    bool chosen = true;
    assert_int_equal(sampler_choose(sampler, &id, &chosen, &survey), STATUS_INTERNAL);
    assert_non_null(strstr(status_message(), "token 3"));
    survey = (struct logits_survey){.non_finite = -1};
    assert_int_equal(sampler_choose(sampler, &id, &chosen, &survey), STATUS_OK);
    assert_false(chosen);
    assert_int_equal(id, -1);
    free(sampler);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_takes_the_smaller_id_on_a_tie),
        cmocka_unit_test(the_penalty_moves_both_signs_down),
        cmocka_unit_test(presence_counts_once_and_frequency_each_time),
        cmocka_unit_test(a_bias_is_added),
        cmocka_unit_test(all_that_moves_logits_goes_together),
        cmocka_unit_test(what_is_held_back_comes_later),
        cmocka_unit_test(the_whole_vocabulary_is_not_held_back),
        cmocka_unit_test(a_penalty_leaves_no_infinity),
        cmocka_unit_test(top_k_top_p_and_min_p_cut_the_tail),
        cmocka_unit_test(frequencies_follow_the_probabilities),
        cmocka_unit_test(the_same_seed_draws_the_same_ids),
        cmocka_unit_test(the_generators_give_their_published_numbers),
        cmocka_unit_test(the_first_draws_of_small_seeds_are_as_chance_has_them),
        cmocka_unit_test(every_bit_of_a_seed_counts),
        cmocka_unit_test(only_the_ranks_of_logits_count),
        cmocka_unit_test(a_logit_that_is_not_finite_is_refused),
        cmocka_unit_test(a_survey_chooses_what_the_logits_would),
        cmocka_unit_test(a_survey_knows_what_is_held_back),
        cmocka_unit_test(a_flat_tail_needs_the_logits),
        cmocka_unit_test(a_penalty_may_turn_everything_round),
        cmocka_unit_test(a_survey_may_say_nothing_or_that_logits_are_not_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
