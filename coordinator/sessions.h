/* The sessions: documents that worker groups keep read, by their tenant and the id that clients
 * know.
 *
 *   reading  --its document is read (sessions_end)-->          ready
 *   reading  --it could not be read the first time
 *              (sessions_end)-->                               gone
 *   ready    --more is read (sessions_append)-->               reading
 *   ready    --its keys go to a file (sessions_put_back), or its
 *              group is lost and a file has them-->            spilled
 *   spilled  --the next question, or more text, takes them back
 *              (sessions_fetched)-->                           ready
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
#include "coordinator/spill_folder.h"
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
    char *text;   /* the document; NULL: of a prompt's beginning, which nobody adds to */
    int32_t *ids; /* [tokens] of such a beginning; else NULL */
    int holders;
    uint64_t serial; /* of its group; 0: it is on none */
    uint64_t run;
    int64_t tokens, held_bytes;
    char group_id[WORKERS_NAME_BYTES];
    int64_t file;    /* of --spill, that has its keys too; 0: none */
    bool file_stays; /* when it ends */
    bool moves;      /* its keys are on their way to a file, or out of it */
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
    bool repeated;                   /* its request came before: there is nothing to read */
    int64_t request;                 /* of sessions_requests.h; 0: it has no id */
};

/* `spill` is where keys go that workers have no room for; NULL: sessions are refused then. */
MUST_CHECK enum status sessions_create(struct sessions **sessions, struct workers *workers,
                                       struct access *access, struct spill_folder *spill);

/* No call uses it any more. NULL is accepted. */
void sessions_destroy(struct sessions *sessions);

/* What the call of this request_id was answered with; false where there was none, or it has no
 * answer yet. */
bool sessions_answered(struct sessions *sessions, struct sessions_view *view,
                       const struct sessions_request *request);

/* Whether a call that changes nothing may have this request_id. ALREADY_EXISTS where another one
 * had it. */
MUST_CHECK enum status sessions_note(struct sessions *sessions, struct status_details *details,
                                     const struct sessions_request *request);

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
                                       const struct sessions_request *request);

/* At most `most` of the tenant's, made before number `before` (0: all), the newest first. Returns
 * how many. */
int sessions_list(struct sessions *sessions, struct sessions_view *views, const char *tenant,
                  int64_t before, int most);

/* What there is, of one tenant (NULL: of all). */
enum { SESSIONS_STATES = LONGHAUL__V1__SESSION_STATE__SESSION_STATE_SPILLED + 1 };
struct sessions_totals {
    int64_t of_state[SESSIONS_STATES];
    int64_t tokens, held_bytes;
    int64_t questions;  /* that were asked since the start */
    int64_t beginnings; /* of prompts, that are nobody's session */
};
void sessions_total(struct sessions *sessions, struct sessions_totals *totals, const char *tenant);

/* What was read for one request alone, which asks it until sessions_leave. */
MUST_CHECK enum status sessions_hold(struct sessions *sessions, struct sessions_use *use,
                                     const struct sessions_read *read);

/* ---- files of --spill (sessions_spill.c) ---- */

struct spill_folder *sessions_spill(const struct sessions *sessions);

enum sessions_found {
    SESSIONS_NONE,  /* there is none */
    SESSIONS_MOVES, /* somebody is at it: look again */
    SESSIONS_FOUND,
};

/* What the group has whose keys may go: of what nobody uses, what was used longest ago, whoever's
 * it is. The caller holds it as its use, and calls sessions_put_back. */
enum sessions_found sessions_take_out(struct sessions *sessions, struct sessions_use *use,
                                      char tenant[ACCESS_TENANT_BYTES], uint64_t serial);

/* Its keys are in `file` (0: in none that is new). Where they are `out`, the file is still there
 * and nobody has begun to use it meanwhile, the group lets go of them, and the answer is true. */
bool sessions_put_back(struct sessions *sessions, struct sessions_use *use, int64_t file, bool out);

/* Whether the version's keys must be fetched from its file: FOUND, and the caller calls
 * sessions_fetched; NONE: a group has them; MOVES: wait. *lost: nobody has them. */
enum sessions_found sessions_fetch(struct sessions *sessions, struct sessions_version *version,
                                   bool *lost);

/* They lie where *read says; NULL: they could not be fetched. */
void sessions_fetched(struct sessions *sessions, struct sessions_version *version,
                      const struct sessions_read *read);

/* The tokens of the longest beginning of the prompt that was read here and that a group has, or a
 * file; it is used as by a question, which sessions_leave ends. 0: there is none. */
int64_t sessions_begin_as(struct sessions *sessions, struct sessions_use *use, const char *tenant,
                          const char *method, const int32_t *ids, int64_t count);

/* A beginning was read, and is used by the caller, ended alike. Where another call has read it at
 * the same time, what that one read is used, and the group lets go of this one. */
MUST_CHECK enum status sessions_keep(struct sessions *sessions, struct sessions_use *use,
                                     const char *tenant, const char *method, const int32_t *ids,
                                     const struct sessions_read *read);

/* The caller's prompt, of this tenant, begins as the file of so many tokens does: a question to
 * whatever has the file already, or else to a prompt's beginning that has it from now on. Ended by
 * sessions_leave. */
MUST_CHECK enum status sessions_adopt(struct sessions *sessions, struct sessions_use *use,
                                      const char *tenant, const char *method, const int32_t *ids,
                                      int64_t file, int64_t tokens);

/* What the adopted beginning has becomes the text's that is being read: *read and true, where that
 * is all of its tokens and nobody else uses it. */
bool sessions_take_over(struct sessions *sessions, struct sessions_use *adopted,
                        struct sessions_use *reading, struct sessions_read *read, int64_t tokens);

/* Forgets those whose time has passed. */
void sessions_expire(struct sessions *sessions);

/* What names of sessions begin with. */
extern const char sessions_collection[];
