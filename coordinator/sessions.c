/* Owns the sessions. Promises that a group keeps a run as long as somebody may go on from it, and
 * that nothing of one tenant's is another's. */
#include "coordinator/sessions_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "coordinator/batch/resource_name.h"
#include "proto/clock.h"

enum { USUAL_SECONDS = 3600 };

const char sessions_collection[] = "sessions";

enum status sessions_create(struct sessions **sessions, struct workers *workers,
                            struct access *access, struct spill_folder *spill)
{
    struct sessions *made = calloc(1, sizeof *made);
    if (!made)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for sessions");
    pthread_mutex_init(&made->lock, NULL);
    made->workers = workers;
    made->access = access;
    made->spill = spill;
    *sessions = made;
    return STATUS_OK;
}

/* ---- versions ---- */

static struct sessions_version *make_version(const char *before, const char *text)
{
    struct sessions_version *version = calloc(1, sizeof *version);
    if (version && asprintf(&version->text, "%s%s", before, text) < 0)
        version->text = NULL;
    if (version && !version->text) {
        free(version);
        return NULL;
    }
    if (version)
        version->holders = 1;
    return version;
}

static void set_read(struct sessions_version *version, const struct sessions_read *read)
{
    version->serial = read->serial;
    version->run = read->run;
    version->tokens = read->tokens;
    version->held_bytes = read->held_bytes;
    snprintf(version->group_id, sizeof version->group_id, "%s", read->group_id);
}

void sessions_release(struct sessions *sessions, struct sessions_version *version)
{
    if (!version)
        return;
    pthread_mutex_lock(&sessions->lock);
    const bool last = --version->holders == 0;
    pthread_mutex_unlock(&sessions->lock);
    if (!last)
        return;
    if (version->run)
        workers_let_go(sessions->workers, version->serial, version->run, version->held_bytes);
    if (version->file && version->file_stays)
        spill_folder_need(sessions->spill, version->file, false);
    else if (version->file)
        spill_folder_remove(sessions->spill, version->file, NULL);
    free(version->text);
    free(version->ids);
    free(version);
}

/* ---- finding ---- */

/* Under the lock, as what follows. */
static struct session *find_id(const struct sessions *sessions, const char *tenant, const char *id)
{
    struct session *session = sessions->first;
    while (session && (strcmp(session->tenant, tenant) != 0 || strcmp(session->view.id, id) != 0))
        session = session->next;
    return session;
}

static struct session *find_number(const struct sessions *sessions, int64_t number)
{
    struct session *session = sessions->first;
    while (session && session->view.number != number)
        session = session->next;
    return session;
}

static enum status not_found(struct status_details *details, const char *id)
{
    details->reason = "NO_SUCH_RESOURCE";
    return fail(STATUS_NOT_FOUND, "%s/%s: there is no such session", sessions_collection, id);
}

void sessions_touch(struct session *session)
{
    struct timespec now;
    const int64_t seconds = session->view.expires_after_seconds;
    clock_gettime(CLOCK_REALTIME, &now);
    session->view.used_us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
    session->view.expires_us = session->view.used_us + seconds * 1000000;
    session->used_ns = clock_now_ns();
    session->expires_ns = clock_after_ms(seconds * 1000);
}

bool sessions_has_keys(const struct sessions *sessions, const struct sessions_version *version)
{
    return version->run && workers_has(sessions->workers, version->serial);
}

bool sessions_has_file(const struct sessions *sessions, const struct sessions_version *version)
{
    return version->file && sessions->spill && spill_folder_has(sessions->spill, version->file);
}

static struct sessions_view view_of(const struct sessions *sessions, const struct session *session)
{
    struct sessions_view view = session->view;
    const struct sessions_version *version = session->version;
    if (version) {
        view.held_bytes = version->held_bytes;
        snprintf(view.group_id, sizeof view.group_id, "%s", version->group_id);
        if (view.state == LONGHAUL__V1__SESSION_STATE__SESSION_STATE_READY &&
            !sessions_has_keys(sessions, version))
            view.state = sessions_has_file(sessions, version)
                             ? LONGHAUL__V1__SESSION_STATE__SESSION_STATE_SPILLED
                             : LONGHAUL__V1__SESSION_STATE__SESSION_STATE_LOST;
    }
    return view;
}

