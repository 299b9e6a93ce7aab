/* Owns a page while it is told. Promises that a session that is answered as ready is read. */
#include "coordinator/session_calls.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <xxhash.h>

#include "coordinator/batch/batch_tools.h"
#include "coordinator/batch/resource_name.h"
#include "coordinator/quiet_client.h"
#include "coordinator/session_file_calls.h"
#include "longhaul/v1/sessions.pb-c.h"
#include "proto/clock.h"

enum { EXPIRES_LEAST = 10, EXPIRES_MOST = 604800, RETRY_MS = 1000 };

/* ---- telling ---- */

/* A session as its message. */
struct session_message {
    struct sessions_view view;
    Longhaul__V1__Session message;
    Longhaul__V1__Method method;
    char name[RESOURCE_NAME_BYTES];
};

/* Of its view; it points into itself. */
static void set_message(struct session_message *message)
{
    const struct sessions_view *view = &message->view;
    longhaul__v1__session__init(&message->message);
    longhaul__v1__method__init(&message->method);
    resource_name_write(message->name, sessions_collection, view->id);
    message->method.spelling = message->view.method;
    message->message.name = message->name;
    message->message.raw = view->raw;
    message->message.method = &message->method;
    message->message.expires_after_seconds = view->expires_after_seconds;
    message->message.state = view->state;
    message->message.tokens = view->tokens;
    message->message.held_bytes = view->held_bytes;
    message->message.group_id = message->view.group_id;
    message->message.questions = view->questions;
    message->message.created_us = view->created_us;
    message->message.used_us = view->used_us;
    message->message.expires_us = view->expires_us;
}

static enum status tell(struct rpc_call *call, const struct errand_tools *tools, const char *id)
{
    struct session_message message;
    TRY(sessions_get(tools->sessions, &message.view, rpc_call_details(call),
                     rpc_call_caller(call)->tenant, id));
    set_message(&message);
    return rpc_call_write(call, &message.message.base);
}

enum status session_calls_tell_made(struct rpc_call *call, const struct errand_tools *tools,
                                    const struct sessions_request *asked, int64_t number,
                                    bool repeated)
{
    struct sessions_view made;
    struct session_message message;
    if (asked->request_id[0] && sessions_answered(tools->sessions, &message.view, asked)) {
        set_message(&message);
        return rpc_call_write(call, &message.message.base);
    }
    if (repeated) {
        rpc_call_details(call)->retry_ms = RETRY_MS;
        return fail(STATUS_UNAVAILABLE, "the call that this one repeats has failed: send it again");
    }
    if (sessions_list(tools->sessions, &made, rpc_call_caller(call)->tenant, number + 1, 1) == 1 &&
        made.number == number)
        return tell(call, tools, made.id);
    return fail(STATUS_CANCELLED, "the session was deleted while its document was read");
}

enum status session_calls_expiry(struct status_details *details, const char *field, int64_t seconds)
{
    details->field = field;
    if (seconds != 0 && (seconds < EXPIRES_LEAST || seconds > EXPIRES_MOST))
        return fail(STATUS_INVALID_ARGUMENT,
                    "expires_after_seconds is %" PRId64 "; must be %d to %d", seconds,
                    EXPIRES_LEAST, EXPIRES_MOST);
    details->field = NULL;
    return STATUS_OK;
}

enum status session_calls_wait(const struct errand_client *caller, const struct errand_tools *tools,
                               int64_t number)
{
    enum { LOOK_MS = 50 };
    struct sessions_view view;
    while (sessions_list(tools->sessions, &view, caller->tenant, number + 1, 1) == 1 &&
           view.number == number &&
           view.state == LONGHAUL__V1__SESSION_STATE__SESSION_STATE_READING) {
        if (errand_client_left(caller))
            return fail(STATUS_CANCELLED, "the client left while the document was read");
        if (clock_now_ns() >= caller->deadline_ns)
            return fail(STATUS_DEADLINE_EXCEEDED, "the deadline passed while it was read");
        nanosleep(&(struct timespec){.tv_nsec = LOOK_MS * 1000000}, NULL);
    }
    return STATUS_OK;
}

/* Reads what `use` is about, and ends it. */
static enum status read_text(struct rpc_call *call, struct errand_tools *tools,
                             struct sessions_use *use)
{
    struct quiet_client quiet;
    struct sessions_read read;
    enum status status = STATUS_OK;
    quiet_client_init(&quiet, call);
    if (use->repeated)
        status = session_calls_wait(&quiet.caller, tools, use->number);
    else
        status = errand_session_read(&quiet.client, tools, use, &read);
    sessions_end(tools->sessions, use, status == STATUS_OK && !use->repeated ? &read : NULL);
    return status;
}

