/* Owns the letters between rank 0 and the others, and on rank 0 the messages of which one end is
 * known. Promises that both ends of a message are ordered together, and that every rank hears its
 * orders in the order in which they were given. */
#include "worker/engine/transport/nccl_order.h"

#include <assert.h>
#include <stdlib.h>

enum { LETTER_NOTES = 8, LEAVING = -1 };

/* `count` notes, or LEAVING. */
struct letter {
    int32_t count;
    struct nccl_note notes[LETTER_NOTES];
};

/* First in, first out. */
struct note_queue {
    struct nccl_note *notes; /* [capacity] */
    size_t capacity;
    size_t first;
    size_t count;
};

/* Between this rank and another one; only rank 0 has more than one. */
struct note_link {
    struct note_queue out;
    struct letter sent, received;
    struct transport_request *sending;
    struct transport_request *receiving;
    bool left; /* the peer has taken leave */
};

struct nccl_order {
    struct transport *host;
    int size;                /* outlives the host's transport */
    struct note_link *links; /* [size] */
    struct note_queue ready; /* orders for this rank */
    /* Rank 0, [size, size, TRANSPORT_CHANNELS]: messages of one (source, target, channel) of which
     * one end is known, sends or receives. Most stay without memory. */
    struct note_queue *ends;
    size_t ends_count;
    size_t requests;
    size_t expected; /* orders that this rank has still to hear */
    bool leaving;
    bool left;
};

static bool queue_init(struct note_queue *queue, size_t capacity)
{
    queue->notes = calloc(capacity, sizeof *queue->notes);
    queue->capacity = capacity;
    return queue->notes != NULL;
}

static void queue_push(struct note_queue *queue, const struct nccl_note *note)
{
    assert(queue->count < queue->capacity); /* one for each request that is under way */
    queue->notes[(queue->first + queue->count++) % queue->capacity] = *note;
}

static struct nccl_note queue_pop(struct note_queue *queue)
{
    struct nccl_note note = queue->notes[queue->first];
    queue->first = (queue->first + 1) % queue->capacity;
    queue->count--;
    return note;
}

static bool make_queues(struct nccl_order *order, size_t requests)
{
    const size_t size = (size_t)order->host->size;
    order->links = calloc(size, sizeof *order->links);
    bool made = order->links && queue_init(&order->ready, requests);
    for (size_t peer = 0; made && peer < size; peer++)
        made = queue_init(&order->links[peer].out, requests);
    if (order->host->rank != 0)
        return made;
    order->ends_count = size * size * TRANSPORT_CHANNELS;
    order->ends = calloc(order->ends_count, sizeof *order->ends);
    return made && order->ends;
}

enum status nccl_order_create(struct nccl_order **out, struct transport *host, size_t requests)
{
    struct nccl_order *order = calloc(1, sizeof *order);
    if (order) {
        order->host = host;
        order->size = host->size;
        order->requests = requests;
    }
    if (!order || !make_queues(order, requests)) {
        nccl_order_destroy(order);
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the order of %d ranks' messages",
                    host->size);
    }
    *out = order;
    return STATUS_OK;
}

void nccl_order_destroy(struct nccl_order *order)
{
    if (!order)
        return;
    for (size_t e = 0; order->ends && e < order->ends_count; e++)
        free(order->ends[e].notes);
    for (int peer = 0; order->links && peer < order->size; peer++)
        free(order->links[peer].out.notes);
    free(order->ends);
    free(order->links);
    free(order->ready.notes);
    free(order);
}

/* ---- rank 0 ---- */

static void give(struct nccl_order *order, int rank, const struct nccl_note *note)
{
    queue_push(rank == 0 ? &order->ready : &order->links[rank].out, note);
}

