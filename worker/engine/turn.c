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

int64_t turn_rows(const struct turn *turn)
{
    int64_t rows = turn->row_count;
    for (int r = 0; r < turn->row_count; r++)
        rows += turn->drafted[r];
    return rows;
}

static struct turn_candidate *next_prompt(struct turn_candidate *live, int count)
{
    struct turn_candidate *next = NULL;
    for (int c = 0; c < count; c++)
        if (!live[c].decodes && (!next || live[c].served < next->served))
            next = &live[c];
    return next;
}

static bool is_in(const struct turn *turn, const struct turn_candidate *candidate)
{
    for (int r = 0; r < turn->row_count; r++)
        if (turn->rows[r] == candidate->number)
            return true;
    return false;
}

/* The prompt that is next of those that may join the turn's stage. */
static struct turn_candidate *next_joining(const struct turn *turn, struct turn_candidate *live,
                                           int count, int64_t tokens)
{
    struct turn_candidate *next = NULL;
    for (int c = 0; c < count; c++)
        if (!live[c].decodes && live[c].joins && live[c].next_tokens <= tokens &&
            !is_in(turn, &live[c]) && (!next || live[c].served < next->served))
            next = &live[c];
    return next;
}

/* `prompt` and those that join it. */
static void choose_stage(struct turn *turn, struct turn_candidate *prompt,
                         struct turn_candidate *live, int count, int64_t stage_tokens)
{
    const bool joins = prompt->joins;
    turn->kind = TURN_STAGE;
    while (prompt) {
        turn->drafted[turn->row_count] = 0;
        turn->rows[turn->row_count++] = prompt->number;
        prompt->served += prompt->next_tokens;
        stage_tokens -= prompt->next_tokens;
        prompt = joins ? next_joining(turn, live, count, stage_tokens) : NULL;
    }
}

/* The answer that was in a step longest ago, before step `before`; of those that split as `like`
 * does, unless it is NULL. */
static struct turn_candidate *next_answer(struct turn_candidate *live, int count, int64_t before,
                                          const struct turn_candidate *like)
{
    struct turn_candidate *next = NULL;
    for (int c = 0; c < count; c++)
        if (live[c].decodes && live[c].stepped < before &&
            (!like || (live[c].split == like->split && live[c].home == like->home)) &&
            (!next || live[c].stepped < next->stepped))
            next = &live[c];
    return next;
}

void turn_choose(struct turn *turn, struct turn_memory *memory, struct turn_candidate *live,
                 int count, const struct turn_room *room)
{
    const int64_t step = memory->steps + 1;
    struct turn_candidate *prompt = next_prompt(live, count);
    struct turn_candidate *first = next_answer(live, count, step, NULL);
    turn->row_count = 0;
    turn->kind = TURN_NONE;
    if (first && (!prompt || memory->last != TURN_STEP)) {
        turn->kind = TURN_STEP;
        memory->steps = step;
        for (struct turn_candidate *answer = first; answer && turn->row_count < room->step_rows;
             answer = next_answer(live, count, step, first)) {
            answer->stepped = step;
            turn->drafted[turn->row_count] = 0;
            turn->rows[turn->row_count++] = answer->number;
        }
    } else if (prompt) {
        choose_stage(turn, prompt, live, count, room->stage_tokens);
    }
    memory->last = (enum turn_kind)turn->kind;
}