struct sessions_version *sessions_drop(struct sessions *sessions, struct session *session)
{
    struct sessions_version *version = session->version;
    struct session **link = &sessions->first;
    while (*link != session)
        link = &(*link)->next;
    *link = session->next;
    free(session);
    return version;
}

/* ---- reading ---- */

static void make_id(char id[SESSIONS_ID_BYTES])
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz234567";
    enum { LETTERS = 26 };
    unsigned char bytes[LETTERS];
    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
        memset(bytes, 0, sizeof bytes); /* small numbers of bytes always come */
    for (int l = 0; l < LETTERS; l++)
        id[l] = letters[bytes[l] % (l == 0 ? 26 : 32)];
    id[LETTERS] = 0;
}

/* Under the lock: whether the request came before. */
static enum status check_repeated(struct sessions *sessions, struct sessions_use *use,
                                  struct status_details *details,
                                  const struct sessions_request *request)
{
    struct sessions_answer *answer;
    details->field = "request_id";
    TRY(sessions_requests_find(&sessions->requests, &answer, request));
    details->field = NULL;
    use->repeated = answer != NULL;
    if (answer)
        use->number = answer->number;
    return STATUS_OK;
}

static void fill_use(struct sessions_use *use, struct session *session)
{
    session->uses++;
    use->number = session->view.number;
    use->raw = session->view.raw;
    memcpy(use->method, session->view.method, sizeof use->method);
}

struct session *sessions_add(struct sessions *sessions, const char *tenant,
                             const struct sessions_view *view)
{
    struct session *session = calloc(1, sizeof *session);
    if (!session)
        return NULL;
    session->view = *view;
    session->view.number = ++sessions->newest;
    if (view->expires_after_seconds == 0)
        session->view.expires_after_seconds = USUAL_SECONDS;
    snprintf(session->tenant, sizeof session->tenant, "%s", tenant);
    sessions_touch(session);
    session->view.created_us = session->view.used_us;
    session->next = sessions->first;
    sessions->first = session;
    return session;
}

/* Under the lock: those that clients made. */
static int count_named(const struct sessions *sessions)
{
    int count = 0;
    for (const struct session *session = sessions->first; session; session = session->next)
        count += session->view.id[0] != 0;
    return count;
}

/* Under the lock. */
static enum status add(struct sessions *sessions, struct sessions_use *use,
                       struct status_details *details, const struct sessions_request *request,
                       const struct sessions_view *wanted)
{
    TRY(check_repeated(sessions, use, details, request));
    if (use->repeated)
        return STATUS_OK;
    details->field = "session_id";
    if (request->id[0] && find_id(sessions, request->tenant, request->id))
        return fail(STATUS_ALREADY_EXISTS, "%s/%s is there already", sessions_collection,
                    request->id);
    details->field = NULL;
    if (count_named(sessions) >= SESSIONS_MOST) {
        details->reason = "QUOTA_EXCEEDED";
        return fail(STATUS_RESOURCE_EXHAUSTED, "%d sessions are there, the most that may be",
                    SESSIONS_MOST);
    }
    struct session *session = sessions_add(sessions, request->tenant, wanted);
    if (!session)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a session");
    session->view.state = LONGHAUL__V1__SESSION_STATE__SESSION_STATE_READING;
    if (request->id[0])
        snprintf(session->view.id, sizeof session->view.id, "%s", request->id);
    else
        make_id(session->view.id);
    const enum status status =
        sessions_requests_add(&sessions->requests, &use->request, request, session->view.number);
    if (status == STATUS_OK)
        fill_use(use, session);
    else
        sessions_drop(sessions, session);
    return status;
}

enum status sessions_begin(struct sessions *sessions, struct sessions_use *use,
                           struct status_details *details, const struct sessions_request *request,
                           const struct sessions_view *wanted, const char *document)
{
    *use = (struct sessions_use){.version = make_version("", document)};
    if (!use->version)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a document of %zu bytes",
                    strlen(document));
    sessions_expire(sessions);
    pthread_mutex_lock(&sessions->lock);
    const enum status status = add(sessions, use, details, request, wanted);
    pthread_mutex_unlock(&sessions->lock);
    if (status != STATUS_OK) {
        sessions_release(sessions, use->version);
        use->version = NULL;
    }
    return status;
}

