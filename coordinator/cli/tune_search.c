/* Owns nothing. Promises that candidates are ordered by the same samples. */
#include "coordinator/cli/tune_search.h"

#include <inttypes.h>
#include <stdio.h>

enum { PANEL = 64 };

/* ---- candidates ---- */

static int64_t whole_panels(double tokens)
{
    const int64_t panels = (int64_t)(tokens / PANEL + 0.5);
    return PANEL * (panels > 0 ? panels : 1);
}

static void add(struct tune_candidates *candidates, enum tune_method method, int64_t first,
                int64_t second)
{
    for (size_t i = 0; i < candidates->count; i++)
        if (candidates->list[i].first == first && candidates->list[i].second == second)
            return;
    if (candidates->count == TUNE_CANDIDATES_MAX)
        return;
    struct tune_candidate *made = &candidates->list[candidates->count++];
    *made = (struct tune_candidate){.first = first, .second = second};
    snprintf(made->spelling, sizeof made->spelling,
             method == TUNE_STRING ? "string:shift=%" PRId64 ",local=%" PRId64
                                   : "lm_infinite:window=%" PRId64 ",sinks=%" PRId64,
             first, second);
}

static void add_string(struct tune_candidates *candidates, int64_t length)
{
    static const double parts[] = {1.0 / 7, 0.2, 0.25, 1.0 / 3, 0.4, 0.5};
    static const int64_t locals[] = {32, 128, 512};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        for (size_t k = 0; k < sizeof locals / sizeof locals[0]; k++) {
            const int64_t shift = whole_panels(parts[i] * (double)length);
            if (locals[k] < shift || k == 0)
                add(candidates, TUNE_STRING, shift, locals[k]);
        }
}

static void add_lm_infinite(struct tune_candidates *candidates, int64_t length,
                            int64_t trained_tokens)
{
    static const double parts[] = {0.25, 0.5, 0.75, 1};
    static const int64_t sinks[] = {4, 10, 100};
    const int64_t most = trained_tokens > 0 && trained_tokens < length ? trained_tokens : length;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        for (size_t k = 0; k < sizeof sinks / sizeof sinks[0]; k++) {
            const int64_t window = whole_panels(parts[i] * (double)most);
            if (window < length || i == 0)
                add(candidates, TUNE_LM_INFINITE, window, sinks[k]);
        }
}

void tune_search_candidates(struct tune_candidates *candidates, enum tune_method method,
                            int64_t length, int64_t trained_tokens)
{
    candidates->count = 1;
    candidates->list[0] = (struct tune_candidate){.spelling = "rope"};
    if (method == TUNE_STRING)
        add_string(candidates, length);
    else
        add_lm_infinite(candidates, length, trained_tokens);
}

/* ---- the search ---- */

struct tune_loss tune_search_mean(const struct tune_candidate *candidate)
{
    struct tune_loss mean = {0, 0};
    for (size_t i = 0; i < candidate->rounds; i++) {
        mean.text += candidate->losses[i].text / (double)candidate->rounds;
        mean.answer += candidate->losses[i].answer / (double)candidate->rounds;
    }
    return mean;
}

double tune_search_cost(const struct tune_candidate *candidate)
{
    const struct tune_loss mean = tune_search_mean(candidate);
    return mean.text + mean.answer;
}

static bool is_better(const struct tune_candidate *one, const struct tune_candidate *other)
{
    return one->rounds != other->rounds ? one->rounds > other->rounds
                                        : tune_search_cost(one) < tune_search_cost(other);
}

const struct tune_candidate *tune_search_best(const struct tune_candidates *candidates)
{
    const struct tune_candidate *best = &candidates->list[1];
    for (size_t i = 2; i < candidates->count; i++)
        if (is_better(&candidates->list[i], best))
            best = &candidates->list[i];
    return best;
}

static size_t left_of(const struct tune_candidates *candidates)
{
    size_t left = 0;
    for (size_t i = 1; i < candidates->count; i++)
        left += !candidates->list[i].dropped;
    return left;
}

/* The worse half of those that are left; of three, one. */
static void drop_half(struct tune_candidates *candidates)
{
    for (size_t left = left_of(candidates), goes = left / 2; goes > 0; goes--) {
        struct tune_candidate *worst = NULL;
        for (size_t i = 1; i < candidates->count; i++) {
            struct tune_candidate *each = &candidates->list[i];
            if (!each->dropped && (!worst || is_better(worst, each)))
                worst = each;
        }
        if (worst)
            worst->dropped = true;
    }
}

/* `*over`: the budget has ended, and what was measured of the round is forgotten. */
static enum status run_round(struct tune_candidates *candidates, tune_search_measure *measure,
                             void *context, size_t round, bool *over)
{
    for (size_t i = 0; i < candidates->count && !*over; i++) {
        struct tune_candidate *each = &candidates->list[i];
        if (!each->dropped)
            TRY(measure(context, &each->losses[round], over, each->spelling, round));
    }
    for (size_t i = 0; i < candidates->count && !*over; i++)
        candidates->list[i].rounds += !candidates->list[i].dropped;
    return STATUS_OK;
}

enum status tune_search_run(struct tune_candidates *candidates, tune_search_measure *measure,
                            void *context)
{
    bool over = false;
    for (size_t round = 0; round < TUNE_ROUNDS_MAX && !over; round++) {
        const bool halves = (round & (round - 1)) == 0 && round > 0;
        if (halves)
            drop_half(candidates);
        TRY(run_round(candidates, measure, context, round, &over));
    }
    return candidates->list[0].rounds > 0
               ? STATUS_OK
               : fail(STATUS_FAILED_PRECONDITION,
                      "the budget ended before each of %zu candidates was tried once: give more "
                      "--seconds, or a smaller --length",
                      candidates->count);
}
