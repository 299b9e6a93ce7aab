/* Owns a port's listening sockets, a second descriptor of every connection, and the thread that
 * accepts. Promises that a flood of connections ends with the flood: the port never stops listening
 * for longer than PAUSE_MS.
 *
 * The second descriptor tells when whoever took the connection is done with it (gRPC says nothing):
 * it shuts the socket down before it closes it, and a socket shut down both ways hangs up on all
 * its descriptors.
 */
#include "proto/rpc/rpc_acceptor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/clock.h"
#include "proto/log.h"
#include "proto/metrics.h"

enum {
    LISTENERS_MAX = 8, /* addresses of one host name */
    EVENTS_MAX = 64,
    ACCEPTS_A_TURN = 64,
    PAUSE_MS = 50,
    WARN_MS = 10000,
    HOST_BYTES = 256,
    PORT_MAX = 65535,
    /* The descriptors handed over have numbers from NAMES_FIRST on, given in a circle. */
    NAMES_FIRST = 256,
    NAMES_A_CONNECTION = 8,
};

/* What epoll tells: a listener's wake-ups are below FIRST_NUMBER, connections have larger ones. */
enum { WAKE = 0, LISTENER = 1, FIRST_NUMBER = 2 };

struct connection {
    uint64_t number; /* never used twice */
    int fd;          /* ours */
    int name;        /* of the descriptor that was handed over */
    int calls;       /* open ones */
    bool called;     /* has ever made one */
    bool spare;
    int64_t active_ns; /* when it came, or its last call began or ended */
    char peer[RPC_PEER_BYTES];
};

struct rpc_acceptor {
    struct rpc_acceptor_args args;
    int listeners[LISTENERS_MAX];
    int listener_count;
    int port;
    int epoll, wake;
    pthread_t thread;
    bool running;
    bool paused;       /* the listeners are not polled; the thread's own, as the next two */
    int name_next;     /* where the search for the next number starts */
    int64_t warned_ns; /* when the log last said that the port is full */
    pthread_mutex_t lock;
    bool stopping;                  /* under the lock, as what follows */
    struct connection *connections; /* [count], of connections_max + RPC_ACCEPTOR_SPARE */
    int count;
    uint64_t number_next;
};

static struct metrics_family connections = {.name = "longhaul_rpc_edge_connections",
                                            .help = "Open connections, of clients and of workers.",
                                            .type = METRICS_GAUGE};
static struct metrics_family rejected = {
    .name = "longhaul_rpc_edge_rejected",
    .help = "Connections without a call that were closed to make room for others (idle), "
            "and times that new ones had to wait because all were in calls (full) or descriptors "
            "had run out (descriptors).",
    .type = METRICS_COUNTER,
    .labels = {"reason"},
    .words = (const char *const[]){"idle", "full", "descriptors", NULL}};

/* ---- connections ---- */

static struct connection *find(struct rpc_acceptor *acceptor, uint64_t number)
{
    for (int i = 0; i < acceptor->count; i++)
        if (acceptor->connections[i].number == number)
            return &acceptor->connections[i];
    return NULL;
}

/* Our descriptor goes; the connection ends with the other one. Under the lock. */
static void forget(struct rpc_acceptor *acceptor, struct connection *connection)
{
    epoll_ctl(acceptor->epoll, EPOLL_CTL_DEL, connection->fd, NULL);
    close(connection->fd);
    *connection = acceptor->connections[--acceptor->count];
    metrics_add(&connections, -1);
}

static bool is_better_to_end(const struct connection *one, const struct connection *other)
{
    if (one->called != other->called)
        return !one->called;
    return one->active_ns < other->active_ns;
}

