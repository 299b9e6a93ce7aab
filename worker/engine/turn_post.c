/* Owns the messages of turns. */
#include "worker/engine/turn_post.h"

#include <stdlib.h>
#include <time.h>

#include "proto/clock.h"

/* A rank other than 0 always waits for a turn, and the last one never comes: the transport may
 * outlive the engine with a request that points here. */
struct turn_post {
    struct transport_keepsake keepsake;
    struct turn turn;
    struct transport *transport;
    struct transport_request *requests[]; /* [size]; NULL: none under way */
};

enum status turn_post_create(struct turn_post **out, struct transport *transport)
{
    struct turn_post *post =
        calloc(1, sizeof *post + (size_t)transport->size * sizeof *post->requests);
    if (!post)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the turns of %d ranks",
                    transport->size);
    post->transport = transport;
    *out = post;
    return STATUS_OK;
}

struct turn *turn_post_turn(struct turn_post *post)
{
    return &post->turn;
}

enum status turn_post_wait(struct turn_post *post)
{
    for (int peer = 1; peer < post->transport->size; peer++) {
        struct transport_request *request = post->requests[peer];
        post->requests[peer] = NULL;
        if (request)
            TRY(transport_wait(post->transport, request));
    }
    return STATUS_OK;
}

/* The others have the last turn first: a rank 0 that decoded alone may be ahead of them. */
void turn_post_destroy(struct turn_post *post, bool whole)
{
    if (!post)
        return;
    bool under_way = post->transport->rank == 0 && whole && turn_post_wait(post) != STATUS_OK;
    for (int peer = 0; peer < post->transport->size; peer++)
        under_way |= post->requests[peer] != NULL;
    if (under_way)
        transport_keep(post->transport, &post->keepsake);
    else
        free(post);
}

enum status turn_post_tell(struct turn_post *post)
{
    for (int peer = 1; peer < post->transport->size; peer++)
        TRY(transport_send(post->transport, peer, TRANSPORT_TURN, &post->turn, sizeof post->turn,
                           &post->requests[peer]));
    return STATUS_OK;
}

enum status turn_post_hear(struct turn_post *post, bool *there, bool must, int wait_ms)
{
    enum { PATIENT_ROUNDS = 1 << 12, SLEEP_NS = 100000 };
    struct transport *transport = post->transport;
    struct transport_request **request = &post->requests[0];
    const int64_t end_ns = clock_after_ms(wait_ms);
    if (!*request)
        TRY(transport_receive(transport, 0, TRANSPORT_TURN, &post->turn, sizeof post->turn,
                              request));
    *there = must;
    if (must)
        TRY(transport_wait(transport, *request));
    for (int round = 0; !*there && clock_now_ns() < end_ns; round++) {
        TRY(transport_progress(transport));
        TRY(transport_test(transport, *request, there));
        if (!*there && round > PATIENT_ROUNDS)
            nanosleep(&(struct timespec){.tv_nsec = SLEEP_NS}, NULL);
    }
    if (*there)
        *request = NULL;
    return STATUS_OK;
}
