/* Owns the index of one sequence's runs of tokens, laid into memory of the caller. Promises that a
 * token is seen in a fixed time, however long the sequence. */
#include "worker/engine/draft.h"

#include <stdbool.h>
#include <string.h>

/* How far an expected token stands behind where the answer began to follow, in levels: 0 tokens, up
 * to 2, 6, 14, and more. Of each level what is thought before there was a token, and how much the
 * newest one counts. */
enum { LEVELS = 5 };
static const float AT_FIRST[LEVELS] = {0.25f, 0.4f, 0.6f, 0.8f, 0.9f};
static const float NEWEST = 0.0625f;

struct draft {
    int64_t seen;         /* tokens */
    int64_t source;       /* the index of the token that may come again; 0: nothing is known */
    int64_t followed;     /* tokens that came as expected, one behind the other, up to the last */
    float chance[LEVELS]; /* of the answer's tokens */
    bool answers;
    int64_t slots;  /* a power of two */
    int32_t ends[]; /* [slots] by the hash of a run: the index behind its last place; 0: none */
};

struct draft *draft_init(void *memory, int64_t bytes)
{
    struct draft *draft = memory;
    memset(draft, 0, (size_t)bytes);
    memcpy(draft->chance, AT_FIRST, sizeof draft->chance);
    draft->slots = 1;
    while (2 * draft->slots * (int64_t)sizeof *draft->ends <= bytes - (int64_t)sizeof *draft)
        draft->slots *= 2;
    return draft;
}

static int level_of(int64_t followed)
{
    int level = 0;
    while (level < LEVELS - 1 && followed >= (INT64_C(2) << level) - 1)
        level++;
    return level;
}

void draft_begin(struct draft *draft)
{
    draft->answers = true;
}

double draft_chance(const struct draft *draft, int64_t d)
{
    return draft->source > 0 ? (double)draft->chance[level_of(draft->followed + d - 1)] : 0;
}

/* The slot of the run that ends before `end`. */
static int32_t *slot_of(struct draft *draft, const int32_t *ids, int64_t end)
{
    uint64_t hash = 0;
    for (int64_t i = end - DRAFT_GRAM; i < end; i++)
        hash = (hash ^ (uint32_t)ids[i]) * UINT64_C(0x9e3779b97f4a7c15);
    return &draft->ends[(hash >> 32) & (uint64_t)(draft->slots - 1)];
}

static bool same_run(const int32_t *ids, int64_t one_end, int64_t other_end)
{
    return memcmp(ids + one_end - DRAFT_GRAM, ids + other_end - DRAFT_GRAM,
                  DRAFT_GRAM * sizeof *ids) == 0;
}

/* One more token, of index `end` - 1. */
static void see_token(struct draft *draft, const int32_t *ids, int64_t end)
{
    const bool follows = draft->source > 0 && ids[draft->source] == ids[end - 1];
    if (draft->source > 0 && draft->answers) {
        float *chance = &draft->chance[level_of(draft->followed)];
        *chance += NEWEST * ((follows ? 1.0f : 0.0f) - *chance);
    }
    draft->source = follows ? draft->source + 1 : 0;
    draft->followed = follows ? draft->followed + 1 : 0;
    if (end < DRAFT_GRAM)
        return;
    int32_t *slot = slot_of(draft, ids, end);
    if (!follows && *slot > 0 && same_run(ids, *slot, end))
        draft->source = *slot;
    *slot = (int32_t)end;
}

void draft_see(struct draft *draft, const int32_t *ids, int64_t end)
{
    while (draft->seen < end)
        see_token(draft, ids, ++draft->seen);
}

/* What repeats itself goes on into what is drafted. */
int64_t draft_propose(const struct draft *draft, int32_t *drafted, const int32_t *ids, int64_t most)
{
    if (draft->source == 0)
        return 0;
    for (int64_t d = 0; d < most; d++) {
        const int64_t from = draft->source + d;
        drafted[d] = from < draft->seen ? ids[from] : drafted[from - draft->seen];
    }
    return most > 0 ? most : 0;
}
