/* Owns the lines that run and the threads that run them. Promises that a line runs under a lease,
 * once at a time, and that every line that was leased is committed or given back. */
#include "coordinator/batch/batch_dispatch.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/batch/line_outcome.h"
#include "coordinator/batch/line_run.h"
#include "coordinator/batch/line_window.h"
#include "coordinator/batch/loss_record.h"
#include "coordinator/batch/reading_gate.h"
#include "coordinator/workers.h"
#include "proto/clock.h"
#include "proto/log.h"

enum {
    RUNNING_MAX = 256,
    GROUPS_MAX = 256,
    PICKED_MAX = 64, /* lines that are leased together */
    AHEAD = 1,       /* lines that wait for the next free place */
    LOOK_MS = 100,
    REST_MS = 250,     /* after a line for which there was no room */
    TROUBLE_MS = 1000, /* after a store that did not answer */
};

struct batch_dispatch {
    struct store *store;
    struct errand_tools *errand;
    struct line_run_tools run_tools;
    pthread_t thread;
    struct line_window *window; /* the thread's alone */
    struct line_run *held;      /* the thread's: a suspect that waits until nothing runs */
    uint64_t lines_seen;        /* the thread's */
    int64_t looked_ns;          /* the thread's: when the groups were looked at */
    uint64_t groups_hash;       /* the thread's: which groups were ready then */
    atomic_int places;          /* of the ready groups, when they were looked at */

    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed, jobs_changed;
    struct reading_gate *gate;
    struct loss_record *losses;
    struct line_run *running[RUNNING_MAX];
    int running_count;
    struct line_run *jobs, **jobs_end; /* begun, and no thread has them yet */
    pthread_t runners[RUNNING_MAX];
    int runner_count, runners_idle;
    int64_t rest_ns; /* nothing begins before: a line had no room */
    bool news;       /* something ended, was read, or came */
    bool stopping;
};

/* ---- what runs ---- */

static bool is_known(void *context, int64_t batch, int64_t line)
{
    struct batch_dispatch *dispatch = context;
    bool known = false;
    pthread_mutex_lock(&dispatch->lock);
    for (int i = 0; i < dispatch->running_count && !known; i++)
        known = dispatch->running[i]->batch == batch && dispatch->running[i]->line == line;
    pthread_mutex_unlock(&dispatch->lock);
    return known;
}

static int weight_of(void *context, const char *name)
{
    const struct batch_dispatch *dispatch = context;
    struct access_tenant tenant;
    access_tenant(dispatch->errand->access, &tenant, name);
    return tenant.weight;
}

static int64_t count_awaited(void *context, const struct panel_chain *chain)
{
    struct batch_dispatch *dispatch = context;
    pthread_mutex_lock(&dispatch->lock);
    const int64_t panels = reading_gate_awaited(dispatch->gate, chain);
    pthread_mutex_unlock(&dispatch->lock);
    return panels;
}

/* Under the lock. */
static struct line_company company_of(const struct batch_dispatch *dispatch)
{
    struct line_company company = {.running = dispatch->running_count};
    for (int i = 0; i < dispatch->running_count; i++) {
        company.suspects += dispatch->running[i]->losses > 0;
        company.loner = company.loner || line_outcome_is_loner(dispatch->running[i]->losses);
    }
    return company;
}

/* One that is to run alone is held until nothing runs. */
static bool may_begin(void *context, const struct line_run *line)
{
    struct batch_dispatch *dispatch = context;
    pthread_mutex_lock(&dispatch->lock);
    const struct line_company company = company_of(dispatch);
    const bool rests = loss_record_rests(dispatch->losses, line->batch, line->line);
    pthread_mutex_unlock(&dispatch->lock);
    return !rests &&
           (line_outcome_is_loner(line->losses) || line_outcome_may_begin(line->losses, &company));
}

static void note_placed(void *context, struct line_run *line)
{
    struct batch_dispatch *dispatch = context;
    pthread_mutex_lock(&dispatch->lock);
    line->placed_ns = clock_now_ns();
    pthread_mutex_unlock(&dispatch->lock);
}

static void note_left(void *context, struct line_run *line)
{
    struct batch_dispatch *dispatch = context;
    pthread_mutex_lock(&dispatch->lock);
    line->placed_ns = 0;
    pthread_mutex_unlock(&dispatch->lock);
}

