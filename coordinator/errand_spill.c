/* Owns the errands within an errand: keys of others go to files of --spill where it needs their
 * room, and keys that its prompt begins with come back. Promises that each of them ends when the
 * errand does that needs it, and that a file that cannot be taken back is not tried again. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "coordinator/errand_parts.h"
#include "coordinator/quiet_client.h"
#include "proto/cache_file/cache_reader.h"
#include "proto/cache_file/cache_writer.h"
#include "proto/clock.h"
#include "proto/log.h"

/* A shorter beginning is read again as fast as it is found. */
enum { LOOK_MS = 50, KEEP_LEAST = 256 };

/* ---- the client of an errand within another ---- */

struct inner_client {
    struct errand_client client;
    const struct errand *outer;
    struct status_details details;
};

static bool has_left(void *context)
{
    const struct inner_client *inner = context;
    return atomic_load(&inner->outer->entry.cancelled) || errand_client_left(inner->outer->client);
}

static void end_nothing(void *context)
{
    (void)context;
}

static void note_nothing(void *context, struct log_field field)
{
    (void)context;
    (void)field;
}

static void init_client(struct inner_client *inner, const struct errand *outer)
{
    static const struct errand_client_row row = {
        .post = quiet_client_post,
        .has_room = quiet_client_has_room,
        .stalled_ms = quiet_client_stalled_ms,
        .left = has_left,
        .end = end_nothing,
        .note = note_nothing,
    };
    *inner = (struct inner_client){.client = *outer->client, .outer = outer};
    inner->client.row = &row;
    inner->client.context = inner;
    inner->client.details = &inner->details;
    inner->client.deadline_ns = outer->deadline_ns;
    inner->client.prompt_ids = NULL;
    inner->client.traceparent = NULL;
}

/* Lines that are logged are the outer one's again. */
static void end_inner(struct errand *errand, const struct errand *outer, enum status status)
{
    errand_deinit(errand, status);
    log_request(outer->request_id);
}

static void ask_by(struct errand *errand, const char *method)
{
    longhaul__v1__plan_options__init(&errand->session_options);
    longhaul__v1__method__init(&errand->session_method);
    errand->session_method.spelling = (char *)(size_t)method; /* only read */
    errand->session_options.method = &errand->session_method;
    errand->options = &errand->session_options;
}

/* ---- out ---- */

/* The file that a session's keys go to. */
struct spilling {
    struct spill_folder *folder;
    const char *tenant;
    struct spill_place place;
    struct cache_writer writer;
    bool opened;
};

static enum status begin_file(void *context, const struct cache_header *header)
{
    struct spilling *spilling = context;
    TRY(spill_folder_begin(spilling->folder, &spilling->place, spilling->tenant, header));
    const enum status status = cache_writer_open(&spilling->writer, spilling->place.path, header);
    spilling->opened = status == STATUS_OK;
    return status;
}

static enum status put_block(void *context, const struct cache_stored *block)
{
    return cache_writer_add(&((struct spilling *)context)->writer, block);
}

/* The file is there, or nothing of it. */
static enum status finish_file(struct spilling *spilling, enum status status)
{
    if (spilling->opened && status == STATUS_OK)
        status = cache_writer_close(&spilling->writer);
    else if (spilling->opened)
        cache_writer_discard(&spilling->writer);
    if (spilling->place.bytes == 0)
        return status;
    const enum status told =
        spill_folder_written(spilling->folder, &spilling->place, status == STATUS_OK);
    return status == STATUS_OK ? told : status;
}

static enum status add_ids(struct errand *errand, const int32_t *ids, int64_t count)
{
    for (int64_t t = 0; t < count; t++)
        TRY(id_list_add(&errand->ids, ids[t]));
    return STATUS_OK;
}

/* The version's own. */
static enum status list_ids(struct errand *errand, const struct sessions_use *use)
{
    const struct sessions_version *version = use->version;
    if (version->ids)
        return add_ids(errand, version->ids, version->tokens);
    if (!version->text)
        return fail(STATUS_INTERNAL, "nothing is known of what the keys are of");
    return prompt_encode_beginning(&errand->tools->forms, &errand->ids, version->text, use->raw);
}

