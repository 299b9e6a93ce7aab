/* Owns one request: its ids, its place in the queue, its run and its answer. Promises that whatever
 * ends the request (its end, a stop string, the client, the deadline, a drain, a lost group), the
 * place is free for the next one.
 *
 *   read     --ids are there (errand_generate, errand_score,
 *              errand_session_read)-->                           waiting
 *   waiting  --it is first, and fits into a group (try_place)-->  placed
 *   placed   --the client knows (tell_plan), the ranks have it
 *              (errand_begin_run)-->                             running
 *   running  --every rank is done, a stop string, or an end from
 *              outside (errand_follow)-->                        finished
 *   any      --the client, the deadline, a drain, a lost group
 *              (check_waiting, errand_follow)-->                 finished
 *
 * errand_deinit lets go of the place in the queue and of the run, whichever state it was.
 */
#include "coordinator/errand_parts.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/access/access.h"
#include "coordinator/answer_request.h"
#include "coordinator/group_run.h"
#include "coordinator/plan_message.h"
#include "coordinator/errand_course.h"
#include "coordinator/spans.h"
#include "coordinator/stream.h"
#include "coordinator/worker_speeds.h"
#include "proto/choice_message.h"
#include "proto/clock.h"
#include "proto/log.h"

/* Queued is told again this often: a client that waits sees a call that lives, and the pings that
 * it sends in between are not too many. */
enum { QUEUED_REPEAT_MS = 5000 };

enum { LOOK_MS = 50, RETRY_MS = 2000, NAME_BYTES_MAX = 40 };

/* More than any context holds: whoever asks for more is refused with the plan, and counts as this
 * much until then. */
enum { ANSWER_TOKENS_MAX = 1 << 30 };

/* A shorter prompt does not tell how fast a group reads. */
enum { PACE_TOKENS = 512 };

/* A client leaves at its deadline, by its own clock and a moment before ours. */
enum { CLIENT_EARLY_NS = 50000000 };

/* Our own names skip those that clients gave to theirs. */
static enum status take_name(struct errand *errand, const char *request_id, bool is_score)
{
    struct errand_tools *tools = errand->tools;
    unsigned long long number = atomic_fetch_add(&tools->requests, 1) + 1;
    if (request_id[0]) {
        snprintf(errand->request_id, sizeof errand->request_id, "%s", request_id);
        snprintf(errand->run_id, sizeof errand->run_id, "%.*s#%llu", NAME_BYTES_MAX, request_id,
                 number);
        errand->client->details->field = "request_id";
        TRY(requests_enter(tools->active, &errand->entry, errand->client->tenant,
                           errand->request_id, is_score));
        errand->client->details->field = NULL;
        return STATUS_OK;
    }
    snprintf(errand->request_id, sizeof errand->request_id, "r%llu", number);
    while (requests_enter(tools->active, &errand->entry, errand->client->tenant, errand->request_id,
                          is_score) != STATUS_OK) {
        number = atomic_fetch_add(&tools->requests, 1) + 1;
        snprintf(errand->request_id, sizeof errand->request_id, "r%llu", number);
    }
    snprintf(errand->run_id, sizeof errand->run_id, "r%llu", number);
    return STATUS_OK;
}

static enum status errand_open(struct errand *errand, const struct errand_client *client,
                               struct errand_tools *tools, const char *request_id, bool is_score)
{
    *errand = (struct errand){.client = client, .tools = tools};
    errand_course_begin(&errand->course, is_score);
    log_request(request_id); /* of one that is refused below, too */
    if (strlen(request_id) > NAME_BYTES_MAX) {
        client->details->field = "request_id";
        return fail(STATUS_INVALID_ARGUMENT, "request_id is longer than %d bytes", NAME_BYTES_MAX);
    }
    TRY(take_name(errand, request_id, is_score));
    log_request(errand->request_id);
    int64_t own_ns = clock_after_ms(tools->deadline_ms);
    int64_t asked_ns = client->deadline_ns;
    errand->deadline_ns = asked_ns < own_ns ? asked_ns : own_ns;
    errand->stream =
        (struct stream){.client = client, .request_id = errand->request_id, .is_score = is_score};
    return STATUS_OK;
}

