/* Owns the mailboxes between the threads that play ranks. Promises the contract of transport.h with
 * one copy a message, made straight from the sender's memory to the receiver's by whoever comes
 * second.
 *
 * A mailbox is one (source, target, channel): a queue of posted sends and one of posted receives,
 * of which at most one is not empty, except while a delayed send is not yet due. A request is
 *   QUEUED  -> COPYING  take_pair, under the mailbox's lock
 *   COPYING -> DONE     deliver, after the copy, without the lock
 * and becomes free again in the owner's test. So an owner that gives up finds its request either in
 * a queue, and takes it out, or being copied, which ends by itself. */
#include "worker/engine/transport/transport_loopback.h"

#include "proto/clock.h"
#include "worker/engine/transport/board.h"
#include "worker/engine/transport/transport_reduce.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum request_state { REQUEST_FREE, REQUEST_QUEUED, REQUEST_COPYING, REQUEST_DONE, REQUEST_MISFIT };

struct loopback_request {
    struct transport_request head;
    const void *source; /* of a send */
    void *target;       /* of a receive */
    int64_t due_ns;     /* of a send: not delivered before */
    struct mailbox *mailbox;
    struct loopback_request *next; /* in the mailbox's queue, or in the free list */
    _Atomic int state;
};

struct request_queue {
    struct loopback_request *first;
    struct loopback_request *last;
};

struct mailbox {
    _Alignas(BOARD_ALIGNMENT) pthread_mutex_t lock;
    struct request_queue sends;
    struct request_queue receives;
    _Atomic int64_t due_ns; /* of the pair at the heads; 0 when there is none */
};

struct group {
    _Atomic int members;
    int size;
    void *board_memory;
    struct mailbox *mailboxes; /* [size, size, TRANSPORT_CHANNELS]: source, target, channel */
};

struct loopback {
    struct transport base;
    struct board board;
    struct group *group;
    struct loopback_request *requests; /* [requests_count] */
    size_t requests_count;
    struct loopback_request *free;
    int64_t delay_ns;
};

static struct loopback *loopback_of(struct transport *t)
{
    return (struct loopback *)t;
}

static void queue_push(struct request_queue *queue, struct loopback_request *request)
{
    request->next = NULL;
    if (queue->last)
        queue->last->next = request;
    else
        queue->first = request;
    queue->last = request;
}

static struct loopback_request *queue_pop(struct request_queue *queue)
{
    struct loopback_request *request = queue->first;
    queue->first = request->next;
    if (!queue->first)
        queue->last = NULL;
    return request;
}

static void queue_remove(struct request_queue *queue, struct loopback_request *request)
{
    struct loopback_request *before = NULL;
    struct loopback_request *at = queue->first;
    while (at && at != request) {
        before = at;
        at = at->next;
    }
    assert(at);
    if (before)
        before->next = at->next;
    else
        queue->first = at->next;
    if (queue->last == at)
        queue->last = before;
}

/* Under the lock. Says when the pair at the heads may be delivered, so that testers need not lock
 * to find out. */
static void note_due(struct mailbox *mailbox)
{
    const bool pair = mailbox->sends.first && mailbox->receives.first;
    atomic_store(&mailbox->due_ns, pair ? mailbox->sends.first->due_ns : 0);
}

static bool take_pair(struct mailbox *mailbox, struct loopback_request **send,
                      struct loopback_request **receive)
{
    pthread_mutex_lock(&mailbox->lock);
    struct loopback_request *first = mailbox->sends.first;
    const bool take =
        first && mailbox->receives.first && (first->due_ns == 1 || first->due_ns <= clock_now_ns());
    if (take) {
        *send = queue_pop(&mailbox->sends);
        *receive = queue_pop(&mailbox->receives);
        atomic_store(&(*send)->state, REQUEST_COPYING);
        atomic_store(&(*receive)->state, REQUEST_COPYING);
    }
    note_due(mailbox);
    pthread_mutex_unlock(&mailbox->lock);
    return take;
}

static void deliver(struct mailbox *mailbox)
{
    struct loopback_request *send;
    struct loopback_request *receive;
    while (take_pair(mailbox, &send, &receive)) {
        const bool fits = send->head.bytes == receive->head.bytes;
        if (fits && send->head.bytes > 0)
            memcpy(receive->target, send->source, send->head.bytes);
        const int state = fits ? REQUEST_DONE : REQUEST_MISFIT;
        atomic_store(&receive->state, state);
        atomic_store(&send->state, state);
    }
}

