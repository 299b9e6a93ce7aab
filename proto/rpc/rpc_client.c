/* Owns a channel and its calls. Promises that a call always ends: by its status, its timeout or its
 * close. */
#include "proto/rpc/rpc_client.h"

#include <stdlib.h>
#include <string.h>

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/time.h>

#include "proto/clock.h"
#include "proto/rpc/rpc_wire.h"

enum { REPLY_BYTES_MAX = 64 << 20, WRITE_DEADLINE_MS = 30000 };

struct rpc_client {
    struct rpc_queue *queue;
    grpc_channel *channel;
    char *authorization; /* NULL: none */
};

struct rpc_stream {
    struct rpc_wire wire;
    struct rpc_arena *arena;
    const ProtobufCMessageDescriptor *response;
    grpc_metadata_array initial, trailing;
    grpc_metadata sent;
    grpc_status_code code;
    grpc_slice sentence;
};

static grpc_arg integer_argument(const char *key, int value)
{
    return (grpc_arg){.type = GRPC_ARG_INTEGER, .key = (char *)key, .value.integer = value};
}

enum status rpc_client_create(struct rpc_client **client, const char *target)
{
    const struct rpc_client_args args = {.target = target};
    return rpc_client_create_as(client, &args);
}

static grpc_channel_credentials *credentials_for(const struct rpc_tls *tls)
{
    if (!tls)
        return grpc_insecure_credentials_create();
    grpc_ssl_pem_key_cert_pair pair = {tls->key, tls->certificate};
    return grpc_ssl_credentials_create_ex(tls->authority, tls->certificate ? &pair : NULL, NULL,
                                          NULL);
}

enum status rpc_client_create_as(struct rpc_client **client, const struct rpc_client_args *args)
{
    struct rpc_client *c = calloc(1, sizeof *c);
    if (!c)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a gRPC client");
    enum status status = STATUS_OK;
    if (args->authorization && !(c->authorization = strdup(args->authorization)))
        TRY_ELSE(fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a gRPC client"), free_client);
    TRY_ELSE(rpc_queue_create(&c->queue), free_client);
    grpc_arg list[] = {
        /* Calls are not idempotent; a proxy of the environment is not for the cluster's own
           addresses. */
        integer_argument(GRPC_ARG_ENABLE_RETRIES, 0),
        integer_argument(GRPC_ARG_ENABLE_HTTP_PROXY, 0),
        integer_argument(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, REPLY_BYTES_MAX),
        integer_argument(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200),
        integer_argument(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000),
    };
    grpc_channel_args arguments = {sizeof list / sizeof list[0], list};
    grpc_channel_credentials *credentials = credentials_for(args->tls);
    c->channel = grpc_channel_create(args->target, credentials, &arguments);
    grpc_channel_credentials_release(credentials);
    *client = c;
    return STATUS_OK;
free_client:
    free(c->authorization);
    free(c);
    return status;
}

void rpc_client_destroy(struct rpc_client *client)
{
    if (!client)
        return;
    grpc_channel_destroy(client->channel);
    rpc_queue_destroy(client->queue);
    if (client->authorization)
        explicit_bzero(client->authorization, strlen(client->authorization));
    free(client->authorization);
    free(client);
}

/* Metadata both ways, and the status as soon as there is one. */
static void begin(struct rpc_stream *stream, const struct rpc_stream_args *args)
{
    grpc_op end = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};
    end.data.recv_status_on_client.trailing_metadata = &stream->trailing;
    end.data.recv_status_on_client.status = &stream->code;
    end.data.recv_status_on_client.status_details = &stream->sentence;
    rpc_wire_begin(&stream->wire, RPC_WIRE_END, &end, 1);

    grpc_op start[2];
    memset(start, 0, sizeof start);
    start[0].op = GRPC_OP_SEND_INITIAL_METADATA;
    if (args->wait_for_ready)
        start[0].flags = GRPC_INITIAL_METADATA_WAIT_FOR_READY |
                         GRPC_INITIAL_METADATA_WAIT_FOR_READY_EXPLICITLY_SET;
    if (GRPC_SLICE_LENGTH(stream->sent.value) > 0) {
        start[0].data.send_initial_metadata.count = 1;
        start[0].data.send_initial_metadata.metadata = &stream->sent;
    }
    start[1].op = GRPC_OP_RECV_INITIAL_METADATA;
    start[1].data.recv_initial_metadata.recv_initial_metadata = &stream->initial;
    rpc_wire_begin(&stream->wire, RPC_WIRE_START, start, 2);
}

