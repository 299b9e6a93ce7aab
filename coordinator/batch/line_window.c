/* Owns the lines that wait here, a list for each tenant in the order in which they should begin.
 *
 * A walk through the store's waiting lines feeds each list. What all lines of a beginning wait for
 * need not be found out for each: once one of them has to wait, the others with the same beginning
 * of their order key are passed over, and the walk leaps behind them to what another group may
 * read meanwhile. A refresh begins the walks anew.
 */
#include "coordinator/batch/line_window.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/batch/store_line.h"

enum {
    PAGE_LINES = 64,   /* read from the store at a time */
    LINES_MAX = 256,   /* of one tenant that wait here */
    TENANTS_MAX = 256, /* that are looked at; the others' turn comes when one of these has ended */
    CLOSED_MAX = 16,   /* beginnings for which somebody waits */
};

/* A beginning of order keys whose lines have to wait. */
struct closed {
    uint8_t key[PANEL_CHAIN_KEY_BYTES];
    size_t bytes;
};

struct tenant {
    char name[LINE_RUN_TENANT_BYTES];
    struct line_run *first;
    size_t count;
    struct store_line_place place;
    bool at_end;   /* the walk has seen all lines */
    bool dropped;  /* it has let go of some again */
    bool waits;    /* it has lines in the store, at the last look */
    double served; /* tokens of prompts and longest answers, over its weight */
    struct closed closed[CLOSED_MAX];
    size_t closed_count;
};

struct line_window {
    struct line_window_settings settings;
    struct line_request_tools tools;
    struct tenant *tenants[TENANTS_MAX];
    size_t count;
    bool stale;
};

enum status line_window_create(struct line_window **window,
                               const struct line_window_settings *settings)
{
    struct line_window *made = calloc(1, sizeof *made);
    if (!made)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the lines that wait");
    made->settings = *settings;
    made->tools = (struct line_request_tools){settings->store, settings->forms};
    made->stale = true;
    *window = made;
    return STATUS_OK;
}

static void tenant_free(struct tenant *tenant)
{
    while (tenant->first) {
        struct line_run *line = tenant->first;
        tenant->first = line->next;
        line_run_free(line);
    }
    free(tenant);
}

void line_window_destroy(struct line_window *window)
{
    if (!window)
        return;
    for (size_t i = 0; i < window->count; i++)
        tenant_free(window->tenants[i]);
    free(window);
}

void line_window_refresh(struct line_window *window)
{
    window->stale = true;
}

/* ---- the order of lines ---- */

static bool goes_before(const struct line_run *a, const struct line_run *b)
{
    if (a->priority != b->priority)
        return a->priority > b->priority;
    if (a->batch != b->batch)
        return a->batch < b->batch;
    const size_t bytes =
        a->order_key_bytes < b->order_key_bytes ? a->order_key_bytes : b->order_key_bytes;
    const int order = memcmp(a->order_key, b->order_key, bytes);
    if (order != 0)
        return order < 0;
    return a->line < b->line;
}

static bool is_closed(const struct tenant *tenant, const void *key, size_t bytes)
{
    for (size_t i = 0; i < tenant->closed_count; i++)
        if (bytes >= tenant->closed[i].bytes &&
            memcmp(key, tenant->closed[i].key, tenant->closed[i].bytes) == 0)
            return true;
    return false;
}

/* The beginning that a line has in common with what it waits for: the hashes up to that depth. */
static void close_beginning(struct tenant *tenant, const struct line_run *line, int64_t panels)
{
    size_t depths = 0;
    for (int64_t depth = 1; depth <= panels && depths < PANEL_CHAIN_DEPTHS; depth *= 2)
        depths++;
    if (tenant->closed_count == CLOSED_MAX || 8 * depths > line->order_key_bytes)
        return;
    struct closed *closed = &tenant->closed[tenant->closed_count++];
    closed->bytes = 8 * depths;
    memcpy(closed->key, line->order_key, closed->bytes);
}

/* ---- feeding ---- */

struct feeding {
    struct line_window *window;
    struct tenant *tenant;
    size_t told, added;
};

static bool is_here(const struct tenant *tenant, const struct store_line *from)
{
    for (const struct line_run *line = tenant->first; line; line = line->next)
        if (line->batch == from->batch && line->line == from->line)
            return true;
    return false;
}

static void insert(struct tenant *tenant, struct line_run *line)
{
    struct line_run **link = &tenant->first;
    while (*link && goes_before(*link, line))
        link = &(*link)->next;
    line->next = *link;
    *link = line;
    if (++tenant->count <= LINES_MAX)
        return;
    while ((*link)->next)
        link = &(*link)->next;
    line_run_free(*link);
    *link = NULL;
    tenant->count--;
    tenant->dropped = true;
}

static enum status take_waiting(void *context, const struct store_line *from)
{
    struct feeding *feeding = context;
    const struct line_window_settings *settings = &feeding->window->settings;
    feeding->told++;
    if (is_closed(feeding->tenant, from->order_key, from->order_key_bytes) ||
        is_here(feeding->tenant, from) ||
        settings->known(settings->context, from->batch, from->line))
        return STATUS_OK;
    struct line_run *line = calloc(1, sizeof *line);
    if (!line)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a line that waits");
    snprintf(line->tenant, sizeof line->tenant, "%s", feeding->tenant->name);
    snprintf(line->batch_id, sizeof line->batch_id, "%s", from->batch_id);
    snprintf(line->custom_id, sizeof line->custom_id, "%s", from->custom_id ? from->custom_id : "");
    snprintf(line->cause, sizeof line->cause, "%s", from->cause ? from->cause : "");
    line->batch = from->batch;
    line->line = from->line;
    line->priority = from->priority;
    line->losses = from->losses;
    line->expires_us = from->expires_us;
    line->order_key_bytes = from->order_key_bytes < sizeof line->order_key ? from->order_key_bytes
                                                                           : sizeof line->order_key;
    memcpy(line->order_key, from->order_key, line->order_key_bytes);
    insert(feeding->tenant, line);
    feeding->added++;
    return STATUS_OK;
}

