/* Owns the listening ports, the calls and their threads. Promises that every call gets a status,
 * that a drained server refuses new calls with UNAVAILABLE, and that no thread of a call outlives
 * rpc_server_destroy.
 *
 * Two queues, each with its thread: arrivals have their own, so that a stream whose writes complete
 * at once cannot keep new connections waiting (a queue hands out what is ready before it polls).
 */
#include "proto/rpc/rpc_server.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/grpc.h>
#include <grpc/grpc_posix.h>
#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <grpc/support/time.h>

#include "proto/clock.h"
#include "proto/log.h"
#include "proto/rpc/handover.h"
#include "proto/rpc/raw_server.h"
#include "proto/rpc/rpc_acceptor.h"
#include "proto/rpc/rpc_end_line.h"
#include "proto/rpc/rpc_wire.h"

enum {
    ARRIVALS_MAX = 16,
    PATH_BYTES = 128,
    REFUSALS_MAX = 1024,
    RETRY_MS = 2000,
    FINISH_DEADLINE_MS = 10000,
    FLUSH_LOOK_MS = 100
};

/* One port with its own table of methods. gRPC's server is the port's own, so that a call can only
 * reach the methods of the port that it came by. */
struct rpc_listener {
    struct rpc_server *server;
    struct rpc_listener *next;
    grpc_server *raw;
    grpc_server_credentials *credentials;
    struct rpc_acceptor *acceptor; /* NULL under TLS: gRPC listens itself */
    const struct rpc_method *methods;
    size_t method_count;
    rpc_guard *guard;
    void *guard_context;
    struct rpc_tag stop_tag;
    int armed;         /* under server->lock, as what follows */
    int refused_count; /* of this port alone: a flood at one port leaves the other armed */
    bool stopped;      /* gRPC has let go of everything */
};

struct rpc_server {
    struct rpc_queue *arrivals, *calls;
    int connections_max;
    pthread_mutex_t lock;           /* of what follows, and of every share */
    struct rpc_listener *listeners; /* only rpc_server_listen adds, only rpc_server_destroy drops */
    pthread_cond_t changed;
    struct rpc_share share;   /* of the methods without one */
    struct rpc_call *running; /* a list, for cancelling */
    int running_count;        /* those that are refused are counted apart */
    int handled_count;        /* of the running ones: whose handler is still at work */
    bool draining, stopping;
};

/* First an arrival that waits for its call, then the call. */
struct rpc_call {
    struct rpc_tag arrival;
    struct rpc_server *server;
    struct rpc_listener *listener;
    struct rpc_call *next, **link; /* in server->running */
    grpc_call *raw;
    grpc_call_details about;
    grpc_metadata_array metadata;
    struct rpc_wire wire;
    struct rpc_arena *arena;
    const struct rpc_method *method;
    struct rpc_share *share; /* NULL for a call that is refused */
    struct status_details details;
    int64_t begun_ns, deadline_ns;
    struct log_field notes[RPC_END_LINE_NOTES_MAX];
    size_t note_count;
    int cancelled; /* set by gRPC when RPC_WIRE_END is over */
    struct rpc_acceptor_call connection;
    struct rpc_caller caller;
    struct rpc_tag refusal;
    grpc_slice sentence; /* of its status, with the trailer while the status is sent */
    grpc_metadata trailer;
    bool has_trailer;
};

/* ---- a call's life: arm -> arrived -> serve (own thread) -> end
 *                                    -> refuse -> refused ---- */

static void arrived(struct rpc_tag *tag, bool ok);

static void call_free(struct rpc_call *call)
{
    grpc_call_details_destroy(&call->about);
    grpc_metadata_array_destroy(&call->metadata);
    free(call);
}

