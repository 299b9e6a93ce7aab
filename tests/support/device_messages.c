/* Owns a slab of device memory and one of pinned memory beside it, the same offsets in both; they
 * are used up piece by piece, and are new again when nothing is under way. */
#include "tests/support/device_messages.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/clock.h"
#include "worker/engine/transport/board.h"

/* The transport itself ends an exchange that stands still, and knows more about it: so patience is
 * longer than a silence, many turns of all ranks that share a device included. */
enum { SLAB_BYTES = 40 << 20, PIECE_ALIGNMENT = 256, PIECES_MOST = 512, PATIENCE_MS = 120000 };

struct piece {
    struct transport_request head;
    struct transport_request *inner;
    void *to; /* of a receive: where the caller wants it */
    size_t offset;
    bool used;
};

struct device_messages {
    struct transport base;
    struct transport *inner;
    const struct cuda_streams *streams;
    char *there, *here;
    size_t used;
    int under_way;
    struct CUevent_st *event;
    struct piece pieces[PIECES_MOST];
};

static struct device_messages *of(struct transport *t)
{
    return (struct device_messages *)t;
}

static enum status reserve(struct device_messages *t, size_t bytes, size_t *offset)
{
    if (t->under_way == 0)
        t->used = 0;
    *offset = t->used;
    t->used += (bytes + PIECE_ALIGNMENT) / PIECE_ALIGNMENT * PIECE_ALIGNMENT;
    return t->used <= SLAB_BYTES ? STATUS_OK : fail(STATUS_INTERNAL, "the slab is too short");
}

static enum status settle(struct device_messages *t)
{
    const int64_t end_ns = clock_after_ms(PATIENCE_MS);
    bool done = false;
    TRY(t->streams->runtime->event_record(t->event, t->streams->compute));
    while (!done) {
        TRY(t->streams->runtime->event_query(t->event, &done));
        TRY(transport_progress(t->inner));
        if (clock_now_ns() > end_ns)
            return fail(STATUS_INTERNAL,
                        "GPU %d has not done rank %d's copies, or a gather before them, in %d s",
                        t->streams->device, t->base.rank, PATIENCE_MS / 1000);
    }
    return STATUS_OK;
}

static enum status begin(struct device_messages *t, const struct transport_request *head,
                         const void *data, void *to, struct transport_request **out)
{
    int p = 0;
    while (p < PIECES_MOST && t->pieces[p].used)
        p++;
    assert(p < PIECES_MOST);
    struct piece *piece = &t->pieces[p];
    size_t offset;
    TRY(reserve(t, head->bytes, &offset));
    *piece = (struct piece){.head = *head, .to = to, .offset = offset, .used = true};
    if (head->sends) {
        if (head->bytes > 0)
            memcpy(t->here + offset, data, head->bytes);
        TRY(t->streams->runtime->copy(t->there + offset, t->here + offset, head->bytes,
                                      t->streams->compute));
        TRY(transport_send(t->inner, head->peer, head->channel, t->there + offset, head->bytes,
                           &piece->inner));
    } else {
        TRY(transport_receive(t->inner, head->peer, head->channel, t->there + offset, head->bytes,
                              &piece->inner));
    }
    t->under_way++;
    *out = &piece->head;
    return STATUS_OK;
}

static enum status messages_send(struct transport *base, int peer, enum transport_channel channel,
                                 const void *data, size_t bytes, struct transport_request **request)
{
    const struct transport_request head = {peer, channel, bytes, true};
    TRY(begin(of(base), &head, data, NULL, request));
    base->counters.sent_bytes[channel] += bytes;
    base->counters.sent_messages[channel]++;
    return STATUS_OK;
}

static enum status messages_receive(struct transport *base, int peer,
                                    enum transport_channel channel, void *data, size_t bytes,
                                    struct transport_request **request)
{
    const struct transport_request head = {peer, channel, bytes, false};
    TRY(begin(of(base), &head, NULL, data, request));
    base->counters.received_bytes[channel] += bytes;
    return STATUS_OK;
}

static enum status messages_test(struct transport *base, struct transport_request *head, bool *done)
{
    struct device_messages *t = of(base);
    struct piece *piece = (struct piece *)head;
    t->inner->silence_ns = base->silence_ns;
    TRY(transport_test(t->inner, piece->inner, done));
    if (!*done)
        return STATUS_OK;
    if (!head->sends && head->bytes > 0) {
        TRY(t->streams->runtime->copy(t->here + piece->offset, t->there + piece->offset,
                                      head->bytes, t->streams->compute));
        TRY(settle(t));
        memcpy(piece->to, t->here + piece->offset, head->bytes);
    }
    piece->used = false;
    t->under_way--;
    return STATUS_OK;
}

static enum status messages_progress(struct transport *base)
{
    of(base)->inner->silence_ns = base->silence_ns;
    return transport_progress(of(base)->inner);
}

