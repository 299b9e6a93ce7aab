/* Owns nothing: which keys of sessions go to files, and come back. Promises that keys leave a group
 * only while nobody uses them, and that one of those who want them back fetches them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/sessions_parts.h"

struct spill_folder *sessions_spill(const struct sessions *sessions)
{
    return sessions->spill;
}

/* ---- out ---- */

enum sessions_found sessions_take_out(struct sessions *sessions, struct sessions_use *use,
                                      char tenant[ACCESS_TENANT_BYTES], uint64_t serial)
{
    struct session *oldest = NULL;
    bool moves = false;
    pthread_mutex_lock(&sessions->lock);
    for (struct session *session = sessions->first; session; session = session->next) {
        const struct sessions_version *version = session->version;
        if (!version || version->serial != serial || !version->run)
            continue;
        moves = moves || version->moves;
        if (!version->moves && version->holders == 1 && session->uses == 0 &&
            (!oldest || session->used_ns < oldest->used_ns))
            oldest = session;
    }
    if (oldest) {
        *use = (struct sessions_use){
            .version = oldest->version, .number = oldest->view.number, .raw = oldest->view.raw};
        memcpy(use->method, oldest->view.method, sizeof use->method);
        snprintf(tenant, ACCESS_TENANT_BYTES, "%s", oldest->tenant);
        use->version->holders++;
        use->version->moves = true;
    }
    pthread_mutex_unlock(&sessions->lock);
    return oldest ? SESSIONS_FOUND : moves ? SESSIONS_MOVES : SESSIONS_NONE;
}

bool sessions_put_back(struct sessions *sessions, struct sessions_use *use, int64_t file, bool out)
{
    enum { SESSION_AND_CALLER = 2 };
    struct sessions_version *version = use->version;
    struct sessions_version gone = {.run = 0};
    pthread_mutex_lock(&sessions->lock);
    version->moves = false;
    if (file)
        version->file = file;
    /* Another's file may have taken the place of this one already. */
    if (out && version->holders <= SESSION_AND_CALLER &&
        spill_folder_need(sessions->spill, version->file, true)) {
        gone = *version;
        version->run = version->serial = 0;
        version->held_bytes = 0;
        version->group_id[0] = 0;
    }
    pthread_mutex_unlock(&sessions->lock);
    if (gone.run)
        workers_let_go(sessions->workers, gone.serial, gone.run, gone.held_bytes);
    sessions_release(sessions, version);
    use->version = NULL;
    return gone.run != 0;
}

/* ---- back ---- */

enum sessions_found sessions_fetch(struct sessions *sessions, struct sessions_version *version,
                                   bool *lost)
{
    enum sessions_found found = SESSIONS_NONE;
    pthread_mutex_lock(&sessions->lock);
    const bool here = sessions_has_keys(sessions, version);
    *lost = !here && !sessions_has_file(sessions, version);
    if (!here && version->moves)
        found = SESSIONS_MOVES;
    else if (!here && !*lost)
        found = SESSIONS_FOUND;
    if (found == SESSIONS_FOUND)
        version->moves = true;
    pthread_mutex_unlock(&sessions->lock);
    return found;
}

void sessions_fetched(struct sessions *sessions, struct sessions_version *version,
                      const struct sessions_read *read)
{
    pthread_mutex_lock(&sessions->lock);
    version->moves = false;
    if (read) {
        version->serial = read->serial;
        version->run = read->run;
        version->tokens = read->tokens;
        version->held_bytes = read->held_bytes;
        memcpy(version->group_id, read->group_id, sizeof version->group_id);
        spill_folder_need(sessions->spill, version->file, false);
    }
    pthread_mutex_unlock(&sessions->lock);
}

/* Under the lock. */
static struct session *find_file(const struct sessions *sessions, const char *tenant, int64_t file)
{
    struct session *session = sessions->first;
    while (session && (!session->version || session->version->file != file ||
                       strcmp(session->tenant, tenant) != 0))
        session = session->next;
    return session;
}

static int32_t *copy_ids(const int32_t *ids, int64_t count)
{
    const size_t bytes = (size_t)count * sizeof *ids;
    int32_t *copy = malloc(bytes);
    if (copy)
        memcpy(copy, ids, bytes);
    return copy;
}

/* Under the lock: takes over the version; NULL where there is no memory. */
static struct session *make_beginning(struct sessions *sessions, const char *tenant,
                                      const char *method, const struct sessions_version *made)
{
    struct sessions_view view = {.raw = true,
                                 .state = LONGHAUL__V1__SESSION_STATE__SESSION_STATE_READY};
    struct sessions_version *version = malloc(sizeof *version);
    if (!version)
        return NULL;
    *version = *made;
    version->holders = 1;
    snprintf(view.method, sizeof view.method, "%s", method);
    struct session *session = sessions_add(sessions, tenant, &view);
    if (session)
        session->version = version;
    else
        free(version);
    return session;
}