/* Asks gRPC for one more call, unless there are enough. */
static void arm(struct rpc_listener *listener)
{
    struct rpc_server *server = listener->server;
    struct rpc_call *call = calloc(1, sizeof *call);
    if (!call)
        return;
    call->arrival.done = arrived;
    call->server = server;
    call->listener = listener;
    grpc_call_details_init(&call->about);
    grpc_metadata_array_init(&call->metadata);
    pthread_mutex_lock(&server->lock);
    bool wanted = !server->stopping && listener->armed < ARRIVALS_MAX &&
                  listener->refused_count < REFUSALS_MAX;
    listener->armed += wanted;
    pthread_mutex_unlock(&server->lock);
    if (!wanted) {
        call_free(call);
        return;
    }
    handover_give(&call->arrival);
    grpc_call_error error = grpc_server_request_call(
        listener->raw, &call->raw, &call->about, &call->metadata, rpc_queue_raw(server->calls),
        rpc_queue_raw(server->arrivals), &call->arrival);
    assert(error == GRPC_CALL_OK);
}

static const struct rpc_method *find_method(const struct rpc_listener *listener, grpc_slice path)
{
    char wanted[256];
    for (size_t i = 0; i < listener->method_count; i++) {
        const struct rpc_method *method = &listener->methods[i];
        snprintf(wanted, sizeof wanted, "/%s/%s", method->service, method->name);
        if (grpc_slice_str_cmp(path, wanted) == 0)
            return method;
    }
    return NULL;
}

/* IO is no code of gRPC's. */
static grpc_status_code code_on_wire(enum status status)
{
    return status == STATUS_IO ? GRPC_STATUS_INTERNAL : (grpc_status_code)status;
}

/* Fills two operations that end the call with `status` and its sentence. */
static size_t put_status(struct rpc_call *call, grpc_op ops[2], enum status status, bool greeted)
{
    const char *text = status == STATUS_OK ? "" : status_message();
    call->sentence = grpc_slice_from_copied_string(text);
    call->trailer.key = grpc_slice_from_static_string(STATUS_DETAILS_KEY);
    call->has_trailer =
        status != STATUS_OK &&
        status_details_pack(&call->details, &call->trailer.value, (int)code_on_wire(status), text);
    memset(ops, 0, 2 * sizeof *ops);
    size_t count = 0;
    if (!greeted)
        ops[count++].op = GRPC_OP_SEND_INITIAL_METADATA;
    grpc_op *op = &ops[count++];
    op->op = GRPC_OP_SEND_STATUS_FROM_SERVER;
    op->data.send_status_from_server.status = code_on_wire(status);
    op->data.send_status_from_server.status_details = &call->sentence;
    op->data.send_status_from_server.trailing_metadata_count = call->has_trailer;
    op->data.send_status_from_server.trailing_metadata = &call->trailer;
    return count;
}

static void drop_status(struct rpc_call *call)
{
    grpc_slice_unref(call->sentence);
    if (call->has_trailer)
        grpc_slice_unref(call->trailer.value);
}

/* Waits until the client has taken every message; one that takes none for too long loses the call.
 */
static void flush(struct rpc_call *call)
{
    while (!rpc_wire_wait_unsent(&call->wire, 0, clock_after_ms(FLUSH_LOOK_MS))) {
        if (rpc_wire_stalled_ms(&call->wire) < RPC_WRITE_DEADLINE_MS &&
            clock_now_ns() < call->deadline_ns)
            continue;
        grpc_call_cancel(call->raw, NULL);
        (void)rpc_wire_wait_unsent(&call->wire, 0, CLOCK_NEVER_NS);
    }
}

static void finish(struct rpc_call *call, enum status status)
{
    grpc_op ops[2];
    size_t count = put_status(call, ops, status, call->wire.greeted);
    flush(call);
    rpc_wire_begin(&call->wire, RPC_WIRE_FINISH, ops, count);
    (void)rpc_wire_wait(&call->wire, RPC_WIRE_FINISH, clock_after_ms(FINISH_DEADLINE_MS));
    /* The call must be over on the client's side before deinit cancels it. */
    (void)rpc_wire_wait(&call->wire, RPC_WIRE_END, clock_after_ms(FINISH_DEADLINE_MS));
}

