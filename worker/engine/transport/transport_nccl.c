/* Owns a communicator and the requests on the exchange stream. Promises the contract of transport.h
 * for memory of the device, and hands memory of the host on to the host's transport, whose board
 * serves both.
 *
 * A request of device memory is
 *   POSTED  -> ORDERED  take_orders: rank 0 has put it in its place (nccl_order.h)
 *   ORDERED -> ISSUED   issue: NCCL was called, and may not have put it on the stream yet
 *   ISSUED  -> RUNNING  settle_issued: an event follows it on the stream
 *   RUNNING -> done     nccl_test
 * and POSTED -> MISFIT where the two ends named different sizes.
 *
 * The host never waits inside CUDA or NCCL. A thread of its own watches the communicator and the
 * board, and aborts the communicator when NCCL reports an error, when any rank has aborted, and
 * when what is on the stream stands still while no rank gets on: so a dead peer ends the kernels
 * that wait for it, even while this rank's own thread is stuck behind them. */
#include "worker/engine/transport/transport_nccl.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "proto/clock.h"
#include "proto/log.h"
#include "worker/engine/device/cpu_pause.h"
#include "worker/engine/transport/board.h"
#include "worker/engine/transport/nccl_order.h"
#include "worker/engine/transport/spin.h"
#include "worker/engine/transport/transport_reduce.h"

enum { WATCH_NS = 10000000, GROUP_MOST = 8, WARM_BYTES = 256 };

#define INIT_NS 120000000000

enum request_state {
    REQUEST_FREE,
    REQUEST_HOST, /* handed on */
    REQUEST_POSTED,
    REQUEST_ORDERED,
    REQUEST_ISSUED,
    REQUEST_RUNNING,
    REQUEST_MISFIT
};

struct nccl_request {
    struct transport_request head;
    enum request_state state;
    struct transport_request *host; /* of REQUEST_HOST */
    void *data;                     /* on the device */
    struct CUevent_st *begun;       /* the compute stream's end when it was posted */
    struct CUevent_st *done;
    struct nccl_request *next; /* in a list, or free */
};

struct request_list {
    struct nccl_request *first;
    struct nccl_request *last;
};

struct nccl {
    struct transport base;
    struct transport *host;
    const struct cuda_streams *streams;
    const struct nccl_api *api;
    struct nccl_order *order;
    struct nccl_request *requests; /* [requests_count] */
    size_t requests_count;
    size_t under_way; /* requests of device memory that are not done */
    struct nccl_request *free;
    struct request_list posted, ordered, issued;
    struct CUevent_st *gather_begun, *gathered;
    bool gathering; /* a gather may still be on the stream */

    pthread_mutex_t lock; /* of comm: the watch may abort it */
    struct ncclComm *comm;
    pthread_t watch;
    atomic_bool watching;
    bool watched;             /* the thread was started */
    _Atomic int64_t since_ns; /* when the oldest work still on the stream was put there; 0: none */
};

static struct nccl *nccl_of(struct transport *t)
{
    return (struct nccl *)t;
}

static void list_push(struct request_list *list, struct nccl_request *request)
{
    request->next = NULL;
    if (list->last)
        list->last->next = request;
    else
        list->first = request;
    list->last = request;
}

static void list_remove(struct request_list *list, struct nccl_request *request)
{
    struct nccl_request *before = NULL;
    for (struct nccl_request *at = list->first; at != request; at = at->next)
        before = at;
    if (before)
        before->next = request->next;
    else
        list->first = request->next;
    if (list->last == request)
        list->last = before;
}

/* ---- the communicator ---- */

/* Under the lock. Fails after an abort. */
static enum status comm_state(struct nccl *t, bool *busy)
{
    *busy = false;
    if (board_aborted(t->base.board))
        return board_abort_failure(t->base.board);
    if (!t->comm)
        return fail(STATUS_UNAVAILABLE, "rank %d: the NCCL communicator was aborted", t->base.rank);
    return t->api->state(t->comm, busy);
}