static enum status take_request(struct loopback *t, int peer, enum transport_channel channel,
                                struct loopback_request **request)
{
    assert(peer >= 0 && peer < t->base.size && peer != t->base.rank);
    if (board_aborted(&t->board))
        return board_abort_failure(&t->board);
    if (!t->free)
        return fail(STATUS_INTERNAL, "rank %d has all %zu transport requests outstanding",
                    t->base.rank, t->requests_count);
    *request = t->free;
    t->free = (*request)->next;
    (*request)->head = (struct transport_request){.peer = peer, .channel = channel};
    return STATUS_OK;
}

static void post(struct loopback_request *request, int source, int target, struct group *group)
{
    const size_t pair = (size_t)source * (size_t)group->size + (size_t)target;
    struct mailbox *mailbox =
        &group->mailboxes[pair * TRANSPORT_CHANNELS + (size_t)request->head.channel];
    request->mailbox = mailbox;
    atomic_store(&request->state, REQUEST_QUEUED);
    pthread_mutex_lock(&mailbox->lock);
    queue_push(request->head.sends ? &mailbox->sends : &mailbox->receives, request);
    note_due(mailbox);
    pthread_mutex_unlock(&mailbox->lock);
    deliver(mailbox);
}

static enum status loopback_send(struct transport *base, int peer, enum transport_channel channel,
                                 const void *data, size_t bytes, struct transport_request **request)
{
    struct loopback *t = loopback_of(base);
    struct loopback_request *send;
    TRY(take_request(t, peer, channel, &send));
    send->head.bytes = bytes;
    send->head.sends = true;
    send->source = data;
    send->due_ns = t->delay_ns ? clock_now_ns() + t->delay_ns : 1;
    *request = &send->head;
    base->counters.sent_bytes[channel] += bytes;
    base->counters.sent_messages[channel]++;
    post(send, base->rank, peer, t->group);
    return STATUS_OK;
}

static enum status loopback_receive(struct transport *base, int peer,
                                    enum transport_channel channel, void *data, size_t bytes,
                                    struct transport_request **request)
{
    struct loopback *t = loopback_of(base);
    struct loopback_request *receive;
    TRY(take_request(t, peer, channel, &receive));
    receive->head.bytes = bytes;
    receive->head.sends = false;
    receive->target = data;
    *request = &receive->head;
    base->counters.received_bytes[channel] += bytes;
    post(receive, peer, base->rank, t->group);
    return STATUS_OK;
}

static enum status misfit(const struct transport *t, const struct transport_request *request)
{
    return fail(STATUS_INTERNAL,
                "rank %d %s %zu bytes on channel %d, but rank %d named another size: the ranks' "
                "plans differ",
                t->rank, request->sends ? "sent" : "awaited", request->bytes, (int)request->channel,
                request->peer);
}

static enum status loopback_test(struct transport *base, struct transport_request *head, bool *done)
{
    struct loopback *t = loopback_of(base);
    struct loopback_request *request = (struct loopback_request *)head;
    const int64_t due_ns = atomic_load(&request->mailbox->due_ns);
    if (due_ns != 0 && due_ns <= clock_now_ns())
        deliver(request->mailbox);
    const int state = atomic_load(&request->state);
    if (state == REQUEST_MISFIT)
        return misfit(base, head);
    *done = state == REQUEST_DONE;
    if (!*done)
        return board_aborted(&t->board) ? board_abort_failure(&t->board) : STATUS_OK;
    atomic_store(&request->state, REQUEST_FREE);
    request->next = t->free;
    t->free = request;
    board_mark(&t->board);
    return STATUS_OK;
}

static enum status loopback_progress(struct transport *base)
{
    return board_aborted(base->board) ? board_abort_failure(base->board) : STATUS_OK;
}

/* After this nobody touches the memory that the request names. */
static void give_up(struct loopback_request *request)
{
    struct mailbox *mailbox = request->mailbox;
    pthread_mutex_lock(&mailbox->lock);
    if (atomic_load(&request->state) == REQUEST_QUEUED)
        queue_remove(request->head.sends ? &mailbox->sends : &mailbox->receives, request);
    else
        request = NULL;
    note_due(mailbox);
    pthread_mutex_unlock(&mailbox->lock);
    if (request)
        atomic_store(&request->state, REQUEST_FREE);
}