/* ---- the line that tells of a call's end ---- */

void rpc_call_note(struct rpc_call *call, struct log_field field)
{
    size_t i = 0;
    while (i < call->note_count && strcmp(call->notes[i].key, field.key) != 0)
        i++;
    assert(i < RPC_END_LINE_NOTES_MAX);
    call->notes[i] = field;
    if (i == call->note_count)
        call->note_count++;
}

/* What the client is told: a word for programs where there is one, and the sentence. */
static void note_failure(struct rpc_call *call)
{
    const char *word = call->details.reason;
    rpc_call_note(call, log_text("reason", word ? word : status_message()));
    if (word)
        rpc_call_note(call, log_text("cause", status_message()));
}

/* Of each call that arrived, whatever became of it. */
static void log_end(struct rpc_call *call, enum status status)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%.*s", (int)GRPC_SLICE_LENGTH(call->about.method),
             (const char *)GRPC_SLICE_START_PTR(call->about.method));
    if (status != STATUS_OK)
        note_failure(call);
    rpc_end_line_tell(&(struct rpc_end_line){
        .method = call->method,
        .path = path,
        .peer = rpc_call_peer(call),
        .tenant = call->caller.tenant,
        .code = (enum status)code_on_wire(status),
        .notes = call->notes,
        .note_count = call->note_count,
        .begun_ns = call->begun_ns,
    });
}

static enum status handle(struct rpc_call *call)
{
    struct rpc_server *server = call->server;
    const struct rpc_method *method = call->method;
    rpc_call_note(call, log_text("reason", "finished"));
    for (size_t i = 0; i < method->note_count; i++)
        rpc_call_note(call, method->notes[i]);
    if (method->client_streams)
        return method->handle(call, NULL, method->context);
    pthread_mutex_lock(&server->lock);
    bool draining = server->draining;
    pthread_mutex_unlock(&server->lock);
    if (draining && !method->while_draining) {
        call->details.reason = "DRAINING";
        call->details.retry_ms = RETRY_MS;
        return fail(STATUS_UNAVAILABLE, "the coordinator is draining; try another one or later");
    }
    const ProtobufCMessage *request = NULL;
    TRY(rpc_wire_read(&call->wire, call->arena, &request, method->request,
                      method->request_bytes_max, clock_after_ms(RPC_WRITE_DEADLINE_MS)));
    if (!request)
        return fail(STATUS_INVALID_ARGUMENT, "%s: the call carries no request", method->name);
    return method->handle(call, request, method->context);
}

/* ---- the connection that a call came by ---- */

static void begin_connection(struct rpc_call *call)
{
    char *name = grpc_call_get_peer(call->raw);
    if (call->listener->acceptor)
        rpc_acceptor_call_begin(call->listener->acceptor, &call->connection, name);
    else
        snprintf(call->connection.peer, sizeof call->connection.peer, "%s", name);
    gpr_free(name);
}

static void end_connection(struct rpc_call *call)
{
    if (call->listener->acceptor)
        rpc_acceptor_call_end(call->listener->acceptor, &call->connection);
}

/* Under the lock. */
static void unlink_call(struct rpc_call *call)
{
    *call->link = call->next;
    if (call->next)
        call->next->link = call->link;
    call->share->open--;
}

static void call_end(struct rpc_call *call)
{
    struct rpc_server *server = call->server;
    struct rpc_listener *listener = call->listener;
    pthread_mutex_lock(&server->lock);
    unlink_call(call);
    pthread_mutex_unlock(&server->lock);

    rpc_wire_deinit(&call->wire);
    end_connection(call);
    drop_status(call);
    rpc_arena_destroy(call->arena);
    call_free(call);

    /* Last: from here on the server may be freed, so the new arrival is armed while the call still
     * counts. */
    arm(listener);
    pthread_mutex_lock(&server->lock);
    server->running_count--;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
}

