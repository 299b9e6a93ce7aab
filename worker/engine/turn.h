/* What the ranks of a group do next, as rank 0 says it: which residents go, which sequences come,
 * and one stage of one prompt, or of several short ones, or one step of several answers. Pure: who
 * is next follows from what is there.
 *
 * Stages and steps alternate while there are both, so an answer waits for one stage at most between
 * two of its tokens. Among prompts the one that has been served the fewest tokens is next, counted
 * from the least that a prompt was served when it came: so a long prompt neither waits for ever nor
 * makes others wait. Short prompts go in the stage of the one that is next, in the same order, as
 * long as there is room. Answers that cannot all go in one step take turns.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/plan/choice.h"
#include "proto/plan/memory_plan.h"

enum turn_kind { TURN_NONE, TURN_STAGE, TURN_STEP };

/* As it travels, whole. */
struct turn {
    int32_t kind;                          /* enum turn_kind */
    int32_t goer_count;                    /* residents that go, before anything else */
    int32_t admit_count;                   /* sequences that come, before the rest is done */
    int32_t row_count;                     /* sequences of the stage or step */
    bool ends[CHOICE_SEQUENCES_MAX];       /* [admit_count] it is cut short before it begins */
    uint64_t admits[CHOICE_SEQUENCES_MAX]; /* [admit_count] numbers of requests */
    uint64_t rows[CHOICE_SEQUENCES_MAX];   /* [row_count] numbers of requests */
    uint64_t goers[CHOICE_SEQUENCES_MAX];  /* [goer_count] numbers of residents */
    int32_t
        drafted[CHOICE_SEQUENCES_MAX]; /* [row_count] tokens that a step passes behind its next */
    int32_t drafts[MEMORY_DRAFT_ROWS]; /* these, sequence by sequence */
};

/* A sequence that could be served. */
struct turn_candidate {
    uint64_t number;
    bool decodes;        /* it waits for a step, not for a stage */
    unsigned split;      /* the products that decode splits: a step's rows agree on them, */
    bool home;           /* and on whether rank 0 decodes alone */
    bool joins;          /* its next stage may be passed with others' */
    int64_t next_tokens; /* of its next stage */
    int64_t served;      /* tokens of stages, from turn_clock on when it came */
    int64_t stepped;     /* the last step that it was in; 0: none */
};

/* What is remembered from turn to turn. Starts zeroed. */
struct turn_memory {
    enum turn_kind last;
    int64_t steps;
};

/* What a sequence that comes now starts to count its served tokens from: what the prompt that was
 * served least has. Answers stopped counting when their prompts ended, so they do not speak for
 * those that wait. */
int64_t turn_clock(const struct turn_candidate *live, int count);

/* What a turn holds at most. */
struct turn_room {
    int64_t step_rows;    /* sequences of a step */
    int64_t stage_tokens; /* of a stage of several prompts */
};

/* Tokens of the turn's step, drafted ones among them; of a stage its sequences. */
int64_t turn_rows(const struct turn *turn);

/* Fills in the turn's kind and rows, and notes it in `live`. TURN_NONE where nothing is to be done.
 */
void turn_choose(struct turn *turn, struct turn_memory *memory, struct turn_candidate *live,
                 int count, const struct turn_room *room);