static enum status read_and_tell(struct rpc_call *call, struct errand_tools *tools,
                                 const struct sessions_request *asked, struct sessions_use *use)
{
    const int64_t number = use->number;
    const bool repeated = use->repeated;
    TRY(read_text(call, tools, use));
    return session_calls_tell_made(call, tools, asked, number, repeated);
}

/* ---- the calls ---- */

/* Of the message and of what it is: a name alone may be deleted or saved. */
static enum status digest_of(uint64_t *digest, const ProtobufCMessage *message)
{
    uint8_t *bytes = malloc(protobuf_c_message_get_packed_size(message) + 1);
    if (!bytes)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a request");
    const char *name = message->descriptor->name;
    *digest = XXH3_64bits_withSeed(bytes, protobuf_c_message_pack(message, bytes),
                                   XXH3_64bits(name, strlen(name)));
    free(bytes);
    return STATUS_OK;
}

enum status session_calls_request(struct rpc_call *call, struct sessions_request *request,
                                  const char *request_id, const ProtobufCMessage *message)
{
    rpc_call_details(call)->field = "request_id";
    if (strlen(request_id) >= SESSIONS_REQUEST_BYTES)
        return fail(STATUS_INVALID_ARGUMENT, "request_id is longer than %d bytes",
                    SESSIONS_REQUEST_BYTES - 1);
    rpc_call_details(call)->field = NULL;
    request->tenant = rpc_call_caller(call)->tenant;
    request->request_id = request_id;
    return digest_of(&request->digest, message);
}

/* The id in a request's field `name`. */
static enum status read_name(struct rpc_call *call, const char **id, const char *name)
{
    rpc_call_details(call)->field = "name";
    TRY(resource_name_id(id, name, sessions_collection));
    rpc_call_details(call)->field = NULL;
    return STATUS_OK;
}

static enum status read_wanted(struct rpc_call *call, const struct errand_tools *tools,
                               struct sessions_view *wanted,
                               const Longhaul__V1__CreateSessionRequest *request)
{
    struct status_details *details = rpc_call_details(call);
    const Longhaul__V1__Session *session = request->session;
    const int64_t seconds = session ? session->expires_after_seconds : 0;
    Longhaul__V1__PlanOptions options = LONGHAUL__V1__PLAN_OPTIONS__INIT;
    options.method = session ? session->method : NULL;
    details->field = "session_id";
    TRY(resource_name_check_chosen(request->session_id));
    TRY(session_calls_expiry(details, "session.expires_after_seconds", seconds));
    details->field = "document";
    if (!request->document[0])
        return fail(STATUS_INVALID_ARGUMENT, "the document is empty");
    details->field = NULL;
    *wanted =
        (struct sessions_view){.raw = session && session->raw, .expires_after_seconds = seconds};
    const enum status status = planner_method(tools->planner, wanted->method, details, &options);
    if (status != STATUS_OK)
        details->field = "session.method";
    return status;
}

static enum status create(struct rpc_call *call, const ProtobufCMessage *message, void *context)
{
    const Longhaul__V1__CreateSessionRequest *request = (const void *)message;
    struct errand_tools *tools = context;
    struct sessions_request asked = {.id = request->session_id};
    struct sessions_view wanted;
    struct sessions_use use;
    TRY(session_calls_request(call, &asked, request->request_id, message));
    TRY(read_wanted(call, tools, &wanted, request));
    TRY(sessions_begin(tools->sessions, &use, rpc_call_details(call), &asked, &wanted,
                       request->document));
    return read_and_tell(call, tools, &asked, &use);
}

static enum status append(struct rpc_call *call, const ProtobufCMessage *message, void *context)
{
    const Longhaul__V1__AppendToSessionRequest *request = (const void *)message;
    struct errand_tools *tools = context;
    struct sessions_request asked = {.id = NULL};
    struct sessions_use use;
    TRY(read_name(call, &asked.id, request->name));
    TRY(session_calls_request(call, &asked, request->request_id, message));
    TRY(sessions_append(tools->sessions, &use, rpc_call_details(call), &asked, request->text));
    return read_and_tell(call, tools, &asked, &use);
}

static enum status get(struct rpc_call *call, const ProtobufCMessage *message, void *context)
{
    const char *id = NULL;
    TRY(read_name(call, &id,
                  ((const Longhaul__V1__GetSessionRequest *)(const void *)message)->name));
    return tell(call, context, id);
}

