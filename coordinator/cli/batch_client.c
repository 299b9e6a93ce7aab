/* Owns one call at a time. Promises that nothing is sent twice with two effects. */
#include "coordinator/cli/batch_client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "coordinator/cli/event_stream.h"
#include "coordinator/cli/interrupt.h"
#include "proto/clock.h"

enum {
    ASK_MS = 60000,
    LOOK_MS = 200,
    AGAIN_MS = 500,
    PIECE_BYTES = 1 << 20,
    PATH_BYTES = 128,
    CURSOR_BYTES = 256,
};

enum status batch_client_make_id(char id[BATCH_CLIENT_ID_BYTES])
{
    uint32_t parts[4];
    if (getrandom(parts, sizeof parts, 0) != (ssize_t)sizeof parts)
        return fail(STATUS_IO, "draw a request id: %s", strerror(errno));
    snprintf(id, BATCH_CLIENT_ID_BYTES, "%08x-%08x-%08x-%08x", parts[0], parts[1], parts[2],
             parts[3]);
    return STATUS_OK;
}

static enum status check_interrupt(const struct batch_client *client)
{
    return interrupt_count() > client->interrupts ? fail(STATUS_CANCELLED, "interrupted")
                                                  : STATUS_OK;
}

/* Waits before asking again; false where that is no use, or for too long. */
static bool may_ask_again(const struct batch_client *client, enum status status,
                          const struct status_advice *advice, int64_t since_ns)
{
    const bool later = status == STATUS_UNAVAILABLE ||
                       (status == STATUS_RESOURCE_EXHAUSTED && advice->retry_ms > 0);
    if (!later || clock_now_ns() - since_ns > client->patience_ms * 1000000)
        return false;
    for (int64_t until_ns = clock_after_ms(AGAIN_MS); clock_now_ns() < until_ns;) {
        const struct timespec wait = {.tv_nsec = LOOK_MS * 1000000};
        if (interrupt_count() > client->interrupts)
            return false;
        nanosleep(&wait, NULL);
    }
    return true;
}

static struct rpc_stream_args call_of(char path[PATH_BYTES], const char *method,
                                      const ProtobufCMessageDescriptor *response,
                                      int64_t timeout_ms)
{
    snprintf(path, PATH_BYTES, "/longhaul.v1.%s%s", strchr(method, '/') ? "" : "Batches/", method);
    return (struct rpc_stream_args){.path = path, .response = response, .timeout_ms = timeout_ms};
}

/* ---- one request, one reply ---- */

/* The message that comes next, by looks; NULL: the stream is over. */
static enum status next_message(const struct batch_client *client, struct rpc_stream *stream,
                                const ProtobufCMessage **message, batch_client_take *take,
                                void *context)
{
    enum status status = rpc_stream_read(stream, message, LOOK_MS);
    while (status == STATUS_DEADLINE_EXCEEDED) {
        TRY(check_interrupt(client));
        if (take)
            TRY(take(context, NULL));
        status = rpc_stream_read(stream, message, LOOK_MS);
    }
    return status;
}

static enum status read_reply(const struct batch_client *client, struct rpc_stream *stream,
                              ProtobufCMessage **reply)
{
    const ProtobufCMessage *message = NULL;
    TRY(next_message(client, stream, &message, NULL, NULL));
    if (!message) {
        TRY(rpc_stream_finish(stream));
        return fail(STATUS_INTERNAL, "the coordinator's answer is empty");
    }
    return event_stream_keep(reply, message);
}

static enum status ask_once(const struct batch_client *client, ProtobufCMessage **reply,
                            struct status_advice *advice, const struct rpc_stream_args *call,
                            const ProtobufCMessage *request)
{
    struct rpc_stream *stream = NULL;
    TRY(rpc_stream_open(&stream, client->rpc, call));
    enum status status = rpc_stream_write(stream, request);
    rpc_stream_half_close(stream);
    if (status == STATUS_OK)
        status = read_reply(client, stream, reply);
    if (status != STATUS_OK && status != STATUS_CANCELLED)
        rpc_stream_advice(stream, advice);
    rpc_stream_close(stream);
    return status;
}

