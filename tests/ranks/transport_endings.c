/* Owns the cases that end the group. Each returns STATUS_OK when the group ended as the contract
 * says. */
#include "tests/ranks/transport_endings.h"
#include "proto/clock.h"

#include <string.h>
#include <time.h>

enum {
    MOST_RANKS = 16,
    REQUESTS = 256,
    /* The contract says 100 ms; a loaded machine may keep a rank from its core for longer than
       that. */
    PROMPT_NS = 400000000,
};

static void sleep_ns(int64_t ns)
{
    const struct timespec span = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};
    nanosleep(&span, NULL);
}

/* Rank 0 sleeps without a sign; the others wait for it. */
enum status transport_endings_silence(struct transport *t, void *context)
{
    (void)context;
    TRY(transport_barrier(t));
    transport_set_silence(t, TRANSPORT_ENDINGS_SILENCE_NS);
    if (t->rank == 0) {
        sleep_ns(3 * TRANSPORT_ENDINGS_SILENCE_NS);
        return STATUS_OK;
    }
    static _Thread_local int word;
    struct transport_request *request;
    TRY(transport_receive(t, 0, TRANSPORT_KEYS, &word, sizeof word, &request));
    const int64_t begun_ns = clock_now_ns();
    const enum status status = transport_wait(t, request);
    const int64_t waited_ns = clock_now_ns() - begun_ns;
    expect_on_rank(t, status == STATUS_UNAVAILABLE);
    expect_on_rank(t, strstr(status_message(), "rank 0, which made no progress") ||
                          transport_aborted(t));
    expect_on_rank(t, waited_ns > TRANSPORT_ENDINGS_SILENCE_NS / 2);
    expect_on_rank(t, waited_ns < 3 * TRANSPORT_ENDINGS_SILENCE_NS + PROMPT_NS);
    transport_abort(t, "rank 0 is silent");
    return STATUS_OK;
}

/* Rank r waits for rank r + 1, the last for the first. */
enum status transport_endings_circle(struct transport *t, void *context)
{
    (void)context;
    TRY(transport_barrier(t));
    transport_set_silence(t, TRANSPORT_ENDINGS_SILENCE_NS);
    static _Thread_local int word;
    struct transport_request *request;
    TRY(transport_receive(t, (t->rank + 1) % t->size, TRANSPORT_KEYS, &word, sizeof word,
                          &request));
    const int64_t begun_ns = clock_now_ns();
    const enum status status = transport_wait(t, request);
    const int64_t waited_ns = clock_now_ns() - begun_ns;
    expect_on_rank(t, status == STATUS_UNAVAILABLE);
    expect_on_rank(t, waited_ns < 5 * TRANSPORT_ENDINGS_SILENCE_NS);
    transport_abort(t, "a circle");
    return STATUS_OK;
}

static enum status wait_somehow(struct transport *t)
{
    static _Thread_local int all[MOST_RANKS];
    if (t->rank % 3 == 1) {
        struct transport_request *request;
        TRY(transport_receive(t, 0, TRANSPORT_KEYS, &all[0], sizeof(int), &request));
        return transport_wait(t, request);
    }
    return t->rank % 3 == 2 ? transport_gather_each(t, &all[t->rank], all, sizeof all[0])
                            : transport_barrier(t);
}

/* At an agreed time rank 0 aborts, while the others wait in three ways. */
enum status transport_endings_abort(struct transport *t, void *context)
{
    (void)context;
    int64_t abort_ns = clock_now_ns() + 50000000;
    TRY(transport_broadcast(t, &abort_ns, sizeof abort_ns));
    if (t->rank == 0) {
        while (clock_now_ns() < abort_ns)
            TRY(transport_progress(t));
        transport_abort(t, "the first reason");
        transport_abort(t, "a later reason");
        expect_on_rank(t, transport_progress(t) == STATUS_UNAVAILABLE);
    } else {
        const enum status status = wait_somehow(t);
        const int64_t now = clock_now_ns();
        expect_on_rank(t, status == STATUS_UNAVAILABLE);
        expect_on_rank(t, now >= abort_ns);
        expect_on_rank(t, now < abort_ns + PROMPT_NS);
    }
    expect_on_rank(t, strstr(status_message(), "rank 0 stopped the worker group"));
    expect_on_rank(t, strstr(status_message(), "the first reason"));
    expect_on_rank(t, transport_aborted(t));
    int word = 0;
    struct transport_request *request;
    expect_on_rank(t,
                   t->size == 1 || transport_send(t, (t->rank + 1) % t->size, TRANSPORT_KEYS, &word,
                                                  sizeof word, &request) == STATUS_UNAVAILABLE);
    return STATUS_OK;
}

enum status transport_endings_misfit(struct transport *t, void *context)
{
    (void)context;
    static _Thread_local char bytes[16];
    struct transport_request *request;
    if (t->rank == 0) {
        TRY(transport_send(t, 1, TRANSPORT_STATE, bytes, 10, &request));
        (void)!transport_wait(t, request);
        sleep_ns(100000000);
    } else if (t->rank == 1) {
        TRY(transport_receive(t, 0, TRANSPORT_STATE, bytes, 12, &request));
        expect_on_rank(t, transport_wait(t, request) == STATUS_INTERNAL);
        expect_on_rank(t, strstr(status_message(), "plans differ"));
        transport_abort(t, "another size");
    }
    return STATUS_OK;
}

enum status transport_endings_exhaustion(struct transport *t, void *context)
{
    (void)context;
    static _Thread_local char bytes[REQUESTS + 1];
    struct transport_request *request;
    const int peer = (t->rank + 1) % t->size;
    for (int i = 0; i < REQUESTS; i++)
        expect_on_rank(t, transport_receive(t, peer, TRANSPORT_SCORE, &bytes[i], 1, &request) ==
                              STATUS_OK);
    expect_on_rank(t, transport_receive(t, peer, TRANSPORT_SCORE, &bytes[REQUESTS], 1, &request) ==
                          STATUS_INTERNAL);
    (void)!transport_barrier(t); /* fails where a peer is already past it and has aborted */
    transport_abort(t, "no requests left");
    return STATUS_OK;
}