/* Counts the request and tells of it. */
static void end_course(struct errand *errand, enum status status)
{
    struct spans_parent parent;
    if (errand->part && !errand->queued && status == STATUS_RESOURCE_EXHAUSTED)
        return; /* it is asked for again, or its call tells why not */
    spans_parent_read(&parent, errand->client->traceparent, errand->client->traceparent_bytes);
    errand_course_end(&errand->course, status);
    const struct spans_request request = {
        .parent = &parent,
        .course = &errand->course,
        .request_id = errand->request_id,
        .status = status,
        .sentence = status_message(),
    };
    spans_tell(errand->tools->spans, &request);
}

enum status errand_init(struct errand *errand, const struct errand_client *client,
                        struct errand_tools *tools, const char *request_id, bool is_score)
{
    const enum status status = errand_open(errand, client, tools, request_id, is_score);
    if (status != STATUS_OK)
        end_course(errand, status);
    return status;
}

/* A client that leaves is noticed at a look or at a write, a deadline by us or by the ranks: all of
 * these ends have one name. */
static void name_early_end(struct errand *errand, enum status status)
{
    bool early = status == STATUS_CANCELLED || status == STATUS_DEADLINE_EXCEEDED;
    if (early && !errand->client->details->reason)
        errand->client->details->reason = "ENDED_EARLY";
}

/* What was read and written for it; panels that lay there already are no work. */
static int64_t used_tokens(const struct errand *errand)
{
    const int64_t used =
        errand->told.prompt_done + errand->told.completion - errand->course.cached_tokens;
    return used > 0 ? used : 0;
}

void errand_deinit(struct errand *errand, enum status status)
{
    name_early_end(errand, status);
    end_course(errand, status);
    group_run_end(errand->run);
    if (errand->queued)
        queue_leave(errand->tools->queue, &errand->ticket, used_tokens(errand));
    requests_leave(errand->tools->active, &errand->entry);
    sessions_leave(errand->tools->sessions, &errand->session);
    planner_forecast_deinit(&errand->forecast);
    free(errand->slowness);
    panel_chain_deinit(&errand->chain);
    id_list_deinit(&errand->ids);
}

/* A client that reads nothing keeps no place and no group. Once its run is done it is in nobody's
 * way, and has as long as any other client. */
static enum status check_stalled(struct errand *errand, const char *stage)
{
    const bool harmless = errand->run && group_run_is_done(errand->run);
    const int64_t limit_ms = harmless ? ERRAND_CLIENT_TAKES_MS : errand->tools->stall_ms;
    const int64_t stalled_ms = errand_client_stalled_ms(errand->client);
    if (stalled_ms < limit_ms)
        return STATUS_OK;
    errand_client_end(errand->client);
    return fail(STATUS_CANCELLED, "the client has read nothing for %.1f s in %s",
                (double)stalled_ms / 1000, stage);
}

/* Why the request should end now, OK when it should not. `stage` is told to the client. */
static enum status check_over(struct errand *errand, const char *stage)
{
    enum status status = STATUS_OK;
    const bool left = errand_client_left(errand->client);
    if (atomic_load(&errand->entry.cancelled))
        status =
            fail(STATUS_CANCELLED, "the request %s was cancelled in %s", errand->request_id, stage);
    else if (clock_now_ns() >= errand->deadline_ns - (left ? CLIENT_EARLY_NS : 0))
        status = fail(STATUS_DEADLINE_EXCEEDED, "the deadline passed in %s", stage);
    else if (left)
        status = fail(STATUS_CANCELLED, "the client left in %s", stage);
    else
        status = check_stalled(errand, stage);
    if (status != STATUS_OK) {
        errand->client->details->reason = "ENDED_EARLY";
        status_details_fact(errand->client->details, "stage", "%s", stage);
    }
    return status;
}