static void *serve(void *argument)
{
    struct rpc_call *call = argument;
    struct rpc_server *server = call->server;
    grpc_op over = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};
    over.data.recv_close_on_server.cancelled = &call->cancelled;
    rpc_wire_begin(&call->wire, RPC_WIRE_END, &over, 1);
    enum status status = rpc_arena_create(&call->arena);
    if (status == STATUS_OK)
        status = handle(call);
    log_end(call, status); /* before finish(): its waits word sentences of their own */
    pthread_mutex_lock(&server->lock);
    server->handled_count--;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
    finish(call, status);
    log_request(NULL);
    call_end(call);
    return NULL;
}

/* ---- refusing: without a thread, however many come ---- */

static void refused(struct rpc_tag *tag, bool ok)
{
    (void)ok;
    struct rpc_call *call = (struct rpc_call *)((char *)tag - offsetof(struct rpc_call, refusal));
    struct rpc_server *server = call->server;
    struct rpc_listener *listener = call->listener;
    end_connection(call);
    grpc_call_unref(call->raw);
    drop_status(call);
    call_free(call);
    arm(listener); /* the server lives while this one counts */
    pthread_mutex_lock(&server->lock);
    listener->refused_count--;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
}

/* Ends the call with `status` and the last sentence. It counts as refused already. */
static void refuse(struct rpc_call *call, enum status status)
{
    log_end(call, status);
    if (status == STATUS_RESOURCE_EXHAUSTED)
        call->details.retry_ms = RETRY_MS;
    grpc_op ops[3];
    size_t count = put_status(call, ops, status, false);
    memset(&ops[count], 0, sizeof ops[count]);
    ops[count].op = GRPC_OP_RECV_CLOSE_ON_SERVER;
    ops[count++].data.recv_close_on_server.cancelled = &call->cancelled;
    call->refusal.done = refused;
    handover_give(&call->refusal);
    grpc_call_error error = grpc_call_start_batch(call->raw, ops, count, &call->refusal, NULL);
    assert(error == GRPC_CALL_OK);
}

static enum status refuse_path(const struct rpc_call *call)
{
    grpc_slice path = call->about.method;
    const struct rpc_listener *at = call->server->listeners;
    while (at && !find_method(at, path))
        at = at->next;
    return fail(STATUS_UNIMPLEMENTED, "no method %.*s%s", (int)GRPC_SLICE_LENGTH(path),
                (const char *)GRPC_SLICE_START_PTR(path),
                at ? " at this port, but at another one: clients and workers have one each" : "");
}

/* Whether the call may be served; otherwise the status and the sentence that refuse it. Under the
 * lock. */
static enum status admit(struct rpc_call *call)
{
    const struct rpc_method *method = find_method(call->listener, call->about.method);
    if (!method)
        return refuse_path(call);
    struct rpc_share *share = method->share ? method->share : &call->server->share;
    call->details.reason = "TOO_MANY_CALLS";
    if (call->connection.spare && !method->essential)
        return fail(STATUS_RESOURCE_EXHAUSTED,
                    "as many connections are open as may be (%d): close some, try again later, or "
                    "start with a larger --max-connections",
                    call->server->connections_max);
    if (share->open >= share->calls_max)
        return fail(STATUS_RESOURCE_EXHAUSTED, "as many %s are open as may be (%d): end some%s%s",
                    share->name, share->calls_max,
                    share->setting ? ", try again later, or start with a larger "
                                   : " or try again later",
                    share->setting ? share->setting : "");
    call->details.reason = NULL;
    call->method = method;
    call->share = share;
    share->open++;
    return STATUS_OK;
}

