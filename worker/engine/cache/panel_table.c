/* Owns the map from panels to slots. Promises that a live panel stays where it is but for the moves
 * that it tells. */
#include "worker/engine/cache/panel_table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    int64_t panel; /* index / BANDS_LANES */
    int64_t slot;  /* its first */
};

struct panel_table {
    int64_t first, slots; /* the run of own slots */
    int64_t panel_slots;
    int64_t sink_panels, sink_slots;
    int64_t room;   /* own panels */
    int64_t shared; /* entries in slots of others, the first ones */
    int64_t count;
    struct entry *entries; /* [shared + room], `count` used, ascending by panel */
    bool *taken;           /* [room] */
    struct panel_move *moves;
    int64_t held;        /* panels of others that the table was given */
    int64_t *held_slots; /* [held] */
};

enum status panel_table_create(struct panel_table **out, const struct panel_table_place *place)
{
    const int64_t own =
        (place->slots - place->sink_panels * place->sink_slots) / place->panel_slots;
    const size_t room = (size_t)(place->shared + own) + 1;
    struct panel_table *table = malloc(sizeof *table);
    struct entry *entries = calloc(room, sizeof *entries);
    bool *taken = calloc((size_t)own + 1, sizeof *taken);
    struct panel_move *moves = calloc(2 * room, sizeof *moves);
    int64_t *held_slots = calloc(room, sizeof *held_slots);
    if (!table || !entries || !taken || !moves || !held_slots) {
        free(table);
        free(entries);
        free(taken);
        free(moves);
        free(held_slots);
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the map of %lld cache slots",
                    (long long)place->slots);
    }
    *table = (struct panel_table){
        .first = place->first,
        .slots = place->slots,
        .panel_slots = place->panel_slots,
        .sink_panels = place->sink_panels,
        .sink_slots = place->sink_slots,
        .room = own,
        .shared = place->shared,
        .count = place->shared,
        .entries = entries,
        .taken = taken,
        .moves = moves,
        .held = place->shared,
        .held_slots = held_slots,
    };
    for (int64_t p = 0; p < place->shared; p++) {
        entries[p] = (struct entry){place->shared_panels[p], place->shared_slots[p]};
        held_slots[p] = place->shared_slots[p];
    }
    *out = table;
    return STATUS_OK;
}

void panel_table_release(struct panel_table *table, struct panel_pool *pool)
{
    if (!table)
        return;
    panel_pool_release(pool, table->first, table->slots);
    for (int64_t h = 0; h < table->held; h++)
        panel_pool_release(pool, table->held_slots[h], table->panel_slots);
    table->slots = table->held = 0;
}

void panel_table_destroy(struct panel_table *table)
{
    if (!table)
        return;
    free(table->held_slots);
    free(table->entries);
    free(table->taken);
    free(table->moves);
    free(table);
}

/* The slot of own panel number `own`, and back. */
static int64_t slot_of(const struct panel_table *table, int64_t own)
{
    return table->first + table->sink_panels * table->sink_slots + own * table->panel_slots;
}

static int64_t own_of(const struct panel_table *table, int64_t slot)
{
    return (slot - slot_of(table, 0)) / table->panel_slots;
}

static void drop_before(struct panel_table *table, int64_t live_first)
{
    int64_t dead = 0;
    while (dead < table->count && (table->entries[dead].panel + 1) * BANDS_LANES <= live_first) {
        if (dead >= table->shared)
            table->taken[own_of(table, table->entries[dead].slot)] = false;
        dead++;
    }
    table->count -= dead;
    table->shared -= dead < table->shared ? dead : table->shared;
    memmove(table->entries, table->entries + dead, (size_t)table->count * sizeof *table->entries);
}

/* Moves own panels down to the first own slots, in order. Slots ascend with panels until decode
 * starts, so each move goes down. */
static void close_ranks(struct panel_table *table, struct panel_moves *moves)
{
    int64_t to = slot_of(table, 0);
    for (int64_t e = table->shared; e < table->count; e++, to += table->panel_slots) {
        const int64_t from = table->entries[e].slot;
        assert(from >= to);
        if (from == to)
            continue;
        table->moves[moves->count++] = (struct panel_move){from, to};
        table->taken[own_of(table, from)] = false;
        table->taken[own_of(table, to)] = true;
        table->entries[e].slot = to;
    }
}

void panel_table_trim(struct panel_table *table, struct panel_moves *moves, struct panel_pool *pool,
                      int64_t live_first)
{
    *moves = (struct panel_moves){.list = table->moves, .slots = table->panel_slots};
    drop_before(table, live_first);
    close_ranks(table, moves);
    const int64_t end = slot_of(table, table->count - table->shared);
    panel_pool_release(pool, end, table->first + table->slots - end);
    table->slots = end - table->first;
    table->room = table->count - table->shared;
}

