/* Owns a call that asks several things of one beginning: it is read once and stays for as long as
 * the call, each answer or continuation is an errand that goes on from there, and their events
 * reach the client one at a time. Promises that all of them end where one of them fails. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "coordinator/errand_parts.h"
#include "proto/clock.h"
#include "proto/log.h"

enum { CONTINUATIONS_MAX = 1024, THREADS_MAX = 16, SENTENCE_BYTES = 512 };

struct shared {
    struct errand outer; /* has no run of its own */
    struct sessions_use use;
    const Longhaul__V1__GenerateRequest *generate; /* or NULL */
    const Longhaul__V1__ScoreRequest *score;       /* or NULL */
    int64_t cached_tokens;                         /* of the reading */
    int parts;
    pthread_mutex_t lock; /* of the client, and of what follows */
    int next, active;     /* of the parts; those that are out */
    bool over;            /* one has failed */
    atomic_bool placed;   /* the reading or a part has had a place */
    enum status status;
    struct status_details details;
    char sentence[SENTENCE_BYTES];
};

/* The client of one part, or of the reading. */
struct part_client {
    struct errand_client client;
    struct shared *shared;
    int part; /* -1: the reading */
    struct status_details details;
};

/* ---- what parts tell ---- */

static void note_placed(struct shared *shared)
{
    if (!atomic_exchange(&shared->placed, true))
        errand_course_placed(&shared->outer.course, 0);
}

/* The call has its place with the reading, and its first token with any answer's. */
static void note_answer(struct shared *shared, const Longhaul__V1__GenerateResponse *told)
{
    struct errand_course *course = &shared->outer.course;
    if (told->event_case == LONGHAUL__V1__GENERATE_RESPONSE__EVENT_PLANNED)
        note_placed(shared);
    if (told->event_case == LONGHAUL__V1__GENERATE_RESPONSE__EVENT_TOKENS)
        errand_course_tokens(course);
    if (told->event_case == LONGHAUL__V1__GENERATE_RESPONSE__EVENT_FINISHED)
        course->reason = told->finished->finish_reason;
}

static enum status post_answer(struct part_client *part, const ProtobufCMessage *event)
{
    Longhaul__V1__GenerateResponse told =
        *(const Longhaul__V1__GenerateResponse *)(const void *)event;
    const bool begins = told.event_case == LONGHAUL__V1__GENERATE_RESPONSE__EVENT_QUEUED ||
                        told.event_case == LONGHAUL__V1__GENERATE_RESPONSE__EVENT_PLANNED ||
                        told.event_case == LONGHAUL__V1__GENERATE_RESPONSE__EVENT_PROGRESS;
    const bool read = part->part < 0 || (part->part == 0 && !part->shared->use.version);
    note_answer(part->shared, &told);
    if (begins && !read)
        return STATUS_OK;
    told.request_id = part->shared->outer.request_id;
    told.answer = part->part < 0 ? 0 : part->part;
    return errand_client_post(part->shared->outer.client, &told.base);
}

static enum status post_scores(struct part_client *part, const ProtobufCMessage *event)
{
    if (part->part < 0) { /* those of a Generate */
        note_answer(part->shared, (const void *)event);
        return STATUS_OK;
    }
    Longhaul__V1__ScoreResponse told = *(const Longhaul__V1__ScoreResponse *)(const void *)event;
    if (told.event_case == LONGHAUL__V1__SCORE_RESPONSE__EVENT_PLANNED)
        note_placed(part->shared);
    if (told.event_case != LONGHAUL__V1__SCORE_RESPONSE__EVENT_SCORES &&
        told.event_case != LONGHAUL__V1__SCORE_RESPONSE__EVENT_FINISHED && part->part > 0)
        return STATUS_OK;
    told.request_id = part->shared->outer.request_id;
    told.continuation = part->part;
    return errand_client_post(part->shared->outer.client, &told.base);
}

static enum status post(void *context, const ProtobufCMessage *event)
{
    struct part_client *part = context;
    pthread_mutex_lock(&part->shared->lock);
    const enum status status =
        part->shared->generate ? post_answer(part, event) : post_scores(part, event);
    pthread_mutex_unlock(&part->shared->lock);
    return status;
}

