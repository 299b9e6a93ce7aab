/* Owns the fairness between sequences. */
#include "worker/engine/turn.h"

#include <stddef.h>

int64_t turn_clock(const struct turn_candidate *live, int count)
{
    const struct turn_candidate *least = NULL;
    for (int c = 0; c < count; c++)
        if (!live[c].decodes && (!least || live[c].served < least->served))
            least = &live[c];
    return least ? least->served : 0;
}

static struct turn_candidate *next_prompt(struct turn_candidate *live, int count)
{
    struct turn_candidate *next = NULL;
    for (int c = 0; c < count; c++)
        if (!live[c].decodes && (!next || live[c].served < next->served))
            next = &live[c];
    return next;
}

/* The answer that was in a step longest ago, before step `before`; of those that split as `like`
 * does, unless it is NULL. */
static struct turn_candidate *next_answer(struct turn_candidate *live, int count, int64_t before,
                                          const struct turn_candidate *like)
{
    struct turn_candidate *next = NULL;
    for (int c = 0; c < count; c++)
        if (live[c].decodes && live[c].stepped < before &&
            (!like || live[c].splits == like->splits) && (!next || live[c].stepped < next->stepped))
            next = &live[c];
    return next;
}

void turn_choose(struct turn *turn, struct turn_memory *memory, struct turn_candidate *live,
                 int count, int64_t step_rows)
{
    const int64_t step = memory->steps + 1;
    struct turn_candidate *prompt = next_prompt(live, count);
    struct turn_candidate *first = next_answer(live, count, step, NULL);
    turn->row_count = 0;
    turn->kind = TURN_NONE;
    if (first && (!prompt || memory->last != TURN_STEP)) {
        turn->kind = TURN_STEP;
        memory->steps = step;
        for (struct turn_candidate *answer = first; answer && turn->row_count < step_rows;
             answer = next_answer(live, count, step, first)) {
            answer->stepped = step;
            turn->rows[turn->row_count++] = answer->number;
        }
    } else if (prompt) {
        turn->kind = TURN_STAGE;
        prompt->served += prompt->next_tokens;
        turn->rows[turn->row_count++] = prompt->number;
    }
    memory->last = (enum turn_kind)turn->kind;
}
