/* Owns the panels that are held: a table of chains by hash, and a list by their last use. Promises
 * that a panel with users stays. */
#include "tests/support/echo_prefixes.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>

struct panel {
    uint64_t name;
    int64_t users;
    struct panel *next;          /* in its chain */
    struct panel *older, *newer; /* by last use; both NULL while it has users */
};

struct echo_prefixes {
    int64_t count, room; /* 0: no limit */
    struct panel **chains;
    size_t chain_count; /* a power of two */
    struct panel idle;  /* idle.newer is the oldest without users, idle.older the newest */
};

enum { FIRST_CHAINS = 1024 };

enum status echo_prefixes_create(struct echo_prefixes **out, int64_t room)
{
    struct echo_prefixes *prefixes = calloc(1, sizeof *prefixes);
    struct panel **chains = calloc(FIRST_CHAINS, sizeof(struct panel *));
    if (!prefixes || !chains) {
        free(prefixes);
        free(chains);
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the prefixes");
    }
    prefixes->room = room;
    prefixes->chains = chains;
    prefixes->chain_count = FIRST_CHAINS;
    prefixes->idle.newer = prefixes->idle.older = &prefixes->idle;
    *out = prefixes;
    return STATUS_OK;
}

void echo_prefixes_destroy(struct echo_prefixes *prefixes)
{
    if (!prefixes)
        return;
    for (size_t c = 0; c < prefixes->chain_count; c++)
        for (struct panel *panel = prefixes->chains[c], *next; panel; panel = next) {
            next = panel->next;
            free(panel);
        }
    free(prefixes->chains);
    free(prefixes);
}

int64_t echo_prefixes_count(const struct echo_prefixes *prefixes)
{
    return prefixes->count;
}

int64_t echo_prefixes_name(uint64_t *names, const char *tenant, const int32_t *ids, int64_t count)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    int64_t panels = 0;
    for (const char *at = tenant; *at; at++)
        hash = (hash ^ (unsigned char)*at) * UINT64_C(0x100000001b3);
    for (int64_t i = 0; i < count; i++) {
        hash = (hash ^ (uint32_t)ids[i]) * UINT64_C(0x100000001b3);
        hash ^= hash >> 29;
        if ((i + 1) % ECHO_PREFIXES_PANEL == 0)
            names[panels++] = hash;
    }
    return panels;
}

/* ---- the table ---- */

static struct panel **chain_of(const struct echo_prefixes *prefixes, uint64_t name)
{
    return &prefixes->chains[(name ^ name >> 32) & (prefixes->chain_count - 1)];
}

static struct panel *find(const struct echo_prefixes *prefixes, uint64_t name)
{
    struct panel *panel = *chain_of(prefixes, name);
    while (panel && panel->name != name)
        panel = panel->next;
    return panel;
}

/* Where there is no memory for more chains, they become longer. */
static void widen(struct echo_prefixes *prefixes)
{
    struct panel **before = prefixes->chains;
    const size_t before_count = prefixes->chain_count;
    struct panel **chains = calloc(2 * before_count, sizeof(struct panel *));
    if (!chains)
        return;
    prefixes->chains = chains;
    prefixes->chain_count = 2 * before_count;
    for (size_t c = 0; c < before_count; c++)
        for (struct panel *panel = before[c], *next; panel; panel = next) {
            next = panel->next;
            struct panel **chain = chain_of(prefixes, panel->name);
            panel->next = *chain;
            *chain = panel;
        }
    free(before);
}

/* ---- uses ---- */

static void use(struct panel *panel)
{
    if (panel->users++ > 0)
        return;
    if (panel->newer) { /* one that is new is in no list */
        panel->newer->older = panel->older;
        panel->older->newer = panel->newer;
    }
    panel->newer = panel->older = NULL;
}

static void leave(struct echo_prefixes *prefixes, struct panel *panel)
{
    assert(panel->users > 0);
    if (--panel->users > 0)
        return;
    struct panel *newest = prefixes->idle.older;
    panel->older = newest;
    panel->newer = &prefixes->idle;
    newest->newer = panel;
    prefixes->idle.older = panel;
}

/* False when all that is held is in use. */
static bool let_one_go(struct echo_prefixes *prefixes)
{
    struct panel *oldest = prefixes->idle.newer;
    if (oldest == &prefixes->idle)
        return false;
    oldest->newer->older = oldest->older;
    oldest->older->newer = oldest->newer;
    struct panel **link = chain_of(prefixes, oldest->name);
    while (*link != oldest)
        link = &(*link)->next;
    *link = oldest->next;
    free(oldest);
    prefixes->count--;
    return true;
}

int64_t echo_prefixes_find(struct echo_prefixes *prefixes, const uint64_t *names, int64_t count)
{
    int64_t found = 0;
    struct panel *panel;
    while (found < count && (panel = find(prefixes, names[found]))) {
        use(panel);
        found++;
    }
    return found;
}

static enum status add(struct echo_prefixes *prefixes, uint64_t name)
{
    struct panel *panel = calloc(1, sizeof *panel);
    if (!panel)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a prefix");
    if (prefixes->count >= (int64_t)prefixes->chain_count)
        widen(prefixes);
    struct panel **chain = chain_of(prefixes, name);
    panel->name = name;
    panel->next = *chain;
    *chain = panel;
    prefixes->count++;
    use(panel);
    return STATUS_OK;
}

enum status echo_prefixes_add(struct echo_prefixes *prefixes, int64_t *added, const uint64_t *names,
                              int64_t count)
{
    for (*added = 0; *added < count; ++*added) {
        struct panel *panel = find(prefixes, names[*added]);
        if (panel) {
            use(panel);
            continue;
        }
        if (prefixes->room > 0 && prefixes->count >= prefixes->room && !let_one_go(prefixes))
            return STATUS_OK;
        TRY(add(prefixes, names[*added]));
    }
    return STATUS_OK;
}

/* The first panel last: so it is the newest. */
void echo_prefixes_leave(struct echo_prefixes *prefixes, const uint64_t *names, int64_t count)
{
    for (int64_t n = count; n-- > 0;) {
        struct panel *panel = find(prefixes, names[n]);
        assert(panel);
        leave(prefixes, panel);
    }
}