static enum status add(struct panel_table *table, struct panel_moves *moves, int64_t panel,
                       bool clear)
{
    int64_t own = 0;
    while (own < table->room && table->taken[own])
        own++;
    if (own == table->room)
        return fail(STATUS_INTERNAL,
                    "the plan gave the cache %lld panels, and panel %lld finds none free",
                    (long long)table->room, (long long)panel);
    table->taken[own] = true;
    table->entries[table->count++] = (struct entry){panel, slot_of(table, own)};
    if (clear)
        table->moves[moves->count++] = (struct panel_move){-1, slot_of(table, own)};
    return STATUS_OK;
}

enum status panel_table_adopt(struct panel_table *table, struct panel_moves *moves,
                              const int64_t *panels, const int64_t *slots, int64_t count)
{
    *moves = (struct panel_moves){.list = table->moves, .slots = table->panel_slots};
    for (int64_t p = 0; p < count; p++) {
        TRY(add(table, moves, panels[p], false));
        table->moves[moves->count++] =
            (struct panel_move){slots[p], table->entries[table->count - 1].slot};
    }
    return STATUS_OK;
}

static bool holds_last(const struct panel_table *table, int64_t panel)
{
    return table->count > 0 && table->entries[table->count - 1].panel == panel;
}

enum status panel_table_stage(struct panel_table *table, struct panel_moves *moves,
                              const struct ownership *ownership, int rank, struct span stage,
                              int64_t live_first)
{
    *moves = (struct panel_moves){.list = table->moves, .slots = table->panel_slots};
    drop_before(table, live_first);
    close_ranks(table, moves);
    struct owned_span owned;
    for (int64_t index = stage.first; ownership_next(ownership, &index, stage.end, &owned);) {
        if (owned.owner != rank || owned.span.first == owned.span.end)
            continue;
        const int64_t last = (owned.span.end - 1) / BANDS_LANES;
        for (int64_t panel = owned.span.first / BANDS_LANES; panel <= last; panel++) {
            const bool filled = panel * BANDS_LANES >= owned.span.first &&
                                (panel + 1) * BANDS_LANES <= owned.span.end;
            if (!holds_last(table, panel))
                TRY(add(table, moves, panel, !filled));
        }
    }
    return STATUS_OK;
}

enum status panel_table_append(struct panel_table *table, struct panel_moves *moves, int64_t index,
                               int64_t live_first)
{
    *moves = (struct panel_moves){.list = table->moves, .slots = table->panel_slots};
    if (holds_last(table, index / BANDS_LANES))
        return STATUS_OK;
    drop_before(table, live_first);
    return add(table, moves, index / BANDS_LANES, true);
}

enum status panel_table_take(struct panel_table *table, int64_t panel)
{
    struct panel_moves none = {.list = table->moves};
    assert(table->shared == 0);
    TRY(add(table, &none, panel, false));
    const struct entry taken = table->entries[table->count - 1];
    int64_t at = table->count - 1;
    for (; at > 0 && table->entries[at - 1].panel > panel; at--)
        table->entries[at] = table->entries[at - 1];
    table->entries[at] = taken;
    return STATUS_OK;
}

void panel_table_retreat(struct panel_table *table, int64_t tokens)
{
    while (table->count > table->shared &&
           table->entries[table->count - 1].panel * BANDS_LANES >= tokens) {
        table->count--;
        table->taken[own_of(table, table->entries[table->count].slot)] = false;
    }
}

void panel_table_drop(struct panel_table *table, int64_t live_first)
{
    drop_before(table, live_first);
}

static int64_t find(const struct panel_table *table, int64_t panel)
{
    int64_t low = 0;
    int64_t high = table->count;
    while (low < high) {
        const int64_t middle = (low + high) / 2;
        if (table->entries[middle].panel < panel)
            low = middle + 1;
        else
            high = middle;
    }
    assert(low < table->count && table->entries[low].panel == panel);
    return low;
}

int64_t panel_table_slot(const struct panel_table *table, int64_t index)
{
    return table->entries[find(table, index / BANDS_LANES)].slot;
}

int64_t panel_table_extent(const struct panel_table *table, int64_t *index, int64_t end)
{
    const struct entry *entries = table->entries;
    int64_t e = find(table, *index / BANDS_LANES);
    const int64_t first = entries[e].slot;
    while (e + 1 < table->count && (entries[e].panel + 1) * BANDS_LANES < end &&
           entries[e + 1].panel == entries[e].panel + 1 &&
           entries[e + 1].slot == entries[e].slot + table->panel_slots)
        e++;
    const int64_t extent_end = (entries[e].panel + 1) * BANDS_LANES;
    *index = extent_end < end ? extent_end : end;
    return first;
}

int64_t panel_table_panel_slots(const struct panel_table *table)
{
    return table->panel_slots;
}

int64_t panel_table_sink_slots(const struct panel_table *table)
{
    return table->sink_slots;
}

int64_t panel_table_sinks(const struct panel_table *table)
{
    return table->first;
}

void panel_table_renumber(struct panel_table *table, const int64_t *to)
{
    for (int64_t e = 0; e < table->count; e++)
        table->entries[e].slot = to[table->entries[e].slot];
    for (int64_t h = 0; h < table->held; h++)
        table->held_slots[h] = to[table->held_slots[h]];
    if (table->slots > 0)
        table->first = to[table->first];
}
