/* Owns one rank's requests over the shared memory: the board, and for each (source, target,
 * channel) a ring of bytes that one process writes and one reads. A message is its length and then
 * its bytes; longer ones than the ring pass through it piece by piece. */
#include "tests/support/forked_transport.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "worker/engine/transport/board.h"
#include "worker/engine/transport/transport_reduce.h"

enum { RING_BYTES = 1 << 16 };

struct byte_ring {
    _Alignas(64) _Atomic uint64_t written;
    _Alignas(64) _Atomic uint64_t read;
    _Alignas(64) unsigned char bytes[RING_BYTES];
};

struct forked_request {
    struct transport_request head;
    unsigned char *data;
    size_t passed;   /* bytes of length and data */
    uint64_t length; /* as written or read */
    bool done, misfit;
    struct forked_request *next; /* in its queue, or free */
};

struct forked {
    struct transport base;
    struct board board;
    struct byte_ring *rings; /* [size, size, TRANSPORT_CHANNELS]: source, target, channel */
    struct forked_request *requests;
    struct forked_request *free;
    /* [2, size, TRANSPORT_CHANNELS]: sends, receives; oldest first. */
    struct forked_request **queues;
};

static size_t board_room(int size)
{
    return (board_bytes(size, true) + 63) / 64 * 64;
}