enum status errand_unavailable(struct errand *errand, const char *reason, const char *sentence)
{
    errand->client->details->reason = reason;
    errand->client->details->retry_ms = RETRY_MS;
    return fail(STATUS_UNAVAILABLE, "%s", sentence);
}

/* A call that runs runs to its end: what of it waits is refused only when running is cut short. */
static bool is_refused(const struct errand *errand)
{
    struct errand_tools *tools = errand->tools;
    const bool runs = errand->part && atomic_load(errand->part->placed);
    return atomic_load(&tools->stopping) || (!runs && atomic_load(&tools->draining));
}

static enum status check_waiting(struct errand *errand)
{
    struct errand_tools *tools = errand->tools;
    TRY(check_over(errand, "queue"));
    if (is_refused(errand))
        return errand_unavailable(errand, "DRAINING", "the coordinator is draining");
    if (!tools->workers_expected && !workers_any(tools->workers))
        return errand_unavailable(
            errand, "NO_WORKERS",
            "no worker group is there: start one with mpirun longhaul-worker");
    return STATUS_OK;
}

/* ---- planning ---- */

static enum status check_planning(void *context)
{
    return check_over(context, "planning");
}

/* The choice and the forecast for the group of errand->facts, unless they are made already. */
static enum status make_plan(struct errand *errand)
{
    const struct planner_watch watch = {check_planning, errand};
    const struct planner *planner = errand->tools->planner;
    struct status_details *details = errand->client->details;
    const int64_t prompt_tokens = (int64_t)errand->ids.count;
    if (errand->planned_for == errand->facts.serial)
        return STATUS_OK;
    planner_forecast_deinit(&errand->forecast);
    errand->planned_for = 0;
    if (errand->max_tokens == 0 && !errand->stream.is_score && !errand->stays && !errand->saves)
        errand->max_tokens = planner_answer_tokens(planner, &errand->facts, prompt_tokens);
    const struct planner_request request = {errand->options, prompt_tokens, errand->max_tokens,
                                            errand->stays || errand->version};
    TRY(planner_choose(planner, &errand->choice, details, &errand->facts, &request));
    if (errand->positions && strcmp(errand->choice.group.kernels, CHOICE_KERNELS_GPU) == 0) {
        details->field = "positions";
        return fail(STATUS_UNIMPLEMENTED, "positions: workers on GPUs take none but the indices");
    }
    TRY(planner_forecast(planner, &errand->forecast, &errand->choice, &errand->facts, prompt_tokens,
                         &watch));
    errand->planned_for = errand->facts.serial;
    return planner_check_fits(&errand->forecast, details, &errand->facts);
}

static enum status tell_plan(struct errand *errand)
{
    struct plan_message message;
    struct requests_plan plan = {.seconds = errand->forecast.seconds,
                                 .max_tokens = errand->max_tokens};
    plan_message_set(&message, errand->tools->planner, &errand->choice, &errand->forecast,
                     (int64_t)errand->ids.count);
    message.summary.max_tokens = errand->max_tokens;
    snprintf(plan.text, sizeof plan.text, "%.*s", REQUESTS_PLAN_BYTES - 1, message.text);
    requests_set_plan(errand->tools->active, &errand->entry, &plan);
    return stream_planned(&errand->stream, &message.summary);
}

/* ---- waiting for a place ---- */

/* What it takes of a pool: of what the session holds that it goes on from it shares all but a panel
 * or two, where its method forgets nothing. */
static int64_t pool_bytes_of(const struct errand *errand)
{
    const int64_t all = planner_pool_bytes(&errand->forecast);
    struct bands bands;
    if (errand->saves)
        return 0; /* it reads what lies there */
    choice_bands(&errand->choice, &bands);
    if (!errand->version || bands_reach(&bands) != BANDS_OPEN || choice_is_home(&errand->choice))
        return all;
    return all > errand->version->held_bytes ? all - errand->version->held_bytes : 0;
}

