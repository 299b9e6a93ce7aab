/* The connections that are open, and how long each may take for what it is at: whoever sends or
 * takes too slowly loses its connection, so that a few slow ones do not hold all that there are.
 *
 *   accepted, or an answer was sent   HTTP_IDLE_MS (the first time HTTP_HEAD_MS) until a whole head
 *                                     is there
 *   the first line has come           HTTP_HEAD_MS for the rest of the head
 *   a body comes                      HTTP_GRACE_MS, and longer by what has come at HTTP_LEAST_RATE
 *   it is being answered              no limit of ours: the request has its own deadline
 *   the answer goes out               as a body
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/status.h"

enum {
    HTTP_HEAD_MS = 15000,
    HTTP_IDLE_MS = 60000,
    HTTP_GRACE_MS = 30000,
    HTTP_LEAST_RATE = 16 << 10, /* bytes a second */
};

struct http_connections;
struct http_connection;

/* Starts the thread that looks after them. */
MUST_CHECK enum status http_connections_create(struct http_connections **connections);

/* No connection may be left. NULL is accepted. */
void http_connections_destroy(struct http_connections *connections);

/* NULL: no memory. From here to http_connections_leave the socket stays open. */
struct http_connection *http_connections_enter(struct http_connections *connections, int socket);
void http_connections_leave(struct http_connection *connection);

int http_connections_count(struct http_connections *connections);

/* It loses its connection after so long, unless another limit is set. */
void http_connection_limit(struct http_connection *connection, int64_t ms);
/* The same for a transfer that began at `since_ns` and has moved `bytes` so far, or will. */
void http_connection_pace(struct http_connection *connection, int64_t since_ns, uint64_t bytes);
void http_connection_unlimit(struct http_connection *connection);

/* Whether the other side has closed it, be it its sending side alone. */
bool http_connection_left(const struct http_connection *connection);
