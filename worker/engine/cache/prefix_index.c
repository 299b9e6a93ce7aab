/* Owns the forest of panels. Promises that two ranks that are told the same have the same entries,
 * by the same numbers. */
#include "worker/engine/cache/prefix_index.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    bool taken;
    bool let_out;
    uint64_t hash; /* of the root, and all ids up to here */
    int parent;    /* -1: none */
    int next;      /* in the bucket; -1: the last */
    int children;
    int users;
    int64_t used_at;
    char *root; /* of a first panel */
    int32_t ids[BANDS_LANES];
    struct prefix_panel panel;
};

struct prefix_index {
    int ranks;
    int count, room; /* entries [0, count) have been used */
    struct entry *entries;
    int *buckets; /* [bucket_count], a power of two */
    int bucket_count;
    int64_t now;
    int64_t *slots[2]; /* [ranks] let out: all, and used */
};

enum { FIRST_ROOM = 64 };

static uint64_t mix(uint64_t hash, const void *bytes, size_t count)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; i < count; i++)
        hash = (hash ^ at[i]) * UINT64_C(0x100000001b3);
    return hash ^ hash >> 29;
}

enum status prefix_index_create(struct prefix_index **out, int ranks)
{
    struct prefix_index *index = calloc(1, sizeof *index);
    if (!index)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the index of prefixes");
    index->ranks = ranks;
    index->slots[0] = calloc((size_t)ranks, sizeof *index->slots[0]);
    index->slots[1] = calloc((size_t)ranks, sizeof *index->slots[1]);
    if (!index->slots[0] || !index->slots[1]) {
        prefix_index_destroy(index);
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the index of prefixes");
    }
    *out = index;
    return STATUS_OK;
}

void prefix_index_destroy(struct prefix_index *index)
{
    if (!index)
        return;
    for (int e = 0; e < index->count; e++)
        free(index->entries[e].root);
    free(index->entries);
    free(index->buckets);
    free(index->slots[0]);
    free(index->slots[1]);
    free(index);
}

/* ---- finding ---- */

static uint64_t hash_of(const struct prefix_index *index, const char *root, int parent,
                        const int32_t *ids)
{
    const uint64_t before = parent >= 0 ? index->entries[parent].hash
                                        : mix(UINT64_C(0xcbf29ce484222325), root, strlen(root));
    return mix(before, ids, BANDS_LANES * sizeof *ids);
}

static bool is_it(const struct entry *entry, const char *root, int parent, const int32_t *ids)
{
    return entry->parent == parent && (parent >= 0 || strcmp(entry->root, root) == 0) &&
           memcmp(entry->ids, ids, sizeof entry->ids) == 0;
}

static int find(const struct prefix_index *index, const char *root, int parent, const int32_t *ids)
{
    if (index->bucket_count == 0)
        return -1;
    const uint64_t hash = hash_of(index, root, parent, ids);
    int e = index->buckets[hash & (uint64_t)(index->bucket_count - 1)];
    while (e >= 0 && !is_it(&index->entries[e], root, parent, ids))
        e = index->entries[e].next;
    return e;
}

int64_t prefix_index_find(const struct prefix_index *index, const char *root, const int32_t *ids,
                          int64_t count, int *entries)
{
    int64_t panels = 0;
    int parent = -1;
    while ((panels + 1) * BANDS_LANES <= count) {
        parent = find(index, root, parent, ids + panels * BANDS_LANES);
        if (parent < 0)
            break;
        entries[panels++] = parent;
    }
    return panels;
}

struct prefix_panel prefix_index_panel(const struct prefix_index *index, int entry)
{
    return index->entries[entry].panel;
}

/* ---- adding ---- */

static void link_entry(struct prefix_index *index, int e)
{
    int *bucket = &index->buckets[index->entries[e].hash & (uint64_t)(index->bucket_count - 1)];
    index->entries[e].next = *bucket;
    *bucket = e;
}

