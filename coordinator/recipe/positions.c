/* Owns nothing. Promises positions that ascend from 0 and stay below the target. */
#include "coordinator/recipe/positions.h"

#include <assert.h>

#include "proto/train/chance.h"

/* Goes through slots [0, end) and draws `left` of them, each set as likely as any other (Knuth's
 * Algorithm S): the next one that is drawn, at least `slot`. */
static int64_t next_drawn(struct chance *chance, int64_t slot, int64_t end, int64_t left)
{
    while (chance_below(chance, end - slot) >= left)
        slot++;
    return slot;
}

static int64_t count_sentences(const struct sentences *sentences, const int32_t *ids, int64_t count)
{
    int64_t n = 0;
    for (int64_t first = 0; first < count; n++)
        first = sentences_end(sentences, ids, count, first);
    return n;
}

/* A sentence that has a slot takes as many positions as tokens, an empty slot takes one: so the
 * position of its first token is its slot and what the sentences before it took beyond theirs. */
static int64_t place_sentence(int32_t *positions, int64_t first, int64_t end, int64_t position)
{
    for (int64_t t = first; t < end; t++)
        positions[t] = (int32_t)(position + t - first);
    return end - first - 1;
}

void positions_reset(int32_t *positions, int64_t count, int64_t point)
{
    for (int64_t t = 0; t < point && t < count; t++)
        positions[t] = (int32_t)t;
}

/* Where the slots of sentences come from: they are drawn, or given. */
struct slots {
    struct chance *chance;
    int64_t next, end, left; /* slots that may be drawn, and how many will be */
    const int64_t *given;    /* NULL: drawn */
};

static int64_t take_slot(struct slots *slots)
{
    if (slots->given)
        return *slots->given++;
    const int64_t slot = next_drawn(slots->chance, slots->next, slots->end, slots->left);
    slots->next = slot + 1;
    slots->left--;
    return slot;
}

/* The smallest slot is given up for slot 0. */
static void place_sentences(int32_t *positions, const struct sentences *sentences,
                            const int32_t *ids, int64_t count, struct slots *slots)
{
    int64_t beyond = 0;
    for (int64_t first = 0, end; first < count; first = end) {
        end = sentences_end(sentences, ids, count, first);
        const int64_t slot = take_slot(slots);
        beyond += place_sentence(positions, first, end, (first > 0 ? slot : 0) + beyond);
    }
}

void positions_place(int32_t *positions, const struct sentences *sentences, const int32_t *ids,
                     int64_t count, const int64_t *drawn)
{
    struct slots slots = {.given = drawn};
    place_sentences(positions, sentences, ids, count, &slots);
}

static void make_recipe(int32_t *positions, const struct positions_args *args, const int32_t *ids,
                        int64_t count, struct chance *chance)
{
    const int64_t sentences = count_sentences(args->sentences, ids, count);
    struct slots slots = {
        .chance = chance, .end = args->target - count + sentences, .left = sentences};
    place_sentences(positions, args->sentences, ids, count, &slots);
}

static void make_rpes(int32_t *positions, int64_t target, int64_t count, struct chance *chance)
{
    int64_t slot = 0;
    for (int64_t t = 0; t < count; t++) {
        slot = next_drawn(chance, slot, target, count - t);
        positions[t] = t > 0 ? (int32_t)slot : 0;
        slot++;
    }
}

/* As the published code has it: the first chunk has 1 .. (count + 1) / 2 tokens. */
static void make_pose(int32_t *positions, int64_t target, int64_t count, struct chance *chance)
{
    const int64_t cut = 1 + chance_below(chance, (count + 1) / 2);
    const int64_t gap = chance_below(chance, target - count + 1);
    for (int64_t t = 0; t < count; t++)
        positions[t] = (int32_t)(t < cut ? t : t + gap);
}

void positions_make(int32_t *positions, const struct positions_args *args, const int32_t *ids,
                    int64_t count, int64_t number)
{
    struct chance chance = chance_begin(args->seed, CHANCE_POSITIONS, (uint64_t)number);
    const bool stretches =
        args->setting != TRAIN_SETTING_PLAIN && args->setting != TRAIN_SETTING_FULL;
    assert(!stretches || (count <= args->target && args->target <= INT32_MAX));
    if (!stretches)
        positions_reset(positions, count, count);
    else if (args->setting == TRAIN_SETTING_RPES)
        make_rpes(positions, args->target, count, &chance);
    else if (args->setting == TRAIN_SETTING_POSE)
        make_pose(positions, args->target, count, &chance);
    else
        make_recipe(positions, args, ids, count, &chance);
    if (args->setting != TRAIN_SETTING_RECIPE || !args->right_points)
        return;
    struct chance point = chance_begin(args->seed, CHANCE_RIGHT_POINT, (uint64_t)number);
    positions_reset(positions, count, 1 + chance_below(&point, (count + 1) / 2));
}
