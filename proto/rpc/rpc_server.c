/* Owns the listening ports, the calls and their threads. Promises that every call gets a status,
 * that a drained server refuses new calls with UNAVAILABLE, and that no thread of a call outlives
 * rpc_server_destroy.
 *
 * Two queues, each with its thread: arrivals have their own, so that a stream whose writes complete
 * at once cannot keep new connections waiting (a queue hands out what is ready before it polls).
 * A call has a thread while its handler runs: not while its request is on its way, and not while
 * its client takes the status. The calls' queue ends such waits in time (look_at_calls).
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
#include "proto/rpc/rpc_call.h"
#include "proto/rpc/rpc_end_line.h"
#include "proto/rpc/rpc_threads.h"

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
    struct rpc_threads *threads;
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

/* ---- a call's life: arm -> arrived -> request_came -> serve (a thread) -> finish -> call_over
 *                                    -> serve, where the client streams
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

/* Whether the path is "/SERVICE/NAME" of the method. */
static bool is_path_of(const struct rpc_method *method, const char *path, size_t bytes)
{
    const size_t service = strlen(method->service), name = strlen(method->name);
    return bytes == service + name + 2 && path[0] == '/' && path[service + 1] == '/' &&
           memcmp(path + 1, method->service, service) == 0 &&
           memcmp(path + service + 2, method->name, name) == 0;
}

static const struct rpc_method *find_method(const struct rpc_listener *listener, grpc_slice path)
{
    const char *text = (const char *)GRPC_SLICE_START_PTR(path);
    for (size_t i = 0; i < listener->method_count; i++)
        if (is_path_of(&listener->methods[i], text, GRPC_SLICE_LENGTH(path)))
            return &listener->methods[i];
    return NULL;
}

/* IO is no code of gRPC's. */
static grpc_status_code code_on_wire(enum status status)
{
    return status == STATUS_IO ? GRPC_STATUS_INTERNAL : (grpc_status_code)status;
}

enum { FINISH_OPS = 3 };

/* Fills the operations that end the call with `status` and its sentence, and the answer before. */
static size_t put_status(struct rpc_call *call, grpc_op ops[FINISH_OPS], enum status status,
                         bool greeted)
{
    const char *text = status == STATUS_OK ? "" : status_message();
    call->sentence = grpc_slice_from_copied_string(text);
    call->trailer.key = grpc_slice_from_static_string(STATUS_DETAILS_KEY);
    call->has_trailer =
        status != STATUS_OK &&
        status_details_pack(&call->details, &call->trailer.value, (int)code_on_wire(status), text);
    memset(ops, 0, FINISH_OPS * sizeof *ops);
    size_t count = 0;
    if (!greeted)
        ops[count++].op = GRPC_OP_SEND_INITIAL_METADATA;
    if (call->answer && status == STATUS_OK) {
        ops[count].op = GRPC_OP_SEND_MESSAGE;
        ops[count++].data.send_message.send_message = call->answer;
    }
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

static void call_over(struct rpc_wire *wire);

/* The caller's last word in the call: call_over frees it. */
static void finish(struct rpc_call *call, enum status status)
{
    struct rpc_server *server = call->server;
    grpc_op ops[FINISH_OPS];
    const size_t count = put_status(call, ops, status, call->wire.greeted);
    flush(call);
    pthread_mutex_lock(&server->lock);
    call->quiet_ns = clock_after_ms(call->answer ? RPC_WRITE_DEADLINE_MS : FINISH_DEADLINE_MS);
    pthread_mutex_unlock(&server->lock);
    rpc_wire_end(&call->wire, ops, count, call_over);
}

/* ---- the line that tells of a call's end ---- */

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

/* When its one request must be there. */
static int64_t request_until_ns(const struct rpc_call *call)
{
    return call->begun_ns + RPC_WRITE_DEADLINE_MS * INT64_C(1000000);
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
                      method->request_bytes_max, request_until_ns(call)));
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

