/* The coordinator's HTTP port: OpenAI's API, files and batches, health, metrics and the page
 * (docs/http.md). A thread a connection. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/access/access.h"
#include "coordinator/batch/batch_tools.h"
#include "coordinator/errand.h"
#include "proto/rpc/rpc_tls.h"
#include "proto/status.h"

struct http_server;

struct http_settings {
    const char *listen;                /* "HOST:PORT" */
    int connections_max;               /* more are closed at once */
    struct access *access;             /* NULL: there is one tenant, "" */
    struct errand_tools *errand;       /* borrowed */
    const struct batch_tools *batches; /* borrowed */
    const char *model;                 /* its name for clients */
    const struct rpc_tls *tls;         /* NULL: none. Its authority is not used: no client shows a
                                * certificate here. Read during the call */
    bool local_only; /* no token protects it, so that only this host may be named */
};

/* Listens from now on; `*port` is the one that was bound. */
MUST_CHECK enum status http_server_create(struct http_server **server, int *port,
                                          const struct http_settings *settings);

/* Ends what runs and closes everything. Errands must be stopping. NULL is accepted. */
void http_server_destroy(struct http_server *server);
