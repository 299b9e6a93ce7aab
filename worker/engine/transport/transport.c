/* Owns what is the same for every transport: waiting, counting collectives, abort and hint. */
#include "worker/engine/transport/transport.h"

#include <stdlib.h>

#include "worker/engine/transport/board.h"
#include "worker/engine/transport/core_wait.h"
#include "worker/engine/transport/spin.h"

/* With each peer: a stage's blocks to it under way, two of a verdict, a turn, and one to spare. */
enum { REQUESTS_EACH = 8 };

struct transport_options transport_options_filled(const struct transport_options *options, int size)
{
    struct transport_options filled = options ? *options : (struct transport_options){0};
    if (filled.requests == 0)
        filled.requests = 256 + REQUESTS_EACH * (size_t)size;
    if (filled.silence_ns == 0)
        filled.silence_ns = 30000000000;
    if (filled.threads == 0)
        filled.threads = 1;
    if (filled.piece_bytes == 0)
        filled.piece_bytes = (size_t)1 << 30;
    return filled;
}

enum status transport_wait(struct transport *t, struct transport_request *request)
{
    const int peer = request->peer;
    bool done = false;
    TRY(transport_test(t, request, &done));
    if (done)
        return STATUS_OK;
    struct spin spin;
    spin_begin(&spin);
    enum status status = STATUS_OK;
    while (status == STATUS_OK && !done) {
        status = spin_round(t, &spin, peer);
        if (status == STATUS_OK)
            status = transport_test(t, request, &done);
    }
    spin_end(t, &spin);
    return status;
}

static enum status gather(struct transport *t, const void *mine, void *all,
                          const struct transport_parts *parts)
{
    TRY(t->ops->gather(t, mine, all, parts));
    const size_t own_bytes = transport_part_bytes(parts, t->rank);
    t->counters.sent_bytes[TRANSPORT_STATE] += own_bytes * (size_t)(t->size - 1);
    t->counters.sent_messages[TRANSPORT_STATE] += own_bytes > 0 ? (size_t)(t->size - 1) : 0;
    for (int rank = 0; rank < t->size; rank++)
        if (rank != t->rank)
            t->counters.received_bytes[TRANSPORT_STATE] += transport_part_bytes(parts, rank);
    transport_mark(t);
    return STATUS_OK;
}

enum status transport_gather(struct transport *t, const void *mine, void *all,
                             const size_t offsets[], const size_t sizes[])
{
    return gather(t, mine, all, &(struct transport_parts){offsets, sizes, 0});
}

enum status transport_gather_each(struct transport *t, const void *mine, void *all, size_t bytes)
{
    return gather(t, mine, all, &(struct transport_parts){NULL, NULL, bytes});
}

enum status transport_broadcast(struct transport *t, void *data, size_t bytes)
{
    TRY(t->ops->broadcast(t, data, bytes));
    if (t->rank == 0)
        t->counters.sent_bytes[TRANSPORT_VERDICT] += bytes * (size_t)(t->size - 1);
    else
        t->counters.received_bytes[TRANSPORT_VERDICT] += bytes;
    t->counters.sent_messages[TRANSPORT_VERDICT] += t->rank == 0 ? (size_t)(t->size - 1) : 0;
    transport_mark(t);
    return STATUS_OK;
}

enum status transport_barrier(struct transport *t)
{
    TRY(t->ops->barrier(t));
    transport_mark(t);
    return STATUS_OK;
}

void transport_mark(struct transport *t)
{
    board_mark(t->board);
}

void transport_hint(struct transport *t, uint32_t value)
{
    board_hint(t->board, value);
}

uint32_t transport_hinted(const struct transport *t)
{
    return board_hinted(t->board);
}

void transport_abort(struct transport *t, const char *reason)
{
    board_abort(t->board, t->rank, reason);
}

bool transport_aborted(const struct transport *t)
{
    return board_aborted(t->board);
}

void transport_set_silence(struct transport *t, int64_t silence_ns)
{
    t->silence_ns = silence_ns;
}

void transport_set_cores_short(struct transport *t, bool cores_short)
{
    t->board->cores_short = cores_short;
}

void transport_keep(struct transport *t, struct transport_keepsake *keepsake)
{
    while (t->whole)
        t = t->whole;
    keepsake->next = t->keepsakes;
    t->keepsakes = keepsake;
}

void transport_destroy(struct transport *t)
{
    if (!t)
        return;
    struct transport_keepsake *kept = t->keepsakes;
    if (!t->whole)
        core_wait_close(&t->board->core_wait);
    t->ops->destroy(t);
    while (kept) {
        struct transport_keepsake *next = kept->next;
        free(kept);
        kept = next;
    }
}
