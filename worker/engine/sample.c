/* Owns the sampler's state, laid into memory of the caller. Promises determinism: no global state,
 * no clock. */
#include "worker/engine/sample.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "kernels/kernels.h"
#include "worker/engine/pcg32.h"

/* PCG's default stream. */
static const uint64_t SEQUENCE = UINT64_C(1442695040888963407) >> 1;

/* The candidates of one draw: all of the vocabulary, or the surveyed ones. The n-th that was
 * asked for lies n from the end; those before them are a heap. */
struct line {
    struct logits_candidate *list;
    int64_t count;
    int64_t known; /* so many of the first are the first of the whole vocabulary, in order */
    int64_t taken; /* out of the heap */
};

struct sampler {
    struct sampling sampling;
    const struct kernels *kernels; /* its choices are the same with any */
    int64_t vocab;
    struct pcg32 random;
    bool adjusts;       /* logits are not taken as they are */
    bool raises;        /* some may become larger */
    int64_t possible;   /* tokens that are not held back */
    int64_t chosen;     /* tokens of the answer */
    int64_t held_until; /* of them; 0: nothing is held back */
    int held_count;
    int32_t held[SAMPLE_HELD_MAX];
    float held_biases[SAMPLE_HELD_MAX];  /* their own */
    struct logits_candidate *candidates; /* [vocab] */
    uint8_t *seen;                       /* [vocab] */
    uint32_t *counts;                    /* [vocab] in the answer */
    float *biases;                       /* [vocab]; -INFINITY: held back */
};