static enum status is_busy(struct nccl *t, bool *busy)
{
    pthread_mutex_lock(&t->lock);
    enum status status = comm_state(t, busy);
    pthread_mutex_unlock(&t->lock);
    return status;
}

static void note_begun(struct nccl *t)
{
    int64_t none = 0;
    atomic_compare_exchange_strong(&t->since_ns, &none, clock_now_ns());
}

/* ---- messages of device memory ---- */

static enum status take_request(struct nccl *t, int peer, enum transport_channel channel,
                                size_t bytes, bool sends, struct nccl_request **request)
{
    assert(peer >= 0 && peer < t->base.size && peer != t->base.rank);
    if (board_aborted(t->base.board))
        return board_abort_failure(t->base.board);
    if (!t->free)
        return fail(STATUS_INTERNAL, "rank %d has all %zu transport requests outstanding",
                    t->base.rank, t->requests_count);
    *request = t->free;
    t->free = (*request)->next;
    (*request)->head = (struct transport_request){peer, channel, bytes, sends};
    return STATUS_OK;
}

static void free_request(struct nccl *t, struct nccl_request *request)
{
    request->state = REQUEST_FREE;
    request->next = t->free;
    t->free = request;
}

static enum status post(struct nccl *t, struct nccl_request *request, const void *data)
{
    const struct nccl_note note = {
        .peer = request->head.peer,
        .channel = (int32_t)request->head.channel,
        .sends = request->head.sends,
        .bytes = request->head.bytes,
    };
    request->data = (void *)data;
    request->state = REQUEST_POSTED;
    t->under_way++;
    list_push(&t->posted, request);
    TRY(t->streams->runtime->event_record(request->begun, t->streams->compute));
    TRY(nccl_order_note(t->order, &note));
    return nccl_order_drive(t->order);
}

/* The oldest posted request that an order means. */
static struct nccl_request *find_posted(const struct nccl *t, const struct nccl_note *order)
{
    struct nccl_request *request = t->posted.first;
    while (request &&
           (request->head.peer != order->peer || (int32_t)request->head.channel != order->channel ||
            request->head.sends != (order->sends == 1)))
        request = request->next;
    assert(request); /* orders answer notes */
    return request;
}

static void take_orders(struct nccl *t)
{
    struct nccl_note order;
    while (nccl_order_next(t->order, &order)) {
        struct nccl_request *request = find_posted(t, &order);
        list_remove(&t->posted, request);
        request->state = order.misfit ? REQUEST_MISFIT : REQUEST_ORDERED;
        if (!order.misfit)
            list_push(&t->ordered, request);
    }
}

static enum status call_nccl(struct nccl *t, const struct nccl_request *request)
{
    const struct transport_request *head = &request->head;
    if (head->bytes == 0)
        return STATUS_OK;
    return head->sends
               ? t->api->send(t->comm, request->data, head->bytes, head->peer, t->streams->exchange)
               : t->api->receive(t->comm, request->data, head->bytes, head->peer,
                                 t->streams->exchange);
}

/* Whether a request before this one goes the same way. */
static bool goes_again(const struct nccl *t, const struct nccl_request *request)
{
    const struct nccl_request *before = t->ordered.first;
    while (before != request &&
           (before->head.peer != request->head.peer || before->head.sends != request->head.sends))
        before = before->next;
    return before != request;
}

/* How many of the ordered requests make the next group: at most one each way with a peer. NCCL lets
 * the messages of a group run side by side only that far; a second one to the same peer begins when
 * all first ones are done, those that were ordered after it too, and ranks whose groups begin and
 * end elsewhere in the order could wait for each other in a circle. */
static int group_size(const struct nccl *t)
{
    const struct nccl_request *request = t->ordered.first;
    int count = 0;
    for (; request && count < GROUP_MOST && !goes_again(t, request); request = request->next)
        count++;
    return count;
}