/* Ends the connection that is missed least; false where all are in calls. Under the lock. */
static bool make_room(struct rpc_acceptor *acceptor)
{
    struct connection *least = NULL;
    for (int i = 0; i < acceptor->count; i++) {
        struct connection *connection = &acceptor->connections[i];
        if (connection->calls == 0 && (!least || is_better_to_end(connection, least)))
            least = connection;
    }
    if (!least)
        return false;
    log_line(LOG_DEBUG, "connection closed", log_text("peer", least->peer),
             log_text("cause", "room for another one"));
    metrics_add(&rejected, 1, "idle");
    shutdown(least->fd, SHUT_RDWR);
    forget(acceptor, least);
    return true;
}

/* Whether one more may come, after making room for it where it must. */
static bool has_room(struct rpc_acceptor *acceptor)
{
    pthread_mutex_lock(&acceptor->lock);
    bool room = acceptor->count < acceptor->args.connections_max || make_room(acceptor) ||
                acceptor->count < acceptor->args.connections_max + RPC_ACCEPTOR_SPARE;
    pthread_mutex_unlock(&acceptor->lock);
    return room;
}

static void print_peer(char peer[RPC_PEER_BYTES], const struct sockaddr_storage *address)
{
    char text[INET6_ADDRSTRLEN] = "";
    const struct sockaddr_in6 *six = (const void *)address;
    const struct sockaddr_in *four = (const void *)address;
    if (address->ss_family == AF_INET6) {
        inet_ntop(AF_INET6, &six->sin6_addr, text, sizeof text);
        snprintf(peer, RPC_PEER_BYTES, "ipv6:[%s]:%d", text, ntohs(six->sin6_port));
    } else {
        inet_ntop(AF_INET, &four->sin_addr, text, sizeof text);
        snprintf(peer, RPC_PEER_BYTES, "ipv4:%s:%d", text, ntohs(four->sin_port));
    }
}

/* A second descriptor with a number that has not been used for long; -1 and errno otherwise. */
static int duplicate(struct rpc_acceptor *acceptor, int fd)
{
    int slots = acceptor->args.connections_max + RPC_ACCEPTOR_SPARE;
    if (acceptor->name_next >= NAMES_FIRST + NAMES_A_CONNECTION * slots)
        acceptor->name_next = NAMES_FIRST;
    int name = fcntl(fd, F_DUPFD_CLOEXEC, acceptor->name_next);
    if (name < 0) /* the process may have fewer numbers than the circle */
        name = fcntl(fd, F_DUPFD_CLOEXEC, NAMES_FIRST);
    if (name < 0)
        name = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    acceptor->name_next = name + 1 < NAMES_FIRST ? NAMES_FIRST : name + 1;
    return name;
}