/* On the thread of the calls' queue, which no longer knows the call. */
static void call_over(struct rpc_wire *wire)
{
    struct rpc_call *call = (struct rpc_call *)((char *)wire - offsetof(struct rpc_call, wire));
    struct rpc_server *server = call->server;
    struct rpc_listener *listener = call->listener;
    pthread_mutex_lock(&server->lock);
    unlink_call(call);
    pthread_mutex_unlock(&server->lock);

    rpc_wire_deinit(&call->wire);
    end_connection(call);
    drop_status(call);
    if (call->answer)
        grpc_byte_buffer_destroy(call->answer);
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

/* Ends the handler's part of the call. */
static void leave(struct rpc_call *call, enum status status)
{
    struct rpc_server *server = call->server;
    log_end(call, status); /* before finish(): its waits word sentences of their own */
    pthread_mutex_lock(&server->lock);
    server->handled_count--;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
    finish(call, status);
}

static void serve(struct rpc_job *job)
{
    struct rpc_call *call = (struct rpc_call *)((char *)job - offsetof(struct rpc_call, job));
    enum status status = rpc_arena_create(&call->arena);
    if (status == STATUS_OK)
        status = handle(call);
    if (call->deferred)
        rpc_call_release(call);
    else
        leave(call, status);
    log_request(NULL);
}

/* Where no thread can be had the call is refused after all. */
static void start_serving(struct rpc_call *call)
{
    struct rpc_threads *threads = call->server->threads;
    grpc_byte_buffer *request = call->wire.incoming;
    const bool brief = call->method->is_brief && request &&
                       grpc_byte_buffer_length(request) <= RPC_BRIEF_BYTES_MAX &&
                       rpc_message_look(request, call->method->is_brief);
    call->job.run = serve;
    call->leave = leave;
    const enum status status =
        brief ? rpc_threads_run_brief(threads, &call->job) : rpc_threads_run(threads, &call->job);
    if (status == STATUS_OK)
        return;
    call->details.retry_ms = RETRY_MS;
    leave(call, status);
}

/* ---- waiting without a thread, on the thread of the calls' queue ---- */

/* Whether the call still waited for its request. */
static bool stop_reading(struct rpc_call *call)
{
    pthread_mutex_lock(&call->server->lock);
    const bool waited = call->reading;
    call->reading = false;
    call->quiet_ns = CLOCK_NEVER_NS;
    pthread_mutex_unlock(&call->server->lock);
    return waited;
}

/* The request is there, or the client is gone. */
static void request_came(struct rpc_tag *tag, bool ok)
{
    struct rpc_call *call =
        (struct rpc_call *)((char *)tag - offsetof(struct rpc_call, wire.ops[RPC_WIRE_READ].tag));
    tag->done = rpc_wire_op_done;
    if (!stop_reading(call)) {
        rpc_wire_op_done(tag, ok); /* the call may be over */
        return;
    }
    rpc_wire_op_done(tag, ok);
    start_serving(call);
}

/* A call whose request does not come in time is served, to be told so; NULL: none. One whose client
 * does not take its status is cancelled. */
static struct rpc_call *look_at_quiet(struct rpc_server *server)
{
    const int64_t now_ns = clock_now_ns();
    struct rpc_call *late = NULL;
    pthread_mutex_lock(&server->lock);
    for (struct rpc_call *call = server->running; call && !late; call = call->next) {
        if (now_ns < call->quiet_ns)
            continue;
        if (call->reading)
            late = call;
        else
            grpc_call_cancel(call->raw, NULL);
        call->reading = false;
        call->quiet_ns = CLOCK_NEVER_NS;
    }
    pthread_mutex_unlock(&server->lock);
    return late;
}

static void look_at_calls(void *context)
{
    struct rpc_server *server = context;
    for (struct rpc_call *late; (late = look_at_quiet(server));)
        start_serving(late);
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
    grpc_op ops[FINISH_OPS + 1];
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
    const struct rpc_method *method = call->method;
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
    call->share = share;
    share->open++;
    return STATUS_OK;
}

/* Whether its caller may make the call, where its method is known. */
static enum status ask_guard(struct rpc_call *call)
{
    const struct rpc_listener *listener = call->listener;
    const struct rpc_method *method = call->method;
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

/* The call's first operations: to hear of its end, and to read its one request. From here on it may
 * be served, and over. */
static void begin_call(struct rpc_call *call)
{
    grpc_op over = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};
    over.data.recv_close_on_server.cancelled = &call->cancelled;
    const bool streams = call->method->client_streams;
    rpc_wire_begin(&call->wire, RPC_WIRE_END, &over, 1);
    if (streams) {
        start_serving(call);
        return;
    }
    call->wire.ops[RPC_WIRE_READ].tag.done = request_came;
    rpc_wire_begin_read(&call->wire);
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
        call->method = find_method(listener, call->about.method);
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
        call->reading = !call->method->client_streams;
        call->quiet_ns = call->reading ? request_until_ns(call) : CLOCK_NEVER_NS;
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
        begin_call(call);
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
    TRY_ELSE(rpc_threads_create(&s->threads), destroy);
    TRY_ELSE(rpc_queue_create(&s->arrivals), destroy);
    TRY_ELSE(rpc_queue_create_ticking(&s->calls, look_at_calls, s), destroy);
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
    rpc_threads_destroy(server->threads);
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