/* Under the lock: puts what is ordered on the stream, as one group. */
static enum status issue(struct nccl *t)
{
    bool busy;
    TRY(comm_state(t, &busy));
    if (busy || !t->ordered.first || t->issued.first)
        return STATUS_OK;
    note_begun(t);
    int count = group_size(t);
    const struct nccl_request *waiting = t->ordered.first;
    for (int r = 0; r < count; r++, waiting = waiting->next)
        TRY(t->streams->runtime->stream_wait(t->streams->exchange, waiting->begun));
    TRY(t->api->group_begin());
    enum status status = STATUS_OK;
    for (; count > 0 && status == STATUS_OK; count--) {
        struct nccl_request *request = t->ordered.first;
        list_remove(&t->ordered, request);
        request->state = REQUEST_ISSUED;
        list_push(&t->issued, request);
        status = call_nccl(t, request);
    }
    enum status ended = t->api->group_end();
    return status != STATUS_OK ? status : ended;
}

/* Once the communicator has taken the last group: says where on the stream it ends. */
static enum status settle_issued(struct nccl *t)
{
    bool busy = false;
    if (!t->issued.first)
        return STATUS_OK;
    TRY(is_busy(t, &busy));
    while (!busy && t->issued.first) {
        struct nccl_request *request = t->issued.first;
        list_remove(&t->issued, request);
        TRY(t->streams->runtime->event_record(request->done, t->streams->exchange));
        request->state = REQUEST_RUNNING;
    }
    return STATUS_OK;
}

static enum status drive_messages(struct nccl *t)
{
    if (t->under_way == 0 && t->base.rank != 0)
        return STATUS_OK;
    TRY(nccl_order_drive(t->order));
    take_orders(t);
    TRY(settle_issued(t));
    if (!t->ordered.first)
        return STATUS_OK;
    pthread_mutex_lock(&t->lock);
    enum status status = issue(t);
    pthread_mutex_unlock(&t->lock);
    TRY(status);
    return settle_issued(t);
}

static enum status look_at_gather(struct nccl *t)
{
    bool done = false;
    if (!t->gathering)
        return STATUS_OK;
    TRY(t->streams->runtime->event_query(t->gathered, &done));
    t->gathering = !done;
    if (done && t->under_way == 0)
        atomic_store(&t->since_ns, 0);
    return STATUS_OK;
}

static enum status nccl_progress(struct transport *base)
{
    struct nccl *t = nccl_of(base);
    TRY(transport_progress(t->host));
    TRY(look_at_gather(t));
    return drive_messages(t);
}

/* ---- requests ---- */

static enum status hand_on(struct nccl *t, struct nccl_request *request, const void *data)
{
    const struct transport_request *head = &request->head;
    request->state = REQUEST_HOST;
    if (head->sends)
        return transport_send(t->host, head->peer, head->channel, data, head->bytes,
                              &request->host);
    return transport_receive(t->host, head->peer, head->channel, (void *)data, head->bytes,
                             &request->host);
}

static enum status begin(struct nccl *t, int peer, enum transport_channel channel, const void *data,
                         size_t bytes, bool sends, struct transport_request **out)
{
    struct nccl_request *request = NULL;
    TRY(take_request(t, peer, channel, bytes, sends, &request));
    TRY(t->streams->runtime->on_device(data) ? post(t, request, data) : hand_on(t, request, data));
    t->base.counters.sent_messages[channel] += sends;
    if (sends)
        t->base.counters.sent_bytes[channel] += bytes;
    else
        t->base.counters.received_bytes[channel] += bytes;
    *out = &request->head;
    return STATUS_OK;
}

static enum status nccl_send(struct transport *base, int peer, enum transport_channel channel,
                             const void *data, size_t bytes, struct transport_request **request)
{
    return begin(nccl_of(base), peer, channel, data, bytes, true, request);
}