/* Takes `fd`. False where descriptors have run out. */
static bool take(struct rpc_acceptor *acceptor, int fd, const struct sockaddr_storage *address)
{
    const int yes = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    int name = duplicate(acceptor, fd);
    if (name < 0) {
        close(fd);
        return false;
    }
    pthread_mutex_lock(&acceptor->lock);
    struct connection *connection = &acceptor->connections[acceptor->count];
    *connection = (struct connection){
        .number = acceptor->number_next++,
        .fd = fd,
        .name = name,
        .spare = acceptor->count >= acceptor->args.connections_max,
        .active_ns = clock_now_ns(),
    };
    print_peer(connection->peer, address);
    acceptor->count++;
    metrics_add(&connections, 1);
    struct epoll_event event = {.events = EPOLLET, .data.u64 = connection->number};
    bool watched = epoll_ctl(acceptor->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
    if (!watched)
        forget(acceptor, connection);
    pthread_mutex_unlock(&acceptor->lock);
    if (watched)
        acceptor->args.accepted(acceptor->args.context, name);
    else
        close(name);
    return watched;
}

/* ---- the thread ---- */

static void poll_listeners(struct rpc_acceptor *acceptor, bool polled)
{
    acceptor->paused = !polled;
    for (int i = 0; i < acceptor->listener_count; i++) {
        struct epoll_event event = {.events = polled ? EPOLLIN : 0, .data.u64 = LISTENER};
        epoll_ctl(acceptor->epoll, EPOLL_CTL_MOD, acceptor->listeners[i], &event);
    }
}

static int open_connections(struct rpc_acceptor *acceptor)
{
    pthread_mutex_lock(&acceptor->lock);
    int count = acceptor->count;
    pthread_mutex_unlock(&acceptor->lock);
    return count;
}

static void pause_listening(struct rpc_acceptor *acceptor, const char *cause)
{
    poll_listeners(acceptor, false);
    if (acceptor->warned_ns && clock_now_ns() < acceptor->warned_ns + WARN_MS * INT64_C(1000000))
        return;
    acceptor->warned_ns = clock_now_ns();
    log_line(LOG_WARN, "connections wait", log_integer("port", acceptor->port),
             log_integer("open", open_connections(acceptor)), log_text("cause", cause));
}

/* Accepts what waits at one listener. */
static void accept_some(struct rpc_acceptor *acceptor, int listener)
{
    struct pollfd waiting = {.fd = listener, .events = POLLIN};
    for (int n = 0; n < ACCEPTS_A_TURN && poll(&waiting, 1, 0) > 0; n++) {
        if (!has_room(acceptor)) {
            metrics_add(&rejected, 1, "full");
            pause_listening(acceptor, "every connection is in a call; see --max-connections");
            return;
        }
        struct sockaddr_storage address = {0};
        socklen_t bytes = sizeof address;
        int fd =
            accept4(listener, (struct sockaddr *)&address, &bytes, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (fd < 0 && (errno == ECONNABORTED || errno == EINTR))
            continue;
        if (fd >= 0 && take(acceptor, fd, &address))
            continue;
        const char *cause = strerror(errno);
        metrics_add(&rejected, 1, "descriptors");
        pthread_mutex_lock(&acceptor->lock);
        (void)make_room(acceptor); /* descriptors are short: one that nobody uses is given back */
        pthread_mutex_unlock(&acceptor->lock);
        pause_listening(acceptor, cause);
        return;
    }
}

static void connection_over(struct rpc_acceptor *acceptor, uint64_t number)
{
    pthread_mutex_lock(&acceptor->lock);
    struct connection *connection = find(acceptor, number);
    if (connection)
        forget(acceptor, connection);
    pthread_mutex_unlock(&acceptor->lock);
}

static bool is_stopping(struct rpc_acceptor *acceptor)
{
    pthread_mutex_lock(&acceptor->lock);
    bool stopping = acceptor->stopping;
    pthread_mutex_unlock(&acceptor->lock);
    return stopping;
}

static void *accept_all(void *argument)
{
    struct rpc_acceptor *acceptor = argument;
    struct epoll_event events[EVENTS_MAX];
    while (!is_stopping(acceptor)) {
        bool was_paused = acceptor->paused;
        /* No deadline but for a pause: it ends with a connection, an end of one, or the wake. */
        int count = epoll_wait(acceptor->epoll, events, EVENTS_MAX, was_paused ? PAUSE_MS : -1);
        bool arrivals = false;
        for (int i = 0; i < count; i++) {
            arrivals = arrivals || events[i].data.u64 == LISTENER;
            if (events[i].data.u64 >= FIRST_NUMBER && (events[i].events & EPOLLHUP))
                connection_over(acceptor, events[i].data.u64);
        }
        if (was_paused)
            poll_listeners(acceptor, true);
        for (int i = 0; i < acceptor->listener_count && arrivals && !acceptor->paused; i++)
            accept_some(acceptor, acceptor->listeners[i]);
    }
    return NULL;
}

/* ---- listening ---- */

static void set_port(struct sockaddr_storage *address, int port)
{
    if (address->ss_family == AF_INET6)
        ((struct sockaddr_in6 *)address)->sin6_port = htons((uint16_t)port);
    else
        ((struct sockaddr_in *)address)->sin_port = htons((uint16_t)port);
}

static int port_of(const struct sockaddr_storage *address)
{
    return ntohs(address->ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)address)->sin6_port
                                                : ((const struct sockaddr_in *)address)->sin_port);
}

