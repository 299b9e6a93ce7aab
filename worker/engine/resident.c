/* Owns what stays of requests. Promises that panels stay as long as somebody reads them. */
#include "worker/engine/resident.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/plan/schedule.h"

/* ---- the list ---- */

static void destroy(struct resident *resident)
{
    if (!resident)
        return;
    ownership_destroy(resident->ownership);
    panel_table_destroy(resident->panels);
    free(resident->tenant);
    free(resident->ids);
    free(resident);
}

void residents_deinit(struct residents *residents)
{
    for (int r = 0; r < residents->count; r++)
        destroy(residents->list[r]);
    free(residents->list);
    *residents = (struct residents){0};
}

struct resident *residents_find(const struct residents *residents, uint64_t number)
{
    for (int r = 0; r < residents->count; r++)
        if (residents->list[r]->number == number && !residents->list[r]->leaving)
            return residents->list[r];
    return NULL;
}

/* Of live panels and sinks, on the rank that holds most. */
static int64_t count_slots(const struct resident *resident, int sink_panels)
{
    const int64_t first =
        ownership_live_first(resident->ownership, resident->count - 1, resident->reach);
    int64_t most = 0;
    for (int rank = 0; rank < resident->choice.group.workers; rank++) {
        int64_t panels = 0;
        struct owned_span owned;
        for (int64_t index = first;
             ownership_next(resident->ownership, &index, resident->count, &owned);)
            if (owned.owner == rank)
                panels += (owned.span.end + BANDS_LANES - 1) / BANDS_LANES -
                          owned.span.first / BANDS_LANES;
        most = panels > most ? panels : most;
    }
    return most * panel_table_panel_slots(resident->panels) +
           sink_panels * panel_table_sink_slots(resident->panels);
}

static enum status make(struct resident **made, const struct sequence *sequence)
{
    const struct engine_request *request = sequence->job.request;
    struct resident *resident = calloc(1, sizeof *resident);
    *made = resident;
    if (resident) {
        *resident = (struct resident){
            .number = sequence->number,
            .choice = sequence->choice,
            .tenant = strdup(request->tenant ? request->tenant : ""),
            .ids = malloc((size_t)request->count * sizeof *resident->ids),
            .count = request->count,
            .reach = sequence->method.reach,
            .sinks = sequence->sinks,
        };
    }
    if (!resident || !resident->tenant || !resident->ids)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %lld tokens that stay",
                    (long long)request->count);
    memcpy(resident->ids, request->ids, (size_t)request->count * sizeof *resident->ids);
    return STATUS_OK;
}

static enum status reserve(struct residents *residents)
{
    if (residents->count < residents->room)
        return STATUS_OK;
    const int room = 2 * residents->room + 16;
    struct resident **list = reallocarray(residents->list, (size_t)room, sizeof *list);
    if (!list)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a list of %d residents", room);
    residents->list = list;
    residents->room = room;
    return STATUS_OK;
}

enum status residents_add(struct residents *residents, struct resident **added,
                          struct sequence *sequence)
{
    struct resident *resident = NULL;
    enum status status = reserve(residents);
    if (status == STATUS_OK)
        status = make(&resident, sequence);
    if (status != STATUS_OK) {
        destroy(resident);
        return status;
    }
    resident->ownership = sequence->ownership;
    resident->panels = sequence->panels;
    sequence->ownership = NULL;
    sequence->panels = NULL;
    resident->slots_held = count_slots(resident, (int)sequence->place.panels.sink_panels);
    residents->list[residents->count++] = resident;
    *added = resident;
    return STATUS_OK;
}

static int64_t end(struct residents *residents, struct panel_pool *pool, struct resident *resident)
{
    const int64_t slots = resident->slots_held;
    int at = 0;
    while (residents->list[at] != resident)
        at++;
    residents->count--;
    memmove(residents->list + at, residents->list + at + 1,
            (size_t)(residents->count - at) * sizeof *residents->list);
    panel_table_release(resident->panels, pool);
    destroy(resident);
    return slots;
}

int64_t residents_let_go(struct residents *residents, struct panel_pool *pool, uint64_t number)
{
    struct resident *resident = residents_find(residents, number);
    if (!resident)
        return 0;
    resident->leaving = true;
    return resident->users == 0 ? end(residents, pool, resident) : 0;
}