/* Whether its caller may make the call, where its method is known. */
static enum status ask_guard(struct rpc_call *call)
{
    const struct rpc_listener *listener = call->listener;
    const struct rpc_method *method = find_method(listener, call->about.method);
    if (!method || method->unguarded || !listener->guard)
        return STATUS_OK;
    size_t bytes = 0;
    const char *said = rpc_call_authorization(call, &bytes);
    return listener->guard(listener->guard_context, &call->caller, &call->details, method, said,
                           bytes);
}

static int64_t deadline_of(const struct rpc_call *call)
{
    gpr_timespec deadline = call->about.deadline;
    if (gpr_time_cmp(deadline, gpr_inf_future(deadline.clock_type)) == 0)
        return CLOCK_NEVER_NS;
    gpr_timespec left = gpr_time_sub(deadline, gpr_now(deadline.clock_type));
    return clock_now_ns() + left.tv_sec * 1000000000 + left.tv_nsec;
}

/* Where no thread can be had the call is refused after all. */
static void start_serving(struct rpc_call *call)
{
    struct rpc_server *server = call->server;
    pthread_t thread;
    int error = pthread_create(&thread, NULL, serve, call);
    if (!error) {
        pthread_detach(thread);
        return;
    }
    pthread_mutex_lock(&server->lock);
    unlink_call(call);
    server->running_count--;
    server->handled_count--;
    call->listener->refused_count++;
    pthread_mutex_unlock(&server->lock);
    refuse(call, fail(STATUS_RESOURCE_EXHAUSTED, "start a thread for a call: %s", strerror(error)));
}

static void arrived(struct rpc_tag *tag, bool ok)
{
    struct rpc_call *call = (struct rpc_call *)((char *)tag - offsetof(struct rpc_call, arrival));
    struct rpc_server *server = call->server;
    struct rpc_listener *listener = call->listener;
    enum status status = STATUS_CANCELLED;
    if (ok) {
        begin_connection(call);
        call->begun_ns = clock_now_ns();
        call->deadline_ns = deadline_of(call);
        status = ask_guard(call);
    }
    pthread_mutex_lock(&server->lock);
    listener->armed--;
    if (status == STATUS_OK)
        status = admit(call);
    if (status == STATUS_OK) {
        server->running_count++;
        server->handled_count++;
        call->next = server->running;
        call->link = &server->running;
        if (call->next)
            call->next->link = &call->next;
        server->running = call;
        rpc_wire_init(&call->wire, call->raw, true);
    } else if (ok) {
        listener->refused_count++;
    }
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
    if (!ok) { /* the server is stopping */
        call_free(call);
        return;
    }
    arm(listener);
    if (status == STATUS_OK)
        start_serving(call);
    else
        refuse(call, status);
}

/* ---- the server ---- */

static void stop_done(struct rpc_tag *tag, bool ok)
{
    (void)ok;
    struct rpc_listener *listener =
        (struct rpc_listener *)((char *)tag - offsetof(struct rpc_listener, stop_tag));
    struct rpc_server *server = listener->server;
    pthread_mutex_lock(&server->lock);
    listener->stopped = true;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
}

enum status rpc_server_create(struct rpc_server **server, const struct rpc_limits *limits)
{
    struct rpc_server *s = calloc(1, sizeof *s);
    if (!s)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a gRPC server");
    rpc_end_line_offer();
    s->connections_max = limits->connections_max;
    s->share = (struct rpc_share){"calls", "--max-calls", limits->calls_max, 0};
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    enum status status = STATUS_OK;
    TRY_ELSE(rpc_queue_create(&s->arrivals, 1), destroy);
    TRY_ELSE(rpc_queue_create(&s->calls, 1), destroy);
    *server = s;
    return STATUS_OK;
destroy:
    rpc_server_destroy(s, 0);
    return status;
}

static void connected(void *context, int fd)
{
    struct rpc_listener *listener = context;
    grpc_server_add_channel_from_fd(listener->raw, fd, listener->credentials);
}