/* Listens on one address of the host, `alone` if it has no other; 0, or why not. */
static int listen_on(struct rpc_acceptor *acceptor, const struct addrinfo *at, bool alone)
{
    const int yes = 1, six_only = !alone; /* "[::]" alone means IPv4 too */
    struct sockaddr_storage address = {0};
    socklen_t bytes = sizeof address;
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = LISTENER};
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    memcpy(&address, at->ai_addr, at->ai_addrlen);
    if (acceptor->port) /* the host's further addresses get the port that its first one got */
        set_port(&address, acceptor->port);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (at->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &six_only, sizeof six_only);
    if (bind(fd, (struct sockaddr *)&address, at->ai_addrlen) != 0 || listen(fd, SOMAXCONN) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &bytes) != 0 ||
        epoll_ctl(acceptor->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        int reason = errno;
        close(fd);
        return reason;
    }
    acceptor->port = port_of(&address);
    acceptor->listeners[acceptor->listener_count++] = fd;
    return 0;
}

static bool is_port(const char *text)
{
    char *end = NULL;
    long value = strtol(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && *end == 0 && value <= PORT_MAX;
}

static enum status resolve(struct addrinfo **found, const char *address)
{
    char text[HOST_BYTES];
    char *colon = NULL;
    if ((size_t)snprintf(text, sizeof text, "%s", address) < sizeof text)
        colon = strrchr(text, ':');
    if (!colon || !is_port(colon + 1))
        return fail(STATUS_INVALID_ARGUMENT, "listen address \"%s\" is not HOST:PORT", address);
    *colon = 0;
    char *host = text;
    size_t bytes = strlen(host);
    if (bytes >= 2 && host[0] == '[' && host[bytes - 1] == ']') {
        host[bytes - 1] = 0;
        host++;
    }
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    int error = getaddrinfo(host[0] ? host : NULL, colon + 1, &hints, found);
    return error ? fail(STATUS_INVALID_ARGUMENT, "listen on %s: %s", address, gai_strerror(error))
                 : STATUS_OK;
}

static enum status listen_on_all(struct rpc_acceptor *acceptor)
{
    struct addrinfo *found = NULL;
    TRY(resolve(&found, acceptor->args.address));
    int reason = 0, absent = 0;
    for (struct addrinfo *at = found; at && !reason; at = at->ai_next) {
        if (acceptor->listener_count == LISTENERS_MAX)
            break;
        reason = listen_on(acceptor, at, !found->ai_next);
        if (reason == EAFNOSUPPORT || reason == EADDRNOTAVAIL) { /* "localhost" without IPv6 */
            absent = reason;
            reason = 0;
        }
    }
    freeaddrinfo(found);
    if (!reason && acceptor->listener_count == 0)
        reason = absent;
    if (reason == EADDRINUSE)
        return fail(STATUS_UNAVAILABLE, "listen on %s: %s; choose another port with --listen",
                    acceptor->args.address, strerror(reason));
    return reason ? fail(STATUS_INVALID_ARGUMENT,
                         "listen on %s: %s; choose another address with --listen",
                         acceptor->args.address, strerror(reason))
                  : STATUS_OK;
}

/* ---- life ---- */

enum status rpc_acceptor_create(struct rpc_acceptor **acceptor,
                                const struct rpc_acceptor_args *args)
{
    struct rpc_acceptor *a = calloc(1, sizeof *a);
    if (!a)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to listen on %s", args->address);
    metrics_offer(&connections);
    metrics_offer(&rejected);
    a->args = *args;
    a->number_next = FIRST_NUMBER;
    a->name_next = NAMES_FIRST;
    pthread_mutex_init(&a->lock, NULL);
    a->epoll = epoll_create1(EPOLL_CLOEXEC);
    a->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    a->connections =
        calloc((size_t)args->connections_max + RPC_ACCEPTOR_SPARE, sizeof *a->connections);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = WAKE};
    enum status status = STATUS_OK;
    if (!a->connections || a->epoll < 0 || a->wake < 0 ||
        epoll_ctl(a->epoll, EPOLL_CTL_ADD, a->wake, &event) != 0)
        TRY_ELSE(
            fail(STATUS_RESOURCE_EXHAUSTED, "listen on %s: %s", args->address, strerror(errno)),
            destroy);
    TRY_ELSE(listen_on_all(a), destroy);
    a->args.address = NULL; /* it was the caller's */
    *acceptor = a;
    return STATUS_OK;
destroy:
    rpc_acceptor_destroy(a);
    return status;
}

