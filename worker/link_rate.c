/* Owns nothing. Promises one rate for all ranks, and a link that is quiet again when it returns. */
#include "worker/link_rate.h"

#include <stdlib.h>
#include <string.h>

#include "proto/clock.h"

/* The best of several: a rank that is kept waiting by something else tells nothing of its link. */
enum { ROUND_BYTES = 1 << 20, ROUNDS = 4 };

struct rounds {
    double seconds[ROUNDS];
};

/* A failed exchange leaves it to the transport, which may still write there. */
struct probe {
    struct transport_keepsake keepsake;
    char received[ROUND_BYTES];
    char sent[ROUND_BYTES];
};

static enum status exchange(struct transport *transport, struct probe *probe)
{
    const int next = (transport->rank + 1) % transport->size;
    const int previous = (transport->rank + transport->size - 1) % transport->size;
    struct transport_request *received;
    struct transport_request *sent;
    TRY(transport_receive(transport, previous, TRANSPORT_KEYS, probe->received, ROUND_BYTES,
                          &received));
    TRY(transport_send(transport, next, TRANSPORT_KEYS, probe->sent, ROUND_BYTES, &sent));
    TRY(transport_wait(transport, received));
    return transport_wait(transport, sent);
}

static enum status time_rounds(struct rounds *mine, struct transport *transport,
                               struct probe *probe)
{
    for (int round = 0; round < ROUNDS; round++) {
        const int64_t begun_ns = clock_now_ns();
        TRY(exchange(transport, probe));
        mine->seconds[round] = clock_seconds_since(begun_ns);
    }
    return STATUS_OK;
}

/* A round is as long as for the rank that waited longest in it: where a link is shared, others are
 * done sooner. */
static double shortest_round(const struct rounds *all, int ranks)
{
    double shortest = 0;
    for (int round = 0; round < ROUNDS; round++) {
        double longest = 0;
        for (int rank = 0; rank < ranks; rank++)
            if (all[rank].seconds[round] > longest)
                longest = all[rank].seconds[round];
        if (round == 0 || longest < shortest)
            shortest = longest;
    }
    return shortest;
}

static enum status compare(double *bytes_per_second, struct transport *transport,
                           const struct rounds *mine)
{
    struct rounds *all = calloc((size_t)transport->size, sizeof *all);
    if (!all)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to compare the links of %d ranks",
                    transport->size);
    const enum status status = transport_gather_each(transport, mine, all, sizeof *all);
    if (status == STATUS_OK)
        *bytes_per_second = ROUND_BYTES / shortest_round(all, transport->size);
    free(all);
    return status;
}

enum status link_rate_measure(double *bytes_per_second, struct transport *transport)
{
    *bytes_per_second = 0;
    if (transport->size == 1 || strcmp(transport->name, "nccl") == 0)
        return STATUS_OK;
    struct probe *probe = calloc(1, sizeof *probe);
    struct rounds mine;
    if (!probe)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to measure the link between ranks");
    const enum status status = time_rounds(&mine, transport, probe);
    if (status != STATUS_OK) {
        transport_keep(transport, &probe->keepsake);
        return status;
    }
    free(probe);
    return compare(bytes_per_second, transport, &mine);
}
