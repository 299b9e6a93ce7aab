/* The coordinator's services: Inference, Batches, Documents, Sessions, health and reflection at the
 * clients' address, WorkerControl at the workers'. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator/planner.h"
#include "proto/join_secret.h"
#include "proto/plan/mesh.h"
#include "proto/rpc/rpc_tls.h"
#include "proto/status.h"

struct server;

struct server_settings {
    const char *listen;        /* "HOST:PORT" for clients */
    const char *worker_listen; /* for workers */
    const char *http_listen;   /* for HTTP clients; "": there is no such port */
    int http_connections_max;
    const struct join_secret *join_secret;
    const char *access_file;   /* the tenants; "": none, and anybody may ask */
    const struct rpc_tls *tls; /* of the clients' port; NULL: none. Read by server_create */
    const char *model_path;    /* of the file whose tokenizer and shape are used */
    const char *chat_template; /* as chat_create takes it */
    const char *kernels;       /* a variant every rank must have; NULL: any */
    struct planner_defaults plan;
    int64_t queue_length;
    int group_requests; /* that a group should answer at a time */
    int64_t request_deadline_ms;
    int64_t stall_ms;                            /* as errand_tools has it */
    bool drafts;                                 /* and this */
    int connections_max, calls_max, watches_max; /* what may be open at a time */
    int heartbeat_ms, dead_ms, work_ms;
    const char *otlp_file;    /* where requests are told as spans; "": nowhere */
    struct mesh mesh;         /* of workers that are about to be started; zeros: not known */
    bool workers_expected;    /* requests wait for a group that is about to come */
    const char *spill_folder; /* of keys that workers have no room for; "": none */
    int64_t spill_bytes;      /* most of its files */
    const char *store_folder; /* of batches and documents; "": none are kept */
    bool accept_lost_log;     /* store_options */
    int64_t store_cache_bytes;
    int64_t batch_retention_seconds, document_retention_seconds;
};

/* Reads the model file, then listens. Borrows the settings' texts and the secret. */
MUST_CHECK enum status server_create(struct server **server,
                                     const struct server_settings *settings);

/* The ports that were bound: the clients' and the workers'. */
int server_port(const struct server *server);
int server_worker_port(const struct server *server);
/* 0 where there is none. */
int server_http_port(const struct server *server);

/* Whether a worker group serves. */
bool server_is_serving(struct server *server);

/* Whether a group is there at all. */
bool server_has_workers(struct server *server);

/* The sentence of the last group that was lost or worker that was refused; "" when there was none
 * since then. */
void server_trouble(struct server *server, int64_t since_ns, char *text, size_t bytes);

/* Whether a client that may has asked for the end. */
bool server_is_asked_to_drain(struct server *server);

/* New and waiting requests are refused from now on; running ones go on. */
void server_drain(struct server *server);

/* Whether no request waits or runs. */
bool server_is_idle(struct server *server);

/* Cuts running requests short, tells the workers to end, closes everything. `left`, which may be
 * NULL, becomes true where the store keeps lines of batches that are still to be run. A NULL server
 * is accepted. */
void server_destroy(struct server *server, bool *left);
