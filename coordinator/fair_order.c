/* Owns the tenants that have requests, and the sequence of those that wait. Promises that the
 * sequence depends on nothing but the calls and the times that they were told. */
#include "coordinator/fair_order.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SECOND_NS INT64_C(1000000000)

enum {
    RECENT_S = 10, /* a tenant that had a request so lately may come back: a place is kept for it */
    PACE_S = 1,    /* of work, over which a pace is measured */
    RETRY_LEAST_MS = 100,
    RETRY_MOST_MS = 60000,
    RETRY_UNKNOWN_MS = 2000, /* while no pace is known */
};

/* What the latest measure counts for in the pace of late. */
static const double PACE_FRESH = 0.3;

struct fair_tenant {
    struct fair_tenant *next;
    struct access_tenant facts;
    struct fair_ticket *first; /* that waits; by priority and stands_ns */
    int64_t waiting, waiting_tokens, running;
    double had; /* tokens of those that began, by weight */
    int64_t seen_ns;
    /* While a sequence is made. */
    struct fair_ticket *cursor;
    double will_have;
    int64_t chosen;
};

struct fair_order {
    struct fair_tenant *tenants;
    int64_t waiting, waiting_tokens, waiting_max, running;
    int places;
    double had; /* what the tenant had whose request began last, before it began */
    struct fair_ticket *
        *sequence; /* [sequence_count], of those that wait and whose tenant may run */
    size_t sequence_count, sequence_room;
    bool stale; /* the sequence is to be made anew */
    /* The pace: tokens asked for by requests that ended, a second in which any ran. */
    int64_t busy_since_ns, busy_ns;
    double measured_tokens, pace, fastest;
};

enum status fair_order_create(struct fair_order **order, int64_t waiting_max)
{
    struct fair_order *o = calloc(1, sizeof *o);
    if (!o)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the queue");
    o->waiting_max = waiting_max;
    *order = o;
    return STATUS_OK;
}

void fair_order_destroy(struct fair_order *order)
{
    if (!order)
        return;
    while (order->tenants) {
        struct fair_tenant *tenant = order->tenants;
        order->tenants = tenant->next;
        free(tenant);
    }
    free(order->sequence);
    free(order);
}

void fair_order_set_places(struct fair_order *order, int places)
{
    order->places = places;
}

int64_t fair_order_waiting(const struct fair_order *order)
{
    return order->waiting;
}

int64_t fair_order_running(const struct fair_order *order)
{
    return order->running;
}

/* ---- tenants ---- */

static struct fair_tenant *find(const struct fair_order *order, const char *name)
{
    struct fair_tenant *tenant = order->tenants;
    while (tenant && strcmp(tenant->facts.name, name) != 0)
        tenant = tenant->next;
    return tenant;
}

static bool is_recent(const struct fair_tenant *tenant, int64_t now_ns)
{
    return tenant->waiting > 0 || tenant->running > 0 ||
           now_ns - tenant->seen_ns < RECENT_S * SECOND_NS;
}

/* Those that nobody expects back. */
static void forget_old(struct fair_order *order, int64_t now_ns)
{
    for (struct fair_tenant **link = &order->tenants; *link;) {
        struct fair_tenant *tenant = *link;
        if (is_recent(tenant, now_ns)) {
            link = &tenant->next;
            continue;
        }
        *link = tenant->next;
        free(tenant);
    }
}

static struct fair_tenant *find_or_add(struct fair_order *order, const struct access_tenant *facts)
{
    struct fair_tenant *tenant = find(order, facts->name);
    if (!tenant) {
        tenant = calloc(1, sizeof *tenant);
        if (!tenant)
            return NULL;
        tenant->next = order->tenants;
        order->tenants = tenant;
    }
    tenant->facts = *facts; /* they may have changed */
    return tenant;
}

/* ---- the sequence ---- */

static bool stands_before(const struct fair_ticket *one, const struct fair_ticket *other)
{
    if (one->priority != other->priority)
        return one->priority > other->priority;
    return one->stands_ns < other->stands_ns;
}

static bool may_choose(const struct fair_tenant *tenant)
{
    const int64_t most = tenant->facts.quotas.running_requests;
    return tenant->cursor && (most == 0 || tenant->running + tenant->chosen < most);
}

/* The tenant that would have had least; of equals whose request has waited longest. */
static struct fair_tenant *choose(const struct fair_order *order)
{
    struct fair_tenant *best = NULL;
    for (struct fair_tenant *tenant = order->tenants; tenant; tenant = tenant->next) {
        if (!may_choose(tenant))
            continue;
        if (!best || tenant->will_have < best->will_have ||
            (!(best->will_have < tenant->will_have) &&
             tenant->cursor->stands_ns < best->cursor->stands_ns))
            best = tenant;
    }
    return best;
}

static double by_weight(const struct fair_tenant *tenant, int64_t tokens)
{
    return (double)tokens / tenant->facts.weight;
}

