/* What sessions.c and sessions_spill.c share. Nobody else includes this. */
#pragma once

#include <pthread.h>

#include "coordinator/sessions.h"
#include "coordinator/sessions_requests.h"

struct session {
    struct session *next; /* an older one */
    /* An id of "" is nobody's session: a prompt's beginning that was taken back from a file. */
    struct sessions_view view;
    char tenant[ACCESS_TENANT_BYTES];
    struct sessions_version *version; /* what is read; NULL: nothing yet */
    int64_t claimed_tokens;           /* of what is being read, where that is more */
    int uses;                         /* questions and readings that know its number */
    int64_t used_ns, expires_ns;      /* monotonic */
};

struct sessions {
    pthread_mutex_t lock;
    struct workers *workers;
    struct access *access;
    struct spill_folder *spill; /* NULL: nothing goes to files */
    struct session *first;      /* the newest */
    int64_t newest;
    struct sessions_requests requests;
    int64_t questions; /* of all sessions that there were */
};

/* One holder less; the last one's group lets go. Not under the lock: it is told. NULL is
 * accepted. */
void sessions_release(struct sessions *sessions, struct sessions_version *version);

/* Under the lock: whether a group has its keys. */
bool sessions_has_keys(const struct sessions *sessions, const struct sessions_version *version);

/* Under the lock: whether a file has. */
bool sessions_has_file(const struct sessions *sessions, const struct sessions_version *version);

/* Under the lock: a new session, the newest, for whoever fills in the rest. NULL where there is no
 * memory. */
struct session *sessions_add(struct sessions *sessions, const char *tenant,
                             const struct sessions_view *view);

/* Under the lock: takes it out; its version is the caller's to release. */
struct sessions_version *sessions_drop(struct sessions *sessions, struct session *session);

/* Under the lock: it was used. */
void sessions_touch(struct session *session);