static uint64_t group_digest(const char *group_id)
{
    return store_line_digest(group_id, strnlen(group_id, STATUS_DETAILS_TEXT_BYTES - 1));
}

/* Whether a client's request was lost with the group, which might be the reason. */
static bool has_clients(const struct batch_dispatch *dispatch, const char *group_id)
{
    struct requests_view *requests = NULL;
    size_t count = 0;
    bool any = false;
    if (requests_list(dispatch->errand->active, &requests, &count, NULL) != STATUS_OK)
        return true;
    for (size_t i = 0; i < count; i++)
        any = any || group_digest(requests[i].group_id) == group_digest(group_id);
    free(requests);
    return any;
}

/* Lines that were lost together come here one after the other: the first sees the others. */
static bool note_lost(void *context, struct line_run *line, const char *group_id)
{
    struct batch_dispatch *dispatch = context;
    const bool clients = has_clients(dispatch, group_id);
    pthread_mutex_lock(&dispatch->lock);
    line->in_company = line->in_company || clients;
    for (int i = 0; line->placed_ns && i < dispatch->running_count; i++) {
        struct line_run *other = dispatch->running[i];
        if (other == line || !other->placed_ns)
            continue;
        other->in_company = true;
        line->in_company = true;
    }
    const struct loss_charge charge = {
        .batch = line->batch,
        .line = line->line,
        .group = group_digest(group_id),
        .seconds = clock_seconds_since(line->placed_ns),
        .losses = line->losses,
        .in_company = line->in_company,
    };
    const bool guilty = line->placed_ns && loss_record_charge(dispatch->losses, &charge);
    pthread_mutex_unlock(&dispatch->lock);
    return guilty;
}

static void note_over(void *context, struct line_run *line)
{
    struct batch_dispatch *dispatch = context;
    pthread_mutex_lock(&dispatch->lock);
    loss_record_forget(dispatch->losses, line->batch, line->line);
    pthread_mutex_unlock(&dispatch->lock);
}

static void note_read(void *context, struct line_run *line)
{
    struct batch_dispatch *dispatch = context;
    pthread_mutex_lock(&dispatch->lock);
    reading_gate_end(dispatch->gate, &line->reading, true);
    dispatch->news = true;
    pthread_cond_signal(&dispatch->changed);
    pthread_mutex_unlock(&dispatch->lock);
}

/* Under the lock. */
static void begin_reading(struct batch_dispatch *dispatch, struct line_run *line)
{
    reading_gate_begin(dispatch->gate, &line->reading, &line->request.chain);
    dispatch->running[dispatch->running_count++] = line;
}

/* Under the lock. */
static void end_line(struct batch_dispatch *dispatch, struct line_run *line)
{
    reading_gate_end(dispatch->gate, &line->reading, false);
    for (int i = 0; i < dispatch->running_count; i++)
        if (dispatch->running[i] == line)
            dispatch->running[i--] = dispatch->running[--dispatch->running_count];
    dispatch->news = true;
    pthread_cond_signal(&dispatch->changed);
}

/* ---- the threads that run lines ---- */

static struct line_run *next_job(struct batch_dispatch *dispatch)
{
    pthread_mutex_lock(&dispatch->lock);
    dispatch->runners_idle++;
    while (!dispatch->jobs && !dispatch->stopping)
        pthread_cond_wait(&dispatch->jobs_changed, &dispatch->lock);
    struct line_run *line = dispatch->jobs;
    if (line) {
        dispatch->jobs = line->next;
        if (!dispatch->jobs)
            dispatch->jobs_end = &dispatch->jobs;
        dispatch->runners_idle--;
    }
    pthread_mutex_unlock(&dispatch->lock);
    return line;
}

static void *run_lines(void *context)
{
    struct batch_dispatch *dispatch = context;
    for (struct line_run *line; (line = next_job(dispatch));) {
        bool untried = false;
        line_run_attempt(line, &dispatch->run_tools, &untried);
        pthread_mutex_lock(&dispatch->lock);
        if (untried)
            dispatch->rest_ns = clock_after_ms(REST_MS);
        end_line(dispatch, line);
        pthread_mutex_unlock(&dispatch->lock);
        line_run_free(line);
    }
    return NULL;
}