/* Nobody waits with the client in hand. */
static bool has_room(void *context, int64_t timeout_ms)
{
    enum { LOOK_MS = 5 };
    struct part_client *part = context;
    const int64_t until_ns = clock_after_ms(timeout_ms);
    for (;;) {
        pthread_mutex_lock(&part->shared->lock);
        const bool room = errand_client_has_room(part->shared->outer.client, 0);
        pthread_mutex_unlock(&part->shared->lock);
        if (room || clock_now_ns() >= until_ns)
            return room;
        nanosleep(&(struct timespec){.tv_nsec = LOOK_MS * 1000000}, NULL);
    }
}

static int64_t stalled_ms(void *context)
{
    struct part_client *part = context;
    pthread_mutex_lock(&part->shared->lock);
    const int64_t ms = errand_client_stalled_ms(part->shared->outer.client);
    pthread_mutex_unlock(&part->shared->lock);
    return ms;
}

static bool left(void *context)
{
    struct part_client *part = context;
    struct shared *shared = part->shared;
    pthread_mutex_lock(&shared->lock);
    const bool gone = shared->over || atomic_load(&shared->outer.entry.cancelled) ||
                      errand_client_left(shared->outer.client);
    pthread_mutex_unlock(&shared->lock);
    return gone;
}

static void end(void *context)
{
    struct part_client *part = context;
    pthread_mutex_lock(&part->shared->lock);
    errand_client_end(part->shared->outer.client);
    pthread_mutex_unlock(&part->shared->lock);
}

static void note(void *context, struct log_field field)
{
    (void)context;
    (void)field;
}

static void init_client(struct part_client *part, struct shared *shared, int number)
{
    static const struct errand_client_row row = {
        .post = post,
        .has_room = has_room,
        .stalled_ms = stalled_ms,
        .left = left,
        .end = end,
        .note = note,
    };
    *part = (struct part_client){.client = *shared->outer.client, .shared = shared, .part = number};
    part->client.row = &row;
    part->client.context = part;
    part->client.details = &part->details;
    part->client.deadline_ns = shared->outer.deadline_ns;
    part->client.prompt_ids = &shared->outer.ids;
}

void errand_set_part(struct errand *errand, const struct errand_part *part)
{
    errand->part = part;
    if (part)
        errand->course.counts = ERRAND_COURSE_TOKENS;
}

void errand_part_usage(const struct errand *errand, struct group_outcome *outcome)
{
    const struct errand_part *part = errand->part;
    if (!part || !part->read || part->number > 0)
        return;
    outcome->prefilled_tokens += outcome->cached_tokens - part->cached_tokens;
    outcome->cached_tokens = part->cached_tokens;
}

/* ---- the reading ---- */

/* All but the prompt's last token, whose logits each answer begins with; of a text all that any
 * continuation begins with. */
static int64_t tokens_to_read(const struct shared *shared)
{
    return (int64_t)shared->outer.ids.count - (shared->generate != NULL);
}

static enum status read_on(struct errand *errand, struct shared *shared)
{
    const struct errand *outer = &shared->outer;
    struct sessions_read read;
    const int64_t tokens = tokens_to_read(shared);
    errand->stays = true;
    errand->options = outer->options;
    errand->version = outer->version;
    TRY(answer_request_none(&errand->asked, &errand->client->details->field));
    errand->asked.no_prefix_reuse = outer->asked.no_prefix_reuse;
    for (int64_t t = 0; t < tokens; t++)
        TRY(id_list_add(&errand->ids, outer->ids.ids[t]));
    TRY(errand_begin_run(errand));
    TRY(errand_session_finish(errand, &read));
    shared->cached_tokens = errand->course.cached_tokens;
    return sessions_hold(outer->tools->sessions, &shared->use, &read);
}

/* A prompt that has no room to stay is read by each for itself, as far as it does not find it. */
static enum status read_once(struct shared *shared)
{
    struct part_client client;
    struct errand errand;
    init_client(&client, shared, -1);
    TRY(errand_init(&errand, &client.client, shared->outer.tools, "", false));
    errand.course.counts = 0; /* the first part's usage has it */
    enum status status = read_on(&errand, shared);
    errand_deinit(&errand, status);
    log_request(shared->outer.request_id);
    if (status == STATUS_RESOURCE_EXHAUSTED && shared->generate)
        return STATUS_OK;
    if (status != STATUS_OK)
        *shared->outer.client->details = client.details;
    return status;
}

/* ---- the parts ---- */

