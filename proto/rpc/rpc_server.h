/* A gRPC server: a table of methods, a thread for each call, blocking reads and writes.
 *
 * A handler runs on its call's own thread and returns the call's status; on failure its last fail()
 * sentence goes to the client, with rpc_call_details. It must look at rpc_call_cancelled at least
 * every 100 ms of a wait.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "proto/log.h"
#include "proto/rpc/status_details.h"
#include "proto/status.h"

struct rpc_call;
struct rpc_server;

/* `request` is NULL where the client streams; otherwise it lives until the handler returns. */
typedef enum status rpc_handler(struct rpc_call *call, const ProtobufCMessage *request,
                                void *context);

struct rpc_method {
    const char *service; /* "longhaul.v1.Inference" */
    const char *name;    /* "Generate" */
    const ProtobufCMessageDescriptor *request;
    bool client_streams;
    size_t request_bytes_max; /* of one message; at most RPC_MESSAGE_BYTES_MAX */
    rpc_handler *handle;
    void *context;
    bool while_draining; /* answered by a server that drains, too */
    bool routine;        /* asked over and over by machines: a good end is a debug line */
    /* [note_count], what the end line says unless it is noted anew. */
    const struct log_field *notes;
    size_t note_count;
};

enum {
    RPC_MESSAGE_BYTES_MAX = 32 << 20,
    RPC_SMALL_MESSAGE_BYTES_MAX = 256 << 10,
    RPC_WRITE_DEADLINE_MS = 30000, /* a client that takes nothing for so long loses its call */
};

/* Calls are served at once; more than `calls_max` at a time wait. It listens nowhere yet. */
MUST_CHECK enum status rpc_server_create(struct rpc_server **server, int calls_max);

/* Listens on "HOST:PORT" too, for the methods of this table alone, which it borrows; port 0 is any
 * free one. `*port` is the one that was bound. INVALID_ARGUMENT for what is no address, UNAVAILABLE
 * where it cannot be bound. Not at the same time as another rpc_server_listen. */
MUST_CHECK enum status rpc_server_listen(struct rpc_server *server, int *port, const char *address,
                                         const struct rpc_method *methods, size_t method_count);

/* From now on new calls end UNAVAILABLE, which is clean where shutdown would end them CANCELLED;
 * apart from methods that are answered while_draining and those whose client streams. */
void rpc_server_drain(struct rpc_server *server);

/* Waits `grace_ms` for the running calls, cancels the rest, frees everything. NULL is accepted. */
void rpc_server_destroy(struct rpc_server *server, int64_t grace_ms);

/* ---- for handlers ---- */

/* A further message of the client's stream, NULL at its end; it lives until the next read.
 * DEADLINE_EXCEEDED: none within `timeout_ms`; reading again goes on waiting. */
MUST_CHECK enum status rpc_call_read(struct rpc_call *call, const ProtobufCMessage **message,
                                     int64_t timeout_ms);

/* From any thread while the handler runs. Blocks until the transport has taken the message;
 * CANCELLED when the call is over, UNAVAILABLE when the client took nothing within
 * RPC_WRITE_DEADLINE_MS. */
MUST_CHECK enum status rpc_call_write(struct rpc_call *call, const ProtobufCMessage *message);

/* True once the client has cancelled or gone away, or its deadline has passed. */
bool rpc_call_cancelled(struct rpc_call *call);

/* Ends the call from another thread: reads and writes fail from now on. */
void rpc_call_cancel(struct rpc_call *call);

/* The client's deadline; CLOCK_NEVER_NS for none. */
int64_t rpc_call_deadline_ns(const struct rpc_call *call);

/* "ipv4:127.0.0.1:40312". */
const char *rpc_call_peer(const struct rpc_call *call);

/* What the caller sent as the metadata "authorization", its first; NULL when there is none. Not
 * terminated; lives as long as the call. */
const char *rpc_call_authorization(const struct rpc_call *call, size_t *bytes);

/* Filled by a handler that is about to fail. */
struct status_details *rpc_call_details(struct rpc_call *call);

/* Adds to the line that is logged when the call ends ("request ended", with its method, peer, code,
 * reason and seconds), or replaces what was noted under this key. A text must outlive the call.
 * "reason" is what a call that ends well says; one that fails has its own. */
void rpc_call_note(struct rpc_call *call, struct log_field field);