static void group_leave(struct group *group)
{
    if (atomic_fetch_sub(&group->members, 1) > 1)
        return;
    const size_t mailboxes = (size_t)group->size * (size_t)group->size * TRANSPORT_CHANNELS;
    for (size_t i = 0; i < mailboxes; i++)
        pthread_mutex_destroy(&group->mailboxes[i].lock);
    free(group->mailboxes);
    free(group->board_memory);
    free(group);
}

static void loopback_destroy(struct transport *base)
{
    struct loopback *t = loopback_of(base);
    for (size_t i = 0; i < t->requests_count; i++) {
        struct loopback_request *request = &t->requests[i];
        if (atomic_load(&request->state) == REQUEST_QUEUED)
            give_up(request);
        while (atomic_load(&request->state) == REQUEST_COPYING)
            sched_yield();
    }
    group_leave(t->group);
    free(t->requests);
    free(t);
}

static const struct transport_ops loopback_ops = {
    .send = loopback_send,
    .receive = loopback_receive,
    .test = loopback_test,
    .progress = loopback_progress,
    .gather = board_gather,
    .broadcast = board_broadcast,
    .reduce_scatter = transport_reduce_by_messages,
    .barrier = board_barrier,
    .destroy = loopback_destroy,
};

static struct group *group_create(int size)
{
    const size_t mailboxes = (size_t)size * (size_t)size * TRANSPORT_CHANNELS;
    const size_t board = (board_bytes(size, true) + 63) / 64 * 64;
    struct group *group = calloc(1, sizeof *group);
    if (!group)
        return NULL;
    group->size = size;
    group->members = 1;
    group->mailboxes = aligned_alloc(64, mailboxes * sizeof *group->mailboxes);
    group->board_memory = aligned_alloc(64, board);
    if (!group->mailboxes || !group->board_memory) {
        free(group->mailboxes);
        free(group->board_memory);
        free(group);
        return NULL;
    }
    memset(group->mailboxes, 0, mailboxes * sizeof *group->mailboxes);
    for (size_t i = 0; i < mailboxes; i++)
        pthread_mutex_init(&group->mailboxes[i].lock, NULL);
    memset(group->board_memory, 0, board);
    board_format(group->board_memory, size);
    return group;
}

static struct transport *member_create(struct group *group, int rank,
                                       const struct transport_options *options)
{
    struct loopback *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->requests = calloc(options->requests, sizeof *t->requests);
    if (!t->requests) {
        free(t);
        return NULL;
    }
    t->requests_count = options->requests;
    for (size_t i = options->requests; i-- > 0;) {
        t->requests[i].next = t->free;
        t->free = &t->requests[i];
    }
    board_open(&t->board, group->board_memory, rank, group->size, group->size * options->threads);
    t->group = group;
    atomic_fetch_add(&group->members, 1);
    t->base = (struct transport){.rank = rank,
                                 .size = group->size,
                                 .local_rank = rank,
                                 .local_size = group->size,
                                 .name = "loopback",
                                 .ops = &loopback_ops,
                                 .board = &t->board,
                                 .silence_ns = options->silence_ns};
    snprintf(t->base.facts, sizeof t->base.facts,
             "transport=loopback ranks=%d hosts=1 gather=shared", group->size);
    return &t->base;
}

enum status transport_loopback_create_group(struct transport *transports[], int size,
                                            const struct transport_options *options)
{
    assert(size > 0);
    const struct transport_options filled = transport_options_filled(options, size);
    struct group *group = group_create(size);
    if (!group)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a loopback group of %d ranks", size);
    int made = 0;
    while (made < size && (transports[made] = member_create(group, made, &filled)))
        made++;
    const bool complete = made == size;
    while (!complete && made > 0)
        transport_destroy(transports[--made]);
    group_leave(group);
    if (!complete)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a loopback group of %d ranks", size);
    return STATUS_OK;
}

void transport_loopback_delay(struct transport *t, int64_t delay_ns)
{
    loopback_of(t)->delay_ns = delay_ns;
}