static enum status nccl_receive(struct transport *base, int peer, enum transport_channel channel,
                                void *data, size_t bytes, struct transport_request **request)
{
    return begin(nccl_of(base), peer, channel, data, bytes, false, request);
}

static enum status misfit(const struct nccl *t, const struct transport_request *request)
{
    return fail(STATUS_INTERNAL,
                "rank %d %s %zu bytes on channel %d, but rank %d named another size: the ranks' "
                "plans differ",
                t->base.rank, request->sends ? "sent" : "awaited", request->bytes,
                (int)request->channel, request->peer);
}

static enum status test_message(struct nccl *t, struct nccl_request *request, bool *done)
{
    TRY(nccl_progress(&t->base));
    if (request->state == REQUEST_MISFIT)
        return misfit(t, &request->head);
    if (request->state == REQUEST_RUNNING)
        TRY(t->streams->runtime->event_query(request->done, done));
    if (!*done)
        return STATUS_OK;
    t->under_way--;
    atomic_store(&t->since_ns, t->under_way > 0 ? clock_now_ns() : 0);
    board_mark(t->base.board);
    return STATUS_OK;
}

static enum status nccl_test(struct transport *base, struct transport_request *head, bool *done)
{
    struct nccl *t = nccl_of(base);
    struct nccl_request *request = (struct nccl_request *)head;
    *done = false;
    if (request->state == REQUEST_HOST)
        TRY(transport_test(t->host, request->host, done));
    else
        TRY(test_message(t, request, done));
    if (*done)
        free_request(t, request);
    return STATUS_OK;
}

/* ---- collectives ---- */

/* The host's transport waits by its own patience, and books its own waits. */
static void borrow_patience(struct nccl *t)
{
    t->host->silence_ns = t->base.silence_ns;
    t->host->counters.waited_ns = 0;
}

static enum status give_back(struct nccl *t, enum status status)
{
    t->base.counters.waited_ns += t->host->counters.waited_ns;
    return status;
}

/* Until the communicator has taken the last call: NCCL does that by itself, or fails. */
static enum status wait_taken(struct nccl *t, int64_t patience_ns)
{
    const int64_t begun_ns = clock_now_ns();
    bool busy = true;
    for (;;) {
        TRY(is_busy(t, &busy));
        if (!busy)
            return STATUS_OK;
        TRY(nccl_progress(&t->base)); /* rank 0 orders what others still have under way */
        if (clock_now_ns() - begun_ns > patience_ns)
            return fail(STATUS_UNAVAILABLE,
                        "rank %d: NCCL was busy for %.0f s with one call; a peer is stopped, stuck "
                        "or cut off",
                        t->base.rank, (double)patience_ns * 1e-9);
        cpu_pause();
    }
}

/* Under the lock. */
static enum status issue_gather(struct nccl *t, char *all, const struct transport_parts *parts)
{
    const int rank = t->base.rank;
    const char *own = all + transport_part_offset(parts, rank);
    const size_t own_bytes = transport_part_bytes(parts, rank);
    bool busy;
    TRY(comm_state(t, &busy));
    TRY(t->streams->runtime->stream_wait(t->streams->exchange, t->gather_begun));
    TRY(t->api->group_begin());
    enum status status = STATUS_OK;
    for (int peer = 0; peer < t->base.size && status == STATUS_OK; peer++) {
        if (peer == rank)
            continue;
        const size_t bytes = transport_part_bytes(parts, peer);
        if (own_bytes > 0)
            status = t->api->send(t->comm, own, own_bytes, peer, t->streams->exchange);
        if (status == STATUS_OK && bytes > 0)
            status = t->api->receive(t->comm, all + transport_part_offset(parts, peer), bytes, peer,
                                     t->streams->exchange);
    }
    enum status ended = t->api->group_end();
    return status != STATUS_OK ? status : ended;
}