int64_t residents_leave(struct residents *residents, struct panel_pool *pool,
                        struct resident *resident)
{
    assert(resident->users > 0);
    resident->users--;
    return resident->leaving && resident->users == 0 ? end(residents, pool, resident) : 0;
}

/* ---- going on from one ---- */

static bool is_alike(const struct resident *resident, const struct choice *choice)
{
    char theirs[METHOD_TEXT_BYTES], ours[METHOD_TEXT_BYTES];
    struct bands bands;
    method_print(&resident->choice.request.method, theirs);
    method_print(&choice->request.method, ours);
    choice_bands(choice, &bands);
    return strcmp(theirs, ours) == 0 &&
           schedule_keeps_sinks(choice, &bands) == (resident->sinks > 0);
}

enum status resident_check(const struct resident *resident, const struct choice *choice,
                           const struct engine_request *request)
{
    const char *tenant = request->tenant ? request->tenant : "";
    if (!resident || strcmp(resident->tenant, tenant) != 0)
        return fail(STATUS_NOT_FOUND,
                    "run %llu left no tokens here, or they were let go: read them again",
                    (unsigned long long)request->goes_on_from);
    const int64_t reused = resident_reused(resident, request);
    if (request->kind == ENGINE_SAVE &&
        (request->count != resident->count || reused != resident->count - 1))
        return fail(STATUS_INVALID_ARGUMENT,
                    "the tokens to save are not the %lld that stayed: they are saved whole",
                    (long long)resident->count);
    if (reused < 1 && request->kind != ENGINE_SAVE)
        return fail(STATUS_INVALID_ARGUMENT,
                    "the prompt does not begin with the %lld tokens that it is to go on from",
                    (long long)resident->count);
    if (resident->reach != BANDS_OPEN && reused < resident->count - 1)
        return fail(STATUS_INVALID_ARGUMENT,
                    "the prompt begins with %lld of the %lld tokens that it is to go on from; by a "
                    "method that forgets keys it must begin with all of them",
                    (long long)reused, (long long)resident->count);
    if (!is_alike(resident, choice))
        return fail(STATUS_INVALID_ARGUMENT,
                    "the prompt's method sees other positions than that of the %lld tokens that it "
                    "is to go on from: ask with the same method",
                    (long long)resident->count);
    return STATUS_OK;
}

int64_t resident_reused(const struct resident *resident, const struct engine_request *request)
{
    const int64_t most = request->count < resident->count ? request->count : resident->count;
    int64_t alike = 0;
    while (alike < most && request->ids[alike] == resident->ids[alike])
        alike++;
    const bool again = request->kind == ENGINE_SCORE || request->count == alike;
    return alike > 0 ? alike - again : 0;
}

bool resident_is_shared(const struct resident *resident, const struct choice *choice)
{
    return resident->reach == BANDS_OPEN && resident->sinks == 0 && !choice_is_home(choice);
}

enum status resident_needs(struct memory_need *needs, const struct choice *choice,
                           const struct resident *resident, const struct engine_request *request)
{
    const int workers = choice->group.workers;
    struct ownership *before;
    if (!resident)
        return memory_need_make(needs, choice, 0, workers);
    if (request->kind == ENGINE_SAVE) {
        for (int rank = 0; rank < workers; rank++)
            needs[rank] = (struct memory_need){
                .panel_slots = panel_table_panel_slots(resident->panels),
                .sink_slots = panel_table_sink_slots(resident->panels),
            };
        return STATUS_OK;
    }
    TRY(ownership_fork(&before, resident->ownership, resident_reused(resident, request)));
    const enum status status =
        memory_need_after(needs, choice, before, resident_is_shared(resident, choice), 0, workers);
    ownership_destroy(before);
    return status;
}

int64_t resident_panels(const struct resident *resident, int rank, struct span within,
                        int64_t *panels, int64_t *slots)
{
    int64_t count = 0;
    struct owned_span owned;
    for (int64_t index = within.first;
         ownership_next(resident->ownership, &index, within.end, &owned);) {
        const int64_t end = (owned.span.end + BANDS_LANES - 1) / BANDS_LANES;
        for (int64_t panel = owned.span.first / BANDS_LANES; owned.owner == rank && panel < end;
             panel++) {
            panels[count] = panel;
            slots[count++] = panel_table_slot(resident->panels, panel * BANDS_LANES);
        }
    }
    return count;
}
