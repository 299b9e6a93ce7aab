/* Owns the daemon of libmicrohttpd and what connects it with routes. Promises that whatever a
 * client sends, it gets an answer in time or loses its connection, and that a body takes no more
 * memory than all of them may together.
 *
 * Of the library's own limits only those of the head are used (HTTP_HEAD_BYTES). Its time limits
 * know no more than whether a byte has moved: http_connections looks after time.
 */
#include "coordinator/http/http_server.h"

#include <microhttpd.h>

#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "coordinator/http/http_exchange.h"
#include "coordinator/http/http_head.h"
#include "coordinator/http/http_listen.h"
#include "coordinator/http/http_routes.h"
#include "proto/clock.h"
#include "proto/log.h"
#include "proto/metrics.h"

enum {
    HTTP_HEAD_BYTES = 32 << 10,
    BODIES_BYTES_MAX = 256 << 20, /* of all that are collected at a time */
    BODY_STEP_BYTES = 64 << 10,
    DISCARD_BYTES_MAX = 1 << 20, /* of a request that is refused, so that its client reads why */
    RETRY_MS = 1000,
};

struct http_server {
    struct http_tools tools;
    struct http_connections *connections;
    struct MHD_Daemon *daemon;
    struct metrics_collector collector;
};

/* A request that no route takes has the path "". */
static struct metrics_family requests_family = {
    .name = "longhaul_http_requests",
    .help = "HTTP requests that have ended, by path and code; code 0: the client left before.",
    .type = METRICS_COUNTER,
    .labels = {"path", "code"},
};

static const struct metrics_family connections_family = {
    .name = "longhaul_http_connections",
    .help = "HTTP connections that are open.",
    .type = METRICS_GAUGE,
};

/* ---- bodies ---- */

static enum status reserve(struct http_exchange *exchange, size_t room)
{
    struct http_body *body = &exchange->body;
    const int64_t more = (int64_t)(room - body->room);
    const int64_t all = atomic_fetch_add(&exchange->tools->bodies_bytes, more) + more;
    char *text = all <= BODIES_BYTES_MAX ? realloc(body->text, room) : NULL;
    if (!text) {
        atomic_fetch_sub(&exchange->tools->bodies_bytes, more);
        exchange->details.reason = "TOO_MANY_BODIES";
        exchange->details.retry_ms = RETRY_MS;
        return fail(STATUS_RESOURCE_EXHAUSTED,
                    "too many bytes of requests are being read at the moment");
    }
    body->text = text;
    body->room = room;
    return STATUS_OK;
}

static enum status collect(struct http_exchange *exchange, const char *bytes, size_t count)
{
    struct http_body *body = &exchange->body;
    const size_t wanted = body->bytes + count + 1;
    if (wanted > body->room)
        TRY(reserve(exchange, wanted > 2 * body->room ? wanted + BODY_STEP_BYTES : 2 * body->room));
    memcpy(body->text + body->bytes, bytes, count);
    body->bytes += count;
    body->text[body->bytes] = 0;
    return STATUS_OK;
}

static enum status take_part(struct http_exchange *exchange, const char *bytes, size_t count)
{
    if (exchange->received > exchange->route->body_bytes) {
        exchange->code = MHD_HTTP_CONTENT_TOO_LARGE;
        return fail(STATUS_OUT_OF_RANGE, "the body is longer than %llu bytes",
                    (unsigned long long)exchange->route->body_bytes);
    }
    return exchange->route->take ? exchange->route->take(exchange, bytes, count)
                                 : collect(exchange, bytes, count);
}

/* ---- a request ---- */

static void remember(struct http_exchange *exchange, enum status failure)
{
    exchange->failure = failure;
    snprintf(exchange->sentence, sizeof exchange->sentence, "%s", status_message());
}

static enum MHD_Result answer_failure(struct http_exchange *exchange)
{
    return http_reply_error(exchange, exchange->failure, exchange->sentence) == STATUS_OK ? MHD_YES
                                                                                          : MHD_NO;
}

/* Its head is there. Of one that is refused a short body is read before the answer, as some clients
 * look for an answer only then. */
