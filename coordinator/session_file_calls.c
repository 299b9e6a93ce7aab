/* Owns a saved session's header while it is told or restored. */
#include "coordinator/session_file_calls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/batch/resource_name.h"
#include "coordinator/quiet_client.h"
#include "coordinator/session_calls.h"
#include "longhaul/v1/sessions.pb-c.h"

/* A client that restores a session and sends nothing for so long while it is listened to is not
 * waited for. */
enum { SILENCE_MS = 30000, LOOK_MS = 100 };

/* ---- saving ---- */

static enum status tell_part(struct rpc_call *call, Longhaul__V1__SavedPart__PartCase part,
                             const Longhaul__V1__SavedPart *message)
{
    Longhaul__V1__SavedPart told = *message;
    told.part_case = part;
    return rpc_call_write(call, &told.base);
}

static enum status tell_header(void *context, const struct cache_header *header)
{
    Longhaul__V1__SavedPart part = LONGHAUL__V1__SAVED_PART__INIT;
    part.header.len = cache_header_bytes(header);
    if (part.header.len > CACHE_HEADER_BYTES_MAX)
        return fail(STATUS_OUT_OF_RANGE,
                    "the session's document and ids take %zu bytes; a file has at most %d of them",
                    part.header.len, CACHE_HEADER_BYTES_MAX);
    part.header.data = malloc(part.header.len);
    if (!part.header.data)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a header of %zu bytes",
                    part.header.len);
    enum status status = cache_header_write(header, part.header.data);
    if (status == STATUS_OK)
        status = tell_part(context, LONGHAUL__V1__SAVED_PART__PART_HEADER, &part);
    free(part.header.data);
    return status;
}

static enum status tell_block(void *context, const struct cache_stored *stored)
{
    Longhaul__V1__SavedPart part = LONGHAUL__V1__SAVED_PART__INIT;
    Longhaul__V1__SavedBlock block = LONGHAUL__V1__SAVED_BLOCK__INIT;
    block.number = stored->number;
    block.digest = stored->digest;
    block.stored.len = stored->count;
    block.stored.data = (uint8_t *)(size_t)stored->bytes; /* only read */
    part.block = &block;
    return tell_part(context, LONGHAUL__V1__SAVED_PART__PART_BLOCK, &part);
}

enum status session_file_calls_save(struct rpc_call *call, const ProtobufCMessage *message,
                                    void *context)
{
    const Longhaul__V1__SaveSessionRequest *request = (const void *)message;
    const struct errand_keys keys = {.context = call, .begin = tell_header, .put = tell_block};
    const struct errand_tools *tools = context;
    struct sessions_request asked = {.id = NULL};
    struct quiet_client quiet;
    TRY(session_calls_request(call, &asked, request->request_id, message));
    TRY(sessions_note(tools->sessions, rpc_call_details(call), &asked));
    quiet_client_init(&quiet, call);
    return errand_session_save(&quiet.client, context, request->name, &keys);
}

/* ---- restoring ---- */

/* What the client sends: messages live until the next one is read. */
struct upload {
    struct rpc_call *call;
    struct cache_header header;
    uint8_t *bytes; /* the header's; it has views of them */
    char *document, *id, *request_id;
    struct sessions_request asked;
    int64_t silent_ms; /* of the time in which it was listened to, since its last message */
};

static void upload_deinit(struct upload *upload)
{
    free(upload->bytes);
    free(upload->document);
    free(upload->id);
    free(upload->request_id);
}

/* The next message; NULL: the client has sent its last. */
static enum status hear(struct upload *upload, const Longhaul__V1__RestoreSessionRequest **message,
                        int64_t timeout_ms)
{
    const ProtobufCMessage *heard = NULL;
    const enum status status = rpc_call_read(upload->call, &heard, timeout_ms);
    if (status == STATUS_OK) {
        upload->silent_ms = 0;
        *message = (const void *)heard;
    }
    if (status == STATUS_DEADLINE_EXCEEDED)
        upload->silent_ms += timeout_ms;
    if (status == STATUS_DEADLINE_EXCEEDED && upload->silent_ms > SILENCE_MS)
        return fail(STATUS_CANCELLED, "the client has sent nothing for %d s", SILENCE_MS / 1000);
    return status;
}

