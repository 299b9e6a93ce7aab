/* Owns the list of connections and the thread that ends those that are too slow. Promises that no
 * socket is touched after http_connections_leave. */
#include "coordinator/http/http_connections.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "proto/clock.h"
#include "proto/log.h"

enum { LOOK_MS = 250 };

struct http_connection {
    struct http_connections *all;
    struct http_connection *next, **link;
    int socket;
    _Atomic int64_t limit_ns; /* CLOCK_NEVER_NS: none */
};

struct http_connections {
    pthread_mutex_t lock; /* of the list and `ending` */
    pthread_cond_t changed;
    struct http_connection *first;
    int count;
    bool ending;
    pthread_t thread;
};

/* Under the lock. The thread of the connection notices, and closes it. */
static void end_slow(struct http_connections *connections)
{
    const int64_t now_ns = clock_now_ns();
    for (struct http_connection *each = connections->first; each; each = each->next)
        if (atomic_load(&each->limit_ns) <= now_ns) {
            atomic_store(&each->limit_ns, CLOCK_NEVER_NS);
            shutdown(each->socket, SHUT_RDWR);
            log_line(LOG_DEBUG, "http connection was too slow");
        }
}

static void *look_after(void *context)
{
    struct http_connections *connections = context;
    pthread_mutex_lock(&connections->lock);
    while (!connections->ending) {
        clock_wait(&connections->changed, &connections->lock, clock_after_ms(LOOK_MS));
        end_slow(connections);
    }
    pthread_mutex_unlock(&connections->lock);
    return NULL;
}

enum status http_connections_create(struct http_connections **connections)
{
    struct http_connections *c = calloc(1, sizeof *c);
    if (!c)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for HTTP connections");
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->changed, NULL);
    const int failure = pthread_create(&c->thread, NULL, look_after, c);
    if (failure) {
        pthread_cond_destroy(&c->changed);
        pthread_mutex_destroy(&c->lock);
        free(c);
        return fail(STATUS_IO, "start a thread for HTTP: %s", strerror(failure));
    }
    *connections = c;
    return STATUS_OK;
}

void http_connections_destroy(struct http_connections *connections)
{
    if (!connections)
        return;
    pthread_mutex_lock(&connections->lock);
    connections->ending = true;
    pthread_cond_signal(&connections->changed);
    pthread_mutex_unlock(&connections->lock);
    pthread_join(connections->thread, NULL);
    pthread_cond_destroy(&connections->changed);
    pthread_mutex_destroy(&connections->lock);
    free(connections);
}

struct http_connection *http_connections_enter(struct http_connections *connections, int socket)
{
    struct http_connection *connection = calloc(1, sizeof *connection);
    if (!connection)
        return NULL;
    connection->all = connections;
    connection->socket = socket;
    http_connection_limit(connection, HTTP_HEAD_MS);
    pthread_mutex_lock(&connections->lock);
    connection->next = connections->first;
    connection->link = &connections->first;
    if (connection->next)
        connection->next->link = &connection->next;
    connections->first = connection;
    connections->count++;
    pthread_mutex_unlock(&connections->lock);
    return connection;
}

void http_connections_leave(struct http_connection *connection)
{
    struct http_connections *connections = connection->all;
    pthread_mutex_lock(&connections->lock);
    *connection->link = connection->next;
    if (connection->next)
        connection->next->link = connection->link;
    connections->count--;
    pthread_mutex_unlock(&connections->lock);
    free(connection);
}

int http_connections_count(struct http_connections *connections)
{
    pthread_mutex_lock(&connections->lock);
    const int count = connections->count;
    pthread_mutex_unlock(&connections->lock);
    return count;
}

void http_connection_limit(struct http_connection *connection, int64_t ms)
{
    atomic_store(&connection->limit_ns, clock_after_ms(ms));
}

void http_connection_pace(struct http_connection *connection, int64_t since_ns, uint64_t bytes)
{
    const int64_t ms = HTTP_GRACE_MS + (int64_t)(bytes * 1000 / HTTP_LEAST_RATE);
    atomic_store(&connection->limit_ns, since_ns + ms * 1000000);
}

void http_connection_unlimit(struct http_connection *connection)
{
    atomic_store(&connection->limit_ns, CLOCK_NEVER_NS);
}

bool http_connection_left(const struct http_connection *connection)
{
    struct pollfd look = {.fd = connection->socket, .events = POLLRDHUP};
    return poll(&look, 1, 0) > 0 && (look.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL));
}
