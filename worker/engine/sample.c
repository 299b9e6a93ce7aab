/* Owns the sampler's state, laid into memory of the caller. Promises determinism: no global state,
 * no clock. */
#include "worker/engine/sample.h"

#include <math.h>
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

static bool goes_first(struct candidate a, struct candidate b)
{
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

/* Candidates [0, count) are a heap, but for what is at `at`, which goes down to its place. */
static void heap_settle(struct candidate *heap, int64_t count, int64_t at)
{
    struct candidate moved = heap[at];
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

/* Takes the first of the `left` that are still in the heap: the n-th that was taken lies n from the
 * end. Of a vocabulary only the few that a draw can reach are ever put in order. */
static struct candidate take_first(struct sampler *sampler, int64_t left)
{
    struct candidate *heap = sampler->candidates;
    struct candidate first = heap[0];
    heap[0] = heap[left - 1];
    heap_settle(heap, left - 1, 0);
    heap[left - 1] = first;
    return first;
}

/* e^(logit - best) at the temperature: the candidate's probability, but for one factor. */
static double weight(const struct sampler *sampler, struct candidate candidate, double best)
{
    return exp((candidate.logit - best) / sampler->sampling.temperature);
}

/* The id at which the weights of the first candidates reach `left`, the last of `count` at most.
 * `taken` of them are out of the heap already. */
static int32_t reach(struct sampler *sampler, int64_t count, int64_t taken, double left,
                     double best)
{
    struct candidate at = sampler->candidates[sampler->vocab - 1];
    for (int64_t i = 0; i < count; i++) {
        at = i < taken ? sampler->candidates[sampler->vocab - 1 - i]
                       : take_first(sampler, sampler->vocab - i);
        left -= weight(sampler, at, best);
        if (left < 0)
            break;
    }
    return at.id;
}

static int32_t draw_candidate(struct sampler *sampler, double best)
{
    const struct sampling *sampling = &sampler->sampling;
    const int64_t vocab = sampler->vocab;
    const bool has_top_k = sampling->top_k > 0 && sampling->top_k < vocab;
    int64_t count = has_top_k ? sampling->top_k : vocab;
    int64_t taken = 0;
    double total = 0;
    for (int64_t at = vocab / 2; at-- > 0;)
        heap_settle(sampler->candidates, vocab, at);
    for (; has_top_k && taken < count; taken++)
        total += weight(sampler, take_first(sampler, vocab - taken), best);
    for (int64_t i = 0; !has_top_k && i < vocab; i++)
        total += weight(sampler, sampler->candidates[i], best);
    if (sampling->top_p < 1 || sampling->min_p > 0) {
        double enough = sampling->top_p * total, inside = 0;
        int64_t kept = 0;
        while (kept < count && inside < enough) {
            if (kept == taken)
                take_first(sampler, vocab - taken++);
            double one = weight(sampler, sampler->candidates[vocab - 1 - kept], best);
            if (one < sampling->min_p)
                break;
            inside += one;
            kept++;
        }
        count = kept; /* the best one at least: its weight is 1 */
        total = inside;
    }
    return reach(sampler, count, taken, draw(sampler) * total, best);
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
    *id =
        sampler->sampling.temperature == 0 ? (int32_t)best : draw_candidate(sampler, logits[best]);
    sampler->seen[*id] = 1;
    return STATUS_OK;
}
