/* Owns the requests of one verdict at a time. */
#include "worker/engine/verdict.h"

#include <stdlib.h>

#include "worker/engine/transport/spin.h"

enum status verdict_init(struct verdict_post *post, struct transport *transport)
{
    struct transport_request **requests = calloc((size_t)transport->size, sizeof *requests);
    uint64_t *places = calloc((size_t)transport->size, sizeof *places);
    if (!requests || !places) {
        free(requests);
        free(places);
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the verdicts of %d ranks",
                    transport->size);
    }
    *post = (struct verdict_post){.transport = transport, .requests = requests, .places = places};
    return STATUS_OK;
}

void verdict_deinit(struct verdict_post *post)
{
    free(post->requests);
    free(post->places);
}

static enum status wait_for(struct verdict_post *post, int peer, const struct device_drive *drive)
{
    enum status status = STATUS_OK;
    bool done = post->requests[peer] == NULL;
    struct spin spin;
    spin_begin(&spin);
    while (!done) {
        if (drive)
            drive->call(drive->context);
        TRY_ELSE(transport_test(post->transport, post->requests[peer], &done), end);
        if (!done)
            TRY_ELSE(spin_round(post->transport, &spin, peer), end);
    }
    post->requests[peer] = NULL;
end:
    spin_end(post->transport, &spin);
    return status;
}

enum status verdict_offer(struct verdict_post *post, const struct verdict *verdict)
{
    struct transport *transport = post->transport;
    if (transport->rank != 0)
        return transport_receive(transport, 0, TRANSPORT_VERDICT, &post->verdict,
                                 sizeof post->verdict, &post->requests[0]);
    post->verdict = *verdict;
    for (int peer = 1; peer < transport->size; peer++)
        TRY(transport_send(transport, peer, TRANSPORT_VERDICT, &post->verdict, sizeof post->verdict,
                           &post->requests[peer]));
    return STATUS_OK;
}

enum status verdict_collect(struct verdict_post *post, uint64_t *non_finite,
                            const struct device_drive *drive)
{
    struct transport *transport = post->transport;
    const size_t bytes = sizeof *post->places;
    if (transport->rank != 0) {
        post->places[0] = *non_finite;
        TRY(transport_send(transport, 0, TRANSPORT_VERDICT, &post->places[0], bytes,
                           &post->requests[0]));
        return wait_for(post, 0, drive);
    }
    for (int peer = 1; peer < transport->size; peer++)
        TRY(transport_receive(transport, peer, TRANSPORT_VERDICT, &post->places[peer], bytes,
                              &post->requests[peer]));
    for (int peer = 1; peer < transport->size; peer++) {
        TRY(wait_for(post, peer, drive));
        if (post->places[peer] < *non_finite)
            *non_finite = post->places[peer];
    }
    return STATUS_OK;
}

enum status verdict_take(struct verdict_post *post, struct verdict *verdict,
                         const struct device_drive *drive)
{
    if (post->transport->rank != 0)
        TRY(wait_for(post, 0, drive));
    for (int peer = 1; post->transport->rank == 0 && peer < post->transport->size; peer++)
        TRY(wait_for(post, peer, drive));
    *verdict = post->verdict;
    return STATUS_OK;
}