/* Without TLS: connections come by the acceptor. */
static enum status listen_plain(struct rpc_listener *listener, const char *address)
{
    const struct rpc_acceptor_args args = {address, listener->server->connections_max, connected,
                                           listener};
    TRY(rpc_acceptor_create(&listener->acceptor, &args));
    listener->raw = raw_server_create(listener->server->arrivals, listener->server->calls);
    listener->credentials = grpc_insecure_server_credentials_create();
    return STATUS_OK;
}

/* With TLS gRPC takes no connection from us: it listens itself. */
static enum status listen_under_tls(struct rpc_listener *listener, int *bound,
                                    const struct rpc_port *port)
{
    listener->raw = raw_server_create(listener->server->arrivals, listener->server->calls);
    return raw_server_listen(listener->raw, &listener->credentials, bound, port->address,
                             port->tls);
}

static void destroy_listener(struct rpc_listener *listener)
{
    if (listener->raw)
        grpc_server_destroy(listener->raw);
    if (listener->credentials)
        grpc_server_credentials_release(listener->credentials);
    rpc_acceptor_destroy(listener->acceptor);
    free(listener);
}

enum status rpc_server_listen(struct rpc_server *server, int *bound, const struct rpc_port *port)
{
    struct rpc_listener *listener = calloc(1, sizeof *listener);
    if (!listener)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to listen on %s", port->address);
    *listener = (struct rpc_listener){
        .server = server,
        .methods = port->methods,
        .method_count = port->method_count,
        .guard = port->guard,
        .guard_context = port->guard_context,
        .stop_tag = {stop_done},
    };
    enum status status =
        port->tls ? listen_under_tls(listener, bound, port) : listen_plain(listener, port->address);
    if (status != STATUS_OK) {
        destroy_listener(listener);
        return status;
    }
    grpc_server_start(listener->raw);
    pthread_mutex_lock(&server->lock);
    listener->next = server->listeners;
    server->listeners = listener; /* from here on it is freed with the server */
    pthread_mutex_unlock(&server->lock);
    for (int i = 0; i < ARRIVALS_MAX; i++)
        arm(listener);
    if (!listener->acceptor)
        return STATUS_OK;
    TRY(rpc_acceptor_start(listener->acceptor));
    *bound = rpc_acceptor_port(listener->acceptor);
    return STATUS_OK;
}

void rpc_server_drain(struct rpc_server *server)
{
    pthread_mutex_lock(&server->lock);
    server->draining = true;
    pthread_mutex_unlock(&server->lock);
}

static void cancel_running(struct rpc_server *server)
{
    pthread_mutex_lock(&server->lock);
    for (struct rpc_call *call = server->running; call; call = call->next)
        grpc_call_cancel(call->raw, NULL);
    pthread_mutex_unlock(&server->lock);
}

/* Whether gRPC still holds something of a listener's. Under the lock. */
static bool any_held(const struct rpc_server *server)
{
    for (const struct rpc_listener *at = server->listeners; at; at = at->next)
        if (at->armed > 0 || at->refused_count > 0 || !at->stopped)
            return true;
    return false;
}

/* Waits for handlers until `handled_ns`, and for what they have written until `flushed_ns`. */
static void wait_for_calls(struct rpc_server *server, int64_t handled_ns, int64_t flushed_ns)
{
    pthread_mutex_lock(&server->lock);
    while (server->running_count > 0 && clock_wait(&server->changed, &server->lock, handled_ns))
        ;
    while (server->running_count > server->handled_count &&
           clock_wait(&server->changed, &server->lock, flushed_ns))
        ;
    pthread_mutex_unlock(&server->lock);
}