/* What the request takes of a pool, as far as it has been planned: groups that have it come
 * first. */
static struct workers_asked asked_of(const struct errand *errand)
{
    return (struct workers_asked){
        .prompt = &errand->chain,
        .pool_bytes = errand->planned_for ? pool_bytes_of(errand) : 0,
        .serial = errand->version ? errand->version->serial : 0,
    };
}

/* Sessions leave half of a group's pool to others, which would else wait for their end. Where there
 * are files, what was used longest ago goes there. */
static enum status make_session_room(struct errand *errand, bool *fits)
{
    const int64_t pool = errand->facts.pool_bytes;
    const int64_t held = errand->facts.session_bytes, more = pool_bytes_of(errand);
    enum sessions_found found = SESSIONS_NONE;
    *fits = !errand->stays || pool == 0 || more <= pool / 2 - held;
    if (*fits)
        return STATUS_OK;
    queue_block(errand->tools->queue, &errand->ticket);
    if (more <= pool / 2)
        TRY(errand_spill_one(errand, &found));
    if (found != SESSIONS_NONE)
        return STATUS_OK;
    errand->client->details->reason = "QUOTA_EXCEEDED";
    return fail(STATUS_RESOURCE_EXHAUSTED,
                "the document takes %.1f MB of a worker's memory; sessions hold %.1f of the %.1f "
                "MB that they may: delete some, or start more workers",
                (double)more / 1e6, (double)held / 1e6, (double)(pool / 2) / 1e6);
}

/* The group that has what it goes on from. */
static enum status check_version(struct errand *errand)
{
    if (!errand->version || workers_has(errand->tools->workers, errand->version->serial))
        return STATUS_OK;
    if (errand->part && errand->part->read)
        return errand_unavailable(errand, "WORKERS_LOST",
                                  "the worker group was lost when it had read the prompt");
    errand->client->details->reason = "SESSION_LOST";
    return fail(STATUS_FAILED_PRECONDITION,
                "the session's worker group is lost: append an empty text, and it is read again");
}

/* What runs on a group is known before it takes a place there: so nothing that was let in is ever
 * put out for lack of memory. */
static enum status try_place(struct errand *errand, bool *taken)
{
    struct errand_tools *tools = errand->tools;
    const struct workers_asked asked = asked_of(errand);
    bool fits = false;
    *taken = false;
    sessions_expire(tools->sessions); /* what they held may be waited for */
    TRY(check_version(errand));
    if ((errand->queued && !queue_may_try(tools->queue, &errand->ticket)) ||
        !workers_offer(tools->workers, &errand->facts, &asked))
        return STATUS_OK;
    TRY(make_plan(errand));
    TRY(make_session_room(errand, &fits));
    if (!fits)
        return STATUS_OK;
    *taken = workers_acquire(tools->workers, &errand->place, &errand->facts, pool_bytes_of(errand),
                             &errand->chain);
    if (!*taken && errand->queued)
        queue_block(tools->queue, &errand->ticket);
    return STATUS_OK;
}

/* What its prompt may share with others: those of its tenant, by its method. */
static enum status make_chain(struct errand *errand)
{
    char root[METHOD_TEXT_BYTES + ACCESS_TENANT_BYTES];
    char method[METHOD_TEXT_BYTES];
    if (errand->stream.is_score || errand->asked.no_prefix_reuse || errand->version)
        return STATUS_OK;
    bool shares = false;
    TRY(planner_shares_keys(errand->tools->planner, &shares, errand->client->details,
                            errand->options));
    if (!shares)
        return STATUS_OK;
    TRY(planner_method(errand->tools->planner, method, errand->client->details, errand->options));
    snprintf(root, sizeof root, "%s|%s", method, errand->client->tenant);
    return panel_chain_init(&errand->chain, root, errand->ids.ids, errand->ids.count);
}