static enum status gather_on_device(struct nccl *t, const void *mine, char *all,
                                    const struct transport_parts *parts)
{
    const struct cuda_runtime *runtime = t->streams->runtime;
    char *own = all + transport_part_offset(parts, t->base.rank);
    const size_t own_bytes = transport_part_bytes(parts, t->base.rank);
    if (t->under_way > 0)
        return fail(STATUS_INTERNAL,
                    "rank %d gathers device memory while %zu of its messages are under way",
                    t->base.rank, t->under_way);
    if (own_bytes > 0 && own != mine)
        TRY(runtime->copy(own, mine, own_bytes, t->streams->compute));
    TRY(runtime->event_record(t->gather_begun, t->streams->compute));
    note_begun(t);
    pthread_mutex_lock(&t->lock);
    enum status status = issue_gather(t, all, parts);
    pthread_mutex_unlock(&t->lock);
    TRY(status);
    TRY(wait_taken(t, t->base.silence_ns));
    TRY(runtime->event_record(t->gathered, t->streams->exchange));
    t->gathering = true;
    return runtime->stream_wait(t->streams->compute, t->gathered);
}

static enum status nccl_gather(struct transport *base, const void *mine, void *all,
                               const struct transport_parts *parts)
{
    struct nccl *t = nccl_of(base);
    if (t->streams->runtime->on_device(all))
        return gather_on_device(t, mine, all, parts);
    borrow_patience(t);
    return give_back(t, t->host->ops->gather(t->host, mine, all, parts));
}

static enum status nccl_broadcast(struct transport *base, void *data, size_t bytes)
{
    struct nccl *t = nccl_of(base);
    borrow_patience(t);
    return give_back(t, t->host->ops->broadcast(t->host, data, bytes));
}

/* ---- sums: NCCL adds in whatever order its rings have, so they are messages and a kernel ---- */

static enum status nccl_add(struct transport *base, float *sum, const float *values, size_t count)
{
    const struct cuda_streams *streams = nccl_of(base)->streams;
    if (streams->runtime->on_device(sum))
        return cuda_streams_add(streams, sum, values, count);
    for (size_t i = 0; i < count; i++)
        sum[i] += values[i];
    return STATUS_OK;
}

static enum status nccl_copy(struct transport *base, float *to, const float *from, size_t count)
{
    const struct cuda_streams *streams = nccl_of(base)->streams;
    if (streams->runtime->on_device(to))
        return streams->runtime->copy(to, from, count * sizeof *to, streams->compute);
    memcpy(to, from, count * sizeof *to);
    return STATUS_OK;
}

static const struct transport_arithmetic nccl_arithmetic = {nccl_add, nccl_copy};

static enum status nccl_reduce_scatter(struct transport *base, float *mine, const float *all,
                                       const struct transport_sums *sums)
{
    const struct cuda_runtime *runtime = nccl_of(base)->streams->runtime;
    const bool there = runtime->on_device(all);
    if (runtime->on_device(mine) != there || runtime->on_device(sums->scratch) != there)
        return fail(STATUS_INVALID_ARGUMENT,
                    "rank %d: of a sum's numbers, its result and its scratch only some lie on the "
                    "GPU",
                    base->rank);
    return transport_reduce_by_messages(base, mine, all, sums);
}

static enum status nccl_barrier(struct transport *base)
{
    struct nccl *t = nccl_of(base);
    borrow_patience(t);
    return give_back(t, t->host->ops->barrier(t->host));
}

/* ---- the watch ---- */

static uint64_t progress_of_all(const struct nccl *t)
{
    uint64_t sum = 0;
    for (int rank = 0; rank < t->base.size; rank++)
        sum += board_progress(t->base.board, rank);
    return sum;
}

