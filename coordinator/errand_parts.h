/* What the kinds of errands share: errand.c has how a request waits, runs and ends,
 * errand_generate.c, errand_score.c and errand_session.c what is asked and what is answered. Nobody
 * else includes this. */
#pragma once

#include "coordinator/answer_request.h"
#include "coordinator/errand.h"
#include "coordinator/errand_course.h"
#include "coordinator/group_run.h"
#include "coordinator/stream.h"
#include "coordinator/text/id_list.h"

struct errand {
    const struct errand_client *client;
    struct errand_tools *tools;
    struct stream stream;
    char request_id[WORKERS_NAME_BYTES]; /* the client's, or ours */
    char run_id[WORKERS_NAME_BYTES];     /* what the ranks see: never used twice */
    int64_t deadline_ns;
    struct id_list ids;
    const int64_t *positions; /* [ids.count], the request's; NULL: the indices */
    const Longhaul__V1__PlanOptions *options;
    int64_t max_tokens; /* 0: not asked for, until the plan is made */
    struct answer_request asked;
    bool saves;                          /* the session that it asks; there is no answer */
    const struct cache_header *restores; /* what its keys come from; NULL: they are computed */
    bool is_inner;                       /* one that waits in the queue needs it: it does not */
    const struct errand_part *part;      /* NULL: it is no part of another */
    bool fetched;                        /* errand_spill_fetch has looked */
    bool stays;                          /* the prompt becomes a session; there is no answer */
    struct sessions_version *version;    /* that it goes on from; NULL: none */
    struct sessions_use session;         /* the session that it asks; no version: none */
    Longhaul__V1__PlanOptions session_options; /* what was asked for, by the session's method */
    Longhaul__V1__Method session_method;
    struct workers_facts facts;
    struct choice choice;
    struct panel_chain chain; /* of the prompt, where it may use and leave a prefix */
    struct planner_forecast forecast;
    double *slowness;           /* of the run's workers, once it has ended; or NULL */
    uint64_t planned_for;       /* whose choice and forecast they are; 0: nobody's */
    struct workers_place place; /* from there until the run has it */
    struct errand_course course;
    struct requests_entry entry;
    struct requests_tokens told; /* what the ranks have told */
    struct fair_ticket ticket;
    bool queued; /* the ticket is in the queue */
    struct group_run *run;
};

/* One of several that go on from what was read for all of them. */
struct errand_part {
    int number;                       /* the first is 0 */
    bool read;                        /* something was, for all */
    const atomic_bool *placed;        /* something of the call has had a place */
    struct sessions_version *version; /* that, or the session's; NULL: neither */
    const Longhaul__V1__PlanOptions *options;
    int64_t cached_tokens;        /* of the reading: the first part's usage has it */
    uint64_t seed;                /* of an answer */
    const char *beginning, *text; /* of a score, and its continuation */
};

/* What an answer is asked for, to an errand that is open: its prompt's ids, and all else. */
MUST_CHECK enum status errand_generate_read(struct errand *errand,
                                            const Longhaul__V1__GenerateRequest *request);

/* Each opens an errand, of a client that knows the prompt's ids, and ends it. */
MUST_CHECK enum status errand_generate_part(const struct errand_client *client,
                                            struct errand_tools *tools,
                                            const Longhaul__V1__GenerateRequest *request,
                                            const struct errand_part *part);
MUST_CHECK enum status errand_score_part(const struct errand_client *client,
                                         struct errand_tools *tools,
                                         const struct errand_part *part);

/* Makes it that part of a call; NULL: a call of its own. */
void errand_set_part(struct errand *errand, const struct errand_part *part);

/* Takes the positions that a request gives its tokens, whose ids are known. INVALID_ARGUMENT, with
 * the field, where they do not suit them or the method, or keys would be shared. */
MUST_CHECK enum status errand_positions_read(struct errand *errand, const int64_t *positions,
                                             size_t count);

/* Refuses any, of a call in which several prompts go on from one. */
MUST_CHECK enum status errand_positions_alone(const struct errand_client *client, size_t count);

/* Of the first part: what was read for all of them counts with it. */
void errand_part_usage(const struct errand *errand, struct group_outcome *outcome);

/* Opens an errand of this name; on success the caller calls errand_deinit with how it ended. */
MUST_CHECK enum status errand_init(struct errand *errand, const struct errand_client *client,
                                   struct errand_tools *tools, const char *request_id,
                                   bool is_score);
void errand_deinit(struct errand *errand, enum status status);

/* Of the longest answer that it waits for. */
int64_t errand_answer_tokens(const struct errand *errand);

/* Where the queue is full already, nothing of the request is looked at. */
MUST_CHECK enum status errand_check_queue(struct errand *errand);

/* Waits for a place, tells the plan, and hands the request to the ranks. */
MUST_CHECK enum status errand_begin_run(struct errand *errand);

/* Why the request should end now, OK when it should not; its run is cancelled then. `stage` is told
 * to the client. */
MUST_CHECK enum status errand_check(struct errand *errand, const char *stage);

/* The same before it has a run. */
MUST_CHECK enum status errand_check_early(struct errand *errand, const char *stage);

/* Waits for news and tells progress; a request that is over is cancelled. */
MUST_CHECK enum status errand_follow(struct errand *errand, struct group_news *news);

/* Workers look for it themselves; whatever they send, no client is told a number that is none. */
MUST_CHECK enum status errand_check_finite(struct errand *errand, const float *logprobs,
                                           size_t count);

/* UNAVAILABLE, after which the client may ask again. */
enum status errand_unavailable(struct errand *errand, const char *reason, const char *sentence);

/* The run's own failure, with what helps the client. */
enum status errand_failure(struct errand *errand, const struct group_outcome *outcome);

/* For metrics and the line that tells of the call's end. Adds errand_part_usage to the outcome. */
void errand_note_outcome(struct errand *errand, struct group_outcome *outcome,
                         Longhaul__V1__FinishReason reason);

/* Takes the request to the session's version, by the session's method. */
MUST_CHECK enum status errand_session_ask(struct errand *errand, const char *name);

/* Makes it the reading of what `use` is about. */
MUST_CHECK enum status errand_session_open(struct errand *errand, struct sessions_use *use);

/* Follows it to its end: *read is what has stayed. */
MUST_CHECK enum status errand_session_finish(struct errand *errand, struct sessions_read *read);

/* Hands out the keys of the version whose run it is, to the end of the run. */
MUST_CHECK enum status errand_save_keys(struct errand *errand, const struct errand_keys *keys);

/* Hands the run the blocks of the file that it restores. */
MUST_CHECK enum status errand_take_keys(struct errand *errand, const struct errand_keys *keys);

/* ---- files of --spill (errand_spill.c) ---- */

/* Makes room on the errand's group: the keys of one session go to a file. MOVES where others are at
 * it; NONE where there is nothing that may go. */
MUST_CHECK enum status errand_spill_one(struct errand *errand, enum sessions_found *found);

/* Takes back what the errand goes on from: what a client has named, or what its prompt begins with.
 * It does so once. */
MUST_CHECK enum status errand_spill_fetch(struct errand *errand);

/* What a file has of the errand's tokens, whose plan is made, but for the document. */
void errand_session_header(const struct errand *errand, struct cache_header *header);