/* The span of all parts crosses with what lies between them. */
static enum status messages_gather(struct transport *base, const void *mine, void *all,
                                   const struct transport_parts *parts)
{
    struct device_messages *t = of(base);
    const size_t own = transport_part_offset(parts, base->rank);
    const size_t own_bytes = transport_part_bytes(parts, base->rank);
    size_t bytes = 0;
    size_t at;
    for (int r = 0; r < base->size; r++) {
        const size_t end = transport_part_offset(parts, r) + transport_part_bytes(parts, r);
        bytes = end > bytes ? end : bytes;
    }
    if (t->under_way > 0 || bytes == 0)
        return t->inner->ops->gather(t->inner, mine, all, parts);
    TRY(reserve(t, bytes, &at));
    memcpy(t->here + at, all, bytes);
    if (own_bytes > 0)
        memcpy(t->here + at + own, mine, own_bytes);
    TRY(t->streams->runtime->copy(t->there + at, t->here + at, bytes, t->streams->compute));
    TRY(t->inner->ops->gather(t->inner, t->there + at + own, t->there + at, parts));
    TRY(t->streams->runtime->copy(t->here + at, t->there + at, bytes, t->streams->compute));
    TRY(settle(t));
    memcpy(all, t->here + at, bytes);
    return STATUS_OK;
}

/* Numbers, scratch and, where it is apart, the result: one behind the other on the device. */
static enum status messages_reduce_scatter(struct transport *base, float *mine, const float *all,
                                           const struct transport_sums *sums)
{
    struct device_messages *t = of(base);
    const struct cuda_runtime *runtime = t->streams->runtime;
    const float *own = all + sums->offsets[base->rank] / sizeof(float);
    const size_t own_bytes = sums->sizes[base->rank];
    struct transport_counters *counters = &t->inner->counters;
    const struct transport_counters before = *counters;
    struct transport_sums there = *sums;
    size_t bytes = 0, at;
    for (int r = 0; r < base->size; r++)
        if (sums->offsets[r] + sums->sizes[r] > bytes)
            bytes = sums->offsets[r] + sums->sizes[r];
    TRY(reserve(t, bytes + sums->scratch_count * sizeof(float) + own_bytes, &at));
    const size_t scratch = at + bytes, apart = scratch + sums->scratch_count * sizeof(float);
    const size_t result = mine == own ? at + sums->offsets[base->rank] : apart;
    memcpy(t->here + at, all, bytes);
    TRY(runtime->copy(t->there + at, t->here + at, bytes, t->streams->compute));
    there.scratch = (float *)(t->there + scratch);
    TRY(t->inner->ops->reduce_scatter(t->inner, (float *)(t->there + result),
                                      (float *)(t->there + at), &there));
    TRY(runtime->copy(t->here + result, t->there + result, own_bytes, t->streams->compute));
    TRY(settle(t));
    memcpy(mine, t->here + result, own_bytes);
    base->counters.sent_bytes[TRANSPORT_TOGETHER] +=
        counters->sent_bytes[TRANSPORT_TOGETHER] - before.sent_bytes[TRANSPORT_TOGETHER];
    base->counters.received_bytes[TRANSPORT_TOGETHER] +=
        counters->received_bytes[TRANSPORT_TOGETHER] - before.received_bytes[TRANSPORT_TOGETHER];
    return STATUS_OK;
}

static enum status messages_broadcast(struct transport *base, void *data, size_t bytes)
{
    of(base)->inner->silence_ns = base->silence_ns;
    return of(base)->inner->ops->broadcast(of(base)->inner, data, bytes);
}

static enum status messages_barrier(struct transport *base)
{
    of(base)->inner->silence_ns = base->silence_ns;
    return of(base)->inner->ops->barrier(of(base)->inner);
}

static void messages_destroy(struct transport *base)
{
    struct device_messages *t = of(base);
    const struct cuda_runtime *runtime = t->streams->runtime;
    transport_destroy(t->inner);
    runtime->event_destroy(t->event);
    runtime->release(t->there);
    runtime->host_release(t->here);
    free(t);
}

static const struct transport_ops messages_ops = {
    .send = messages_send,
    .receive = messages_receive,
    .test = messages_test,
    .progress = messages_progress,
    .gather = messages_gather,
    .broadcast = messages_broadcast,
    .reduce_scatter = messages_reduce_scatter,
    .barrier = messages_barrier,
    .destroy = messages_destroy,
};

enum status device_messages_create(struct transport **out, struct transport *inner,
                                   const struct cuda_streams *streams)
{
    struct device_messages *t = calloc(1, sizeof *t);
    void *there, *here;
    assert(t);
    t->base = *inner;
    t->base.ops = &messages_ops;
    t->base.arithmetic = NULL; /* a split of it has memory of the host */
    t->inner = inner;
    t->streams = streams;
    TRY(streams->runtime->allocate(&there, SLAB_BYTES));
    TRY(streams->runtime->host_allocate(&here, SLAB_BYTES));
    TRY(streams->runtime->event_create(&t->event));
    t->there = there;
    t->here = here;
    *out = &t->base;
    return STATUS_OK;
}
