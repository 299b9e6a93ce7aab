/* Owns the exchange of partial sums. Promises one sequence of additions whatever comes first, and
 * that the exchange of keys goes on while it waits. */
#include "worker/engine/tensor_sum.h"

#include <stdlib.h>
#include <string.h>

#include "proto/plan/tensor_sums.h"
#include "worker/engine/transport/spin.h"

enum status tensor_sum_init(struct tensor_sum *sum, struct transport *axis)
{
    *sum = (struct tensor_sum){.axis = axis};
    if (!axis)
        return STATUS_OK;
    sum->requests = calloc(2 * (size_t)axis->size, sizeof *sum->requests);
    if (sum->requests)
        return STATUS_OK;
    return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the sums of %d ranks", axis->size);
}

void tensor_sum_deinit(struct tensor_sum *sum)
{
    free(sum->requests);
    *sum = (struct tensor_sum){0};
}

/* One piece on its way. */
struct piece {
    const struct tensor_sum *sum;
    float *partial;
    float *scratch;
    int64_t count;
    int requests;
    const struct device_drive *waiting;
};

static enum status receive(struct piece *piece, int peer, float *to, int64_t count)
{
    if (count == 0)
        return STATUS_OK;
    return transport_receive(piece->sum->axis, peer, TRANSPORT_STATE, to,
                             (size_t)count * sizeof *to, &piece->sum->requests[piece->requests++]);
}

static enum status send(struct piece *piece, int peer, const float *from, int64_t count)
{
    if (count == 0)
        return STATUS_OK;
    return transport_send(piece->sum->axis, peer, TRANSPORT_STATE, from,
                          (size_t)count * sizeof *from, &piece->sum->requests[piece->requests++]);
}

static enum status wait_one(const struct piece *piece, struct transport_request *request)
{
    struct transport *axis = piece->sum->axis;
    const int peer = request->peer;
    enum status status = STATUS_OK;
    bool done = false;
    struct spin spin;
    TRY(transport_test(axis, request, &done));
    if (done)
        return STATUS_OK;
    spin_begin(&spin);
    while (status == STATUS_OK && !done) {
        if (piece->waiting)
            piece->waiting->call(piece->waiting->context);
        status = transport_test(axis, request, &done);
        if (status == STATUS_OK && !done)
            status = spin_round(axis, &spin, peer);
    }
    spin_end(axis, &spin);
    return status;
}

static enum status wait_all(struct piece *piece)
{
    for (int r = 0; r < piece->requests; r++)
        TRY(wait_one(piece, piece->sum->requests[r]));
    piece->requests = 0;
    return STATUS_OK;
}

static void add(float *restrict sum, const float *restrict values, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        sum[i] += values[i];
}

/* Where another place's floats arrive: `each` of every one. */
static float *arrived(const struct piece *piece, int peer, int64_t each)
{
    const int before = peer < piece->sum->axis->rank ? peer : peer - 1;
    return piece->scratch + before * each;
}

/* own [count] and those that arrived, in the order of places; the sum comes to `own`. */
static void add_up(const struct piece *piece, float *own, int64_t count, int64_t each)
{
    const struct transport *axis = piece->sum->axis;
    float *sum = axis->rank == 0 ? own : arrived(piece, 0, each);
    for (int place = 1; place < axis->size; place++)
        add(sum, place == axis->rank ? own : arrived(piece, place, each), count);
    if (sum != own && count > 0)
        memcpy(own, sum, (size_t)count * sizeof *own);
}

/* Every place adds up the whole piece. */
static enum status sum_whole(struct piece *piece)
{
    const struct transport *axis = piece->sum->axis;
    for (int peer = 0; peer < axis->size; peer++)
        if (peer != axis->rank)
            TRY(receive(piece, peer, arrived(piece, peer, piece->count), piece->count));
    for (int step = 1; step < axis->size; step++)
        TRY(send(piece, (axis->rank + step) % axis->size, piece->partial, piece->count));
    TRY(wait_all(piece));
    add_up(piece, piece->partial, piece->count, piece->count);
    return STATUS_OK;
}

static struct span share_of(const struct piece *piece, int place)
{
    return tensor_sums_share(piece->count, piece->sum->axis->size, place);
}

/* Every place adds up its share, and tells the others. */
static enum status sum_shares(struct piece *piece)
{
    const struct transport *axis = piece->sum->axis;
    const struct span mine = share_of(piece, axis->rank);
    const int64_t own = mine.end - mine.first;
    for (int peer = 0; peer < axis->size; peer++)
        if (peer != axis->rank)
            TRY(receive(piece, peer, arrived(piece, peer, own), own));
    for (int step = 1; step < axis->size; step++) {
        const int peer = (axis->rank + step) % axis->size;
        const struct span theirs = share_of(piece, peer);
        TRY(send(piece, peer, piece->partial + theirs.first, theirs.end - theirs.first));
    }
    TRY(wait_all(piece));
    add_up(piece, piece->partial + mine.first, own, own);
    for (int step = 1; step < axis->size; step++) {
        const int peer = (axis->rank + step) % axis->size;
        const struct span theirs = share_of(piece, peer);
        TRY(receive(piece, peer, piece->partial + theirs.first, theirs.end - theirs.first));
        TRY(send(piece, peer, piece->partial + mine.first, own));
    }
    return wait_all(piece);
}

enum status tensor_sum_take(const struct tensor_sum *sum, float *partial, float *scratch,
                            int64_t count, bool of_stage, const struct device_drive *waiting)
{
    if (!sum->axis)
        return STATUS_OK;
    for (int64_t first = 0; first < count; first += TENSOR_SUMS_PIECE) {
        const int64_t left = count - first;
        struct piece piece = {sum,     partial + first,
                              scratch, left < TENSOR_SUMS_PIECE ? left : TENSOR_SUMS_PIECE,
                              0,       waiting};
        TRY(tensor_sums_whole(sum->axis->size, of_stage) ? sum_whole(&piece) : sum_shares(&piece));
    }
    transport_mark(sum->axis);
    return STATUS_OK;
}