/* It is the owner's request, not that of whoever needs the room: no tenant learns of another's. */
static enum status save(struct errand *outer, const struct sessions_use *use,
                        struct spilling *spilling)
{
    const struct errand_keys keys = {.context = spilling, .begin = begin_file, .put = put_block};
    struct inner_client inner;
    struct errand errand;
    init_client(&inner, outer);
    inner.client.tenant = spilling->tenant;
    TRY(errand_init(&errand, &inner.client, outer->tools, "", false));
    enum status status = STATUS_OK;
    errand.course.counts = 0;
    errand.saves = errand.fetched = true; /* a file has none of it: nobody else moves it */
    errand.is_inner = true;               /* nor behind the one that waits for it */
    errand.version = use->version;
    errand.session.raw = use->raw;
    ask_by(&errand, use->method);
    TRY_ELSE(answer_request_none(&errand.asked, &inner.details.field), deinit);
    TRY_ELSE(list_ids(&errand, use), deinit);
    TRY_ELSE(errand_begin_run(&errand), deinit);
    status = finish_file(spilling, errand_save_keys(&errand, &keys));
deinit:
    end_inner(&errand, outer, status);
    return status;
}

/* Nobody waits for the request that the file is for while it is written. */
static enum status save_aside(struct errand *errand, const struct sessions_use *use,
                              struct spilling *spilling)
{
    struct queue *queue = errand->tools->queue;
    queue_step_aside(queue, &errand->ticket, true);
    const enum status status = save(errand, use, spilling);
    queue_step_aside(queue, &errand->ticket, false);
    return status;
}

/* Whether the group is lost: the errand that needs room looks for it elsewhere. */
static bool is_loss(enum status status)
{
    return status == STATUS_UNAVAILABLE || status == STATUS_FAILED_PRECONDITION;
}

/* Whether the errand that needs room ends with what befell the file's. */
static bool ends_both(enum status status)
{
    return status == STATUS_CANCELLED || status == STATUS_DEADLINE_EXCEEDED;
}

enum status errand_spill_one(struct errand *errand, enum sessions_found *found)
{
    struct sessions *sessions = errand->tools->sessions;
    char tenant[ACCESS_TENANT_BYTES];
    struct sessions_use use;
    *found = SESSIONS_NONE;
    if (!sessions_spill(sessions))
        return STATUS_OK;
    *found = sessions_take_out(sessions, &use, tenant, errand->facts.serial);
    if (*found != SESSIONS_FOUND)
        return STATUS_OK;
    struct spilling spilling = {.folder = sessions_spill(sessions), .tenant = tenant};
    enum status status = STATUS_OK;
    if (!spill_folder_has(spilling.folder, use.version->file))
        status = save_aside(errand, &use, &spilling);
    const int64_t tokens = use.version->tokens;
    if (sessions_put_back(sessions, &use, spilling.place.number, status == STATUS_OK))
        log_line(LOG_INFO, "session spilled", log_integer("tokens", tokens),
                 log_text("group", errand->facts.group_id));
    if (status == STATUS_OK)
        return STATUS_OK;
    if (ends_both(status))
        return status;
    log_line(LOG_WARN, "session not spilled", log_text("cause", status_message()));
    if (!is_loss(status))
        *found = SESSIONS_NONE;
    return STATUS_OK;
}

/* ---- back ---- */

/* A file's blocks, in the sequence of their numbers. */
struct filed {
    struct cache_reader reader;
    int64_t next;
};

static enum status next_block(void *context, struct cache_stored *block, bool *there, bool *ended,
                              int64_t timeout_ms)
{
    struct filed *filed = context;
    (void)timeout_ms;
    *ended = filed->next >= filed->reader.blocks;
    *there = !*ended;
    if (*there)
        *block = cache_reader_stored(&filed->reader, filed->next++);
    return STATUS_OK;
}