static void stop(struct rpc_server *server, int64_t grace_ms)
{
    int64_t handled_ns = clock_after_ms(grace_ms), flushed_ns = clock_after_ms(RPC_FLUSH_MS);
    pthread_mutex_lock(&server->lock);
    server->stopping = true;
    pthread_mutex_unlock(&server->lock);
    for (struct rpc_listener *at = server->listeners; at; at = at->next) {
        rpc_acceptor_stop(at->acceptor);
        handover_give(&at->stop_tag);
        grpc_server_shutdown_and_notify(at->raw, rpc_queue_raw(server->arrivals), &at->stop_tag);
    }
    wait_for_calls(server, handled_ns, flushed_ns);
    cancel_running(server);
    for (struct rpc_listener *at = server->listeners; at; at = at->next)
        grpc_server_cancel_all_calls(at->raw);
    /* Cancelled calls end their handlers within 100 ms: the contract of rpc_handler. */
    pthread_mutex_lock(&server->lock);
    while (server->running_count > 0 || any_held(server))
        (void)clock_wait(&server->changed, &server->lock, CLOCK_NEVER_NS);
    pthread_mutex_unlock(&server->lock);
}

void rpc_server_destroy(struct rpc_server *server, int64_t grace_ms)
{
    if (!server)
        return;
    if (server->listeners)
        stop(server, grace_ms);
    while (server->listeners) {
        struct rpc_listener *listener = server->listeners;
        server->listeners = listener->next;
        destroy_listener(listener);
    }
    rpc_queue_destroy(server->arrivals);
    rpc_queue_destroy(server->calls);
    pthread_cond_destroy(&server->changed);
    pthread_mutex_destroy(&server->lock);
    free(server);
}

/* ---- for handlers ---- */

enum status rpc_call_read(struct rpc_call *call, const ProtobufCMessage **message,
                          int64_t timeout_ms)
{
    return rpc_wire_read(&call->wire, call->arena, message, call->method->request,
                         call->method->request_bytes_max, clock_after_ms(timeout_ms));
}

enum status rpc_call_write(struct rpc_call *call, const ProtobufCMessage *message)
{
    return rpc_wire_write(&call->wire, message, clock_after_ms(RPC_WRITE_DEADLINE_MS));
}

enum status rpc_call_post(struct rpc_call *call, const ProtobufCMessage *message)
{
    return rpc_wire_post(&call->wire, message);
}

bool rpc_call_has_room(struct rpc_call *call, int64_t timeout_ms)
{
    return rpc_wire_wait_unsent(&call->wire, RPC_UNSENT_BYTES_MAX, clock_after_ms(timeout_ms));
}

int64_t rpc_call_stalled_ms(struct rpc_call *call)
{
    return rpc_wire_stalled_ms(&call->wire);
}

bool rpc_call_cancelled(struct rpc_call *call)
{
    return rpc_wire_ended(&call->wire);
}

void rpc_call_cancel(struct rpc_call *call)
{
    grpc_call_cancel(call->raw, NULL);
}

int64_t rpc_call_deadline_ns(const struct rpc_call *call)
{
    return call->deadline_ns;
}

const char *rpc_call_peer(const struct rpc_call *call)
{
    return call->connection.peer;
}

const struct rpc_caller *rpc_call_caller(const struct rpc_call *call)
{
    return &call->caller;
}

const char *rpc_call_metadata(const struct rpc_call *call, const char *key, size_t *bytes)
{
    for (size_t i = 0; i < call->metadata.count; i++) {
        const grpc_metadata *entry = &call->metadata.metadata[i];
        if (grpc_slice_str_cmp(entry->key, key) != 0)
            continue;
        *bytes = GRPC_SLICE_LENGTH(entry->value);
        return (const char *)GRPC_SLICE_START_PTR(entry->value);
    }
    *bytes = 0;
    return NULL;
}

const char *rpc_call_authorization(const struct rpc_call *call, size_t *bytes)
{
    return rpc_call_metadata(call, RPC_AUTHORIZATION, bytes);
}

struct status_details *rpc_call_details(struct rpc_call *call)
{
    return &call->details;
}
