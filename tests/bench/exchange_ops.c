/* Owns a rank's parts, on the host or on its device. */
#include "tests/bench/exchange_ops.h"

#include <stdlib.h>
#include <string.h>

#include "proto/clock.h"
#include "tests/bench/exchange_pattern.h"

enum { PATIENCE_MS = 120000 };

const char *const exchange_op_names[EXCHANGE_OPS] = {"direct", "ring", "gather", "broadcast",
                                                     "barrier"};

double exchange_algorithm_rate(double bytes, double seconds)
{
    return bytes / seconds;
}

double exchange_bus_rate(enum exchange_op op, int ranks, double bytes, double seconds)
{
    const double factor = op == EXCHANGE_BROADCAST ? 1 : (double)(ranks - 1) / ranks;
    return factor * exchange_algorithm_rate(bytes, seconds);
}

/* ---- memory ---- */

static enum status allocate(struct exchange *exchange, size_t bytes)
{
    const struct cuda_runtime *runtime = exchange->streams ? exchange->streams->runtime : NULL;
    if (!runtime) {
        exchange->all = calloc(bytes, 1);
        exchange->host = exchange->all;
        return exchange->all ? STATUS_OK
                             : fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %zu bytes", bytes);
    }
    void *memory = NULL;
    TRY(runtime->allocate(&memory, bytes));
    exchange->all = memory;
    TRY(runtime->host_allocate(&memory, bytes));
    exchange->host = memory;
    return runtime->event_create(&exchange->event);
}

enum status exchange_open(struct exchange *exchange, struct transport *transport,
                          const struct cuda_streams *streams, size_t bytes)
{
    *exchange = (struct exchange){.transport = transport, .streams = streams, .bytes = bytes};
    exchange->requests = calloc(2 * (size_t)transport->size, sizeof(struct transport_request *));
    enum status status = exchange->requests
                             ? allocate(exchange, bytes)
                             : fail(STATUS_RESOURCE_EXHAUSTED, "no memory for requests");
    if (status != STATUS_OK)
        exchange_close(exchange);
    return status;
}

void exchange_close(struct exchange *exchange)
{
    const struct cuda_runtime *runtime = exchange->streams ? exchange->streams->runtime : NULL;
    if (runtime) {
        runtime->event_destroy(exchange->event);
        runtime->release(exchange->all);
        runtime->host_release(exchange->host);
    } else {
        free(exchange->all);
    }
    free(exchange->requests);
    *exchange = (struct exchange){.transport = NULL};
}

enum status exchange_settle(struct exchange *exchange)
{
    const struct cuda_streams *streams = exchange->streams;
    const int64_t end_ns = clock_after_ms(PATIENCE_MS);
    bool done = !streams;
    if (streams)
        TRY(streams->runtime->event_record(exchange->event, streams->compute));
    while (!done) {
        TRY(streams->runtime->event_query(exchange->event, &done));
        TRY(transport_progress(exchange->transport));
        if (clock_now_ns() > end_ns)
            return fail(STATUS_UNAVAILABLE, "rank %d's GPU has not done an exchange in %d s",
                        exchange->transport->rank, PATIENCE_MS / 1000);
    }
    return STATUS_OK;
}

/* To the parts, and back. */
static enum status copy(struct exchange *exchange, bool back, size_t bytes)
{
    const struct cuda_streams *streams = exchange->streams;
    if (!streams)
        return STATUS_OK;
    unsigned char *to = back ? exchange->host : exchange->all;
    const unsigned char *from = back ? exchange->all : exchange->host;
    TRY(streams->runtime->copy(to, from, bytes, streams->compute));
    return exchange_settle(exchange);
}

/* ---- exchanges ---- */

static enum status wait_all(struct exchange *exchange, int count)
{
    for (int r = 0; r < count; r++)
        TRY(transport_wait(exchange->transport, exchange->requests[r]));
    return STATUS_OK;
}