static enum status read_header(struct upload *upload, const ProtobufCBinaryData *header)
{
    struct cursor cursor = {.bytes = header->len, .name = "the file"};
    uint64_t digest;
    upload->bytes = malloc(header->len + 1);
    if (!upload->bytes)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a header of %zu bytes", header->len);
    if (header->len > 0) /* memcpy takes no NULL */
        memcpy(upload->bytes, header->data, header->len);
    cursor.data = upload->bytes;
    TRY(cache_header_read(&upload->header, &digest, &cursor));
    if (cursor_left(&cursor) > 0)
        return cursor_fail(&cursor, cursor.offset, STATUS_DATA_LOSS, "header",
                           "%zu bytes behind the header", cursor_left(&cursor));
    if (upload->header.form == CACHE_FORM_NONE)
        return fail(STATUS_INVALID_ARGUMENT, "the file has tokens and no document: a question to "
                                             "it could not be read");
    upload->document = strndup(upload->header.document, upload->header.document_bytes);
    return upload->document ? STATUS_OK
                            : fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a document");
}

static enum status begin(struct upload *upload, struct errand_tools *tools,
                         struct sessions_use *use)
{
    struct status_details *details = rpc_call_details(upload->call);
    const Longhaul__V1__RestoreSessionRequest *first = NULL;
    enum status status = STATUS_DEADLINE_EXCEEDED;
    while (status == STATUS_DEADLINE_EXCEEDED)
        status = hear(upload, &first, LOOK_MS);
    TRY(status);
    if (!first || first->part_case != LONGHAUL__V1__RESTORE_SESSION_REQUEST__PART_SESSION)
        return fail(STATUS_INVALID_ARGUMENT, "the first message has no session");
    const Longhaul__V1__RestoredSession *session = first->session;
    details->field = "session.session_id";
    TRY(resource_name_check_chosen(session->session_id));
    TRY(session_calls_expiry(details, "session.expires_after_seconds",
                             session->expires_after_seconds));
    details->field = "session.header";
    TRY(read_header(upload, &session->header));
    details->field = NULL;
    upload->id = strdup(session->session_id);
    upload->request_id = strdup(session->request_id);
    if (!upload->id || !upload->request_id)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a request");
    upload->asked.id = upload->id;
    TRY(session_calls_request(upload->call, &upload->asked, upload->request_id, &session->base));
    struct sessions_view wanted = {.raw = upload->header.form == CACHE_FORM_RAW,
                                   .expires_after_seconds = session->expires_after_seconds};
    method_print(&upload->header.method, wanted.method);
    return sessions_begin(tools->sessions, use, details, &upload->asked, &wanted, upload->document);
}

static enum status next_block(void *context, struct cache_stored *stored, bool *there, bool *ended,
                              int64_t timeout_ms)
{
    struct upload *upload = context;
    const Longhaul__V1__RestoreSessionRequest *message = NULL;
    const enum status status = hear(upload, &message, timeout_ms);
    *there = false;
    if (status == STATUS_DEADLINE_EXCEEDED)
        return STATUS_OK;
    TRY(status);
    *ended = !message;
    if (!message)
        return STATUS_OK;
    if (message->part_case != LONGHAUL__V1__RESTORE_SESSION_REQUEST__PART_BLOCK)
        return fail(STATUS_INVALID_ARGUMENT, "a message after the first one has no block");
    *there = true;
    *stored = (struct cache_stored){
        .bytes = message->block->stored.data,
        .count = message->block->stored.len,
        .number = message->block->number,
        .digest = message->block->digest,
        .name = "the file",
    };
    return STATUS_OK;
}

static enum status restore(struct upload *upload, struct errand_tools *tools, int64_t *number,
                           bool *repeated)
{
    const struct errand_keys keys = {.context = upload, .get = next_block};
    struct quiet_client quiet;
    struct sessions_use use;
    struct sessions_read read;
    quiet_client_init(&quiet, upload->call);
    TRY(begin(upload, tools, &use));
    *number = use.number;
    *repeated = use.repeated;
    const enum status status = *repeated ? session_calls_wait(&quiet.caller, tools, use.number)
                                         : errand_session_restore(&quiet.client, tools, &use, &read,
                                                                  &upload->header, &keys);
    sessions_end(tools->sessions, &use, status == STATUS_OK && !*repeated ? &read : NULL);
    return status;
}

enum status session_file_calls_restore(struct rpc_call *call, const ProtobufCMessage *message,
                                       void *context)
{
    struct upload upload = {.call = call};
    int64_t number = 0;
    bool repeated = false;
    (void)message;
    enum status status = restore(&upload, context, &number, &repeated);
    if (status == STATUS_OK)
        status = session_calls_tell_made(call, context, &upload.asked, number, repeated);
    upload_deinit(&upload);
    return status;
}