/* Under the lock. */
static enum status grow(struct sessions *sessions, struct sessions_use *use,
                        struct status_details *details, const struct sessions_request *request,
                        const char *text)
{
    TRY(check_repeated(sessions, use, details, request));
    if (use->repeated)
        return STATUS_OK;
    struct session *session = find_id(sessions, request->tenant, request->id);
    if (!session)
        return not_found(details, request->id);
    if (session->view.state == LONGHAUL__V1__SESSION_STATE__SESSION_STATE_READING) {
        details->reason = "WRONG_STATE";
        return fail(STATUS_FAILED_PRECONDITION, "%s/%s is being read: wait until it is ready",
                    sessions_collection, request->id);
    }
    use->version = make_version(session->version->text, text);
    if (!use->version)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a longer document");
    TRY(sessions_requests_add(&sessions->requests, &use->request, request, session->view.number));
    if (sessions_has_keys(sessions, session->version) ||
        sessions_has_file(sessions, session->version)) {
        use->before = session->version;
        use->before->holders++;
    }
    session->view.state = LONGHAUL__V1__SESSION_STATE__SESSION_STATE_READING;
    fill_use(use, session);
    return STATUS_OK;
}

enum status sessions_append(struct sessions *sessions, struct sessions_use *use,
                            struct status_details *details, const struct sessions_request *request,
                            const char *text)
{
    *use = (struct sessions_use){0};
    sessions_expire(sessions);
    pthread_mutex_lock(&sessions->lock);
    const enum status status = grow(sessions, use, details, request, text);
    pthread_mutex_unlock(&sessions->lock);
    if (status != STATUS_OK) {
        sessions_release(sessions, use->version);
        use->version = NULL;
    }
    return status;
}

enum status sessions_claim(struct sessions *sessions, const struct sessions_use *use,
                           struct status_details *details, int64_t tokens)
{
    struct access_tenant tenant = {.weight = 1};
    int64_t others = 0;
    pthread_mutex_lock(&sessions->lock);
    struct session *session = find_number(sessions, use->number);
    if (session) {
        for (const struct session *other = sessions->first; other; other = other->next)
            if (other != session && strcmp(other->tenant, session->tenant) == 0)
                others += other->claimed_tokens;
        access_tenant(sessions->access, &tenant, session->tenant);
    }
    const int64_t most = tenant.quotas.session_tokens;
    const bool fits = most == 0 || tokens <= most - others;
    if (session && fits)
        session->claimed_tokens = tokens;
    pthread_mutex_unlock(&sessions->lock);
    if (fits)
        return STATUS_OK;
    details->reason = "QUOTA_EXCEEDED";
    return fail(STATUS_RESOURCE_EXHAUSTED,
                "the document has %lld tokens, and the tenant's other sessions %lld of the %lld "
                "that it may keep: delete some",
                (long long)tokens, (long long)others, (long long)most);
}

/* Under the lock. Gives back what is to be released. */
static struct sessions_version *settle(struct sessions *sessions, struct session *session,
                                       struct sessions_use *use, bool read)
{
    struct sessions_version *old = NULL;
    session->uses--;
    if (read) {
        old = session->version;
        session->version = use->version;
        session->view.tokens = session->version->tokens;
        use->version = NULL;
    } else if (!session->version) {
        return sessions_drop(sessions, session);
    } else {
        session->claimed_tokens = session->view.tokens;
    }
    session->view.state = LONGHAUL__V1__SESSION_STATE__SESSION_STATE_READY;
    sessions_touch(session);
    return old;
}

/* Under the lock. */
static void end_request(struct sessions *sessions, const struct sessions_use *use, bool read)
{
    struct sessions_view view;
    const struct session *session = read ? find_number(sessions, use->number) : NULL;
    if (session)
        view = view_of(sessions, session);
    sessions_requests_end(&sessions->requests, use->request, session ? &view : NULL);
}