static enum status go_direct(struct exchange *exchange, size_t bytes)
{
    struct transport *t = exchange->transport;
    const unsigned char *mine = exchange->all + (size_t)t->rank * bytes;
    int count = 0;
    for (int step = 1; step < t->size; step++) {
        const int from = (t->rank + t->size - step) % t->size;
        TRY(transport_receive(t, from, TRANSPORT_KEYS, exchange->all + (size_t)from * bytes, bytes,
                              &exchange->requests[count++]));
    }
    for (int step = 1; step < t->size; step++)
        TRY(transport_send(t, (t->rank + step) % t->size, TRANSPORT_KEYS, mine, bytes,
                           &exchange->requests[count++]));
    return wait_all(exchange, count);
}

static enum status go_round(struct exchange *exchange, size_t bytes)
{
    struct transport *t = exchange->transport;
    const int next = (t->rank + 1) % t->size, before = (t->rank + t->size - 1) % t->size;
    for (int step = 0; step < t->size - 1; step++) {
        const int passed = (t->rank + t->size - step) % t->size;
        const int wanted = (before + t->size - step) % t->size;
        TRY(transport_receive(t, before, TRANSPORT_KEYS, exchange->all + (size_t)wanted * bytes,
                              bytes, &exchange->requests[0]));
        TRY(transport_send(t, next, TRANSPORT_KEYS, exchange->all + (size_t)passed * bytes, bytes,
                           &exchange->requests[1]));
        TRY(wait_all(exchange, 2));
    }
    return STATUS_OK;
}

enum status exchange_do(struct exchange *exchange, enum exchange_op op, size_t bytes)
{
    struct transport *t = exchange->transport;
    switch (op) {
    case EXCHANGE_DIRECT:
        return go_direct(exchange, bytes);
    case EXCHANGE_RING:
        return go_round(exchange, bytes);
    case EXCHANGE_GATHER:
        return transport_gather_each(t, exchange->all + (size_t)t->rank * bytes, exchange->all,
                                     bytes);
    case EXCHANGE_BROADCAST: /* of host memory, as a verdict */
        return transport_broadcast(t, exchange->host, bytes);
    case EXCHANGE_BARRIER:
    case EXCHANGE_OPS:
        break;
    }
    return transport_barrier(t);
}

/* ---- whether they are right ---- */

/* Of what came from others. */
static size_t count_wrong(const struct exchange *exchange, enum exchange_op op, size_t bytes,
                          uint64_t round)
{
    size_t wrong = 0;
    if (op == EXCHANGE_BROADCAST)
        return exchange->transport->rank == 0
                   ? 0
                   : exchange_pattern_wrong(exchange->host, bytes, 0, round);
    for (int rank = 0; rank < exchange->transport->size; rank++)
        if (rank != exchange->transport->rank)
            wrong +=
                exchange_pattern_wrong(exchange->host + (size_t)rank * bytes, bytes, rank, round);
    return wrong;
}

enum status exchange_check(struct exchange *exchange, enum exchange_op op, size_t bytes,
                           uint64_t round, size_t *wrong)
{
    struct transport *t = exchange->transport;
    const bool one = op == EXCHANGE_BROADCAST;
    const size_t whole = one ? bytes : bytes * (size_t)t->size;
    unsigned char *mine = exchange->host + (one ? 0 : (size_t)t->rank * bytes);
    *wrong = 0;
    if (op == EXCHANGE_BARRIER)
        return STATUS_OK;
    memset(exchange->host, 0, whole);
    if (!one || t->rank == 0)
        exchange_pattern_fill(mine, bytes, t->rank, round);
    if (exchange->spoil && t->rank == 0)
        mine[bytes / 2] ^= 1;
    TRY(copy(exchange, false, whole));
    TRY(transport_barrier(t)); /* nobody writes into parts that a rank still clears */
    TRY(exchange_do(exchange, op, bytes));
    TRY(exchange_settle(exchange));
    TRY(one ? STATUS_OK : copy(exchange, true, whole));
    *wrong = count_wrong(exchange, op, bytes, round);
    return STATUS_OK;
}