static enum MHD_Result begin(struct http_exchange *exchange, const char *method, const char *url)
{
    uint64_t body_bytes = 0;
    http_connection_pace(exchange->peer, exchange->begun_ns, 0);
    if (http_head_length(exchange, &body_bytes) != STATUS_OK) {
        remember(exchange, STATUS_INVALID_ARGUMENT);
        return answer_failure(exchange); /* nobody can tell what follows: the connection ends */
    }
    enum status status = http_head_site(exchange);
    if (status == STATUS_OK)
        status = http_routes_find(exchange, method, url);
    if (status == STATUS_OK && exchange->route->scopes)
        status = http_head_caller(exchange);
    if (status == STATUS_OK && body_bytes > exchange->route->body_bytes) {
        exchange->code = MHD_HTTP_CONTENT_TOO_LARGE;
        status =
            fail(STATUS_OUT_OF_RANGE, "the body has %llu bytes; must be at most %llu",
                 (unsigned long long)body_bytes, (unsigned long long)exchange->route->body_bytes);
    }
    if (status == STATUS_OK && exchange->route->begin)
        status = exchange->route->begin(exchange);
    if (status == STATUS_OK)
        return MHD_YES;
    remember(exchange, status);
    return body_bytes > DISCARD_BYTES_MAX ? answer_failure(exchange) : MHD_YES;
}

static enum MHD_Result take(struct http_exchange *exchange, const char *bytes, size_t *count)
{
    exchange->received += *count;
    http_connection_pace(exchange->peer, exchange->begun_ns, exchange->received);
    if (exchange->failure != STATUS_OK)
        exchange->discarded += *count;
    else
        remember(exchange, take_part(exchange, bytes, *count));
    *count = 0;
    return exchange->discarded > DISCARD_BYTES_MAX ? MHD_NO : MHD_YES;
}

static enum MHD_Result answer(struct http_exchange *exchange)
{
    http_connection_unlimit(exchange->peer);
    if (exchange->failure == STATUS_OK) {
        const enum status status = exchange->route->handle(exchange);
        if (status == STATUS_OK)
            return exchange->replied ? MHD_YES : MHD_NO;
        remember(exchange, status);
    }
    return exchange->replied ? MHD_NO : answer_failure(exchange);
}

static struct http_connection *peer_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

static enum MHD_Result handle(void *context, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *bytes,
                              size_t *count, void **state)
{
    (void)version;
    struct http_server *server = context;
    struct http_exchange *exchange = *state;
    if (exchange)
        return *count ? take(exchange, bytes, count) : answer(exchange);
    struct http_connection *peer = peer_of(connection);
    if (!peer)
        return MHD_NO;
    exchange = calloc(1, sizeof *exchange);
    if (!exchange)
        return MHD_NO;
    exchange->tools = &server->tools;
    exchange->connection = connection;
    exchange->peer = peer;
    exchange->begun_ns = clock_now_ns();
    *state = exchange;
    return begin(exchange, method, url);
}

/* ---- the end of a request ---- */

static void log_end(struct http_exchange *exchange, bool complete)
{
    const struct http_route *route = exchange->route;
    const bool routine = route && route->routine && exchange->code < 400;
    struct log_field fields[HTTP_NOTES_MAX + 6];
    size_t count = 0;
    fields[count++] = log_text("method", route ? route->method : "");
    fields[count++] = log_text("path", route ? route->path : "");
    fields[count++] = log_integer("code", exchange->code);
    if (exchange->failure != STATUS_OK)
        fields[count++] = log_text("error", exchange->sentence);
    if (!complete)
        fields[count++] = log_text("reason", "the client left");
    for (size_t i = 0; i < exchange->note_count; i++)
        fields[count++] = exchange->notes[i];
    fields[count++] = log_real("seconds", clock_seconds_since(exchange->begun_ns), 3);
    char code[8];
    snprintf(code, sizeof code, "%d", exchange->code);
    metrics_add(&requests_family, 1, route ? route->path : "", code);
    log_request(exchange->request_id);
    log_fields(routine ? LOG_DEBUG : LOG_INFO, "http request ended", fields, count);
    log_request(NULL);
}

static void completed(void *context, struct MHD_Connection *connection, void **state,
                      enum MHD_RequestTerminationCode reason)
{
    (void)context;
    (void)connection;
    struct http_exchange *exchange = *state;
    if (!exchange)
        return;
    http_connection_limit(exchange->peer, HTTP_IDLE_MS);
    if (exchange->end_work)
        exchange->end_work(exchange->work);
    log_end(exchange, reason == MHD_REQUEST_TERMINATED_COMPLETED_OK);
    atomic_fetch_sub(&exchange->tools->bodies_bytes, (int64_t)exchange->body.room);
    free(exchange->body.text);
    free(exchange);
    *state = NULL;
}

