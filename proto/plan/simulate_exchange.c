/* Owns the queue of events and the ports. Promises the same sequence for the same calls: events of
 * one time come as they were asked for. Its heap holds few events, one a port and timer, and those
 * on their way between two ports, however many messages wait. */
#include "proto/plan/simulate_exchange.h"

#include <stdlib.h>

enum kind {
    TIMER,    /* of a rank */
    DEPARTED, /* a message has left its sender's port */
    REACHED,  /* its first byte is at the receiver's port */
    ARRIVED,  /* its last byte is there */
};

struct event {
    double time;
    int64_t order;
    int32_t kind;
    int32_t what; /* a rank, or a message */
};

struct message {
    double seconds; /* that it occupies a port */
    int32_t from, to;
    /* Behind it at its sender's port and at its receiver's; the first one also in the list of free
     * messages. -1: none. */
    int32_t next[2];
};

/* Messages wait for it in a list. */
struct port {
    int32_t first, last; /* -1: none; the first one occupies it */
};

struct simulate_exchange {
    struct simulate_links links;
    int workers;
    int32_t ports_count; /* of either direction: one a rank for its host, one a card */
    struct port *ports;  /* [2 * ports_count], outgoing first */
    struct event *heap;
    int64_t heap_count, heap_capacity, order;
    struct message *messages;
    int32_t message_count, message_capacity, free_message;
};

static enum status no_memory(void)
{
    return fail(STATUS_RESOURCE_EXHAUSTED, "plan: no memory to simulate an exchange");
}

/* ---- the heap ---- */

static bool before(const struct event *a, const struct event *b)
{
    return a->time != b->time ? a->time < b->time : a->order < b->order;
}

static enum status push(struct simulate_exchange *exchange, double time, enum kind kind,
                        int32_t what)
{
    if (exchange->heap_count == exchange->heap_capacity) {
        const int64_t capacity = 2 * exchange->heap_capacity + 64;
        struct event *heap = reallocarray(exchange->heap, (size_t)capacity, sizeof *heap);
        if (!heap)
            return no_memory();
        exchange->heap = heap;
        exchange->heap_capacity = capacity;
    }
    const struct event event = {time, exchange->order++, kind, what};
    struct event *heap = exchange->heap;
    int64_t at = exchange->heap_count++;
    for (; at > 0 && before(&event, &heap[(at - 1) / 2]); at = (at - 1) / 2)
        heap[at] = heap[(at - 1) / 2];
    heap[at] = event;
    return STATUS_OK;
}

