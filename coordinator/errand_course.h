/* How a request goes through its errand: when it came, got its place, told its first token and
 * ended, and how. What metrics count of it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/group_run.h"
#include "longhaul/v1/inference.pb-c.h"
#include "proto/status.h"

/* What metrics count of an errand. */
enum errand_course_counts {
    ERRAND_COURSE_REQUEST = 1, /* that it was one, how it ended, and when what came of it */
    ERRAND_COURSE_TOKENS = 2,  /* its tokens, and the seconds that they took */
};

/* Monotonic ns; 0: it has not come so far. */
struct errand_course {
    bool is_score;
    unsigned counts; /* a mask: both, but of a call that is several errands, and of its parts */
    int64_t begun_ns, placed_ns, first_ns, ended_ns;
    int64_t prompt_tokens, completion_tokens, cached_tokens, prefilled_tokens;
    int64_t drafted_tokens, accepted_tokens;
    double prefill_seconds, decode_seconds; /* as rank 0 tells */
    Longhaul__V1__FinishReason reason;      /* of an answer that ended well */
};

/* The families of every errand, with their zeros. */
void errand_course_offer(void);

void errand_course_begin(struct errand_course *course, bool is_score);
void errand_course_placed(struct errand_course *course, int64_t prompt_tokens);
/* The client was told tokens; the first call counts. */
void errand_course_tokens(struct errand_course *course);
/* The ranks are done with it. */
void errand_course_outcome(struct errand_course *course, const struct group_outcome *outcome,
                           Longhaul__V1__FinishReason reason);

/* How it ended, as metrics and spans name it: "stop", "length", "scored", "cancelled", "expired",
 * "failed", or "rejected" where it never had a place. */
const char *errand_course_outcome_word(const struct errand_course *course, enum status status);

/* It is over; counts it. */
void errand_course_end(struct errand_course *course, enum status status);