/* ---- connections ---- */

static void notice(void *context, struct MHD_Connection *connection, void **socket_context,
                   enum MHD_ConnectionNotificationCode code)
{
    struct http_server *server = context;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        if (*socket_context)
            http_connections_leave(*socket_context);
        *socket_context = NULL;
        return;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    *socket_context = info ? http_connections_enter(server->connections, info->connect_fd) : NULL;
}

/* The first line of a request is there. */
static void *first_line(void *context, const char *uri, struct MHD_Connection *connection)
{
    (void)context;
    (void)uri;
    struct http_connection *peer = peer_of(connection);
    if (peer)
        http_connection_limit(peer, HTTP_HEAD_MS);
    return NULL;
}

/* What the library says of broken requests. */
__attribute__((format(printf, 2, 0))) static void log_trouble(void *context, const char *format,
                                                              va_list arguments)
{
    (void)context;
    char text[256];
    vsnprintf(text, sizeof text, format, arguments);
    text[strcspn(text, "\r\n")] = 0;
    log_line(LOG_DEBUG, "libmicrohttpd", log_text("said", text));
}

/* ---- life ---- */

enum { TLS_OPTIONS = 4 };

static void collect_metrics(struct metrics_writer *writer, void *context)
{
    struct http_server *server = context;
    metrics_tell(writer, &connections_family);
    metrics_sample(writer, http_connections_count(server->connections), NULL);
}

/* The library would ask for clients' certificates and believe them all: so they are not asked
 * for. */
static void set_tls(struct MHD_OptionItem options[TLS_OPTIONS], const struct rpc_tls *tls)
{
    static char priorities[] = "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";
    int count = 0;
    if (tls) {
        options[count++] =
            (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)tls->certificate};
        options[count++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)tls->key};
        options[count++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_PRIORITIES, 0, priorities};
    }
    options[count] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
}

static enum status start(struct http_server *server, int socket, int connections_max,
                         const struct rpc_tls *tls)
{
    struct MHD_OptionItem options[TLS_OPTIONS];
    const unsigned flags = MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD |
                           MHD_USE_POLL | MHD_USE_ERROR_LOG | MHD_USE_ITC | (tls ? MHD_USE_TLS : 0);
    set_tls(options, tls);
    server->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, handle, server, MHD_OPTION_EXTERNAL_LOGGER, log_trouble, NULL,
        MHD_OPTION_LISTEN_SOCKET, socket, MHD_OPTION_CONNECTION_LIMIT, (unsigned)connections_max,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HTTP_HEAD_BYTES, MHD_OPTION_NOTIFY_COMPLETED,
        completed, server, MHD_OPTION_NOTIFY_CONNECTION, notice, server,
        MHD_OPTION_URI_LOG_CALLBACK, first_line, server, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_ARRAY, options, MHD_OPTION_END);
    return server->daemon ? STATUS_OK : fail(STATUS_IO, "libmicrohttpd could not be started");
}

enum status http_server_create(struct http_server **server, int *port,
                               const struct http_settings *settings)
{
    struct http_server *s = calloc(1, sizeof *s);
    if (!s)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the HTTP server");
    s->tools.access = settings->access;
    s->tools.errand = settings->errand;
    s->tools.batches = settings->batches;
    s->tools.local_only = settings->local_only;
    s->tools.created_s = (int64_t)time(NULL);
    snprintf(s->tools.model, sizeof s->tools.model, "%s", settings->model);
    int socket = -1;
    enum status status = STATUS_OK;
    TRY_ELSE(http_connections_create(&s->connections), destroy);
    TRY_ELSE(http_listen(&socket, port, settings->listen), destroy);
    TRY_ELSE(start(s, socket, settings->connections_max, settings->tls), close);
    metrics_offer(&requests_family);
    s->collector = (struct metrics_collector){.collect = collect_metrics, .context = s};
    metrics_collector_add(&s->collector);
    *server = s;
    return STATUS_OK;
close:
    close(socket);
destroy:
    http_server_destroy(s);
    return status;
}

void http_server_destroy(struct http_server *server)
{
    if (!server)
        return;
    atomic_store(&server->tools.ending, true);
    if (server->daemon)
        MHD_stop_daemon(server->daemon); /* closes the socket, joins every thread */
    if (server->collector.collect)
        metrics_collector_remove(&server->collector);
    http_connections_destroy(server->connections);
    free(server);
}
