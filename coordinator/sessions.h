/* The sessions: documents that worker groups keep read, by their tenant and the id that clients
 * know.
 *
 *   reading  --its document is read (sessions_end)-->          ready
 *   reading  --it could not be read the first time
 *              (sessions_end)-->                               gone
 *   ready    --more is read (sessions_append)-->               reading
 *   ready    --its group is lost-->                            lost
 *   lost     --all of it is read again (sessions_append)-->    reading
 *   any      --sessions_delete, its time (sessions_expire)-->  gone
 *
 * What was read is a version: its text, and the run that stays for it on a group. A question holds
 * the version that it goes on from, and with the last holder the group lets go of the run.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator/access/access.h"
#include "coordinator/workers.h"
#include "longhaul/v1/sessions.pb-c.h"
#include "proto/plan/method.h"
#include "proto/rpc/status_details.h"
#include "proto/status.h"

struct sessions;

enum {
    SESSIONS_ID_BYTES = 64,      /* of an id, with its 0 */
    SESSIONS_REQUEST_BYTES = 41, /* of a request_id */
    SESSIONS_MOST = 1024,        /* of all tenants */
};

struct sessions_version {
    char *text; /* the document */
    int holders;
    uint64_t serial; /* of its group; 0: it is on none yet */
    uint64_t run;
    int64_t tokens, held_bytes;
    char group_id[WORKERS_NAME_BYTES];
};

/* A session as it is told. */
struct sessions_view {
    int64_t number; /* of its making: the newest has the highest */
    char id[SESSIONS_ID_BYTES];
    bool raw;
    char method[METHOD_TEXT_BYTES]; /* with every parameter */
    int64_t expires_after_seconds;
    Longhaul__V1__SessionState state;
    int64_t tokens, held_bytes, questions;
    char group_id[WORKERS_NAME_BYTES];
    int64_t created_us, used_us, expires_us;
};

/* What a call asks that may be repeated. */
struct sessions_request {
    const char *tenant, *id; /* "": an id is made */
    const char *request_id;
    uint64_t digest; /* of the whole request */
};

/* One text that is being read, or a question that runs; borrowed but for the version, which it
 * holds. */
struct sessions_use {
    struct sessions_version *version; /* NULL: it uses none */
    int64_t number;                   /* of the session */
    bool raw;
    char method[METHOD_TEXT_BYTES];
    /* Of a text that is being read. */
    struct sessions_version *before; /* whose run it goes on from; NULL: none */
    bool repeated;                   /* its request was answered before: there is nothing to read */
};

MUST_CHECK enum status sessions_create(struct sessions **sessions, struct workers *workers,
                                       struct access *access);

/* No call uses it any more. NULL is accepted. */
void sessions_destroy(struct sessions *sessions);

/* Begins a session with this document. ALREADY_EXISTS where there is one of that id, or another
 * request of that request_id. The caller calls sessions_end. */
MUST_CHECK enum status sessions_begin(struct sessions *sessions, struct sessions_use *use,
                                      struct status_details *details,
                                      const struct sessions_request *request,
                                      const struct sessions_view *wanted, const char *document);

/* Begins to read more. FAILED_PRECONDITION while it is being read. The caller calls
 * sessions_end. */
MUST_CHECK enum status sessions_append(struct sessions *sessions, struct sessions_use *use,
                                       struct status_details *details,
                                       const struct sessions_request *request, const char *text);

/* RESOURCE_EXHAUSTED where the tenant's sessions would have more tokens than it may. */
MUST_CHECK enum status sessions_claim(struct sessions *sessions, const struct sessions_use *use,
                                      struct status_details *details, int64_t tokens);

/* What was read of it. */
struct sessions_read {
    uint64_t serial, run;
    int64_t tokens, held_bytes;
    char group_id[WORKERS_NAME_BYTES];
};

/* The text is read, or is not (NULL). */
void sessions_end(struct sessions *sessions, struct sessions_use *use,
                  const struct sessions_read *read);

/* A question to it; the caller calls sessions_leave. FAILED_PRECONDITION where it is not read yet,
 * or its group is lost. */
MUST_CHECK enum status sessions_ask(struct sessions *sessions, struct sessions_use *use,
                                    struct status_details *details, const char *tenant,
                                    const char *name);
/* Without a version it does nothing. */
void sessions_leave(struct sessions *sessions, struct sessions_use *use);

/* NOT_FOUND where the tenant has none of that id. */
MUST_CHECK enum status sessions_get(struct sessions *sessions, struct sessions_view *view,
                                    struct status_details *details, const char *tenant,
                                    const char *id);
MUST_CHECK enum status sessions_delete(struct sessions *sessions, struct status_details *details,
                                       const char *tenant, const char *id);

/* At most `most` of the tenant's, made before number `before` (0: all), the newest first. Returns
 * how many. */
int sessions_list(struct sessions *sessions, struct sessions_view *views, const char *tenant,
                  int64_t before, int most);

/* Forgets those whose time has passed. */
void sessions_expire(struct sessions *sessions);

/* What names of sessions begin with. */
extern const char sessions_collection[];
