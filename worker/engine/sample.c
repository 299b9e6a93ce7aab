/* Owns the sampler's state, laid into memory of the caller. Promises determinism: no global state,
 * no clock. */
#include "worker/engine/sample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct candidate {
    float logit;
    int32_t id;
};

struct sampler {
    struct sampling sampling;
    int64_t vocab;
    uint64_t random_state;
    struct candidate *candidates; /* [vocab] */
    uint8_t *seen;                /* [vocab] */
};

enum status sampling_check(const struct sampling *s)
{
    if (!(s->temperature >= 0 && isfinite(s->temperature)))
        return fail(STATUS_INVALID_ARGUMENT, "temperature %g: must be 0 (greedy) or more",
                    (double)s->temperature);
    if (s->top_k < 0)
        return fail(STATUS_INVALID_ARGUMENT, "top_k %d: must be 0 (all) or more", s->top_k);
    if (!(s->top_p > 0 && s->top_p <= 1))
        return fail(STATUS_INVALID_ARGUMENT, "top_p %g: must be above 0 and at most 1",
                    (double)s->top_p);
    if (!(s->min_p >= 0 && s->min_p < 1))
        return fail(STATUS_INVALID_ARGUMENT, "min_p %g: must be at least 0 and below 1",
                    (double)s->min_p);
    if (!(s->repetition_penalty > 0 && isfinite(s->repetition_penalty)))
        return fail(STATUS_INVALID_ARGUMENT, "repetition_penalty %g: must be above 0 (1: none)",
                    (double)s->repetition_penalty);
    return STATUS_OK;
}

static size_t rounded(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

size_t sampler_bytes(int64_t vocab)
{
    return rounded(sizeof(struct sampler)) + rounded((size_t)vocab * sizeof(struct candidate)) +
           rounded((size_t)vocab);
}

struct sampler *sampler_init(void *memory, int64_t vocab, const struct sampling *sampling)
{
    struct sampler *sampler = memory;
    char *rest = (char *)memory + rounded(sizeof *sampler);
    sampler->sampling = *sampling;
    sampler->vocab = vocab;
    sampler->random_state = sampling->seed + 1442695040888963407u;
    sampler->candidates = (struct candidate *)(void *)rest;
    sampler->seen = (uint8_t *)rest + rounded((size_t)vocab * sizeof(struct candidate));
    memset(sampler->seen, 0, (size_t)vocab);
    return sampler;
}

void sampler_saw(struct sampler *sampler, const int32_t *ids, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        sampler->seen[ids[i]] = 1;
}

/* PCG32 (O'Neill 2014, XSH-RR), as a number in [0, 1). */
static double draw(struct sampler *sampler)
{
    uint64_t old = sampler->random_state;
    sampler->random_state = old * 6364136223846793005u + 1442695040888963407u;
    uint32_t shifted = (uint32_t)(((old >> 18) ^ old) >> 27);
    uint32_t turn = (uint32_t)(old >> 59);
    uint32_t bits = (shifted >> turn) | (shifted << ((32 - turn) & 31));
    return bits * 0x1p-32;
}

static void penalise(const struct sampler *sampler, float *logits)
{
    float penalty = sampler->sampling.repetition_penalty;
    if (penalty == 1)
        return;
    for (int64_t i = 0; i < sampler->vocab; i++)
        if (sampler->seen[i])
            logits[i] = logits[i] > 0 ? logits[i] / penalty : logits[i] * penalty;
}

static int larger_first(const void *left, const void *right)
{
    const struct candidate *a = left;
    const struct candidate *b = right;
    if (a->logit != b->logit)
        return a->logit > b->logit ? -1 : 1;
    return a->id < b->id ? -1 : 1;
}

/* e^(logit - best) at the temperature: the candidate's probability, but for one factor. */
static double weight(const struct sampler *sampler, int64_t candidate)
{
    double best = sampler->candidates[0].logit;
    return exp((sampler->candidates[candidate].logit - best) / sampler->sampling.temperature);
}

static double total_weight(const struct sampler *sampler, int64_t count)
{
    double total = 0;
    for (int64_t i = 0; i < count; i++)
        total += weight(sampler, i);
    return total;
}

/* How many of the leading `count` candidates survive top-p and min-p; at least one. */
static int64_t survivors(const struct sampler *sampler, int64_t count)
{
    double enough = sampler->sampling.top_p * total_weight(sampler, count);
    double inside = 0;
    int64_t kept = 0;
    while (kept < count && inside < enough) {
        if (weight(sampler, kept) < sampler->sampling.min_p)
            break;
        inside += weight(sampler, kept++);
    }
    return kept > 0 ? kept : 1;
}

static int32_t draw_candidate(struct sampler *sampler)
{
    int32_t top_k = sampler->sampling.top_k;
    struct candidate *candidates = sampler->candidates;
    qsort(candidates, (size_t)sampler->vocab, sizeof *candidates, larger_first);
    int64_t count =
        survivors(sampler, top_k > 0 && top_k < sampler->vocab ? top_k : sampler->vocab);
    double left = draw(sampler) * total_weight(sampler, count);
    for (int64_t i = 0; i + 1 < count; i++) {
        left -= weight(sampler, i);
        if (left < 0)
            return candidates[i].id;
    }
    return candidates[count - 1].id;
}

enum status sampler_next(struct sampler *sampler, int32_t *id, float *logits)
{
    for (int64_t i = 0; i < sampler->vocab; i++)
        if (!isfinite(logits[i]))
            return fail(STATUS_INTERNAL,
                        "NON_FINITE_LOGITS: the logit of token %lld is not a finite number",
                        (long long)i);
    penalise(sampler, logits);
    int64_t best = 0;
    for (int64_t i = 0; i < sampler->vocab; i++) {
        sampler->candidates[i] = (struct candidate){logits[i], (int32_t)i};
        if (logits[i] > logits[best])
            best = i;
    }
    *id = sampler->sampling.temperature == 0 ? (int32_t)best : draw_candidate(sampler);
    sampler->seen[*id] = 1;
    return STATUS_OK;
}
