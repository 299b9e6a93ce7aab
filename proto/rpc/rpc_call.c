/* Owns nothing. What a handler does with its call. */
#include "proto/rpc/rpc_call.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/clock.h"

enum status rpc_call_read(struct rpc_call *call, const ProtobufCMessage **message,
                          int64_t timeout_ms)
{
    return rpc_wire_read(&call->wire, call->arena, message, call->method->request,
                         call->method->request_bytes_max, clock_after_ms(timeout_ms));
}

enum status rpc_call_write(struct rpc_call *call, const ProtobufCMessage *message)
{
    return rpc_wire_write(&call->wire, message, clock_after_ms(RPC_WRITE_DEADLINE_MS));
}

void rpc_call_defer(struct rpc_call *call)
{
    assert(!call->deferred);
    call->deferred = true;
    atomic_store(&call->words, 2);
}

void rpc_call_release(struct rpc_call *call)
{
    if (atomic_fetch_sub(&call->words, 1) > 1)
        return;
    enum status status = call->end_status;
    if (status != STATUS_OK)
        status = fail(status, "%s", call->end_sentence ? call->end_sentence : "out of memory");
    free(call->end_sentence);
    call->end_sentence = NULL;
    call->leave(call, status);
}

void rpc_call_end(struct rpc_call *call, enum status status)
{
    assert(call->deferred);
    call->end_status = status;
    if (status != STATUS_OK)
        call->end_sentence = strdup(status_message());
    rpc_call_release(call);
}

enum status rpc_call_answer(struct rpc_call *call, const ProtobufCMessage *message)
{
    assert(!call->answer && !call->wire.greeted);
    call->answer = rpc_message_pack(message);
    return STATUS_OK;
}

enum status rpc_call_post(struct rpc_call *call, const ProtobufCMessage *message)
{
    return rpc_wire_post(&call->wire, message);
}

bool rpc_call_has_room(struct rpc_call *call, int64_t timeout_ms)
{
    return rpc_wire_wait_unsent(&call->wire, RPC_UNSENT_BYTES_MAX, clock_after_ms(timeout_ms));
}

int64_t rpc_call_stalled_ms(struct rpc_call *call)
{
    return rpc_wire_stalled_ms(&call->wire);
}

bool rpc_call_cancelled(struct rpc_call *call)
{
    return rpc_wire_ended(&call->wire);
}

void rpc_call_cancel(struct rpc_call *call)
{
    grpc_call_cancel(call->raw, NULL);
}

int64_t rpc_call_deadline_ns(const struct rpc_call *call)
{
    return call->deadline_ns;
}

const char *rpc_call_peer(const struct rpc_call *call)
{
    return call->connection.peer;
}

const struct rpc_caller *rpc_call_caller(const struct rpc_call *call)
{
    return &call->caller;
}

const char *rpc_call_metadata(const struct rpc_call *call, const char *key, size_t *bytes)
{
    for (size_t i = 0; i < call->metadata.count; i++) {
        const grpc_metadata *entry = &call->metadata.metadata[i];
        if (grpc_slice_str_cmp(entry->key, key) != 0)
            continue;
        *bytes = GRPC_SLICE_LENGTH(entry->value);
        return (const char *)GRPC_SLICE_START_PTR(entry->value);
    }
    *bytes = 0;
    return NULL;
}

const char *rpc_call_authorization(const struct rpc_call *call, size_t *bytes)
{
    return rpc_call_metadata(call, RPC_AUTHORIZATION, bytes);
}

struct status_details *rpc_call_details(struct rpc_call *call)
{
    return &call->details;
}

void rpc_call_note(struct rpc_call *call, struct log_field field)
{
    size_t i = 0;
    while (i < call->note_count && strcmp(call->notes[i].key, field.key) != 0)
        i++;
    assert(i < RPC_END_LINE_NOTES_MAX);
    call->notes[i] = field;
    if (i == call->note_count)
        call->note_count++;
}
