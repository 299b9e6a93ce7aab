/* Who asked for a request, as its errand sees it: a seam with one implementation for each way that
 * requests come, a gRPC call (coordinator/rpc_errand_client.h) among them.
 *
 * An errand runs on one thread of its caller's, which makes the calls below; an implementation need
 * not bear two of them at a time. What a client is told are GenerateResponse messages, of a Score
 * request ScoreResponse messages, in the sequence that inference.proto says.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "coordinator/text/id_list.h"
#include "proto/log.h"
#include "proto/rpc/status_details.h"
#include "proto/status.h"

/* A client that takes nothing for so long loses its request, be it in nobody's way. */
enum { ERRAND_CLIENT_TAKES_MS = 30000 };

/* No slot is NULL. `context` is the implementation's. */
struct errand_client_row {
    /* Takes the event without waiting; what it points at lives until the call returns. CANCELLED
     * when the client is gone or the request was ended. */
    enum status (*post)(void *context, const ProtobufCMessage *event);
    /* Whether the client can take more, after waiting for it at most `timeout_ms`. */
    bool (*has_room)(void *context, int64_t timeout_ms);
    /* How long it has taken nothing although there is something for it; 0 when there is not. */
    int64_t (*stalled_ms)(void *context);
    /* Whether it has cancelled or gone away, or its deadline has passed. */
    bool (*left)(void *context);
    /* Ends the request on the client's side: posts fail from now on. */
    void (*end)(void *context);
    /* For the line that is logged when the request ends; replaces what was noted under this key. A
     * text must outlive the request. */
    void (*note)(void *context, struct log_field field);
};

struct errand_client {
    const struct errand_client_row *row;
    void *context;
    struct status_details *details;   /* filled by an errand that is about to fail */
    int64_t deadline_ns;              /* CLOCK_NEVER_NS: none of its own */
    const char *tenant;               /* whose request it is; "": there is only one */
    int priority;                     /* [-100, 100], among the tenant's own; higher first */
    const struct id_list *prompt_ids; /* of a Generate request's prompt; NULL: not known yet */
    /* The W3C traceparent that the client sent, not terminated, while the request lasts; NULL: none
     * came. */
    const char *traceparent;
    size_t traceparent_bytes;
};

MUST_CHECK static inline enum status errand_client_post(const struct errand_client *client,
                                                        const ProtobufCMessage *event)
{
    return client->row->post(client->context, event);
}

static inline bool errand_client_has_room(const struct errand_client *client, int64_t timeout_ms)
{
    return client->row->has_room(client->context, timeout_ms);
}

static inline int64_t errand_client_stalled_ms(const struct errand_client *client)
{
    return client->row->stalled_ms(client->context);
}

static inline bool errand_client_left(const struct errand_client *client)
{
    return client->row->left(client->context);
}

static inline void errand_client_end(const struct errand_client *client)
{
    client->row->end(client->context);
}

static inline void errand_client_note(const struct errand_client *client, struct log_field field)
{
    client->row->note(client->context, field);
}