void sessions_end(struct sessions *sessions, struct sessions_use *use,
                  const struct sessions_read *read)
{
    struct sessions_version *old = NULL;
    if (read)
        set_read(use->version, read);
    pthread_mutex_lock(&sessions->lock);
    struct session *session = find_number(sessions, use->number); /* or it was deleted meanwhile */
    if (session && !use->repeated)
        old = settle(sessions, session, use, read != NULL);
    if (use->request)
        end_request(sessions, use, read != NULL);
    pthread_mutex_unlock(&sessions->lock);
    sessions_release(sessions, old);
    sessions_release(sessions, use->before);
    sessions_release(sessions, use->version);
    *use = (struct sessions_use){0};
}

/* ---- asking ---- */

/* Under the lock. */
static enum status use_it(struct sessions *sessions, struct sessions_use *use,
                          struct status_details *details, const char *tenant, const char *id)
{
    struct session *session = find_id(sessions, tenant, id);
    if (!session)
        return not_found(details, id);
    if (!session->version) {
        details->reason = "WRONG_STATE";
        return fail(STATUS_FAILED_PRECONDITION, "%s/%s is being read: wait until it is ready",
                    sessions_collection, id);
    }
    if (!sessions_has_keys(sessions, session->version) &&
        !sessions_has_file(sessions, session->version)) {
        details->reason = "SESSION_LOST";
        return fail(STATUS_FAILED_PRECONDITION,
                    "the worker group of %s/%s is lost: append an empty text, and it is read again",
                    sessions_collection, id);
    }
    session->view.questions++;
    sessions->questions++;
    sessions_touch(session);
    fill_use(use, session);
    use->version = session->version;
    use->version->holders++;
    return STATUS_OK;
}

enum status sessions_ask(struct sessions *sessions, struct sessions_use *use,
                         struct status_details *details, const char *tenant, const char *name)
{
    const char *id = NULL;
    *use = (struct sessions_use){0};
    details->field = "session";
    TRY(resource_name_id(&id, name, sessions_collection));
    details->field = NULL;
    sessions_expire(sessions);
    pthread_mutex_lock(&sessions->lock);
    const enum status status = use_it(sessions, use, details, tenant, id);
    pthread_mutex_unlock(&sessions->lock);
    return status;
}

enum status sessions_hold(struct sessions *sessions, struct sessions_use *use,
                          const struct sessions_read *read)
{
    struct sessions_version *version = make_version("", "");
    *use = (struct sessions_use){.version = version, .raw = true};
    if (!version) {
        workers_let_go(sessions->workers, read->serial, read->run, read->held_bytes);
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for what was read");
    }
    set_read(version, read);
    return STATUS_OK;
}

void sessions_leave(struct sessions *sessions, struct sessions_use *use)
{
    if (!use->version)
        return;
    pthread_mutex_lock(&sessions->lock);
    struct session *session = find_number(sessions, use->number);
    if (session) {
        session->uses--;
        sessions_touch(session);
    }
    pthread_mutex_unlock(&sessions->lock);
    sessions_release(sessions, use->version);
    use->version = NULL;
}

/* ---- telling, forgetting ---- */

enum status sessions_get(struct sessions *sessions, struct sessions_view *view,
                         struct status_details *details, const char *tenant, const char *id)
{
    sessions_expire(sessions);
    pthread_mutex_lock(&sessions->lock);
    const struct session *session = find_id(sessions, tenant, id);
    if (session)
        *view = view_of(sessions, session);
    pthread_mutex_unlock(&sessions->lock);
    return session ? STATUS_OK : not_found(details, id);
}

int sessions_list(struct sessions *sessions, struct sessions_view *views, const char *tenant,
                  int64_t before, int most)
{
    int count = 0;
    sessions_expire(sessions);
    pthread_mutex_lock(&sessions->lock);
    for (const struct session *session = sessions->first; session && count < most;
         session = session->next)
        if (session->view.id[0] && strcmp(session->tenant, tenant) == 0 &&
            (before == 0 || session->view.number < before))
            views[count++] = view_of(sessions, session);
    pthread_mutex_unlock(&sessions->lock);
    return count;
}