/* Under the lock. */
static void begin_use(struct sessions_use *use, struct session *session)
{
    session->uses++;
    session->version->holders++;
    sessions_touch(session);
    *use = (struct sessions_use){
        .version = session->version, .number = session->view.number, .raw = session->view.raw};
    memcpy(use->method, session->view.method, sizeof use->method);
}

enum status sessions_adopt(struct sessions *sessions, struct sessions_use *use, const char *tenant,
                           const char *method, const int32_t *ids, int64_t file, int64_t tokens)
{
    const struct sessions_version made = {
        .file = file, .file_stays = true, .tokens = tokens, .ids = copy_ids(ids, tokens)};
    pthread_mutex_lock(&sessions->lock);
    struct session *const there = find_file(sessions, tenant, file), *session = there;
    if (!session && made.ids)
        session = make_beginning(sessions, tenant, method, &made);
    if (session)
        begin_use(use, session);
    pthread_mutex_unlock(&sessions->lock);
    if (there || !session)
        free(made.ids);
    return session ? STATUS_OK
                   : fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a prompt's beginning");
}

/* Under the lock. */
static bool is_beginning(const struct sessions *sessions, const struct session *session,
                         const int32_t *ids, int64_t count)
{
    const struct sessions_version *version = session->version;
    return version && version->ids && version->tokens <= count &&
           memcmp(version->ids, ids, (size_t)version->tokens * sizeof *ids) == 0 &&
           (sessions_has_keys(sessions, version) || sessions_has_file(sessions, version));
}

/* Under the lock; NULL: there is none. */
static struct session *find_longest(const struct sessions *sessions, const char *tenant,
                                    const char *method, const int32_t *ids, int64_t count)
{
    struct session *longest = NULL;
    for (struct session *session = sessions->first; session; session = session->next)
        if (strcmp(session->tenant, tenant) == 0 && strcmp(session->view.method, method) == 0 &&
            is_beginning(sessions, session, ids, count) &&
            (!longest || session->version->tokens > longest->version->tokens))
            longest = session;
    return longest;
}

int64_t sessions_begin_as(struct sessions *sessions, struct sessions_use *use, const char *tenant,
                          const char *method, const int32_t *ids, int64_t count)
{
    pthread_mutex_lock(&sessions->lock);
    struct session *longest = find_longest(sessions, tenant, method, ids, count);
    const int64_t tokens = longest ? longest->version->tokens : 0;
    if (longest)
        begin_use(use, longest);
    pthread_mutex_unlock(&sessions->lock);
    return tokens;
}

enum status sessions_keep(struct sessions *sessions, struct sessions_use *use, const char *tenant,
                          const char *method, const int32_t *ids, const struct sessions_read *read)
{
    struct sessions_version made = {.serial = read->serial,
                                    .run = read->run,
                                    .tokens = read->tokens,
                                    .held_bytes = read->held_bytes,
                                    .file_stays = true,
                                    .ids = copy_ids(ids, read->tokens)};
    memcpy(made.group_id, read->group_id, sizeof made.group_id);
    pthread_mutex_lock(&sessions->lock);
    struct session *session = find_longest(sessions, tenant, method, ids, read->tokens);
    const bool there = session && session->version->tokens == read->tokens;
    if (!there)
        session = made.ids ? make_beginning(sessions, tenant, method, &made) : NULL;
    if (session)
        begin_use(use, session);
    pthread_mutex_unlock(&sessions->lock);
    if (session && !there)
        return STATUS_OK;
    free(made.ids);
    workers_let_go(sessions->workers, read->serial, read->run, read->held_bytes);
    return there ? STATUS_OK
                 : fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a prompt's beginning");
}

/* Under the lock. */
static bool may_take_over(const struct sessions *sessions, const struct session *session,
                          int64_t tokens)
{
    enum { SESSION_AND_CALLER = 2 };
    const struct sessions_version *version = session ? session->version : NULL;
    return version && !session->view.id[0] && version->tokens == tokens &&
           version->holders == SESSION_AND_CALLER && sessions_has_keys(sessions, version);
}

bool sessions_take_over(struct sessions *sessions, struct sessions_use *adopted,
                        struct sessions_use *reading, struct sessions_read *read, int64_t tokens)
{
    struct sessions_version *unread = NULL, *version = adopted->version;
    if (!version)
        return false;
    pthread_mutex_lock(&sessions->lock);
    struct session *session = sessions->first;
    while (session && session->view.number != adopted->number)
        session = session->next;
    const bool taken = may_take_over(sessions, session, tokens);
    if (taken) {
        unread = reading->version;
        sessions_drop(sessions, session);
        version->holders--;
        version->text = unread->text;
        free(version->ids);
        version->ids = NULL;
        version->file_stays = false;
        unread->text = NULL;
        reading->version = version;
        adopted->version = NULL;
        *read = (struct sessions_read){.serial = version->serial,
                                       .run = version->run,
                                       .tokens = version->tokens,
                                       .held_bytes = version->held_bytes};
        memcpy(read->group_id, version->group_id, sizeof read->group_id);
    }
    pthread_mutex_unlock(&sessions->lock);
    sessions_release(sessions, unread);
    return taken;
}