/* Under the lock: whether there is a reason to end the communicator, said on the board. */
static bool must_end(struct nccl *t, int64_t moved_ns)
{
    const int64_t since_ns = atomic_load(&t->since_ns);
    const int64_t now_ns = clock_now_ns();
    bool busy;
    if (board_aborted(t->base.board))
        return true;
    if (t->api->state(t->comm, &busy) != STATUS_OK) {
        board_abort(t->base.board, t->base.rank, status_message());
        return true;
    }
    const int64_t still_ns = since_ns > moved_ns ? since_ns : moved_ns;
    if (since_ns == 0 || now_ns < still_ns || now_ns - still_ns < t->base.silence_ns)
        return false;
    char reason[BOARD_REASON_BYTES];
    snprintf(reason, sizeof reason,
             "its exchange on the GPU stood still for %.1f s, and no rank got on; a rank is "
             "stopped, stuck or cut off",
             (double)(now_ns - still_ns) * 1e-9);
    board_abort(t->base.board, t->base.rank, reason);
    return true;
}

static void *watch(void *argument)
{
    const struct timespec rest = {0, WATCH_NS};
    struct nccl *t = argument;
    uint64_t progress = 0;
    int64_t moved_ns = clock_now_ns();
    bool ended = false;
    while (atomic_load(&t->watching) && !ended) {
        const uint64_t now = progress_of_all(t);
        if (now != progress)
            moved_ns = clock_now_ns();
        progress = now;
        pthread_mutex_lock(&t->lock);
        ended = must_end(t, moved_ns);
        if (ended) {
            t->api->abort(t->comm);
            t->comm = NULL;
        }
        pthread_mutex_unlock(&t->lock);
        nanosleep(&rest, NULL);
    }
    return NULL;
}

/* ---- ending ---- */

static enum status take_leave(struct nccl *t)
{
    const int64_t end_ns = clock_now_ns() + t->base.silence_ns;
    nccl_order_leave(t->order);
    while (!nccl_order_ended(t->order)) {
        TRY(nccl_order_drive(t->order));
        TRY(transport_progress(t->host));
        if (clock_now_ns() > end_ns)
            return fail(STATUS_UNAVAILABLE, "rank %d: not all ranks took leave", t->base.rank);
        cpu_pause();
    }
    return STATUS_OK;
}

static void free_memory(struct nccl *t)
{
    const struct cuda_runtime *runtime = t->streams->runtime;
    for (size_t r = 0; t->requests && r < t->requests_count; r++) {
        runtime->event_destroy(t->requests[r].begun);
        runtime->event_destroy(t->requests[r].done);
    }
    runtime->event_destroy(t->gather_begun);
    runtime->event_destroy(t->gathered);
    nccl_order_destroy(t->order);
    pthread_mutex_destroy(&t->lock);
    free(t->requests);
    free(t);
}

static void end_communicator(struct nccl *t)
{
    if (t->watched) {
        atomic_store(&t->watching, false);
        pthread_join(t->watch, NULL);
        t->watched = false;
    }
    if (board_aborted(t->base.board))
        t->api->abort(t->comm);
    else
        t->api->destroy(t->comm);
    t->comm = NULL;
}

static void nccl_destroy(struct transport *base)
{
    struct nccl *t = nccl_of(base);
    if (!board_aborted(base->board) && take_leave(t) != STATUS_OK) {
        log_line(LOG_WARN, "leaving without the others", log_text("cause", status_message()));
        board_abort(base->board, base->rank, "a rank left while others did not");
    }
    end_communicator(t);
    transport_destroy(t->host); /* letters under way live until then */
    free_memory(t);
}

static const struct transport_ops nccl_ops = {
    .send = nccl_send,
    .receive = nccl_receive,
    .test = nccl_test,
    .progress = nccl_progress,
    .gather = nccl_gather,
    .broadcast = nccl_broadcast,
    .reduce_scatter = nccl_reduce_scatter,
    .barrier = nccl_barrier,
    .destroy = nccl_destroy,
};

/* ---- making ---- */