/* Where the walk stands among lines that are passed over, it goes on behind the last of them. */
static void leap(struct tenant *tenant)
{
    struct store_line_place *place = &tenant->place;
    for (size_t i = 0; i < tenant->closed_count; i++) {
        const struct closed *closed = &tenant->closed[i];
        if (!place->after || place->order_key_bytes < closed->bytes ||
            memcmp(place->order_key, closed->key, closed->bytes) != 0)
            continue;
        memset(place->order_key + closed->bytes, 0xFF, sizeof place->order_key - closed->bytes);
        place->order_key_bytes = sizeof place->order_key;
        place->line = INT64_MAX;
    }
}

static enum status feed(struct line_window *window, struct tenant *tenant, bool *more)
{
    struct feeding feeding = {.window = window, .tenant = tenant};
    if (tenant->at_end && tenant->dropped) {
        tenant->at_end = tenant->dropped = false;
        tenant->place = (struct store_line_place){.after = false};
    }
    while (!tenant->at_end && tenant->count < LINES_MAX && feeding.added == 0) {
        feeding.told = 0;
        leap(tenant);
        TRY(store_line_next(window->settings.store, tenant->name, &tenant->place, PAGE_LINES,
                            take_waiting, &feeding));
        tenant->at_end = feeding.told < PAGE_LINES;
    }
    *more = *more || feeding.added > 0;
    return STATUS_OK;
}

/* ---- tenants ---- */

static enum status take_tenant(void *context, const struct store_tenant *from)
{
    struct line_window *window = context;
    for (size_t i = 0; i < window->count; i++)
        if (strcmp(window->tenants[i]->name, from->name) == 0) {
            window->tenants[i]->waits = true;
            return STATUS_OK;
        }
    if (window->count == TENANTS_MAX)
        return STATUS_OK;
    struct tenant *tenant = calloc(1, sizeof *tenant);
    if (!tenant)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a tenant");
    snprintf(tenant->name, sizeof tenant->name, "%s", from->name);
    tenant->waits = true;
    /* Who comes has no claim on what others had before. */
    for (size_t i = 0; i < window->count; i++)
        if (i == 0 || window->tenants[i]->served < tenant->served)
            tenant->served = window->tenants[i]->served;
    window->tenants[window->count++] = tenant;
    return STATUS_OK;
}

static enum status look_again(struct line_window *window)
{
    for (size_t i = 0; i < window->count; i++)
        window->tenants[i]->waits = false;
    TRY(store_each_waiting_tenant(window->settings.store, take_tenant, window));
    for (size_t i = 0; i < window->count;) {
        struct tenant *tenant = window->tenants[i];
        tenant->at_end = tenant->dropped = false;
        tenant->closed_count = 0;
        tenant->place = (struct store_line_place){.after = false};
        if (tenant->waits || tenant->first) {
            i++;
            continue;
        }
        tenant_free(tenant);
        window->tenants[i] = window->tenants[--window->count];
    }
    window->stale = false;
    return STATUS_OK;
}

/* ---- taking ---- */

/* A line that is wrong has nothing that could be counted. */
static void count_served(const struct line_window *window, struct tenant *tenant,
                         const struct line_run *line)
{
    const int weight = window->settings.weight(window->settings.context, tenant->name);
    if (line->wrong == STATUS_OK)
        tenant->served +=
            ((double)line->request.ids.count + (double)line_request_answer_tokens(&line->request)) /
            weight;
}

/* The first of a tenant's lines that may begin; NULL in `*found` where none may. */
static enum status scan(struct line_window *window, struct tenant *tenant, struct line_run **found)
{
    for (struct line_run **link = &tenant->first; *link; link = &(*link)->next) {
        struct line_run *line = *link;
        if (is_closed(tenant, line->order_key, line->order_key_bytes) ||
            !window->settings.may_begin(window->settings.context, line))
            continue;
        TRY(line_run_prepare(line, &window->tools));
        const int64_t awaited =
            window->settings.awaited(window->settings.context, &line->request.chain);
        if (awaited > 0) {
            close_beginning(tenant, line, awaited);
            continue;
        }
        *link = line->next;
        line->next = NULL;
        tenant->count--;
        count_served(window, tenant, line);
        *found = line;
        return STATUS_OK;
    }
    return STATUS_OK;
}

/* Of the tenants that were not looked at the one that has had least of its share; NULL: none. */
static struct tenant *next_tenant(const struct line_window *window, const bool *looked,
                                  size_t *index)
{
    struct tenant *least = NULL;
    for (size_t i = 0; i < window->count; i++) {
        if (looked[i] || (least && window->tenants[i]->served >= least->served))
            continue;
        least = window->tenants[i];
        *index = i;
    }
    return least;
}

static enum status scan_all(struct line_window *window, struct line_run **found)
{
    bool looked[TENANTS_MAX] = {false};
    size_t index = 0;
    for (struct tenant *tenant; (tenant = next_tenant(window, looked, &index));
         looked[index] = true)
        for (bool more = true; more;) {
            more = false;
            TRY(scan(window, tenant, found));
            if (*found)
                return STATUS_OK;
            TRY(feed(window, tenant, &more));
        }
    return STATUS_OK;
}

enum status line_window_take(struct line_window *window, struct line_run **line)
{
    *line = NULL;
    if (window->stale)
        TRY(look_again(window));
    return scan_all(window, line);
}
