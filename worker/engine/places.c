/* Owns the memory of sequences. Promises that a sequence that was let in has room until its end. */
#include "worker/engine/places.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/engine/device/arena.h"
#include "worker/engine/forward.h"

/* Of a prefix's root: how prompts are cut, and in which sequence keys are attended to. */
enum { CUT_BYTES = 64 };

enum status places_init(struct places *places, struct device *device,
                        const struct memory_plan *plan, int rank)
{
    const struct group_choice *group = &device->group;
    const size_t score_bytes = (size_t)plan->bytes[MEMORY_SCORES];
    const size_t id_bytes = (size_t)plan->bytes[MEMORY_IDS];
    const size_t sampler_bytes = (size_t)plan->bytes[MEMORY_SAMPLERS];
    const size_t draft_bytes = (size_t)plan->bytes[MEMORY_DRAFTS];
    enum status status = STATUS_OK;
    void *ids;
    void *scores;
    void *samplers;
    void *drafts;
    *places = (struct places){.device = device, .rank = rank, .plan = *plan};
    TRY_ELSE(panel_pool_create(&places->pool, group->pool_slots), undo);
    TRY_ELSE(prefix_index_create(&places->prefixes, group->workers), undo);
    TRY_ELSE(arena_create(&places->ids_arena, "ids", id_bytes), undo);
    TRY_ELSE(arena_create(&places->scores_arena, "scores", score_bytes), undo);
    TRY_ELSE(arena_create(&places->samplers_arena, "samplers", sampler_bytes), undo);
    TRY_ELSE(arena_create(&places->drafts_arena, "drafts", draft_bytes), undo);
    TRY_ELSE(arena_take(places->ids_arena, &ids, id_bytes), undo);
    TRY_ELSE(arena_take(places->scores_arena, &scores, score_bytes), undo);
    TRY_ELSE(arena_take(places->samplers_arena, &samplers, sampler_bytes), undo);
    TRY_ELSE(arena_take(places->drafts_arena, &drafts, draft_bytes), undo);
    places->ids = ids;
    places->scores.rows = scores;
    places->scores.all = places->scores.rows + group->stage_rows;
    places->renumbered = calloc((size_t)group->pool_slots + 1, sizeof *places->renumbered);
    places->samplers = sampler_bytes > 0 ? samplers : NULL;
    places->drafts = draft_bytes > 0 ? drafts : NULL;
    if (!places->renumbered)
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
    residents_deinit(&places->residents);
    prefix_index_destroy(places->prefixes);
    panel_pool_destroy(places->pool);
    arena_destroy(places->ids_arena);
    arena_destroy(places->scores_arena);
    arena_destroy(places->samplers_arena);
    arena_destroy(places->drafts_arena);
    free(places->renumbered);
    *places = (struct places){0};
}

static struct resident *resident_of(const struct places *places,
                                    const struct engine_request *request)
{
    return request->goes_on_from ? residents_find(&places->residents, request->goes_on_from) : NULL;
}

static enum status needs_of(struct memory_need *needs, int64_t *slots, const struct places *places,
                            const struct choice *choice, const struct engine_request *request)
{
    TRY(resident_needs(needs, choice, resident_of(places, request), request));
    *slots = 0;
    for (int rank = 0; rank < choice->group.workers; rank++)
        *slots = needs[rank].slots > *slots ? needs[rank].slots : *slots;
    return STATUS_OK;
}

enum status places_slots(const struct places *places, int64_t *slots,
                         const struct engine_request *request)
{
    const struct choice choice = {places->device->group, *request->choice};
    struct memory_need *needs = calloc((size_t)choice.group.workers, sizeof *needs);
    if (!needs)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to plan a request");
    const enum status status = needs_of(needs, slots, places, &choice, request);
    free(needs);
    return status;
}

enum status places_promise(const struct places *places, int64_t *promised,
                           const struct engine_request *request)
{
    int64_t slots = 0;
    if (places->device->group.workers > 1)
        TRY(places_slots(places, &slots, request));
    *promised += slots;
    return STATUS_OK;
}

static enum status check_needs(struct memory_need *needs, const struct places *places,
                               const struct choice *choice, const struct engine_request *request)
{
    int64_t slots;
    TRY(needs_of(needs, &slots, places, choice, request));
    for (int rank = 0; rank < choice->group.workers; rank++)
        TRY(memory_need_check(&needs[rank], choice));
    return STATUS_OK;
}