/* Plays what will begin after what, as if room came for one after the other. */
static void make_sequence(struct fair_order *order)
{
    if (!order->stale)
        return;
    order->stale = false;
    order->sequence_count = 0;
    for (struct fair_tenant *tenant = order->tenants; tenant; tenant = tenant->next) {
        tenant->cursor = tenant->first;
        tenant->will_have = tenant->had;
        tenant->chosen = 0;
        for (struct fair_ticket *ticket = tenant->first; ticket; ticket = ticket->next)
            ticket->place = -1;
    }
    for (struct fair_tenant *tenant; (tenant = choose(order));) {
        struct fair_ticket *ticket = tenant->cursor;
        ticket->place = (int64_t)order->sequence_count;
        order->sequence[order->sequence_count++] = ticket;
        tenant->will_have += by_weight(tenant, ticket->tokens);
        tenant->chosen++;
        tenant->cursor = ticket->next;
    }
}

/* ---- places ---- */

/* Whether the last free place is kept from the tenant, for others that have less than their
 * share. */
static bool is_kept_from(const struct fair_order *order, const struct fair_tenant *tenant,
                         int64_t now_ns)
{
    int64_t weights = 0;
    if (order->places < 2 || order->running + 1 < order->places || tenant->running == 0)
        return false;
    for (const struct fair_tenant *at = order->tenants; at; at = at->next)
        if (is_recent(at, now_ns))
            weights += at->facts.weight;
    return (tenant->running + 1) * weights > (int64_t)order->places * tenant->facts.weight;
}

bool fair_order_may_try(struct fair_order *order, const struct fair_ticket *ticket, int64_t now_ns)
{
    make_sequence(order);
    if (ticket->place < 0 || is_kept_from(order, ticket->tenant, now_ns))
        return false;
    for (int64_t i = 0; i < ticket->place; i++) {
        const struct fair_ticket *before = order->sequence[i];
        if (before->aside || is_kept_from(order, before->tenant, now_ns))
            continue;
        if (!before->blocked || before->passed_tokens + ticket->tokens > before->tokens)
            return false;
    }
    return true;
}

void fair_order_block(struct fair_order *order, struct fair_ticket *ticket)
{
    (void)order;
    ticket->blocked = true;
}

void fair_order_step_aside(struct fair_order *order, struct fair_ticket *ticket, bool aside)
{
    (void)order;
    ticket->aside = aside;
}

void fair_order_unblock(struct fair_order *order)
{
    for (struct fair_tenant *tenant = order->tenants; tenant; tenant = tenant->next)
        for (struct fair_ticket *ticket = tenant->first; ticket; ticket = ticket->next)
            ticket->blocked = false;
}

int64_t fair_order_ahead(struct fair_order *order, const struct fair_ticket *ticket)
{
    make_sequence(order);
    return order->running + (ticket->place < 0 ? order->waiting - 1 : ticket->place);
}

/* ---- coming ---- */

enum fair_answer fair_order_check(const struct fair_order *order, const struct access_tenant *facts)
{
    const struct fair_tenant *tenant = find(order, facts->name);
    const int64_t own = tenant ? tenant->waiting : 0;
    const struct access_quotas *quotas = &facts->quotas;
    if (quotas->queued_requests && own >= quotas->queued_requests)
        return FAIR_REQUESTS_QUOTA;
    if (quotas->queued_tokens && tenant && tenant->waiting_tokens >= quotas->queued_tokens)
        return FAIR_TOKENS_QUOTA;
    /* Of several tenants each leaves as much free as it takes, so that another one finds room. */
    const int64_t free_places = order->waiting_max - order->waiting;
    if (free_places <= 0 || (facts->name[0] && own > 0 && own >= free_places))
        return FAIR_QUEUE_FULL;
    return FAIR_ENTERED;
}

static void insert(struct fair_order *order, struct fair_ticket *ticket)
{
    struct fair_tenant *tenant = ticket->tenant;
    struct fair_ticket **link = &tenant->first;
    while (*link && !stands_before(ticket, *link))
        link = &(*link)->next;
    ticket->next = *link;
    *link = ticket;
    tenant->waiting++;
    tenant->waiting_tokens += ticket->tokens;
    order->waiting++;
    order->waiting_tokens += ticket->tokens;
    order->stale = true;
}

static void take_out(struct fair_order *order, struct fair_ticket *ticket)
{
    struct fair_tenant *tenant = ticket->tenant;
    struct fair_ticket **link = &tenant->first;
    while (*link != ticket)
        link = &(*link)->next;
    *link = ticket->next;
    tenant->waiting--;
    tenant->waiting_tokens -= ticket->tokens;
    order->waiting--;
    order->waiting_tokens -= ticket->tokens;
    order->stale = true;
}

/* Whether those before it take longer than it can wait, at the fastest pace that was seen. */
static bool is_too_late(struct fair_order *order, const struct fair_ticket *ticket,
                        int64_t deadline_ns, int64_t now_ns)
{
    double before = 0;
    if (deadline_ns == INT64_MAX || order->fastest <= 0)
        return false;
    make_sequence(order);
    const int64_t place = ticket->place < 0 ? (int64_t)order->sequence_count : ticket->place;
    for (int64_t i = 0; i < place; i++)
        before += (double)order->sequence[i]->tokens;
    return before / order->fastest > (double)(deadline_ns - now_ns) / SECOND_NS;
}

