/* Which parameters of a method suit a text best, within a budget of seconds: rounds over
 * candidates, of which the worse half goes now and then. Knows no coordinator. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/plan/method.h"
#include "proto/status.h"

enum { TUNE_CANDIDATES_MAX = 24, TUNE_ROUNDS_MAX = 16 };

/* What one method makes of one sample, in nats a token. */
struct tune_loss {
    double text;   /* of the text's last quarter */
    double answer; /* of the right answer to what lies in the text */
};

struct tune_candidate {
    char spelling[METHOD_TEXT_BYTES];
    int64_t first, second;                    /* S and W, or B and G; 0 of rope */
    struct tune_loss losses[TUNE_ROUNDS_MAX]; /* [rounds] */
    size_t rounds;
    bool dropped;
};

struct tune_candidates {
    struct tune_candidate list[TUNE_CANDIDATES_MAX]; /* rope first: it is never dropped */
    size_t count;
};

enum tune_method { TUNE_STRING, TUNE_LM_INFINITE };

/* String: S of a seventh to half of the length, W of 32 to 512 below S (the published ranges);
 * LM-Infinite: B of a quarter of the trained length to all of it, below the length, G of 4, 10 and
 * 100. Whole panels of 64. At least one. */
void tune_search_candidates(struct tune_candidates *candidates, enum tune_method method,
                            int64_t length, int64_t trained_tokens);

/* `*over` is true, and nothing was measured, where the budget does not suffice for one more. */
typedef enum status tune_search_measure(void *context, struct tune_loss *loss, bool *over,
                                        const char *spelling, size_t round);

/* Round by round, until one candidate beside rope is left and has all rounds, or the budget is
 * over; what is left of a round that was not ended does not count. After rounds 1, 2, 4 and 8
 * the worse half goes. FAILED_PRECONDITION where not even one round was ended. */
MUST_CHECK enum status tune_search_run(struct tune_candidates *candidates,
                                       tune_search_measure *measure, void *context);

/* The mean over its rounds. */
struct tune_loss tune_search_mean(const struct tune_candidate *candidate);

/* What candidates are ordered by: text and answer together. */
double tune_search_cost(const struct tune_candidate *candidate);

/* The one beside rope with the most rounds and, among these, the least cost. */
const struct tune_candidate *tune_search_best(const struct tune_candidates *candidates);