int rpc_acceptor_port(const struct rpc_acceptor *acceptor)
{
    return acceptor->port;
}

enum status rpc_acceptor_start(struct rpc_acceptor *acceptor)
{
    int error = pthread_create(&acceptor->thread, NULL, accept_all, acceptor);
    if (error)
        return fail(STATUS_RESOURCE_EXHAUSTED, "start a thread: %s", strerror(error));
    acceptor->running = true;
    return STATUS_OK;
}

void rpc_acceptor_stop(struct rpc_acceptor *acceptor)
{
    if (!acceptor || !acceptor->running)
        return;
    const uint64_t one = 1;
    pthread_mutex_lock(&acceptor->lock);
    acceptor->stopping = true;
    pthread_mutex_unlock(&acceptor->lock);
    if (write(acceptor->wake, &one, sizeof one) != sizeof one)
        log_line(LOG_ERROR, "the acceptor was not woken", log_text("cause", strerror(errno)));
    pthread_join(acceptor->thread, NULL);
    acceptor->running = false;
    for (int i = 0; i < acceptor->listener_count; i++)
        close(acceptor->listeners[i]);
    acceptor->listener_count = 0;
}

void rpc_acceptor_destroy(struct rpc_acceptor *acceptor)
{
    if (!acceptor)
        return;
    rpc_acceptor_stop(acceptor);
    for (int i = 0; i < acceptor->listener_count; i++) /* where it was never started */
        close(acceptor->listeners[i]);
    for (int i = 0; i < acceptor->count; i++)
        close(acceptor->connections[i].fd);
    metrics_add(&connections, -acceptor->count);
    if (acceptor->epoll >= 0)
        close(acceptor->epoll);
    if (acceptor->wake >= 0)
        close(acceptor->wake);
    free(acceptor->connections);
    pthread_mutex_destroy(&acceptor->lock);
    free(acceptor);
}

/* ---- calls ---- */

void rpc_acceptor_call_begin(struct rpc_acceptor *acceptor, struct rpc_acceptor_call *call,
                             const char *name)
{
    *call = (struct rpc_acceptor_call){.spare = true, .peer = "unknown"};
    int fd = -1;
    if (sscanf(name, "fd:%d", &fd) != 1)
        return;
    pthread_mutex_lock(&acceptor->lock);
    for (int i = 0; i < acceptor->count; i++) {
        struct connection *connection = &acceptor->connections[i];
        if (connection->name != fd)
            continue;
        connection->calls++;
        connection->called = true;
        connection->active_ns = clock_now_ns();
        /* There is room now: it need not be one of the spare ones any more. */
        if (acceptor->count <= acceptor->args.connections_max)
            connection->spare = false;
        call->number = connection->number;
        call->spare = connection->spare;
        snprintf(call->peer, sizeof call->peer, "%s", connection->peer);
        break;
    }
    pthread_mutex_unlock(&acceptor->lock);
}

void rpc_acceptor_call_end(struct rpc_acceptor *acceptor, const struct rpc_acceptor_call *call)
{
    pthread_mutex_lock(&acceptor->lock);
    struct connection *connection = find(acceptor, call->number);
    if (connection) {
        connection->calls--;
        connection->active_ns = clock_now_ns();
    }
    pthread_mutex_unlock(&acceptor->lock);
}