/* Under the lock. A line finds a thread at the latest when another one ends. */
static void hand_over(struct batch_dispatch *dispatch, struct line_run *line)
{
    int waiting = 1;
    for (const struct line_run *job = dispatch->jobs; job; job = job->next)
        waiting++;
    if (waiting > dispatch->runners_idle && dispatch->runner_count < RUNNING_MAX &&
        pthread_create(&dispatch->runners[dispatch->runner_count], NULL, run_lines, dispatch) == 0)
        dispatch->runner_count++;
    line->next = NULL;
    *dispatch->jobs_end = line;
    dispatch->jobs_end = &line->next;
    pthread_cond_signal(&dispatch->jobs_changed);
}

/* ---- how many may run ---- */

/* What groups hold changes with the groups. */
static void look_at_groups(struct batch_dispatch *dispatch)
{
    struct workers_group_view *groups = NULL;
    int count = 0, places = 0, ready = 0;
    uint64_t hash = 0, digests[GROUPS_MAX];
    if (clock_now_ns() < dispatch->looked_ns + LOOK_MS * INT64_C(1000000) ||
        workers_view(dispatch->errand->workers, &groups, &count) != STATUS_OK)
        return;
    for (int i = 0; i < count; i++) {
        if (groups[i].state != LONGHAUL__V1__GROUP_STATE__GROUP_STATE_READY &&
            groups[i].state != LONGHAUL__V1__GROUP_STATE__GROUP_STATE_RUNNING)
            continue;
        places += groups[i].places;
        hash ^= group_digest(groups[i].group_id);
        if (ready < GROUPS_MAX)
            digests[ready++] = group_digest(groups[i].group_id);
    }
    workers_view_free(groups, count);
    pthread_mutex_lock(&dispatch->lock);
    loss_record_look(dispatch->losses, digests, ready, clock_seconds_since(dispatch->looked_ns));
    pthread_mutex_unlock(&dispatch->lock);
    dispatch->looked_ns = clock_now_ns();
    atomic_store(&dispatch->places, places);
    if (hash == dispatch->groups_hash)
        return;
    dispatch->groups_hash = hash;
    line_window_refresh(dispatch->window);
    pthread_mutex_lock(&dispatch->lock);
    reading_gate_forget(dispatch->gate);
    pthread_mutex_unlock(&dispatch->lock);
}

static int lines_wanted(struct batch_dispatch *dispatch)
{
    const int places = atomic_load(&dispatch->places);
    if (places == 0 || atomic_load(&dispatch->errand->draining))
        return 0;
    const int most = places + AHEAD < RUNNING_MAX ? places + AHEAD : RUNNING_MAX;
    pthread_mutex_lock(&dispatch->lock);
    int wanted = clock_now_ns() >= dispatch->rest_ns ? most - dispatch->running_count : 0;
    if (company_of(dispatch).loner)
        wanted = 0;
    pthread_mutex_unlock(&dispatch->lock);
    return wanted < PICKED_MAX ? wanted : PICKED_MAX;
}

/* ---- picking ---- */

/* One that is to run alone waits until nothing runs; nothing is picked meanwhile. */
static enum status take_next(struct batch_dispatch *dispatch, struct line_run **line, int running)
{
    *line = NULL;
    if (!dispatch->held)
        TRY(line_window_take(dispatch->window, &dispatch->held));
    if (!dispatch->held || (line_outcome_is_loner(dispatch->held->losses) && running > 0))
        return STATUS_OK;
    *line = dispatch->held;
    dispatch->held = NULL;
    return STATUS_OK;
}

static enum status pick_lines(struct batch_dispatch *dispatch, struct line_run *picked[PICKED_MAX],
                              int *count)
{
    const int wanted = lines_wanted(dispatch);
    while (*count < wanted) {
        struct line_run *line = NULL;
        pthread_mutex_lock(&dispatch->lock);
        const int running = dispatch->running_count;
        pthread_mutex_unlock(&dispatch->lock);
        TRY(take_next(dispatch, &line, running));
        if (!line)
            break;
        pthread_mutex_lock(&dispatch->lock);
        begin_reading(dispatch, line);
        pthread_mutex_unlock(&dispatch->lock);
        picked[(*count)++] = line;
        if (line_outcome_is_loner(line->losses))
            break;
    }
    return STATUS_OK;
}