void *forked_transport_map(int size)
{
    const size_t rings = (size_t)size * (size_t)size * TRANSPORT_CHANNELS;
    void *memory = mmap(NULL, board_room(size) + rings * sizeof(struct byte_ring),
                        PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    board_format(memory, size);
    return memory;
}

static struct forked_request **queue_of(struct forked *t, const struct transport_request *head)
{
    const size_t peer = (size_t)(head->sends ? 0 : t->base.size) + (size_t)head->peer;
    return &t->queues[peer * TRANSPORT_CHANNELS + (size_t)head->channel];
}

static struct byte_ring *ring_of(struct forked *t, const struct transport_request *head)
{
    const int source = head->sends ? t->base.rank : head->peer;
    const int target = head->sends ? head->peer : t->base.rank;
    const size_t pair = (size_t)source * (size_t)t->base.size + (size_t)target;
    return &t->rings[pair * TRANSPORT_CHANNELS + (size_t)head->channel];
}

/* Bytes from `passed` on: of the length first, then of the data. */
static unsigned char *next_bytes(struct forked_request *request, size_t *left)
{
    if (request->passed < sizeof request->length) {
        *left = sizeof request->length - request->passed;
        return (unsigned char *)&request->length + request->passed;
    }
    const size_t at = request->passed - sizeof request->length;
    *left = request->head.bytes - at;
    return request->data + at;
}

/* Moves what the ring takes or has; true when the request is through. */
static bool pass(struct byte_ring *ring, struct forked_request *request)
{
    for (;;) {
        size_t left;
        unsigned char *bytes = next_bytes(request, &left);
        const bool length_known = request->passed >= sizeof request->length;
        if (length_known && request->length != request->head.bytes)
            request->misfit = true;
        if (request->misfit || (length_known && left == 0))
            return true;
        const uint64_t written = atomic_load_explicit(&ring->written, memory_order_acquire);
        const uint64_t read = atomic_load_explicit(&ring->read, memory_order_acquire);
        const bool sends = request->head.sends;
        const uint64_t at = (sends ? written : read) % RING_BYTES;
        size_t count = sends ? RING_BYTES - (size_t)(written - read) : (size_t)(written - read);
        count = count < left ? count : left;
        count = count < RING_BYTES - at ? count : (size_t)(RING_BYTES - at);
        if (count == 0)
            return false;
        if (sends)
            memcpy(ring->bytes + at, bytes, count);
        else
            memcpy(bytes, ring->bytes + at, count);
        atomic_store_explicit(sends ? &ring->written : &ring->read,
                              (sends ? written : read) + count, memory_order_release);
        request->passed += count;
    }
}

static void drive_all(struct forked *t)
{
    const size_t queues = 2 * (size_t)t->base.size * TRANSPORT_CHANNELS;
    for (size_t queue = 0; queue < queues; queue++) {
        struct forked_request **first = &t->queues[queue];
        while (*first && pass(ring_of(t, &(*first)->head), *first)) {
            (*first)->done = true;
            *first = (*first)->next;
        }
    }
}

static enum status begin(struct forked *t, const struct transport_request *head, const void *data,
                         struct transport_request **out)
{
    struct forked_request *request = t->free;
    if (board_aborted(&t->board))
        return board_abort_failure(&t->board);
    if (!request)
        return fail(STATUS_INTERNAL, "rank %d has all its transport requests outstanding",
                    t->base.rank);
    t->free = request->next;
    *request = (struct forked_request){
        .head = *head, .data = (unsigned char *)data, .length = head->sends ? head->bytes : 0};
    struct forked_request **last = queue_of(t, head);
    while (*last)
        last = &(*last)->next;
    *last = request;
    *out = &request->head;
    drive_all(t);
    return STATUS_OK;
}

static enum status forked_send(struct transport *base, int peer, enum transport_channel channel,
                               const void *data, size_t bytes, struct transport_request **request)
{
    const struct transport_request head = {peer, channel, bytes, true};
    base->counters.sent_bytes[channel] += bytes;
    base->counters.sent_messages[channel]++;
    return begin((struct forked *)base, &head, data, request);
}

static enum status forked_receive(struct transport *base, int peer, enum transport_channel channel,
                                  void *data, size_t bytes, struct transport_request **request)
{
    const struct transport_request head = {peer, channel, bytes, false};
    base->counters.received_bytes[channel] += bytes;
    return begin((struct forked *)base, &head, data, request);
}

static enum status forked_progress(struct transport *base)
{
    drive_all((struct forked *)base);
    return board_aborted(base->board) ? board_abort_failure(base->board) : STATUS_OK;
}

static enum status forked_test(struct transport *base, struct transport_request *head, bool *done)
{
    struct forked *t = (struct forked *)base;
    struct forked_request *request = (struct forked_request *)head;
    drive_all(t);
    *done = request->done;
    if (request->misfit)
        return fail(STATUS_INTERNAL,
                    "rank %d awaited %zu bytes on channel %d, but rank %d sent another size: the "
                    "ranks' plans differ",
                    base->rank, head->bytes, (int)head->channel, head->peer);
    if (!*done)
        return board_aborted(base->board) ? board_abort_failure(base->board) : STATUS_OK;
    request->next = t->free;
    t->free = request;
    board_mark(base->board);
    return STATUS_OK;
}

static void forked_destroy(struct transport *base)
{
    struct forked *t = (struct forked *)base;
    free(t->requests);
    free(t->queues);
    free(t);
}

static const struct transport_ops forked_ops = {
    .send = forked_send,
    .receive = forked_receive,
    .test = forked_test,
    .progress = forked_progress,
    .gather = board_gather,
    .broadcast = board_broadcast,
    .reduce_scatter = transport_reduce_by_messages,
    .barrier = board_barrier,
    .destroy = forked_destroy,
};

enum status forked_transport_create(struct transport **out, void *memory, int rank, int size,
                                    const struct transport_options *options)
{
    const struct transport_options filled = transport_options_filled(options, size);
    struct forked *t = calloc(1, sizeof *t);
    assert(t);
    t->requests = calloc(filled.requests, sizeof *t->requests);
    t->queues = calloc(2 * (size_t)size * TRANSPORT_CHANNELS, sizeof(struct forked_request *));
    assert(t->requests && t->queues);
    for (size_t r = 0; r < filled.requests; r++) {
        t->requests[r].next = t->free;
        t->free = &t->requests[r];
    }
    t->rings = (struct byte_ring *)(void *)((char *)memory + board_room(size));
    board_open(&t->board, memory, rank, size, size * filled.threads);
    t->base = (struct transport){.rank = rank,
                                 .size = size,
                                 .local_rank = rank,
                                 .local_size = size,
                                 .name = "forked",
                                 .ops = &forked_ops,
                                 .board = &t->board,
                                 .silence_ns = filled.silence_ns};
    snprintf(t->base.facts, sizeof t->base.facts, "transport=forked ranks=%d hosts=1", size);
    *out = &t->base;
    return STATUS_OK;
}