static size_t rounded(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

size_t sampler_bytes(int64_t vocab)
{
    return rounded(sizeof(struct sampler)) +
           rounded((size_t)vocab * sizeof(struct logits_candidate)) + rounded((size_t)vocab) +
           2 * rounded((size_t)vocab * sizeof(float));
}

static bool is_adjusting(const struct sampler *sampler)
{
    const struct sampling *sampling = &sampler->sampling;
    return sampling->repetition_penalty != 1 || sampling->presence_penalty != 0 ||
           sampling->frequency_penalty != 0 || sampling->bias_count > 0 || sampler->held_until > 0;
}

static void set_biases(struct sampler *sampler, const struct sampling *sampling)
{
    sampler->raises = sampling->repetition_penalty < 1 || sampling->presence_penalty < 0 ||
                      sampling->frequency_penalty < 0;
    for (int32_t b = 0; b < sampling->bias_count; b++) {
        sampler->biases[sampling->bias_ids[b]] += sampling->biases[b];
        sampler->raises |= sampling->biases[b] > 0;
    }
}

struct sampler *sampler_init(void *memory, int64_t vocab, const struct sampling *sampling)
{
    struct sampler *sampler = memory;
    char *rest = (char *)memory + rounded(sizeof *sampler);
    memset(memory, 0, sampler_bytes(vocab));
    sampler->sampling = *sampling;
    sampler->kernels = kernels_best();
    sampler->vocab = sampler->possible = vocab;
    sampler->random = pcg32_seeded(pcg32_mixed(sampling->seed), SEQUENCE);
    sampler->candidates = (struct logits_candidate *)(void *)rest;
    rest += rounded((size_t)vocab * sizeof *sampler->candidates);
    sampler->counts = (uint32_t *)(void *)rest;
    rest += rounded((size_t)vocab * sizeof *sampler->counts);
    sampler->biases = (float *)(void *)rest;
    rest += rounded((size_t)vocab * sizeof *sampler->biases);
    sampler->seen = (uint8_t *)rest;
    set_biases(sampler, sampling);
    sampler->adjusts = is_adjusting(sampler);
    return sampler;
}

void sampler_hold_back(struct sampler *sampler, const int32_t *ids, int count, int64_t tokens)
{
    assert(count <= SAMPLE_HELD_MAX);
    if (tokens <= 0 || count >= sampler->vocab)
        return;
    for (int i = 0; i < count; i++) {
        if (ids[i] < 0 || ids[i] >= sampler->vocab || sampler->biases[ids[i]] == -INFINITY)
            continue;
        sampler->held[sampler->held_count] = ids[i];
        sampler->held_biases[sampler->held_count++] = sampler->biases[ids[i]];
        sampler->biases[ids[i]] = -INFINITY;
    }
    sampler->possible -= sampler->held_count;
    sampler->held_until = tokens;
    sampler->adjusts = is_adjusting(sampler);
}

static void let_go(struct sampler *sampler)
{
    for (int h = 0; h < sampler->held_count; h++)
        sampler->biases[sampler->held[h]] = sampler->held_biases[h];
    sampler->possible = sampler->vocab;
    sampler->held_until = 0;
    sampler->adjusts = is_adjusting(sampler);
}

void sampler_saw(struct sampler *sampler, const int32_t *ids, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        sampler->seen[ids[i]] = 1;
}

/* The next token of the answer. */
static void take(struct sampler *sampler, int32_t id)
{
    sampler->seen[id] = 1;
    sampler->counts[id]++;
    if (++sampler->chosen == sampler->held_until)
        let_go(sampler);
}

/* A number in [0, 1). */
static double draw(struct pcg32 *random)
{
    return pcg32_next(random) * 0x1p-32;
}

static float repeated(const struct sampling *sampling, float logit)
{
    const float penalty = sampling->repetition_penalty;
    const float moved = logit > 0 ? logit / penalty : logit * penalty;
    return fmaxf(-FLT_MAX, fminf(moved, FLT_MAX)); /* a sum of weights is a number */
}

/* The logit that is chosen by; -INFINITY of a token that is held back. */
static float adjusted(const struct sampler *sampler, float logit, int32_t id)
{
    const struct sampling *sampling = &sampler->sampling;
    if (!sampler->adjusts)
        return logit;
    if (sampling->repetition_penalty != 1 && sampler->seen[id])
        logit = repeated(sampling, logit);
    logit += sampler->biases[id];
    if (sampler->counts[id] > 0)
        logit -=
            sampling->frequency_penalty * (float)sampler->counts[id] + sampling->presence_penalty;
    return logit;
}

/* ---- candidates in order ---- */

static bool goes_first(struct logits_candidate a, struct logits_candidate b)
{
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

/* Candidates [0, count) are a heap, but for what is at `at`, which goes down to its place. */
static void heap_settle(struct logits_candidate *heap, int64_t count, int64_t at)
{
    struct logits_candidate moved = heap[at];
    for (int64_t below = 2 * at + 1; below < count; below = 2 * at + 1) {
        if (below + 1 < count && goes_first(heap[below + 1], heap[below]))
            below++;
        if (!goes_first(heap[below], moved))
            break;
        heap[at] = heap[below];
        at = below;
    }
    heap[at] = moved;
}

static void line_add(struct line *line, float logit, int32_t id)
{
    if (logit > -INFINITY)
        line->list[line->count++] = (struct logits_candidate){logit, id};
}

static void line_begin(struct line *line)
{
    line->taken = 0;
    for (int64_t at = line->count / 2; at-- > 0;)
        heap_settle(line->list, line->count, at);
}

/* The n-th candidate, asked for one after the other; false where it is not known. Of a vocabulary
 * only the few that a draw can reach are ever put in order. */
static bool line_find(struct line *line, struct logits_candidate *candidate, int64_t n)
{
    struct logits_candidate *heap = line->list;
    if (n >= line->known)
        return false;
    if (n == line->taken) {
        const int64_t last = line->count - ++line->taken;
        struct logits_candidate first = heap[0];
        heap[0] = heap[last];
        heap_settle(heap, last, 0);
        heap[last] = first;
    }
    *candidate = heap[line->count - 1 - n];
    return true;
}

/* ---- drawing ---- */

/* e^(logit - best) at the temperature: the candidate's probability, but for one factor. */
static double weight(const struct sampler *sampler, double logit, double best)
{
    return exp((logit - best) / (double)sampler->sampling.temperature);
}

static bool has_top_k(const struct sampler *sampler)
{
    return sampler->sampling.top_k > 0 && sampler->sampling.top_k < sampler->vocab;
}

/* Tokens that top-k leaves. */
static int64_t left_of(const struct sampler *sampler)
{
    const int64_t top_k = sampler->sampling.top_k;
    return has_top_k(sampler) && top_k < sampler->possible ? top_k : sampler->possible;
}

/* The id at which the weights of the first candidates reach `left`, the last of `count` at most. */
static bool reach(const struct sampler *sampler, int32_t *id, struct line *line, int64_t count,
                  double left, double best)
{
    for (int64_t n = 0; n < count; n++) {
        struct logits_candidate at;
        if (!line_find(line, &at, n))
            return false;
        *id = at.id;
        left -= weight(sampler, (double)at.logit, best);
        if (left < 0)
            break;
    }
    return true;
}

/* The sum of the weights of the top-k candidates. */
static bool sum_first(const struct sampler *sampler, double *total, struct line *line, double best)
{
    *total = 0;
    for (int64_t n = 0; n < left_of(sampler); n++) {
        struct logits_candidate at;
        if (!line_find(line, &at, n))
            return false;
        *total += weight(sampler, (double)at.logit, best);
    }
    return true;
}

/* The id that the number drawn from [0, 1) stands for; `total` is the weight of all that top-k
 * leaves. False where it lies behind what is known. In exact and in rounded arithmetic alike, a
 * larger total never gives an earlier candidate. */
static bool draw_candidate(const struct sampler *sampler, int32_t *id, struct line *line,
                           double drawn, double total, double best)
{
    const struct sampling *sampling = &sampler->sampling;
    int64_t count = left_of(sampler);
    if (sampling->top_p < 1 || sampling->min_p > 0) {
        double enough = (double)sampling->top_p * total, inside = 0;
        int64_t kept = 0;
        while (kept < count && inside < enough) {
            struct logits_candidate at;
            if (!line_find(line, &at, kept))
                return false;
            double one = weight(sampler, (double)at.logit, best);
            if (one < (double)sampling->min_p)
                break;
            inside += one;
            kept++;
        }
        count = kept; /* the best one at least: its weight is 1 */
        total = inside;
    }
    return reach(sampler, id, line, count, drawn * total, best);
}

static enum status refuse(int64_t id)
{
    return fail(STATUS_INTERNAL,
                "NON_FINITE_LOGITS: the logit of token %lld is not a finite number", (long long)id);
}

/* The first of the largest as they are adjusted. Where they are not, nothing but logits is read: a
 * step of many greedy answers waits for each. */
static struct logits_candidate likeliest(const struct sampler *sampler, const float *logits)
{
    int64_t best = 0;
    float largest = adjusted(sampler, logits[0], 0);
    if (!sampler->adjusts) {
        best = sampler->kernels->largest(logits, sampler->vocab);
        return (struct logits_candidate){logits[best], (int32_t)best};
    }
    for (int64_t i = 1; i < sampler->vocab; i++) {
        const float logit = adjusted(sampler, logits[i], (int32_t)i);
        best = logit > largest ? i : best;
        largest = logit > largest ? logit : largest;
    }
    return (struct logits_candidate){largest, (int32_t)best};
}

enum status sampler_next(struct sampler *sampler, int32_t *id, const float *logits)
{
    const int64_t finite = sampler->kernels->finite_rows(logits, sampler->vocab, 1);
    if (finite < sampler->vocab)
        return refuse(finite);
    const struct logits_candidate best = likeliest(sampler, logits);
    *id = best.id;
    if (sampler->sampling.temperature > 0) {
        const double largest = (double)best.logit;
        struct line line = {.list = sampler->candidates};
        double total = 0;
        for (int64_t i = 0; i < sampler->vocab; i++)
            line_add(&line, adjusted(sampler, logits[i], (int32_t)i), (int32_t)i);
        line.known = line.count;
        line_begin(&line);
        bool known = !has_top_k(sampler) || sum_first(sampler, &total, &line, largest);
        for (int64_t i = 0; !has_top_k(sampler) && i < line.count; i++)
            total += weight(sampler, (double)line.list[i].logit, largest);
        known = known && draw_candidate(sampler, id, &line, draw(&sampler->random), total, largest);
        assert(known);
    }
    take(sampler, *id);
    return STATUS_OK;
}

/* ---- choosing by a survey ---- */

double sampler_temperature(const struct sampler *sampler)
{
    return sampler->sampling.temperature > 0 ? (double)sampler->sampling.temperature : 1;
}

/* The surveyed candidates as they are adjusted. What was not surveyed is at most as large as the
 * last of them: where nothing raises it, whatever is still above is known. */
static struct line line_of(const struct sampler *sampler, const struct logits_survey *survey)
{
    struct line line = {.list = sampler->candidates};
    const float bound = survey->candidates[survey->count - 1].logit;
    for (int c = 0; c < survey->count; c++) {
        const struct logits_candidate *from = &survey->candidates[c];
        const float logit = adjusted(sampler, from->logit, from->id);
        line_add(&line, logit, from->id);
        line.known += logit > bound;
    }
    if (!sampler->adjusts || survey->count == sampler->vocab)
        line.known = line.count;
    else if (sampler->raises)
        line.known = 0;
    line_begin(&line);
    return line;
}

/* Bounds of the weight of the whole vocabulary: adjustments may have taken any part of the weight
 * that is not surveyed. */
static void bound_total(const struct sampler *sampler, double bounds[2], const struct line *line,
                        const struct logits_survey *survey, double best)
{
    const double plain_best = (double)survey->candidates[0].logit;
    double surveyed = 0, rest = survey->total, rest_slack = LOGITS_TOTAL_SLACK * survey->total;
    for (int64_t c = 0; c < line->count; c++)
        surveyed += weight(sampler, (double)line->list[c].logit, best);
    for (int c = 0; c < survey->count; c++)
        rest -= weight(sampler, (double)survey->candidates[c].logit, plain_best);
    if (survey->count == sampler->vocab)
        rest = rest_slack = 0;
    const double least = sampler->adjusts ? 0 : rest - rest_slack;
    const double most = rest + rest_slack;
    bounds[0] = (surveyed + least) * (1 - LOGITS_TOTAL_SLACK);
    bounds[1] = surveyed * (1 + LOGITS_TOTAL_SLACK);
    if (most > 0)
        bounds[1] += most * weight(sampler, plain_best, best) * (1 + LOGITS_TOTAL_SLACK);
}

/* Draws with both bounds of the total: where they agree, every total between them does. */
static bool draw_by_bounds(const struct sampler *sampler, int32_t *id, struct line *line,
                           const struct logits_survey *survey, double drawn)
{
    struct logits_candidate best;
    double bounds[2] = {0, 0};
    int32_t ids[2] = {-1, -1};
    if (!line_find(line, &best, 0))
        return false;
    const double largest = (double)best.logit;
    if (!has_top_k(sampler))
        bound_total(sampler, bounds, line, survey, largest);
    else if (sum_first(sampler, &bounds[0], line, largest))
        bounds[1] = bounds[0];
    else
        return false;
    for (int b = 0; b < 2; b++)
        if (!draw_candidate(sampler, &ids[b], line, drawn, bounds[b], largest))
            return false;
    *id = ids[0];
    return ids[0] == ids[1];
}

enum status sampler_choose(struct sampler *sampler, int32_t *id, bool *chosen,
                           const struct logits_survey *survey)
{
    *chosen = false;
    if (survey->count == 0)
        return STATUS_OK;
    if (survey->non_finite >= 0)
        return refuse(survey->non_finite);
    struct line line = line_of(sampler, survey);
    struct pcg32 random = sampler->random;
    struct logits_candidate best = {0, -1};
    if (sampler->sampling.temperature > 0)
        *chosen = draw_by_bounds(sampler, &best.id, &line, survey, draw(&random));
    else
        *chosen = line_find(&line, &best, 0);
    if (!*chosen)
        return STATUS_OK;
    sampler->random = random;
    take(sampler, best.id);
    *id = best.id;
    return STATUS_OK;
}