static enum status run_part(struct part_client *client, struct shared *shared)
{
    struct errand *outer = &shared->outer;
    const struct errand_part part = {
        .number = client->part,
        .read = shared->use.version != NULL,
        .placed = &shared->placed,
        .version = shared->use.version ? shared->use.version : outer->version,
        .options = outer->options,
        .cached_tokens = shared->cached_tokens,
        .seed = outer->asked.sampling.sampling.seed + (uint64_t)client->part,
        .beginning = shared->score ? shared->score->text : NULL,
        .text = shared->score ? shared->score->continuations[client->part] : NULL,
    };
    if (shared->generate)
        return errand_generate_part(&client->client, outer->tools, shared->generate, &part);
    return errand_score_part(&client->client, outer->tools, &part);
}

/* The first failure is the call's; the others are ended by it. */
static void note_failure(struct shared *shared, const struct part_client *client,
                         enum status status)
{
    pthread_mutex_lock(&shared->lock);
    if (!shared->over) {
        shared->over = true;
        shared->status = status;
        shared->details = client->details;
        snprintf(shared->sentence, sizeof shared->sentence, "%s", status_message());
    }
    pthread_mutex_unlock(&shared->lock);
}

static void count_active(struct shared *shared, int more)
{
    pthread_mutex_lock(&shared->lock);
    shared->active += more;
    pthread_mutex_unlock(&shared->lock);
}

/* Whether the queue has refused the part for now, of a call that has begun: nobody who came later
 * takes the call's end from it. Nothing was told of the part. */
static bool may_repeat(struct part_client *client)
{
    struct shared *shared = client->shared;
    const char *reason = client->details.reason;
    if (!reason || client->details.retry_ms == 0 ||
        (strcmp(reason, "QUEUE_FULL") != 0 && strcmp(reason, "QUOTA_EXCEEDED") != 0))
        return false;
    pthread_mutex_lock(&shared->lock);
    const bool begun = shared->active > 0 || atomic_load(&shared->placed);
    const bool over = shared->over;
    pthread_mutex_unlock(&shared->lock);
    return begun && !over;
}

/* Why the call should end while none of its threads looks at it. */
static enum status check_call(struct part_client *client)
{
    struct shared *shared = client->shared;
    pthread_mutex_lock(&shared->lock);
    const enum status status = errand_check_early(&shared->outer, "queue");
    if (status != STATUS_OK)
        client->details = *shared->outer.client->details;
    pthread_mutex_unlock(&shared->lock);
    return status;
}

static enum status run_repeated(struct part_client *client, struct shared *shared, int number)
{
    enum { REPEAT_MS = 50 };
    for (;;) {
        init_client(client, shared, number);
        count_active(shared, 1);
        const enum status status = run_part(client, shared);
        count_active(shared, -1);
        if (status != STATUS_RESOURCE_EXHAUSTED || !may_repeat(client))
            return status;
        TRY(check_call(client));
        nanosleep(&(struct timespec){.tv_nsec = REPEAT_MS * 1000000}, NULL);
    }
}

static void *run_parts(void *context)
{
    struct shared *shared = context;
    for (;;) {
        struct part_client client;
        pthread_mutex_lock(&shared->lock);
        const int number = shared->over ? shared->parts : shared->next++;
        pthread_mutex_unlock(&shared->lock);
        if (number >= shared->parts)
            return NULL;
        const enum status status = run_repeated(&client, shared, number);
        if (status != STATUS_OK)
            note_failure(shared, &client, status);
    }
}

/* What a part asks the queue for, at most: an answer's tokens, or a continuation's, of which each
 * has a byte and more. */
static int64_t tokens_of_part(const struct shared *shared)
{
    const int64_t tokens = (int64_t)shared->outer.ids.count;
    int64_t own = shared->generate ? errand_answer_tokens(&shared->outer) : 0;
    for (int c = 0; shared->score && c < shared->parts; c++) {
        const int64_t bytes = (int64_t)strlen(shared->score->continuations[c]);
        own = bytes > own ? bytes : own;
    }
    const int64_t read = shared->use.version ? tokens_to_read(shared) : 0;
    return tokens - read + own + 1;
}

/* Parts wait side by side, as far as so many of the tenant's requests, and their tokens, may
 * wait: none is refused because of the others. */
static int threads_of(const struct shared *shared)
{
    struct access_tenant tenant;
    access_tenant(shared->outer.tools->access, &tenant, shared->outer.client->tenant);
    const struct access_quotas *quotas = &tenant.quotas;
    int64_t most = shared->parts < THREADS_MAX ? shared->parts : THREADS_MAX;
    if (quotas->queued_requests > 0 && quotas->queued_requests < most)
        most = quotas->queued_requests;
    if (quotas->queued_tokens > 0 && quotas->queued_tokens / tokens_of_part(shared) < most)
        most = quotas->queued_tokens / tokens_of_part(shared);
    return most > 1 ? (int)most : 1;
}