enum status batch_client_ask(const struct batch_client *client, ProtobufCMessage **reply,
                             const char *method, const ProtobufCMessageDescriptor *response,
                             const ProtobufCMessage *request)
{
    char path[PATH_BYTES];
    const int64_t begin_ns = clock_now_ns();
    struct status_advice advice = {.retry_ms = 0};
    const struct rpc_stream_args call = call_of(path, method, response, ASK_MS);
    TRY(event_stream_check_size(request));
    enum status status = ask_once(client, reply, &advice, &call, request);
    while (status != STATUS_OK && may_ask_again(client, status, &advice, begin_ns))
        status = ask_once(client, reply, &advice, &call, request);
    return status;
}

enum status batch_client_get(const struct batch_client *client, Longhaul__V1__Batch **batch,
                             const char *name)
{
    Longhaul__V1__GetBatchRequest request = LONGHAUL__V1__GET_BATCH_REQUEST__INIT;
    ProtobufCMessage *reply = NULL;
    request.name = (char *)name;
    TRY(batch_client_ask(client, &reply, "GetBatch", &longhaul__v1__batch__descriptor,
                         &request.base));
    *batch = (Longhaul__V1__Batch *)reply;
    return STATUS_OK;
}

enum status batch_client_cancel(const struct batch_client *client, Longhaul__V1__Batch **batch,
                                const char *name)
{
    Longhaul__V1__CancelBatchRequest request = LONGHAUL__V1__CANCEL_BATCH_REQUEST__INIT;
    ProtobufCMessage *reply = NULL;
    char id[BATCH_CLIENT_ID_BYTES];
    TRY(batch_client_make_id(id));
    request.name = (char *)name;
    request.request_id = id;
    TRY(batch_client_ask(client, &reply, "CancelBatch", &longhaul__v1__batch__descriptor,
                         &request.base));
    *batch = (Longhaul__V1__Batch *)reply;
    return STATUS_OK;
}

/* ---- lines ---- */

/* Writes pieces until the end, each as a message that `send` makes. */
struct sending {
    const struct batch_client *client;
    struct rpc_stream *stream;
    const char *name;
    const struct batch_client_lines *lines;
    int64_t offset;
    char *piece;
};

/* A write that fails has its reason in the call's end. */
static enum status write_message(struct rpc_stream *stream, const ProtobufCMessage *message)
{
    enum status status = rpc_stream_write(stream, message);
    if (status == STATUS_OK)
        return STATUS_OK;
    const enum status end = rpc_stream_finish(stream);
    return end != STATUS_OK ? end : status;
}

static enum status send_lines(struct sending *sending)
{
    for (bool last = false; !last;) {
        Longhaul__V1__UploadLinesRequest request = LONGHAUL__V1__UPLOAD_LINES_REQUEST__INIT;
        size_t bytes = 0;
        TRY(check_interrupt(sending->client));
        TRY(sending->lines->read(sending->lines->context, sending->offset, sending->piece,
                                 PIECE_BYTES, &bytes));
        last = bytes == 0;
        request.name = (char *)sending->name;
        request.offset = sending->offset;
        request.lines = (ProtobufCBinaryData){bytes, (uint8_t *)sending->piece};
        request.last = last;
        TRY(write_message(sending->stream, &request.base));
        sending->offset += (int64_t)bytes;
        if (sending->lines->tell)
            sending->lines->tell(sending->lines->context, sending->offset);
    }
    return STATUS_OK;
}

static enum status upload_once(const struct batch_client *client, struct sending *sending,
                               struct status_advice *advice)
{
    char path[PATH_BYTES];
    ProtobufCMessage *reply = NULL;
    const struct rpc_stream_args call =
        call_of(path, "UploadLines", &longhaul__v1__upload_lines_response__descriptor, 0);
    TRY(rpc_stream_open(&sending->stream, client->rpc, &call));
    enum status status = send_lines(sending);
    rpc_stream_half_close(sending->stream);
    if (status == STATUS_OK)
        status = read_reply(client, sending->stream, &reply);
    if (status != STATUS_OK && status != STATUS_CANCELLED)
        rpc_stream_advice(sending->stream, advice);
    protobuf_c_message_free_unpacked(reply, NULL);
    rpc_stream_close(sending->stream);
    return status;
}

/* How far the coordinator is; `*whole`: it has all. */
static enum status find_committed(const struct batch_client *client, struct sending *sending,
                                  bool *whole)
{
    Longhaul__V1__Batch *batch = NULL;
    TRY(batch_client_get(client, &batch, sending->name));
    sending->offset = batch->committed_bytes;
    *whole = batch->state != LONGHAUL__V1__BATCH_STATE__BATCH_STATE_UPLOADING;
    longhaul__v1__batch__free_unpacked(batch, NULL);
    return STATUS_OK;
}

