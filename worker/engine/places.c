/* Owns the memory of sequences. Promises that a sequence that was let in has room until its end. */
#include "worker/engine/places.h"

#include <assert.h>
#include <stdlib.h>

#include "worker/engine/device/arena.h"
#include "worker/engine/forward.h"

enum status places_init(struct places *places, struct device *device,
                        const struct memory_plan *plan, int rank)
{
    const struct group_choice *group = &device->group;
    const size_t score_bytes = (size_t)plan->bytes[MEMORY_SCORES];
    const size_t id_bytes = (size_t)plan->bytes[MEMORY_IDS];
    const size_t sampler = sampler_bytes(device->shape.vocab);
    enum status status = STATUS_OK;
    void *ids;
    void *scores;
    *places = (struct places){.device = device, .rank = rank, .plan = *plan};
    TRY_ELSE(panel_pool_create(&places->pool, group->pool_slots), undo);
    TRY_ELSE(arena_create(&places->ids_arena, "ids", id_bytes), undo);
    TRY_ELSE(arena_create(&places->scores_arena, "scores", score_bytes), undo);
    TRY_ELSE(arena_take(places->ids_arena, &ids, id_bytes), undo);
    TRY_ELSE(arena_take(places->scores_arena, &scores, score_bytes), undo);
    places->ids = ids;
    places->scores.rows = scores;
    places->scores.all = places->scores.rows + group->stage_rows;
    places->renumbered = calloc((size_t)group->pool_slots + 1, sizeof *places->renumbered);
    if (rank == 0)
        places->samplers = aligned_alloc(64, (size_t)group->sequences * sampler);
    if (!places->renumbered || (rank == 0 && !places->samplers))
        TRY_ELSE(fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the places of %d sequences",
                      group->sequences),
                 undo);
    return STATUS_OK;
undo:
    places_deinit(places);
    return status;
}

void places_deinit(struct places *places)
{
    panel_pool_destroy(places->pool);
    arena_destroy(places->ids_arena);
    arena_destroy(places->scores_arena);
    free(places->samplers);
    free(places->renumbered);
    *places = (struct places){0};
}

static enum status needs_of(struct memory_need *needs, int64_t *slots, const struct choice *choice)
{
    TRY(memory_need_make(needs, choice, 0, choice->group.workers));
    *slots = 0;
    for (int rank = 0; rank < choice->group.workers; rank++)
        *slots = needs[rank].slots > *slots ? needs[rank].slots : *slots;
    return STATUS_OK;
}

enum status places_slots(int64_t *slots, const struct choice *choice)
{
    struct memory_need *needs = calloc((size_t)choice->group.workers, sizeof *needs);
    if (!needs)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to plan a request");
    const enum status status = needs_of(needs, slots, choice);
    free(needs);
    return status;
}

bool places_fit(const struct places *places, int64_t slots, struct places_promised *promised)
{
    const struct group_choice *group = &places->device->group;
    int taken = promised->sequences;
    for (int p = 0; p < group->sequences; p++)
        taken += places->sequences[p] != NULL;
    if (taken == group->sequences ||
        slots > group->pool_slots - places->slots_held - promised->slots)
        return false;
    promised->sequences++;
    promised->slots += slots;
    return true;
}

/* Moves all held slots together, in every layer. */
static enum status close_up(struct places *places)
{
    const int64_t slots = panel_pool_slots(places->pool);
    panel_pool_close_up(places->pool, places->renumbered);
    for (int64_t slot = 0; slot < slots; slot++) {
        const struct panel_move move = {slot, places->renumbered[slot]};
        if (move.to >= 0 && move.to != slot)
            TRY(forward_move(places->device, &(struct panel_moves){&move, 1, 1}));
    }
    for (int p = 0; p < places->device->group.sequences; p++)
        if (places->sequences[p])
            panel_table_renumber(places->sequences[p]->panels, places->renumbered);
    return STATUS_OK;
}

static enum status take_run(struct places *places, struct panel_table_place *run)
{
    if (panel_pool_take(places->pool, &run->first, run->slots))
        return STATUS_OK;
    if (panel_pool_free(places->pool) < run->slots)
        return fail(STATUS_INTERNAL,
                    "the pool has %lld slots free, and a request that was let in "
                    "needs %lld",
                    (long long)panel_pool_free(places->pool), (long long)run->slots);
    TRY(close_up(places));
    const bool taken = panel_pool_take(places->pool, &run->first, run->slots);
    assert(taken);
    return STATUS_OK;
}

static int free_place(const struct places *places)
{
    int place = 0;
    while (place < places->device->group.sequences && places->sequences[place])
        place++;
    return place;
}

static enum status begin(struct places *places, struct sequence *sequence,
                         const struct sequence_start *start, struct memory_need *needs)
{
    const struct device *device = places->device;
    const int which = free_place(places);
    enum status status = STATUS_OK;
    int64_t slots;
    TRY(needs_of(needs, &slots, start->choice));
    const struct memory_need *mine = &needs[places->rank];
    TRY(memory_need_check(mine, start->choice));
    assert(which < device->group.sequences);
    struct sequence_place place = {
        .which = which,
        .slots_held = slots,
        .ids = places->ids + which * device->group.context_tokens,
        .spec = device->spec,
        .panels = {.slots = mine->slots,
                   .panel_slots = mine->panel_slots,
                   .sink_panels = mine->sink_panels,
                   .sink_slots = mine->sink_slots},
    };
    if (places->samplers)
        place.sampler_memory =
            places->samplers + (size_t)which * sampler_bytes(device->shape.vocab);
    TRY(take_run(places, &place.panels));
    TRY_ELSE(sequence_init(sequence, start, &place), release);
    places->sequences[which] = sequence;
    places->slots_held += slots;
    return STATUS_OK;
release:
    panel_pool_release(places->pool, place.panels.first, place.panels.slots);
    return status;
}

enum status places_begin(struct places *places, struct sequence *sequence,
                         const struct sequence_start *start)
{
    struct memory_need *needs = calloc((size_t)start->choice->group.workers, sizeof *needs);
    if (!needs)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to plan a request");
    const enum status status = begin(places, sequence, start, needs);
    free(needs);
    return status;
}

void places_end(struct places *places, struct sequence *sequence)
{
    panel_table_release(sequence->panels, places->pool);
    places->sequences[sequence->place.which] = NULL;
    places->slots_held -= sequence->place.slots_held;
    sequence_deinit(sequence);
}