static enum status grow(struct prefix_index *index)
{
    const int room = index->room > 0 ? 2 * index->room : FIRST_ROOM;
    int *buckets = malloc((size_t)room * sizeof *buckets);
    struct entry *entries =
        buckets ? reallocarray(index->entries, (size_t)room, sizeof *entries) : NULL;
    if (!entries) {
        free(buckets);
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for an index of %d panels", room);
    }
    free(index->buckets);
    index->entries = entries;
    index->buckets = buckets;
    index->room = index->bucket_count = room;
    for (int b = 0; b < room; b++)
        buckets[b] = -1;
    for (int e = 0; e < index->count; e++)
        if (entries[e].taken)
            link_entry(index, e);
    return STATUS_OK;
}

static enum status free_entry(struct prefix_index *index, int *entry)
{
    int e = 0;
    while (e < index->count && index->entries[e].taken)
        e++;
    if (e == index->room)
        TRY(grow(index));
    index->count += e == index->count;
    *entry = e;
    return STATUS_OK;
}

enum status prefix_index_add(struct prefix_index *index, int *entry, bool *added, const char *root,
                             int parent, const int32_t *ids, const struct prefix_panel *panel)
{
    int e = find(index, root, parent, ids);
    *added = e < 0;
    if (*added) {
        TRY(free_entry(index, &e));
        struct entry *made = &index->entries[e];
        *made = (struct entry){
            .hash = hash_of(index, root, parent, ids), .parent = parent, .panel = *panel};
        memcpy(made->ids, ids, sizeof made->ids);
        if (parent < 0) {
            made->root = strdup(root);
            if (!made->root)
                return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a prefix");
        } else {
            index->entries[parent].children++;
        }
        made->taken = true;
        link_entry(index, e);
    }
    *entry = e;
    return STATUS_OK;
}

/* ---- users ---- */

static void count_slot(struct prefix_index *index, const struct entry *entry, bool used, int64_t by)
{
    if (entry->let_out)
        index->slots[used][entry->panel.owner] += by * entry->panel.slots;
}

void prefix_index_use(struct prefix_index *index, const int *entries, int64_t count)
{
    index->now++;
    for (int64_t n = 0; n < count; n++) {
        struct entry *entry = &index->entries[entries[n]];
        if (entry->users++ == 0)
            count_slot(index, entry, true, 1);
        entry->used_at = index->now;
    }
}

void prefix_index_leave(struct prefix_index *index, const int *entries, int64_t count)
{
    for (int64_t n = 0; n < count; n++) {
        struct entry *entry = &index->entries[entries[n]];
        assert(entry->users > 0);
        if (--entry->users == 0)
            count_slot(index, entry, true, -1);
    }
}

void prefix_index_let_out(struct prefix_index *index, int entry)
{
    struct entry *out = &index->entries[entry];
    assert(!out->let_out);
    out->let_out = true;
    count_slot(index, out, false, 1);
    if (out->users > 0)
        count_slot(index, out, true, 1);
}

int64_t prefix_index_slots(const struct prefix_index *index, bool used)
{
    int64_t most = 0;
    for (int rank = 0; rank < index->ranks; rank++)
        most = index->slots[used][rank] > most ? index->slots[used][rank] : most;
    return most;
}

/* ---- going ---- */

static void unlink_entry(struct prefix_index *index, int e)
{
    int *at = &index->buckets[index->entries[e].hash & (uint64_t)(index->bucket_count - 1)];
    while (*at != e)
        at = &index->entries[*at].next;
    *at = index->entries[e].next;
}

bool prefix_index_evict(struct prefix_index *index, struct prefix_panel *panel)
{
    int oldest = -1;
    for (int e = 0; e < index->count; e++) {
        const struct entry *entry = &index->entries[e];
        if (entry->taken && entry->let_out && entry->users == 0 && entry->children == 0 &&
            (oldest < 0 || entry->used_at < index->entries[oldest].used_at))
            oldest = e;
    }
    if (oldest < 0)
        return false;
    struct entry *entry = &index->entries[oldest];
    unlink_entry(index, oldest);
    count_slot(index, entry, false, -1);
    if (entry->parent >= 0)
        index->entries[entry->parent].children--;
    free(entry->root);
    *panel = entry->panel;
    *entry = (struct entry){0};
    return true;
}

void prefix_index_renumber(struct prefix_index *index, const int64_t *to)
{
    for (int e = 0; e < index->count; e++) {
        struct entry *entry = &index->entries[e];
        if (entry->taken && entry->panel.slot >= 0)
            entry->panel.slot = to[entry->panel.slot];
    }
}