static enum status upload(const struct batch_client *client, struct sending *sending)
{
    struct status_advice advice = {.retry_ms = 0};
    const int64_t begin_ns = clock_now_ns();
    bool whole = false;
    TRY(find_committed(client, sending, &whole));
    enum status status = whole ? STATUS_OK : upload_once(client, sending, &advice);
    while (status != STATUS_OK && may_ask_again(client, status, &advice, begin_ns)) {
        TRY(find_committed(client, sending, &whole));
        status = whole ? STATUS_OK : upload_once(client, sending, &advice);
    }
    return status;
}

enum status batch_client_upload(const struct batch_client *client, const char *name,
                                const struct batch_client_lines *lines)
{
    struct sending sending = {
        .client = client, .name = name, .lines = lines, .piece = malloc(PIECE_BYTES)};
    if (!sending.piece)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a piece of the lines");
    enum status status = upload(client, &sending);
    free(sending.piece);
    return status;
}

static enum status send_document(const struct batch_client *client, struct rpc_stream *stream,
                                 const Longhaul__V1__UploadDocumentRequest *first,
                                 const struct batch_client_lines *text, char *piece)
{
    Longhaul__V1__UploadDocumentRequest request = *first;
    int64_t offset = 0;
    size_t bytes = 0;
    do {
        TRY(check_interrupt(client));
        TRY(text->read(text->context, offset, piece, PIECE_BYTES, &bytes));
        request.text = (ProtobufCBinaryData){bytes, (uint8_t *)piece};
        TRY(write_message(stream, &request.base));
        offset += (int64_t)bytes;
    } while (bytes > 0);
    return STATUS_OK;
}

static enum status upload_document_once(const struct batch_client *client, ProtobufCMessage **reply,
                                        struct status_advice *advice,
                                        const Longhaul__V1__UploadDocumentRequest *first,
                                        const struct batch_client_lines *text, char *piece)
{
    char path[PATH_BYTES];
    struct rpc_stream *stream = NULL;
    const struct rpc_stream_args call =
        call_of(path, "Documents/UploadDocument", &longhaul__v1__stored_document__descriptor, 0);
    TRY(rpc_stream_open(&stream, client->rpc, &call));
    enum status status = send_document(client, stream, first, text, piece);
    rpc_stream_half_close(stream);
    if (status == STATUS_OK)
        status = read_reply(client, stream, reply);
    if (status != STATUS_OK && status != STATUS_CANCELLED)
        rpc_stream_advice(stream, advice);
    rpc_stream_close(stream);
    return status;
}

enum status batch_client_upload_document(const struct batch_client *client,
                                         Longhaul__V1__StoredDocument **document,
                                         const Longhaul__V1__UploadDocumentRequest *first,
                                         const struct batch_client_lines *text)
{
    ProtobufCMessage *reply = NULL;
    struct status_advice advice = {.retry_ms = 0};
    const int64_t begin_ns = clock_now_ns();
    char *piece = malloc(PIECE_BYTES);
    if (!piece)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a piece of the document");
    enum status status = upload_document_once(client, &reply, &advice, first, text, piece);
    while (status != STATUS_OK && may_ask_again(client, status, &advice, begin_ns))
        status = upload_document_once(client, &reply, &advice, first, text, piece);
    free(piece);
    if (status == STATUS_OK)
        *document = (Longhaul__V1__StoredDocument *)reply;
    return status;
}

static enum status send_estimate(const struct batch_client *client, struct rpc_stream *stream,
                                 const char *name, const struct batch_client_lines *lines,
                                 char *piece)
{
    Longhaul__V1__EstimateBatchRequest request = LONGHAUL__V1__ESTIMATE_BATCH_REQUEST__INIT;
    int64_t offset = 0;
    size_t bytes = 0;
    request.name = (char *)name;
    if (!lines)
        return write_message(stream, &request.base);
    do {
        TRY(check_interrupt(client));
        TRY(lines->read(lines->context, offset, piece, PIECE_BYTES, &bytes));
        request.lines = (ProtobufCBinaryData){bytes, (uint8_t *)piece};
        TRY(write_message(stream, &request.base));
        offset += (int64_t)bytes;
    } while (bytes > 0);
    return STATUS_OK;
}