int64_t errand_answer_tokens(const struct errand *errand)
{
    const bool is_told =
        errand->max_tokens || errand->stream.is_score || errand->stays || errand->saves;
    const int64_t asked = is_told ? errand->max_tokens : PLANNER_ANSWER_TOKENS;
    return asked < ANSWER_TOKENS_MAX ? asked : ANSWER_TOKENS_MAX;
}

static enum status enter_queue(struct errand *errand)
{
    struct access_tenant tenant;
    /* What the prompt has in common with the session may be less by a token or two. */
    const int64_t tokens = (int64_t)errand->ids.count;
    const int64_t session = errand->version ? errand->version->tokens : 0;
    const int64_t there = session < tokens ? session : tokens - 1;
    access_tenant(errand->tools->access, &tenant, errand->client->tenant);
    const struct fair_request request = {
        .tenant = &tenant,
        .priority = errand->client->priority,
        .tokens = tokens - there + errand_answer_tokens(errand),
        .deadline_ns = errand->deadline_ns,
    };
    TRY(queue_enter(errand->tools->queue, &errand->ticket, errand->client->details, &request));
    errand->queued = true;
    return STATUS_OK;
}

enum status errand_check_queue(struct errand *errand)
{
    struct access_tenant tenant;
    access_tenant(errand->tools->access, &tenant, errand->client->tenant);
    return queue_check(errand->tools->queue, errand->client->details, &tenant);
}

/* Until it is looked at again, whatever comes: its deadline is not slept over. */
static int look_ms(const struct errand *errand)
{
    const int64_t left_ms = (errand->deadline_ns - clock_now_ns()) / 1000000 + 1;
    return left_ms < 1 ? 1 : left_ms < LOOK_MS ? (int)left_ms : LOOK_MS;
}

static enum status wait_for_place(struct errand *errand)
{
    struct errand_tools *tools = errand->tools;
    struct stream_place told = {.ahead = -1};
    int64_t told_ns = 0;
    errand->told.prompt = (int64_t)errand->ids.count;
    requests_count(tools->active, &errand->entry, &errand->told);
    TRY(make_chain(errand));
    if (!errand->is_inner)
        TRY(enter_queue(errand));
    for (;;) {
        bool taken = false;
        TRY(check_waiting(errand));
        TRY(try_place(errand, &taken));
        if (taken) {
            errand_course_placed(&errand->course, (int64_t)errand->ids.count);
            if (errand->queued)
                queue_start(tools->queue, &errand->ticket);
            requests_run(tools->active, &errand->entry, errand->facts.group_id);
            return STATUS_OK;
        }
        const struct stream_place place = {queue_ahead(tools->queue, &errand->ticket),
                                           !workers_ready(tools->workers)};
        if (place.ahead != told.ahead || place.waiting_for_workers != told.waiting_for_workers ||
            clock_now_ns() >= told_ns + QUEUED_REPEAT_MS * INT64_C(1000000)) {
            TRY(stream_queued(&errand->stream, &place));
            told = place;
            told_ns = clock_now_ns();
        }
        queue_wait(tools->queue, look_ms(errand));
    }
}

/* ---- running ---- */

static Longhaul__Control__V1__RunKind kind_of(const struct errand *errand)
{
    if (errand->restores)
        return LONGHAUL__CONTROL__V1__RUN_KIND__RUN_KIND_RESTORE;
    if (errand->saves)
        return LONGHAUL__CONTROL__V1__RUN_KIND__RUN_KIND_SAVE;
    return errand->stream.is_score ? LONGHAUL__CONTROL__V1__RUN_KIND__RUN_KIND_SCORE
                                   : LONGHAUL__CONTROL__V1__RUN_KIND__RUN_KIND_GENERATE;
}

