/* Request ids of calls that make, change or delete sessions: what each was answered, for 24 hours,
 * whatever has become of the session since. In memory, like sessions. No lock: sessions.c has one.
 */
#pragma once

#include "coordinator/sessions.h"

enum { SESSIONS_REQUESTS_MOST = 16384 }; /* beyond that the oldest are forgotten */

struct sessions_answer {
    struct sessions_answer *next; /* an older one */
    int64_t id;                   /* above 0 */
    char tenant[ACCESS_TENANT_BYTES];
    char request_id[SESSIONS_REQUEST_BYTES];
    uint64_t digest; /* of the request */
    int64_t number;  /* of the session */
    bool done;       /* what was asked for is done, and answered with: */
    struct sessions_view view;
    int64_t until_ns; /* monotonic */
};

/* All zero: there are none. */
struct sessions_requests {
    struct sessions_answer *first; /* the newest */
    int64_t newest;
    int count;
};

void sessions_requests_deinit(struct sessions_requests *requests);

/* *found is the answer to an earlier call of this id, or NULL. ALREADY_EXISTS: that call asked for
 * something else. */
MUST_CHECK enum status sessions_requests_find(struct sessions_requests *requests,
                                              struct sessions_answer **found,
                                              const struct sessions_request *request);

/* The call is being carried out. *id is 0 where the request has no id of its own. */
MUST_CHECK enum status sessions_requests_add(struct sessions_requests *requests, int64_t *id,
                                             const struct sessions_request *request,
                                             int64_t number);

/* It was answered so; or it failed (NULL), and may be carried out another time. An id that is not
 * there any more, or 0, is passed over. */
void sessions_requests_end(struct sessions_requests *requests, int64_t id,
                           const struct sessions_view *view);
