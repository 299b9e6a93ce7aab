/* One Generate or Score request, from its text to its last event. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "coordinator/access/access.h"
#include "coordinator/planner.h"
#include "coordinator/prompt.h"
#include "coordinator/queue.h"
#include "coordinator/requests.h"
#include "coordinator/sessions.h"
#include "coordinator/errand_client.h"
#include "coordinator/workers.h"
#include "proto/cache_file/cache_block.h"
#include "proto/cache_file/cache_header.h"
#include "proto/status.h"

/* What all errands share; borrowed from the server. */
struct errand_tools {
    struct prompt_forms forms;
    const struct planner *planner;
    struct workers *workers;
    struct queue *queue;
    struct access *access; /* who the tenants are */
    struct sessions *sessions;
    const char *model; /* its digest, for sessions that are saved */
    struct requests *active;
    struct spans *spans;    /* NULL: none are written */
    int64_t deadline_ms;    /* longest that a request may take */
    int64_t stall_ms;       /* longest that a client may read nothing while others could run */
    bool drafts;            /* unless a request says otherwise */
    bool workers_expected;  /* a group is started whenever none is there: wait for it */
    atomic_bool draining;   /* waiting requests are refused */
    atomic_bool stopping;   /* running requests are cut short */
    atomic_ullong requests; /* seen so far, for names */
    atomic_int shared;      /* calls of several answers or continuations that are there */
};

/* Each runs on the caller's thread until the request is over; on failure its last sentence and the
 * client's details say why. */
MUST_CHECK enum status errand_generate(const struct errand_client *client,
                                       struct errand_tools *tools,
                                       const Longhaul__V1__GenerateRequest *request);
MUST_CHECK enum status errand_score(const struct errand_client *client, struct errand_tools *tools,
                                    const Longhaul__V1__ScoreRequest *request);

/* Generate and Score call these for several answers and continuations (errand_shared.c): the prompt
 * or the text is read once, and the events of all are the client's, told apart. */
MUST_CHECK enum status errand_answers(const struct errand_client *client,
                                      struct errand_tools *tools,
                                      const Longhaul__V1__GenerateRequest *request);
MUST_CHECK enum status errand_continuations(const struct errand_client *client,
                                            struct errand_tools *tools,
                                            const Longhaul__V1__ScoreRequest *request);

/* Reads the text of a session, which `use` is about; *read is for sessions_end. What the client is
 * posted are the events of a Generate without an answer. */
MUST_CHECK enum status errand_session_read(const struct errand_client *client,
                                           struct errand_tools *tools, struct sessions_use *use,
                                           struct sessions_read *read);

/* Where the blocks of a session go to that is saved, or come from of one that is restored. */
struct errand_keys {
    void *context;
    /* Once, before the first block. The header lives until the call returns. */
    enum status (*begin)(void *context, const struct cache_header *header);
    enum status (*put)(void *context, const struct cache_stored *block);
    /* The next block, which lives until the next call. *there is false where none came within
     * `timeout_ms`, and *ended true where none comes any more. */
    enum status (*get)(void *context, struct cache_stored *block, bool *there, bool *ended,
                       int64_t timeout_ms);
};

/* Hands out the keys of a session. */
MUST_CHECK enum status errand_session_save(const struct errand_client *client,
                                           struct errand_tools *tools, const char *name,
                                           const struct errand_keys *keys);

/* Takes in the keys of a session, which `use` is about, instead of reading its text; they come from
 * a file with this header. Otherwise as errand_session_read. */
MUST_CHECK enum status errand_session_restore(const struct errand_client *client,
                                              struct errand_tools *tools, struct sessions_use *use,
                                              struct sessions_read *read,
                                              const struct cache_header *header,
                                              const struct errand_keys *keys);