static enum status make_room(struct fair_order *order)
{
    if ((size_t)order->waiting < order->sequence_room)
        return STATUS_OK;
    const size_t room = 2 * order->sequence_room + 64;
    struct fair_ticket **longer = reallocarray(order->sequence, room, sizeof(struct fair_ticket *));
    if (!longer)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the queue");
    order->sequence = longer;
    order->sequence_room = room;
    return STATUS_OK;
}

enum status fair_order_enter(struct fair_order *order, struct fair_ticket *ticket,
                             enum fair_answer *answer, const struct fair_request *request,
                             int64_t now_ns)
{
    const struct access_quotas *quotas = &request->tenant->quotas;
    forget_old(order, now_ns);
    struct fair_tenant *tenant = find_or_add(order, request->tenant);
    if (!tenant)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the queue");
    TRY(make_room(order));
    tenant->seen_ns = now_ns;
    *answer = fair_order_check(order, request->tenant);
    if (*answer == FAIR_ENTERED && quotas->queued_tokens &&
        request->tokens > quotas->queued_tokens - tenant->waiting_tokens)
        *answer = FAIR_TOKENS_QUOTA;
    if (*answer != FAIR_ENTERED)
        return STATUS_OK;
    if (tenant->waiting == 0)
        tenant->had = fmax(tenant->had, order->had);
    const double takes_s = order->pace > 0 ? (double)request->tokens / order->pace : 0;
    *ticket = (struct fair_ticket){
        .tenant = tenant,
        .priority = request->priority,
        .tokens = request->tokens,
        .stands_ns = now_ns + (int64_t)(takes_s * SECOND_NS),
    };
    insert(order, ticket);
    if (is_too_late(order, ticket, request->deadline_ns, now_ns)) {
        take_out(order, ticket);
        *answer = FAIR_TOO_LATE;
    }
    return STATUS_OK;
}

int64_t fair_order_retry_ms(const struct fair_order *order, enum fair_answer answer,
                            const struct access_tenant *facts)
{
    const struct fair_tenant *tenant = find(order, facts->name);
    const bool own = answer == FAIR_REQUESTS_QUOTA || answer == FAIR_TOKENS_QUOTA;
    const int64_t tokens = own && tenant ? tenant->waiting_tokens : order->waiting_tokens;
    if (answer == FAIR_ENTERED || answer == FAIR_TOO_LATE)
        return 0;
    /* Never, where the request alone is more than may wait. */
    if (answer == FAIR_TOKENS_QUOTA && (!tenant || tenant->waiting == 0))
        return 0;
    if (order->pace <= 0)
        return RETRY_UNKNOWN_MS;
    double share = 1;
    if (own && order->waiting_tokens > 0) {
        int64_t weights = 0;
        for (const struct fair_tenant *at = order->tenants; at; at = at->next)
            weights += at->waiting > 0 ? at->facts.weight : 0;
        share = weights > 0 ? (double)facts->weight / (double)weights : 1;
    }
    const double ms = 1000 * (double)tokens / 2 / (order->pace * share);
    return (int64_t)fmin(fmax(ms, RETRY_LEAST_MS), RETRY_MOST_MS);
}

/* ---- going ---- */

void fair_order_start(struct fair_order *order, struct fair_ticket *ticket, int64_t now_ns)
{
    struct fair_tenant *tenant = ticket->tenant;
    make_sequence(order);
    for (int64_t i = 0; i < ticket->place; i++)
        if (order->sequence[i]->blocked || order->sequence[i]->aside)
            order->sequence[i]->passed_tokens += ticket->tokens;
    take_out(order, ticket);
    ticket->started = true;
    order->had = fmax(order->had, tenant->had);
    tenant->had += by_weight(tenant, ticket->tokens);
    tenant->running++;
    if (order->running++ == 0)
        order->busy_since_ns = now_ns;
}

static void measure(struct fair_order *order, int64_t tokens, int64_t now_ns)
{
    order->measured_tokens += (double)tokens;
    order->busy_ns += now_ns - order->busy_since_ns;
    order->busy_since_ns = now_ns;
    if (order->busy_ns < PACE_S * SECOND_NS)
        return;
    const double pace = order->measured_tokens * SECOND_NS / (double)order->busy_ns;
    order->pace = order->pace > 0 ? (1 - PACE_FRESH) * order->pace + PACE_FRESH * pace : pace;
    order->fastest = fmax(order->fastest, pace);
    order->measured_tokens = 0;
    order->busy_ns = 0;
}

void fair_order_leave(struct fair_order *order, struct fair_ticket *ticket, int64_t used,
                      int64_t now_ns)
{
    struct fair_tenant *tenant = ticket->tenant;
    tenant->seen_ns = now_ns;
    if (!ticket->started) {
        take_out(order, ticket);
        return;
    }
    assert(tenant->running > 0);
    tenant->running--;
    if (used < ticket->tokens)
        tenant->had -= by_weight(tenant, ticket->tokens - used);
    measure(order, ticket->tokens, now_ns);
    order->running--;
    order->stale = true;
    fair_order_unblock(order);
}