static enum status allocate_memory(struct nccl *t, size_t requests)
{
    const struct cuda_runtime *runtime = t->streams->runtime;
    t->requests_count = requests;
    t->requests = calloc(requests, sizeof *t->requests);
    if (!t->requests)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the transport of rank %d",
                    t->base.rank);
    for (size_t r = requests; r-- > 0;) {
        TRY(runtime->event_create(&t->requests[r].begun));
        TRY(runtime->event_create(&t->requests[r].done));
        t->requests[r].next = t->free;
        t->free = &t->requests[r];
    }
    TRY(runtime->event_create(&t->gather_begun));
    TRY(runtime->event_create(&t->gathered));
    return nccl_order_create(&t->order, t->host, requests);
}

static enum status make_communicator(struct nccl *t)
{
    struct nccl_id id = {{0}};
    enum status made = t->base.rank == 0 ? t->api->make_id(&id) : STATUS_OK;
    TRY(made);
    TRY(transport_broadcast(t->host, &id, sizeof id));
    TRY(t->api->begin_init(&t->comm, &id, t->base.size, t->base.rank));
    TRY(wait_taken(t, INIT_NS));
    const int failed = pthread_create(&t->watch, NULL, watch, t);
    t->watched = failed == 0;
    return failed == 0 ? STATUS_OK
                       : fail(STATUS_RESOURCE_EXHAUSTED, "no thread to watch over NCCL");
}

/* Connections are made when two ranks first talk, and the first launch of NCCL's kernels may wait
 * for the device: now, with nothing under way. */
static enum status warm_up(struct nccl *t)
{
    const struct cuda_runtime *runtime = t->streams->runtime;
    const struct transport_parts parts = {.each = WARM_BYTES};
    void *memory = NULL;
    enum status status = STATUS_OK;
    TRY_ELSE(runtime->allocate(&memory, (size_t)t->base.size * WARM_BYTES), end);
    const void *own = (char *)memory + transport_part_offset(&parts, t->base.rank);
    TRY_ELSE(gather_on_device(t, own, memory, &parts), end);
    const int64_t end_ns = clock_now_ns() + INIT_NS;
    while (t->gathering && status == STATUS_OK) {
        status = nccl_progress(&t->base);
        if (status == STATUS_OK && clock_now_ns() > end_ns)
            status = fail(STATUS_UNAVAILABLE, "rank %d: the ranks' first NCCL exchange hangs",
                          t->base.rank);
    }
end:
    if (status != STATUS_OK) {
        board_abort(t->base.board, t->base.rank, status_message());
        end_communicator(t);
    }
    runtime->release(memory);
    return status;
}

static void introduce(struct nccl *t, const struct transport_options *options)
{
    t->base = (struct transport){
        .rank = t->host->rank,
        .size = t->host->size,
        .local_rank = t->host->local_rank,
        .local_size = t->host->local_size,
        .name = "nccl",
        .ops = &nccl_ops,
        .board = t->host->board,
        .silence_ns = options->silence_ns,
        .arithmetic = &nccl_arithmetic,
    };
    snprintf(t->base.facts, sizeof t->base.facts, "transport=nccl library=\"%s\" host=(%.150s)",
             t->api->name, t->host->facts);
}

enum status transport_nccl_create(struct transport **out, struct transport *host,
                                  const struct cuda_streams *streams, const struct nccl_api *api,
                                  const struct transport_options *options)
{
    const struct transport_options filled = transport_options_filled(options, host->size);
    enum status status = STATUS_OK;
    struct nccl *t = calloc(1, sizeof *t);
    if (!t)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a transport");
    t->host = host;
    t->streams = streams;
    t->api = api;
    pthread_mutex_init(&t->lock, NULL);
    atomic_store(&t->watching, true);
    introduce(t, &filled);
    host->driver = &t->base;
    TRY_ELSE(allocate_memory(t, filled.requests), undo);
    TRY_ELSE(make_communicator(t), undo);
    TRY_ELSE(warm_up(t), undo);
    *out = &t->base;
    return STATUS_OK;
undo:
    transport_abort(host, status_message());
    host->driver = NULL;
    end_communicator(t);
    free_memory(t);
    return status;
}