/* Whether the group keeps such keys as the file has. */
static enum status check_restored(const struct errand *errand)
{
    struct cache_header planned;
    if ((errand->restores || errand->saves) && group_choice_tensor(&errand->choice.group) > 1)
        return fail(STATUS_UNIMPLEMENTED,
                    "files hold the keys of all heads, and these workers have those of some: start "
                    "them with --mesh tensor=1 to save or restore sessions");
    if (!errand->restores)
        return STATUS_OK;
    errand_session_header(errand, &planned);
    return cache_header_match(errand->restores, &planned, "the file");
}

enum status errand_begin_run(struct errand *errand)
{
    TRY(errand_spill_fetch(errand));
    TRY(wait_for_place(errand));
    enum status status = check_restored(errand);
    if (status == STATUS_OK)
        status = tell_plan(errand);
    if (status != STATUS_OK) {
        workers_release(&errand->place);
        return status;
    }
    struct choice_message choice;
    choice_message_set(&choice, &errand->choice);
    size_t stop_count = 0;
    const int32_t *stop_ids = tokenizer_stop_ids(errand->tools->forms.tokenizer, &stop_count);
    int64_t left_ms = (errand->deadline_ns - clock_now_ns()) / 1000000;
    Longhaul__Control__V1__RunSampling run_sampling;
    Longhaul__Control__V1__Run run = LONGHAUL__CONTROL__V1__RUN__INIT;
    run.request_id = errand->run_id;
    run.kind = kind_of(errand);
    run.choice = &choice.message;
    run.n_token_ids = errand->ids.count;
    run.token_ids = errand->ids.ids;
    run.n_positions = errand->positions ? errand->ids.count : 0;
    run.positions = (int64_t *)errand->positions; /* only read */
    run.max_tokens = errand->max_tokens;
    answer_request_run(&run, &run_sampling, &errand->asked);
    run.n_stop_ids = errand->asked.ignore_end ? 0 : stop_count;
    run.stop_ids = (int32_t *)stop_ids;
    run.deadline_ms = left_ms > 1 ? left_ms : 1;
    run.tenant = (char *)(size_t)errand->client->tenant;
    run.stays = errand->stays;
    run.goes_on_from = errand->version ? errand->version->run : 0;
    errand->stream.prefill_ns = clock_now_ns();
    log_line(LOG_INFO, "request runs",
             log_text("kind", errand->restores          ? "restore"
                              : errand->saves           ? "save"
                              : errand->stays           ? "read"
                              : errand->stream.is_score ? "score"
                                                        : "generate"),
             log_integer("prompt_tokens", (int64_t)errand->ids.count),
             log_integer("max_tokens", errand->max_tokens));
    return group_run_begin(&errand->run, &errand->place, &run);
}

enum status errand_check_early(struct errand *errand, const char *stage)
{
    return check_over(errand, stage);
}

enum status errand_check(struct errand *errand, const char *stage)
{
    const enum status status = check_over(errand, stage);
    if (status != STATUS_OK) {
        group_run_cancel(errand->run, status_message());
        return status;
    }
    if (atomic_load(&errand->tools->stopping))
        group_run_cancel(errand->run, "the coordinator is ending");
    return STATUS_OK;
}

enum status errand_follow(struct errand *errand, struct group_news *news)
{
    TRY(errand_check(errand, news->tokens_total && news->tokens_done == news->tokens_total
                                 ? "decode"
                                 : "prefill"));
    if (!errand_client_has_room(errand->client, LOOK_MS)) { /* the run keeps what comes */
        news->id_count = 0;
        news->score_count = 0;
        return STATUS_OK;
    }
    group_run_wait(errand->run, news, look_ms(errand));
    errand->told.prompt_done = news->tokens_done;
    errand->told.completion += (int64_t)news->id_count;
    requests_count(errand->tools->active, &errand->entry, &errand->told);
    return news->tokens_total
               ? stream_progress(&errand->stream, news->tokens_done, news->tokens_total)
               : STATUS_OK;
}

static const char not_finite_reason[] = "NON_FINITE_LOGITS";