static enum status restore_file(struct errand *outer, struct filed *filed,
                                struct sessions_read *read)
{
    const struct errand_keys keys = {.context = filed, .get = next_block};
    const struct cache_header *header = &filed->reader.header;
    char method[METHOD_TEXT_BYTES];
    struct inner_client inner;
    struct errand errand;
    init_client(&inner, outer);
    TRY(errand_init(&errand, &inner.client, outer->tools, "", false));
    enum status status = STATUS_OK;
    errand.course.counts = 0;
    errand.restores = header;
    errand.stays = true;
    method_print(&header->method, method);
    ask_by(&errand, method);
    TRY_ELSE(answer_request_none(&errand.asked, &inner.details.field), deinit);
    TRY_ELSE(add_ids(&errand, header->ids, header->tokens), deinit);
    TRY_ELSE(errand_begin_run(&errand), deinit);
    TRY_ELSE(errand_take_keys(&errand, &keys), deinit);
    status = errand_session_finish(&errand, read);
deinit:
    end_inner(&errand, outer, status);
    if (status != STATUS_OK)
        *outer->client->details = inner.details;
    return status;
}

/* A file that is no use to anybody goes; what else went wrong, a group's that keeps other keys
 * included, may go right another time. */
static bool is_of_no_use(enum status status)
{
    return status == STATUS_DATA_LOSS || status == STATUS_NOT_FOUND;
}

static enum status fetch_file(struct errand *errand, struct sessions_version *version)
{
    struct sessions *sessions = errand->tools->sessions;
    struct spill_folder *folder = sessions_spill(sessions);
    struct filed filed = {.next = 0};
    struct sessions_read read;
    char path[PATH_MAX] = "";
    enum status status = spill_folder_path(folder, path, version->file)
                             ? cache_reader_open(&filed.reader, path)
                             : fail(STATUS_NOT_FOUND, "the file of its keys is gone");
    if (status == STATUS_OK) {
        status = restore_file(errand, &filed, &read);
        cache_reader_close(&filed.reader);
    }
    if (status == STATUS_OK) {
        spill_folder_taken(folder);
        log_line(LOG_INFO, "session taken back", log_integer("tokens", read.tokens),
                 log_text("group", read.group_id));
    } else if (is_of_no_use(status)) {
        spill_folder_remove(folder, version->file, status_message());
    }
    sessions_fetched(sessions, version, status == STATUS_OK ? &read : NULL);
    return status;
}

static enum status fetch(struct errand *errand, struct sessions_version *version, bool *lost)
{
    struct sessions *sessions = errand->tools->sessions;
    for (;;) {
        const enum sessions_found found = sessions_fetch(sessions, version, lost);
        if (found == SESSIONS_NONE)
            return STATUS_OK;
        if (found == SESSIONS_FOUND) {
            const enum status status = fetch_file(errand, version);
            if (status != STATUS_OK && !is_of_no_use(status))
                return status;
        } else {
            TRY(errand_check_early(errand, "queue"));
            nanosleep(&(struct timespec){.tv_nsec = LOOK_MS * 1000000}, NULL);
        }
    }
}

static void forget_version(struct errand *errand)
{
    sessions_leave(errand->tools->sessions, &errand->session);
    errand->version = NULL;
}

/* What an errand goes on from that a client has named. */
static enum status fetch_named(struct errand *errand)
{
    bool lost = false;
    TRY(fetch(errand, errand->version, &lost));
    if (!lost)
        return STATUS_OK;
    if (errand->stays) { /* all of it is read */
        errand->version = NULL;
        return STATUS_OK;
    }
    errand->client->details->reason = "SESSION_LOST";
    return fail(STATUS_FAILED_PRECONDITION,
                "the session's worker group is lost: append an empty text, and it is read again");
}

/* ---- beginnings of prompts ---- */