/* One of the threads is the caller's. */
static enum status run_all(struct shared *shared)
{
    pthread_t threads[THREADS_MAX];
    const int wanted = threads_of(shared);
    int count = 0;
    while (count < wanted - 1 && pthread_create(&threads[count], NULL, run_parts, shared) == 0)
        count++;
    run_parts(shared);
    for (int t = 0; t < count; t++)
        pthread_join(threads[t], NULL);
    log_request(shared->outer.request_id);
    if (!shared->over)
        return STATUS_OK;
    *shared->outer.client->details = shared->details;
    return fail(shared->status, "%s", shared->sentence);
}

/* ---- a call ---- */

static enum status read_text(struct errand *errand, const Longhaul__V1__ScoreRequest *request)
{
    struct status_details *details = errand->client->details;
    details->field = "session";
    if (request->session[0])
        return fail(STATUS_INVALID_ARGUMENT,
                    "session: continuations go behind a text; ask a session with one text a call");
    details->field = "continuations";
    if (request->n_continuations > CONTINUATIONS_MAX)
        return fail(STATUS_INVALID_ARGUMENT, "%zu continuations; must be at most %d",
                    request->n_continuations, CONTINUATIONS_MAX);
    for (size_t c = 0; c < request->n_continuations; c++)
        if (!request->continuations[c][0])
            return fail(STATUS_INVALID_ARGUMENT, "continuation %zu is empty", c);
    details->field = "text";
    errand->options = request->options;
    TRY(prompt_encode_beginning(&errand->tools->forms, &errand->ids, request->text, true));
    TRY(answer_request_none(&errand->asked, &details->field));
    return STATUS_OK;
}

/* What a method keys by a call's whole length has no beginning in common: each answer reads for
 * itself, as it would alone. A session's method goes by the session's length. */
static enum status may_share(struct shared *shared, bool *shares)
{
    const struct errand *outer = &shared->outer;
    struct status_details *details = outer->client->details;
    *shares = true;
    if (outer->version)
        return STATUS_OK;
    TRY(planner_shares_keys(outer->tools->planner, shares, details, outer->options));
    if (*shares || shared->generate)
        return STATUS_OK;
    details->field = "options.method";
    return fail(STATUS_INVALID_ARGUMENT,
                "the method follows the length of a request, so continuations have no reading in "
                "common: score each text by itself, or give the method its length");
}

static enum status call(struct shared *shared)
{
    struct errand *outer = &shared->outer;
    bool shares = false;
    TRY(errand_check_queue(outer));
    TRY(errand_positions_alone(outer->client, shared->generate ? shared->generate->n_positions
                                                               : shared->score->n_positions));
    if (shared->generate)
        TRY(errand_generate_read(outer, shared->generate));
    else
        TRY(read_text(outer, shared->score));
    TRY(may_share(shared, &shares));
    if (shares && tokens_to_read(shared) > 0)
        TRY(read_once(shared));
    return run_all(shared);
}

static enum status run_shared(struct shared *shared, const struct errand_client *client,
                              struct errand_tools *tools, const char *request_id)
{
    TRY(errand_init(&shared->outer, client, tools, request_id, shared->score != NULL));
    atomic_fetch_add(&tools->shared, 1);
    pthread_mutex_init(&shared->lock, NULL);
    shared->outer.course.counts = ERRAND_COURSE_REQUEST;
    const enum status status = call(shared);
    sessions_leave(tools->sessions, &shared->use);
    errand_deinit(&shared->outer, status);
    pthread_mutex_destroy(&shared->lock);
    atomic_fetch_sub(&tools->shared, 1);
    return status;
}

enum status errand_answers(const struct errand_client *client, struct errand_tools *tools,
                           const Longhaul__V1__GenerateRequest *request)
{
    struct shared shared = {.generate = request, .parts = request->answers};
    return run_shared(&shared, client, tools, request->request_id);
}

enum status errand_continuations(const struct errand_client *client, struct errand_tools *tools,
                                 const Longhaul__V1__ScoreRequest *request)
{
    struct shared shared = {.score = request, .parts = (int)request->n_continuations};
    return run_shared(&shared, client, tools, request->request_id);
}