enum status errand_check_finite(struct errand *errand, const float *logprobs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!isfinite(logprobs[i])) {
            group_run_cancel(errand->run, "its numbers are not finite");
            errand->client->details->reason = not_finite_reason;
            return fail(STATUS_INTERNAL,
                        "the workers report a log-probability that is not a finite number");
        }
    return STATUS_OK;
}

enum status errand_failure(struct errand *errand, const struct group_outcome *outcome)
{
    if (outcome->status == STATUS_UNAVAILABLE) {
        /* By the group, whoever asks again counts those that a request was lost with. */
        status_details_fact(errand->client->details, "group_id", "%s", errand->facts.group_id);
        return errand_unavailable(errand, "WORKERS_LOST", outcome->message);
    }
    if (outcome->not_finite)
        errand->client->details->reason = not_finite_reason;
    return fail(outcome->status, "%s", outcome->message);
}

/* What the prompt took of the slowest rank's time, where all of it was computed, and measured. */
static void note_pace(struct errand *errand, const struct group_outcome *outcome)
{
    double seconds = 0;
    if (outcome->status != STATUS_OK || outcome->prefilled_tokens < PACE_TOKENS ||
        outcome->cached_tokens > 0)
        return;
    for (int rank = 0; rank < outcome->report_count; rank++) {
        const Longhaul__Control__V1__RankReport *report = &outcome->reports[rank].report;
        const double own = report->rows_seconds + report->attend_seconds + report->head_seconds;
        seconds = own > seconds ? own : seconds;
    }
    if (seconds > 0 && errand->forecast.seconds > 0)
        workers_note_pace(errand->tools->workers, &errand->facts,
                          seconds / errand->forecast.seconds);
}

/* Who was slower than planned is named in the report; [count], all 0 where it was not measured, or
 * other requests' rows were computed in the same products. */
static void note_speeds(struct errand *errand, const struct group_outcome *outcome)
{
    const int count = outcome->report_count;
    double *flops = calloc((size_t)count * 2, sizeof *flops);
    double *slowness = calloc((size_t)count, sizeof *slowness);
    free(errand->slowness);
    errand->slowness = slowness;
    if (!flops || !slowness) { /* a report may lack it */
        free(flops);
        return;
    }
    const struct worker_speeds_run run = {flops, flops + count, count,
                                          group_choice_tensor(&errand->choice.group)};
    if (outcome->status == STATUS_OK && outcome->prefilled_tokens >= PACE_TOKENS &&
        outcome->cached_tokens == 0 && count == errand->forecast.count) {
        for (int r = 0; r < count; r++) {
            const Longhaul__Control__V1__RankReport *report = &outcome->reports[r].report;
            flops[r] = errand->forecast.ranks[r].flops;
            flops[count + r] = report->rows_seconds + report->attend_seconds;
        }
        worker_speeds_slowness(slowness, &run, &errand->choice.request.weights);
        workers_note_speeds(errand->tools->workers, &errand->facts, &run);
    }
    for (int r = 0; r < count; r++)
        if (slowness[r] >= WORKER_SPEEDS_SLOW)
            log_line(LOG_WARN, "slow worker", log_text("group", errand->facts.group_id),
                     log_integer("rank", r), log_real("times", slowness[r], 2));
    free(flops);
}

void errand_note_outcome(struct errand *errand, struct group_outcome *outcome,
                         Longhaul__V1__FinishReason reason)
{
    note_pace(errand, outcome);
    note_speeds(errand, outcome);
    errand_part_usage(errand, outcome);
    errand_course_outcome(&errand->course, outcome, reason);
    errand_client_note(errand->client,
                       log_integer("completion_tokens", outcome->completion_tokens));
    errand_client_note(errand->client, log_integer("cached_tokens", outcome->cached_tokens));
    errand_client_note(errand->client, log_real("prefill_s", outcome->prefill_seconds, 3));
    errand_client_note(errand->client, log_real("decode_s", outcome->decode_seconds, 3));
}