enum status places_check(const struct places *places, const struct choice *choice,
                         const struct engine_request *request)
{
    TRY(memory_context_check(choice));
    if (request->goes_on_from)
        TRY(resident_check(resident_of(places, request), choice, request));
    struct memory_need *needs = calloc((size_t)choice->group.workers, sizeof *needs);
    if (!needs)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to plan a request");
    const enum status status = check_needs(needs, places, choice, request);
    free(needs);
    return status;
}

bool places_fit(const struct places *places, int64_t slots, struct places_promised *promised)
{
    const struct group_choice *group = &places->device->group;
    int taken = promised->sequences;
    for (int p = 0; p < group->sequences; p++)
        taken += places->sequences[p] != NULL;
    if (taken == group->sequences || slots > group->pool_slots - places->slots_held -
                                                 promised->slots -
                                                 prefix_index_slots(places->prefixes, true))
        return false;
    promised->sequences++;
    promised->slots += slots;
    return true;
}

/* Makes a run of free slots, moving as few held ones as that takes, in every layer. */
static enum status close_up(struct places *places, int64_t count)
{
    const int64_t slots = panel_pool_slots(places->pool);
    panel_pool_close_up(places->pool, count, places->renumbered);
    for (int64_t slot = 0; slot < slots; slot++) {
        const struct panel_move move = {slot, places->renumbered[slot]};
        if (move.to >= 0 && move.to != slot)
            TRY(forward_move(places->device, &(struct panel_moves){&move, 1, 1}));
    }
    for (int p = 0; p < places->device->group.sequences; p++)
        if (places->sequences[p])
            panel_table_renumber(places->sequences[p]->panels, places->renumbered);
    for (int r = 0; r < places->residents.count; r++)
        panel_table_renumber(places->residents.list[r]->panels, places->renumbered);
    prefix_index_renumber(places->prefixes, places->renumbered);
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
    TRY(close_up(places, run->slots));
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

/* ---- prefixes ---- */

static bool evict_one(struct places *places)
{
    struct prefix_panel panel;
    if (!prefix_index_evict(places->prefixes, &panel))
        return false;
    if (panel.owner == places->rank)
        panel_pool_release(places->pool, panel.slot, panel.slots);
    return true;
}

void places_forget_prefixes(struct places *places)
{
    while (evict_one(places))
        ;
}

/* Prefixes that nobody uses go until there are so many slots. */
static void make_room(struct places *places, int64_t slots)
{
    const int64_t most = places->device->group.pool_slots - places->slots_held - slots;
    while (prefix_index_slots(places->prefixes, false) > most && evict_one(places))
        ;
}

/* Panels that are shared together. Several ranks share whole stages, which have the same owners in
 * every prompt that is cut alike, so that decode rounds as it would have; 0: they share none. */
static int64_t shared_together(const struct choice *choice)
{
    const int64_t stage_tokens = choice->request.stage_tokens;
    if (choice->group.workers == 1)
        return 1;
    return stage_tokens % BANDS_LANES == 0 ? stage_tokens / BANDS_LANES : 0;
}

/* What a request's prompt may share. */
static enum status open_prefix(struct sequence *sequence, const struct engine_request *request)
{
    const struct choice *choice = &sequence->choice;
    const int64_t panels = request->count / BANDS_LANES;
    const char *tenant = request->tenant ? request->tenant : "";
    char spelling[METHOD_TEXT_BYTES];
    if (!request->reuse_prefix || request->goes_on_from || request->kind != ENGINE_GENERATE ||
        panels == 0 || choice->request.queries == CHOICE_REPLICATED ||
        shared_together(choice) == 0 || sequence->method.reach != BANDS_OPEN || sequence->sinks > 0)
        return STATUS_OK;
    method_print(&choice->request.method, spelling);
    const struct partition_weights *weights = &choice->request.weights;
    const size_t bytes = strlen(tenant) + strlen(spelling) + CUT_BYTES + 2 * (size_t)weights->count;
    sequence->prefix_root = malloc(bytes);
    sequence->prefix = calloc((size_t)panels, sizeof *sequence->prefix);
    sequence->prefix_own = calloc((size_t)panels, sizeof *sequence->prefix_own);
    if (!sequence->prefix_root || !sequence->prefix || !sequence->prefix_own)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a prompt's prefix");
    const bool apart = choice->group.workers > 1;
    const int used =
        snprintf(sequence->prefix_root, bytes, "%s|%lld|%d|%d|", spelling,
                 (long long)shared_together(choice), apart ? (int)choice->request.partition : 0,
                 apart ? (int)choice->request.schedule : 0);
    char *end = sequence->prefix_root + used;
    for (int r = 0; r < weights->count; r++)
        end += snprintf(end, 3, "%02x", weights->parts[r]);
    snprintf(end, strlen(tenant) + 2, "|%s", tenant);
    return STATUS_OK;
}

/* The rank's panels of those that were found. */
struct found {
    int64_t *panels, *slots; /* [count] */
    int64_t count;
    int64_t most; /* that any rank has */
};

static enum status list_found(struct found *found, const struct places *places,
                              const struct sequence *sequence)
{
    const int64_t count = sequence->prefix_count;
    const int workers = places->device->group.workers;
    int64_t *owned = calloc((size_t)workers, sizeof *owned);
    found->panels = calloc((size_t)count + 1, sizeof *found->panels);
    found->slots = calloc((size_t)count + 1, sizeof *found->slots);
    if (!owned || !found->panels || !found->slots) {
        free(owned);
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a prompt's prefix");
    }
    for (int64_t p = 0; p < count; p++) {
        const struct prefix_panel panel = prefix_index_panel(places->prefixes, sequence->prefix[p]);
        found->most = ++owned[panel.owner] > found->most ? owned[panel.owner] : found->most;
        if (panel.owner != places->rank)
            continue;
        found->panels[found->count] = p;
        found->slots[found->count++] = panel.slot;
    }
    free(owned);
    return STATUS_OK;
}

/* Finds what is there of the prompt, all but its last token at most, and keeps it there. On several
 * ranks copies need room that is promised to nobody. */
static void find_prefix(struct places *places, struct sequence *sequence,
                        const struct sequence_start *start, int64_t slots, int64_t panel_slots)
{
    const struct engine_request *request = start->job->request;
    const struct group_choice *group = &places->device->group;
    if (!sequence->prefix_root)
        return;
    const int64_t together = shared_together(&sequence->choice);
    const int64_t count = prefix_index_find(places->prefixes, sequence->prefix_root, request->ids,
                                            request->count - 1, sequence->prefix) /
                          together * together;
    const int64_t room =
        group->pool_slots - places->slots_held - slots - prefix_index_slots(places->prefixes, true);
    if (group->workers > 1 && 2 * count * panel_slots > room - start->promised)
        return; /* copies, and the panels themselves, which are in use while they are read */
    sequence->prefix_count = count;
    prefix_index_use(places->prefixes, sequence->prefix, count);
}

/* The prefix's tokens are passed. */
static enum status take_prefix(struct places *places, struct sequence *sequence,
                               const struct found *found)
{
    for (int64_t p = 0; p < sequence->prefix_count; p++) {
        const struct owned_span span = {
            {p * BANDS_LANES, (p + 1) * BANDS_LANES},
            prefix_index_panel(places->prefixes, sequence->prefix[p]).owner};
        TRY(ownership_deal(sequence->ownership, &span, 1));
    }
    sequence->passed = sequence->prefix_count * BANDS_LANES;
    sequence->result.cached_tokens = sequence->passed;
    sequence->result.prefilled_tokens = sequence->job.request->count - sequence->passed;
    if (places->device->group.workers == 1)
        return STATUS_OK;
    struct panel_moves moves;
    TRY(panel_table_adopt(sequence->panels, &moves, found->panels, found->slots, found->count));
    return forward_move(places->device, &moves);
}

enum status places_keep_prefix(struct places *places, struct sequence *sequence)
{
    const struct engine_request *request = sequence->job.request;
    const int64_t end =
        sequence->sharded_end < request->count ? sequence->sharded_end : request->count;
    if (!sequence->prefix_root)
        return STATUS_OK;
    const int64_t together = shared_together(&sequence->choice);
    const int64_t panels = end / BANDS_LANES / together * together;
    for (int64_t p = sequence->prefix_count; p < panels; p++) {
        struct prefix_panel panel = {
            .owner = ownership_owner(sequence->ownership, p * BANDS_LANES),
            .slot = -1,
            .slots = panel_table_panel_slots(sequence->panels),
        };
        if (panel.owner == places->rank)
            panel.slot = panel_table_slot(sequence->panels, p * BANDS_LANES);
        TRY(prefix_index_add(places->prefixes, &sequence->prefix[p], &sequence->prefix_own[p],
                             sequence->prefix_root, p > 0 ? sequence->prefix[p - 1] : -1,
                             request->ids + p * BANDS_LANES, &panel));
        if (sequence->prefix_own[p] && panel.owner == places->rank)
            panel_pool_hold(places->pool, panel.slot, panel.slots);
        prefix_index_use(places->prefixes, &sequence->prefix[p], 1);
        sequence->prefix_count++;
    }
    return STATUS_OK;
}

static void leave_prefix(struct places *places, struct sequence *sequence)
{
    for (int64_t p = 0; p < sequence->prefix_count; p++)
        if (sequence->prefix_own[p])
            prefix_index_let_out(places->prefixes, sequence->prefix[p]);
    prefix_index_leave(places->prefixes, sequence->prefix, sequence->prefix_count);
}

/* ---- residents ---- */

/* Goes on from the resident that the request names, which has been checked. */
static enum status open_resident(struct places *places, struct sequence *sequence,
                                 const struct engine_request *request)
{
    struct resident *resident = resident_of(places, request);
    if (!resident)
        return STATUS_OK;
    TRY(ownership_fork(&sequence->ownership, resident->ownership,
                       resident_reused(resident, request)));
    sequence->resident = resident;
    resident->users++;
    return STATUS_OK;
}

static void leave_resident(struct places *places, struct sequence *sequence)
{
    if (sequence->resident)
        places->slots_held -= residents_leave(&places->residents, places->pool, sequence->resident);
    sequence->resident = NULL;
}

/* The whole panels that the sequence shares; it copies what follows. */
static struct span shared_span(const struct sequence *sequence)
{
    const int64_t tokens = ownership_tokens(sequence->ownership);
    const bool shared = resident_is_shared(sequence->resident, &sequence->choice);
    return (struct span){0, shared ? tokens - tokens % BANDS_LANES : 0};
}

/* Room for the sequence's own panels; it holds those that it shares. */
static enum status take_slots_after(struct places *places, struct sequence *sequence,
                                    struct sequence_place *place, struct found *found)
{
    const size_t panels = (size_t)(ownership_tokens(sequence->ownership) / BANDS_LANES + 1);
    found->panels = calloc(panels, sizeof *found->panels);
    found->slots = calloc(panels, sizeof *found->slots);
    if (!found->panels || !found->slots)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the panels of a resident");
    make_room(places, place->slots_held);
    TRY(take_run(places, &place->panels));
    place->panels.shared = resident_panels(sequence->resident, places->rank, shared_span(sequence),
                                           found->panels, found->slots);
    place->panels.shared_panels = found->panels;
    place->panels.shared_slots = found->slots;
    for (int64_t p = 0; p < place->panels.shared; p++)
        panel_pool_hold(places->pool, found->slots[p], place->panels.panel_slots);
    return STATUS_OK;
}

static enum status copy_sinks(struct places *places, const struct sequence *sequence)
{
    const struct panel_table_place *place = &sequence->place.panels;
    const struct panel_move move = {panel_table_sinks(sequence->resident->panels),
                                    panel_table_sinks(sequence->panels)};
    const int64_t slots = place->sink_panels * place->sink_slots;
    return forward_move(places->device, &(struct panel_moves){&move, slots > 0, slots});
}

/* The resident's tokens are passed. */
static enum status take_resident(struct places *places, struct sequence *sequence,
                                 struct found *found)
{
    const int64_t tokens = ownership_tokens(sequence->ownership);
    struct span copied = {shared_span(sequence).end, tokens};
    struct panel_moves moves;
    if (copied.first == 0)
        copied.first = ownership_live_first(sequence->ownership, tokens, sequence->method.reach);
    found->count =
        resident_panels(sequence->resident, places->rank, copied, found->panels, found->slots);
    TRY(panel_table_adopt(sequence->panels, &moves, found->panels, found->slots, found->count));
    TRY(forward_move(places->device, &moves));
    TRY(copy_sinks(places, sequence));
    sequence->passed = tokens;
    sequence->result.cached_tokens = tokens;
    sequence->result.prefilled_tokens = sequence->job.request->count - tokens;
    return STATUS_OK;
}

enum status places_stay(struct places *places, struct sequence *sequence)
{
    struct resident *resident;
    struct panel_moves moves;
    const int64_t last = sequence->job.request->count - 1;
    panel_table_trim(sequence->panels, &moves, places->pool,
                     ownership_live_first(sequence->ownership, last, sequence->method.reach));
    TRY(forward_move(places->device, &moves));
    TRY(residents_add(&places->residents, &resident, sequence));
    places->slots_held += resident->slots_held;
    sequence->result.resident_slots = resident->slots_held;
    return STATUS_OK;
}

void places_let_go(struct places *places, uint64_t number)
{
    places->slots_held -= residents_let_go(&places->residents, places->pool, number);
}

/* ---- beginning and ending ---- */

/* Room for the sequence's own panels and, on several ranks, for copies of those found; on one rank
 * it holds the found ones too. */
static enum status take_slots(struct places *places, struct sequence *sequence,
                              struct sequence_place *place, struct found *found)
{
    const bool copies = places->device->group.workers > 1;
    TRY(list_found(found, places, sequence));
    const int64_t panel_slots = place->panels.panel_slots;
    place->slots_held += panel_slots * (copies ? found->most : -found->count);
    place->panels.slots += panel_slots * (copies ? found->count : -found->count);
    make_room(places, place->slots_held);
    TRY(take_run(places, &place->panels));
    for (int64_t p = 0; p < found->count; p++) /* closing up may have moved them */
        found->slots[p] =
            prefix_index_panel(places->prefixes, sequence->prefix[found->panels[p]]).slot;
    if (copies)
        return STATUS_OK;
    for (int64_t p = 0; p < found->count; p++)
        panel_pool_hold(places->pool, found->slots[p], panel_slots);
    place->panels.shared_panels = found->panels;
    place->panels.shared_slots = found->slots;
    place->panels.shared = found->count;
    return STATUS_OK;
}

static enum status settle(struct places *places, struct sequence *sequence,
                          struct sequence_place *place, struct found *found)
{
    enum status status = STATUS_OK;
    if (sequence->resident)
        TRY_ELSE(take_slots_after(places, sequence, place, found), leave);
    else
        TRY_ELSE(take_slots(places, sequence, place, found), leave);
    TRY_ELSE(sequence_settle(sequence, place), release);
    places->sequences[place->which] = sequence;
    places->slots_held += place->slots_held;
    if (sequence->job.request->kind != ENGINE_SAVE) /* which only reads its resident's panels */
        status = sequence->resident ? take_resident(places, sequence, found)
                                    : take_prefix(places, sequence, found);
    if (status != STATUS_OK)
        places_end(places, sequence);
    return status;
release:
    panel_pool_release(places->pool, place->panels.first, place->panels.slots);
    for (int64_t p = 0; p < place->panels.shared; p++)
        panel_pool_release(places->pool, found->slots[p], place->panels.panel_slots);
leave:
    prefix_index_leave(places->prefixes, sequence->prefix, sequence->prefix_count);
    leave_resident(places, sequence);
    sequence_deinit(sequence);
    return status;
}

static enum status begin(struct places *places, struct sequence *sequence,
                         const struct sequence_start *start, struct memory_need *needs)
{
    const struct device *device = places->device;
    const int which = free_place(places);
    struct found found = {0};
    int64_t slots;
    TRY(needs_of(needs, &slots, places, start->choice, start->job->request));
    const struct memory_need *mine = &needs[places->rank];
    assert(which < device->group.sequences);
    struct sequence_place place = {
        .which = which,
        .slots_held = slots,
        .ids = places->ids + which * device->group.context_tokens,
        .vocab = device->shape.vocab,
        .sampler_bytes = memory_sampler_bytes(&device->shape),
        .draft_bytes = memory_draft_bytes(device->group.context_tokens),
        .panels = {.slots = mine->slots,
                   .panel_slots = mine->panel_slots,
                   .sink_panels = mine->sink_panels,
                   .sink_slots = mine->sink_slots},
    };
    if (places->samplers)
        place.sampler_memory = places->samplers + which * place.sampler_bytes;
    if (places->drafts)
        place.draft_memory = places->drafts + which * place.draft_bytes;
    sequence_init(sequence, start, device->spec);
    enum status status = open_resident(places, sequence, start->job->request);
    if (status == STATUS_OK)
        status = open_prefix(sequence, start->job->request);
    if (status == STATUS_OK)
        find_prefix(places, sequence, start, slots, mine->panel_slots);
    if (status == STATUS_OK)
        status = settle(places, sequence, &place, &found);
    else
        sequence_deinit(sequence);
    free(found.panels);
    free(found.slots);
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
    leave_prefix(places, sequence);
    leave_resident(places, sequence);
    panel_table_release(sequence->panels, places->pool);
    places->sequences[sequence->place.which] = NULL;
    places->slots_held -= sequence->place.slots_held;
    sequence_deinit(sequence);
}