void sessions_total(struct sessions *sessions, struct sessions_totals *totals, const char *tenant)
{
    sessions_expire(sessions);
    pthread_mutex_lock(&sessions->lock);
    *totals = (struct sessions_totals){.questions = sessions->questions};
    for (const struct session *session = sessions->first; session; session = session->next) {
        if (tenant && strcmp(session->tenant, tenant) != 0)
            continue;
        const struct sessions_view view = view_of(sessions, session);
        totals->held_bytes += view.held_bytes;
        if (!view.id[0]) {
            totals->beginnings++;
            continue;
        }
        totals->of_state[view.state]++;
        totals->tokens += view.tokens;
    }
    pthread_mutex_unlock(&sessions->lock);
}

bool sessions_answered(struct sessions *sessions, struct sessions_view *view,
                       const struct sessions_request *request)
{
    struct sessions_answer *answer;
    bool done = false;
    pthread_mutex_lock(&sessions->lock);
    if (sessions_requests_find(&sessions->requests, &answer, request) == STATUS_OK && answer) {
        done = answer->done;
        *view = answer->view;
    }
    pthread_mutex_unlock(&sessions->lock);
    return done;
}

/* Under the lock: the request is done with, and had this answer. */
static enum status keep_answer(struct sessions *sessions, const struct sessions_request *request,
                               const struct sessions_view *view)
{
    int64_t id;
    TRY(sessions_requests_add(&sessions->requests, &id, request, view->number));
    sessions_requests_end(&sessions->requests, id, view);
    return STATUS_OK;
}

enum status sessions_note(struct sessions *sessions, struct status_details *details,
                          const struct sessions_request *request)
{
    const struct sessions_view nothing = {.number = 0};
    struct sessions_use use = {.number = 0};
    pthread_mutex_lock(&sessions->lock);
    enum status status = check_repeated(sessions, &use, details, request);
    if (status == STATUS_OK && !use.repeated)
        status = keep_answer(sessions, request, &nothing);
    pthread_mutex_unlock(&sessions->lock);
    return status;
}

/* Under the lock. */
static enum status forget(struct sessions *sessions, struct sessions_version **version,
                          struct status_details *details, const struct sessions_request *request)
{
    struct sessions_use use = {.number = 0};
    TRY(check_repeated(sessions, &use, details, request));
    if (use.repeated)
        return STATUS_OK;
    struct session *session = find_id(sessions, request->tenant, request->id);
    if (!session)
        return not_found(details, request->id);
    TRY(keep_answer(sessions, request, &session->view));
    *version = sessions_drop(sessions, session);
    return STATUS_OK;
}

enum status sessions_delete(struct sessions *sessions, struct status_details *details,
                            const struct sessions_request *request)
{
    struct sessions_version *version = NULL;
    pthread_mutex_lock(&sessions->lock);
    const enum status status = forget(sessions, &version, details, request);
    pthread_mutex_unlock(&sessions->lock);
    sessions_release(sessions, version);
    return status;
}

/* Of a prompt's beginning that is nowhere any more nobody needs to be told. */
static bool is_over(const struct sessions *sessions, const struct session *session, int64_t now_ns)
{
    if (session->uses > 0)
        return false;
    return session->expires_ns <= now_ns ||
           (!session->view.id[0] && !sessions_has_keys(sessions, session->version) &&
            !sessions_has_file(sessions, session->version));
}

/* Under the lock: one that nobody uses and whose time has passed. */
static struct session *find_expired(const struct sessions *sessions)
{
    const int64_t now_ns = clock_now_ns();
    struct session *session = sessions->first;
    while (session && !is_over(sessions, session, now_ns))
        session = session->next;
    return session;
}

void sessions_expire(struct sessions *sessions)
{
    for (bool there = true; there;) {
        struct sessions_version *version = NULL;
        pthread_mutex_lock(&sessions->lock);
        struct session *session = find_expired(sessions);
        there = session != NULL;
        if (session)
            version = sessions_drop(sessions, session);
        pthread_mutex_unlock(&sessions->lock);
        sessions_release(sessions, version);
    }
}

void sessions_destroy(struct sessions *sessions)
{
    if (!sessions)
        return;
    while (sessions->first) {
        struct sessions_version *version = sessions_drop(sessions, sessions->first);
        if (version)
            version->file_stays = true; /* for the next coordinator */
        sessions_release(sessions, version);
    }
    sessions_requests_deinit(&sessions->requests);
    pthread_mutex_destroy(&sessions->lock);
    free(sessions);
}