static enum status delete (struct rpc_call *call, const ProtobufCMessage *message, void *context) {
    const Longhaul__V1__DeleteSessionRequest *request = (const void *)message;
    const struct errand_tools *tools = context;
    const Longhaul__V1__DeleteSessionResponse response =
        LONGHAUL__V1__DELETE_SESSION_RESPONSE__INIT;
    struct sessions_request asked = {.id = NULL};
    TRY(read_name(call, &asked.id, request->name));
    TRY(session_calls_request(call, &asked, request->request_id, message));
    TRY(sessions_delete(tools->sessions, rpc_call_details(call), &asked));
    return rpc_call_write(call, &response.base);
}

static enum status tell_page(struct rpc_call *call, struct session_message *messages, int count,
                             bool more)
{
    Longhaul__V1__ListSessionsResponse response = LONGHAUL__V1__LIST_SESSIONS_RESPONSE__INIT;
    char token[BATCH_TOOLS_TOKEN_BYTES];
    response.sessions = calloc((size_t)count + 1, sizeof *response.sessions);
    if (!response.sessions)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a page of sessions");
    for (int s = 0; s < count; s++) {
        set_message(&messages[s]);
        response.sessions[response.n_sessions++] = &messages[s].message;
    }
    if (more) {
        batch_tools_token(token, sessions_collection, messages[count - 1].view.number);
        response.next_page_token = token;
    }
    const enum status status = rpc_call_write(call, &response.base);
    free(response.sessions);
    return status;
}

static enum status list(struct rpc_call *call, const ProtobufCMessage *message, void *context)
{
    const Longhaul__V1__ListSessionsRequest *request = (const void *)message;
    const struct errand_tools *tools = context;
    int64_t before = 0, most = 0;
    TRY(batch_tools_page_size(rpc_call_details(call), &most, request->page_size));
    TRY(batch_tools_place(rpc_call_details(call), &before, sessions_collection,
                          request->page_token));
    struct sessions_view *views = calloc((size_t)most + 1, sizeof *views);
    struct session_message *messages = calloc((size_t)most, sizeof *messages);
    enum status status = STATUS_OK;
    if (!views || !messages)
        TRY_ELSE(fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a page of sessions"), free_page);
    const int found =
        sessions_list(tools->sessions, views, rpc_call_caller(call)->tenant, before, (int)most + 1);
    const int count = found > most ? (int)most : found;
    for (int s = 0; s < count; s++)
        messages[s].view = views[s];
    status = tell_page(call, messages, count, found > most);
free_page:
    free(views);
    free(messages);
    return status;
}

void session_calls_methods(struct errand_tools *tools,
                           struct rpc_method methods[SESSION_CALLS_METHODS])
{
    static const struct {
        const char *name;
        const ProtobufCMessageDescriptor *request;
        rpc_handler *handle;
        size_t bytes_max;
        bool reads; /* answered by a coordinator that drains, too */
    } rows[SESSION_CALLS_METHODS] = {
        {"CreateSession", &longhaul__v1__create_session_request__descriptor, create,
         RPC_MESSAGE_BYTES_MAX, false},
        {"AppendToSession", &longhaul__v1__append_to_session_request__descriptor, append,
         RPC_MESSAGE_BYTES_MAX, false},
        {"GetSession", &longhaul__v1__get_session_request__descriptor, get,
         RPC_SMALL_MESSAGE_BYTES_MAX, true},
        {"ListSessions", &longhaul__v1__list_sessions_request__descriptor, list,
         RPC_SMALL_MESSAGE_BYTES_MAX, true},
        {"DeleteSession", &longhaul__v1__delete_session_request__descriptor, delete,
         RPC_SMALL_MESSAGE_BYTES_MAX, true},
        {"SaveSession", &longhaul__v1__save_session_request__descriptor, session_file_calls_save,
         RPC_SMALL_MESSAGE_BYTES_MAX, false},
        {"RestoreSession", &longhaul__v1__restore_session_request__descriptor,
         session_file_calls_restore, RPC_MESSAGE_BYTES_MAX, false},
    };
    for (int i = 0; i < SESSION_CALLS_METHODS; i++)
        methods[i] = (struct rpc_method){
            .service = "longhaul.v1.Sessions",
            .name = rows[i].name,
            .request = rows[i].request,
            .client_streams = rows[i].handle == session_file_calls_restore,
            .request_bytes_max = rows[i].bytes_max,
            .handle = rows[i].handle,
            .context = tools,
            .scopes = ACCESS_INFERENCE,
            .while_draining = rows[i].reads,
        };
}