enum status batch_client_estimate(const struct batch_client *client,
                                  Longhaul__V1__BatchEstimate **estimate, const char *name,
                                  const struct batch_client_lines *lines)
{
    char path[PATH_BYTES];
    struct rpc_stream *stream = NULL;
    ProtobufCMessage *reply = NULL;
    const struct rpc_stream_args call =
        call_of(path, "EstimateBatch", &longhaul__v1__batch_estimate__descriptor, 0);
    char *piece = malloc(PIECE_BYTES);
    if (!piece)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a piece of the lines");
    enum status status = rpc_stream_open(&stream, client->rpc, &call);
    if (status == STATUS_OK)
        status = send_estimate(client, stream, name, lines, piece);
    if (stream)
        rpc_stream_half_close(stream);
    if (status == STATUS_OK)
        status = read_reply(client, stream, &reply);
    if (status == STATUS_OK)
        *estimate = (Longhaul__V1__BatchEstimate *)reply;
    rpc_stream_close(stream);
    free(piece);
    return status;
}

/* ---- streams ---- */

/* A stream that may have to be opened again. */
struct following {
    const struct batch_client *client;
    const struct rpc_stream_args *call;
    ProtobufCMessage *request;
    batch_client_take *take;
    void *context;
    char *cursor; /* [CURSOR_BYTES], of results; NULL: the stream begins anew */
    int64_t heard_ns;
};

static void note_cursor(struct following *following, const ProtobufCMessage *message)
{
    const Longhaul__V1__StreamResultsResponse *part = (const void *)message;
    following->heard_ns = clock_now_ns();
    if (following->cursor && part->n_results > 0)
        snprintf(following->cursor, CURSOR_BYTES, "%s", part->results[part->n_results - 1]->cursor);
}

static enum status read_stream(struct following *following, struct rpc_stream *stream)
{
    const ProtobufCMessage *message = NULL;
    do {
        TRY(check_interrupt(following->client));
        TRY(next_message(following->client, stream, &message, following->take, following->context));
        if (!message)
            break;
        TRY(following->take(following->context, message));
        note_cursor(following, message);
    } while (message);
    return rpc_stream_finish(stream);
}

static enum status follow_once(struct following *following, struct status_advice *advice)
{
    struct rpc_stream *stream = NULL;
    TRY(rpc_stream_open(&stream, following->client->rpc, following->call));
    enum status status = rpc_stream_write(stream, following->request);
    rpc_stream_half_close(stream);
    if (status == STATUS_OK)
        status = read_stream(following, stream);
    if (status != STATUS_OK && status != STATUS_CANCELLED)
        rpc_stream_advice(stream, advice);
    rpc_stream_close(stream);
    return status;
}

static enum status follow(struct following *following)
{
    struct status_advice advice = {.retry_ms = 0};
    following->heard_ns = clock_now_ns();
    enum status status = follow_once(following, &advice);
    while (status != STATUS_OK &&
           may_ask_again(following->client, status, &advice, following->heard_ns))
        status = follow_once(following, &advice);
    return status;
}

enum status batch_client_results(const struct batch_client *client, const char *name,
                                 batch_client_take *take, void *context)
{
    char path[PATH_BYTES], cursor[CURSOR_BYTES] = "";
    Longhaul__V1__StreamResultsRequest request = LONGHAUL__V1__STREAM_RESULTS_REQUEST__INIT;
    const struct rpc_stream_args call =
        call_of(path, "StreamResults", &longhaul__v1__stream_results_response__descriptor, 0);
    request.name = (char *)name;
    request.cursor = cursor;
    struct following following = {client, &call, &request.base, take, context, cursor, 0};
    return follow(&following);
}

enum status batch_client_watch(const struct batch_client *client, const char *name,
                               batch_client_take *take, void *context)
{
    char path[PATH_BYTES];
    Longhaul__V1__WatchBatchRequest request = LONGHAUL__V1__WATCH_BATCH_REQUEST__INIT;
    const struct rpc_stream_args call =
        call_of(path, "WatchBatch", &longhaul__v1__batch__descriptor, 0);
    request.name = (char *)name;
    struct following following = {client, &call, &request.base, take, context, NULL, 0};
    return follow(&following);
}