/* Leases a tenant's lines [count] in one change. */
static enum status lease_lines(struct batch_dispatch *dispatch, struct line_run *const *lines,
                               struct store_lease *leases, int count)
{
    for (int i = 0; i < count; i++)
        leases[i] = (struct store_lease){.batch = lines[i]->batch, .line = lines[i]->line};
    return store_line_lease(dispatch->store, lines[0]->tenant, leases, (size_t)count, 0);
}

static void begin_lines(struct batch_dispatch *dispatch, struct line_run *const *lines,
                        const struct store_lease *leases, int count)
{
    pthread_mutex_lock(&dispatch->lock);
    for (int i = 0; i < count; i++) {
        struct line_run *line = lines[i];
        line->attempt = leases[i].attempt;
        line->epoch = leases[i].epoch;
        if (leases[i].granted) {
            hand_over(dispatch, line);
        } else {
            end_line(dispatch, line);
            line_run_free(line);
        }
    }
    pthread_mutex_unlock(&dispatch->lock);
}

/* Begins what may begin. */
static enum status start_lines(struct batch_dispatch *dispatch)
{
    struct line_run *picked[PICKED_MAX];
    struct store_lease leases[PICKED_MAX];
    int count = 0;
    enum status status = pick_lines(dispatch, picked, &count);
    for (int first = 0, end; first < count; first = end) {
        end = first + 1;
        while (end < count && strcmp(picked[first]->tenant, picked[end]->tenant) == 0)
            end++;
        memset(leases, 0, sizeof leases);
        const enum status each = lease_lines(dispatch, picked + first, leases, end - first);
        if (each != STATUS_OK) { /* nothing of them was granted */
            memset(leases, 0, sizeof leases);
            line_window_refresh(dispatch->window);
            status = each;
        }
        begin_lines(dispatch, picked + first, leases, end - first);
    }
    return status;
}

/* ---- what is to be stopped ---- */

static void stop_lines(struct batch_dispatch *dispatch, int64_t batch, enum store_line_state why)
{
    for (int i = 0; i < dispatch->running_count; i++)
        if (dispatch->running[i]->batch == batch)
            atomic_store(&dispatch->running[i]->stopped, (int)why);
}

void batch_dispatch_stop_batch(struct batch_dispatch *dispatch, int64_t batch,
                               enum store_line_state why)
{
    pthread_mutex_lock(&dispatch->lock);
    stop_lines(dispatch, batch, why);
    pthread_mutex_unlock(&dispatch->lock);
    queue_wake(dispatch->errand->queue);
}

static enum status stop_cancelling(void *context, const struct store_any_batch *any)
{
    batch_dispatch_stop_batch(context, any->batch->number, STORE_LINE_CANCELLED);
    return STATUS_OK;
}

/* A cancel that came between a lease and its begin is seen here. */
static enum status look_for_stops(struct batch_dispatch *dispatch)
{
    pthread_mutex_lock(&dispatch->lock);
    const bool any = dispatch->running_count > 0;
    pthread_mutex_unlock(&dispatch->lock);
    return any ? store_batch_each(dispatch->store, STORE_BATCH_CANCELLING, 0, RUNNING_MAX,
                                  stop_cancelling, dispatch)
               : STATUS_OK;
}

/* ---- the thread that picks ---- */

/* Sleeps until something has happened here or in the store, at most `ms`. */
static void wait_for_news(struct batch_dispatch *dispatch, int64_t ms)
{
    const int64_t until_ns = clock_after_ms(ms);
    pthread_mutex_lock(&dispatch->lock);
    while (!dispatch->news && !dispatch->stopping &&
           clock_wait(&dispatch->changed, &dispatch->lock, until_ns))
        ;
    const bool news = dispatch->news;
    dispatch->news = false;
    pthread_mutex_unlock(&dispatch->lock);
    const uint64_t seen = dispatch->lines_seen;
    store_wait_lines(dispatch->store, &dispatch->lines_seen, 0);
    if (news || dispatch->lines_seen != seen)
        line_window_refresh(dispatch->window);
}

static bool is_stopping(struct batch_dispatch *dispatch)
{
    pthread_mutex_lock(&dispatch->lock);
    const bool stopping = dispatch->stopping;
    pthread_mutex_unlock(&dispatch->lock);
    return stopping;
}