enum status rpc_stream_open(struct rpc_stream **stream, struct rpc_client *client,
                            const struct rpc_stream_args *args)
{
    struct rpc_stream *s = calloc(1, sizeof *s);
    if (!s)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a call");
    enum status status = rpc_arena_create(&s->arena);
    if (status != STATUS_OK) {
        free(s);
        return status;
    }
    s->response = args->response;
    gpr_timespec deadline = gpr_inf_future(GPR_CLOCK_MONOTONIC);
    if (args->timeout_ms)
        deadline = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                                gpr_time_from_millis(args->timeout_ms, GPR_TIMESPAN));
    grpc_slice path = grpc_slice_from_copied_string(args->path);
    grpc_call *call =
        grpc_channel_create_call(client->channel, NULL, GRPC_PROPAGATE_DEFAULTS,
                                 rpc_queue_raw(client->queue), path, NULL, deadline, NULL);
    grpc_slice_unref(path);
    grpc_metadata_array_init(&s->initial);
    grpc_metadata_array_init(&s->trailing);
    s->sentence = grpc_empty_slice();
    s->sent.key = grpc_slice_from_static_string(RPC_AUTHORIZATION);
    const char *said = args->authorization ? args->authorization : client->authorization;
    s->sent.value = grpc_slice_from_copied_string(said ? said : "");
    rpc_wire_init(&s->wire, call, false);
    begin(s, args);
    *stream = s;
    return STATUS_OK;
}

/* Of a call that is over its own status says why. */
static enum status written(struct rpc_stream *stream, enum status status)
{
    if (status != STATUS_CANCELLED)
        return status;
    TRY(rpc_stream_finish(stream));
    return fail(STATUS_CANCELLED, "the server has ended the call");
}

enum status rpc_stream_write(struct rpc_stream *stream, const ProtobufCMessage *message)
{
    return written(stream,
                   rpc_wire_write(&stream->wire, message, clock_after_ms(WRITE_DEADLINE_MS)));
}

enum status rpc_stream_post(struct rpc_stream *stream, const ProtobufCMessage *message)
{
    return written(stream, rpc_wire_post(&stream->wire, message));
}

void rpc_stream_half_close(struct rpc_stream *stream)
{
    grpc_op op = {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT};
    rpc_wire_begin(&stream->wire, RPC_WIRE_HALF_CLOSE, &op, 1);
}

enum status rpc_stream_read(struct rpc_stream *stream, const ProtobufCMessage **message,
                            int64_t timeout_ms)
{
    int64_t deadline_ns = timeout_ms ? clock_after_ms(timeout_ms) : CLOCK_NEVER_NS;
    return rpc_wire_read(&stream->wire, stream->arena, message, stream->response, REPLY_BYTES_MAX,
                         deadline_ns);
}

void rpc_stream_cancel(struct rpc_stream *stream)
{
    grpc_call_cancel(stream->wire.call, NULL);
}

enum status rpc_stream_finish(struct rpc_stream *stream)
{
    /* The call's own timeout, its server or rpc_stream_cancel ends this wait. */
    (void)rpc_wire_wait(&stream->wire, RPC_WIRE_END, CLOCK_NEVER_NS);
    if (stream->code == GRPC_STATUS_OK)
        return STATUS_OK;
    return fail((enum status)stream->code, "%.*s", (int)GRPC_SLICE_LENGTH(stream->sentence),
                (const char *)GRPC_SLICE_START_PTR(stream->sentence));
}

void rpc_stream_advice(struct rpc_stream *stream, struct status_advice *advice)
{
    *advice = (struct status_advice){0};
    if (!rpc_wire_ended(&stream->wire))
        return;
    for (size_t i = 0; i < stream->trailing.count; i++) {
        const grpc_metadata *entry = &stream->trailing.metadata[i];
        if (grpc_slice_str_cmp(entry->key, STATUS_DETAILS_KEY) == 0)
            status_details_read(advice, GRPC_SLICE_START_PTR(entry->value),
                                GRPC_SLICE_LENGTH(entry->value));
    }
}

void rpc_stream_close(struct rpc_stream *stream)
{
    if (!stream)
        return;
    rpc_wire_deinit(&stream->wire);
    grpc_metadata_array_destroy(&stream->initial);
    grpc_metadata_array_destroy(&stream->trailing);
    grpc_slice_unref(stream->sentence);
    grpc_slice_unref(stream->sent.value);
    rpc_arena_destroy(stream->arena);
    free(stream);
}

enum status rpc_stream_ask(struct rpc_stream **stream, struct rpc_client *client,
                           const struct rpc_stream_args *args, const ProtobufCMessage *request)
{
    struct rpc_stream *s = NULL;
    TRY(rpc_stream_open(&s, client, args));
    enum status status = rpc_stream_write(s, request);
    if (status != STATUS_OK) {
        rpc_stream_close(s);
        return status;
    }
    rpc_stream_half_close(s);
    *stream = s;
    return STATUS_OK;
}

enum status rpc_client_call(struct rpc_client *client, struct rpc_stream **stream,
                            const ProtobufCMessage **reply, const struct rpc_stream_args *args,
                            const ProtobufCMessage *request)
{
    struct rpc_stream *s = NULL;
    const ProtobufCMessage *message = NULL;
    TRY(rpc_stream_ask(&s, client, args, request));
    enum status status = STATUS_OK;
    TRY_ELSE(rpc_stream_read(s, &message, 0), close);
    TRY_ELSE(rpc_stream_finish(s), close);
    if (!message) {
        status = fail(STATUS_INTERNAL, "%s: the server sent no reply", args->path);
        goto close;
    }
    *stream = s;
    *reply = message;
    return STATUS_OK;
close:
    rpc_stream_close(s);
    return status;
}
