/* Owns the order in which ranks' numbers are added. Promises that no more than the scratch is held
 * of other ranks' parts: they come piece by piece, one from every rank at once, and are added when
 * all of them are there. */
#include "worker/engine/transport/transport_reduce.h"

#include <assert.h>
#include <string.h>

/* One rank's sum while it is made. */
struct adding {
    struct transport *t;
    float *mine;
    const float *all;
    const struct transport_sums *sums;
    size_t piece; /* float32s of a rank in one round */
};

static size_t part_count(const struct adding *adding, int rank)
{
    return adding->sums->sizes[rank] / sizeof(float);
}

static const float *part(const struct adding *adding, int rank)
{
    return adding->all + adding->sums->offsets[rank] / sizeof(float);
}

/* Float32s of a rank's part that the round which begins at `first` is about. */
static size_t round_count(const struct adding *adding, int rank, size_t first)
{
    const size_t count = part_count(adding, rank);
    const size_t left = count > first ? count - first : 0;
    return left < adding->piece ? left : adding->piece;
}

/* Where what `rank` sends lies until it is added. */
static float *arrived(const struct adding *adding, int rank)
{
    const int place = rank < adding->t->rank ? rank : rank - 1;
    return adding->sums->scratch + (size_t)place * adding->piece;
}

static enum status post_round(const struct adding *adding, size_t first,
                              struct transport_request *requests[], size_t *count)
{
    struct transport *t = adding->t;
    const size_t own = round_count(adding, t->rank, first);
    for (int step = 1; step < t->size && own > 0; step++) {
        const int peer = (t->rank + t->size - step) % t->size;
        TRY(transport_receive(t, peer, TRANSPORT_TOGETHER, arrived(adding, peer),
                              own * sizeof(float), &requests[(*count)++]));
    }
    for (int step = 1; step < t->size; step++) {
        const int peer = (t->rank + step) % t->size;
        const size_t theirs = round_count(adding, peer, first);
        if (theirs > 0)
            TRY(transport_send(t, peer, TRANSPORT_TOGETHER, part(adding, peer) + first,
                               theirs * sizeof(float), &requests[(*count)++]));
    }
    return STATUS_OK;
}

static enum status host_add(struct transport *t, float *restrict sum, const float *restrict values,
                            size_t count)
{
    (void)t;
    for (size_t i = 0; i < count; i++)
        sum[i] += values[i];
    return STATUS_OK;
}

static enum status host_copy(struct transport *t, float *to, const float *from, size_t count)
{
    (void)t;
    memcpy(to, from, count * sizeof *to);
    return STATUS_OK;
}

static const struct transport_arithmetic host_arithmetic = {host_add, host_copy};

/* A split's memory is of the kind of its whole's. */
static struct transport *whole_of(struct transport *t)
{
    while (t->whole)
        t = t->whole;
    return t;
}

static const struct transport_arithmetic *arithmetic_of(const struct transport *whole)
{
    return whole->arithmetic ? whole->arithmetic : &host_arithmetic;
}

/* In what came from rank 0, since `mine` may be where this rank's own numbers lie. */
static enum status add_round(const struct adding *adding, size_t first)
{
    struct transport *whole = whole_of(adding->t);
    const struct transport_arithmetic *arithmetic = arithmetic_of(whole);
    const int own_rank = adding->t->rank;
    const size_t count = round_count(adding, own_rank, first);
    const float *own = part(adding, own_rank) + first;
    float *mine = adding->mine + first;
    float *sum = own_rank == 0 ? mine : arrived(adding, 0);
    if (count == 0)
        return STATUS_OK;
    if (own_rank == 0 && mine != own)
        TRY(arithmetic->copy(whole, mine, own, count));
    for (int rank = 1; rank < adding->t->size; rank++)
        TRY(arithmetic->add(whole, sum, rank == own_rank ? own : arrived(adding, rank), count));
    return own_rank > 0 ? arithmetic->copy(whole, mine, sum, count) : STATUS_OK;
}

static enum status add_in_rounds(const struct adding *adding)
{
    struct transport_request **requests = adding->sums->requests;
    size_t longest = 0;
    for (int rank = 0; rank < adding->t->size; rank++)
        if (part_count(adding, rank) > longest)
            longest = part_count(adding, rank);
    for (size_t first = 0; first < longest; first += adding->piece) {
        size_t count = 0;
        TRY(post_round(adding, first, requests, &count));
        for (size_t r = 0; r < count; r++)
            TRY(transport_wait(adding->t, requests[r]));
        TRY(add_round(adding, first));
    }
    return STATUS_OK;
}

enum status transport_reduce_by_messages(struct transport *t, float *mine, const float *all,
                                         const struct transport_sums *sums)
{
    const size_t others = (size_t)t->size - 1;
    struct adding adding = {t, mine, all, sums, others ? sums->scratch_count / others : 0};
    if (others == 0 && (part_count(&adding, 0) == 0 || mine == part(&adding, 0)))
        return STATUS_OK;
    if (others == 0)
        return arithmetic_of(whole_of(t))
            ->copy(whole_of(t), mine, part(&adding, 0), part_count(&adding, 0));
    assert(adding.piece > 0);
    return add_in_rounds(&adding);
}

enum status transport_reduce_scatter(struct transport *t, float *mine, const float *all,
                                     const struct transport_sums *sums)
{
    TRY(t->ops->reduce_scatter(t, mine, all, sums));
    transport_mark(t);
    return STATUS_OK;
}

enum status transport_reduce(struct transport *t, float *all, const struct transport_sums *sums)
{
    float *mine = all + sums->offsets[t->rank] / sizeof(float);
    TRY(transport_reduce_scatter(t, mine, all, sums));
    return transport_gather(t, mine, all, sums->offsets, sums->sizes);
}
