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
#include "proto/rpc/rpc_tls.h"
#include "proto/rpc/status_details.h"
#include "proto/status.h"

struct rpc_call;
struct rpc_server;

/* `request` is NULL where the client streams; otherwise it lives until the handler returns. */
typedef enum status rpc_handler(struct rpc_call *call, const ProtobufCMessage *request,
                                void *context);

/* How many calls may be open at a time, of all methods together that point at it. More are refused
 * with RESOURCE_EXHAUSTED, so that others find room. */
struct rpc_share {
    const char *name;    /* "Watch calls" */
    const char *setting; /* what raises it: "--max-watches"; NULL where nothing does */
    int calls_max;
    int open; /* the server's, under its lock; starts at 0 */
};

/* Whether a request, of these bytes, needs nothing but the disk. */
typedef bool rpc_is_brief(const uint8_t *bytes, size_t size);

struct rpc_method {
    const char *service; /* "longhaul.v1.Inference" */
    const char *name;    /* "Generate" */
    const ProtobufCMessageDescriptor *request;
    bool client_streams;
    size_t request_bytes_max; /* of one message; at most RPC_MESSAGE_BYTES_MAX */
    rpc_handler *handle;
    void *context;
    unsigned scopes;     /* what a caller must be allowed, for the port's guard */
    bool unguarded;      /* answered to whoever asks */
    bool while_draining; /* answered by a server that drains, too */
    bool routine;        /* asked over and over by machines: a good end is a debug line */
    /* [note_count], what the end line says unless it is noted anew. */
    const struct log_field *notes;
    size_t note_count;
    struct rpc_share *share; /* borrowed; NULL: the server's own */
    /* Requests of up to RPC_BRIEF_BYTES_MAX of which it says so share few threads, however many
     * there are (see rpc_call_defer). NULL: none do. */
    rpc_is_brief *is_brief;
    bool essential; /* served on a port's spare connections too: probes and workers */
};

enum {
    RPC_MESSAGE_BYTES_MAX = 32 << 20,
    RPC_SMALL_MESSAGE_BYTES_MAX = 256 << 10,
    RPC_BRIEF_BYTES_MAX = 4 << 10,
    RPC_TENANT_BYTES = 64, /* of a tenant's name, with its 0 */
    RPC_UNSENT_BYTES_MAX = 1 << 20,
    RPC_WRITE_DEADLINE_MS = 30000, /* a client that takes nothing for so long loses its call */
    RPC_FLUSH_MS = 3000,          /* for clients of a server that ends to take their last message */
    RPC_PING_INTERVAL_MS = 10000, /* a client may send keepalive pings this often */
};

struct rpc_limits {
    int connections_max; /* of each port, as rpc_acceptor.h says */
    int calls_max;       /* of the methods that have no share of their own */
};

/* It listens nowhere yet. */
MUST_CHECK enum status rpc_server_create(struct rpc_server **server,
                                         const struct rpc_limits *limits);

/* Who calls, as the port's guard found it; all zero where there is no guard. */
struct rpc_caller {
    char tenant[RPC_TENANT_BYTES];
    unsigned scopes;
};

/* Whether a call of this method may be served, by what it sent as the metadata "authorization"
 * (NULL: nothing); fills `caller`, or fails with a sentence and `details` for the client. Called
 * before a byte of the request is read, from a thread that all calls pass: it must not wait. */
typedef enum status rpc_guard(void *context, struct rpc_caller *caller,
                              struct status_details *details, const struct rpc_method *method,
                              const char *authorization, size_t bytes);

/* A port, with the methods that it alone serves. */
struct rpc_port {
    const char *address;              /* "HOST:PORT"; port 0 is any free one */
    const struct rpc_method *methods; /* [method_count], borrowed as long as the server lives */
    size_t method_count;
    rpc_guard *guard; /* NULL: whoever reaches the port may call */
    void *guard_context;
    /* NULL: none. Read during the call. Under TLS gRPC's own listener is used, which knows no
     * limits.connections_max: every connection has the handshake's 10 s to show what it must. */
    const struct rpc_tls *tls;
};

/* Listens on one more port, and fills `*bound` with its number. INVALID_ARGUMENT for what is no
 * address or no key, UNAVAILABLE where it cannot be bound. Not at the same time as another
 * rpc_server_listen. */
MUST_CHECK enum status rpc_server_listen(struct rpc_server *server, int *bound,
                                         const struct rpc_port *port);

/* From now on new calls end UNAVAILABLE, which is clean where shutdown would end them CANCELLED;
 * apart from methods that are answered while_draining and those whose client streams. */
void rpc_server_drain(struct rpc_server *server);

/* Waits `grace_ms` for the running calls, and for those whose handler has returned RPC_FLUSH_MS
 * where that is longer; cancels the rest, frees everything. NULL is accepted. */
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

/* The one answer of a call that has no other: it goes out with the status, if that is OK. Waits for
 * nothing and is always OK, so that a handler may end with it. */
enum status rpc_call_answer(struct rpc_call *call, const ProtobufCMessage *message);

/* The handler leaves the call to somebody else, who ends it by rpc_call_end, before or after the
 * handler returns; what the handler returns then says nothing. The call and its request live until
 * both are done. */
void rpc_call_defer(struct rpc_call *call);

/* Ends a deferred call, with its last fail() sentence. From any thread that holds no lock. */
void rpc_call_end(struct rpc_call *call, enum status status);

/* As rpc_call_write, without waiting: the bytes are kept until the client takes them. CANCELLED
 * when the call is over. The handler looks at rpc_call_has_room and rpc_call_stalled_ms. */
MUST_CHECK enum status rpc_call_post(struct rpc_call *call, const ProtobufCMessage *message);

/* Whether less than RPC_UNSENT_BYTES_MAX are kept, after waiting for it at most `timeout_ms`. */
bool rpc_call_has_room(struct rpc_call *call, int64_t timeout_ms);

/* How long the client has taken nothing although there is something for it; 0 when there is not. */
int64_t rpc_call_stalled_ms(struct rpc_call *call);

/* True once the client has cancelled or gone away, or its deadline has passed. */
bool rpc_call_cancelled(struct rpc_call *call);

/* Ends the call from another thread: reads and writes fail from now on. */
void rpc_call_cancel(struct rpc_call *call);

/* The client's deadline; CLOCK_NEVER_NS for none. */
int64_t rpc_call_deadline_ns(const struct rpc_call *call);

/* "ipv4:127.0.0.1:40312". */
const char *rpc_call_peer(const struct rpc_call *call);

/* Who calls. */
const struct rpc_caller *rpc_call_caller(const struct rpc_call *call);

/* What the caller sent as the metadata "authorization", its first; NULL when there is none. Not
 * terminated; lives as long as the call. */
const char *rpc_call_authorization(const struct rpc_call *call, size_t *bytes);

/* The same of the metadata of this name, in lower case. */
const char *rpc_call_metadata(const struct rpc_call *call, const char *key, size_t *bytes);

/* Filled by a handler that is about to fail. */
struct status_details *rpc_call_details(struct rpc_call *call);

/* Adds to the line that is logged when the call ends ("request ended", with its method, peer, code,
 * reason and seconds), or replaces what was noted under this key. A text must outlive the call.
 * "reason" is what a call that ends well says; one that fails has its own. */
void rpc_call_note(struct rpc_call *call, struct log_field field);
