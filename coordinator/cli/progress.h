/* How far a request is: on a terminal a line that is redrawn, with rate and time left; otherwise
 * nothing. */
#pragma once

#include <stdbool.h>

#include "longhaul/v1/inference.pb-c.h"

struct progress {
    bool verbose;           /* the plan is told too, terminal or not */
    bool rates;             /* the rates are told at the end, terminal or not */
    bool text_on_screen;    /* the answer goes to the same terminal: no line is drawn meanwhile */
    double begin_seconds;   /* of the answer's first token */
    double waiting_seconds; /* when the wait for workers began; 0: they are there */
    bool told_waiting;
};

void progress_queued(struct progress *progress, const Longhaul__V1__Queued *queued);
/* Nothing has come for a while; `trouble` as event_stream_wait has it. */
void progress_wait(struct progress *progress, const char *trouble);
void progress_planned(struct progress *progress, const Longhaul__V1__PlanSummary *plan);
void progress_prompt(const struct progress *progress, const Longhaul__V1__Progress *done);
/* `tokens` of the answer are there, of at most `limit`. */
void progress_answer(struct progress *progress, int64_t tokens, int64_t limit);
/* The rates, when all is done and they are wanted. */
void progress_finished(const struct progress *progress, const Longhaul__V1__Usage *usage,
                       const Longhaul__V1__Seconds *seconds, Longhaul__V1__RankReport *const *ranks,
                       size_t rank_count);