static struct event pop(struct simulate_exchange *exchange)
{
    struct event *heap = exchange->heap;
    const struct event top = heap[0];
    const struct event moved = heap[--exchange->heap_count];
    const int64_t count = exchange->heap_count;
    int64_t at = 0;
    for (int64_t child = 1; child < count; child = 2 * at + 1) {
        if (child + 1 < count && before(&heap[child + 1], &heap[child]))
            child++;
        if (!before(&heap[child], &moved))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moved;
    return top;
}

/* ---- ports ---- */

static bool same_host(const struct simulate_exchange *exchange, int a, int b)
{
    return a / exchange->links.ranks_per_host == b / exchange->links.ranks_per_host;
}

/* A card's port comes after those of the ranks. */
static int32_t port_of(const struct simulate_exchange *exchange, int rank, bool inside)
{
    const struct simulate_links *links = &exchange->links;
    if (inside)
        return rank;
    const int cards =
        (links->ranks_per_host + links->ranks_per_network_card - 1) / links->ranks_per_network_card;
    return exchange->workers + rank / links->ranks_per_host * cards +
           rank % links->ranks_per_host / links->ranks_per_network_card;
}

static int32_t incoming(const struct simulate_exchange *exchange, const struct message *message)
{
    return exchange->ports_count +
           port_of(exchange, message->to, same_host(exchange, message->from, message->to));
}

static double latency_of(const struct simulate_exchange *exchange, const struct message *message)
{
    return same_host(exchange, message->from, message->to) ? exchange->links.host.latency_s
                                                           : exchange->links.network.latency_s;
}

/* The first of the port's list begins to occupy it. */
static enum status occupy(struct simulate_exchange *exchange, int32_t port, double now)
{
    const int32_t which = exchange->ports[port].first;
    const struct message *message = &exchange->messages[which];
    if (port >= exchange->ports_count)
        return push(exchange, now + message->seconds, ARRIVED, which);
    TRY(push(exchange, now + message->seconds, DEPARTED, port));
    return push(exchange, now + latency_of(exchange, message), REACHED, which);
}

static enum status queue_at(struct simulate_exchange *exchange, int32_t port, int32_t which,
                            double now)
{
    struct port *waiting = &exchange->ports[port];
    const int side = port >= exchange->ports_count;
    exchange->messages[which].next[side] = -1;
    if (waiting->first >= 0) {
        exchange->messages[waiting->last].next[side] = which;
        waiting->last = which;
        return STATUS_OK;
    }
    waiting->first = waiting->last = which;
    return occupy(exchange, port, now);
}

static enum status leave(struct simulate_exchange *exchange, int32_t port, double now)
{
    struct port *waiting = &exchange->ports[port];
    waiting->first = exchange->messages[waiting->first].next[port >= exchange->ports_count];
    return waiting->first >= 0 ? occupy(exchange, port, now) : STATUS_OK;
}

/* ---- messages ---- */

static enum status take_message(struct simulate_exchange *exchange, int32_t *which)
{
    if (exchange->free_message >= 0) {
        *which = exchange->free_message;
        exchange->free_message = exchange->messages[*which].next[0];
        return STATUS_OK;
    }
    if (exchange->message_count == exchange->message_capacity) {
        const int32_t capacity = 2 * exchange->message_capacity + 64;
        struct message *messages =
            reallocarray(exchange->messages, (size_t)capacity, sizeof *messages);
        if (!messages)
            return no_memory();
        exchange->messages = messages;
        exchange->message_capacity = capacity;
    }
    *which = exchange->message_count++;
    return STATUS_OK;
}

enum status simulate_exchange_start(struct simulate_exchange *exchange, double now, int from,
                                    int to, double bytes, double pieces)
{
    const bool inside = same_host(exchange, from, to);
    const struct cost_link *link = inside ? &exchange->links.host : &exchange->links.network;
    int32_t which = -1;
    TRY(take_message(exchange, &which));
    exchange->messages[which] = (struct message){
        .seconds = bytes / link->bytes_per_second + pieces * link->message_s,
        .from = from,
        .to = to,
    };
    return queue_at(exchange, port_of(exchange, from, inside), which, now);
}

enum status simulate_exchange_wake(struct simulate_exchange *exchange, double time, int rank)
{
    return push(exchange, time, TIMER, rank);
}

static enum status end_message(struct simulate_exchange *exchange, struct simulate_event *event,
                               int32_t which)
{
    struct message *message = &exchange->messages[which];
    event->rank = message->to;
    event->from = message->from;
    TRY(leave(exchange, incoming(exchange, message), event->time));
    message->next[0] = exchange->free_message;
    exchange->free_message = which;
    return STATUS_OK;
}

enum status simulate_exchange_next(struct simulate_exchange *exchange, struct simulate_event *event,
                                   bool *found)
{
    while (exchange->heap_count > 0) {
        const struct event top = pop(exchange);
        *event = (struct simulate_event){.time = top.time, .rank = top.what, .from = -1};
        *found = true;
        switch ((enum kind)top.kind) {
        case TIMER:
            return STATUS_OK;
        case ARRIVED:
            return end_message(exchange, event, top.what);
        case DEPARTED:
            TRY(leave(exchange, top.what, top.time));
            break;
        case REACHED:
            TRY(queue_at(exchange, incoming(exchange, &exchange->messages[top.what]), top.what,
                         top.time));
            break;
        }
    }
    *found = false;
    return STATUS_OK;
}

/* ---- life ---- */

enum status simulate_exchange_create(struct simulate_exchange **out,
                                     const struct simulate_links *links, int workers)
{
    struct simulate_exchange *made = calloc(1, sizeof *made);
    if (!made)
        return no_memory();
    made->links = *links;
    made->workers = workers;
    made->free_message = -1;
    made->ports_count = port_of(made, workers - 1, false) + 1;
    made->ports = calloc((size_t)made->ports_count * 2, sizeof *made->ports);
    if (!made->ports) {
        free(made);
        return no_memory();
    }
    for (int32_t port = 0; port < 2 * made->ports_count; port++)
        made->ports[port].first = -1;
    *out = made;
    return STATUS_OK;
}

void simulate_exchange_destroy(struct simulate_exchange *exchange)
{
    if (!exchange)
        return;
    free(exchange->ports);
    free(exchange->heap);
    free(exchange->messages);
    free(exchange);
}
