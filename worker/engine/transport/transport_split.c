/* Owns which rank of the whole plays which rank of the split. Promises nothing of its own: requests
 * are the whole's, and only the numbers of ranks change on the way. */
#include "worker/engine/transport/transport_split.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/engine/transport/transport_reduce.h"

struct split {
    struct transport base;
    struct transport *whole;
    struct transport_request **requests; /* [2 size], of a collective */
    int ranks[];                         /* [size]: of the whole */
};

static struct split *split_of(struct transport *t)
{
    return (struct split *)t;
}

static enum status split_send(struct transport *base, int peer, enum transport_channel channel,
                              const void *data, size_t bytes, struct transport_request **request)
{
    struct split *t = split_of(base);
    assert(peer >= 0 && peer < base->size);
    TRY(transport_send(t->whole, t->ranks[peer], channel, data, bytes, request));
    base->counters.sent_bytes[channel] += bytes;
    base->counters.sent_messages[channel]++;
    return STATUS_OK;
}

static enum status split_receive(struct transport *base, int peer, enum transport_channel channel,
                                 void *data, size_t bytes, struct transport_request **request)
{
    struct split *t = split_of(base);
    assert(peer >= 0 && peer < base->size);
    TRY(transport_receive(t->whole, t->ranks[peer], channel, data, bytes, request));
    base->counters.received_bytes[channel] += bytes;
    return STATUS_OK;
}

static enum status split_test(struct transport *base, struct transport_request *request, bool *done)
{
    return transport_test(split_of(base)->whole, request, done);
}

static enum status split_progress(struct transport *base)
{
    return transport_progress(split_of(base)->whole);
}

/* ---- collectives ---- */

static enum status wait_all(struct split *t, size_t count)
{
    for (size_t r = 0; r < count; r++)
        TRY(transport_wait(&t->base, t->requests[r]));
    return STATUS_OK;
}

/* Every rank's part to every other; parts without bytes too where `empty`. */
static enum status exchange(struct split *t, const void *own, unsigned char *all,
                            const struct transport_parts *parts, bool empty)
{
    const int size = t->base.size;
    const size_t own_bytes = transport_part_bytes(parts, t->base.rank);
    size_t count = 0;
    for (int peer = 0; peer < size; peer++) {
        const size_t bytes = transport_part_bytes(parts, peer);
        if (peer != t->base.rank && (bytes > 0 || empty))
            TRY(transport_receive(t->whole, t->ranks[peer], TRANSPORT_TOGETHER,
                                  all + transport_part_offset(parts, peer), bytes,
                                  &t->requests[count++]));
    }
    for (int peer = 0; peer < size; peer++)
        if (peer != t->base.rank && (own_bytes > 0 || empty))
            TRY(transport_send(t->whole, t->ranks[peer], TRANSPORT_TOGETHER, own, own_bytes,
                               &t->requests[count++]));
    return wait_all(t, count);
}

static enum status split_gather(struct transport *base, const void *mine, void *all,
                                const struct transport_parts *parts)
{
    unsigned char *own = (unsigned char *)all + transport_part_offset(parts, base->rank);
    const size_t own_bytes = transport_part_bytes(parts, base->rank);
    if (own_bytes > 0 && own != mine)
        memcpy(own, mine, own_bytes);
    return exchange(split_of(base), own, all, parts, false);
}

static enum status split_broadcast(struct transport *base, void *data, size_t bytes)
{
    struct split *t = split_of(base);
    size_t count = 0;
    if (bytes == 0)
        return STATUS_OK;
    if (base->rank > 0)
        TRY(transport_receive(t->whole, t->ranks[0], TRANSPORT_TOGETHER, data, bytes,
                              &t->requests[count++]));
    for (int peer = 1; base->rank == 0 && peer < base->size; peer++)
        TRY(transport_send(t->whole, t->ranks[peer], TRANSPORT_TOGETHER, data, bytes,
                           &t->requests[count++]));
    return wait_all(t, count);
}

static enum status split_barrier(struct transport *base)
{
    unsigned char nothing = 0;
    return exchange(split_of(base), &nothing, &nothing, &(struct transport_parts){0}, true);
}

static void split_destroy(struct transport *base)
{
    free(split_of(base)->requests);
    free(base);
}

static const struct transport_ops split_ops = {
    .send = split_send,
    .receive = split_receive,
    .test = split_test,
    .progress = split_progress,
    .gather = split_gather,
    .broadcast = split_broadcast,
    .reduce_scatter = transport_reduce_by_messages,
    .barrier = split_barrier,
    .destroy = split_destroy,
};

/* ---- making ---- */

/* `parts` [size of the whole]: what each rank named. */
static void introduce(struct split *t, struct transport *whole, const int *parts)
{
    const int part = parts[whole->rank];
    t->whole = whole;
    t->base = (struct transport){
        .local_rank = whole->local_rank, /* it shares its host with others than the split's, too */
        .local_size = whole->local_size,
        .name = whole->name,
        .ops = &split_ops,
        .board = whole->board,
        .silence_ns = whole->silence_ns,
        .driver = whole->driver ? whole->driver : whole,
        .whole = whole,
    };
    for (int rank = 0; rank < whole->size; rank++) {
        if (parts[rank] != part)
            continue;
        if (rank == whole->rank)
            t->base.rank = t->base.size;
        t->ranks[t->base.size++] = rank;
    }
    snprintf(t->base.facts, sizeof t->base.facts, "part=%d ranks=%d whole=(%.180s)", part,
             t->base.size, whole->facts);
}

enum status transport_split(struct transport **split, struct transport *whole, int part)
{
    const size_t size = (size_t)whole->size;
    enum status status = STATUS_OK;
    struct split *made = calloc(1, sizeof *made + size * sizeof made->ranks[0]);
    int *parts = calloc(size, sizeof *parts);
    if (made)
        made->requests = calloc(2 * size, sizeof(struct transport_request *));
    if (!made || !parts || !made->requests) {
        status = fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a part of %zu ranks", size);
        goto end;
    }
    TRY_ELSE(transport_gather_each(whole, &part, parts, sizeof part), end);
    *split = NULL;
    if (part >= 0) {
        introduce(made, whole, parts);
        *split = &made->base;
        made = NULL;
    }
end:
    free(parts);
    if (made)
        free(made->requests);
    free(made);
    return status;
}