static void *pick(void *context)
{
    struct batch_dispatch *dispatch = context;
    int64_t stops_ns = 0;
    while (!is_stopping(dispatch)) {
        look_at_groups(dispatch);
        enum status status = start_lines(dispatch);
        if (status == STATUS_OK && clock_now_ns() >= stops_ns) {
            status = look_for_stops(dispatch);
            stops_ns = clock_after_ms(LOOK_MS);
        }
        if (status != STATUS_OK)
            log_line(LOG_WARN, "lines wait", log_text("why", status_message()));
        wait_for_news(dispatch, status == STATUS_OK ? LOOK_MS : TROUBLE_MS);
    }
    return NULL;
}

/* ---- life ---- */

static enum status make_parts(struct batch_dispatch *dispatch)
{
    const struct line_window_settings window = {
        .store = dispatch->store,
        .forms = &dispatch->errand->forms,
        .known = is_known,
        .may_begin = may_begin,
        .weight = weight_of,
        .awaited = count_awaited,
        .context = dispatch,
    };
    TRY(reading_gate_create(&dispatch->gate));
    TRY(loss_record_create(&dispatch->losses));
    TRY(line_window_create(&dispatch->window, &window));
    return pthread_create(&dispatch->thread, NULL, pick, dispatch) == 0
               ? STATUS_OK
               : fail(STATUS_RESOURCE_EXHAUSTED, "no thread to run batches");
}

static void free_parts(struct batch_dispatch *dispatch)
{
    line_run_free(dispatch->held);
    line_window_destroy(dispatch->window);
    loss_record_destroy(dispatch->losses);
    reading_gate_destroy(dispatch->gate);
    pthread_cond_destroy(&dispatch->jobs_changed);
    pthread_cond_destroy(&dispatch->changed);
    pthread_mutex_destroy(&dispatch->lock);
    free(dispatch);
}

enum status batch_dispatch_create(struct batch_dispatch **dispatch, struct store *store,
                                  struct errand_tools *errand)
{
    struct batch_dispatch *made = calloc(1, sizeof *made);
    if (!made)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to run batches");
    made->store = store;
    made->errand = errand;
    made->run_tools = (struct line_run_tools){store,     errand,    note_placed, note_read,
                                              note_left, note_lost, note_over,   made};
    made->jobs_end = &made->jobs;
    line_run_offer();
    pthread_mutex_init(&made->lock, NULL);
    pthread_cond_init(&made->changed, NULL);
    pthread_cond_init(&made->jobs_changed, NULL);
    enum status status = make_parts(made);
    if (status != STATUS_OK) {
        free_parts(made);
        return status;
    }
    *dispatch = made;
    return STATUS_OK;
}

/* The runners end once nothing is left for them: what was leased is given back by its errand. */
void batch_dispatch_destroy(struct batch_dispatch *dispatch)
{
    if (!dispatch)
        return;
    pthread_mutex_lock(&dispatch->lock);
    dispatch->stopping = true;
    pthread_cond_broadcast(&dispatch->changed);
    pthread_mutex_unlock(&dispatch->lock);
    pthread_join(dispatch->thread, NULL);
    pthread_mutex_lock(&dispatch->lock);
    pthread_cond_broadcast(&dispatch->jobs_changed);
    pthread_mutex_unlock(&dispatch->lock);
    for (int i = 0; i < dispatch->runner_count; i++)
        pthread_join(dispatch->runners[i], NULL);
    free_parts(dispatch);
}

void batch_dispatch_wake(struct batch_dispatch *dispatch)
{
    if (atomic_load(&dispatch->places) == 0)
        return; /* nothing could begin: the thread looks for groups by itself */
    pthread_mutex_lock(&dispatch->lock);
    const bool told = dispatch->news;
    dispatch->news = true;
    pthread_mutex_unlock(&dispatch->lock);
    if (!told)
        pthread_cond_signal(&dispatch->changed);
}

bool batch_dispatch_is_idle(struct batch_dispatch *dispatch)
{
    pthread_mutex_lock(&dispatch->lock);
    const bool idle = dispatch->running_count == 0;
    pthread_mutex_unlock(&dispatch->lock);
    return idle;
}