static enum status read_beginning(struct errand *outer, struct sessions_read *read,
                                  const char *method, int64_t tokens)
{
    struct inner_client inner;
    struct errand errand;
    init_client(&inner, outer);
    TRY(errand_init(&errand, &inner.client, outer->tools, "", false));
    enum status status = STATUS_OK;
    errand.course.counts = ERRAND_COURSE_TOKENS;
    errand.stays = errand.fetched = true;
    ask_by(&errand, method);
    TRY_ELSE(answer_request_none(&errand.asked, &inner.details.field), deinit);
    TRY_ELSE(add_ids(&errand, outer->ids.ids, tokens), deinit);
    TRY_ELSE(errand_begin_run(&errand), deinit);
    status = errand_session_finish(&errand, read);
deinit:
    end_inner(&errand, outer, status);
    return status;
}

/* What comes a second time, by what groups are known to have read, is worth a file, and so stays
 * read: all of it that others have, of whole panels, most of which lie in the pool already. */
static enum status keep_beginning(struct errand *errand, const char *method)
{
    struct errand_tools *tools = errand->tools;
    const char *tenant = errand->client->tenant;
    char root[METHOD_TEXT_BYTES + ACCESS_TENANT_BYTES];
    struct panel_chain chain;
    struct sessions_read read;
    snprintf(root, sizeof root, "%s|%s", method, tenant);
    TRY(panel_chain_init(&chain, root, errand->ids.ids, errand->ids.count));
    const int64_t tokens = workers_shared(tools->workers, &chain) * PANEL_CHAIN_TOKENS;
    panel_chain_deinit(&chain);
    if (errand->stays || tokens < KEEP_LEAST)
        return STATUS_OK;
    TRY(read_beginning(errand, &read, method, tokens));
    return sessions_keep(tools->sessions, &errand->session, tenant, method, errand->ids.ids, &read);
}

/* The longest beginning of the prompt that is there. */
static enum status find_beginning(struct errand *errand, const char *method)
{
    struct sessions *sessions = errand->tools->sessions;
    const struct id_list *ids = &errand->ids;
    const char *tenant = errand->client->tenant;
    int64_t filed = 0;
    const int64_t file = spill_folder_find(sessions_spill(sessions), &filed, tenant, method,
                                           ids->ids, (int64_t)ids->count);
    const int64_t kept = sessions_begin_as(sessions, &errand->session, tenant, method, ids->ids,
                                           (int64_t)ids->count);
    if (kept >= filed)
        return kept > 0 ? STATUS_OK : keep_beginning(errand, method);
    sessions_leave(sessions, &errand->session);
    return sessions_adopt(sessions, &errand->session, tenant, method, ids->ids, file, filed);
}

/* A prompt that begins as something does that was read goes on from it; where that does not work,
 * it is read like any other. */
static enum status fetch_beginning(struct errand *errand)
{
    char method[METHOD_TEXT_BYTES];
    bool lost = false;
    if (errand->stream.is_score || errand->asked.no_prefix_reuse || errand->saves)
        return STATUS_OK;
    bool shares = false;
    TRY(planner_shares_keys(errand->tools->planner, &shares, errand->client->details,
                            errand->options));
    if (!shares)
        return STATUS_OK;
    TRY(planner_method(errand->tools->planner, method, errand->client->details, errand->options));
    enum status status = find_beginning(errand, method);
    errand->version = errand->session.version;
    if (status == STATUS_OK && errand->version)
        status = fetch(errand, errand->version, &lost);
    if (status != STATUS_OK && !ends_both(status))
        log_line(LOG_INFO, "prompt read anew", log_text("cause", status_message()));
    if (status != STATUS_OK || lost)
        forget_version(errand);
    return ends_both(status) ? status : STATUS_OK;
}

enum status errand_spill_fetch(struct errand *errand)
{
    if (!sessions_spill(errand->tools->sessions) || errand->restores || errand->fetched)
        return STATUS_OK;
    errand->fetched = true;
    return errand->version ? fetch_named(errand) : fetch_beginning(errand);
}
