/* Owns a set of hashes with two marks each: open addressing, never more than half full, grown by
 * doubling. */
#include "coordinator/batch/panel_tally.h"

#include <stdlib.h>

/* What a panel is to the prompts that have it. */
enum { REUSABLE = 1, LAST = 2 };

struct panel_tally {
    uint64_t *hashes; /* [room]; 0: free */
    uint8_t *marks;   /* [room] */
    uint64_t room;    /* a power of two */
    int64_t count, count_max;
    int64_t prompt_tokens;
    int64_t own_tokens; /* that each prompt computes itself */
    int64_t shared_panels;
    bool full;
};

enum { ROOM_FIRST = 1024 };

enum status panel_tally_create(struct panel_tally **tally, int64_t panels_max)
{
    struct panel_tally *made = calloc(1, sizeof *made);
    if (made) {
        made->room = ROOM_FIRST;
        made->count_max = panels_max;
        made->hashes = calloc(made->room, sizeof *made->hashes);
        made->marks = calloc(made->room, sizeof *made->marks);
    }
    if (!made || !made->hashes || !made->marks) {
        panel_tally_destroy(made);
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to count panels");
    }
    *tally = made;
    return STATUS_OK;
}

void panel_tally_destroy(struct panel_tally *tally)
{
    if (!tally)
        return;
    free(tally->hashes);
    free(tally->marks);
    free(tally);
}

static uint64_t place_of(const struct panel_tally *tally, uint64_t hash)
{
    uint64_t at = hash & (tally->room - 1);
    while (tally->hashes[at] && tally->hashes[at] != hash)
        at = (at + 1) & (tally->room - 1);
    return at;
}

static enum status grow(struct panel_tally *tally)
{
    struct panel_tally wider = *tally;
    wider.room = 2 * tally->room;
    wider.hashes = calloc(wider.room, sizeof *wider.hashes);
    wider.marks = calloc(wider.room, sizeof *wider.marks);
    if (!wider.hashes || !wider.marks) {
        free(wider.hashes);
        free(wider.marks);
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to count %lld panels",
                    (long long)tally->count);
    }
    for (uint64_t i = 0; i < tally->room; i++)
        if (tally->hashes[i]) {
            const uint64_t at = place_of(&wider, tally->hashes[i]);
            wider.hashes[at] = tally->hashes[i];
            wider.marks[at] = tally->marks[i];
        }
    free(tally->hashes);
    free(tally->marks);
    *tally = wider;
    return STATUS_OK;
}

/* The marks that the panel had before. */
static enum status mark(struct panel_tally *tally, uint64_t hash, uint8_t marks, uint8_t *before)
{
    hash += hash == 0; /* 0 is a free place */
    uint64_t at = place_of(tally, hash);
    *before = 0;
    if (!tally->hashes[at]) {
        if (tally->count == tally->count_max) {
            tally->full = true;
            return STATUS_OK;
        }
        if (2 * (uint64_t)tally->count >= tally->room) {
            TRY(grow(tally));
            at = place_of(tally, hash);
        }
        tally->hashes[at] = hash;
        tally->count++;
    }
    *before = tally->marks[at];
    tally->marks[at] |= marks;
    return STATUS_OK;
}

/* A panel costs once where somebody reuses it or could, unless it is the last of a prompt, which
 * has counted it with what is its own. */
enum status panel_tally_add(struct panel_tally *tally, int64_t *cached_tokens,
                            const struct panel_chain *chain)
{
    const int64_t reusable = panel_chain_reusable(chain);
    uint8_t before = 0;
    *cached_tokens = 0;
    for (int64_t p = 0; p < reusable; p++) {
        TRY(mark(tally, chain->hashes[p], REUSABLE, &before));
        tally->shared_panels += before == 0;
        *cached_tokens += before ? PANEL_CHAIN_TOKENS : 0;
    }
    if (reusable < chain->panels) {
        TRY(mark(tally, chain->hashes[reusable], LAST, &before));
        tally->shared_panels -= before == REUSABLE;
    }
    tally->prompt_tokens += chain->tokens;
    tally->own_tokens += chain->tokens - reusable * PANEL_CHAIN_TOKENS;
    return STATUS_OK;
}

int64_t panel_tally_prompt_tokens(const struct panel_tally *tally)
{
    return tally->prompt_tokens;
}

int64_t panel_tally_unique_tokens(const struct panel_tally *tally)
{
    return tally->own_tokens + tally->shared_panels * PANEL_CHAIN_TOKENS;
}

bool panel_tally_is_full(const struct panel_tally *tally)
{
    return tally->full;
}