/* `rank` has posted a message: orders it if its other end has been noted before. */
static enum status match(struct nccl_order *order, int rank, const struct nccl_note *note)
{
    const int source = note->sends ? rank : note->peer;
    const int target = note->sends ? note->peer : rank;
    const size_t pair = (size_t)source * (size_t)order->host->size + (size_t)target;
    struct note_queue *known = &order->ends[pair * TRANSPORT_CHANNELS + (size_t)note->channel];
    if (!known->notes && !queue_init(known, order->requests))
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the messages from rank %d to %d",
                    source, target);
    if (known->count == 0 || known->notes[known->first].sends == note->sends) {
        queue_push(known, note);
        return STATUS_OK;
    }
    struct nccl_note other = queue_pop(known);
    struct nccl_note mine = *note;
    mine.misfit = other.misfit = mine.bytes != other.bytes;
    give(order, rank, &mine);
    give(order, note->peer, &other);
    return STATUS_OK;
}

/* ---- letters ---- */

static enum status read_letter(struct nccl_order *order, int peer)
{
    struct note_link *link = &order->links[peer];
    if (link->received.count == LEAVING) {
        link->left = true;
        return STATUS_OK;
    }
    for (int n = 0; n < link->received.count; n++) {
        if (order->host->rank == 0) {
            TRY(match(order, peer, &link->received.notes[n]));
            continue;
        }
        queue_push(&order->ready, &link->received.notes[n]);
        order->expected--;
    }
    return STATUS_OK;
}

static bool awaits_letter(const struct nccl_order *order, int peer)
{
    return order->host->rank == 0 ? !order->links[peer].left : order->expected > 0;
}

static enum status receive_letters(struct nccl_order *order, int peer)
{
    struct note_link *link = &order->links[peer];
    while (link->receiving || awaits_letter(order, peer)) {
        bool done = false;
        if (!link->receiving)
            TRY(transport_receive(order->host, peer, TRANSPORT_ORDER, &link->received,
                                  sizeof link->received, &link->receiving));
        TRY(transport_test(order->host, link->receiving, &done));
        if (!done)
            return STATUS_OK;
        link->receiving = NULL;
        TRY(read_letter(order, peer));
    }
    return STATUS_OK;
}

static enum status send_letters(struct nccl_order *order, int peer)
{
    struct note_link *link = &order->links[peer];
    for (;;) {
        bool done = true;
        if (link->sending)
            TRY(transport_test(order->host, link->sending, &done));
        if (!done)
            return STATUS_OK;
        link->sending = NULL;
        const bool leaves = order->leaving && !order->left && order->host->rank != 0;
        if (link->out.count == 0 && !leaves)
            return STATUS_OK;
        link->sent.count = 0;
        while (link->out.count > 0 && link->sent.count < LETTER_NOTES)
            link->sent.notes[link->sent.count++] = queue_pop(&link->out);
        if (link->sent.count == 0) {
            link->sent.count = LEAVING;
            order->left = true;
        }
        TRY(transport_send(order->host, peer, TRANSPORT_ORDER, &link->sent, sizeof link->sent,
                           &link->sending));
    }
}

/* ---- the interface ---- */

enum status nccl_order_note(struct nccl_order *order, const struct nccl_note *note)
{
    if (order->host->rank == 0)
        return match(order, 0, note);
    queue_push(&order->links[0].out, note);
    order->expected++;
    return STATUS_OK;
}

enum status nccl_order_drive(struct nccl_order *order)
{
    const int peers = order->host->rank == 0 ? order->host->size : 1;
    for (int peer = order->host->rank == 0 ? 1 : 0; peer < peers; peer++) {
        TRY(receive_letters(order, peer));
        TRY(send_letters(order, peer));
    }
    return STATUS_OK;
}

bool nccl_order_next(struct nccl_order *order, struct nccl_note *note)
{
    if (order->ready.count == 0)
        return false;
    *note = queue_pop(&order->ready);
    return true;
}

void nccl_order_leave(struct nccl_order *order)
{
    order->leaving = true;
}

bool nccl_order_ended(const struct nccl_order *order)
{
    if (order->host->rank != 0)
        return order->left && !order->links[0].sending;
    for (int peer = 1; peer < order->host->size; peer++)
        if (!order->links[peer].left || order->links[peer].sending)
            return false;
    return true;
}
